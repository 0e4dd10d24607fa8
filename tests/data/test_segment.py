"""Drawn shapes are found, and Otsu's threshold is the one he defines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.segment import border_distance, filled, foreground, largest_part, otsu_threshold


def drawn(*lines: str) -> np.ndarray:
    """A mask from text: # is True."""
    return np.array([[mark == "#" for mark in line] for line in lines])


RING = drawn(
    "........",
    ".####...",
    ".#..#.#.",
    ".#..#.#.",
    ".####...",
    "........",
)  # fmt: skip
DISC = drawn(
    "........",
    ".####...",
    ".####...",
    ".####...",
    ".####...",
    "........",
)  # fmt: skip


def test_the_largest_part_of_a_picture_is_found_and_its_hole_filled() -> None:
    image = np.where(RING, 200, 30).astype(np.uint8)[None, None]
    np.testing.assert_array_equal(foreground(image)[0], DISC)
    # dark on light, and in colour with the same brightness: the distance has no sign
    np.testing.assert_array_equal(foreground(255 - image)[0], DISC)
    colour = np.stack([np.where(RING, 10, 90), np.where(RING, 90, 10), np.full(RING.shape, 50)])
    np.testing.assert_array_equal(foreground(colour.astype(np.uint8)[None])[0], DISC)


def test_a_disc_on_uneven_ground_is_found() -> None:
    rng = np.random.default_rng(1)
    down, right = np.mgrid[:32, :32]
    disc = (down - 14) ** 2 + (right - 17) ** 2 <= 64
    image = np.where(disc[None], [[[180]], [[90]], [[60]]], [[[60]], [[100]], [[170]]])
    image = image + rng.normal(0, 12, image.shape)
    found = foreground(image.clip(0, 255).astype(np.uint8)[None])[0]
    assert (found & disc).sum() / (found | disc).sum() > 0.97


def test_every_image_is_looked_at_by_itself() -> None:
    images = np.stack([np.where(m, 200, 30) for m in (RING, DISC, ~RING)])[:, None]
    found = foreground(images.astype(np.uint8))
    for position in range(3):
        alone = foreground(images[position : position + 1].astype(np.uint8))[0]
        np.testing.assert_array_equal(found[position], alone)


def test_one_colour_has_no_object() -> None:
    assert not foreground(np.full((2, 3, 5, 5), 7, np.uint8)).any()
    assert foreground(np.zeros((0, 3, 5, 5), np.uint8)).shape == (0, 5, 5)


def test_colours_are_compared_with_the_median_of_the_border() -> None:
    image = np.zeros((1, 2, 4, 4))
    image[0, 0, 1, 1], image[0, 1, 1, 1] = 3, 4
    image[0, 0, 0, :3] = 9  # 3 of 12 pixels of the border: not its median
    distance = border_distance(image)[0]
    assert distance[1, 1] == 5
    assert distance[0].tolist() == [9, 9, 9, 0]
    assert distance[2].tolist() == [0, 0, 0, 0]


def test_an_image_needs_four_axes() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4\): must be"):
        foreground(np.zeros((4, 4)))


@pytest.mark.parametrize(
    ("values", "threshold"),
    [
        ([0, 0, 0, 10, 10], 0),
        # 0 1 | 9 10: 2 * 2 * 9^2 = 324; 0 | ...: 1 * 3 * 6.67^2 = 133
        ([0, 1, 9, 10], 1),
        # 0 | 4 5: 2 * 4.5^2 = 40.5; 0 4 | 5: 2 * 3^2 = 18
        ([0, 4, 5], 0),
        ([3, 3], 3),
    ],
)
def test_otsu_by_hand(values: list[float], threshold: float) -> None:
    assert otsu_threshold(np.array(values, dtype=float)) == threshold


@given(st.lists(st.integers(0, 40), min_size=2, max_size=30))
def test_otsu_leaves_the_least_variance_within_both_classes(values: list[int]) -> None:
    found = otsu_threshold(np.array(values, dtype=float))

    def within(threshold: float) -> float:
        low = [v for v in values if v <= threshold]
        high = [v for v in values if v > threshold]
        return sum(float(np.var(part)) * len(part) for part in (low, high) if part)

    best = min(within(threshold) for threshold in set(values))
    assert within(found) == pytest.approx(best, abs=1e-6)


def test_diagonal_pixels_are_one_part_and_no_way_out_of_a_hole() -> None:
    diamond = drawn(".#.", "#.#", ".#.")[None]
    np.testing.assert_array_equal(largest_part(diamond), diamond)
    np.testing.assert_array_equal(filled(diamond)[0], drawn(".#.", "###", ".#."))
    open_ = drawn(".#.", "#.#", "...")[None]
    np.testing.assert_array_equal(filled(open_), open_)


def test_of_equal_parts_the_first_is_kept() -> None:
    both = drawn("##.##", ".....")[None]
    np.testing.assert_array_equal(largest_part(both)[0], drawn("##...", "....."))
    assert not largest_part(np.zeros((1, 2, 2), bool)).any()


def _flooded(mask: np.ndarray, start: tuple[int, int], diagonal: bool) -> set[tuple[int, int]]:
    """The part of a pixel, by walking."""
    seen, queue = {start}, [start]
    while queue:
        row, column = queue.pop()
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                place = (row + down, column + right)
                inside = 0 <= place[0] < mask.shape[0] and 0 <= place[1] < mask.shape[1]
                near = diagonal or not down or not right
                if near and inside and mask[place] and place not in seen:
                    seen.add(place)
                    queue.append(place)
    return seen


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.floats(0.2, 0.8))
def test_parts_and_holes_are_those_that_a_walk_finds(
    seed: int, height: int, width: int, dense: float
) -> None:
    masks = np.random.default_rng(seed).random((2, height, width)) < dense
    for mask, largest, full in zip(masks, largest_part(masks), filled(masks), strict=True):
        parts = [_flooded(mask, (r, c), True) for r, c in zip(*np.nonzero(mask), strict=True)]
        most = max(map(len, parts), default=0)
        kept = set(zip(*map(list, np.nonzero(largest)), strict=True))
        assert kept == next((part for part in parts if len(part) == most), set())
        ground = np.pad(~mask, 1, constant_values=True)
        outside = _flooded(ground, (0, 0), False)
        expected = [[(r + 1, c + 1) not in outside for c in range(width)] for r in range(height)]
        assert full.tolist() == expected

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data import DatasetEntry, DatasetUnavailableError, DataSpec
from data.corrupt import blacken_corner, blurred, corrupt, noisy
from data.load import load


def test_a_blurred_point_is_the_gaussian() -> None:
    image = np.zeros((1, 15, 15), np.uint8)
    image[0, 7, 7] = 255
    found = blurred(image, 1.0)[0]
    # exp(-d^2 / 2) over the sum 2.50663 of its values at integers, squared for two axes.
    for row, column in ((7, 7), (7, 8), (8, 8), (5, 7)):
        distance = (row - 7) ** 2 + (column - 7) ** 2
        assert found[row, column] == round(255 * math.exp(-distance / 2) / 2.50663**2)
    assert (found == found.T).all()
    assert (found == found[::-1, ::-1]).all()


def test_blur_is_that_of_scipy() -> None:
    from scipy.ndimage import gaussian_filter

    images = np.random.default_rng(0).integers(0, 256, (3, 12, 9, 2)).astype(np.uint8)
    for deviation in (0.4, 1.5, 6.0):  # the last reaches beyond both edges
        theirs = gaussian_filter(
            images.astype(float), (0, deviation, deviation, 0), mode="nearest", radius=None,
            truncate=math.ceil(4 * deviation) / deviation,
        )  # fmt: skip
        np.testing.assert_allclose(blurred(images, deviation), theirs, atol=0.51)


@pytest.mark.parametrize("deviation", [1e-200, 0.3, 3.0, 4096.0])
def test_even_images_stay_as_they_are(deviation: float) -> None:
    images = np.full((2, 5, 4), 255, np.uint8)
    np.testing.assert_array_equal(blurred(images, deviation), images)


def test_noise_is_cut_off_at_the_pixel_range() -> None:
    image = np.array([[0, 8], [16, 3]], np.uint8)
    noise = np.array([-0.5, 0.25, 0.5, 0.1], np.float32)
    # 0 - 8 is cut off, 8 + 4, 16 + 8 is cut off, 3 + 1.6 is rounded.
    assert noisy(image, noise, 16).tolist() == [[0, 12], [16, 5]]


def test_noise_has_the_deviation_asked_for() -> None:
    images = np.full((40, 28, 28), 128, np.uint8)
    spec = DataSpec("fashion_mnist", corruption="noise", corruption_strength=0.1)
    found = corrupt(images, spec, np.arange(40), 40, None, "train", 255).astype(float)
    n = found.size
    # A deviation of 25.5 pixel values, and 1/12 of variance from rounding.
    assert abs(found.mean() - 128) < 4 * 25.5 / math.sqrt(n)
    assert abs(found.std() - math.sqrt(25.5**2 + 1 / 12)) < 4 * 25.5 / math.sqrt(2 * n)
    flat = found.reshape(40, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(40)).max() < 5 / math.sqrt(784)


@pytest.mark.parametrize(("part", "side"), [(200 / 224, 29), (0.5, 16), (1.0, 32)])
def test_a_black_square_in_the_middle(part: float, side: int) -> None:
    images = np.full((2, 32, 32, 3), 9, np.uint8)
    spec = DataSpec("cifar10", corruption="center-black", corruption_strength=part)
    found = corrupt(images, spec, np.arange(2), 2, np.zeros(2, int), "train", 255)
    black = (found == 0).all(axis=3)
    assert black.sum() == 2 * side * side
    first = (32 - side) // 2
    assert black[:, first : first + side, first : first + side].all()
    assert (images == 9).all()  # the original is left alone


def test_a_black_quarter() -> None:
    for corner, place in enumerate([(0, 0), (0, 5), (5, 0), (5, 5)]):
        images = np.ones((3, 6, 6), np.uint8)
        blacken_corner(images, np.array([1]), corner, 0.5)
        assert (images == 0).sum() == 9
        assert images[(1, *place)] == 0


def test_corners_are_drawn_for_each_image() -> None:
    images = np.ones((400, 8, 8), np.uint8)
    spec = DataSpec("digits", corruption="quarter-black", corruption_strength=0.5)
    found = corrupt(images, spec, np.arange(400), 400, None, "train", 16)
    assert ((found == 0).sum(axis=(1, 2)) == 16).all()
    corners = [(found[:, y, x] == 0).sum() for y in (0, 7) for x in (0, 7)]
    assert sum(corners) == 400
    assert np.abs(np.array(corners) - 100).max() < 4 * math.sqrt(400 * 3 / 16)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["blur", "noise", "center-black", "quarter-black"]),
    st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 99), st.data(),
)  # fmt: skip
def test_fewer_images_are_among_more_and_rows_do_not_depend_on_each_other(
    name: str, one: float, other: float, seed: int, draw: st.DataObject
) -> None:
    small, large = sorted([one, other])
    images = np.random.default_rng(1).integers(1, 17, (30, 8, 8)).astype(np.uint8)
    labels = np.arange(30) % 3

    def found(fraction: float, rows: np.ndarray, by: np.ndarray | None = labels) -> np.ndarray:
        spec = DataSpec(
            "digits", split_seed=seed, corruption=name, corruption_strength=0.7,  # type: ignore[arg-type]
            corruption_fraction=fraction,
        )  # fmt: skip
        return corrupt(images[rows], spec, rows, 30, None if by is None else by[rows], "train", 16)

    rows = np.arange(30)
    few, many, all_of_them = found(small, rows), found(large, rows), found(1.0, rows)
    changed_few, changed_many = ((f != images).any(axis=(1, 2)) for f in (few, many))
    assert changed_few.sum() == math.floor(small * 30 + 0.5)
    assert changed_many.sum() == math.floor(large * 30 + 0.5)
    assert (changed_many | ~changed_few).all()
    np.testing.assert_array_equal(few[changed_few], all_of_them[changed_few])
    counts = np.bincount(labels[changed_many], minlength=3)
    assert counts.max() - counts.min() <= 1
    subset = np.array(sorted(draw.draw(st.sets(st.integers(0, 29), min_size=1))))
    np.testing.assert_array_equal(found(1.0, subset), all_of_them[subset])


def test_splits_that_are_corrupted(toy: DatasetEntry) -> None:
    clean = load(DataSpec("toy", validation=0.25))
    for on in ("train", "all"):
        spec = DataSpec(
            "toy", validation=0.25, corruption="center-black", corruption_strength=1,
            corruption_on=on,  # type: ignore[arg-type]
        )  # fmt: skip
        loaded = load(spec)
        assert (loaded.train.x == 0).all()
        assert torch.equal(loaded.train.y, clean.train.y)
        for name in ("validation", "test"):
            if on == "all":
                assert (loaded.split(name).x == 0).all()
            else:
                assert torch.equal(loaded.split(name).x, clean.split(name).x)


def test_loading_noise_of_digits_is_a_function_of_the_row() -> None:
    clean = load(DataSpec("digits"))
    whole, part = (
        load(DataSpec("digits", size, corruption="noise", corruption_strength=0.2))
        for size in (None, 200)
    )
    row_of = {row.numpy().tobytes(): i for i, row in enumerate(whole.train.x)}
    assert all(row.numpy().tobytes() in row_of for row in part.train.x)
    assert int(whole.train.x.max()) == 16
    assert (whole.train.x != clean.train.x).flatten(1).any(dim=1).all()
    assert torch.equal(whole.test.x, clean.test.x)


def test_the_middle_of_real_images(data_dir: Path) -> None:
    spec = DataSpec("fashion_mnist", 500, corruption="center-black", corruption_strength=25 / 28)
    try:
        loaded = load(spec, data_dir)
    except DatasetUnavailableError as error:
        pytest.skip(str(error))
    # A square of 25 pixels begins one pixel from the edge: 784 - 625 pixels are left.
    assert (loaded.train.x[:, 0, 1:26, 1:26] == 0).all()
    assert (loaded.test.x[:, 0, 1:26, 1:26] != 0).any()

"""Random flips, shifts and turns of a batch of images."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from data.augment import Augment, augment, moved


def images(n: int = 6, channels: int = 3, height: int = 8, width: int = 5) -> Tensor:
    """No two pixels alike, and none of them 0."""
    count = n * channels * height * width
    return torch.arange(1.0, count + 1).reshape(n, channels, height, width)


def untold(n: int) -> dict[str, Any]:
    """What `moved` is told when nothing is to be done."""
    return {
        "flipped": torch.zeros(n, dtype=torch.bool),
        "degrees": None,
        "offsets": torch.zeros(2, n, dtype=torch.int64),
        "pad": 0,
        "fill": 0.0,
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("flip", 1),
        ("flip", None),
        ("pad", -1),
        ("pad", 1025),
        ("pad", 4.0),
        ("pad", True),
        ("rotation", -1),
        ("rotation", 180.5),
        ("rotation", math.nan),
        ("rotation", True),
        ("rotation", "15"),
    ],
)
def test_bad_values_are_refused_by_key_and_value(key: str, value: object) -> None:
    options: dict[str, Any] = {key: value}
    with pytest.raises(ValueError, match="is not allowed") as caught:
        Augment(**options)
    assert f"{key} = {value!r}" in str(caught.value)


def test_what_is_on() -> None:
    assert not Augment().is_on
    assert Augment(flip=True).is_on
    assert Augment(pad=1).is_on
    assert Augment(rotation=0.5).is_on
    assert repr(Augment(rotation=15).rotation) == "15.0"
    assert Augment(rotation=-0.0) == Augment()


def test_nothing_is_the_identity() -> None:
    x = images()
    assert augment(x, Augment(), -1.0, 3) is x
    still = untold(6)
    assert torch.equal(moved(x, **still), x)
    assert torch.equal(moved(x, **{**still, "degrees": torch.zeros(6, dtype=torch.float64)}), x)
    with pytest.raises(ValueError, match=r"x has shape \(4, 8\): only images"):
        augment(torch.zeros(4, 8), Augment(flip=True), 0.0, 1)


def test_a_flip_alone_is_that_of_torch() -> None:
    x = images(400)
    found = augment(x, Augment(flip=True), -1.0, 11)
    mirrored = torch.flip(x, [3])
    chosen = (found == mirrored).flatten(1).all(dim=1)
    assert torch.equal(found[~chosen], x[~chosen])
    assert abs(int(chosen.sum()) - 200) < 4 * 10


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**63 - 1))
def test_a_shift_is_a_cut_out_of_the_padded_image(pad: int, key: int) -> None:
    x = images(4)
    found = augment(x, Augment(pad=pad), -7.0, key)
    padded = torch.nn.functional.pad(x, (pad,) * 4, value=-7.0)
    for image, around in zip(found, padded, strict=True):
        cuts = [
            (top, left)
            for top in range(2 * pad + 1)
            for left in range(2 * pad + 1)
            if torch.equal(image, around[:, top : top + 8, left : left + 5])
        ]
        assert len(cuts) == 1 or (image == -7.0).all()


def test_every_shift_is_as_likely() -> None:
    x = images(900, 1, 5, 5)
    found = augment(x, Augment(pad=1), 0.0, 4)
    # The pixel that comes to lie in the middle tells the shift.
    middle = (found[:, 0, 2, 2] - 1).long() % 25
    counts = middle.bincount(minlength=25).reshape(5, 5)
    assert counts[1:4, 1:4].sum() == 900
    assert (counts[1:4, 1:4] - 100).abs().max() < 4 * math.sqrt(900 * 8 / 81)


def test_quarter_turns_are_those_of_torch() -> None:
    x = images(4, 2, 6, 6)
    degrees = torch.tensor([0.0, 90.0, 180.0, -90.0], dtype=torch.float64)
    found = moved(x, **{**untold(4), "degrees": degrees})
    for image, turned, quarters in zip(x, found, (0, 1, 2, 3), strict=True):
        assert torch.equal(turned, torch.rot90(image, quarters, [1, 2]))  # counter-clockwise


def test_angles_are_uniform_up_to_the_rotation() -> None:
    # A dot 20 pixels to the right of the centre shows the angle to within 1.5 degrees.
    x = torch.zeros(300, 1, 43, 43)
    x[:, :, 20:23, 40:43] = 1
    found = augment(x, Augment(rotation=30), 0.0, 5)
    rows, columns = (torch.arange(43.0) - 21,) * 2
    weight = found[:, 0].sum(dim=(1, 2))
    down = (found[:, 0].sum(dim=2) * rows).sum(dim=1) / weight
    right = (found[:, 0].sum(dim=1) * columns).sum(dim=1) / weight
    angles = torch.rad2deg(torch.atan2(-down, right)).numpy()
    assert np.abs(angles).max() <= 31.5
    assert abs(angles.mean()) < 4 * 30 / math.sqrt(3 * 300)
    assert abs(angles.std() - 30 / math.sqrt(3)) < 2.5
    assert (np.histogram(angles, 6, (-30, 30))[0] > 25).all()


def test_the_fill_may_differ_by_channel() -> None:
    fill = torch.tensor([-1.0, -2.0, -3.0])[:, None, None]
    told = {**untold(2), "pad": 2, "fill": fill}
    found = moved(images(2), **told)  # cut off at the upper left: two rows and columns of black
    for channel, black in enumerate((-1.0, -2.0, -3.0)):
        assert (found[:, channel, :2] == black).all()
        assert (found[:, channel, :, :2] == black).all()
    assert torch.equal(found[:, :, 2:, 2:], images(2)[:, :, :6, :3])


@settings(deadline=None)
@given(
    st.builds(Augment, st.booleans(), st.integers(0, 3), st.floats(0, 180)),
    st.integers(0, 2**63 - 1),
)
def test_it_is_a_function_of_its_arguments(how: Augment, key: int) -> None:
    x = images()
    before = x.clone()
    torch.manual_seed(1)
    found = augment(x, how, 0.0, key)
    torch.manual_seed(2)
    assert torch.equal(augment(x, how, 0.0, key), found)
    assert torch.equal(x, before)
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    # Every pixel is black, or one of the same image and channel.
    for image, original in zip(found.flatten(0, 1), x.flatten(0, 1), strict=True):
        assert set(image.flatten().tolist()) <= {0.0, *original.flatten().tolist()}


def test_other_keys_give_other_images_and_flips_do_not_depend_on_the_rest() -> None:
    x = images(64)
    results = [augment(x, Augment(True, 2, 10), 0.0, key) for key in range(4)]
    assert not any(torch.equal(results[0], other) for other in results[1:])
    rows = torch.arange(1.0, 6)[None, None, None].expand(64, 1, 8, 5)
    alone = augment(rows, Augment(flip=True), 0.0, 9)
    shifted = augment(rows, Augment(flip=True, pad=1), 0.0, 9)
    # A row counts up or down, wherever it was cut.
    up = alone[:, 0, 4, 2] > alone[:, 0, 4, 1]
    assert torch.equal(shifted[:, 0, 4, 2] > shifted[:, 0, 4, 1], up)
    assert up.any()
    assert not up.all()


@pytest.mark.slow  # imports torchvision
@settings(deadline=None, max_examples=40)
@given(
    st.booleans(), st.integers(-180, 179), st.integers(0, 3), st.data(),
    st.sampled_from([(9, 9), (8, 8), (8, 11)]),
)  # fmt: skip
def test_the_order_is_pad_flip_rotate_crop_as_torchvision_does_them(
    flip: bool, whole_degrees: int, pad: int, draw: st.DataObject, size: tuple[int, int]
) -> None:
    from torchvision.transforms.v2 import functional

    degrees = whole_degrees + 0.37  # no pixel lies midway between two, where rounding decides
    top, left = (draw.draw(st.integers(0, 2 * pad)) for _ in range(2))
    x = images(1, 2, *size)
    theirs = functional.pad(x, [pad], fill=0.0)
    if flip:
        theirs = functional.horizontal_flip(theirs)
    theirs = functional.rotate(theirs, degrees, fill=0.0)
    theirs = functional.crop(theirs, top, left, *size)
    ours = moved(
        x,
        flipped=torch.tensor([flip]),
        degrees=torch.tensor([degrees], dtype=torch.float64),
        offsets=torch.tensor([[top], [left]]),
        pad=pad,
        fill=0.0,
    )
    assert torch.equal(ours, theirs)

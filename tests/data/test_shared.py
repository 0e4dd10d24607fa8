"""Shared datasets: the same numbers at the same alignment, wherever their memory comes from."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from data.shared import SharedData, adopt, read_only_tensor


def at(offset: int, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values in memory that begins a number of bytes after a multiple of 64."""
    room = np.zeros(values.nbytes + 128, np.uint8)
    first = -room.ctypes.data % 64 + offset
    placed = room[first : first + values.nbytes].view(np.float32).reshape(values.shape)
    placed[...] = values
    return placed


@pytest.mark.parametrize("offset", [0, 4, 16, 24, 40])
def test_tensors_begin_at_a_multiple_of_64_bytes(offset: int) -> None:
    values = np.random.default_rng(0).normal(size=(25, 8)).astype(np.float32)
    placed = at(offset, values)
    tensor = read_only_tensor(placed)
    assert tensor.data_ptr() % 64 == 0
    assert np.array_equal(tensor.numpy(), values)
    assert (tensor.data_ptr() == placed.ctypes.data) is (offset == 0)  # copied only if need be


def test_products_of_adopted_rows_do_not_depend_on_where_they_lay() -> None:
    draw = np.random.default_rng(1)
    x, y = (draw.normal(size=(25, width)).astype(np.float32) for width in (8, 1))
    about = dict.fromkeys(
        ("name", "task", "outputs", "input_shape", "fingerprint", "input_low", "input_high",
         "pixel_max")
    )  # fmt: skip
    layer = torch.nn.Linear(8, 6)
    found = [
        layer(adopt(SharedData(about, {"train": (at(o, x), y), "test": (at(o, x), y)})).test.x)
        for o in (0, 4, 24, 40)
    ]
    assert all(torch.equal(found[0], other) for other in found)

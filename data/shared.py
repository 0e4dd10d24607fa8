"""A loaded dataset as plain arrays, which processes can share without copying or torch."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from data.load import LoadedData

SPLITS = ("train", "validation", "test")
PARTS = (*SPLITS, "perturbed")
"""The fields that are pairs of tensors with a row for each other."""


@dataclass(frozen=True, eq=False)
class SharedData:
    """What `data.load.LoadedData` holds, as numpy arrays.

    Attributes:
        about: its fields but for `PARTS`, by name; small tensors as arrays.
        arrays: for each of `PARTS` that there is, its two tensors, shaped as there: `x` and `y` of
            a split, `rows` and `labels` of what is perturbed.
    """

    about: dict[str, Any]
    arrays: dict[str, tuple[NDArray[Any], NDArray[Any]]] = field(repr=False)


def share(loaded: LoadedData) -> SharedData:
    """The arrays of a dataset, without copying those of a CPU."""
    import torch

    about, arrays = {}, {}
    for name in (f.name for f in fields(loaded)):
        value = getattr(loaded, name)
        if name not in PARTS:
            about[name] = value.cpu().numpy() if isinstance(value, torch.Tensor) else value
        elif value is not None:
            first, second = (getattr(value, f.name).cpu().numpy() for f in fields(value))
            arrays[name] = (first, second)
    return SharedData(about, arrays)


def adopt(shared: SharedData) -> LoadedData:
    """The dataset of shared arrays, as `read_only_tensor` gives them: not to be written to."""
    from data.load import LoadedData, Perturbed, Split

    given: dict[str, Any] = dict.fromkeys(PARTS)
    for name, value in shared.about.items():
        given[name] = read_only_tensor(value) if isinstance(value, np.ndarray) else value
    for name, pair in shared.arrays.items():
        first, second = map(read_only_tensor, pair)
        given[name] = Split(first, second) if name in SPLITS else Perturbed(first, second)
    return LoadedData(**given)


def read_only_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor on the memory of an array that other processes may read; not to be written to.

    Numbers that are not `aligned` are copied; large arrays in Ray's object store are.
    """
    import torch

    with warnings.catch_warnings():
        # torch knows no read-only tensors and says so.
        warnings.simplefilter("ignore", UserWarning)
        return aligned(torch.from_numpy(np.ascontiguousarray(array)))


def aligned(tensor: Tensor) -> Tensor:
    """The same tensor, at a multiple of 64 bytes if it holds floating-point numbers.

    Matrix products of a CPU round differently elsewhere, and a result must not depend on where its
    data happened to lie.
    """
    well = tensor.data_ptr() % 64 == 0 or not tensor.is_floating_point()
    return tensor if well else tensor.clone()

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


@dataclass(frozen=True, eq=False)
class SharedData:
    """What `data.load.LoadedData` holds, as numpy arrays.

    Attributes:
        about: its fields but for the splits, by name.
        arrays: for each split that there is, its `x` and `y`, shaped as there.
    """

    about: dict[str, Any]
    arrays: dict[str, tuple[NDArray[Any], NDArray[Any]]] = field(repr=False)


def share(loaded: LoadedData) -> SharedData:
    """The arrays of a dataset, without copying those of a CPU."""
    arrays = {}
    for name in SPLITS:
        split = getattr(loaded, name)
        if split is not None:
            arrays[name] = (split.x.cpu().numpy(), split.y.cpu().numpy())
    about = {f.name: getattr(loaded, f.name) for f in fields(loaded) if f.name not in SPLITS}
    return SharedData(about, arrays)


def adopt(shared: SharedData) -> LoadedData:
    """The dataset of shared arrays, as `read_only_tensor` gives them: not to be written to."""
    from data.load import LoadedData, Split

    given: dict[str, Any] = {**shared.about, **dict.fromkeys(SPLITS)}
    for name, (x, y) in shared.arrays.items():
        given[name] = Split(read_only_tensor(x), read_only_tensor(y))
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

"""From a specification to tensors: whole splits in memory, ready for batches by index.

Images stay uint8 until a batch is used; tables are standardised once, with the figures of the
training rows that are really used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data import catalog, store
from data.catalog import Task
from data.shared import aligned
from data.spec import DataSpec
from data.standardise import Standardiser
from data.stratify import random_keys, stratified_order


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split.

    Attributes:
        x: Stored inputs: images uint8 ``[n, C, H, W]``, tables float32 ``[n, F]``, standardised.
        y: Classes int64 ``[n]``, or standardised targets float32 ``[n, outputs]``.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.x)

    def to(self, device: torch.device | str) -> Split:
        """Returns the same rows on a device, sharing tensors that are there already."""
        return Split(self.x.to(device), self.y.to(device))


@dataclass(frozen=True, eq=False)
class LoadedData:
    """A dataset in memory.

    Attributes:
        name: The dataset.
        task: Its task.
        outputs: Classes, or width of the regression target.
        input_shape: Shape of one network input, ``(C, H, W)`` or ``(F,)``.
        fingerprint: Fingerprint of the whole dataset's content.
        train: The training rows, in canonical order.
        validation: The rows set aside for selection, None when there are none.
        test: The test rows.
        input_low: Smallest network input an attack may make: -1 for images, the smallest
            standardised value among the test inputs for tables.
        input_high: Largest such input: 1 for images, the largest value for tables.
        pixel_max: Stored value that `inputs` maps to 1; None for tables.
    """

    name: str
    task: Task
    outputs: int
    input_shape: tuple[int, ...]
    fingerprint: str
    train: Split
    validation: Split | None
    test: Split
    input_low: float
    input_high: float
    pixel_max: int | None

    def inputs(self, x: Tensor) -> Tensor:
        """Turns stored rows into network inputs.

        Args:
            x: Rows of a split's `x`, ``[n, ...]``.

        Returns:
            float32 of the same shape: images scaled from ``0..pixel_max`` to -1..1, tables as
            they are.
        """
        if self.pixel_max is None:
            return x
        return x.to(torch.float32).div_(self.pixel_max).sub_(0.5).div_(0.5)

    def split(self, name: str) -> Split:
        """Returns a split by name.

        Args:
            name: ``"train"``, ``"validation"`` or ``"test"``.

        Returns:
            The split.

        Raises:
            ValueError: The name is another, or there is no validation split.
        """
        if name not in ("train", "validation", "test"):
            raise ValueError(f"split {name!r} is not known: allowed are train, validation, test")
        found: Split | None = getattr(self, name)
        if found is None:
            raise ValueError(
                f"dataset {self.name!r} was loaded without a validation split: set validation to "
                "a number between 0 and 1"
            )
        return found

    def to(self, device: torch.device | str) -> LoadedData:
        """Returns the same data with all tensors on a device.

        Args:
            device: Where the tensors go.

        Returns:
            The data there; tensors that are there already are shared.
        """
        return replace(
            self,
            train=self.train.to(device),
            validation=None if self.validation is None else self.validation.to(device),
            test=self.test.to(device),
        )


def load(spec: DataSpec, data_dir: Path | None = None, download: bool = False) -> LoadedData:
    """Loads a dataset, checks it, splits it and, for tables, standardises it.

    Args:
        spec: Which dataset and which rows.
        data_dir: The data directory, None for `data.default_data_dir`.
        download: Whether an absent dataset is downloaded; workers leave this off.

    Returns:
        The tensors on the CPU.

    Raises:
        UnknownDatasetError: The dataset is not registered in this process.
        DatasetUnavailableError: It is absent, or could not be downloaded.
        DatasetFileError: A file is damaged or holds something else.
        FingerprintMismatchError: The content is not the pinned one.
        ValueError: There are fewer rows than the specification asks for.
    """
    entry = catalog.get(spec.name)
    found = store.read(spec.name, data_dir, download)
    classes = found.y_train if entry.task == "classification" else None
    chosen = choose_rows(spec, len(found.x_train), classes)
    inputs = {"test": found.x_test}
    targets = {"test": found.y_test}
    for name, rows in chosen.items():
        whole = len(rows) == len(found.x_train)
        inputs[name] = found.x_train if whole else found.x_train[rows]
        targets[name] = found.y_train if whole else found.y_train[rows]
    x = _images(inputs) if entry.is_image else _table(inputs)
    y = _classes(targets) if entry.task == "classification" else _table(targets)
    splits = {name: Split(x[name], y[name]) for name in x}
    test = splits["test"]
    return LoadedData(
        name=entry.name,
        task=entry.task,
        outputs=entry.outputs,
        input_shape=entry.input_shape,
        fingerprint=found.fingerprint,
        train=splits["train"],
        validation=splits.get("validation"),
        test=test,
        input_low=-1.0 if entry.is_image else float(test.x.min()),
        input_high=1.0 if entry.is_image else float(test.x.max()),
        pixel_max=entry.pixel_max if entry.is_image else None,
    )


def choose_rows(
    spec: DataSpec, available: int, classes: NDArray[np.int64] | None
) -> dict[str, NDArray[np.int64]]:
    """Chooses the training and validation rows of a specification.

    Args:
        spec: How many rows, and the seed.
        available: Rows of the canonical training split.
        classes: Class of each of them, ``[available]``, None for regression.

    Returns:
        Ascending row positions for ``"train"`` and, if asked for, ``"validation"``; disjoint.

    Raises:
        ValueError: There are fewer rows than asked for.
    """
    train_size, validation_size = spec.counts(available)
    chosen = {}
    remaining = np.arange(available)
    for name, size in (("validation", validation_size), ("train", train_size)):
        if name == "validation" and size == 0:
            continue
        if size < len(remaining):
            keys = random_keys(available, spec.split_seed, name)[remaining]
            strata = None if classes is None else classes[remaining]
            order = remaining[stratified_order(keys, strata)]
            chosen[name], remaining = np.sort(order[:size]), np.sort(order[size:])
        else:
            chosen[name] = remaining
    return chosen


def _images(inputs: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Brings images into channels-first order, uint8 ``[n, C, H, W]``."""
    tensors = {}
    for name, images in inputs.items():
        tensor = torch.from_numpy(images)
        channels_first = tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor.unsqueeze(1)
        tensors[name] = channels_first.contiguous()
    return tensors


def _classes(targets: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(labels) for name, labels in targets.items()}


def _table(values: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Standardises float64 tables by the training rows, float32 ``[n, columns]``."""
    standardise = Standardiser.fit(values["train"])
    return {name: aligned(torch.from_numpy(standardise(rows))) for name, rows in values.items()}

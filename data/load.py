"""From a specification to tensors: whole splits in memory, ready for batches by index.

Images stay uint8 until a batch is used, and are scaled and resized then; tables are standardised
once, with the figures of the training rows that are really used. Corruption and noise are part of
the stored rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data import catalog, store
from data.canonical import Canonical
from data.catalog import DatasetEntry, Task
from data.corrupt import corrupt
from data.random_numbers import normals
from data.relabel import noisy_rows, other_labels
from data.rows import rows_of_splits
from data.scaling import resized, scaling_figures
from data.shared import aligned
from data.spec import DataSpec
from data.standardise import Standardiser


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
class Perturbed:
    """The training rows whose labels are noise.

    Attributes:
        rows: Their ascending positions in `LoadedData.train`, int64 ``[n]``.
        labels: Their true classes, int64 ``[n]``.
    """

    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.rows)

    def to(self, device: torch.device | str) -> Perturbed:
        """Returns the same rows on a device, sharing tensors that are there already."""
        return Perturbed(self.rows.to(device), self.labels.to(device))


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
        input_low: Smallest network input an attack may make: what black is for images, -1 unless
            scaled otherwise; the smallest standardised value among the test inputs for tables. A
            number, or float32 ``[C, 1, 1]`` where it differs by channel.
        input_high: Largest such input: what white is for images, the largest value for tables.
        pixel_max: Stored value of a white pixel; None for tables.
        mean: What `inputs` subtracts from images in units of `pixel_max`: a number, or float32
            ``[C, 1, 1]``; without effect for tables.
        deviation: What `inputs` then divides by.
        class_mask: 1 for the outputs of the classes that are used, 0 for the others, float32
            ``[outputs]``; None when all are.
        perturbed: The training rows whose labels are noise, None when none are.
    """

    name: str
    task: Task
    outputs: int
    input_shape: tuple[int, ...]
    fingerprint: str
    train: Split
    validation: Split | None
    test: Split
    input_low: float | Tensor
    input_high: float | Tensor
    pixel_max: int | None
    mean: float | Tensor = 0.5
    deviation: float | Tensor = 0.5
    class_mask: Tensor | None = None
    perturbed: Perturbed | None = None

    @property
    def fill(self) -> float | Tensor:
        """What a black pixel is to a network: a number, or float32 ``[C, 1, 1]``.

        Raises:
            ValueError: The dataset is a table.
        """
        if self.pixel_max is None:
            raise ValueError(f"dataset {self.name!r} is a table: it has no pixels")
        return self.input_low

    def inputs(self, x: Tensor) -> Tensor:
        """Turns stored rows into network inputs.

        Args:
            x: Rows of a split's `x`, ``[n, ...]``.

        Returns:
            float32 ``[n, *input_shape]``: images resized where they are to be, and scaled, from
            ``0..pixel_max`` to -1..1 if nothing else was asked; tables as they are.
        """
        if self.pixel_max is None:
            return x
        images = x.to(torch.float32).div_(self.pixel_max)
        images = resized(images, (self.input_shape[1], self.input_shape[2]))
        return images.sub_(self.mean).div_(self.deviation)

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
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in held.items()
            if isinstance(value, Tensor | Split | Perturbed)
        }
        return replace(self, **moved)


def load(spec: DataSpec, data_dir: Path | None = None, download: bool = False) -> LoadedData:
    """Loads a dataset, checks it, splits it and, for tables, standardises it.

    Args:
        spec: Which dataset, which rows, and what is done to them.
        data_dir: The data directory, None for `data.default_data_dir`.
        download: Whether an absent dataset is downloaded; workers leave this off.

    Returns:
        The tensors on the CPU.

    Raises:
        UnknownDatasetError: The dataset is not registered in this process.
        DatasetUnavailableError: It is absent, or could not be downloaded.
        DatasetFileError: A file is damaged or holds something else.
        FingerprintMismatchError: The content is not the pinned one.
        ValueError: There are fewer rows than the specification asks for, none of its classes, or
            too few for its noise to change any.
    """
    entry = catalog.get(spec.name)
    found = store.read(spec.name, data_dir, download)
    rows = rows_of_splits(spec, entry, found)
    inputs, targets = {}, {}
    for name, chosen in rows.items():
        test = name == "test"
        inputs[name] = _picked(found.x_test if test else found.x_train, chosen)
        targets[name] = _picked(found.y_test if test else found.y_train, chosen)
    _corrupt(spec, entry, found, rows, inputs, targets)
    perturbed = None
    if spec.label_noise:
        targets["train"], perturbed = _relabelled(
            spec, entry, rows["train"], len(found.y_train), targets["train"]
        )
    noise = None
    if spec.target_noise:
        numbers = normals(found.y_train.size, spec.split_seed, "target noise")
        noise = spec.target_noise * numbers.reshape(found.y_train.shape)[rows["train"]]
    tensors = _images(inputs) if entry.is_image else _table(inputs)
    answers = _classes(targets) if entry.task == "classification" else _table(targets, noise)
    splits = {name: Split(tensors[name], answers[name]) for name in rows}
    low, high, mean, deviation = _limits(spec, entry, splits)
    return LoadedData(
        name=entry.name,
        task=entry.task,
        outputs=entry.outputs,
        input_shape=spec.input_shape,
        fingerprint=found.fingerprint,
        train=splits["train"],
        validation=splits.get("validation"),
        test=splits["test"],
        input_low=low,
        input_high=high,
        pixel_max=entry.pixel_max if entry.is_image else None,
        mean=mean,
        deviation=deviation,
        class_mask=class_mask(spec),
        perturbed=perturbed,
    )


def _picked(stored: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    return stored if len(rows) == len(stored) else stored[rows]


def _corrupt(
    spec: DataSpec,
    entry: DatasetEntry,
    found: Canonical,
    rows: dict[str, NDArray[np.int64]],
    inputs: dict[str, NDArray[Any]],
    targets: dict[str, NDArray[Any]],
) -> None:
    """Puts corrupted images in place of those of the splits that a specification names."""
    if spec.corruption is None:
        return
    for name in ["train"] if spec.corruption_on == "train" else list(rows):
        stored, available = ("train", len(found.x_train))
        if name == "test":
            stored, available = ("test", len(found.x_test))
        labels = targets[name] if entry.task == "classification" else None
        inputs[name] = corrupt(
            inputs[name], spec, rows[name], available, labels, stored, entry.pixel_max
        )


def _relabelled(
    spec: DataSpec,
    entry: DatasetEntry,
    rows: NDArray[np.int64],
    available: int,
    true: NDArray[np.int64],
) -> tuple[NDArray[np.int64], Perturbed]:
    """Returns the labels of the training rows with noise, and which rows have others than theirs."""
    changed = noisy_rows(spec, rows, available, true)
    labels = true.copy()
    labels[changed] = other_labels(spec, entry.outputs, rows[changed], true[changed])
    return labels, Perturbed(torch.from_numpy(changed), torch.from_numpy(true[changed]))


def _limits(
    spec: DataSpec, entry: DatasetEntry, splits: dict[str, Split]
) -> tuple[float | Tensor, float | Tensor, float | Tensor, float | Tensor]:
    """Returns the limits of inputs, and the mean and deviation that make inputs of images."""
    if not entry.is_image:
        test = splits["test"].x
        return float(test.min()), float(test.max()), 0.0, 1.0
    mean, deviation = scaling_figures(spec.scaling, splits["train"].x, entry.pixel_max)
    return (0.0 - mean) / deviation, (1.0 - mean) / deviation, mean, deviation


def class_mask(spec: DataSpec) -> Tensor | None:
    """Returns which outputs of a network count on some data, float32 ``[outputs]``; None for all."""
    if spec.classes is None:
        return None
    mask = torch.zeros(catalog.get(spec.name).outputs)
    mask[list(spec.classes)] = 1.0
    return mask


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


def _table(
    values: dict[str, NDArray[Any]], noise: NDArray[np.float64] | None = None
) -> dict[str, Tensor]:
    """Standardises float64 tables by the training rows, float32 ``[n, columns]``.

    Noise of the training rows, in standardised units, is added after the fit.
    """
    standardise = Standardiser.fit(values["train"])
    if noise is not None:
        values = {**values, "train": values["train"] + noise * standardise.deviation}
    return {name: aligned(torch.from_numpy(standardise(rows))) for name, rows in values.items()}

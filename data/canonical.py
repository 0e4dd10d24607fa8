"""One form for equal content: checked arrays, canonical row order, and the fingerprint.

The same dataset reaches us in many row orders and number formats. Rows are therefore hashed
(input and target together), and each split is sorted by those hashes, so that a row's position
depends on the content alone. The fingerprint is a hash over the sorted row hashes, with the types
and shapes: one pass over the data serves order and fingerprint alike.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.catalog import DatasetEntry, RawArrays
from data.errors import DatasetFileError, FingerprintMismatchError

FORMAT = "distillation-sweep dataset 1"
"""Named in every fingerprint; changes when the canonical form does."""


@dataclass(frozen=True, eq=False)
class Canonical:
    """A checked dataset in canonical form.

    Attributes:
        x_train: Images uint8 ``[n, H, W, C]`` (``[n, H, W]`` with one channel), or float64
            ``[n, F]``.
        y_train: Classes int64 ``[n]``, or float64 ``[n, outputs]``.
        x_test: As `x_train`.
        y_test: As `y_train`.
        fingerprint: 64 hexadecimal digits that any row order of this content gives.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    fingerprint: str


def canonical(entry: DatasetEntry, raw: RawArrays, origin: str) -> Canonical:
    """Checks a dataset and brings it into canonical form.

    Args:
        entry: What the dataset must be.
        raw: The arrays, rows in any order.
        origin: The file, or other place, that the arrays came from, for messages.

    Returns:
        The canonical dataset.

    Raises:
        DatasetFileError: A wrong type, shape, row count or label, a value that is not finite, or
            a training split of one class.
        FingerprintMismatchError: Well-formed content other than the pinned one.
    """
    summary = hashlib.blake2b(FORMAT.encode(), digest_size=32)
    ordered: list[NDArray[Any]] = []
    for split, x_any, y_any, rows in (
        ("train", raw.x_train, raw.y_train, entry.train_rows),
        ("test", raw.x_test, raw.y_test, entry.test_rows),
    ):
        check = _Check(entry, origin, split)
        x = check.inputs(x_any)
        y = check.targets(y_any)
        check.rows(len(x), len(y), rows)
        digests = _row_digests(x, y)
        order = sorted(range(len(x)), key=digests.__getitem__)
        for array in (x, y):
            summary.update(f"|{split} {array.dtype.str} {array.shape}|".encode())
        summary.update(b"".join(digests[row] for row in order))
        ordered += [x[order], y[order]]
    fingerprint = summary.hexdigest()
    if entry.fingerprint not in (None, fingerprint):
        raise FingerprintMismatchError(
            f"dataset {entry.name!r}: the content of {origin} is not the known one: expected "
            f"fingerprint {entry.fingerprint}, found {fingerprint}. Replace it by the known "
            f"content (without the file, `sweep data fetch {entry.name}` makes it again), or register "
            "changed data under a name of its own."
        )
    return Canonical(ordered[0], ordered[1], ordered[2], ordered[3], fingerprint)


@dataclass(frozen=True)
class _Check:
    """The checks of one split; each returns the array in its canonical type and shape."""

    entry: DatasetEntry
    origin: str
    split: str

    def inputs(self, x: NDArray[Any]) -> NDArray[Any]:
        key = f"x_{self.split}"
        if not self.entry.is_image:
            shape = self.entry.input_shape
            if x.ndim != 2 or x.shape[1:] != shape:
                self._refuse(key, f"has shape {x.shape}, expected (rows, {shape[0]})")
            return self._floats(key, x)
        channels, height, width = self.entry.input_shape
        shapes = [(height, width, channels)] + [(height, width)] * (channels == 1)
        if x.shape[1:] not in shapes:
            expected = " or ".join(f"(rows, {', '.join(map(str, shape))})" for shape in shapes)
            self._refuse(key, f"has shape {x.shape}, expected {expected}")
        if x.dtype != np.uint8:
            self._refuse(key, f"has type {x.dtype}, expected uint8")
        top = int(x.max(initial=0))
        if top > self.entry.pixel_max:
            self._refuse(key, f"holds the value {top}, expected 0 to {self.entry.pixel_max}")
        return np.ascontiguousarray(x.reshape(len(x), *shapes[-1]))

    def targets(self, y: NDArray[Any]) -> NDArray[Any]:
        key = f"y_{self.split}"
        outputs = self.entry.outputs
        if self.entry.task == "regression":
            if y.ndim == 1 and outputs == 1:
                y = y[:, None]
            if y.ndim != 2 or y.shape[1] != outputs:
                self._refuse(key, f"has shape {y.shape}, expected (rows, {outputs})")
            return self._floats(key, y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim != 1:
            self._refuse(key, f"has shape {y.shape}, expected (rows,)")
        if y.dtype.kind not in "iu":
            self._refuse(key, f"has type {y.dtype}, expected integers")
        if y.size:
            for label in (int(y.min()), int(y.max())):
                if not 0 <= label < outputs:
                    self._refuse(key, f"holds the label {label}, expected 0 to {outputs - 1}")
            if self.split == "train" and y.min() == y.max():
                self._refuse(key, f"holds a single class, {int(y[0])}, expected at least two")
        return np.ascontiguousarray(y.astype("<i8"))

    def rows(self, inputs: int, targets: int, expected: int | None) -> None:
        if inputs != targets:
            self._refuse(f"x_{self.split}", f"has {inputs} rows, but y_{self.split} has {targets}")
        if inputs == 0:
            self._refuse(f"x_{self.split}", "has no rows")
        if expected is not None and inputs != expected:
            self._refuse(f"x_{self.split}", f"has {inputs} rows, expected {expected}")

    def _floats(self, key: str, values: NDArray[Any]) -> NDArray[Any]:
        if values.dtype.kind not in "fiu":
            self._refuse(key, f"has type {values.dtype}, expected floats")
        floats = np.ascontiguousarray(values.astype("<f8"))
        bad = ~np.isfinite(floats)
        if bad.any():
            row = int(np.argwhere(bad)[0, 0])
            self._refuse(key, f"holds NaN or infinity, first in row {row}")
        return floats

    def _refuse(self, key: str, problem: str) -> None:
        raise DatasetFileError(f"dataset {self.entry.name!r}: {self.origin}: {key} {problem}")


def _row_digests(x: NDArray[Any], y: NDArray[Any]) -> list[bytes]:
    """Hashes each row's input bytes followed by its target bytes; both arrays are contiguous."""
    inputs, targets = x.reshape(-1).view(np.uint8).data, y.reshape(-1).view(np.uint8).data
    x_width, y_width = x.nbytes // len(x), y.nbytes // len(y)
    digests = []
    for row in range(len(x)):
        digest = hashlib.blake2b(inputs[row * x_width : (row + 1) * x_width], digest_size=32)
        digest.update(targets[row * y_width : (row + 1) * y_width])
        digests.append(digest.digest())
    return digests

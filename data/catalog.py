"""The datasets by name: what each one is, without its data.

An entry is a frozen value that planning can read without torch, numpy or any file. How the arrays
are obtained is named, not imported: built-in entries point to their functions as
``"module:function"``. A dataset from outside the package is one `register` call.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from data.errors import UnknownDatasetError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Task = Literal["classification", "regression"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_HOOK = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class RawArrays:
    """A dataset as `DatasetEntry.prepare` returns it; rows may come in any order.

    Attributes:
        x_train: Inputs, ``[n, ...]``. Images are uint8, ``[n, H, W, C]`` or, with one channel,
            ``[n, H, W]``; tables are floats, ``[n, F]``, not standardised.
        y_train: Targets. Classes are integers from 0, ``[n]``; regression targets are floats,
            ``[n, outputs]`` or, with one output, ``[n]``, not standardised.
        x_test: Inputs of the test split.
        y_test: Targets of the test split.
    """

    x_train: NDArray[np.generic]
    y_train: NDArray[np.generic]
    x_test: NDArray[np.generic]
    y_test: NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """What is known of a dataset before its data is read.

    Attributes:
        name: What studies call it: lower case letters, digits, ``_`` and ``-``.
        task: ``"classification"`` or ``"regression"``.
        outputs: Classes, or width of the regression target.
        input_shape: Shape of one input as a network sees it: ``(C, H, W)`` or ``(F,)``.
        train_rows: Rows of the training split, None when not known in advance.
        test_rows: Rows of the test split, None when not known in advance.
        fingerprint: Fingerprint the content must have (`data.canonical`), None to accept any.
        version: Raised by hand when the meaning of the data changes; part of `identity`.
        prepare: Makes the arrays from what lies in the directory it is given. It does not use the
            network. Raises FileNotFoundError when its source is not there. A function, or
            ``"module:function"``.
        source: File or directory, relative to the data directory, that `prepare` reads; None when
            it reads nothing there.
        download: Puts `source` into the directory it is given, None when there is nothing to
            download.
        embedded: `prepare` needs no file and takes no time, so nothing is ever written for it.
        pixel_max: Largest value of an image, mapped to 1 in network inputs.
        class_rows: Rows of each class in the training and in the test split, None when not known
            in advance; see `rows`.
    """

    name: str
    task: Task
    outputs: int
    input_shape: tuple[int, ...]
    prepare: Callable[[Path], RawArrays] | str
    train_rows: int | None = None
    test_rows: int | None = None
    fingerprint: str | None = None
    version: int = 1
    source: str | None = None
    download: Callable[[Path], None] | str | None = None
    embedded: bool = False
    pixel_max: int = 255
    class_rows: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            ValueError: A field has a value that is not allowed; the message names both.
        """
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                f"dataset name {self.name!r} is not allowed: 1 to 64 characters of a-z, 0-9, "
                "'_' and '-', the first one a letter or digit"
            )
        if self.task not in get_args(Task):
            self._refuse("task", "'classification' or 'regression'")
        least = 2 if self.task == "classification" else 1
        if not _is_count(self.outputs, least):
            self._refuse("outputs", f"an integer of at least {least}")
        if (
            not isinstance(self.input_shape, tuple)
            or len(self.input_shape) not in (1, 3)
            or not all(_is_count(size, 1) for size in self.input_shape)
        ):
            self._refuse("input_shape", "(channels, height, width) or (features,), all positive")
        for key in ("train_rows", "test_rows"):
            if getattr(self, key) is not None and not _is_count(getattr(self, key), 1):
                self._refuse(key, "a positive integer or None")
        if self.fingerprint is not None and not (
            isinstance(self.fingerprint, str) and _FINGERPRINT.fullmatch(self.fingerprint)
        ):
            self._refuse("fingerprint", "64 lower case hexadecimal digits or None")
        if not _is_count(self.version, 1):
            self._refuse("version", "an integer of at least 1")
        if not _is_hook(self.prepare):
            self._refuse("prepare", "a function or 'module:function'")
        if self.download is not None and not _is_hook(self.download):
            self._refuse("download", "a function, 'module:function' or None")
        if self.source is not None and (
            not isinstance(self.source, str)
            or not self.source
            or Path(self.source).is_absolute()
            or ".." in Path(self.source).parts
        ):
            self._refuse("source", "a path inside the data directory or None")
        if not _is_count(self.pixel_max, 1) or self.pixel_max > 255:
            self._refuse("pixel_max", "an integer from 1 to 255")
        if self.class_rows is not None and not (
            self.task == "classification"
            and isinstance(self.class_rows, tuple)
            and len(self.class_rows) == 2
            and all(_are_counts(split, self.outputs) for split in self.class_rows)
        ):
            self._refuse(
                "class_rows",
                "for classification, two tuples with one count for each class, or None",
            )

    def rows(self, classes: tuple[int, ...] | None = None) -> tuple[int | None, int | None]:
        """Returns the rows of the training and of the test split, without the data.

        Args:
            classes: Only rows of these classes are counted, None for all.

        Returns:
            The two counts; None where a count is not known in advance. Counts of classes that do
            not add up to the rows are those of other data, as in an entry made from another by
            `dataclasses.replace`: then nothing is known of single classes.
        """
        known = (self.train_rows, self.test_rows)
        if classes is None:
            return known
        if self.class_rows is None or tuple(sum(rows) for rows in self.class_rows) != known:
            return None, None
        train, test = (sum(rows[label] for label in classes) for rows in self.class_rows)
        return train, test

    @property
    def is_image(self) -> bool:
        """Whether inputs are images, ``[C, H, W]``, and not rows of a table."""
        return len(self.input_shape) == 3

    @property
    def identity(self) -> str:
        """What this dataset contributes to a trial's identity, known without its data."""
        return f"{self.name}:{self.version}:{self.fingerprint or 'unpinned'}"

    def _refuse(self, key: str, allowed: str) -> None:
        raise ValueError(
            f"dataset {self.name!r}: {key} = {getattr(self, key)!r} is not allowed: {allowed}"
        )


def resolve(hook: Callable[[Path], Any] | str) -> Callable[[Path], Any]:
    """Returns the function that an entry names.

    Args:
        hook: A function, or ``"module:function"``.

    Returns:
        The function.
    """
    if not isinstance(hook, str):
        return hook
    module, _, function = hook.partition(":")
    found: Callable[[Path], Any] = getattr(importlib.import_module(module), function)
    return found


def register(entry: DatasetEntry, *, replace: bool = False) -> None:
    """Makes a dataset known under its name, in this process.

    Registering an equal entry again changes nothing.

    Args:
        entry: The dataset.
        replace: Whether a different entry under the same name is replaced.

    Raises:
        ValueError: A different entry has that name and `replace` is false.
    """
    known = _ENTRIES.get(entry.name)
    if known is not None and known != entry and not replace:
        raise ValueError(
            f"dataset {entry.name!r} is already registered with other properties: choose another "
            "name, or pass replace=True"
        )
    _ENTRIES[entry.name] = entry


def get(name: str) -> DatasetEntry:
    """Returns the entry of a dataset.

    Args:
        name: A registered name.

    Returns:
        The entry.

    Raises:
        UnknownDatasetError: No dataset has that name; the message lists those there are.
    """
    entry = _ENTRIES.get(name) if isinstance(name, str) else None
    if entry is None:
        raise UnknownDatasetError(
            f"dataset {name!r} is not known: allowed are {', '.join(names())}"
        )
    return entry


def names() -> tuple[str, ...]:
    """Returns the names of all registered datasets, sorted."""
    return tuple(sorted(_ENTRIES))


def registered() -> tuple[DatasetEntry, ...]:
    """The entries that did not ship with the package; workers need to be told of them."""
    return tuple(entry for entry in _ENTRIES.values() if entry not in _BUILT_IN)


def _is_count(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _are_counts(values: object, length: int) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) == length
        and all(_is_count(count, 0) for count in values)
    )


def _is_hook(value: object) -> bool:
    return bool(_HOOK.fullmatch(value)) if isinstance(value, str) else callable(value)


_BUILT_IN = (
    DatasetEntry(
        name="cifar10",
        task="classification",
        outputs=10,
        input_shape=(3, 32, 32),
        train_rows=50_000,
        test_rows=10_000,
        fingerprint="fd1ff941e711b368a15596da9c32838ff5b03c96b40248622fb5bee5e95e4dcf",
        source="cifar-10-batches-py",
        prepare="data.builtin:cifar10",
        download="data.builtin:download_cifar10",
        class_rows=((5_000,) * 10, (1_000,) * 10),
    ),
    DatasetEntry(
        name="fashion_mnist",
        task="classification",
        outputs=10,
        input_shape=(1, 28, 28),
        train_rows=60_000,
        test_rows=10_000,
        fingerprint="b888ff45011fa02bf60ac66ffb22884acd1d0231936787f107a58862acaa8d15",
        source="FashionMNIST/raw",
        prepare="data.builtin:fashion_mnist",
        download="data.builtin:download_fashion_mnist",
        class_rows=((6_000,) * 10, (1_000,) * 10),
    ),
    # Not pinned: what is checked are the counts and shapes here and, in a download, the checksums
    # that torchvision carries. The fingerprint that was found is recorded with every result.
    DatasetEntry(
        name="mnist",
        task="classification",
        outputs=10,
        input_shape=(1, 28, 28),
        train_rows=60_000,
        test_rows=10_000,
        source="MNIST/raw",
        prepare="data.builtin:mnist",
        download="data.builtin:download_mnist",
        class_rows=(
            (5_923, 6_742, 5_958, 6_131, 5_842, 5_421, 5_918, 6_265, 5_851, 5_949),
            (980, 1_135, 1_032, 1_010, 982, 892, 958, 1_028, 974, 1_009),
        ),
    ),
    DatasetEntry(
        name="california_housing",
        task="regression",
        outputs=1,
        input_shape=(8,),
        train_rows=16_512,
        test_rows=4_128,
        fingerprint="8becee2e432721b1e28c6e1cf62a3c5784f37a9766772932aa2213421ba8ca35",
        source="cal_housing_py3.pkz",
        prepare="data.builtin:california_housing",
        download="data.builtin:download_california_housing",
    ),
    DatasetEntry(
        name="digits",
        task="classification",
        outputs=10,
        input_shape=(1, 8, 8),
        train_rows=1_437,
        test_rows=360,
        fingerprint="0a8d93f26eb1c0423efbb5049c31607c22eb0298d8388c12a36f8ecf0e920bb7",
        prepare="data.builtin:digits",
        embedded=True,
        pixel_max=16,
        class_rows=(
            (142, 146, 142, 146, 145, 145, 145, 143, 139, 144),
            (36, 36, 35, 37, 36, 37, 36, 36, 35, 36),
        ),
    ),
    DatasetEntry(
        name="known_function",
        task="regression",
        outputs=1,
        input_shape=(10,),
        train_rows=2_000,
        test_rows=1_000,
        fingerprint="2a6a0cf8d3e8d4b30a2749da874b249f7205daf77b4f5d2b46c145dc91956994",
        prepare="data.known_function:known_function",
        embedded=True,
    ),
)

_ENTRIES: dict[str, DatasetEntry] = {entry.name: entry for entry in _BUILT_IN}

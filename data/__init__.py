"""The datasets, by name: fetch, cache, split, standardise, corrupt, augment.

Importing this package loads neither torch nor numpy; tensors come from `data.load`, which does::

    import data
    from data.load import load

    loaded = load(data.DataSpec("digits", validation=0.1))
"""

from data.augment import Augment
from data.catalog import DatasetEntry, RawArrays, Task, get, names, register, registered
from data.errors import (
    DataError,
    DatasetFileError,
    DatasetUnavailableError,
    FingerprintMismatchError,
    UnknownDatasetError,
)
from data.spec import DataSpec
from data.store import DatasetStatus, default_data_dir, describe, fetch, verify

__all__ = [
    "Augment",
    "DataError",
    "DataSpec",
    "DatasetEntry",
    "DatasetFileError",
    "DatasetStatus",
    "DatasetUnavailableError",
    "FingerprintMismatchError",
    "RawArrays",
    "Task",
    "UnknownDatasetError",
    "default_data_dir",
    "describe",
    "fetch",
    "get",
    "names",
    "register",
    "registered",
    "verify",
]

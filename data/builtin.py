"""How the built-in datasets are obtained: torchvision and scikit-learn.

For each dataset, one function reads what lies in a directory and, unless the data is embedded in
scikit-learn, one downloads it there. The libraries are imported inside, since they take seconds
and most loads find a prepared file.
"""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from data.catalog import RawArrays
from data.errors import DatasetFileError
from data.stratify import random_keys, stratified_order
from data.strict_joblib import require_plain_array


def cifar10(folder: Path) -> RawArrays:
    """Reads CIFAR-10 (Krizhevsky 2009) as torchvision keeps it."""
    return _torchvision_arrays("CIFAR10", folder)


def download_cifar10(folder: Path) -> None:
    """Downloads CIFAR-10 with torchvision."""
    _torchvision_download("CIFAR10", folder)


def fashion_mnist(folder: Path) -> RawArrays:
    """Reads Fashion-MNIST (Xiao et al. 2017) as torchvision keeps it."""
    return _torchvision_arrays("FashionMNIST", folder)


def download_fashion_mnist(folder: Path) -> None:
    """Downloads Fashion-MNIST with torchvision."""
    _torchvision_download("FashionMNIST", folder)


def mnist(folder: Path) -> RawArrays:
    """Reads MNIST (LeCun et al. 1998) as torchvision keeps it."""
    return _torchvision_arrays("MNIST", folder)


def download_mnist(folder: Path) -> None:
    """Downloads MNIST with torchvision."""
    _torchvision_download("MNIST", folder)


def california_housing(folder: Path) -> RawArrays:
    """Reads California Housing (Pace and Barry 1997) as scikit-learn keeps it, and splits it.

    A fifth of the rows is for testing, chosen by scikit-learn's `train_test_split` with seed 42 on
    scikit-learn's row order: the split of the published results.
    """
    from sklearn.datasets import fetch_california_housing
    from sklearn.model_selection import train_test_split

    try:
        require_plain_array(folder / "cal_housing_py3.pkz")
        bunch = fetch_california_housing(data_home=str(folder), download_if_missing=False)
    except Exception as error:
        raise DatasetFileError(
            f"scikit-learn cannot read {folder / 'cal_housing_py3.pkz'}: {error}"
        ) from error
    x_train, x_test, y_train, y_test = train_test_split(
        bunch.data, bunch.target, test_size=0.2, random_state=42
    )
    return RawArrays(x_train, y_train, x_test, y_test)


def download_california_housing(folder: Path) -> None:
    """Downloads California Housing with scikit-learn."""
    from sklearn.datasets import fetch_california_housing

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one per retry; the error says it all
        fetch_california_housing(data_home=str(folder), download_if_missing=True)


def digits(folder: Path) -> RawArrays:
    """Reads the 8x8 digits that come with scikit-learn (Alpaydin and Kaynak 1998), and splits them.

    A fifth of the rows, stratified by class, is for testing.
    """
    del folder  # nothing is read there
    rows = _digits_table()
    images = rows[:, :64].astype(np.uint8).reshape(-1, 8, 8)
    labels = rows[:, 64].astype(np.int64)
    order = stratified_order(random_keys(len(rows), seed=42, purpose="digits test"), labels)
    test, train = order[:360], order[360:]
    return RawArrays(images[train], labels[train], images[test], labels[test])


def _digits_table() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Returns 64 pixels and the label per row, ``[1797, 65]``."""
    # Importing scikit-learn takes seconds in every worker, finding its file does not.
    package = importlib.util.find_spec("sklearn")
    for folder in (package.submodule_search_locations or []) if package else []:
        table = Path(folder, "datasets", "data", "digits.csv.gz")
        if table.is_file():
            return np.loadtxt(table, delimiter=",", dtype=np.float64)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])


def _torchvision_arrays(dataset: str, folder: Path) -> RawArrays:
    import torchvision.datasets

    parts = []
    for train in (True, False):
        try:
            part = getattr(torchvision.datasets, dataset)(str(folder), train=train, download=False)
        except Exception as error:
            raise DatasetFileError(
                f"torchvision cannot read its {dataset} files in {folder}: {error}"
            ) from error
        parts += [np.asarray(part.data), np.asarray(part.targets)]
    return RawArrays(*parts)


def _torchvision_download(dataset: str, folder: Path) -> None:
    import torchvision.datasets

    getattr(torchvision.datasets, dataset)(str(folder), download=True)

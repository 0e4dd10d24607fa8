"""The ways in: what torchvision and scikit-learn are asked for, and what is made of it.

Nothing here uses the network: downloads are played by stand-ins that write into the directory they
are given, as the real ones do.
"""

import struct
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import joblib
import numpy as np
import pytest

import data
from data import DatasetEntry
from data.builtin import _digits_table, digits, mnist

CIFAR_FOLDER = "cifar-10-batches-py"


def small(name: str, train_rows: int, test_rows: int) -> DatasetEntry:
    """Registers a built-in dataset with other row counts and no pinned content."""
    entry = replace(data.get(name), train_rows=train_rows, test_rows=test_rows, fingerprint=None)
    data.register(entry, replace=True)
    return entry


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces torchvision's datasets; returns the folders that were downloaded to."""
    folders: list[str] = []

    class CIFAR10:
        def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
            folder = Path(root, CIFAR_FOLDER)
            if download:
                folders.append(root)
                folder.mkdir()
            if not folder.is_dir():
                raise RuntimeError("Dataset not found or corrupted.")
            rows = 4 if train else 2
            self.data = np.full((rows, 32, 32, 3), 7 if train else 9, np.uint8)
            self.targets = [row % 2 for row in range(rows)]

    package, module = ModuleType("torchvision"), ModuleType("torchvision.datasets")
    module.CIFAR10 = CIFAR10  # type: ignore[attr-defined]
    package.datasets = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    return folders


def test_torchvision_download_is_prepared_once(tmp_path: Path, downloads: list[str]) -> None:
    small("cifar10", 4, 2)
    status = data.fetch("cifar10", tmp_path)
    assert (status.rows, status.path) == ((4, 2), tmp_path / "cifar10.npz")
    assert len(downloads) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["cifar10.npz"]
    with np.load(tmp_path / "cifar10.npz", allow_pickle=False) as saved:
        assert saved["x_train"].shape == (4, 32, 32, 3)
        assert set(saved["x_test"].ravel()) == {9}
        assert sorted(saved["y_train"]) == [0, 0, 1, 1]
    assert data.fetch("cifar10", tmp_path) == status
    assert len(downloads) == 1


def test_files_that_torchvision_left_are_used(tmp_path: Path, downloads: list[str]) -> None:
    small("cifar10", 4, 2)
    (tmp_path / CIFAR_FOLDER).mkdir()
    assert data.verify("cifar10", tmp_path).path == tmp_path / CIFAR_FOLDER
    assert downloads == []


def test_a_torchvision_download_of_other_content_is_refused(
    tmp_path: Path, downloads: list[str]
) -> None:
    data.register(replace(data.get("cifar10"), train_rows=4, test_rows=2), replace=True)
    with pytest.raises(data.FingerprintMismatchError, match="'cifar10': the content of the down"):
        data.fetch("cifar10", tmp_path)


def test_damaged_torchvision_files_are_named(
    tmp_path: Path, downloads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / CIFAR_FOLDER).mkdir()

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("Dataset not found or corrupted.")

    monkeypatch.setattr(sys.modules["torchvision.datasets"], "CIFAR10", broken)
    with pytest.raises(data.DatasetFileError) as caught:
        data.verify("cifar10", tmp_path)
    assert f"torchvision cannot read its CIFAR10 files in {tmp_path}" in str(caught.value)
    assert f"Without {CIFAR_FOLDER}, `sweep data fetch cifar10` makes it again" in str(caught.value)


def test_california_housing_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.datasets

    asked = []

    def fetch_california_housing(*, data_home: str, download_if_missing: bool) -> SimpleNamespace:
        asked.append(download_if_missing)
        cache = Path(data_home, "cal_housing_py3.pkz")
        if download_if_missing:
            joblib.dump(np.zeros((10, 9)), cache, compress=6)
        elif not cache.exists():
            raise OSError("Data not found and `download_if_missing` is False")
        rows = np.arange(10.0)
        return SimpleNamespace(data=np.tile(rows[:, None], 8), target=rows)

    monkeypatch.setattr(sklearn.datasets, "fetch_california_housing", fetch_california_housing)
    small("california_housing", 8, 2)
    status = data.fetch("california_housing", tmp_path)
    assert (status.rows, status.path) == ((8, 2), tmp_path / "california_housing.npz")
    assert asked == [True, False]
    assert [path.name for path in tmp_path.iterdir()] == ["california_housing.npz"]
    with np.load(tmp_path / "california_housing.npz", allow_pickle=False) as saved:
        # numpy.random.RandomState(42).permutation(10) starts 8, 1: these rows are the test part.
        assert sorted(saved["y_test"].ravel()) == [1, 8]
        assert saved["x_train"].dtype == np.float64
        np.testing.assert_array_equal(saved["x_train"][:, :1], saved["y_train"])


def test_damaged_california_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cal_housing_py3.pkz").write_bytes(b"x\x9cbroken")
    with pytest.raises(data.DatasetFileError, match=r"scikit-learn cannot read .*housing_py3\.pkz"):
        data.verify("california_housing", tmp_path)


@pytest.mark.slow  # imports torchvision
def test_torchvision_itself_reads_raw_mnist_files(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28)
    for part, count in (("train", 2), ("t10k", 1)):
        # The format of the MNIST page: type 8 (unsigned byte), rank, big-endian sizes, values.
        header = struct.pack(">HBB3I", 0, 8, 3, count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images[:count].tobytes())
        labels = struct.pack(">HBBI", 0, 8, 1, count) + bytes([5, 3][:count])
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    found = mnist(tmp_path)
    np.testing.assert_array_equal(found.x_train, images)
    assert (found.y_train.tolist(), found.y_test.tolist()) == ([5, 3], [5])
    small("mnist", 2, 1)
    assert data.verify("mnist", tmp_path).rows == (2, 1)


def test_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    expected = np.column_stack([bunch.data, bunch.target])
    np.testing.assert_array_equal(_digits_table(), expected)
    found = digits(tmp_path)
    together = [
        np.column_stack([x.reshape(len(x), 64), y])
        for x, y in ((found.x_train, found.y_train), (found.x_test, found.y_test))
    ]
    assert [len(part) for part in together] == [1_437, 360]
    rows = np.concatenate(together)
    np.testing.assert_array_equal(
        rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)].astype(rows.dtype)
    )

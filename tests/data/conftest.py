"""A small dataset of our own, and a registry that forgets what a test registers."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from data import DatasetEntry, RawArrays, catalog, register


def toy_arrays(rows: int = 12) -> RawArrays:
    """Twelve training and six test images of 2x2 pixels in three classes; no two rows alike."""
    pixels = np.arange(4 * (rows + 6), dtype=np.uint8).reshape(-1, 2, 2)
    labels = np.arange(rows + 6) % 3
    return RawArrays(pixels[:rows], labels[:rows], pixels[rows:], labels[rows:])


def toy_prepare(folder: Path) -> RawArrays:
    return toy_arrays()


def table_prepare(folder: Path) -> RawArrays:
    x = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [6.0, 5.0]])
    y = np.array([10.0, 20.0, 30.0, 40.0])
    return RawArrays(x, y, np.array([[5.0, 6.0], [-2.0, 5.0]]), np.array([25.0, 5.0]))


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_ENTRIES", dict(catalog._ENTRIES))


@pytest.fixture
def toy() -> DatasetEntry:
    """A registered image dataset that `prepare` makes from nothing."""
    entry = DatasetEntry(
        name="toy",
        task="classification",
        outputs=3,
        input_shape=(1, 2, 2),
        train_rows=12,
        test_rows=6,
        prepare=toy_prepare,
    )
    register(entry)
    return entry


@pytest.fixture
def table() -> DatasetEntry:
    """A registered regression table; the second column is constant in training."""
    entry = DatasetEntry(
        name="table",
        task="regression",
        outputs=1,
        input_shape=(2,),
        train_rows=4,
        test_rows=2,
        prepare=table_prepare,
    )
    register(entry)
    return entry


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Saves arrays as NAME.npz in the test's directory, replacing or dropping some by keyword."""

    def save(name: str, arrays: RawArrays, **changes: np.ndarray | None) -> Path:
        content = {**vars(arrays), **changes}
        path = tmp_path / f"{name}.npz"
        np.savez(path, **{key: array for key, array in content.items() if array is not None})
        return path

    return save


@pytest.fixture
def unprivileged_after() -> Iterator[Callable[[Path], None]]:
    """Makes a directory read-only, and root a user whom that binds until the test ends."""
    closed: list[Path] = []
    root = os.geteuid() == 0

    def close(folder: Path) -> None:
        folder.chmod(0o555)
        closed.append(folder)
        if root:
            os.seteuid(65534)

    yield close
    if root:
        os.seteuid(0)
    for folder in closed:
        folder.chmod(0o755)

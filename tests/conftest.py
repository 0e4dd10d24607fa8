"""Fixtures every room shares: where the real datasets and the published results are."""

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("no clock", deadline=None)  # a busy machine is no fault
settings.load_profile("no clock")

ROOT = Path(__file__).resolve().parent.parent

# Read when Ray is imported, by whichever test does so first: a cluster of a test stays on loopback.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """No garbage is looked for while tests are collected.

    Nearly all that this makes stays to the end: to look through it again and again took a third of
    the time, in each process. What is there when tests begin is not looked through again either.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def _folder(variable: str, default: Path, what: str) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"{what} not found in {folder}; set {variable}")
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """A folder with the prepared real datasets."""
    return _folder("SWEEP_DATA_DIR", ROOT.parent / "shared" / "data", "real datasets")


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """A folder with the published trials and teacher weights."""
    return _folder("SWEEP_REFERENCE_DIR", ROOT.parent / "shared" / "reference", "published results")


@pytest.fixture
def numerics_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ids as of numerics version 1, for those that are written down in tests.

    What a version computes changes every id; that nothing else does is what these tests are for.
    """
    from trials import spec

    monkeypatch.setattr(spec, "NUMERICS_VERSION", 1)
    spec._base.cache_clear()
    yield
    spec._base.cache_clear()

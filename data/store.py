"""The data directory: where each dataset lies, how it gets there, whether it is whole.

A prepared ``NAME.npz`` is used as it is; next comes a source that torchvision or scikit-learn has
left there; only `fetch` (or an explicit ``download=True``) uses the network, and only `fetch`
writes. A download goes to a directory of its own first, so two of them do not meet, and a directory
that cannot be written serves what it holds.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data import catalog
from data.catalog import DatasetEntry, RawArrays, Task
from data.errors import DataError, DatasetFileError, DatasetUnavailableError

if TYPE_CHECKING:
    from data.canonical import Canonical


@dataclass(frozen=True)
class DatasetStatus:
    """Where a dataset stands in a data directory.

    Attributes:
        name: The dataset.
        task: Its task.
        rows: Rows of the training and test split, None when not known.
        present: Whether it can be loaded without a download.
        path: The file or directory it is, or would be, loaded from; None when it needs none.
        fingerprint: Found by `fetch` and `verify`; the pinned one, if any, from `describe`.
    """

    name: str
    task: Task
    rows: tuple[int, int] | None
    present: bool
    path: Path | None
    fingerprint: str | None


def default_data_dir() -> Path:
    """Returns the data directory that is used when none is given.

    Returns:
        ``$SWEEP_DATA_DIR``, or ``~/.cache/distillation-sweep`` when that is not set.
    """
    given = os.environ.get("SWEEP_DATA_DIR")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "distillation-sweep"


def read(name: str, data_dir: Path | None = None, download: bool = False) -> Canonical:
    """Reads a dataset in canonical form.

    Args:
        name: A registered dataset.
        data_dir: The data directory, None for `default_data_dir`.
        download: Whether to `fetch` it first when it is absent.

    Returns:
        The checked arrays in canonical row order, with their fingerprint.

    Raises:
        UnknownDatasetError: The name is not registered.
        DatasetUnavailableError: It is absent, or could not be downloaded.
        DatasetFileError: A file is damaged or holds something else.
        FingerprintMismatchError: The content is not the pinned one.
    """
    entry, folder = catalog.get(name), _folder(data_dir)
    if _location(entry, folder)[1] or not download:
        return _read_present(entry, folder)
    return _download(entry, folder)


def fetch(name: str, data_dir: Path | None = None) -> DatasetStatus:
    """Makes a dataset ready in the data directory: downloads what is absent, prepares, verifies.

    Writes ``NAME.npz`` unless it is there already, the dataset is embedded, or it was made from
    files in a directory that cannot be written.

    Args:
        name: A registered dataset.
        data_dir: The data directory, None for `default_data_dir`; made when absent.

    Returns:
        The status after that, with the fingerprint found.

    Raises:
        UnknownDatasetError: The name is not registered.
        DatasetUnavailableError: It could not be downloaded, or not be written.
        DatasetFileError: A file is damaged or holds something else; it is left as it is.
        FingerprintMismatchError: The content is not the pinned one.
    """
    entry, folder = catalog.get(name), _folder(data_dir)
    path, present = _location(entry, folder)
    if not present:
        found = _download(entry, folder)
    else:
        found = _read_present(entry, folder)
        if not entry.embedded and path != prepared_path(entry, folder):
            try:
                _write(entry, folder, found)
            except OSError:  # a directory that is only read still serves its source
                return _status(entry, folder, found)
    return _status(entry, folder, found)


def verify(name: str, data_dir: Path | None = None) -> DatasetStatus:
    """Reads a dataset as a trial would and checks all of it; neither downloads nor writes.

    Args:
        name: A registered dataset.
        data_dir: The data directory, None for `default_data_dir`.

    Returns:
        The status, with the fingerprint found.

    Raises:
        UnknownDatasetError: The name is not registered.
        DatasetUnavailableError: It is absent.
        DatasetFileError: A file is damaged or holds something else.
        FingerprintMismatchError: The content is not the pinned one.
    """
    entry, folder = catalog.get(name), _folder(data_dir)
    return _status(entry, folder, _read_present(entry, folder))


def describe(data_dir: Path | None = None) -> list[DatasetStatus]:
    """Lists all registered datasets by name, without opening a file.

    Args:
        data_dir: The data directory, None for `default_data_dir`.

    Returns:
        One status for each, in the order of `names`.
    """
    folder = _folder(data_dir)
    return [_status(catalog.get(name), folder, None) for name in catalog.names()]


def prepared_path(entry: DatasetEntry, folder: Path) -> Path:
    """Returns where the prepared form of a dataset lies: a new version is a new file."""
    suffix = "" if entry.version == 1 else f".v{entry.version}"
    return folder / f"{entry.name}{suffix}.npz"


def _folder(data_dir: Path | None) -> Path:
    return default_data_dir() if data_dir is None else Path(data_dir).expanduser()


def _location(entry: DatasetEntry, folder: Path) -> tuple[Path | None, bool]:
    """Returns what a dataset is loaded from, and whether that can be done now."""
    prepared = prepared_path(entry, folder)
    if prepared.exists():
        return prepared, True
    if entry.embedded:
        return None, True
    if entry.source is not None and (folder / entry.source).exists():
        return folder / entry.source, True
    # With no source and no download, only `prepare` itself knows what it needs.
    if entry.source is None and entry.download is None:
        return None, True
    return prepared, False


def _read_present(entry: DatasetEntry, folder: Path) -> Canonical:
    prepared = prepared_path(entry, folder)
    path, present = _location(entry, folder)
    if not present:
        raise _absent(entry, folder)
    if path == prepared:
        from data.canonical import canonical
        from data.npz import read_npz

        try:
            raw = read_npz(prepared)
        except OSError as error:
            raise DatasetFileError(
                f"dataset {entry.name!r}: {prepared} cannot be opened: {error}"
            ) from error
        except DatasetFileError as error:
            raise DatasetFileError(
                f"dataset {entry.name!r}: {error}. Without the file, "
                f"`sweep data fetch {entry.name}` makes it again."
            ) from error
        return canonical(entry, raw, str(prepared))
    origin = str(folder / entry.source) if entry.source else "what prepare returned"
    return _prepare(entry, folder, origin)


def _prepare(entry: DatasetEntry, folder: Path, origin: str) -> Canonical:
    from data.canonical import canonical

    try:
        raw = catalog.resolve(entry.prepare)(folder)
    except FileNotFoundError as error:
        raise _absent(entry, folder, str(error)) from error
    except DatasetFileError as error:
        raise DatasetFileError(
            f"dataset {entry.name!r}: {error}. Without {entry.source}, "
            f"`sweep data fetch {entry.name}` makes it again."
        ) from error
    if not isinstance(raw, RawArrays):
        raise DatasetFileError(
            f"dataset {entry.name!r}: prepare returned {type(raw).__name__}, expected RawArrays"
        )
    return canonical(entry, raw, origin)


def _download(entry: DatasetEntry, folder: Path) -> Canonical:
    """Downloads, prepares, verifies and writes a dataset that is absent."""
    if entry.download is None:
        raise _absent(entry, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=folder))
    except OSError as error:
        raise _unwritable(entry, folder, error) from error
    try:
        try:
            catalog.resolve(entry.download)(aside)
        except DataError:
            raise
        except Exception as error:
            raise DatasetUnavailableError(
                f"dataset {entry.name!r} could not be downloaded to {folder}: "
                f"{type(error).__name__}: {error}. Where there is a network, "
                f"`sweep data fetch {entry.name}` makes "
                f"{prepared_path(entry, folder).name}, which can be copied there."
            ) from error
        found = _prepare(entry, aside, "the download")
        try:
            _write(entry, folder, found)
        except OSError as error:
            raise _unwritable(entry, folder, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return found


def _write(entry: DatasetEntry, folder: Path, found: Canonical) -> None:
    from data.npz import write_npz

    folder.mkdir(parents=True, exist_ok=True)
    arrays = RawArrays(found.x_train, found.y_train, found.x_test, found.y_test)
    write_npz(prepared_path(entry, folder), arrays)


def _status(entry: DatasetEntry, folder: Path, found: Canonical | None) -> DatasetStatus:
    path, present = _location(entry, folder)
    rows = None
    if found is not None:
        rows = (len(found.x_train), len(found.x_test))
    elif entry.train_rows is not None and entry.test_rows is not None:
        rows = (entry.train_rows, entry.test_rows)
    fingerprint = entry.fingerprint if found is None else found.fingerprint
    return DatasetStatus(entry.name, entry.task, rows, present, path, fingerprint)


def _absent(entry: DatasetEntry, folder: Path, reason: str = "") -> DatasetUnavailableError:
    prepared = prepared_path(entry, folder)
    looked_for = prepared.name + (f" or {entry.source}" if entry.source else "")
    cause = f" ({reason})" if reason else ""
    if entry.download is None:
        advice = "It has no download: put the file there, or name another directory"
    else:
        advice = f"Run `sweep data fetch {entry.name}`, or name another directory"
    return DatasetUnavailableError(
        f"dataset {entry.name!r} is not there: looked for {looked_for} in {folder}{cause}. "
        f"{advice} with SWEEP_DATA_DIR."
    )


def _unwritable(entry: DatasetEntry, folder: Path, error: OSError) -> DatasetUnavailableError:
    return DatasetUnavailableError(
        f"dataset {entry.name!r} is not in {folder}, and the directory cannot be written: {error}. "
        "Name another directory with SWEEP_DATA_DIR."
    )

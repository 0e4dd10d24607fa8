"""Files on a local disk: temporary name, fsync, rename, fsync of the folder.

What is asked of the operating system is a class of its own, so that tests can put another in its
place: one that fails, stops half way, or forgets what was not synced.
"""

import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import TypeVar

from data.atomic import TEMPORARY
from sweep.errors import StoreError
from sweep.files import Check, Entry, holder

T = TypeVar("T")


class Disk:
    """The calls of the operating system; each raises OSError."""

    def make_folder(self, folder: Path) -> None:
        """Makes one folder; one that is there is no error."""
        folder.mkdir(exist_ok=True)

    def is_folder(self, folder: Path) -> bool:
        """Whether there is such a folder."""
        return folder.is_dir()

    def create(self, path: Path) -> int:
        """A handle to write to a file, which must be new."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def write(self, handle: int, content: memoryview) -> int:
        """Writes some of it; returns how much."""
        return os.write(handle, content)

    def sync(self, handle: int) -> None:
        """Puts what was written on the disk."""
        os.fsync(handle)

    def close(self, handle: int) -> None:
        """Closes a file."""
        os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        """Gives a file another name, taking that of an earlier one."""
        old.replace(new)

    def link(self, old: Path, new: Path) -> None:
        """Gives a file one more name, which must be new."""
        new.hardlink_to(old)

    def remove(self, path: Path) -> None:
        """Removes a name; one that is not there is no error."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Puts the names in a folder on the disk."""
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def entries(self, folder: Path) -> list[tuple[str, int]]:
        """Names and sizes of the files in a folder."""
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # it went while we looked
                    found.append((entry.name, entry.stat().st_size))
        return found

    def read(self, path: Path) -> bytes:
        """The content of a file."""
        return path.read_bytes()

    def exists(self, path: Path) -> bool:
        """Whether there is such a file."""
        return path.is_file()

    @contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        """Holds a lock file, which names its holder; it is free when the process ends.

        Raises:
            StoreError: where another holds it.
            OSError: where it cannot be written.
        """
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if not _locked(handle):
                found = path.read_text("utf-8", errors="replace") or "another run"
                raise StoreError(f"{path.parent} is being written by {found}")
            with suppress(OSError):  # a full disk cannot hold the name; the lock holds all the same
                os.ftruncate(handle, 0)
                os.pwrite(handle, holder().encode(), 0)
            yield
        finally:
            os.close(handle)

    def is_locked(self, path: Path) -> bool:
        """Whether a process holds a lock file."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False


class LocalFiles:
    """See `sweep.files.Files`."""

    def __init__(self, disk: Disk | None = None) -> None:
        """Uses this machine's disks, or another."""
        self._disk = disk or Disk()
        self._sound: set[Path] = set()

    def shown(self, path: PurePath) -> str:
        """The path."""
        return str(path)

    def read(self, path: PurePath) -> bytes | None:
        """See `Files.read`."""
        try:
            return self._disk.read(Path(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _failed("read", path, error) from error

    def put(self, path: PurePath, content: bytes, *, durable: bool = True) -> None:
        """See `Files.put`."""
        place = Path(path)
        try:
            with self._written(place.parent, content, durable) as temporary:
                self._disk.rename(temporary, place)
            if durable:
                self._disk.sync_folder(place.parent)
        except OSError as error:
            raise _failed("write", path, error) from error

    def settle(self, folder: PurePath) -> None:
        """See `Files.settle`; contents were synced before they got their names."""
        try:
            if self._disk.is_folder(Path(folder)):
                self._disk.sync_folder(Path(folder))
        except OSError as error:
            raise _failed("write", folder, error) from error

    def put_if_absent(self, path: PurePath, content: bytes) -> bool:
        """See `Files.put_if_absent`."""
        place = Path(path)
        try:
            with self._written(place.parent, content, durable=True) as temporary:
                try:
                    self._disk.link(temporary, place)
                except FileExistsError:
                    return False
                finally:
                    self._disk.remove(temporary)
            self._disk.sync_folder(place.parent)
        except OSError as error:
            raise _failed("write", path, error) from error
        return True

    def entries(self, folder: PurePath) -> list[Entry]:
        """See `Files.entries`."""
        try:
            found = self._disk.entries(Path(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _failed("read", folder, error) from error
        return sorted(Entry(folder / name, size) for name, size in found)

    def remove(self, path: PurePath) -> None:
        """See `Files.remove`."""
        try:
            self._disk.remove(Path(path))
        except NotADirectoryError:
            return
        except OSError as error:
            raise _failed("remove", path, error) from error

    def exists(self, path: PurePath) -> bool:
        """See `Files.exists`."""
        return self._asked(self._disk.exists, path)

    def is_folder(self, path: PurePath) -> bool:
        """See `Files.is_folder`."""
        return self._asked(self._disk.is_folder, path)

    @contextmanager
    def lock(self, path: PurePath) -> Iterator[Check]:
        """See `Files.lock`."""
        place = Path(path)
        try:
            self._make_sound(place.parent)
            held = self._disk.lock(place)
            held.__enter__()
        except OSError as error:
            raise StoreError(
                f"cannot write to {place.parent}: {error.strerror or error}"
            ) from error
        try:
            yield _held
        finally:
            held.__exit__(None, None, None)

    def is_locked(self, path: PurePath) -> bool:
        """See `Files.is_locked`."""
        return self._asked(self._disk.is_locked, path)

    def _asked(self, ask: Callable[[Path], T], path: PurePath) -> T:
        try:
            return ask(Path(path))
        except OSError as error:
            raise _failed("read", path, error) from error

    @contextmanager
    def _written(self, folder: Path, content: bytes, durable: bool) -> Iterator[Path]:
        """A file under a temporary name; removed where the block fails."""
        self._make_sound(folder)
        temporary = folder / f"{TEMPORARY}{uuid.uuid4().hex}"
        try:
            handle = self._disk.create(temporary)
            try:
                left = memoryview(content)
                while left:
                    left = left[self._disk.write(handle, left) :]
                if durable:
                    self._disk.sync(handle)
            finally:
                self._disk.close(handle)
            yield temporary
        except BaseException:
            with suppress(OSError):
                self._disk.remove(temporary)
            raise

    def _make_sound(self, folder: Path) -> None:
        """Makes a folder that outlives a crash, with all those above.

        Also where they are there: whoever made them may have been stopped before that was sure.
        """
        if folder in self._sound and self._disk.is_folder(folder):
            return
        missing = []
        above = folder
        while not self._disk.is_folder(above) and above != above.parent:
            missing.append(above)
            above = above.parent
        for one in reversed(missing):
            self._disk.make_folder(one)
        for one in folder.parents:
            with suppress(PermissionError):  # not ours to read, so what is in it was not made by us
                self._disk.sync_folder(one)
        self._sound.add(folder)


def write_atomically(path: Path, content: bytes) -> None:
    """Puts a file in place whole: temporary name, fsync, rename, fsync of the folder.

    Raises:
        StoreError: where it cannot be written, naming it.
    """
    LocalFiles().put(path, content)


def _failed(what: str, path: PurePath, error: OSError) -> StoreError:
    return StoreError(f"cannot {what} {path}: {error.strerror or error}")


def _held() -> None:
    """The kernel holds the lock for as long as the process lives."""


def _locked(handle: int, attempts: int = 10, pause_s: float = 0.1) -> bool:
    """Takes the lock; a reader that looks who holds it has it for a moment, so tries again."""
    for _ in range(attempts):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(pause_s)
        else:
            return True
    return False

"""Where the bytes of a results directory lie: one small interface for local disks and object stores.

A file is there whole or not at all. Nothing is ever appended to or changed in place, so this is all
that a store needs; what a file is called is `sweep.layout`'s.
"""

import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import NamedTuple, Protocol

Check = Callable[[], None]
"""Raises StoreError where a lock that was taken is not held any more."""


class Entry(NamedTuple):
    """A file in a folder.

    Attributes:
        path: where it lies.
        size: bytes.
    """

    path: PurePath
    size: int


class Files(Protocol):
    """Reads and writes whole files.

    Every method raises StoreError, with the file's name and the reason, where the medium fails.
    Readers may be at work at any time and need no lock; only the holder of the lock changes files.
    """

    def shown(self, path: PurePath) -> str:
        """A path as a person writes it, with the scheme of an object store."""
        ...

    def read(self, path: PurePath) -> bytes | None:
        """The content of a file as some `put` gave it; None where there is none."""
        ...

    def put(self, path: PurePath, content: bytes, *, durable: bool = True) -> None:
        """Makes or replaces a file; its folder is made as needed.

        Readers see the old content or the new, never a part. When this returns, the new content
        outlives a crash of the machine; when it raises, either may be there.

        Args:
            path: of the file.
            content: all of it.
            durable: False for what is of no use after a crash: then an old content may come back.
        """
        ...

    def settle(self, folder: PurePath) -> None:
        """Makes what is seen in a folder outlive a crash, though whoever put it there was stopped."""
        ...

    def put_if_absent(self, path: PurePath, content: bytes) -> bool:
        """Makes a file unless there is one; of several at once, one succeeds.

        Args:
            path: of the file.
            content: all of it; those who contend for a name give different contents.

        Returns:
            Whether the file is now this one.
        """
        ...

    def entries(self, folder: PurePath) -> list[Entry]:
        """The files right in a folder, by name, unfinished ones too; none where there is no folder.

        A file that comes or goes meanwhile may be missed; one that stays is not.
        """
        ...

    def remove(self, path: PurePath) -> None:
        """Removes a file; one that is not there is no error. May be undone by a crash."""
        ...

    def exists(self, path: PurePath) -> bool:
        """Whether there is such a file."""
        ...

    def is_folder(self, path: PurePath) -> bool:
        """Whether there is such a folder; in an object store: whether something lies below it."""
        ...

    def lock(self, path: PurePath) -> AbstractContextManager[Check]:
        """Holds a lock that dies with its holder, and gives a check that it is still held.

        Raises:
            StoreError: where another holds it, naming that one, or it cannot be had.
        """
        ...

    def is_locked(self, path: PurePath) -> bool:
        """Whether someone holds the lock, as far as can be told without waiting."""
        ...


class Guarded:
    """Files that are changed only while a lock is held, from when one was taken.

    Attributes:
        check: asked before every change.
    """

    def __init__(self, files: Files) -> None:
        """Begins without a lock."""
        self._files = files
        self.check: Check = unlocked
        self.shown, self.read, self.exists = files.shown, files.read, files.exists
        self.entries, self.is_folder = files.entries, files.is_folder
        self.lock, self.is_locked = files.lock, files.is_locked
        self.settle = files.settle

    def put(self, path: PurePath, content: bytes, *, durable: bool = True) -> None:
        """See `Files.put`."""
        self.check()
        self._files.put(path, content, durable=durable)

    def put_if_absent(self, path: PurePath, content: bytes) -> bool:
        """See `Files.put_if_absent`."""
        self.check()
        return self._files.put_if_absent(path, content)

    def remove(self, path: PurePath) -> None:
        """See `Files.remove`."""
        self.check()
        self._files.remove(path)


def unlocked() -> None:
    """No lock was taken, so none can be lost."""


def at(location: Path | str) -> tuple[Files, PurePath]:
    """The files of a place, and its path among them.

    Args:
        location: a folder, or a URL that fsspec knows, such as `s3://bucket/prefix`.

    Raises:
        StoreError: where nothing here can read such a URL.
    """
    if "://" in str(location) and not str(location).startswith("file://"):
        from sweep.object_files import ObjectFiles

        return ObjectFiles.at(str(location))
    from sweep.local_files import LocalFiles

    return LocalFiles(), Path(str(location).removeprefix("file://"))


def holder() -> str:
    """This process, as one that is refused is told of it."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return f"process {os.getpid()} on {platform.node()}, started {started}"

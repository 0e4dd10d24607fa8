"""A disk in memory that fails, stops half way, and forgets what was not synced."""

import errno
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import StoreError
from sweep.local_files import Disk


class Crash(BaseException):
    """The end of the machine; nothing that runs after it reaches the disk."""


@dataclass
class _Inode:
    content: bytes = b""
    synced: bytes = b""


@dataclass
class Fault:
    """What goes wrong.

    Attributes:
        at: the number of the call, from 0.
        error: an errno that this call ends with; None for a crash.
        torn: of a write, how many of so many bytes are done before.
    """

    at: int
    error: int | None = None
    torn: Callable[[int], int] | None = None


class SimulatedDisk(Disk):
    """See `sweep.local_files.Disk`; names and contents are durable only once they are synced."""

    def __init__(self) -> None:
        self._names: dict[Path, _Inode] = {}
        self._folders: set[Path] = {Path("/")}
        self._synced_names: dict[Path, _Inode] = {}
        self._synced_folders: set[Path] = {Path("/")}
        self._open: dict[int, _Inode] = {}
        self._handles = 0
        self._held: set[Path] = set()
        self._down = False
        self.fault: Fault | None = None
        self.calls: list[str] = []

    # Faults

    def _called(self, what: str, path: Path | None = None) -> None:
        if self._down:
            raise Crash
        number = len(self.calls)
        self.calls.append(what)
        if self.fault is not None and self.fault.at == number:
            self._fail(path)

    def _fail(self, path: Path | None = None) -> None:
        assert self.fault is not None
        if self.fault.error is None:
            self._down = True
            raise Crash
        raise OSError(self.fault.error, errno.errorcode[self.fault.error], str(path))

    def reopen(self, chance: random.Random | None = None) -> None:
        """The machine is there again.

        Args:
            chance: decides what of that which was not synced is there all the same; None loses all,
                but for a process alone that ended, where nothing is lost, call `restart`.
        """
        folders, names = set(self._synced_folders), dict(self._synced_names)
        if chance is not None:
            for folder in sorted(self._folders - folders):
                if folder.parent in folders and chance.random() < 0.5:
                    folders.add(folder)
            for path in sorted({*self._names, *names}, key=str):
                if chance.random() < 0.5:
                    if path in self._names:
                        names[path] = self._names[path]
                    else:
                        names.pop(path, None)
        whole = [f for f in folders if all(above in folders for above in f.parents)]
        self._folders = set(whole)
        self._names = {p: inode for p, inode in names.items() if p.parent in self._folders}
        for inode in self._names.values():
            if inode.content != inode.synced:
                end = len(inode.synced)
                if chance is not None and inode.content.startswith(inode.synced):
                    end = chance.randint(end, len(inode.content))
                inode.content = inode.synced = inode.content[:end]
        self._synced_folders, self._synced_names = set(self._folders), dict(self._names)
        self.restart()

    def restart(self) -> None:
        """The process is there again; the machine never was gone."""
        self._down, self.fault = False, None
        self._open, self._held = {}, set()
        self.calls = []

    def copy(self) -> "SimulatedDisk":
        """Another disk with the same on it, and the same of it synced."""
        other = SimulatedDisk()
        inodes = {id(i): i for names in (self._names, self._synced_names) for i in names.values()}
        copies = {key: _Inode(i.content, i.synced) for key, i in inodes.items()}
        other._names = {path: copies[id(i)] for path, i in self._names.items()}
        other._synced_names = {path: copies[id(i)] for path, i in self._synced_names.items()}
        other._folders, other._synced_folders = set(self._folders), set(self._synced_folders)
        other._down = self._down
        return other

    # What a test looks at and harms

    def files(self) -> dict[Path, bytes]:
        """All there is."""
        return {path: inode.content for path, inode in self._names.items()}

    def harm(self, path: Path, content: bytes) -> None:
        """Gives a file another content."""
        self._names[path] = self._synced_names[path] = _Inode(content, content)

    # The calls

    def make_folder(self, folder: Path) -> None:
        self._called("make_folder", folder)
        self._require(folder.parent)
        self._folders.add(folder)

    def is_folder(self, folder: Path) -> bool:
        self._called("is_folder", folder)
        return folder in self._folders

    def create(self, path: Path) -> int:
        self._called("create", path)
        self._require(path.parent)
        if path in self._names:
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        self._names[path] = inode = _Inode()
        self._handles += 1
        self._open[self._handles] = inode
        return self._handles

    def write(self, handle: int, content: memoryview) -> int:
        fault, number = self.fault, len(self.calls)
        if fault is not None and fault.torn is not None and fault.at == number and not self._down:
            self._open[handle].content += bytes(content[: fault.torn(len(content))])
        self._called("write")
        self._open[handle].content += bytes(content)
        return len(content)

    def sync(self, handle: int) -> None:
        self._called("sync")
        self._open[handle].synced = self._open[handle].content

    def close(self, handle: int) -> None:
        self._called("close")
        del self._open[handle]

    def rename(self, old: Path, new: Path) -> None:
        self._called("rename", old)
        self._names[new] = self._names.pop(old)

    def link(self, old: Path, new: Path) -> None:
        self._called("link", new)
        if new in self._names:
            raise FileExistsError(errno.EEXIST, "File exists", str(new))
        self._names[new] = self._names[old]

    def remove(self, path: Path) -> None:
        self._called("remove", path)
        self._names.pop(path, None)

    def sync_folder(self, folder: Path) -> None:
        self._called("sync_folder", folder)
        self._require(folder)
        for path in [*self._synced_names]:
            if path.parent == folder and path not in self._names:
                del self._synced_names[path]
        self._synced_names |= {p: i for p, i in self._names.items() if p.parent == folder}
        self._synced_folders |= {f for f in self._folders if f.parent == folder}

    def entries(self, folder: Path) -> list[tuple[str, int]]:
        self._called("entries", folder)
        self._require(folder)
        found = [(path, inode) for path, inode in self._names.items() if path.parent == folder]
        return [(path.name, len(inode.content)) for path, inode in found]

    def read(self, path: Path) -> bytes:
        self._called("read", path)
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        return self._names[path].content

    def exists(self, path: Path) -> bool:
        self._called("exists", path)
        return path in self._names

    @contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        self._called("lock", path)
        self._require(path.parent)
        if path in self._held:
            raise StoreError(f"{path.parent} is being written by another")
        self._held.add(path)
        yield
        self._held.discard(path)

    def is_locked(self, path: Path) -> bool:
        self._called("is_locked", path)
        return path in self._held

    def _require(self, folder: Path) -> None:
        if folder not in self._folders:
            raise FileNotFoundError(errno.ENOENT, "No such folder", str(folder))

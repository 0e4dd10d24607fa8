"""Files in an object store, through fsspec: `s3://` with s3fs, others as fsspec knows them.

One request puts one object, whole or not at all and for good, so nothing is renamed. The lock is a
lease (`sweep.lease`), which needs that a file can be put only if there is none.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import PurePath, PurePosixPath
from typing import Any, TypeVar

from sweep import lease
from sweep.errors import StoreError
from sweep.files import Check, Entry

T = TypeVar("T")

_CONFLICTS = 5
"""Tries at a name that another request is about to take, which S3 asks for with status 409."""


class ObjectFiles:
    """See `sweep.files.Files`."""

    def __init__(self, filesystem: Any, scheme: str, lease_s: float | None = None) -> None:
        """Wraps a file system of fsspec.

        Args:
            filesystem: an `fsspec.AbstractFileSystem`.
            scheme: of its URLs.
            lease_s: how long a lock stands still before another may take it over; None takes
                `lease.LEASE_S`.
        """
        self._filesystem, self._scheme = filesystem, scheme
        self._lease_s = lease.LEASE_S if lease_s is None else lease_s

    @classmethod
    def at(cls, url: str) -> tuple["ObjectFiles", PurePath]:
        """The store that a URL leads to, and the path in it.

        Raises:
            StoreError: where nothing here can read such a URL.
        """
        import fsspec

        scheme = url.partition("://")[0]
        try:
            filesystem, path = fsspec.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            extra = "; pip install 'distillation-sweep[s3]'" if scheme == "s3" else ""
            raise StoreError(f"cannot use {url}: {error}{extra}") from error
        except ValueError as error:
            raise StoreError(f"cannot use {url}: {error}") from error
        return cls(filesystem, scheme), PurePosixPath(path)

    def shown(self, path: PurePath) -> str:
        """The URL."""
        return f"{self._scheme}://{str(path).lstrip('/')}"

    def read(self, path: PurePath) -> bytes | None:
        """See `Files.read`."""
        with self._named("read", path):
            try:
                content: bytes = self._filesystem.cat_file(str(path))
            except FileNotFoundError:
                return None
            return content

    def put(self, path: PurePath, content: bytes, *, durable: bool = True) -> None:  # noqa: ARG002
        """See `Files.put`; always durable."""
        with self._named("write", path):
            self._filesystem.pipe_file(str(path), content)

    def settle(self, folder: PurePath) -> None:
        """See `Files.settle`; all of it does."""

    def put_if_absent(self, path: PurePath, content: bytes) -> bool:
        """See `Files.put_if_absent`."""
        with self._named("write", path):
            for left in reversed(range(_CONFLICTS)):
                try:
                    self._filesystem.pipe_file(str(path), content, mode="create")
                except FileExistsError:
                    # A request that was repeated after a lost answer finds its own file.
                    return self.read(path) == content
                except Exception as error:
                    if left == 0 or "ConditionalRequestConflict" not in str(error):
                        raise
                else:
                    return True
        return False

    def entries(self, folder: PurePath) -> list[Entry]:
        """See `Files.entries`."""
        with self._named("list", folder):
            self._filesystem.invalidate_cache(str(folder))
            try:
                found = self._filesystem.ls(str(folder), detail=True)
            except FileNotFoundError:
                return []
            return sorted(
                Entry(folder / PurePosixPath(about["name"]).name, about["size"])
                for about in found
                if about["type"] == "file" and PurePosixPath(about["name"]) != folder
            )

    def remove(self, path: PurePath) -> None:
        """See `Files.remove`."""
        with self._named("remove", path):
            try:
                self._filesystem.rm_file(str(path))
            except FileNotFoundError:
                return

    def exists(self, path: PurePath) -> bool:
        """See `Files.exists`."""
        return bool(self._asked(self._filesystem.isfile, path))

    def is_folder(self, path: PurePath) -> bool:
        """See `Files.is_folder`."""
        return bool(self._asked(self._filesystem.isdir, path))

    def lock(self, path: PurePath) -> AbstractContextManager[Check]:
        """See `Files.lock`."""
        return lease.held(self, path, self._lease_s)

    def is_locked(self, path: PurePath) -> bool:
        """See `Files.is_locked`: a holder that was killed counts until another takes over."""
        return lease.is_held(self, path)

    def _asked(self, ask: Callable[[str], T], path: PurePath) -> T:
        with self._named("read", path):
            self._filesystem.invalidate_cache(str(path.parent))
            return ask(str(path))

    @contextmanager
    def _named(self, what: str, path: PurePath) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # each kind of store has errors of its own
            reason = str(error) or type(error).__name__
            raise StoreError(f"cannot {what} {self.shown(path)}: {reason}") from error

"""A lock on an object store: a lease that trusts no clock to agree with another.

The lock is a folder of generations, each a file that is put only if absent; the highest counts. Its
holder puts a higher counter into it every now and then. A challenger takes over only after it has
watched the counter stand still for the whole lease by its own clock, and by putting the next
generation, which one challenger can. A holder is sure of its lease for less than that time since
it last began to renew it; beyond that it looks before it changes anything.

A holder that stopped between looking and changing can still finish that one change. That is
harmless: files are named after their content, and none is removed before what replaces it is there.
"""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from sweep.errors import LockLostError, StoreError
from sweep.files import Check, Files, holder

LEASE_S = 30.0
RENEWALS = 6
"""How often a holder renews within a lease."""

_POLLS = 4
"""How often a challenger looks within the time of a renewal."""


@dataclass(frozen=True)
class _Generation:
    number: int
    holder: str
    counter: int
    released: bool

    @property
    def content(self) -> bytes:
        return json.dumps(self.__dict__).encode()


class _Lease:
    """A generation of ours."""

    def __init__(self, files: Files, folder: PurePath, mine: _Generation, lease_s: float) -> None:
        self._files, self._folder, self._mine, self._lease_s = files, folder, mine, lease_s
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._lost = False
        self._renewed = _since_boot()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def start(self) -> None:
        """Renews it from now on."""
        self._thread.start()

    def check(self) -> None:
        """Raises where the lease is not ours any more."""
        if not self._lost and _since_boot() - self._renewed >= self._lease_s / 2:
            self._renew()
        if self._lost:
            raise LockLostError(
                f"{self._files.shown(self._folder.parent)} was taken over by "
                f"{_holder_of(_last(self._files, self._folder))}: this run did not renew its lock in time; "
                "what it published is kept"
            )

    def end(self) -> None:
        """Lets go."""
        self._ended.set()
        self._thread.join()
        if not self._lost:
            last = _Generation(self._mine.number, self._mine.holder, self._mine.counter + 1, True)
            self._files.put(_path(self._folder, last.number), last.content)

    def _keep(self) -> None:
        while not self._ended.wait(self._lease_s / RENEWALS) and not self._lost:
            try:
                self._renew()
            except StoreError:
                continue  # tried again; who wants to change something while it lasts is told

    def _renew(self) -> None:
        with self._lock:
            began, mine = _since_boot(), self._mine
            mine = _Generation(mine.number, mine.holder, mine.counter + 1, released=False)
            self._files.put(_path(self._folder, mine.number), mine.content)
            last = _last(self._files, self._folder)
            if last is not None and last.number > mine.number:
                self._lost = True
            else:
                self._mine, self._renewed = mine, began


@contextmanager
def held(files: Files, folder: PurePath, lease_s: float = LEASE_S) -> Iterator[Check]:
    """Holds the lock of a folder; see `sweep.files.Files.lock`.

    Raises:
        StoreError: where another holds it, naming that one, or the store cannot put if absent.
    """
    require_put_if_absent(files, folder)
    lease = _Lease(files, folder, _acquire(files, folder, lease_s), lease_s)
    lease.start()
    try:
        yield lease.check
    finally:
        lease.end()


def is_held(files: Files, folder: PurePath) -> bool:
    """Whether someone took the lock and did not let go."""
    last = _last(files, folder)
    return last is not None and not last.released


def require_put_if_absent(files: Files, folder: PurePath) -> None:
    """Tries whether a file can be put only if absent.

    Raises:
        StoreError: where it cannot.
    """
    path = folder / f"probe-{uuid.uuid4().hex}"
    try:
        first = files.put_if_absent(path, b"first")
        second = files.put_if_absent(path, b"second")
        kept = files.read(path)
    finally:
        files.remove(path)
    if not first or second or kept != b"first":
        raise StoreError(
            f"{files.shown(folder.parent)} cannot be written: this store does not keep a file from "
            "being replaced (put-if-absent), so two runs could not tell each other apart"
        )


def _acquire(files: Files, folder: PurePath, lease_s: float) -> _Generation:
    """A generation of ours, made when there was none, the last was let go, or it stood still."""
    watched = None
    since = time.monotonic()
    while True:
        last = _last(files, folder)
        if last is not None and not last.released:
            if watched is not None and watched != last:
                raise StoreError(
                    f"{files.shown(folder.parent)} is being written by {_holder_of(last)}"
                )
            if watched is None:
                watched, since = last, time.monotonic()
            if time.monotonic() - since < lease_s:
                time.sleep(lease_s / RENEWALS / _POLLS)
                continue
        number = 1 if last is None else last.number + 1
        mine = _Generation(number, f"{holder()} ({uuid.uuid4().hex[:8]})", 0, released=False)
        if files.put_if_absent(_path(folder, number), mine.content):
            highest = _last(files, folder)
            if highest is None or highest.number == number:
                _forget_earlier(files, folder, number)
                return mine
            files.remove(_path(folder, number))  # what we had seen was long past


def _last(files: Files, folder: PurePath) -> _Generation | None:
    numbers = [
        int(entry.path.name) for entry in files.entries(folder) if entry.path.name.isdecimal()
    ]
    for number in sorted(numbers, reverse=True):
        content = files.read(_path(folder, number))
        if content is not None:
            return _parsed(number, content)
    return None


def _parsed(number: int, content: bytes) -> _Generation:
    try:
        about: dict[str, Any] = json.loads(content)
        return _Generation(
            number, str(about["holder"]), int(about["counter"]), bool(about["released"])
        )
    except (ValueError, KeyError, TypeError):  # damaged: stands still for good
        return _Generation(number, "an unknown run", 0, released=False)


def _holder_of(generation: _Generation | None) -> str:
    return "another run" if generation is None else generation.holder


def _path(folder: PurePath, number: int) -> PurePath:
    return folder / f"{number:012d}"


def _forget_earlier(files: Files, folder: PurePath, number: int) -> None:
    for entry in files.entries(folder):
        if entry.path.name.isdecimal() and int(entry.path.name) < number:
            files.remove(entry.path)


def _since_boot() -> float:
    """Seconds that go on while the machine sleeps, as `time.monotonic` does not on Linux."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)

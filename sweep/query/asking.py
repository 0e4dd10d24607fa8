"""Asks in SQL, and keeps the time of the question and the size of its answer."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.errors import QueryError, StoreError
from sweep.query import messages

if TYPE_CHECKING:
    import pyarrow as pa

    from sweep.results import Results

MAX_SQL_BYTES = 1_000_000
GRACE_S = 5.0
"""How long after the deadline the reader may take to say so, before it is killed itself."""


@dataclass(frozen=True)
class Limits:
    """What a question may take.

    Attributes:
        timeout_s: seconds from its start to its answer.
        max_rows: rows of the answer.
        memory_mb: memory in megabytes (10⁶ bytes); the answer may take a quarter of it.
    """

    timeout_s: float = 60.0
    max_rows: int = 1_000_000
    memory_mb: int = 2000

    def __post_init__(self) -> None:
        for name, option, least, most in (
            ("timeout_s", "--timeout", 0.01, 86_400),
            ("max_rows", "--max-rows", 1, 10**9),
            ("memory_mb", "--memory", 50, 10**6),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise QueryError(f"{name} ({option}) = {value}: must be {least:,} to {most:,}")


class Asking:
    """Asks one results directory again and again.

    The process that reads the results starts at once and stays until `close`, or until this process
    ends; so a question costs no start, and the results are read again only after they changed.
    Threads may share it: one question is answered at a time.
    """

    def __init__(self, results: "Results | str | Path") -> None:
        """Starts to read.

        Args:
            results: the results, or their directory.
        """
        place = results if isinstance(results, str | Path) else results.store
        self._place = str(place)
        self._turn = threading.Lock()
        self._reader = _Reader(self._place)

    def __enter__(self) -> "Asking":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process that reads the results."""
        self._reader.close()

    def query(self, sql: str, limits: Limits = Limits()) -> "pa.Table":
        """Answers one SELECT statement.

        Columns of the same name are numbered; sums of integers are integers. Warns of damaged files, and of
        a limit that this platform does not have.

        Raises:
            QueryError: for anything but one SELECT, for what the database says is wrong, and where
                a limit was hit, naming it.
            StoreError: where the results cannot be read.
        """
        try:
            size = len(sql.encode())
        except UnicodeEncodeError:
            raise QueryError("the query is not UTF-8 text") from None
        if "\0" in sql:
            raise QueryError("the query holds a NUL character")
        if size > MAX_SQL_BYTES:
            raise QueryError(f"the query is {size:,} bytes long; at most {MAX_SQL_BYTES:,}")
        with self._turn:
            if not self._reader.runs:
                self._reader = _Reader(self._place)
            try:
                return self._reader.ask(sql, limits)
            except (QueryError, StoreError):
                raise
            except BaseException:  # an interrupt, too: what comes next is no answer to the next
                self._reader.close()
                raise


def query(results: "Results | str | Path", sql: str, limits: Limits = Limits()) -> "pa.Table":
    """Answers one SELECT statement; see `Asking.query`, which is quicker for more than one."""
    with Asking(results) as asking:
        return asking.query(sql, limits)


class _Reader:
    """The process that holds the results, and its children, which are one group."""

    def __init__(self, place: str) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sweep.query.start", str(theirs.fileno()), place],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for who asks, who ends this then
            )
        self.close = weakref.finalize(self, _end, os.getpid(), self._socket, self._process)

    @property
    def runs(self) -> bool:
        return self.close.alive and self._process.poll() is None

    def ask(self, sql: str, limits: Limits) -> "pa.Table":
        import pyarrow as pa  # while the reader reads

        most = limits.memory_mb * 10**6 // 4
        receiving, sending = os.pipe()
        try:
            try:
                self._tell({"sql": sql, **vars(limits)}, sending)
            finally:
                os.close(sending)
            begun = self._hear(None)
            for warning in begun.get("warnings", ()):
                warnings.warn(warning, stacklevel=4)
            if "store_error" in begun:
                raise StoreError(begun["store_error"])
            deadline = time.monotonic() + limits.timeout_s + GRACE_S
            content = bytearray()
            while len(content) <= most and (part := _read(receiving, deadline)):
                content += part
        finally:
            os.close(receiving)  # a child that still writes ends by that
        ended = self._hear(deadline)
        if len(content) > most:
            raise QueryError(
                f"the answer is larger than {most / 1e6:,.0f} MB, a quarter of the memory allowed; "
                "ask for less, or allow more with --memory (memory_mb)"
            )
        _raise_for(ended, content, limits)
        try:
            table: pa.Table = pa.ipc.open_stream(pa.py_buffer(content)).read_all()
            table.validate(full=True)
        except pa.ArrowException as error:
            raise QueryError(f"the database gave no valid answer: {error}") from None
        return table

    def _tell(self, message: Mapping[str, Any], descriptor: int) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it ended: hearing it says so
            messages.send(self._socket, message, descriptor)

    def _hear(self, deadline: float | None) -> dict[str, Any]:
        """What the reader says; it is given up where it says nothing until the deadline."""
        self._socket.settimeout(None if deadline is None else _left(deadline))
        try:
            message = messages.receive(self._socket)
        except (TimeoutError, ConnectionResetError):
            message = None
        if message is None:
            self.close()
            raise QueryError("the process that reads the results ended, or does not answer")
        return message[0]


def _read(answer: int, deadline: float) -> bytes:
    """The next part of the answer; nothing at its end, or at the deadline."""
    ready = select.select([answer], [], [], _left(deadline))[0]
    return os.read(answer, 1 << 20) if ready else b""


def _left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


def _raise_for(ended: Mapping[str, Any], content: bytearray, limits: Limits) -> None:
    """The error that a question ended with, if it did."""
    error = bytes(content[1:]).decode(errors="replace") if content[:1] == b"E" else ""
    del content[:1]
    if ended["expired"] or ended["status"] == -signal.SIGXCPU:
        raise QueryError(
            f"the query took longer than {limits.timeout_s:g} s and was ended; allow more with "
            "--timeout (timeout_s)"
        )
    # Nobody but a system without memory kills a child before its time.
    if error == "memory" or ended["status"] in (messages.NO_MEMORY, -signal.SIGKILL):
        raise QueryError(
            f"the query needs more than {limits.memory_mb:,} MB of memory; allow more with --memory "
            "(memory_mb)"
        )
    if error == "rows":
        raise QueryError(
            f"the answer has more than {limits.max_rows:,} rows; add a LIMIT, or allow more with "
            "--max-rows (max_rows)"
        )
    if error.startswith("sql "):
        raise QueryError(error.removeprefix("sql "))
    if ended["status"] == messages.BROKEN:
        raise RuntimeError("the query failed for no fault of its own") from RuntimeError(error)
    if ended["status"] < 0:
        raise QueryError(
            f"the database broke down over the query (signal {-ended['status']}); only the query "
            "is lost"
        )


def _end(owner: int, ours: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    """Ends the reader and what it started, unless this is a fork of who started it."""
    ours.close()
    if os.getpid() != owner:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

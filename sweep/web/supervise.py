"""Stands beside a command that the server started: keeps what it prints, and how it ended.

The server may end and be started again meanwhile. That a job is at work is told by a lock that its
supervisor holds, so it is not told of a process that was killed, or of another with its number.
What is printed is kept in parts, of which the oldest are let go.

    python -m sweep.web.supervise FOLDER ID ABOUT WORD...

Only the standard library is imported: one of these runs beside every job.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

PART_BYTES, PARTS = 256 * 1024, 8
LOOK_S = 0.5
READY = b"ready\n"


class Log:
    """What a command prints, in parts named after the offset of their first byte."""

    def __init__(self, folder: Path, job_id: str) -> None:
        self._folder, self._id = folder, job_id
        self._begins: list[int] = []
        self._size = PART_BYTES
        self._total = 0
        self._handle: int | None = None

    def add(self, content: bytes) -> None:
        """Adds what was printed."""
        while content:
            if self._size >= PART_BYTES:
                self._next()
            room = content[: PART_BYTES - self._size]
            if self._handle is not None:
                with contextlib.suppress(OSError):  # a full disk: the run goes on without its log
                    os.write(self._handle, room)
            self._size += len(room)
            self._total += len(room)
            content = content[len(room) :]

    def _next(self) -> None:
        handle, self._handle = self._handle, None
        self._begins.append(self._total)
        self._size = 0
        path = self._folder / f"{self._id}.log.{self._total}"
        with contextlib.suppress(OSError):  # the same, and where the folder is gone
            if handle is not None:
                os.close(handle)
            self._handle = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644
            )
        while len(self._begins) > PARTS:
            with contextlib.suppress(OSError):
                (self._folder / f"{self._id}.log.{self._begins.pop(0)}").unlink(missing_ok=True)


def write(path: Path, about: dict[str, object]) -> None:
    """Puts a small file in place whole."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(json.dumps(about), "utf-8")
    temporary.replace(path)


def main(folder: Path, job_id: str, about: str, words: list[str]) -> int:
    """Runs a command to its end."""
    lock = os.open(folder / f"{job_id}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    child: subprocess.Popen[bytes] | None = None
    asked = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        """The first time the command ends what it is doing, then it ends, then it is ended."""
        nonlocal asked
        asked += 1
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGTERM if asked < 3 else signal.SIGKILL)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    write(folder / f"{job_id}.json", json.loads(about))
    log = Log(folder, job_id)
    log.add(b"")
    reading, writing = os.pipe()
    child = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    os.close(writing)
    if asked:
        child.send_signal(signal.SIGTERM)
    os.write(1, READY)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (1, 2):
        os.dup2(nowhere, standard)
    while True:
        ended = child.poll() is not None  # before the look: what it printed last is seen by it
        ready = select.select([reading], [], [], 0 if ended else LOOK_S)[0]
        part = os.read(reading, 65536) if ready else b""
        log.add(part)
        # What it started may hold its output open after its end.
        if ended and not part:
            break
        if ready and not part:
            child.wait()
    write(
        folder / f"{job_id}.end.json",
        {
            "exit_status": child.returncode,
            "ended_at": datetime.now(UTC).isoformat(),
            "asked": asked,
        },
    )
    return 0


if __name__ == "__main__":
    if os.fork():
        os._exit(0)  # whoever started this waits for no more: it is nobody's child from here on
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))

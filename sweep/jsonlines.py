"""Log records as JSON, one object per line, added to a file that may be rotated meanwhile.

A line is handed to the system in one call on a file opened for appending, so that those of several
processes do not tear each other. What a full disk does not take is tried again with the next line
and at the end: a run neither ends for want of its log nor writes half a line twice.
"""

import contextlib
import json
import logging
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep.events import ATTRIBUTE, Event

STANDARD_OUTPUT = 1


def as_object(record: logging.LogRecord) -> dict[str, Any]:
    """A record as JSON types; what an event does not say is left out.

    Returns:
        `time` (ISO 8601, UTC), `level`, `event`, `message`, and of an event `study`, `trial_id`,
        `attempt`, `node`, `worker`, `device`, `kind` and `duration_s`. A record that is no event,
        of whoever else logs under `sweep`, has its logger's name as `event`.
    """
    event = getattr(record, ATTRIBUTE, None)
    found: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
        "level": record.levelname.lower(),
        "event": str(event.what) if isinstance(event, Event) else record.name,
    }
    if isinstance(event, Event):
        found |= {
            key: value
            for key in (
                "study", "trial_id", "attempt", "node", "worker", "device", "kind", "duration_s",
            )
            if (value := getattr(event, key)) is not None
        }  # fmt: skip
    return found | {"message": record.getMessage()}


def line(found: Mapping[str, Any]) -> bytes:
    """An object as a line: one line whatever its texts hold, and valid UTF-8."""
    return json.dumps(found).encode("ascii") + b"\n"


class JsonLines(logging.Handler):
    """Adds records to a file, or writes them to the standard output."""

    def __init__(self, path: Path | str | None) -> None:
        """Opens the file; what is there stays.

        Args:
            path: of the file; None for the standard output.

        Raises:
            OSError: where it cannot be written.
        """
        super().__init__()
        self._path = None if path is None else Path(path)
        self._guard = threading.Lock()
        self._waiting = b""
        self._trouble: OSError | None = None
        self._descriptor = STANDARD_OUTPUT if self._path is None else _opened(self._path)

    @property
    def lost(self) -> str | None:
        """What could not be written, and why; None where all was."""
        if not self._waiting:
            return None
        number = self._waiting.count(b"\n")
        return f"{number} lines could not be written: {self._trouble}"

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record."""
        try:
            content = line(as_object(record))
        except Exception:  # as every handler: a text that cannot be made is no fault of the run
            self.handleError(record)
            return
        with self._guard:
            self._waiting += content
            self._write()

    def close(self) -> None:
        """Writes what waits, and closes the file."""
        with self._guard:
            self._write()
            if self._path is not None and self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
        super().close()

    def _write(self) -> None:
        if self._descriptor < 0:
            return
        try:
            self._follow()
            while self._waiting:
                self._waiting = self._waiting[os.write(self._descriptor, self._waiting) :]
        except OSError as error:
            self._trouble = error

    def _follow(self) -> None:
        """Opens the file anew where the one that is open goes by that name no more."""
        if self._path is None:
            return
        try:
            now = self._path.stat()
        except FileNotFoundError:
            same = False
        else:
            ours = os.fstat(self._descriptor)
            same = (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino)
        if not same and not self._is_torn():
            fresh = _opened(self._path)
            os.close(self._descriptor)
            self._descriptor = fresh

    def _is_torn(self) -> bool:
        """Whether the rest of a line waits, which belongs to the file that has its beginning."""
        return bool(self._waiting) and not self._waiting.startswith(b"{")


def _opened(path: Path) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if _ends_within_a_line(path):  # whoever wrote it was killed, or its disk was full
        os.write(descriptor, b"\n")
    return descriptor


def _ends_within_a_line(path: Path) -> bool:
    with contextlib.suppress(OSError):
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as content:
                content.seek(-1, os.SEEK_END)
                return content.read() != b"\n"
    return False

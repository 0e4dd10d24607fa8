"""Jobs as processes of this machine, each with a supervisor, in a session of its own.

All that is known of them is in files (see `sweep.web.supervise`): nothing is lost when the server
ends, and nothing is unpickled.
"""

import contextlib
import json
import os
import platform
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep.errors import SweepError
from sweep.local_files import Disk
from sweep.web.commands import command, environment
from sweep.web.jobs import Job, Order
from sweep.web.letters import LONGEST, whole_letters
from sweep.web.models import LogPart
from sweep.web.supervise import READY

KEPT = 100
"""Of jobs that have ended, how many are remembered."""
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")


class Processes:
    """See `sweep.web.jobs.Launcher`."""

    def __init__(self, folder: Path, results: str, options: Sequence[str] = ()) -> None:
        """Finds what was started earlier.

        Args:
            folder: for the records of jobs.
            results: the results directory.
            options: further arguments of `sweep run` and `sweep retry`, each whole.
        """
        self._folder, self._results, self._options = folder, results, tuple(options)
        self._ended: dict[str, Job] = {}
        self._disk = Disk()

    def start(self, order: Order) -> Job:
        """See `Launcher.start`."""
        now = datetime.now(UTC)
        job_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
        about = {
            "id": job_id, "action": order.action, "study": order.study, "source": order.source,
            "options": list(order.options), "started_at": now.isoformat(),
            "node": platform.node(),
        }  # fmt: skip
        own = () if order.action == "report" else self._options
        words = command(
            order.action, f"--results={self._results}", *own, *order.options, "--", order.source
        )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with subprocess.Popen(
                [sys.executable, "-P", "-m", "sweep.web.supervise", str(self._folder), job_id,
                 json.dumps(about), *words],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=environment(), start_new_session=True,
            ) as child:  # fmt: skip
                said = b"" if child.stdout is None else child.stdout.readline()  # so, or ends
        except OSError as error:
            raise SweepError(f"the run could not be started: {error.strerror}") from None
        if said != READY:
            raise SweepError("the run could not be started")
        self._forget_old()
        found = self._job(job_id)
        if found is None:
            raise SweepError("the run could not be started")
        return found

    def stop(self, job_id: str) -> Job | None:
        """See `Launcher.stop`."""
        found = self._job(job_id)
        if found is None or not found.at_work:
            return found
        node = (self._read(f"{job_id}.json") or {}).get("node")
        if node != platform.node():
            raise SweepError(f"job {job_id} was started on {node}: it is stopped there")
        (self._folder / f"{job_id}.stop").touch()
        lock = self._folder / f"{job_id}.lock"
        with contextlib.suppress(OSError, ValueError):
            number = int(lock.read_text("ascii"))
            if self._disk.is_locked(lock):  # so it is still that process
                os.kill(number, signal.SIGTERM)
        return self._job(job_id)

    def jobs(self) -> list[Job]:
        """See `Launcher.jobs`."""
        found = [job for job_id in self._ids() if (job := self._job(job_id)) is not None]
        return sorted(found, key=lambda job: job.id, reverse=True)

    def log(self, job_id: str, offset: int, limit: int) -> LogPart | None:
        """See `Launcher.log`."""
        job = self._job(job_id)
        if job is None:
            return None
        parts = self._log_parts(job_id)
        begins = parts[0][0] if parts else 0
        at, limit = max(offset, begins), max(limit, LONGEST)
        content = b""
        for begin, path in parts:
            with contextlib.suppress(OSError):  # let go meanwhile
                if begin <= at + len(content) < begin + path.stat().st_size:
                    with path.open("rb") as file:
                        file.seek(at + len(content) - begin)
                        content += file.read(limit - len(content))
        if len(content) == limit:
            content = whole_letters(content)
        return LogPart(
            text=content.decode("utf-8", "replace"),
            offset=at,
            next_offset=at + len(content),
            begins_at=begins,
            ended=not job.at_work and at + len(content) >= job.log_bytes,
        )

    def _ids(self) -> list[str]:
        try:
            names = [path.name for path in self._folder.iterdir()]
        except OSError:
            return []
        stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return [stem for stem in stems if _ID.fullmatch(stem)]

    def _job(self, job_id: str) -> Job | None:
        if not _ID.fullmatch(job_id):
            return None
        if job_id in self._ended:
            return self._ended[job_id]
        about = self._read(f"{job_id}.json")
        if about is None:
            return None
        at_work = self._disk.is_locked(self._folder / f"{job_id}.lock")
        end = None if at_work else self._read(f"{job_id}.end.json")
        stopping = (self._folder / f"{job_id}.stop").exists()
        try:
            order = Order(about["action"], about["study"], about["source"], tuple(about["options"]))
            job = Job(
                id=job_id,
                order=order,
                status=_status(at_work, end, stopping),
                exit_status=None if end is None else int(end["exit_status"]),
                started_at=datetime.fromisoformat(about["started_at"]),
                ended_at=None if end is None else datetime.fromisoformat(end["ended_at"]),
                log_bytes=self._log_bytes(job_id),
            )
        except (KeyError, TypeError, ValueError):
            return None
        if not at_work:
            self._ended[job_id] = job
        return job

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = json.loads((self._folder / name).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _log_parts(self, job_id: str) -> list[tuple[int, Path]]:
        found = []
        for path in self._folder.glob(f"{job_id}.log.*"):
            begin = path.name.rpartition(".")[2]
            if begin.isdecimal():
                found.append((int(begin), path))
        return sorted(found)

    def _log_bytes(self, job_id: str) -> int:
        parts = self._log_parts(job_id)
        if not parts:
            return 0
        begin, path = parts[-1]
        try:
            return begin + path.stat().st_size
        except OSError:
            return begin

    def _forget_old(self) -> None:
        old = [job for job in self.jobs() if not job.at_work][KEPT:]
        for job in old:
            self._ended.pop(job.id, None)
            for path in self._folder.glob(f"{job.id}.*"):
                path.unlink(missing_ok=True)


def _status(at_work: bool, end: dict[str, Any] | None, stopping: bool) -> Any:
    if at_work:
        return "stopping" if stopping else "running"
    if end is None:
        return "lost"
    if end["exit_status"] == 0:
        return "done"
    return "stopped" if stopping or end["exit_status"] in (130, -15, -9) else "failed"

"""Jobs on a cluster: the run lives there (Ray Jobs), so neither this server nor its machine has to stay.

They are handed over by `sweep submit`, in a process: it validates the whole grid first. Reports are made
here, as processes: they only read. What is known of a job is what the cluster says; it is asked every few
seconds.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sweep.errors import SweepError
from sweep.web.commands import answer_of
from sweep.web.jobs import Job, Launcher, Order
from sweep.web.letters import LONGEST, whole_letters
from sweep.web.models import LogPart

if TYPE_CHECKING:
    from sweep import cluster

ASKED_EVERY_S = 3.0
INTERRUPTED = 130

_log = logging.getLogger("sweep.web")


@dataclass
class ClusterJobs:
    """See `sweep.web.jobs.Launcher`.

    Attributes:
        address: of the cluster's job server.
        results: where runs write: the same place for the cluster and for this server.
        here: makes reports.
        options: further arguments of every run, each whole.
    """

    address: str
    results: str
    here: Launcher
    options: tuple[str, ...] = ()
    _known: tuple[Job, ...] = ()
    _asked_at: float | None = None
    _stopping: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, order: Order) -> Job:
        """See `Launcher.start`."""
        if order.action == "report":
            return self.here.start(order)
        words = [
            "submit", "--json", f"--address={self.address}", f"--results={self.results}",
            *(["--retry"] if order.action == "retry" else []), *self.options, *order.options,
        ]  # fmt: skip
        try:
            job_id = str(answer_of(words, order.source, "handing it over")["job"])
        finally:
            self._ask_anew()  # also what was given up may have been handed over
        found = next((job for job in self.jobs() if job.id == job_id), None)
        return found or Job(job_id, order, "running", None, datetime.now(UTC), None, 0)

    def stop(self, job_id: str) -> Job | None:
        """See `Launcher.stop`; on a cluster a run is given time, and then ended by it."""
        if job_id not in {job.id for job in self._on_cluster()}:
            return self.here.stop(job_id)
        from sweep import cluster

        self._stopping.add(job_id)
        cluster.stop(self.address, job_id)
        self._ask_anew()
        return next((job for job in self._on_cluster() if job.id == job_id), None)

    def jobs(self) -> list[Job]:
        """See `Launcher.jobs`."""
        both = [*self._on_cluster(), *self.here.jobs()]
        return sorted(both, key=lambda job: job.started_at, reverse=True)

    def log(self, job_id: str, offset: int, limit: int) -> LogPart | None:
        """See `Launcher.log`; the cluster gives a log whole, of which this is a part."""
        job = next((job for job in self._on_cluster() if job.id == job_id), None)
        if job is None:
            return self.here.log(job_id, offset, limit)
        from sweep import cluster

        whole = cluster.logs(self.address, job_id).encode()
        part = whole[offset : offset + max(limit, LONGEST)]
        if offset + len(part) < len(whole):
            part = whole_letters(part)
        after = offset + len(part)
        return LogPart(
            text=part.decode("utf-8", "replace"),
            offset=offset,
            next_offset=after,
            begins_at=0,
            ended=not job.at_work and after >= len(whole),
        )

    def _on_cluster(self) -> Sequence[Job]:
        with self._lock:
            if self._asked_at is None or time.monotonic() - self._asked_at > ASKED_EVERY_S:
                self._known = self._ask()
                self._asked_at = time.monotonic()
            return self._known

    def _ask_anew(self) -> None:
        """Has the next look ask the cluster, also where one that began earlier is under way."""
        with self._lock:
            self._asked_at = None

    def _ask(self) -> tuple[Job, ...]:
        """What the cluster says now; what it said last where it does not answer."""
        from sweep import cluster

        try:
            found = cluster.jobs(self.address)
        except SweepError as error:
            _log.warning("the cluster does not say what is at work: %s", error)
            return self._known
        return tuple(self._job(about) for about in found if about.results == self.results)

    def _job(self, about: "cluster.Job") -> Job:
        status: Any = {"SUCCEEDED": "done", "STOPPED": "stopped", "FAILED": "failed"}.get(
            about.status, "stopping" if about.job in self._stopping else "running"
        )
        if status == "failed" and about.exit_status == INTERRUPTED:
            status = "stopped"
        return Job(
            id=about.job,
            order=Order("run", about.study, about.study),
            status=status,
            exit_status=about.exit_status,
            started_at=about.began_at or datetime.now(UTC),
            ended_at=about.ended_at,
            log_bytes=0,
        )

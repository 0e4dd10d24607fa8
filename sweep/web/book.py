"""What is at work and which reports there are, as the latest look found it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath

from sweep.store import Store
from sweep.web.jobs import WRITERS, Job, Launcher


@dataclass(frozen=True)
class Report:
    """A report that was made.

    Attributes:
        path: of its file.
        size: bytes.
        made_at: when; None where the store does not say.
    """

    path: PurePath
    size: int
    made_at: datetime | None


class Book:
    """Jobs and reports; looked at again by `look`.

    Attributes:
        version: grows with every change.
        jobs: the latest first.
        reports: by study.
    """

    def __init__(self, launcher: Launcher, store: Store) -> None:
        self._launcher, self._store = launcher, store
        self._lock = threading.Lock()
        self.version = 0
        self.jobs: tuple[Job, ...] = ()
        self.reports: Mapping[str, Report] = {}

    def look(self) -> None:
        """Looks again."""
        with self._lock:
            jobs, reports = tuple(self._launcher.jobs()), self._reports()
            if (jobs, reports) != (self.jobs, self.reports):
                self.jobs, self.reports = jobs, reports
                self.version += 1

    def job_of(self, study: str) -> Job | None:
        """The latest run or retry of a study."""
        own = (job for job in self.jobs if job.order.study == study)
        return next((job for job in own if job.order.action in WRITERS), None)

    def report_job_of(self, study: str) -> Job | None:
        """The latest making of its report."""
        own = (job for job in self.jobs if job.order.study == study)
        return next((job for job in own if job.order.action == "report"), None)

    def _reports(self) -> dict[str, Report]:
        folder = self._store.layout.report("x").parent
        return {
            path.stem: Report(path, size, _made_at(path))
            for path, size in self._store.on.entries(folder)
            if path.suffix == ".html"
        }


def _made_at(path: PurePath) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) if isinstance(path, Path) else None
    except OSError:
        return None

"""What the server starts: runs, retries and reports, and what is known of them.

How they are started is a launcher's: as processes of this machine (`sweep.web.processes`), or as jobs
of a Ray cluster. A launcher keeps no state but files, so a server that is started again finds what
is at work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from sweep.web.models import JobState, LogPart

Action = Literal["run", "retry", "report"]
WRITERS: tuple[Action, ...] = ("run", "retry")
"""Of which a results directory takes one at a time."""


@dataclass(frozen=True)
class Order:
    """Something to start.

    Attributes:
        action: a command of `sweep`.
        study: its name.
        source: what the command is given: a built-in name, or the path of a file.
        options: further arguments, each whole (`--seeds=3`).
    """

    action: Action
    study: str
    source: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """Something that was started.

    Attributes:
        id: names it.
        order: what was asked for.
        status: `lost` where its process ended without a word.
        exit_status: of the command; None while it runs, or where it is lost.
        started_at, ended_at: when.
        log_bytes: it has printed so far.
    """

    id: str
    order: Order
    status: Literal["running", "stopping", "done", "failed", "stopped", "lost"]
    exit_status: int | None
    started_at: datetime
    ended_at: datetime | None
    log_bytes: int

    @property
    def at_work(self) -> bool:
        """Whether it has not ended."""
        return self.status in ("running", "stopping")

    def state(self) -> JobState:
        """As the API shows it."""
        command = ["sweep", self.order.action, self.order.study, *self.order.options]
        return JobState(
            id=self.id,
            action=self.order.action,
            study=self.order.study,
            status=self.status,
            exit_status=self.exit_status,
            started_at=self.started_at,
            ended_at=self.ended_at,
            command=" ".join(command),
            log_bytes=self.log_bytes,
        )


class Launcher(Protocol):
    """Starts and stops jobs. Calls may block for seconds."""

    def start(self, order: Order) -> Job:
        """Starts something.

        Raises:
            SweepError: where it cannot be started.
        """
        ...

    def stop(self, job_id: str) -> Job | None:
        """Asks a job to end; asked again, ends it at once. None where there is no such job."""
        ...

    def jobs(self) -> Sequence[Job]:
        """All that is known of, the latest first."""
        ...

    def log(self, job_id: str, offset: int, limit: int) -> LogPart | None:
        """A part of what a job printed; None where there is no such job."""
        ...

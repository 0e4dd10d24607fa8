"""How a run ended: the numbers that are told and kept."""

import dataclasses
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sweep.records import code_version


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Attributes:
        total: trials it set out to do.
        done, diverged, failed, blocked: of them, at its end.
        already_done: trials of the study that were done earlier.
        not_done_before: of the trials that this run left alone, how many diverged or failed earlier.
        interrupted: whether it was asked to stop.
        epochs: trained in this run.
        elapsed_s: seconds it took.
        epochs_alone: that the trials which ended would have trained each alone.
        busy_s: seconds its workers spent on tasks.
        slots: workers.
        peak_snapshot_bytes: most that snapshots which wait took at a time.
        failures: one line each.
        held_back: trials left to the next run, because all others of their kind failed.
        stopped: why it ended before its time, if it did without being asked.
    """

    total: int
    done: int
    diverged: int
    failed: int
    blocked: int
    already_done: int
    not_done_before: int
    interrupted: bool
    epochs: int
    epochs_alone: int
    elapsed_s: float
    busy_s: float
    slots: int
    peak_snapshot_bytes: int
    failures: tuple[str, ...]
    held_back: int = 0
    stopped: str | None = None

    @property
    def utilisation(self) -> float | None:
        """The part of the workers' time that they had something to do; None without workers."""
        whole = self.slots * self.elapsed_s
        return min(1.0, self.busy_s / whole) if whole > 0 else None

    @property
    def exit_status(self) -> int:
        """0 all done, 1 some trials failed, 130 interrupted."""
        if self.interrupted:
            return 130
        unfinished = (
            self.failed, self.blocked, self.diverged, self.not_done_before, self.held_back,
            self.stopped,
        )  # fmt: skip
        return 1 if any(unfinished) else 0

    def then(self, later: "RunSummary") -> "RunSummary":
        """This run and one that went on after it, as one."""
        both = {
            key: getattr(self, key) + getattr(later, key)
            for key in (
                "total", "done", "diverged", "failed", "blocked", "epochs", "epochs_alone",
                "elapsed_s", "busy_s", "failures", "held_back",
            )
        }  # fmt: skip
        return dataclasses.replace(
            later,
            already_done=self.already_done,
            not_done_before=self.not_done_before,
            peak_snapshot_bytes=max(self.peak_snapshot_bytes, later.peak_snapshot_bytes),
            **both,
        )

    @property
    def left(self) -> int:
        """Trials that the next run tries without being asked to retry any."""
        return self.total - self.done - self.diverged - self.failed - self.blocked


def run_row(study: str, shared: bool, summary: RunSummary) -> dict[str, Any]:
    """A run as a row of `sweep.records.RUNS`."""
    return {
        "run_id": uuid.uuid4().hex,
        "study": study,
        "shared": shared,
        "trials": summary.total,
        "done": summary.done,
        "diverged": summary.diverged,
        "failed": summary.failed,
        "blocked": summary.blocked,
        "held_back": summary.held_back,
        "interrupted": summary.interrupted,
        "stopped": summary.stopped,
        "epochs_alone": summary.epochs_alone,
        "epochs_trained": summary.epochs,
        "slots": summary.slots,
        "busy_s": summary.busy_s,
        "elapsed_s": summary.elapsed_s,
        "peak_snapshot_bytes": summary.peak_snapshot_bytes,
        "code_version": code_version(),
        "finished_at": datetime.now(UTC),
    }

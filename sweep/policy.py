"""What a run does about failures: what it tries again, what it gives up, and when it stops.

Memory that ran out and workers that were lost may be nobody's fault, so their stages are tried
again, a bounded number of times. A bug is not. What fails the same way time after time, before
anything of its kind succeeded, would fail thousands of times more: the rest of that kind is left
alone, and the user is told once.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from sweep.execution.base import Failure
from sweep.plan import Stage
from sweep.records import FailureKind

RETRIES: Mapping[FailureKind, int] = {
    FailureKind.WORKER_LOST: 3,
    FailureKind.CUDA_OUT_OF_MEMORY: 2,
    FailureKind.HOST_OUT_OF_MEMORY: 3,
}
"""How often a stage is tried again within a run, by what went wrong; anything else: not."""

PAUSE_S: Mapping[FailureKind, float] = {FailureKind.HOST_OUT_OF_MEMORY: 20.0}
"""Seconds before it is tried again, times the tries so far. The system ends whatever process is
largest when memory runs short; the stage may have been the victim of something else."""

SAME_FAILURE_LIMIT = 5


@dataclass(frozen=True)
class Policy:
    """What a run does about failures.

    Attributes:
        retries: see `RETRIES`.
        pause_s: see `PAUSE_S`.
        stage_timeout_s: seconds that a worker may take for one stage; None for no limit.
        trial_timeout_s: seconds that the training of a trial may take, shared stages included as if
            it had run alone; None for no limit.
        max_failures: stages that fail for good after which the run stops; None for no limit.
        same_failure_limit: stages of one kind that fail the same way, none having succeeded, after
            which the rest of that kind is left alone; 0 for no limit.
    """

    retries: Mapping[FailureKind, int] = field(default_factory=lambda: RETRIES)
    pause_s: Mapping[FailureKind, float] = field(default_factory=lambda: PAUSE_S)
    stage_timeout_s: float | None = None
    trial_timeout_s: float | None = None
    max_failures: int | None = None
    same_failure_limit: int = SAME_FAILURE_LIMIT

    def time_left_s(self, spent_s: float, before_s: float) -> float | None:
        """Seconds that a stage may still take; None for no limit.

        Args:
            spent_s: on the stage so far.
            before_s: on the stages before it.
        """
        left = []
        if self.stage_timeout_s is not None:
            left.append(self.stage_timeout_s - spent_s)
        if self.trial_timeout_s is not None:
            left.append(self.trial_timeout_s - before_s - spent_s)
        return min(left, default=None)


@dataclass(frozen=True)
class WorkKind:
    """Stages that one mistake is likely to hit together."""

    dataset: str
    model: str
    guided: bool

    @classmethod
    def of(cls, stage: Stage) -> "WorkKind":
        """The kind of a stage."""
        return cls(stage.spec.data.name, stage.spec.recipe.model, bool(stage.rules))

    def __str__(self) -> str:
        return f"{self.dataset} {self.model}{' with a teacher' if self.guided else ''}"


class SameFailures:
    """Counts stages that fail the same way before any of their kind succeeds."""

    def __init__(self, limit: int) -> None:
        """Starts with nothing.

        Args:
            limit: see `Policy.same_failure_limit`.
        """
        self._limit = limit
        self._worked: set[WorkKind] = set()
        self._seen: dict[WorkKind, Counter[str]] = defaultdict(Counter)

    def succeeded(self, kind: WorkKind) -> None:
        """Takes in a stage that ended well: what fails later is not the whole kind's fault."""
        self._worked.add(kind)

    def failed(self, kind: WorkKind, failure: Failure) -> bool:
        """Takes in a stage that failed for good.

        Returns:
            Whether the rest of its kind is to be left alone.
        """
        if kind in self._worked or not self._limit:
            return False
        way = signature(failure)
        self._seen[kind][way] += 1
        return self._seen[kind][way] >= self._limit


_FRAME = re.compile(r'^\s*File "(.+)", line (\d+), in (.+)$', re.MULTILINE)


def signature(failure: Failure) -> str:
    """What equal failures have in common; numbers and names in a message may differ."""
    if failure.kind is not FailureKind.BUG:
        return str(failure.kind)
    frames = _FRAME.findall(failure.traceback)
    error = failure.message.partition(":")[0]
    return ":".join([error, *(frames[-1] if frames else ())])


def timed_out(after_s: float) -> Failure:
    """The failure of a stage that was given up after so many seconds."""
    return Failure(FailureKind.TIMED_OUT, f"given up after {after_s:.0f} s: its time is over", "")

"""What happens in a run, as values, for logs that programs read.

Python's `logging` carries them: whoever embeds a run adds a handler to the logger `sweep`, and
finds the event of a record in its attribute `sweep_event`. A trial is told of once its record is on
disk, so a line of a log never speaks of a result that is not there.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from sweep.progress import Progress, RunState
from sweep.records import Attempt, FailureKind

LOGGER = logging.getLogger("sweep")
LOGGER.addHandler(logging.NullHandler())  # silent unless somebody listens: see the logging HOWTO

ATTRIBUTE = "sweep_event"
"""Under this name a log record holds its `Event`."""


class What(StrEnum):
    """What can happen."""

    RUN_STARTED = "run_started"
    RUN_ENDED = "run_ended"
    TRIAL_DONE = "trial_done"
    TRIAL_DIVERGED = "trial_diverged"
    TRIAL_FAILED = "trial_failed"
    TRIAL_RETRIED = "trial_retried"
    TRIAL_BLOCKED = "trial_blocked"
    TRIAL_HELD_BACK = "trial_held_back"
    TRIAL_EVALUATED = "trial_evaluated"
    EVALUATION_FAILED = "evaluation_failed"
    TEACHER_CHOSEN = "teacher_chosen"
    NODE_LOST = "node_lost"
    SAID = "said"


_LEVEL = {
    What.TRIAL_DIVERGED: logging.WARNING,
    What.TRIAL_FAILED: logging.ERROR,
    What.TRIAL_RETRIED: logging.WARNING,
    What.TRIAL_BLOCKED: logging.WARNING,
    What.TRIAL_HELD_BACK: logging.WARNING,
    What.EVALUATION_FAILED: logging.ERROR,
    What.NODE_LOST: logging.WARNING,
}


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        what: kind of event.
        message: for a person; may have several lines.
        study: name of the study.
        trial_id: of the trial it is about; of a teacher that was chosen, the teacher.
        attempt: its number, from 1.
        node, worker, device: where.
        kind: why an attempt failed.
        duration_s: seconds that it took.
        level: of `logging`; None takes that of `what`.
    """

    what: What
    message: str
    study: str | None = None
    trial_id: str | None = None
    attempt: int | None = None
    node: str | None = None
    worker: str | None = None
    device: str | None = None
    kind: FailureKind | None = None
    duration_s: float | None = None
    level: int | None = None

    @property
    def severity(self) -> int:
        """Level of `logging`."""
        return _LEVEL.get(self.what, logging.INFO) if self.level is None else self.level


class Events(Protocol):
    """Hears what happens, in the order in which it does, from one thread; never raises."""

    def tell(self, event: Event) -> None:
        """Takes in an event."""
        ...


class Logged:
    """Hands events to the logger `sweep`."""

    def tell(self, event: Event) -> None:
        """Logs an event."""
        if LOGGER.isEnabledFor(event.severity):
            LOGGER.log(event.severity, "%s", event.message, extra={ATTRIBUTE: event})


class Unheard:
    """Hears nothing: for runs whose results are thrown away."""

    def tell(self, event: Event) -> None:
        """Does nothing."""


class About:
    """Adds the name of a study to what it hears."""

    def __init__(self, events: Events, study: str) -> None:
        """Passes everything on to `events`."""
        self._events, self._study = events, study

    def tell(self, event: Event) -> None:
        """Passes an event on."""
        self._events.tell(replace(event, study=self._study))


class Telling:
    """A display whose lines are events as well."""

    def __init__(self, shown: Progress, events: Events) -> None:
        """Shows on `shown`, and tells `events` what is said."""
        self._shown, self._events = shown, events
        self.close = shown.close

    def show(self, state: RunState) -> None:
        """Shows a state."""
        self._shown.show(state)

    def say(self, text: str) -> None:
        """Shows a line, and tells of it."""
        self._shown.say(text)
        self._events.tell(Event(What.SAID, text))


def of_attempt(attempt: Attempt) -> Event:
    """What the end of an attempt at a trial means."""
    if attempt.status == "done":
        what, message = What.TRIAL_DONE, "done"
    else:
        message = attempt.message or str(attempt.kind)
        if attempt.status == "retried":
            what = What.TRIAL_RETRIED
        elif attempt.kind is FailureKind.DIVERGED:
            what = What.TRIAL_DIVERGED
        else:
            what = What.TRIAL_FAILED
    return Event(
        what, message, trial_id=attempt.trial_id, attempt=attempt.number, node=attempt.node,
        worker=attempt.worker, device=attempt.device, kind=attempt.kind,
        duration_s=attempt.wall_s,
    )  # fmt: skip


@contextlib.contextmanager
def told_if_broken(events: Events, what: str) -> Iterator[None]:
    """Tells that something ended with an error, which goes on its way.

    Args:
        events: is told.
        what: ended, such as "the run".
    """
    try:
        yield
    except BaseException as error:
        message = f"{what} broke off: {type(error).__name__}: {error}"
        events.tell(Event(What.RUN_ENDED, message, level=logging.ERROR))
        raise

"""What a run has found and not yet written, and what it has not yet told: records, attempts, events.

Rows are published in small batches. Events are told once what they speak of is on disk, so that
nobody hears of a result that a crash could take back.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from sweep.errors import LockLostError, StoreError
from sweep.events import Event, Events, of_attempt
from sweep.execution.base import Failure, Finished
from sweep.interrupts import Interrupt
from sweep.progress import Progress
from sweep.records import Attempt
from sweep.store import Store

FLUSH_ROWS, FLUSH_S = 500, 1.0
WRITE_PAUSE_S, WRITE_PATIENCE_S = 5.0, 1800.0
"""How often, and for how long, a directory that cannot be written (its disk is full) is tried again."""

T = TypeVar("T")


class Journal:
    """Writes what a run finds. Used from one thread, by the holder of the store's lock."""

    def __init__(
        self, store: Store, events: Events, progress: Progress, interrupt: Interrupt
    ) -> None:
        """Starts with nothing to write.

        Args:
            store: where to.
            events: told what happens.
            progress: told of a directory that cannot be written.
            interrupt: once it asks, such a directory is not waited for.
        """
        self._store, self._events = store, events
        self._progress, self._interrupt = progress, interrupt
        self._trials: list[dict[str, Any]] = []
        self._attempts: list[dict[str, Any]] = []
        self._untold: list[Event] = []
        self._tried = Counter(store.attempts.read(["trial_id"])[0]["trial_id"].to_pylist())
        self._flushed = time.monotonic()
        self._unwritable_since: float | None = None

    def keep(self, write: Callable[[], T]) -> T:
        """Writes; while that is impossible (a full disk), waits: what is finished is not given up.

        Raises:
            StoreError: where it stays impossible for `WRITE_PATIENCE_S`, or the run is to end.
        """
        while True:
            try:
                done = write()
            except LockLostError:
                raise
            except StoreError as error:
                if self._unwritable_since is None:
                    self._unwritable_since = time.monotonic()
                    self._progress.say(f"{error}; what is finished waits, and is tried again")
                waited_s = time.monotonic() - self._unwritable_since
                if self._interrupt.asked or waited_s > WRITE_PATIENCE_S:
                    raise
                self._interrupt.wait(WRITE_PAUSE_S)
            else:
                self._unwritable_since = None
                return done

    def trial(self, row: dict[str, Any]) -> None:
        """Takes in the record of a trial."""
        self._trials.append(row)

    def attempt(
        self, trial_id: str, finished: Finished, failure: Failure | None, again: bool = False
    ) -> None:
        """Takes in how an attempt at a trial ended.

        Args:
            trial_id: of the trial.
            finished: its last task.
            failure: what went wrong; None where nothing did.
            again: whether it is tried again.
        """
        self._tried[trial_id] += 1
        attempt = Attempt(
            attempt_id=uuid.uuid4().hex,
            trial_id=trial_id,
            stage_key=finished.task_id,
            status="done" if failure is None else "retried" if again else "failed",
            kind=failure.kind if failure else None,
            message=failure.message if failure else None,
            traceback=failure.traceback if failure else None,
            node=finished.node,
            worker=finished.worker,
            device=finished.device,
            beside=finished.beside,
            started_at=finished.started_at,
            finished_at=finished.finished_at,
            wall_s=finished.elapsed_s,
            number=self._tried[trial_id],
        )
        self._attempts.append(attempt.row())
        self.tell(of_attempt(attempt))

    def tell(self, *events: Event) -> None:
        """Takes in what is to be told once all before it is on disk."""
        self._untold += events

    def flush(self, force: bool = False) -> None:
        """Writes and tells what has been taken in, where there is enough of it, or it has waited.

        Args:
            force: whether to do so in any case.

        Raises:
            StoreError: see `keep`.
        """
        rows = len(self._trials) + len(self._attempts)
        due = time.monotonic() - self._flushed >= FLUSH_S or rows >= FLUSH_ROWS
        if rows and (force or due):
            self.keep(lambda: self._store.trials.publish(self._trials))
            self._trials = []
            self.keep(lambda: self._store.attempts.publish(self._attempts))
            self._attempts = []
            self._flushed = time.monotonic()
        if not self._attempts:
            told, self._untold = self._untold, []
            for event in told:
                self._events.tell(event)

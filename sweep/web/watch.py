"""Reads the results again and again, in a thread of its own, so that requests find them read.

What a file holds, its name says, so a file is read once: while a run goes on, each look reads what
came since. A look that took long is followed by a longer pause.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.errors import DamagedError, SweepError
from sweep.failures import last_failures_of
from sweep.results import statuses_of
from sweep.store import Reading, Shelf, Store
from sweep.web.asked import Asked, asked
from sweep.web.view import View, view, with_running

LOCAL_EVERY_S, REMOTE_EVERY_S = 1.0, 10.0
"""Between two looks at a folder of this machine, and at an object store, where each look costs."""

SHARE = 0.2
"""Of the time, what looks may take."""

REMEMBERED_S = 60.0
"""For how long a study that somebody looked at is looked at again in advance."""

TRIAL_COLUMNS = (
    "trial_id", "status", "metric_name", "test_metric", "test_loss", "epochs_run", "wall_s",
    "device_name", "finished_at",
)  # fmt: skip
ATTEMPT_COLUMNS = (
    "attempt_id", "trial_id", "status", "kind", "message", "traceback", "node", "worker", "device",
    "started_at", "finished_at", "wall_s", "number",
)  # fmt: skip
POINT_COLUMNS = ("trial_id", "attack", "epsilon", "value", "zero_gradients_percent", "split")

_log = logging.getLogger("sweep.web")


@dataclass(frozen=True)
class Moment:
    """The results as they were at one moment.

    Attributes:
        version: grows with every change.
        at: when they were read.
        trials: `TRIAL_COLUMNS` of every trial.
        attempts: `ATTEMPT_COLUMNS` of every attempt.
        points: `POINT_COLUMNS` of what was measured after the trainings.
        failures: for each trial whose last attempt failed for good, why.
        studies: what each study asks for.
        damaged: names of files that are left out.
        running: ids of trials that are being run.
    """

    version: int
    at: datetime
    trials: Reading
    attempts: Reading
    points: Reading
    failures: Mapping[str, str]
    studies: Mapping[str, Asked]
    damaged: tuple[str, ...]
    running: frozenset[str]
    _idle: dict[str, View] = field(default_factory=dict)
    _views: dict[str, View] = field(default_factory=dict)
    _looking: threading.Lock = field(default_factory=threading.Lock)

    def view(self, study: str) -> View | None:
        """A study at this moment; None where it was never run here."""
        if study not in self.studies:
            return None
        with self._looking:
            if study not in self._views:
                one = self.studies[study]
                idle = self._idle.get(study)
                if idle is None or idle.asked is not one:
                    status = statuses_of(one.cells, self.trials.rows, self.failures)
                    idle = self._idle[study] = view(one, status, self.trials.rows)
                self._views[study] = with_running(idle, self.running)
            return self._views[study]

    def idle(self) -> dict[str, View]:
        """Views of studies as if nothing ran, for a moment with the same results."""
        with self._looking:
            return dict(self._idle)

    def failed_attempts(self, study: str) -> dict[str, int]:
        """How many attempts at the trials of a study failed, by kind."""
        asked = self.studies.get(study)
        if asked is None:
            return {}
        attempts = self.attempts.rows.select(["trial_id", "kind"])
        failed = attempts.filter(pc.is_valid(attempts["kind"]))
        ids = pa.array(asked.trial_ids, pa.string())
        own = failed.filter(pc.is_in(failed["trial_id"], value_set=ids))
        return dict(Counter(own["kind"].to_pylist()).most_common())


class Watch:
    """The latest moment of a results directory."""

    def __init__(
        self, store: Store, every_s: float | None = None, also: Callable[[], None] = lambda: None
    ) -> None:
        """Reads the results once.

        Args:
            store: whose results.
            every_s: between two looks; None for what suits the place.
            also: what else is done with every look.

        Raises:
            StoreError: where they cannot be read.
        """
        self._store, self._also = store, also
        self.local = isinstance(store.layout.root, Path)
        self._every_s = every_s or (LOCAL_EVERY_S if self.local else REMOTE_EVERY_S)
        self._wanted: dict[str, float] = {}
        self._stamps: dict[str, object] = {}
        self._live: dict[str, Any] | None = None
        self._ended = threading.Event()
        self._seen = threading.Condition()
        self._looks = 0
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="watch", daemon=True)
        empty = Reading(pa.table({}), {}, [])
        self._moment = Moment(
            0, datetime.now(UTC), empty, empty, empty, {}, {}, (), frozenset()
        )  # fmt: skip
        self._look()

    def start(self) -> None:
        """Begins to look again and again."""
        self._thread.start()

    def stop(self) -> None:
        """Ends that."""
        self._ended.set()
        self._hurry.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def moment(self) -> Moment:
        """The latest moment."""
        return self._moment

    @property
    def live(self) -> Mapping[str, Any] | None:
        """What the active run said last; None where none is at work."""
        return self._live

    def wants(self, study: str) -> None:
        """Somebody looks at a study, which will be looked at in advance for a while."""
        self._wanted[study] = time.monotonic()

    def look_now(self, timeout_s: float = 5.0) -> None:
        """Waits for a look that begins after this call."""
        with self._seen:
            wanted = self._looks + 2  # the one that is under way may have begun before
            self._hurry.set()
            self._seen.wait_for(
                lambda: self._looks >= wanted or self._ended.is_set(), timeout=timeout_s
            )

    def _keep(self) -> None:
        pause = self._every_s
        while not self._ended.is_set():
            waited = self._hurry.wait(pause)
            with self._seen:
                hurried = waited and self._hurry.is_set()
                self._hurry.clear()
            if self._ended.is_set():
                return
            began = time.monotonic()
            for _ in range(2 if hurried else 1):
                try:
                    self._look()
                except SweepError as error:
                    _log.warning("the results cannot be read: %s", error)
                except Exception:
                    _log.exception("a look at the results failed")
                with self._seen:
                    self._looks += 1
                    self._seen.notify_all()
            took = time.monotonic() - began
            pause = max(self._every_s, took * (1 / SHARE - 1))

    def _look(self) -> None:
        self._also()
        before = self._moment
        live = self._store.read_live()
        self._live = live
        running = _texts((live or {}).get("running_trials"))
        trials = self._read(self._store.trials, TRIAL_COLUMNS, before.trials)
        attempts = self._read(self._store.attempts, ATTEMPT_COLUMNS, before.attempts)
        points = self._read(self._store.evaluations, POINT_COLUMNS, before.points)
        studies, damaged = self._studies(before.studies)
        read = (trials, attempts, points)
        as_before = zip(read, (before.trials, before.attempts, before.points), strict=True)
        same = running == before.running and all(now is then for now, then in as_before)
        if same and before.version and _same(studies, before.studies):
            return
        failures = (
            before.failures
            if attempts is before.attempts
            else last_failures_of(attempts.rows)
        )  # fmt: skip
        files = [path.name for reading in read for path in reading.damaged]
        after = Moment(
            before.version + 1, datetime.now(UTC), trials, attempts, points, failures, studies,
            tuple(sorted([*files, *damaged])), running,
            before.idle() if trials is before.trials and attempts is before.attempts else {},
        )  # fmt: skip
        for name in self._looked_at():
            after.view(name)
        self._moment = after

    def _looked_at(self) -> Iterable[str]:
        since = time.monotonic() - REMEMBERED_S
        return [name for name, at in list(self._wanted.items()) if at > since]

    def _read(self, shelf: Shelf, columns: tuple[str, ...], before: Reading) -> Reading:
        """What a shelf holds; the same object as before where its files are the same."""
        begun = bool(before.rows.column_names)
        if begun and before.parts.keys() == set(shelf.files()):
            return before
        after = shelf.read_on(columns, before.parts)  # a damaged file may have been mended
        same = begun and after.parts.keys() == before.parts.keys()
        return before if same and after.damaged == before.damaged else after

    def _studies(self, before: Mapping[str, Asked]) -> tuple[dict[str, Asked], list[str]]:
        """What each study asks for, read again where its file was written again."""
        found: dict[str, Asked] = {}
        damaged = []
        for name in self._store.studies():
            path = self._store.layout.study(name)
            stamp = self._stamp(path)
            if name in before and stamp == self._stamps.get(name):
                found[name] = before[name]
                continue
            try:
                read = self._store.read_cells(name)
            except DamagedError:
                damaged.append(path.name)
                continue
            if read is not None:
                found[name] = asked(name, *read)
                self._stamps[name] = stamp
        return found, damaged

    def _stamp(self, path: PurePath) -> object:
        """Another one once a file was written again."""
        if isinstance(path, Path):
            try:
                status = path.stat()
            except OSError:
                return None
            return status.st_mtime_ns, status.st_ino, status.st_size
        return self._store.on.read(path)


def _texts(values: object) -> frozenset[str]:
    """The texts in a list; a run of another version may say something else."""
    return (
        frozenset(v for v in values if isinstance(v, str))
        if isinstance(values, list)
        else frozenset()
    )


def _same(studies: Mapping[str, Asked], before: Mapping[str, Asked]) -> bool:
    """Whether all were read from the files that they were read from before."""
    return studies.keys() == before.keys() and all(
        one is before[name] for name, one in studies.items()
    )

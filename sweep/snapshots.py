"""The snapshots of a run: held while stages go on from them, durable after long training.

Most live only in memory (of the process, or of the cluster). Once training for `durable_every_s` has
gone by on a path since something of it was put on disk, the next snapshot is written as a
checkpoint too, so that neither a lost node nor a lost driver costs more than that.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import PurePath

from sweep.errors import StoreError
from sweep.execution.base import Executor, Handle, ProductLostError
from sweep.plan import Plan, Stage
from sweep.store import Store
from trials.task import StageOutcome

DURABLE_EVERY_S = 600.0


@dataclass(frozen=True)
class _Held:
    handle: Handle
    size: int


@dataclass(frozen=True)
class _Paused:
    handle: Handle
    size: int
    epoch: int


class Snapshots:
    """What the stages of a plan go on from."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        executor: Executor,
        kept: Container[str],
        settled: Container[str],
        room_bytes: int | None = None,
        durable_every_s: float = DURABLE_EVERY_S,
    ) -> None:
        """Starts with what the store keeps.

        Args:
            plan: whose stages run.
            store: for checkpoints and kept states.
            executor: holds the bytes.
            kept: keys of states that the store has from earlier.
            settled: keys of stages that need nothing any more; changes while the run goes on.
            room_bytes: for snapshots that wait; None takes what the executor has.
            durable_every_s: see the module.
        """
        self._plan, self._store, self._executor = plan, store, executor
        self._kept, self._settled = kept, settled
        self._limit = executor.room_bytes if room_bytes is None else room_bytes
        self._every_s = durable_every_s
        self._held: dict[str, _Held] = {}
        self._paused: dict[str, _Paused] = {}
        self._left: dict[str, int] = {}
        self._sizes: dict[tuple[str, str], int] = {}
        self._coming: dict[str, int] = {}
        self._durable_s: dict[str, float] = {}
        found = store.checkpoints()
        self._files: dict[str, PurePath] = {
            key: path for key, (_, path) in found.items() if key in kept
        }
        self._bytes = 0
        self.peak_bytes = 0

    # Room

    def has_room(self, key: str) -> bool:
        """Whether the snapshot that a stage will leave fits beside the others."""
        coming = sum(self._coming.values()) + self._expected(key)
        return self._bytes + coming <= self._limit

    def _expected(self, key: str) -> int:
        """Bytes of the snapshot a stage will leave: as others of its network; 0 before the first."""
        return self._sizes.get(_kind(self._plan.stages[key]), 0)

    # Where stages start

    def can_begin(self, key: str) -> bool:
        """Whether what a stage goes on from is there."""
        parent = self._plan.stages[key].parent
        there = parent is None or parent in self._held or parent in self._kept
        return there or key in self._paused

    def begin(self, key: str) -> tuple[Handle | None, int]:
        """What a stage that starts now goes on from, and the epochs done there."""
        stage = self._plan.stages[key]
        self._coming[key] = self._expected(key) if key in self._plan.children else 0
        if key in self._paused:
            return self._paused[key].handle, self._paused[key].epoch
        if stage.parent is None:
            return None, 0
        if stage.parent not in self._held and stage.parent in self._kept:
            content = self._store.read_state(stage.parent)
            if content is None:
                raise StoreError(f"the snapshot of {stage.parent} is gone or damaged")
            self._hold(stage.parent, self._executor.put(content), len(content))
        return self._held[stage.parent].handle, stage.start

    def end(self, key: str) -> None:
        """A stage has ended, or failed: what it started from may go."""
        self._coming.pop(key, None)

    # What stages leave

    def pause(self, key: str, handle: Handle, outcome: StageOutcome) -> None:
        """A stage handed back what it has so far; it is to go on from there."""
        self._forget_pause(key)
        self._paused[key] = _Paused(handle, outcome.product_bytes, outcome.epoch)
        self._grow(outcome.product_bytes)
        self._make_durable(key, outcome.epoch, handle, outcome)

    def leave(self, key: str, handle: Handle, outcome: StageOutcome) -> None:
        """A stage ended and others go on from it."""
        self._sizes[_kind(self._plan.stages[key])] = outcome.product_bytes
        self._hold(key, handle, outcome.product_bytes)
        self._make_durable(key, outcome.epoch, handle, outcome)
        if not self._left[key]:  # those that were to go on from it were given up meanwhile
            self.lose(key)

    def settle(self, key: str, succeeded: bool = True) -> None:
        """A stage needs nothing any more, nor does what it started from for its sake.

        Args:
            key: of the stage.
            succeeded: False keeps checkpoints, from which a later run can try again.
        """
        self._forget_pause(key)
        parent = self._plan.stages[key].parent
        if parent is not None and parent in self._left:
            self._left[parent] -= 1
            if self._left[parent] <= 0:
                self.lose(parent)
                del self._left[parent]
        if succeeded:
            self._forget_files(key)

    def has_files(self, key: str) -> bool:
        """Whether something on the path to the end of a stage is on disk, until it is settled."""
        current: str | None = key if self._files else None
        while current is not None:
            if current in self._files:
                return True
            current = self._plan.stages[current].parent
        return False

    def lose(self, key: str) -> None:
        """Lets go of the snapshot after a stage."""
        held = self._held.pop(key, None)
        if held is not None:
            self._bytes -= held.size

    def forget(self, keys: Iterable[str]) -> None:
        """Lets go of everything that stages have left: they are to start again.

        A later run must not go on from it either, so it goes from the disk; but for what this run
        itself began with, before which there is nothing to train.
        """
        keys = list(keys)
        for key in keys:
            self.lose(key)
            self._forget_pause(key)
            self._durable_s.pop(key, None)
        for key in keys:
            if key in self._files and key not in self._kept:
                self._store.on.remove(self._files[key])
                del self._files[key]

    def lose_start(self, key: str) -> None:
        """What a stage went on from is gone; if it is on disk, it is taken from there."""
        paused, path = self._paused.get(key), self._files.get(key)
        if paused is None:
            parent = self._plan.stages[key].parent
            if parent is not None:
                self.lose(parent)
            return
        self._forget_pause(key)
        content = None if path is None else self._store.read_checkpoint(path)
        if content is not None:
            self._paused[key] = _Paused(self._executor.put(content), len(content), paused.epoch)
            self._grow(len(content))

    # Within

    def _hold(self, key: str, handle: Handle, size: int) -> None:
        self.lose(key)
        self._held[key] = _Held(handle, size)
        self._left[key] = sum(c not in self._settled for c in self._plan.children.get(key, ()))
        self._grow(size)

    def _grow(self, size: int) -> None:
        self._bytes += size
        self.peak_bytes = max(self.peak_bytes, self._bytes)

    def _forget_pause(self, key: str) -> None:
        paused = self._paused.pop(key, None)
        if paused is not None:
            self._bytes -= paused.size

    def _make_durable(self, key: str, epoch: int, handle: Handle, outcome: StageOutcome) -> None:
        stage = self._plan.stages[key]
        before = self._durable_s.get(key, self._durable_s.get(stage.parent or "", 0.0))
        if outcome.train_s - before < self._every_s:
            self._durable_s[key] = before
            return
        try:
            content = self._executor.get(handle)
        except ProductLostError:  # whoever goes on from it finds out, and has it made again
            return
        older = self._files.get(key)
        self._files[key] = self._store.write_checkpoint(stage.spec.shortened(epoch), content)
        self._durable_s[key] = outcome.train_s
        if older is not None and older != self._files[key]:
            self._store.on.remove(older)

    def _forget_files(self, key: str) -> None:
        """Removes the checkpoints on the path to a stage that nothing below needs any more."""
        if not self._files:
            return
        current: str | None = key
        while current is not None:
            if current in self._files and self._all_settled(current):
                self._store.on.remove(self._files.pop(current))
            current = self._plan.stages[current].parent

    def _all_settled(self, key: str) -> bool:
        return all(stage.key in self._settled for stage in self._plan.below(key))


def _kind(stage: Stage) -> tuple[str, str]:
    return stage.spec.data.name, stage.spec.recipe.model

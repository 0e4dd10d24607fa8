"""Snapshots that wait keep to their room; after long training they are durable."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweep.cells import demand
from sweep.execution.base import Finished, Inputs, WorkerSetup
from sweep.execution.local import LocalExecutor
from sweep.plan import plan
from sweep.run import run
from sweep.service import Where, run_study
from sweep.snapshots import Snapshots
from sweep.store import Store
from tests.sweep.test_run import go
from tests.sweep.tiny import FakeTraining, epochs_of, science, tiny_study
from tests.sweep.tiny import state as state_bytes
from trials.task import StageOutcome, StageTask

# Three trees of students (one per alpha) for each of two seeds, each a trunk with four forks.
BRANCHY = {
    "grid.alpha": [0.1, 0.5, 0.9],
    "grid.switch_epoch": [1, 2, 3, 4, 5],
    "recipe.epochs": 6,
}
SIZE = 1000
CPU = {"gpus_per_trial": 0.0}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


class Slots(LocalExecutor):
    """Several slots whose tasks end in the order in which they were given."""

    def __init__(self, training: FakeTraining, slots: int, size: int = SIZE) -> None:
        super().__init__(WorkerSetup(runner=training))
        self._count, self._size = slots, size

    @property
    def slots(self) -> int:
        return self._count

    @property
    def free(self) -> int:
        return self._count - len(self._queue)

    def wait(self, timeout_s: float) -> list[Finished]:
        later = list(self._queue)[1:]
        for _ in later:
            self._queue.pop()
        ended = super().wait(timeout_s)
        self._queue.extend(later)
        return [self._sized(end) for end in ended]

    def _sized(self, end: Finished) -> Finished:
        if not isinstance(end.outcome, StageOutcome) or end.product is None:
            return end
        return replace(end, outcome=replace(end.outcome, product_bytes=self._size))


def held(store: Store, slots: int, room: int) -> tuple[int, int]:
    """The most snapshots that waited at a time, and the trials trained."""
    executor = Slots(FakeTraining(), slots)
    with store.writing():
        wanted = demand(tiny_study(**BRANCHY), store)
        summary = run(wanted, store, executor, snapshot_bytes=room)
    executor.stop()
    assert summary.exit_status == 0
    return summary.peak_snapshot_bytes // SIZE, summary.done


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_depth_first_keeps_about_one_snapshot_for_each_slot(store: Store, slots: int) -> None:
    # Six trees are there; breadth first would hold a snapshot of each.
    most, done = held(store, slots, room=10**9)
    assert done == 2 + 2 + 2 * 3 * 5
    assert most <= slots + 1


@pytest.mark.parametrize("room", [4, 2, 0])
def test_a_stage_starts_beside_others_only_if_its_snapshot_fits(
    store: Store, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[bool] = []
    original = Snapshots.begin

    def begin(self: Snapshots, key: str) -> Any:
        if key in self._plan.children and self._sizes and self._coming:
            fitted.append(self.has_room(key))
        return original(self, key)

    monkeypatch.setattr(Snapshots, "begin", begin)
    # Sizes are known after the first snapshot: until then each slot may leave one.
    most, done = held(store, slots=4, room=room * SIZE)
    assert done == 34
    assert all(fitted)
    assert most <= 4 + 1


def test_a_run_tells_how_much_its_snapshots_took(store: Store) -> None:
    held(store, slots=1, room=10**9)
    rows, _ = store.runs.read()
    (row,) = rows.to_pylist()
    assert row["peak_snapshot_bytes"] in (SIZE, 2 * SIZE)
    # By hand: teachers and baselines 4 x 6 epochs; a tree 5 guided and 5+4+3+2+1 alone.
    assert row["epochs_trained"] == 4 * 6 + 6 * (5 + 15)
    assert row["epochs_alone"] == 34 * 6
    assert (row["study"], row["shared"], row["done"], row["slots"]) == ("tiny", True, 34, 1)
    assert 0 < row["busy_s"] <= row["elapsed_s"]


# Durable snapshots


class DriverGoneError(Exception):
    """Stands for the end of the driver."""


class Dying(LocalExecutor):
    """Ends the run when it is given a number of stages."""

    def __init__(self, setup: WorkerSetup, after: int) -> None:
        super().__init__(setup)
        self.left = after
        self.epochs: list[tuple[int, int]] = []

    def submit(
        self, task_id: str, task: Any, inputs: Inputs, timeout_s: float | None = None, *_: Any
    ) -> None:
        if isinstance(task, StageTask):
            if self.left == 0:
                raise DriverGoneError
            self.left -= 1
        super().submit(task_id, task, inputs, timeout_s)

    def wait(self, timeout_s: float) -> list[Finished]:
        starts = {task_id: task for task_id, task, _ in self._queue}
        ended = super().wait(timeout_s)
        for end in ended:
            task = starts[end.task_id]
            if isinstance(task, StageTask) and isinstance(end.outcome, StageOutcome):
                self.epochs.append((task.start_epoch, end.outcome.epoch))
        return ended


@pytest.mark.parametrize("after", [1, 2, 5, 9, 14, 21])
def test_a_run_that_dies_goes_on_within_its_stages(tmp_path: Path, after: int) -> None:
    straight = Store(tmp_path / "straight")
    run_study(tiny_study(), straight.layout.root, Where(local=True, **CPU))

    store = Store(tmp_path / "dies")
    first = Dying(WorkerSetup(gpus=0.0), after)
    with store.writing(), pytest.raises(DriverGoneError):
        run(demand(tiny_study(), store), store, first, durable_every_s=0.0)
    assert len(first.epochs) == after
    second = Dying(WorkerSetup(gpus=0.0), 10**6)
    with store.writing():
        summary = run(demand(tiny_study(), store), store, second, durable_every_s=0.0)
    assert summary.exit_status == 0
    trained = sum(stop - start for start, stop in [*first.epochs, *second.epochs])
    assert trained == 22, "no epoch was trained twice"
    assert science(store).equals(science(straight))
    assert store.checkpoints() == {}, "nothing needs them any more"


def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.writing(), pytest.raises(DriverGoneError):
        run(demand(tiny_study(), store), store, Dying(WorkerSetup(gpus=0.0), 2), durable_every_s=0)
    (entry,) = store.checkpoints().values()
    assert entry[0] == 2
    content = bytearray(entry[1].read_bytes())
    content[-1] ^= 1
    entry[1].write_bytes(bytes(content))
    assert demand(tiny_study(), store).kept == {}
    entry[1].write_bytes(b"")
    assert demand(tiny_study(), store).kept == {}


def test_without_long_training_nothing_is_put_on_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "write_checkpoint", lambda *_: pytest.fail("it was written"))
    go(store, FakeTraining())


class Slow(FakeTraining):
    """Every epoch takes a minute; it pauses when it is asked to."""

    def __call__(self, task: Any, *others: Any) -> Any:
        outcome = super().__call__(task, *others)
        if isinstance(outcome, StageOutcome):
            epochs = task.spec.epochs
            limit = task.start_epoch + max(1, int((task.pause_after_s or 1e9) // 60))
            if limit < epochs:
                return StageOutcome(task.key, limit, None, None, True, None, state_bytes(limit),
                                    10, 60.0 * limit)  # fmt: skip
            outcome = replace(outcome, train_s=60.0 * epochs)
        return outcome


def test_checkpoints_follow_the_time_of_training_over_stages(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, int]] = []
    original = Store.write_checkpoint

    def write(self: Store, state: Any, content: bytes) -> Path:
        written.append((state.recipe.model, state.epochs))
        assert epochs_of(content) == state.epochs
        return original(self, state, content)

    monkeypatch.setattr(Store, "write_checkpoint", write)
    # One seed, one tree: a teacher of 7 epochs, a baseline of 7, a trunk of 6 with forks at each.
    overrides = {
        "seeds": [1], "grid.alpha": [0.1], "grid.switch_epoch": {"start": 1, "stop": 6},
        "recipe.epochs": 7,
    }  # fmt: skip
    summary = go(store, Slow(), overrides=overrides, durable_every_s=180.0)
    assert summary.exit_status == 0
    # Every third minute of a path. The trunk hands over each epoch up to 5, and after 3 is put down;
    # what goes on from it counts from there.
    assert sorted(w for w in written if w[0] == "small") == [("small", 3), ("small", 6)]
    students = sorted(epoch for model, epoch in written if model == "medium")
    baseline, trunk = [3, 6], [3]
    forks = [4, 5, 6]  # from 1, 2 and 3, three minutes later
    assert students == sorted([*baseline, *trunk, *forks])
    assert store.checkpoints() == {}


def test_what_starts_again_in_another_class_leaves_nothing_of_the_first_on_disk(
    store: Store,
) -> None:
    """A later run would go on from it, and train half of a trial in each class."""
    whole = plan([cell.spec for cell in demand(tiny_study(**BRANCHY), store).todo.values()])
    trunk = whole.stages[next(iter(whole.children))]
    executor = LocalExecutor(WorkerSetup(runner=FakeTraining()))
    snapshots = Snapshots(whole, store, executor, {}, set(), None, 600.0)

    def leave(train_s: float) -> None:
        product = state_bytes(trunk.spec.epochs)
        outcome = StageOutcome(
            trunk.key, trunk.spec.epochs, None, None, product=product, train_s=train_s
        )
        snapshots.leave(trunk.key, executor.put(product), outcome)

    with store.writing():
        leave(700.0)
        (key,) = store.checkpoints()
        snapshots.forget([trunk.key])
        assert store.checkpoints() == {}
        leave(650.0)  # of the training that was started again
        assert list(store.checkpoints()) == [key]
        # What this run began with stays: it has nothing that comes before it.
        later = Snapshots(whole, store, executor, {key: trunk.spec}, set(), None, 600.0)
        later.forget([key])
        assert list(store.checkpoints()) == [key]
    executor.stop()

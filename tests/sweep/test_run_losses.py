"""What is lost in the middle of a run: products, snapshots, records not yet written; and who pays."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from sweep.cells import demand
from sweep.errors import StoreError
from sweep.execution.base import Finished, ProductLostError, WorkerSetup
from sweep.execution.local import LocalExecutor, TaskInterrupted
from sweep.execution.ray import Place, RayExecutor, _Slot
from sweep.execution.room import Room
from sweep.interrupts import Interrupt
from sweep.policy import Policy
from sweep.records import FailureKind
from sweep.service import Where, run_study
from sweep.snapshots import Snapshots
from sweep.store import Shelf, Store
from tests.sweep.test_policy import Slow, Timed
from tests.sweep.test_run import TRIALS, Losing, _trunk_and_fork, go, ids
from tests.sweep.tiny import FakeTraining, science, tiny_study


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


class Forgetful(LocalExecutor):
    """Some products are gone when they are asked for, once each."""

    def __init__(self, setup: WorkerSetup, times: int) -> None:
        super().__init__(setup)
        self.times = times

    def get(self, handle: Any) -> bytes:
        if self.times:
            self.times -= 1
            raise ProductLostError("the node is gone")
        return super().get(handle)

    def keep(self, handle: Any) -> Any:
        self.get(b"")
        return super().keep(handle)


@pytest.mark.parametrize("keep", ["weights", "snapshot"])
@pytest.mark.parametrize("durable_every_s", [0.0, 600.0])
def test_a_product_that_is_gone_is_made_again(
    store: Store, tmp_path: Path, keep: str, durable_every_s: float
) -> None:
    training = FakeTraining()
    executor = Forgetful(WorkerSetup(runner=training), 3)
    overrides = {"evaluation.keep": keep}
    summary = go(
        store, training, executor=executor, overrides=overrides, durable_every_s=durable_every_s
    )
    assert (summary.done, summary.failed, executor.times) == (TRIALS, 0, 0)
    other = Store(tmp_path / "other")
    go(other, FakeTraining(), overrides=overrides)
    assert science(store).equals(science(other))
    assert set(store.kept_snapshots()) == set(other.kept_snapshots())


def test_a_record_is_durable_before_the_checkpoint_of_its_training_goes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Timed()  # says that epochs take time, so checkpoints are written
    removed: list[int] = []
    real = Snapshots.settle

    def settle(self: Snapshots, key: str, succeeded: bool = True) -> None:
        before = set(store.checkpoints())
        real(self, key, succeeded)
        if set(store.checkpoints()) < before:
            ended = {task.key for task in training.tasks if task.ends_trial}
            assert set(ids(store)) >= ended
            removed.append(len(ended))

    with monkeypatch.context() as patch:
        patch.setattr("sweep.journal.FLUSH_S", 1000.0)
        patch.setattr(Snapshots, "settle", settle)
        assert go(store, training, durable_every_s=5.0).exit_status == 0
    assert removed


def test_a_checkpoint_that_outlived_its_training_goes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was killed after the record was written and before the checkpoint was removed."""
    with monkeypatch.context() as patch:
        patch.setattr(Store, "remove_checkpoints", lambda *_: None)
        patch.setattr(Snapshots, "_forget_files", lambda *_: None)
        assert go(store, Timed(), durable_every_s=5.0).exit_status == 0
    orphans = set(store.checkpoints())
    assert orphans
    assert demand(tiny_study(), store).superseded == orphans
    wanted = demand(tiny_study(**{"recipe.epochs": 2, "grid.switch_epoch": [0]}), store)
    assert not wanted.superseded, "those of another study are its own"
    where = Where(local=True, gpus_per_trial=0.0)
    assert run_study(tiny_study(), store.layout.root, where).total == 0
    assert not store.checkpoints()


def test_a_checkpoint_stays_where_the_record_could_not_be_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt = Interrupt()
    training = Timed()

    def publish(self: Shelf, rows: Any) -> None:
        interrupt.ask()  # who sees a full disk gives up
        raise StoreError(f"cannot write {self.fresh}: No space left on device")

    real = Shelf.publish

    def late(self: Shelf, rows: Any) -> Any:
        forked = [task for task in training.tasks if task.start_epoch]
        return (publish if forked else real)(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "publish", late)
        with pytest.raises(StoreError):
            go(store, training, interrupt=interrupt, durable_every_s=5.0)
    assert store.checkpoints()
    again = Timed()
    assert go(store, again, durable_every_s=5.0).exit_status == 0
    assert any(task.start_epoch for task in again.tasks), "it went on from there"
    assert len(ids(store)) == TRIALS
    assert not store.checkpoints()


def test_a_trial_whose_record_is_missing_is_trained_though_its_end_was_kept(store: Store) -> None:
    """Killed between the two; a longer trial that could go on from there does not hide it."""
    overrides = {
        "grid.epochs": [1, 3], "grid.switch_epoch": [0], "evaluation.keep": "snapshot",
    }  # fmt: skip
    first = go(store, FakeTraining(), overrides=overrides, only=["epochs=1"])
    assert first.exit_status == 0
    rows, _ = store.trials.read()
    short = rows.filter(pc.equal(rows["role"], "baseline"))["trial_id"].to_pylist()
    assert short
    for file in store.trials.files():
        store.on.remove(file)
    left = rows.filter(pc.invert(pc.is_in(rows["trial_id"], value_set=pc.cast(short, "string"))))
    with store.writing():
        store.trials.publish(left.to_pylist())
    assert set(short) <= set(store.kept_snapshots())
    summary = go(store, FakeTraining(), overrides=overrides)
    assert (summary.left, summary.exit_status) == (0, 0)
    assert set(short) <= set(ids(store))


def test_a_trial_that_has_its_record_does_not_fail_afterwards(store: Store) -> None:
    """A trunk that ends a trial is trained again for its snapshot, and fails then."""
    overrides = {"grid.epochs": [1, 3], "grid.switch_epoch": [0]}
    once: list[str] = []

    def fails(task: Any) -> BaseException | None:
        return ValueError("boom") if task.key in once else None

    class LosingThenFailing(Losing):
        def wait(self, timeout_s: float) -> list[Finished]:
            ended = super().wait(timeout_s)
            once.extend(e.task_id for e in ended if e.task_id == trunk)
            return ended

    wanted = demand_of(store, overrides)
    trunk, child = next(
        (stage.parent, stage.key)
        for stage in wanted.stages.values()
        if stage.parent and wanted.stages[stage.parent].ends_trial
    )
    training = FakeTraining(fails)
    executor = LosingThenFailing(WorkerSetup(runner=training), {child: 1}, "ObjectLostError: x")
    summary = go(store, training, executor=executor, overrides=overrides)
    assert summary.failed == 1  # the longer one alone
    assert summary.done == summary.total - 1
    assert summary.left == 0
    attempts = store.attempts.read(["trial_id", "status"])[0].to_pylist()
    assert [a["status"] for a in attempts if a["trial_id"] == trunk] == ["done"]


def demand_of(store: Store, overrides: dict[str, Any]) -> Any:
    from sweep.plan import plan
    from tests.sweep.tiny import tiny_study

    return plan(cell.spec for cell in demand(tiny_study(**overrides), store).todo.values())


def test_stages_without_time_left_fail_without_a_worker(store: Store) -> None:
    # The first epoch of a trunk takes 10 s by its record, of 8 that a trial has.
    training = Timed()
    executor = Slow(WorkerSetup(runner=training), lambda key: 0.0)
    summary = go(store, training, executor=executor, policy=Policy(trial_timeout_s=8.0))
    # Teachers and baselines are one stage each; the four students begin with a trunk.
    assert (summary.done, summary.failed) == (4, 4)
    assert not [task for task in training.tasks if task.start_epoch]
    failed = [k for k in store.attempts.read(["kind"])[0]["kind"].to_pylist() if k]
    assert failed == ["timed_out"] * 4


def test_neighbours_of_a_task_that_took_too_long_lose_no_try(store: Store) -> None:
    trunk, _ = _trunk_and_fork(store)

    class Sacrificing(Losing):
        def wait(self, timeout_s: float) -> list[Finished]:
            return [
                replace(end, innocent=True) if end.failure else end
                for end in super().wait(timeout_s)
            ]

    training = FakeTraining()
    summary = go(store, training, executor=Sacrificing(WorkerSetup(runner=training), {trunk: 9}))
    assert (summary.done, summary.failed) == (TRIALS, 0)


@pytest.mark.parametrize("how", ["blocked", "held back"])
def test_snapshots_of_forks_that_are_given_up_are_let_go(
    store: Store, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Snapshots] = []
    real = Snapshots.__init__

    def init(self: Snapshots, *arguments: Any) -> None:
        real(self, *arguments)
        made.append(self)

    monkeypatch.setattr(Snapshots, "__init__", init)

    def fails(task: Any) -> BaseException | None:
        if how == "blocked":
            return ValueError("boom") if task.spec.recipe.model == "small" else None
        alone = task.spec.recipe.model == "medium" and not task.teachers
        return ValueError("boom") if alone else None  # baselines, and forks after the switch

    overrides = {"seeds": [1, 2, 3], "evaluation.keep": "none"}
    policy = Policy(same_failure_limit=1)
    summary = go(store, FakeTraining(fails), overrides=overrides, policy=policy)
    assert summary.blocked + summary.held_back > 0
    assert made[0]._bytes == 0
    assert not made[0]._held


def test_lanes_that_were_broken_into_are_not_gone_on_with() -> None:
    executor = LocalExecutor(WorkerSetup(gpus=0.0))
    steps: list[int] = []

    class Torn:
        def step(self) -> None:
            steps.append(1)
            executor.interrupt()

    executor._crew = Torn()  # type: ignore[assignment]
    executor._aboard["stage"] = None  # type: ignore[assignment]
    assert executor.wait(0.0) == []
    assert executor.wait(0.0) == []
    assert steps == [1]
    assert executor.free == 1
    executor.stop()
    with pytest.raises(TaskInterrupted), executor._breakable():
        executor.interrupt()


# On Ray, without it


def bare(nodes: dict[str, float], gpus: float) -> RayExecutor:
    executor = object.__new__(RayExecutor)
    executor._room, executor._workers = Room(gpus), None
    known = [{"NodeID": n, "Alive": True, "Resources": {"GPU": g}} for n, g in nodes.items()]
    executor._cluster_nodes = lambda: known  # type: ignore[method-assign]
    executor._usable = lambda: [n for n in known if n["Alive"]]  # type: ignore[method-assign]
    return executor


def test_workers_given_up_for_memory_count_for_their_node_alone() -> None:
    executor = bare({"a": 8.0, "b": 1.0}, 0.25)
    assert executor._wanted() == 36
    executor._room.given_up["a"] = 24
    assert executor._wanted() == 8 + 4
    executor._cluster_nodes()[0]["Alive"] = False
    assert executor._wanted() == 4


def test_what_could_not_begin_since_its_start_is_gone_is_no_bug() -> None:
    import ray
    from ray.exceptions import ObjectReconstructionFailedError, RayTaskError

    executor = bare({"a": 1.0}, 1.0)
    executor._ray, executor._lost_in_a_row = ray, 0
    seen: list[Any] = []

    def gone(given: Any, until_now: Any, failure: Any, dead: bool = True) -> Finished:
        seen.append(failure.kind)
        from datetime import UTC, datetime

        now = datetime.now(UTC)
        return Finished("x", None, None, failure, "n", "w", now, now)

    executor._gone = gone  # type: ignore[method-assign]
    slot = _Slot(None, None, Place("a", "n/GPU 0"), tasks=1)
    given: Any = type("Given", (), {"slot": slot, "overdue": False, "task_id": "x"})()
    lost = ObjectReconstructionFailedError("ab" * 28, "", "")
    wrapped = RayTaskError("run", "traceback", lost)
    assert executor._lost(given, (), wrapped).start_lost
    assert not executor._lost(given, (), RayTaskError("run", "tb", ValueError("x"))).start_lost
    slot.sacrificed = True
    assert executor._lost(given, (), wrapped).innocent
    assert seen == [FailureKind.WORKER_LOST, FailureKind.BUG, FailureKind.WORKER_LOST]

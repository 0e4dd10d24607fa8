"""The run: order, teachers, failures, interruption, and that it trains just what is missing."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from sweep.cells import demand
from sweep.execution.base import Failure, Finished, WorkerSetup
from sweep.execution.local import LocalExecutor
from sweep.expand import Role
from sweep.failures import last_failures
from sweep.filters import parse
from sweep.interrupts import Interrupt
from sweep.pace import Pace, Settled, work_of
from sweep.plan import Stage, plan
from sweep.policy import PAUSE_S
from sweep.progress import RunState, Silent
from sweep.records import FailureKind
from sweep.run import run
from sweep.store import Store
from sweep.summary import RunSummary
from tests.sweep.tiny import FakeTraining, epochs_of, tiny_study

# tiny: 2 seeds; alpha 1 and switch 0 are the baseline, so a seed has a teacher, the baseline and
# the students (0.1, 1) and (0.1, 3), which share their first epoch.
TRIALS, STAGES = 2 * 4, 2 * (1 + 1 + 3)


def go(
    store: Store, training: FakeTraining, *, executor: Any = None, retry: Any = None, **options: Any
) -> RunSummary:
    overrides = options.pop("overrides", {})
    only = parse(options.pop("only", []))
    executor = executor or LocalExecutor(WorkerSetup(runner=training))
    with store.writing():
        wanted = demand(tiny_study(**overrides), store, only, retry=retry or (lambda _: False))
        try:
            return run(wanted, store, executor, **options)
        finally:
            executor.stop()


def ids(store: Store) -> list[str]:
    rows, _ = store.trials.read(["trial_id"])
    return sorted(rows["trial_id"].to_pylist())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def test_every_trial_is_trained_once_and_shared_epochs_too(store: Store) -> None:
    training = FakeTraining()
    summary = go(store, training)
    assert (summary.total, summary.done, summary.exit_status) == (TRIALS, TRIALS, 0)
    assert len(training.tasks) == STAGES
    assert len(ids(store)) == TRIALS
    # teachers and baselines: 4 x 3; students: 1 guided, then 2 guided or 2 alone, for 2 seeds
    assert summary.epochs == 4 * 3 + 2 * (1 + 2 + 2)


def test_without_sharing_every_trial_starts_at_the_beginning(store: Store) -> None:
    training = FakeTraining()
    summary = go(store, training, share=False)
    assert summary.epochs == TRIALS * 3
    assert all(task.start_epoch == 0 for task in training.tasks)


def test_a_second_run_trains_nothing(store: Store) -> None:
    go(store, FakeTraining())
    again = FakeTraining()
    summary = go(store, again)
    assert (summary.total, summary.already_done, again.tasks) == (0, TRIALS, [])


def test_more_of_the_study_trains_only_what_is_new(store: Store) -> None:
    go(store, FakeTraining())
    again = FakeTraining()
    summary = go(store, again, overrides={"grid.alpha": [0.1, 0.5, 1.0]})
    assert summary.done == 4
    assert {task.spec.schedule[0].objective.hard for task in again.tasks} == {0.5}


def test_students_learn_from_the_best_teacher_whose_weights_are_on_disk(store: Store) -> None:
    training = FakeTraining()
    training.metric = lambda task: 10.0 * task.spec.seed  # the second seed's teacher is better
    seen: list[bool] = []

    def look(task: Any) -> None:
        for teacher in task.teachers.values():
            seen.append(store.layout.weights(teacher).is_file())
            published, _ = store.trials.read(["trial_id"])
            seen.append(teacher in published["trial_id"].to_pylist())

    training.fails = look
    go(store, training)
    teachers = {t.spec.seed: t.key for t in training.tasks if t.spec.recipe.model == "small"}
    guided = [task for task in training.tasks if task.teachers]
    assert {chosen for task in guided for chosen in task.teachers.values()} == {teachers[2]}
    assert seen
    assert all(seen)
    rows, _ = store.trials.read(["role", "teacher_trial_ids", "selected_on"])
    for row in rows.to_pylist():
        expected = [teachers[2]] if row["role"] == "student" else []
        assert row["teacher_trial_ids"] == expected
        assert row["selected_on"] == ("validation" if expected else None)


def test_a_diverged_teacher_ranks_last(store: Store) -> None:
    training = FakeTraining()
    training.diverges = lambda task: task.spec.recipe.model == "small" and task.spec.seed == 1
    summary = go(store, training)
    guided = {chosen for task in training.tasks for chosen in task.teachers.values()}
    teachers = {t.spec.seed: t.key for t in training.tasks if t.spec.recipe.model == "small"}
    assert guided == {teachers[2]}
    assert (summary.diverged, summary.done, summary.exit_status) == (1, TRIALS - 1, 1)


def test_a_failed_teacher_blocks_its_students_and_nothing_else(store: Store) -> None:
    training = FakeTraining(
        lambda task: ValueError("boom") if task.spec.recipe.model == "small" else None
    )
    summary = go(store, training)
    assert (summary.done, summary.failed, summary.blocked, summary.exit_status) == (2, 2, 4, 1)
    attempts, _ = store.attempts.read()
    failed = [row for row in attempts.to_pylist() if row["status"] == "failed"]
    assert {row["kind"] for row in failed} == {"bug"}
    assert all("ValueError: boom" in row["traceback"] for row in failed)


def test_a_failed_fork_leaves_its_siblings_alone(store: Store) -> None:
    training = FakeTraining(
        lambda task: RuntimeError("late") if task.start_epoch and task.teachers else None
    )
    summary = go(store, training)
    # the fork that goes on guided fails for both seeds; the one that goes on alone does not
    assert (summary.done, summary.failed) == (TRIALS - 2, 2)


def test_divergence_of_a_trunk_is_recorded_for_every_trial_below_it(store: Store) -> None:
    training = FakeTraining()
    training.diverges = lambda task: bool(task.teachers) and task.start_epoch == 0
    summary = go(store, training)
    assert (summary.done, summary.diverged) == (4, 4)
    rows, _ = store.trials.read(["role", "status", "test_metric", "diverged_epoch"])
    for row in rows.to_pylist():
        assert (row["status"] == "diverged") == (row["role"] == "student")
        assert (row["test_metric"] is None) == (row["role"] == "student")
    again = FakeTraining()
    assert go(store, again).total == 0  # a diverged trial is an answer


def test_an_early_stop_of_a_trunk_is_the_result_of_every_trial_below_it(store: Store) -> None:
    # Seed 1 stops at epoch 2, in the stage that the switches 3 and 5 share, seed 2 after it.
    training = FakeTraining()
    training.stops = lambda task: 2 * task.spec.seed if task.spec.rules else None
    states: list[RunState] = []

    class Watch(Silent):
        def show(self, state: RunState) -> None:
            states.append(state)

    settings = {
        "recipe.epochs": 5, "grid.alpha": [0.1], "grid.switch_epoch": [3, 5],
        "recipe.early_stop.patience": 1, "evaluation.keep": "snapshot",
    }  # fmt: skip
    summary = go(store, training, overrides=settings, progress=Watch())
    assert (summary.total, summary.done, summary.exit_status) == (8, 8, 0)
    # Teachers and baselines: 4 x 5; seed 1: a trunk of 2; seed 2: a trunk of 3 and forks of 1.
    assert summary.epochs == 20 + 2 + 3 + 1 + 1
    last = states[-1]
    assert (last.done, last.epochs_done, last.epochs_total) == (8, 27, 27)
    rows, _ = store.trials.read()
    students = [row for row in rows.to_pylist() if row["role"] == "student"]
    assert [row["status"] for row in students] == ["done"] * 4
    for row in students:
        assert row["stopped_epoch"] == row["epochs_run"] == 2 * row["seed"]
        # What the trunk left is kept for each.
        assert store.layout.weights(row["trial_id"]).is_file()
        content = store.layout.snapshot(row["trial_id"]).read_bytes()
        assert epochs_of(content) == 2 * row["seed"]
    trunks = [t for t in training.tasks if t.spec.rules and not t.ends_trial]
    assert [(t.keep_weights, t.measures.attacks.fgsm_epsilons) for t in trunks] == [
        (True, (0.05,))
    ] * 2
    again = FakeTraining()
    assert go(store, again, overrides=settings).total == 0


def test_weights_of_a_stopped_trunk_are_kept_only_for_who_keeps_them(store: Store) -> None:
    # The students keep none; the teacher is a longer baseline's beginning and keeps its own.
    training = FakeTraining()
    training.stops = lambda task: 1
    settings = {
        "datasets.digits.student": "small", "recipe.early_stop.patience": 1,
        "teacher.recipe": {"epochs": 2}, "grid.alpha": [0.1], "grid.switch_epoch": [1],
    }  # fmt: skip
    summary = go(store, training, overrides=settings)
    rows, _ = store.trials.read(["trial_id", "role", "epochs"])
    teachers = [row["trial_id"] for row in rows.to_pylist() if row["epochs"] == 2]
    assert (summary.done, len(teachers)) == (6, 2)
    kept = {path.stem for path in store.layout.weights("x").parent.iterdir()}
    assert kept == set(teachers)


def test_an_early_stop_does_not_look_like_a_faster_training(store: Store) -> None:
    training = FakeTraining()
    training.stops = lambda task: 1
    learned: list[tuple[int, float]] = []

    class Slow(LocalExecutor):
        def wait(self, timeout_s: float) -> list[Finished]:
            return [replace(end, took_s=0.02) for end in super().wait(timeout_s)]

    real = Pace.learn

    def learn(self: Pace, stage: Any, seconds: float) -> None:
        learned.append((stage.epochs, seconds))
        real(self, stage, seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pace, "learn", learn)
        settings = {"recipe.epochs": 10, "recipe.early_stop.patience": 1}
        go(store, training, executor=Slow(WorkerSetup(runner=training)), overrides=settings)
    # One epoch took 0.02 s or more, so ten would have taken ten times that.
    assert learned
    assert all(seconds >= 0.02 * epochs for epochs, seconds in learned)


def test_failed_trials_wait_for_a_retry_of_their_kind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PAUSE_S, FailureKind.HOST_OUT_OF_MEMORY, 0.01)
    go(store, FakeTraining(lambda task: MemoryError() if task.teachers else None))
    quiet = FakeTraining()
    assert go(store, quiet).total == 0
    assert go(store, quiet, retry=lambda kind: kind == "bug").total == 0
    summary = go(store, quiet, retry=lambda kind: kind == "host_out_of_memory")
    assert (summary.total, summary.done, summary.exit_status) == (4, 4, 0)


class Losing(LocalExecutor):
    """Loses the worker of some stages, as if its node had gone."""

    def __init__(self, setup: WorkerSetup, lose: dict[str, int], message: str = "gone") -> None:
        super().__init__(setup)
        self.lose, self.message = lose, message

    def wait(self, timeout_s: float) -> list[Finished]:
        answers = []
        for end in super().wait(timeout_s):
            left = self.lose.get(end.task_id, 0)
            if left:
                self.lose[end.task_id] = left - 1
                failure = Failure(FailureKind.WORKER_LOST, self.message, "")
                start_lost = self.message.startswith("ObjectLost")
                end = replace(
                    end, outcome=None, product=None, failure=failure, start_lost=start_lost
                )
            answers.append(end)
        return answers


class OffClock(LocalExecutor):
    """Runs where the clock is ahead by some time, and goes back by a minute in each stage."""

    def __init__(self, setup: WorkerSetup, ahead: timedelta) -> None:
        super().__init__(setup)
        self.ahead = ahead

    def wait(self, timeout_s: float) -> list[Finished]:
        return [
            replace(
                end,
                started_at=end.started_at + self.ahead,
                finished_at=end.finished_at + self.ahead - timedelta(minutes=1),
            )
            for end in super().wait(timeout_s)
        ]


def test_the_last_failure_is_the_last_whatever_clocks_say(store: Store) -> None:
    def failing(error: BaseException, ahead: timedelta, **options: Any) -> None:
        training = FakeTraining(lambda task: error if task.teachers else None)
        executor = OffClock(WorkerSetup(runner=training), ahead)
        assert go(store, training, executor=executor, **options).exit_status == 1

    failing(ValueError("a mistake"), timedelta(days=4000))
    assert set(last_failures(store).values()) == {"bug"}
    failing(torch.OutOfMemoryError("none left"), timedelta(0), retry=lambda kind: True)
    assert set(last_failures(store).values()) == {"cuda_out_of_memory"}
    attempts, _ = store.attempts.read(["trial_id", "number", "wall_s"])
    numbers = Counter(attempts["number"].to_pylist())
    assert [numbers[n] for n in (2, 3, 4)] == [4] * 3  # tried three times, the students alone
    assert min(attempts["wall_s"].to_pylist()) == 0.0


def _trunk_and_fork(store: Store) -> tuple[str, str]:
    whole = plan(cell.spec for cell in demand(tiny_study(), store).todo.values())
    trunk = next(key for key, children in whole.children.items() if len(children) == 2)
    return trunk, whole.children[trunk][0]


def test_a_lostwork_ofer_costs_a_stage(store: Store) -> None:
    trunk, _ = _trunk_and_fork(store)
    training = FakeTraining()
    summary = go(store, training, executor=Losing(WorkerSetup(runner=training), {trunk: 3}))
    assert (summary.done, summary.exit_status) == (TRIALS, 0)
    assert len(training.tasks) == STAGES + 3
    attempts, _ = store.attempts.read(["kind"])
    assert attempts["kind"].to_pylist().count("worker_lost") == 3 * 2  # for both trials below


def test_a_stage_that_ran_out_of_memory_pauses_and_is_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PAUSE_S, FailureKind.HOST_OUT_OF_MEMORY, 0.01)
    left = [3]

    def fails(task: Any) -> BaseException | None:
        if task.teachers and task.start_epoch == 0 and left[0]:
            left[0] -= 1
            return MemoryError("the node ran short")
        return None

    summary = go(store, FakeTraining(fails))
    assert (summary.done, summary.failed, left[0]) == (TRIALS, 0, 0)


def test_awork_ofer_lost_again_and_again_is_given_up(store: Store) -> None:
    trunk, _ = _trunk_and_fork(store)
    training = FakeTraining()
    summary = go(store, training, executor=Losing(WorkerSetup(runner=training), {trunk: 4}))
    assert (summary.done, summary.failed) == (TRIALS - 2, 2)


def test_a_lost_snapshot_is_trained_again(store: Store) -> None:
    trunk, fork = _trunk_and_fork(store)
    training = FakeTraining()
    executor = Losing(WorkerSetup(runner=training), {fork: 1}, "ObjectLostError: gone")
    summary = go(store, training, executor=executor)
    assert (summary.done, summary.failed, summary.exit_status) == (TRIALS, 0, 0)
    assert Counter(task.key for task in training.tasks)[trunk] == 2
    assert len(ids(store)) == TRIALS


class StopAfter(Silent):
    """Asks a run to stop when so many trials are done."""

    def __init__(self, trials: int, interrupt: Interrupt) -> None:
        self.trials, self.interrupt = trials, interrupt

    def show(self, state: RunState) -> None:
        if state.done >= self.trials:
            self.interrupt.ask()


@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_an_interrupted_run_keeps_what_is_finished_and_the_next_goes_on(
    store: Store, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.run.SHOW_S", 0.0)
    interrupt = Interrupt()
    first = FakeTraining()
    summary = go(store, first, interrupt=interrupt, progress=StopAfter(after, interrupt))
    assert summary.exit_status == 130
    assert len(ids(store)) == summary.done < TRIALS
    second = FakeTraining()
    rest = go(store, second)
    assert (rest.done, rest.already_done) == (TRIALS - summary.done, summary.done)
    ended = [t.key for t in [*first.tasks, *second.tasks] if t.ends_trial]
    assert len(ended) == len(set(ended)) == TRIALS


def test_a_teacher_without_weights_is_trained_again(store: Store) -> None:
    go(store, FakeTraining())
    teacher = next(
        cell.trial_id for cell in demand(tiny_study(), store).chosen if cell.role is Role.TEACHER
    )
    store.layout.weights(teacher).unlink()
    again = FakeTraining()
    summary = go(store, again, overrides={"grid.alpha": [0.1, 0.2]})
    assert teacher in {task.key for task in again.tasks}
    assert summary.exit_status == 0
    assert len(ids(store)) == TRIALS + 4


def test_weights_are_kept_as_the_study_says(store: Store) -> None:
    go(store, FakeTraining())
    assert len(list(store.layout.weights("x").parent.iterdir())) == 2  # teachers only
    other = Store(store.layout.root.parent / "kept")
    go(other, FakeTraining(), overrides={"evaluation.keep": "weights"})
    assert len(list(other.layout.weights("x").parent.iterdir())) == TRIALS


def test_progress_counts_and_ends_complete(store: Store) -> None:
    states: list[RunState] = []

    class Watch(Silent):
        def show(self, state: RunState) -> None:
            states.append(state)

    go(store, FakeTraining(), progress=Watch())
    last = states[-1]
    assert (last.done, last.total, last.failed, last.running) == (TRIALS, TRIALS, 0, ())
    assert last.epochs_done == last.epochs_total == 22


def test_progress_is_told_while_teachers_are_asked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.run.SHOW_S", 0.0)
    monkeypatch.setattr("sweep.run.LIVE_S", 0.0)
    seen: list[str] = []

    class Watch(Silent):
        def show(self, state: RunState) -> None:
            seen.extend(state.running)

    assert go(store, FakeTraining(), progress=Watch()).exit_status == 0
    assert {line.split()[0] for line in seen} == {"ask", "digits"}


def test_longer_training_goes_on_from_kept_snapshots(store: Store) -> None:
    kept = {"evaluation.keep": "snapshot"}
    go(store, FakeTraining(), overrides=kept)
    assert len(store.kept_snapshots()) == TRIALS
    again = FakeTraining()
    longer = {**kept, "recipe.epochs": 5, "grid.switch_epoch": [0, 1, 3, 5]}
    summary = go(store, again, overrides=longer)
    # teachers and baselines go on from epoch 3; the students' teachers are others now, so they are
    # trained anew: 5 epochs guided, 4 alone after switch 1, 2 alone after switch 3
    assert summary.exit_status == 0
    starts = Counter(t.start_epoch for t in again.tasks if not t.spec.rules)
    assert starts == {3: 4}
    assert summary.epochs == 4 * 2 + 2 * (5 + 2 + 4)


def test_stages_on_the_way_measure_the_curve_as_well(store: Store) -> None:
    training = FakeTraining()
    go(store, training, overrides={"evaluation.every_epochs": 2})
    assert {task.measures.every_epochs for task in training.tasks} == {2}


def test_the_estimate_by_hand(store: Store) -> None:
    whole = plan(cell.spec for cell in demand(tiny_study(), store).todo.values())
    stages = list(whole.stages.values())
    teachers = [s for s in stages if s.spec.recipe.model == "small"]
    students = [s for s in stages if s.spec.recipe.model == "medium"]
    pace = Pace()

    def estimate(
        left: list[Stage], slots: int, running: tuple[tuple[Stage, float], ...] = ()
    ) -> Any:
        spent_s = [(work_of(stage), spent) for stage, spent in running]
        return pace.remaining_s(Counter(map(work_of, left)), spent_s, slots)

    assert estimate(stages, 2) is None
    pace.learn(teachers[0], 6.0)  # 3 epochs: 2 s each
    assert estimate(teachers[1:], 2) == 6.0  # one stage cannot be split
    assert estimate(teachers[1:], 2, ((teachers[1], 4.0),)) == 2.0
    assert estimate(teachers[1:], 2, ((teachers[1], 9.0),)) == 9.0  # overdue
    assert estimate(teachers, 1, ((teachers[0], 4.0), (teachers[1], 5.0))) == 2.0 + 1.0
    assert estimate(teachers, 2, ((teachers[0], 5.0),)) == 6.0  # the other has not begun
    epochs = sum(s.epochs for s in students)
    assert estimate(students, 2) == epochs * 2.0 / 2  # unseen: as the dearest known
    pace.learn(students[0], students[0].epochs * 5.0)
    assert estimate(students, 1) == epochs * 5.0


def test_what_is_left_is_counted_as_stages_come_and_go(store: Store) -> None:
    stages = plan(cell.spec for cell in demand(tiny_study(), store).todo.values()).stages
    keys = list(stages)
    settled = Settled(stages, keys[:2])
    settled.add(keys[1])  # again
    settled.add(keys[2])
    settled.update(keys[2:6])
    settled.discard(keys[0])
    settled.discard(keys[9])  # never was there
    assert settled == set(keys[1:6])
    assert +settled.left == Counter(work_of(stages[key]) for key in keys if key not in keys[1:6])
    settled.update(keys)
    assert not +settled.left


def test_the_estimate_of_a_run_is_that_of_what_it_has_not_done(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every epoch takes 1000 s, the estimate says how many are left."""
    learn = Pace.learn
    monkeypatch.setattr("sweep.run.SHOW_S", 0.0)
    monkeypatch.setattr("sweep.run.LIVE_S", 0.0)
    monkeypatch.setattr(
        Pace, "learn", lambda self, stage, _: learn(self, stage, 1000.0 * stage.epochs)
    )
    states: list[RunState] = []

    class Watch(Silent):
        def show(self, state: RunState) -> None:
            states.append(state)

    go(store, FakeTraining(), progress=Watch())
    told = [
        (state.eta_s, state.epochs_total - state.epochs_done)
        for state in states
        if state.epochs_done  # nothing is known before
    ]
    assert len({left for _, left in told}) > 5
    assert [eta for eta, _ in told] == pytest.approx([1000 * left for _, left in told], abs=100)

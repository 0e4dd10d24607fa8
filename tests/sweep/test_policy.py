"""What a run does about failures: kinds, limits, timeouts, full disks."""

import errno
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.cells import demand
from sweep.errors import LockLostError, StoreError
from sweep.execution.base import Failure, Finished, WorkerSetup, describe_failure
from sweep.execution.local import LocalExecutor
from sweep.policy import Policy, SameFailures, WorkKind, signature, timed_out
from sweep.records import FailureKind
from sweep.results import Results
from sweep.run import run
from sweep.service import _write_cells
from sweep.store import Shelf, Store
from sweep.study import load_study
from sweep.summary import RunSummary
from tests.sweep.test_run import TRIALS, go
from tests.sweep.test_run_in_use import Heard
from tests.sweep.tiny import FakeTraining, science, tiny_study


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


# The same failure again and again


def many(trials: int) -> Any:
    """Baselines on digits, each a training of its own."""
    return load_study(
        {
            "name": "many",
            "seeds": list(range(trials)),
            "recipe": {"epochs": 1, "batch_size": 64},
            "datasets": {"digits": {}},
        }
    )


def run_many(
    store: Store, training: FakeTraining, trials: int, policy: Policy | None = None, **options: Any
) -> RunSummary:
    executor = LocalExecutor(WorkerSetup(runner=training))
    try:
        with store.writing():
            wanted = demand(many(trials), store, **options)
            return run(wanted, store, executor, policy=policy)
    finally:
        executor.stop()


def test_a_bug_that_hits_everything_costs_five_attempts(store: Store) -> None:
    training = FakeTraining(lambda task: ValueError(f"bad shape {task.spec.seed}"))
    heard = Heard()
    executor = LocalExecutor(WorkerSetup(runner=training))
    with store.writing():
        summary = run(demand(many(1000), store), store, executor, progress=heard)
    executor.stop()
    assert (summary.failed, summary.held_back, summary.left) == (5, 995, 995)
    assert summary.exit_status == 1
    assert len(store.attempts.read()[0]) == 5
    (line,) = [text for text in heard.said if "left alone" in text]
    assert line == summary.failures[0]
    assert "digits student: the first 5 trainings all failed with bug: ValueError" in line
    assert "995 trials" in line
    # Mended, the next run trains what was left; the five wait to be retried.
    again = run_many(store, FakeTraining(), 1000)
    assert (again.done, again.not_done_before) == (995, 5)


def test_where_something_worked_failures_are_single_ones(store: Store) -> None:
    training = FakeTraining(lambda task: ValueError("odd") if task.spec.seed % 2 else None)
    summary = run_many(store, training, 40)
    assert (summary.done, summary.failed, summary.held_back) == (20, 20, 0)


def test_different_bugs_are_not_one(store: Store) -> None:
    def fails(task: Any) -> BaseException:
        return [ValueError, TypeError, KeyError, OSError][task.spec.seed % 4]("x")

    summary = run_many(store, FakeTraining(fails), 16)
    assert (summary.failed, summary.held_back) == (16, 0)
    other = Store(store.layout.root.parent / "other")
    summary = run_many(other, FakeTraining(fails), 100)
    assert summary.failed < 4 * 5
    assert summary.failed + summary.held_back == 100


def test_a_kind_that_fails_leaves_others_alone(store: Store) -> None:
    # Five seeds of students with a teacher, all of which fail; teachers and baselines do not.
    training = FakeTraining(lambda task: ValueError("boom") if task.teachers else None)
    summary = go(store, training, overrides={"seeds": list(range(1, 11))})
    assert (summary.done, summary.failed, summary.held_back) == (20, 10, 10)
    # A trunk that fails takes two trials with it, so five trunks are ten trials.
    assert "digits medium with a teacher" in summary.failures[0]


def test_teachers_that_are_held_back_hold_back_their_students(store: Store) -> None:
    training = FakeTraining(
        lambda task: ValueError("boom") if task.spec.recipe.model == "small" else None
    )
    policy = Policy(same_failure_limit=1)
    summary = go(store, training, policy=policy)
    assert (summary.done, summary.failed, summary.held_back, summary.blocked) == (2, 1, 1, 4)
    assert summary.done + summary.failed + summary.held_back + summary.blocked == summary.total


@pytest.mark.parametrize("limit", [1, 3])
def test_failures_are_limited(store: Store, limit: int) -> None:
    training = FakeTraining(lambda task: ValueError("odd") if task.spec.seed % 2 else None)
    summary = run_many(store, training, 100, Policy(max_failures=limit))
    assert summary.failed == limit
    assert summary.done + summary.failed + summary.left == 100
    assert summary.left > 0
    assert (summary.exit_status, summary.interrupted) == (1, False)
    assert summary.stopped == f"{limit} failures, as many as were allowed"


@pytest.mark.slow
def test_ten_thousand_trials_that_all_fail_end_by_themselves(store: Store) -> None:
    """Also where each is tried: the record is whole, the summary short."""
    began = time.monotonic()
    training = FakeTraining(lambda task: ValueError(f"boom {task.spec.seed}"))
    summary = run_many(store, training, 10_000, Policy(same_failure_limit=0))
    assert (summary.total, summary.failed, summary.exit_status) == (10_000, 10_000, 1)
    kinds = store.attempts.read(["kind"])[0]["kind"].to_pylist()
    assert kinds == ["bug"] * 10_000
    print(f"10,000 failing trials ended after {time.monotonic() - began:.1f} s")


FRAME = 'Traceback:\n  File "{file}", line {line}, in {where}\n    x\n'


def bug(message: str, file: str = "a.py", line: int = 3, where: str = "f") -> Failure:
    return Failure(FailureKind.BUG, message, FRAME.format(file=file, line=line, where=where))


def test_what_makes_two_failures_the_same() -> None:
    assert signature(bug("ValueError: 3 rows")) == signature(bug("ValueError: 4 rows"))
    others = [
        bug("TypeError: 3 rows"), bug("ValueError: 3 rows", file="b.py"),
        bug("ValueError: 3 rows", line=4), bug("ValueError: 3 rows", where="g"), timed_out(3.0),
        Failure(FailureKind.WORKER_LOST, "ValueError: 3 rows", bug("x").traceback),
    ]  # fmt: skip
    assert len({signature(f) for f in [bug("ValueError: 3 rows"), *others]}) == len(others) + 1
    # The innermost frame counts.
    inner = bug("ValueError: x").traceback + FRAME.format(file="z.py", line=1, where="h")
    assert signature(replace(bug("ValueError: x"), traceback=inner)) == "ValueError:z.py:1:h"


@given(
    limit=st.integers(0, 4),
    events=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["ok", "a", "b"])), max_size=40),
)
def test_same_failures_against_a_plain_count(limit: int, events: list[tuple[int, str]]) -> None:
    same = SameFailures(limit)
    kinds = [WorkKind("digits", "small", False), WorkKind("digits", "small", True)]
    for position, (kind, what) in enumerate(events):
        if what == "ok":
            same.succeeded(kinds[kind])
            continue
        before = [w for k, w in events[: position + 1] if k == kind]
        expected = limit > 0 and "ok" not in before and before.count(what) >= limit
        assert same.failed(kinds[kind], bug(f"{what}Error: x", file=what)) == expected


# Kinds


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), FailureKind.HOST_OUT_OF_MEMORY),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: "
                      "you tried to allocate 40000000000000 bytes."), FailureKind.HOST_OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), FailureKind.HOST_OUT_OF_MEMORY),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), FailureKind.CUDA_OUT_OF_MEMORY),
        (RuntimeError("CUDA error: out of memory"), FailureKind.CUDA_OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
         FailureKind.CUDA_OUT_OF_MEMORY),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), FailureKind.CUDA_OUT_OF_MEMORY),
        (ValueError("memory of a goldfish"), FailureKind.BUG),
        (OSError(errno.ENOSPC, "No space left on device"), FailureKind.BUG),
    ],
)  # fmt: skip
def test_errors_have_their_kind(error: BaseException, kind: FailureKind) -> None:
    failure = describe_failure(error)
    assert failure.kind is kind
    assert failure.message.startswith(type(error).__name__)


def test_torch_says_so_itself() -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**46)  # 256 TiB: more than any machine that runs this can map
    assert describe_failure(caught.value).kind is FailureKind.HOST_OUT_OF_MEMORY
    error = torch.cuda.OutOfMemoryError("x")
    assert describe_failure(error).kind is FailureKind.CUDA_OUT_OF_MEMORY


# Timeouts


class Slow(LocalExecutor):
    """Every task takes as long as it is told to, and is ended when its time is over."""

    def __init__(self, setup: WorkerSetup, takes_s: Callable[[str], float]) -> None:
        super().__init__(setup)
        self.takes_s, self.limits = takes_s, dict[str, float | None]()

    def submit(
        self, task_id: str, task: Any, inputs: Any, timeout_s: float | None = None, *_: Any
    ) -> None:
        self.limits[task_id] = timeout_s
        super().submit(task_id, task, inputs, timeout_s)

    def wait(self, timeout_s: float) -> list[Finished]:
        ended = []
        for end in super().wait(timeout_s):
            took, limit = self.takes_s(end.task_id), self.limits[end.task_id]
            if limit is not None and took > limit:
                end = replace(end, outcome=None, product=None, failure=timed_out(limit))
                took = limit
            ended.append(replace(end, took_s=took))
        return ended


class Timed(FakeTraining):
    """Every epoch takes ten seconds, as its record says."""

    def __call__(self, *arguments: Any) -> Any:
        outcome = super().__call__(*arguments)
        return (
            replace(outcome, train_s=10.0 * outcome.epoch) if hasattr(outcome, "epoch") else outcome
        )


def test_a_stage_that_takes_too_long_fails_and_is_not_tried_again(store: Store) -> None:
    training = FakeTraining()
    whole = demand(tiny_study(), store)
    slow = next(t for t, cell in whole.todo.items() if cell.role == "baseline")
    executor = Slow(WorkerSetup(runner=training), lambda key: 100.0 if key == slow else 1.0)
    summary = go(store, training, executor=executor, policy=Policy(stage_timeout_s=60.0))
    assert (summary.done, summary.failed) == (TRIALS - 1, 1)
    (row,) = [r for r in store.attempts.read()[0].to_pylist() if r["status"] == "failed"]
    assert (row["trial_id"], row["kind"]) == (slow, "timed_out")
    assert row["message"] == "given up after 60 s: its time is over"
    assert set(executor.limits.values()) == {60.0}  # datasets and teachers' outputs too
    rest = go(store, FakeTraining(), retry=lambda kind: kind == "timed_out")
    assert (rest.done, rest.exit_status) == (1, 0)


def test_the_time_of_a_trial_counts_the_stages_it_shares(store: Store) -> None:
    # 3 epochs of 10 s each; a fork after epoch 1 has what the trunk left of 25 s.
    training = Timed()
    executor = Slow(WorkerSetup(runner=training), lambda key: 0.0)
    summary = go(store, training, executor=executor, policy=Policy(trial_timeout_s=25.0))
    assert summary.done == TRIALS
    stages = {task.key: task for task in training.tasks}
    found = {(task.start_epoch, executor.limits[key]) for key, task in stages.items()}
    assert found == {(0, 25.0), (1, 15.0)}


def test_where_a_task_cannot_be_ended_it_pauses_when_its_time_is_over(store: Store) -> None:
    """In process a stage comes back at an epoch's end; then it has no time left."""

    class Pausing(FakeTraining):
        def __call__(self, task: Any, *others: Any) -> Any:
            outcome = super().__call__(task, *others)
            if getattr(task, "pause_after_s", None) == 60.0 and task.spec.rules:
                return replace(outcome, epoch=task.start_epoch + 1, paused=True, result=None,
                               product=b"1", product_bytes=1)  # fmt: skip
            return outcome

    training = Pausing()

    class Forgiving(Slow):
        def submit(
            self, task_id: str, task: Any, inputs: Any, timeout_s: Any = None, *_: Any
        ) -> None:
            super().submit(task_id, task, inputs, None)

    executor = Forgiving(WorkerSetup(runner=training), lambda key: 70.0)
    summary = go(store, training, executor=executor, policy=Policy(stage_timeout_s=60.0))
    assert (summary.done, summary.failed) == (4, 4)
    kinds = [k for k in store.attempts.read(["kind"])[0]["kind"].to_pylist() if k]
    assert kinds == ["timed_out"] * 4


# A directory that cannot be written


def test_a_full_disk_is_waited_for_and_nothing_is_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sweep.journal.WRITE_PAUSE_S", 0.0)
    real = Shelf.publish
    left = [0]

    def publish(self: Shelf, rows: Any) -> Any:
        left[0] += 1
        if left[0] % 4:
            raise StoreError(f"cannot write {self.fresh}: No space left on device")
        return real(self, rows)

    heard = Heard()
    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "publish", publish)
        patch.setattr("sweep.journal.FLUSH_ROWS", 1)
        summary = go(store, FakeTraining(), progress=heard)
    assert (summary.done, summary.exit_status) == (TRIALS, 0)
    assert any("No space left on device; what is finished waits" in text for text in heard.said)
    undisturbed = Store(tmp_path / "other")
    go(undisturbed, FakeTraining())
    assert science(store).equals(science(undisturbed))
    assert len(store.attempts.read()[0]) == TRIALS


def test_a_run_whose_lock_was_taken_over_does_not_wait(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def publish(self: Shelf, rows: Any) -> Any:
        tries.append(1)
        raise LockLostError("taken over by another")

    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "publish", publish)
        with pytest.raises(LockLostError, match="taken over"):
            go(store, FakeTraining())
    assert len(tries) <= 2  # once, and once more for what is left at the end


def test_a_disk_that_stays_full_ends_the_run_in_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.journal.WRITE_PAUSE_S", 0.01)
    monkeypatch.setattr("sweep.journal.WRITE_PATIENCE_S", 0.05)

    def publish(self: Shelf, rows: Any) -> Any:
        raise StoreError(f"cannot write {self.fresh}: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "publish", publish)
        with pytest.raises(StoreError, match="No space left on device"):
            go(store, FakeTraining())
    assert go(store, FakeTraining()).done == TRIALS


# What is said of it


def test_status_tells_failures_apart(store: Store) -> None:
    def fails(task: Any) -> BaseException | None:
        if task.spec.recipe.model != "medium" or task.spec.rules:
            return None
        return {1: MemoryError("short"), 2: ValueError("boom")}.get(task.spec.seed)

    go(store, FakeTraining(fails), policy=Policy(retries={}))
    with store.writing():
        _write_cells(tiny_study(), demand(tiny_study(), store), store)
    found = Results(store.layout.root)
    attempts = found.attempts()
    failed = attempts[attempts["status"] == "failed"]
    assert sorted(failed["kind"]) == ["bug", "host_out_of_memory"]
    trial = found.trial(failed.trial_id.iloc[0])
    assert trial["status"] == "failed"
    assert trial["attempts"][-1]["traceback"]

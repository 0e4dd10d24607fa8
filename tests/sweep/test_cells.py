"""Study minus store: what a run still has to do, and what it leaves alone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sweep.cells import Demand, demand, matching, pools
from sweep.errors import StudyError
from sweep.expand import Cell, Role, cells
from sweep.failures import last_failures
from sweep.filters import parse
from sweep.records import Attempt, FailureKind, trial_row
from sweep.store import Store
from tests.sweep.tiny import result, tiny_study

STUDY = tiny_study()
CELLS = cells(STUDY)
BY_ID = {cell.trial_id: cell for cell in reversed(CELLS)}
TEACHERS = [cell for cell in CELLS if cell.role is Role.TEACHER]
BASELINES = [cell for cell in CELLS if cell.role is Role.BASELINE]
GUIDED = [cell for cell in CELLS if cell.spec.rules]
AT = datetime(2025, 1, 1, tzinfo=UTC)
ANY = lambda kind: True  # noqa: E731


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def finish(store: Store, *found: Cell, weights: bool = True, **changes: Any) -> None:
    """Publishes a record for each cell's trial, and weights for teachers."""
    store.trials.publish([trial_row(cell, result(**changes)) for cell in found])
    for cell in found:
        if weights and cell.role is Role.TEACHER:
            path = store.layout.weights(cell.trial_id)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"weights")


def diverge(store: Store, *found: Cell) -> None:
    finish(store, *found, weights=False, status="diverged", test_metric=None)
    attempt(store, *found, kind=FailureKind.DIVERGED)


def attempt(store: Store, *found: Cell, kind: FailureKind | None, minute: int = 0) -> None:
    """Notes an attempt at each cell's trial; it failed unless the kind is None."""
    at = AT + timedelta(minutes=minute)
    status = "failed" if kind else "done"
    store.attempts.publish(
        [
            Attempt(f"{c.trial_id}-{minute}", c.trial_id, c.trial_id, status, kind, None, None,
                    "node", "worker", at, at, 0.0).row()
            for c in found
        ]
    )  # fmt: skip


def left(found: Demand) -> set[str]:
    return set(found.todo)


def names(*found: Cell) -> set[str]:
    return {cell.trial_id for cell in found}


def test_in_an_empty_store_everything_is_left(store: Store) -> None:
    found = demand(STUDY, store)
    # 2 teachers and 2 baselines; alpha 0.1 with switch 1 and 3, for 2 seeds.
    assert len(found.todo) == 2 + 2 + 2 * 2
    assert left(found) == set(BY_ID)
    assert (found.done, found.failed_before, found.candidates) == (0, 0, {})
    assert sorted(c.trial_id for c in found.chosen) == sorted(c.trial_id for c in CELLS)


def test_several_cells_of_a_trial_are_one_thing_to_do_in_the_words_of_the_first(
    store: Store,
) -> None:
    found = demand(STUDY, store)
    for trial_id, cell in found.todo.items():
        assert cell.trial_id == trial_id
        if not cell.spec.rules:
            assert cell.role is not Role.STUDENT
        assert found.cell(trial_id) is cell


def test_what_the_store_holds_is_not_done_again(store: Store) -> None:
    finish(store, *TEACHERS, BASELINES[0], GUIDED[0])
    found = demand(STUDY, store)
    assert left(found) == set(BY_ID) - names(*TEACHERS, BASELINES[0], GUIDED[0])
    assert found.done == 4
    assert set(found.candidates) == names(*TEACHERS)  # no rule may choose the others


def test_a_baseline_answers_alpha_1_and_switch_0(store: Store) -> None:
    finish(store, *BASELINES)
    asked = [cell for cell in CELLS if cell.alpha == 1.0 or cell.switch_epoch == 0]
    assert len(asked) == 2 * 2 + 2 * 3 - 2
    assert not names(*asked) & left(demand(STUDY, store))


def test_a_filter_that_is_no_choice_of_students_holds_for_teachers_too() -> None:
    def found(only: str, seeds: int | None = None) -> set[str]:
        return names(*matching(CELLS, parse([only] if only else []), seeds))

    assert found("") == set(BY_ID)
    assert found("role=teacher") == names(*TEACHERS)
    assert found("role=student alpha=0.1") == names(
        *(c for c in CELLS if c.role is Role.STUDENT and c.alpha == 0.1)
    )
    assert found("seed=1 role!=student") == names(TEACHERS[0], BASELINES[0])
    assert found("", 1) == names(*(c for c in CELLS if c.seed == 1))
    with pytest.raises(StudyError, match="--seeds 0: must be 1 or more"):
        found("", 0)


def test_results_of_other_studies_do_not_count(store: Store) -> None:
    other = cells(tiny_study(**{"recipe.epochs": 4}))
    finish(store, *{cell.trial_id: cell for cell in other}.values())
    found = demand(STUDY, store)
    assert (found.done, len(found.todo), found.candidates) == (0, 8, {})


def test_a_teacher_without_its_weights_is_to_do(store: Store) -> None:
    finish(store, *TEACHERS)
    store.layout.weights(TEACHERS[0].trial_id).unlink()
    found = demand(STUDY, store)
    assert TEACHERS[0].trial_id in found.todo
    assert TEACHERS[1].trial_id not in found.todo
    assert set(found.candidates) == {TEACHERS[1].trial_id}
    assert found.done == 1


def test_a_student_without_weights_is_done(store: Store) -> None:
    finish(store, *TEACHERS, GUIDED[0])
    assert not store.layout.weights(GUIDED[0].trial_id).exists()
    assert GUIDED[0].trial_id not in demand(STUDY, store).todo


def test_what_diverged_is_done_also_a_teacher_without_weights(store: Store) -> None:
    diverge(store, TEACHERS[0], BASELINES[0])
    found = demand(STUDY, store)
    assert not names(TEACHERS[0], BASELINES[0]) & left(found)
    assert (found.done, found.failed_before) == (2, 0)
    assert found.candidates[TEACHERS[0].trial_id].diverged


def test_what_diverged_is_tried_again_when_asked(store: Store) -> None:
    diverge(store, TEACHERS[0], BASELINES[0])
    finish(store, TEACHERS[1])
    found = demand(STUDY, store, retry=lambda kind: kind == "diverged")
    assert names(TEACHERS[0], BASELINES[0]) <= left(found)
    assert found.done == 1
    assert set(found.candidates) == {TEACHERS[1].trial_id}
    assert not names(TEACHERS[0], BASELINES[0]) & left(
        demand(STUDY, store, retry=lambda kind: kind == "bug")
    )


def test_what_failed_is_left_alone_and_counted(store: Store) -> None:
    attempt(store, BASELINES[0], GUIDED[0], kind=FailureKind.BUG)
    found = demand(STUDY, store)
    assert left(found) == set(BY_ID) - names(BASELINES[0], GUIDED[0])
    assert (found.done, found.failed_before) == (0, 2)


def test_failures_are_tried_again_by_kind(store: Store) -> None:
    attempt(store, BASELINES[0], kind=FailureKind.BUG)
    attempt(store, BASELINES[1], kind=FailureKind.WORKER_LOST)
    found = demand(STUDY, store, retry=lambda kind: kind == "worker_lost")
    assert BASELINES[1].trial_id in found.todo
    assert BASELINES[0].trial_id not in found.todo
    assert found.failed_before == 1
    assert left(demand(STUDY, store, retry=ANY)) == set(BY_ID)


def test_the_last_attempt_says_why_a_trial_failed(store: Store) -> None:
    attempt(store, BASELINES[0], kind=FailureKind.TIMED_OUT, minute=5)
    attempt(store, BASELINES[0], kind=FailureKind.BUG, minute=2)
    attempt(store, BASELINES[1], kind=FailureKind.BUG, minute=1)
    attempt(store, BASELINES[1], kind=None, minute=3)
    assert last_failures(store) == {BASELINES[0].trial_id: "timed_out"}


def test_a_failure_before_success_does_not_count(store: Store) -> None:
    attempt(store, BASELINES[0], kind=FailureKind.BUG)
    finish(store, BASELINES[0])
    found = demand(STUDY, store, retry=ANY)
    assert BASELINES[0].trial_id not in found.todo
    assert (found.done, found.failed_before) == (1, 0)


def test_failures_outside_the_filter_are_not_counted(store: Store) -> None:
    attempt(store, *BASELINES, kind=FailureKind.BUG)
    assert demand(STUDY, store, parse(["seed=1"])).failed_before == 1


def test_filters_and_seeds_choose_students_with_all_their_teachers(store: Store) -> None:
    found = demand(STUDY, store, parse(["role=student alpha=0.1 switch_epoch=3"]), seeds=1)
    student = next(c for c in GUIDED if c.switch_epoch == 3 and c.seed == 1)
    assert left(found) == names(student, *TEACHERS)


def test_weights_are_kept_of_teachers_and_of_others_as_the_study_says(store: Store) -> None:
    for keep, of_others, snapshots in (
        ("none", False, False),
        ("weights", True, False),
        ("snapshot", True, True),
    ):
        found = demand(tiny_study(**{"evaluation.keep": keep}), store)
        for trial_id, cell in found.todo.items():
            wanted = found.measures(trial_id)
            assert wanted.keep_weights == (of_others or cell.role is Role.TEACHER)
            assert wanted.keep_snapshot == snapshots
            assert wanted.measures.attacks.fgsm_epsilons == (0.05,)


def test_every_teacher_that_a_rule_may_choose_is_known_as_one(store: Store) -> None:
    assert demand(STUDY, store).teacher_ids == names(*TEACHERS)
    assert demand(STUDY, store, parse(["role=baseline"])).teacher_ids == frozenset()


def test_a_pool_is_gathered_once_however_many_students_share_it() -> None:
    assert pools(CELLS) == names(*TEACHERS)
    assert pools(BASELINES) == frozenset()


def test_failures_of_many_trials_are_told_apart(store: Store) -> None:
    attempt(store, BASELINES[0], GUIDED[0], kind=FailureKind.BUG)
    attempt(store, GUIDED[0], GUIDED[1], kind=FailureKind.WORKER_LOST, minute=1)
    attempt(store, GUIDED[1], TEACHERS[0], kind=None, minute=2)
    assert last_failures(store) == {
        BASELINES[0].trial_id: "bug", GUIDED[0].trial_id: "worker_lost",
    }  # fmt: skip


def test_attempts_go_by_their_number_where_the_clock_went_back(store: Store) -> None:
    rows = [
        Attempt(
            trial_id + status, trial_id, "t", status, FailureKind.BUG, None, None, "node", "worker",
            AT, AT + timedelta(days=days), 0.0, number=number,
        ).row()
        for trial_id, status, number, days in [
            ("failed last", "retried", 1, 3000),
            ("failed last", "failed", 2, 0),
            ("tried again last", "failed", 1, 3000),
            ("tried again last", "retried", 2, 0),
            # of a version that did not count: earlier than those that are counted
            ("counted last", "failed", None, 3000),
            ("counted last", "retried", 1, 0),
        ]
    ]  # fmt: skip
    for order in (rows, rows[::-1]):
        other = Store(store.layout.root / str(order is rows))
        other.attempts.publish(order)
        assert last_failures(other) == {"failed last": "bug"}


def test_a_failure_of_the_same_instant_as_another_attempt_goes_by_their_order(store: Store) -> None:
    rows = [
        Attempt(
            f"{number}", "t", "t", status, kind, None, None, "node", "worker", AT, AT, 0.0
        ).row()
        for number, (status, kind) in enumerate([("failed", FailureKind.BUG), ("done", None)])
    ]
    store.attempts.publish(rows)
    assert last_failures(store) == {}
    other = Store(store.layout.root / "other")
    other.attempts.publish(rows[::-1])
    assert last_failures(other) == {"t": "bug"}

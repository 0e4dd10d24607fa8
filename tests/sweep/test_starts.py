"""Ways in which students' weights begin: what is asked for, and what happens where it cannot be had."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sweep.cells import choose, demand
from sweep.execution.base import WorkerSetup
from sweep.execution.local import LocalExecutor
from sweep.expand import Cell, Role, cells
from sweep.filters import parse
from sweep.plan import plan
from sweep.records import trial_words
from sweep.run import run
from sweep.starts import KNOWN, Start, StartObjective
from sweep.store import Store
from sweep.study import Study, load_study
from sweep.summary import RunSummary
from tests.sweep.tiny import FakeTraining
from trials.spec import NO_TERMS, Segment, TeacherRule
from trials.task import StageTask

RAW: dict[str, Any] = {
    "name": "begun",
    "seeds": [1, 2],
    "grid": {"teacher": ["mlp-4"], "start": ["scratch", "zero-pad", "near"]},
    "recipe": {"epochs": 3, "batch_size": 32},
    "split": {"train_size": 64},
    "teacher": {"match": "seed"},
    "datasets": {"digits": {"student": "mlp-6"}},
    "starts": {
        "near": {
            "training": {"epochs": 2, "learning_rate": 0.01},
            "split": {"classes": [0, 1]},
            "objective": {"hard": 0.5, "anchor": 0.25, "noisy": 0.125, "amplitude": 0.05},
        }
    },
}
TEACHERS, STARTS, BASELINES = 2, 2, 2
ZERO_PAD, NEAR = 2, 2
TRIALS = TEACHERS + STARTS + BASELINES + ZERO_PAD + NEAR
"""Students from scratch with alpha 1 are the baselines."""


def study_of(**changes: Any) -> Study:
    return load_study(RAW, changes)


def of(role: Role, found: list[Cell], start: str | None = None) -> list[Cell]:
    return [c for c in found if c.role is role and start in (None, c.parameters["start"])]


# What is asked for


def test_a_start_is_a_training_of_its_own_between_teacher_and_student() -> None:
    found = cells(study_of())
    teachers, starts = of(Role.TEACHER, found), of(Role.START, found)
    assert [c.seed for c in starts] == [1, 2]
    for seed, (teacher, start) in enumerate(zip(teachers, starts, strict=True), start=1):
        rule = TeacherRule.only(teacher.trial_id)
        (segment,) = start.spec.schedule
        terms = segment.objective.terms
        assert (segment.epochs, segment.objective.hard, segment.objective.guides) == (2, 0.5, ())
        assert (terms.anchor, terms.noisy, terms.amplitude, terms.anchor_to) == (
            0.25, 0.125, 0.05, rule,
        )  # fmt: skip
        assert start.spec.data.classes == (0, 1)
        assert (start.spec.recipe.learning_rate, start.spec.recipe.model) == (0.01, "mlp-6")
        assert start.spec.start is None
        (student,) = [c for c in of(Role.STUDENT, found, "near") if c.seed == seed]
        assert student.spec.start is not None
        assert student.spec.start.source == TeacherRule.only(start.trial_id)
        assert (student.spec.start.growth, student.spec.start.head) == ("copy", "source")
        assert student.spec.data.classes is None
        assert student.spec.schedule == (Segment(3),)
        (padded,) = [c for c in of(Role.STUDENT, found, "zero-pad") if c.seed == seed]
        assert padded.spec.start is not None
        assert (padded.spec.start.source, padded.spec.start.growth) == (rule, "zero-pad")


def test_from_scratch_is_without_a_start() -> None:
    found = cells(study_of())
    ids = [c.trial_id for c in of(Role.STUDENT, found, "scratch")]
    assert ids == [c.trial_id for c in of(Role.BASELINE, found)]
    assert len({c.trial_id for c in found}) == TRIALS
    plain = cells(study_of(**{"grid.start": [], "grid.alpha": [1.0], "grid.switch_epoch": [0]}))
    assert [c.trial_id for c in of(Role.STUDENT, plain)] == ids


def test_the_record_of_a_student_from_scratch_is_the_baselines() -> None:
    found = cells(study_of(**{"grid.alpha": [0.1], "grid.switch_epoch": [2]}))
    plain = cells(
        study_of(**{"grid.start": [], "grid.alpha": [0.1], "grid.switch_epoch": [2]})
    )  # fmt: skip
    mine, other = (
        of(Role.STUDENT, found, "scratch")[0],
        of(Role.STUDENT, plain)[0],
    )
    assert mine.trial_id == other.trial_id
    assert trial_words(mine) == trial_words(other)


def test_a_window_from_0_and_no_ramp_are_recorded_as_what_they_are() -> None:
    changes = {"grid.start": [], "grid.alpha": [0.1], "grid.switch_epoch": [2]}
    more = {"grid.begin_epoch": [0, 1], "grid.ramp": ["none"]}
    plain = of(Role.STUDENT, cells(study_of(**changes)))[0]
    zero, _, window, _ = of(Role.STUDENT, cells(study_of(**changes, **more)))
    assert zero.trial_id == plain.trial_id
    assert trial_words(zero) == trial_words(plain)
    assert (trial_words(window)["begin_epoch"], trial_words(window)["switch_epoch"]) == (1, 2)


def test_a_start_has_an_initialisation_a_network_and_a_frozen_part_of_its_own() -> None:
    starts = {
        "drawn": {"init": "he"},
        "same": {"growth": "copy", "student": "mlp-4"},
        "still": {"growth": "uniform-pad", "head": "new", "frozen_epochs": 1},
    }
    found = cells(study_of(starts=starts, **{"grid.start": list(starts)}))
    drawn, same, still = (of(Role.STUDENT, found, name)[0] for name in starts)
    assert (drawn.spec.recipe.init, drawn.parameters["init"], drawn.spec.start) == (
        "he", "he", None,
    )  # fmt: skip
    assert (same.model, same.spec.recipe.model) == ("mlp-4", "mlp-4")
    assert [(p.epochs, p.objective.trains) for p in still.spec.schedule] == [
        (1, "head"), (2, "all"),
    ]  # fmt: skip
    assert still.spec.start is not None
    assert still.spec.start.head == "new"
    assert not of(Role.START, found)


def test_one_training_serves_all_epochs_and_names_that_only_go_on_differently() -> None:
    starts = {name: {**RAW["starts"]["near"], **more} for name, more in (
        ("near", {}), ("near-frozen", {"frozen_epochs": 1}))}  # fmt: skip
    changes = {"grid.start": list(starts), "grid.epochs": [2, 3]}
    found = cells(study_of(starts=starts, **changes))
    assert len(of(Role.START, found)) == 2  # one for each seed
    assert len({c.trial_id for c in of(Role.STUDENT, found)}) == 2 * 2 * 2
    shared = plan(c.spec for c in of(Role.STUDENT, found) if c.seed == 1)
    assert shared.epochs == 3 + 3  # each name once for 3 epochs, with an end after 2


def test_a_training_without_a_teachers_weights_is_one_for_all_teachers() -> None:
    near = {**RAW["starts"]["near"], "objective": {"noisy": 1, "amplitude": 0.1}}
    found = cells(study_of(starts={"near": near}, **{"grid.teacher": ["mlp-4", "mlp-5"]}))
    assert len(of(Role.START, found)) == 2
    assert len({c.trial_id for c in of(Role.STUDENT, found, "near")}) == 2


def test_a_teacher_with_a_weight_is_that_teacher() -> None:
    found = cells(study_of(**{"grid.teacher": ["mlp-4:2"]}))
    assert {c.trial_id for c in found} == {c.trial_id for c in cells(study_of())}


def test_teachers_chosen_among_seeds_are_what_all_students_begin_with() -> None:
    found = cells(study_of(teacher={"select_on": "test"}))
    pool = tuple(sorted(c.trial_id for c in of(Role.TEACHER, found)))
    for cell in (*of(Role.STUDENT, found, "zero-pad"), *of(Role.START, found)):
        (rule,) = cell.spec.rules
        assert (rule.pool, rule.select_on) == (pool, "test")


def test_the_training_before_begins_with_published_weights_where_the_recipe_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models.pretrained.check", lambda *_: None)
    monkeypatch.setattr("models.pretrained.identity", lambda *_: "some weights")
    near = {"training": {"epochs": 2}, "objective": {"noisy": 1}}
    found = cells(
        study_of(starts={"near": near}, **{"recipe.pretrained": "w", "grid.start": ["near"]})
    )
    for cell in of(Role.START, found):
        assert cell.spec.start is not None
        assert cell.spec.start.pretrained == "some weights"
    for cell in of(Role.STUDENT, found):
        assert cell.spec.start is not None
        assert cell.spec.start.pretrained is None


# The table


def test_a_file_of_weights_is_handed_on_by_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of a cluster were started in other directories."""
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    found = cells(study_of(**{"recipe.pretrained": "w.safetensors", "grid.start": ["scratch"]}))
    begins = {cell.spec.start for cell in of(Role.BASELINE, found)}
    assert {start and start.location for start in begins} == {str(tmp_path / "w.safetensors")}
    # The record says it as the study does.
    assert {cell.parameters["pretrained"] for cell in found} == {"w.safetensors"}


def test_a_file_that_was_replaced_is_other_weights_in_the_same_process(tmp_path: Path) -> None:
    path, found = tmp_path / "w.safetensors", []
    for content in (b"some", b"others"):
        path.write_bytes(content)
        asked = cells(study_of(**{"recipe.pretrained": str(path), "grid.start": ["scratch"]}))
        found.append({cell.trial_id for cell in of(Role.BASELINE, asked)})
    assert found[0].isdisjoint(found[1])


def test_known_ways_need_a_teacher_but_for_scratch() -> None:
    assert {name: start.needs_teacher for name, start in KNOWN.items()} == {
        "scratch": False, "copy": True, "zero-pad": True, "uniform-pad": True, "net2net": True,
    }  # fmt: skip


def test_a_start_needs_a_teacher_where_its_weights_take_part() -> None:
    training = {"epochs": 1}
    assert not Start(training=training).needs_teacher
    assert Start(training=training, objective=StartObjective(anchor=0.1)).needs_teacher
    assert Start(training=training, growth="net2net").needs_teacher


def test_weights_become_terms() -> None:
    rule = TeacherRule.only("t")
    assert StartObjective().terms(rule) == NO_TERMS
    terms = StartObjective(hard=0, curvature=0.5, curvature_gradient=False).terms(rule)
    assert (terms.curvature, terms.curvature_gradient, terms.anchor_to) == (0.5, False, None)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"objective": {"anchor": 1}}, "objective is of the training"),
        ({"split": {"validation": 0.1}}, "split is of the training"),
        ({"head": "new"}, "head = 'new': of growth"),
        ({"training": {}, "objective": {"hard": 0}}, "nothing is minimised"),
        (
            {"training": {}, "objective": {"noisy": 1, "amplitude": 0}},
            "must be above 0 where noisy",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Start.model_validate(table)


def test_a_start_survives_its_own_record() -> None:
    for start in (*KNOWN.values(), Start(init="he"), Start.model_validate(RAW["starts"]["near"])):
        assert Start.model_validate(start.model_dump(mode="json")) == start


# A choice keeps what it needs


@pytest.mark.parametrize(
    ("only", "seeds", "roles"),
    [
        (["start=near", "role=student"], None, (2, 2, 0, 2)),
        (["start=zero-pad", "role=student"], None, (2, 0, 0, 2)),
        (["start=near", "role=student"], 1, (1, 1, 0, 1)),
        (["role=baseline"], None, (0, 0, 2, 0)),
        (["role=start"], None, (2, 2, 0, 0)),  # and the teachers that they stay near
        (["role=start", "seed=2"], None, (1, 1, 0, 0)),
        (["role=teacher"], None, (2, 0, 0, 0)),
        ([], 1, (1, 1, 1, 3)),
        ([], None, (2, 2, 2, 6)),
    ],
)
def test_a_choice_keeps_what_it_needs(
    only: list[str], seeds: int | None, roles: tuple[int, ...]
) -> None:
    found = choose(cells(study_of()), parse(only), seeds)
    order = (Role.TEACHER, Role.START, Role.BASELINE, Role.STUDENT)
    assert tuple(sum(c.role is role for c in found) for role in order) == roles


# What cannot be had


def go(store: Store, training: FakeTraining, retry: Callable[[str], bool] = lambda _: False,
       **changes: Any) -> RunSummary:  # fmt: skip
    workers = LocalExecutor(WorkerSetup(runner=training))
    with store.writing():
        try:
            return run(demand(study_of(**changes), store, retry=retry), store, workers)
        finally:
            workers.stop()


def is_teacher(task: StageTask) -> bool:
    return task.spec.recipe.model == "mlp-4"


def is_start(task: StageTask) -> bool:
    return task.spec.data.classes is not None


def test_all_is_trained_in_its_order(tmp_path: Path) -> None:
    training = FakeTraining()
    summary = go(Store(tmp_path), training)
    assert (summary.total, summary.done, summary.exit_status) == (TRIALS, TRIALS, 0)
    place = {task.key: number for number, task in enumerate(training.tasks)}
    for cell in cells(study_of()):
        for rule in cell.spec.rules:
            assert place[rule.pool[0]] < place[cell.trial_id]


def test_a_start_that_fails_blocks_its_students_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fails(task: StageTask) -> BaseException | None:
        return ValueError("boom") if is_start(task) and task.spec.seed == 1 else None

    summary = go(store, FakeTraining(fails))
    assert (summary.done, summary.failed, summary.blocked) == (TRIALS - 2, 1, 1)
    assert summary.left == 0
    blocked = [line for line in summary.failures if "blocked" in line]
    assert blocked == [
        "1 trials blocked: what students begin with (digits start mlp-6 seed 1) failed"
    ]
    again = go(store, FakeTraining())
    assert (again.total, again.blocked, again.done) == (1, 1, 0)
    assert "what it begins with failed" in again.failures[0]
    assert go(store, FakeTraining(), retry=lambda _: True).exit_status == 0


def test_a_start_that_diverges_blocks_its_students_alone(tmp_path: Path) -> None:
    training = FakeTraining()
    training.diverges = lambda task: is_start(task) and task.spec.seed == 2
    summary = go(Store(tmp_path), training)
    assert (summary.done, summary.diverged, summary.blocked) == (TRIALS - 2, 1, 1)
    assert [line for line in summary.failures if "blocked" in line] == [
        "1 trials blocked: what students begin with (digits start mlp-6 seed 2) diverged"
    ]


@pytest.mark.parametrize("how", ["fails", "diverges"])
def test_a_teacher_that_cannot_be_had_blocks_starts_and_what_begins_with_them(
    how: str, tmp_path: Path
) -> None:
    store = Store(tmp_path)

    def first(task: StageTask) -> bool:
        return is_teacher(task) and task.spec.seed == 1

    training = FakeTraining(lambda t: ValueError("x") if how == "fails" and first(t) else None)
    training.diverges = lambda task: how == "diverges" and first(task)
    summary = go(store, training)
    # Of seed 1: the training near the teacher, the student that goes on from it, the padded one.
    assert (summary.done, summary.blocked, summary.left) == (TRIALS - 4, 3, 0)
    again = go(store, FakeTraining())
    assert (again.total, again.blocked, again.left) == (3, 3, 0)

"""`--only`: which cells satisfy a filter."""

from typing import Any

import pytest

from sweep.cells import choose
from sweep.errors import FilterError, StudyError
from sweep.expand import Cell, Role, cells
from sweep.filters import Condition, matches, parse
from sweep.study import load_study

STUDY = load_study(
    {
        "name": "two",
        "seeds": [5, 3, 9],
        "grid": {
            "teacher": ["small", "large"],
            "alpha": [0.1, 0.6],
            "switch_epoch": [0, 1, 2],
            "batch_size": [32, "full"],
        },
        "recipe": {"epochs": 2, "batch_size": 32},
        "teacher": {"select_on": "test", "seeds": [5, 11]},
        "datasets": {"digits": {}, "mnist": {"grid": {"teacher": ["small"]}}},
    }
)
CELLS = cells(STUDY)


def chosen(*texts: str, seeds: int | None = None) -> tuple[Cell, ...]:
    return choose(CELLS, parse(texts), seeds)


def of_role(found: tuple[Cell, ...], role: Role) -> list[Cell]:
    return [cell for cell in found if cell.role is role]


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("alpha=0.1", [("alpha", "=", ("0.1",))]),
        ("alpha = 0.1|0.6", [("alpha", "=", ("0.1", "0.6"))]),
        ("seed<=5, dataset!=mnist", [("seed", "<=", ("5",)), ("dataset", "!=", ("mnist",))]),
        ("seed>3 switch_epoch>=1", [("seed", ">", ("3",)), ("switch_epoch", ">=", ("1",))]),
        ("learning_rate=1e-3", [("learning_rate", "=", ("1e-3",))]),
    ],
)
def test_filters_are_read(text: str, conditions: list[Any]) -> None:
    assert [(c.key, c.operator, c.values) for c in parse([text])] == conditions


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("alpha", "key=value"),
        ("", "key=value"),
        ("alpha==0.1", "key=value"),
        ("alpha=", "key=value"),
        ("alpha=0.1 and seed=3", "key=value"),
        ("aplha=0.1", "'aplha'"),
        ("test_metric>50", "allowed: role, dataset"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(text: str, part: str) -> None:
    with pytest.raises(FilterError, match="--only") as caught:
        parse([text])
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        (Condition("alpha", "=", ("0.10",)), 0.1, True),
        (Condition("alpha", "=", ("0.1", "0.6")), 0.6, True),
        (Condition("alpha", "!=", ("0.1", "0.6")), 0.6, False),
        (Condition("alpha", "!=", ("0.1", "0.6")), 0.9, True),
        (Condition("seed", "<", ("10",)), 9, True),  # as numbers: "9" > "10" as text
        (Condition("seed", ">=", ("10",)), 9, False),
        (Condition("teacher", "=", ("small",)), "small", True),
        (Condition("teacher", "=", ("small",)), "smaller", False),
        (Condition("teacher", "=", ("small",)), None, True),
        (Condition("alpha", "<", ("0.5",)), None, True),
        (Condition("alpha", "!=", ("0.5",)), None, True),
        (Condition("batch_size", "=", ("full",)), None, True),
        (Condition("batch_size", "=", ("full",)), 64, False),
        (Condition("batch_size", "=", ("64",)), None, False),
        (Condition("batch_size", "=", ("64", "full")), None, True),
        (Condition("batch_size", ">", ("64",)), None, True),
        (Condition("batch_size", "!=", ("full",)), None, False),
    ],
)
def test_a_condition_compares_numbers_as_numbers_and_holds_for_what_is_absent(
    condition: Condition, value: object, holds: bool
) -> None:
    assert condition.holds(value) is holds


def test_a_number_is_asked_for_a_number() -> None:
    with pytest.raises(FilterError, match="--only alpha: 'low' is not a number"):
        chosen("alpha=low")


def test_all_conditions_must_hold() -> None:
    conditions = parse(["dataset=digits alpha=0.1", "switch_epoch>0"])
    for cell in CELLS:
        assert matches(cell, conditions) == (
            cell.dataset == "digits"
            and cell.alpha in (None, 0.1)
            and (cell.switch_epoch is None or cell.switch_epoch > 0)
        )


def test_one_trial_is_chosen_by_its_id() -> None:
    wanted = of_role(tuple(CELLS), Role.STUDENT)[-1]
    found = of_role(chosen(f"trial_id={wanted.trial_id}"), Role.STUDENT)
    assert {cell.trial_id for cell in found} == {wanted.trial_id}


# Choosing


def test_without_filters_everything_is_chosen() -> None:
    assert sorted(c.trial_id for c in chosen()) == sorted(c.trial_id for c in CELLS)


def test_seeds_are_the_first_of_the_study_and_shrink_no_pool() -> None:
    found = chosen(seeds=2)
    assert {cell.seed for cell in found if cell.role is not Role.TEACHER} == {5, 3}
    assert of_role(found, Role.TEACHER) == of_role(tuple(CELLS), Role.TEACHER)
    assert len(chosen(seeds=100)) == len(CELLS)


@pytest.mark.parametrize(
    ("filters", "seeds"),
    [
        (["teacher=small"], None),
        (["seed=3"], None),
        (["seed<5 alpha=0.1"], None),
        (["dataset=mnist"], 1),
        (["role=student"], 1),
        (["model=student"], None),
    ],
)
def test_the_teachers_are_exactly_the_pools_of_the_chosen_students(
    filters: list[str], seeds: int | None
) -> None:
    found = chosen(*filters, seeds=seeds)
    guided = [cell for cell in found if cell.spec.rules]
    assert guided
    pools = {trial_id for cell in guided for rule in cell.spec.rules for trial_id in rule.pool}
    assert {cell.trial_id for cell in of_role(found, Role.TEACHER)} == pools
    assert all(len(rule.pool) == 2 for cell in guided for rule in cell.spec.rules)


def test_baselines_need_no_teacher() -> None:
    found = chosen("role=baseline")
    assert {cell.role for cell in found} == {Role.BASELINE}
    assert len(found) == 2 * 2 * 3


def test_a_condition_on_the_teacher_keeps_baselines_to_compare_with() -> None:
    found = chosen("teacher=large")
    assert {cell.dataset for cell in of_role(found, Role.STUDENT)} == {"digits"}
    assert {cell.dataset for cell in of_role(found, Role.BASELINE)} == {"digits", "mnist"}


def test_teachers_alone_can_be_asked_for() -> None:
    found = chosen("role=teacher")
    assert found == tuple(of_role(tuple(CELLS), Role.TEACHER))
    small = chosen("role=teacher model=small dataset=digits")
    assert [(cell.model, cell.seed) for cell in small] == [("small", 5), ("small", 11)]


def test_a_batch_size_is_chosen_also_where_it_is_the_whole_set() -> None:
    for text, value in (("batch_size=full", None), ("batch_size=32", 32)):
        found = [cell for cell in chosen(text) if cell.role is not Role.TEACHER]
        assert {cell.parameters["batch_size"] for cell in found} == {value}


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("teacher=smal", "small, large"),
        ("dataset=cifar10", "digits, mnist"),
        ("role=pupil", "teacher, baseline, student"),
        ("alpha=0.2", "0.1, 0.6"),
        ("switch_epoch>2", "0, 1, 2"),
        ("batch_size=64", "32, full"),
    ],
)
def test_a_value_that_is_nowhere_in_the_study_is_refused(text: str, there: str) -> None:
    with pytest.raises(FilterError) as caught:
        chosen(text)
    assert f"--only {text}" in str(caught.value)
    assert there in str(caught.value)


def test_nothing_left_is_refused() -> None:
    with pytest.raises(StudyError, match="nothing is left"):
        chosen("role=student dataset=mnist teacher=large")


@pytest.mark.parametrize("seeds", [0, -1])
def test_a_number_of_seeds_below_one_is_refused(seeds: int) -> None:
    with pytest.raises(StudyError, match=f"--seeds {seeds}: must be 1 or more"):
        chosen(seeds=seeds)

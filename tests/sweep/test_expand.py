"""From a study to cells in the study's words, and to the trials that answer them."""

import json
from typing import Any

import pytest

import data
from sweep.expand import Cell, Role, cells, smoke_study
from sweep.plan import plan
from sweep.study import Study, builtin_names, load_study
from sweep.words import PARAMETER_COLUMNS
from trials.spec import HARD, EarlyStop, LrSchedule

RAW: dict[str, Any] = {
    "name": "small",
    "seeds": [5, 3],
    "grid": {"teacher": ["small", "large"], "alpha": [0.1, 1.0], "switch_epoch": [0, 2, 4]},
    "recipe": {"epochs": 4, "batch_size": 32},
    "teacher": {"select_on": "test"},
    "datasets": {"digits": {"student": "medium"}},
}


def made(**changes: Any) -> list[Cell]:
    return cells(load_study(RAW, changes))


def students(found: list[Cell]) -> list[Cell]:
    return [cell for cell in found if cell.role is Role.STUDENT]


def test_cells_come_as_teachers_baselines_students_with_seeds_innermost() -> None:
    found = made()
    order = [(c.role, c.model, c.teacher, c.alpha, c.switch_epoch, c.seed) for c in found]
    teachers = [
        (Role.TEACHER, t, None, None, None, seed) for t in ("small", "large") for seed in (5, 3)
    ]
    baselines = [(Role.BASELINE, "medium", None, None, None, seed) for seed in (5, 3)]
    guided = [
        (Role.STUDENT, "medium", t, alpha, switch, seed)
        for t in ("small", "large")
        for alpha in (0.1, 1.0)
        for switch in (0, 2, 4)
        for seed in (5, 3)
    ]
    assert order == [*teachers, *baselines, *guided]


def test_alpha_1_switch_0_and_the_baseline_are_one_trial_per_seed() -> None:
    found = made()
    for seed in (5, 3):
        (baseline,) = [c for c in found if c.role is Role.BASELINE and c.seed == seed]
        same = [
            c for c in students(found) if c.seed == seed and (c.alpha == 1 or c.switch_epoch == 0)
        ]
        assert len(same) == 2 * (3 + 1)
        assert {cell.trial_id for cell in same} == {baseline.trial_id}
        assert baseline.spec.schedule[0].objective == HARD
    # What is left are 2 teachers, alpha 0.1, switch 2 and 4, 2 seeds; and 4 teachers, 2 baselines.
    assert len({cell.trial_id for cell in found}) == 2 * 2 * 2 + 4 + 2


def test_a_schedule_is_guided_until_the_switch() -> None:
    (cell,) = [c for c in students(made()) if c.teacher == "large" and c.alpha == 0.1
               and c.switch_epoch == 2 and c.seed == 3]  # fmt: skip
    guided, alone = cell.spec.schedule
    assert (guided.epochs, alone.epochs) == (2, 2)
    assert (guided.objective.hard, guided.objective.soft) == (0.1, 0.9)
    assert guided.objective.soft_loss == "kl"
    assert alone.objective == HARD


def test_a_rule_holds_all_teachers_of_its_network_and_dataset() -> None:
    found = made()
    for cell in students(found):
        pool = {c.trial_id for c in found if c.role is Role.TEACHER and c.model == cell.teacher}
        assert len(pool) == 2
        for rule in cell.spec.rules:
            assert set(rule.pool) == pool
            assert (rule.select_on, rule.select_by) == ("test", "metric")


def test_teachers_have_seeds_and_a_recipe_of_their_own() -> None:
    found = made(**{"teacher.seeds": [7, 8, 9], "teacher.recipe": {"epochs": 9}})
    teachers = [cell for cell in found if cell.role is Role.TEACHER]
    assert [cell.seed for cell in teachers] == [7, 8, 9] * 2
    assert {cell.spec.epochs for cell in teachers} == {9}
    assert {cell.parameters["epochs"] for cell in teachers} == {9}
    assert {cell.spec.epochs for cell in found if cell.role is not Role.TEACHER} == {4}
    assert {len(rule.pool) for cell in students(found) for rule in cell.spec.rules} == {3}


def test_how_teachers_are_chosen_is_part_of_a_students_identity_and_of_no_other() -> None:
    one, other = made(), made(**{"teacher.select_by": "loss"})
    for mine, theirs in zip(one, other, strict=True):
        guided = bool(mine.spec.rules)
        assert (mine.trial_id != theirs.trial_id) == guided


def test_what_is_measured_and_kept_and_the_names_are_no_part_of_the_identity() -> None:
    split = {"validation": 0.1}
    wanted = [cell.trial_id for cell in made(split=split)]
    other = made(
        split=split,
        name="other",
        title="Other",
        question="Why?",
        evaluation={
            "fgsm_epsilons": [0.3],
            "every_epochs": 1,
            "keep": "snapshot",
            "pgd_epsilons": [0.1],
            "pgd_steps": 3,
            "pgd_step_size": 0.5,
            "pgd_random_start": True,
            "input_noise": [0.1],
            "input_noise_kind": "uniform",
            "weight_noise": [0.1],
            "weight_noise_kind": "relative",
            "noise_repeats": 2,
            "fgsm_samples": "all",
            "fgsm_clip": False,
            "weight_noise_redraw": "batch",
            "validation": True,
        },
    )
    assert [cell.trial_id for cell in other] == wanted


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("epochs", [4, 6]),
        ("batch_size", [32, "full"]),
        ("learning_rate", [0.001, 0.01]),
        ("weight_decay", [0, 0.1]),
        ("init", ["default", "he"]),
    ],
)
def test_a_recipe_axis_sweeps_students_and_baselines(axis: str, values: list[Any]) -> None:
    found = made(**{f"grid.{axis}": values})
    plain = made()
    teachers = [cell for cell in found if cell.role is Role.TEACHER]
    assert [c.trial_id for c in teachers] == [c.trial_id for c in plain if c.role is Role.TEACHER]
    rest = [cell for cell in found if cell.role is not Role.TEACHER]
    assert len(rest) == 2 * (2 + 24)
    words = [None if value == "full" else value for value in values]
    for word in words:
        assert sum(cell.parameters[axis] == word for cell in rest) == 26
    first = [c.trial_id for c in rest if c.parameters[axis] == words[0]]
    second = [c.trial_id for c in rest if c.parameters[axis] == words[1]]
    assert first == [c.trial_id for c in plain if c.role is not Role.TEACHER]
    assert not set(first) & set(second)


def test_without_a_baseline_there_is_none() -> None:
    assert all(c.role is not Role.BASELINE for c in made(**{"datasets.digits.baseline": False}))


def test_baselines_alone_need_no_grid() -> None:
    found = cells(load_study({**RAW, "grid": {}}))
    assert [(cell.role, cell.seed) for cell in found] == [(Role.BASELINE, 5), (Role.BASELINE, 3)]


def test_regression_is_guided_by_mse_where_the_temperature_has_no_effect() -> None:
    study = load_study(
        {
            **RAW,
            "grid": {**RAW["grid"], "temperature": [1, 4]},
            "datasets": {"california_housing": {}},
        }
    )
    guided = [c for c in students(cells(study)) if c.spec.rules]
    assert {c.spec.schedule[0].objective.soft_loss for c in guided} == {"mse"}
    assert {c.parameters["soft_loss"] for c in guided} == {"mse"}
    by_temperature = [[c.trial_id for c in guided if c.temperature == t] for t in (1, 4)]
    assert by_temperature[0] == by_temperature[1]


def test_a_temperature_is_another_trial_where_classes_are_told_apart() -> None:
    guided = [c for c in students(made(**{"grid.temperature": [1, 4]})) if c.spec.rules]
    assert len({c.trial_id for c in guided}) == len(guided) == 16


def test_a_schedule_and_a_rule_reach_every_trial_and_its_words() -> None:
    found = made(
        **{
            "split.validation": 0.1,
            "recipe.lr_schedule": {"kind": "plateau", "factor": 0.2, "patience": 5},
            "recipe.early_stop": {"patience": 10, "restore_best": True},
            "recipe.precision": "bfloat16",
        }
    )
    for cell in found:
        assert cell.spec.recipe.lr_schedule == LrSchedule("plateau", 0.2, patience=5)
        assert cell.spec.recipe.early_stop == EarlyStop(10, restore_best=True)
        assert cell.spec.recipe.precision == "bfloat16"
        assert cell.parameters["lr_schedule"] == (
            "plateau(factor=0.2, minimum=0.0, patience=5, threshold=0.0001, "
            "monitor=validation_loss)"
        )
        assert cell.parameters["early_stop"] == (
            "patience=10, min_delta=0.0, monitor=validation_loss, restore_best=True"
        )
    assert {cell.parameters["lr_schedule"] for cell in made()} == {"constant"}
    assert {cell.parameters["early_stop"] for cell in made()} == {None}


def test_a_cosine_ends_with_the_trial_unless_its_horizon_is_given() -> None:
    lengths = {"grid.epochs": [4, 6], "teacher.recipe": {"epochs": 9}}
    open_end = made(**lengths, **{"recipe.lr_schedule.kind": "cosine"})
    for cell in open_end:
        assert cell.spec.recipe.lr_schedule == LrSchedule("cosine", horizon=cell.spec.epochs)
        assert cell.parameters["lr_schedule"] == f"cosine(horizon={cell.spec.epochs}, minimum=0.0)"
    assert {cell.spec.epochs for cell in open_end} == {4, 6, 9}
    fixed = made(**lengths, **{"recipe.lr_schedule": {"kind": "cosine", "horizon": 6}})
    assert {cell.spec.recipe.lr_schedule.horizon for cell in fixed} == {6}

    # With one horizon trials of both lengths share their beginning, with their own they do not.
    def baselines(found: list[Cell]) -> list[Any]:
        return [cell.spec for cell in found if cell.role is Role.BASELINE and cell.seed == 5]

    assert [plan(baselines(found)).epochs for found in (open_end, fixed)] == [10, 6]


def test_teachers_may_have_another_schedule_and_no_early_stop() -> None:
    found = made(
        **{
            "split.validation": 0.1,
            "recipe.lr_schedule": {"kind": "plateau", "factor": 0.2, "patience": 5},
            "recipe.early_stop.patience": 10,
            "teacher.recipe": {
                "lr_schedule": {"kind": "step", "factor": 0.1, "milestones": [10]},
                "early_stop": {"patience": 0},
            },
        }
    )
    for cell in found:
        teacher = cell.role is Role.TEACHER
        assert cell.spec.recipe.lr_schedule.kind == ("step" if teacher else "plateau")
        assert cell.spec.recipe.early_stop.patience == (0 if teacher else 10)
    longer = made(
        **{
            "split.validation": 0.1,
            "recipe.lr_schedule": {"kind": "plateau", "factor": 0.2, "patience": 5},
            "teacher.recipe": {"lr_schedule": {"patience": 7}},
        }
    )
    teachers = [cell.spec.recipe for cell in longer if cell.role is Role.TEACHER]
    assert {r.lr_schedule for r in teachers} == {LrSchedule("plateau", 0.2, patience=7)}


def test_a_column_is_found_by_name() -> None:
    cell = made()[0]
    assert cell.column("role") == "teacher"
    assert cell.column("batch_size") == 32
    assert set(cell.parameters) == set(PARAMETER_COLUMNS)
    with pytest.raises(KeyError):
        cell.column("robustness")


# The short version of a study


def configurations(study: Study) -> set[tuple[Any, ...]]:
    """What differs between cells beside seeds and numbers of epochs."""
    return {
        (
            c.dataset, c.role, c.model, c.teacher, c.alpha, c.temperature,
            *(c.parameters[key] for key in ("start", "ramp", "init", "batch_size")),
            (c.parameters["begin_epoch"] or 0) > 0,
        )
        for c in cells(study)
    }  # fmt: skip


SMOKE_TRIALS = {
    # 3 teachers, a baseline, and 3 teachers x 3 alphas that switch after one epoch or never.
    "thesis": 3 * (3 + 1 + 9 * 2),
    "thesis-california": 3 + 1 + 9 * 2,
    # 2 teachers, a baseline, 2 x 2 alphas that switch, or do not; from epoch 0 or 1.
    "thesis-windows-tiny": 2 + 1 + 4 * 2 * 2,
    # The teacher; 5 ways with a training before, one of them under two names; 12 ways to go on.
    "anti-distillation-tiny": 1 + 5 + 12,
}


@pytest.mark.parametrize("name", builtin_names())
def test_smoke_keeps_every_configuration_of_a_built_in_study_and_is_small(name: str) -> None:
    study = load_study(name)
    smoke = smoke_study(study)
    assert Study.model_validate(json.loads(smoke.to_json())) == smoke
    assert load_study(json.loads(smoke.to_json())).datasets == smoke.datasets
    if not study.then and not study.search:
        assert configurations(smoke) == configurations(study)
    found = cells(smoke)
    assert {cell.seed for cell in found} == {study.seeds[0]}
    longest = 3 if any(d.grid.begin_epoch for d in study.datasets.values()) else 2
    for cell in found:
        assert cell.spec.epochs == (1 if cell.role is Role.START else longest)
        if cell.role is Role.STUDENT and cell.alpha != 1:
            assert cell.spec.rules, "guided for some of them"
        rows = cell.spec.data.rows()
        assert rows is not None
        assert rows[0] <= 512
        assert (rows[1] > 0) == (study.datasets[cell.dataset].split.validation > 0)
    if name in SMOKE_TRIALS:
        assert len({cell.trial_id for cell in found}) == SMOKE_TRIALS[name]


def test_smoke_drops_what_makes_a_study_long() -> None:
    study = load_study(
        RAW,
        {
            "grid.epochs": [4, 100],
            "teacher.seeds": [7, 8],
            "teacher.recipe": {"epochs": 50, "learning_rate": 0.01},
        },
    )
    found = cells(smoke_study(study))
    assert {cell.spec.epochs for cell in found} == {2}
    teachers = [cell for cell in found if cell.role is Role.TEACHER]
    assert {cell.seed for cell in teachers} == {7}
    assert {cell.parameters["learning_rate"] for cell in teachers} == {0.01}


@pytest.mark.parametrize("validation", [0.0, 0.1, 0.5, 0.99, 0.999, 0.9993, 0.9995])
@pytest.mark.parametrize("train_size", [None, 1])
def test_smoke_fits_any_split(validation: float, train_size: int | None) -> None:
    split = {"split.validation": validation}
    if train_size is not None:
        split["split.train_size"] = train_size
    smoke = smoke_study(load_study(RAW, split))
    for cell in cells(smoke):
        rows = cell.spec.data.rows()
        assert rows is not None
        left, _ = data.DataSpec("digits", validation=validation).counts(1437)
        assert rows[0] == min(512, left, train_size or 512)

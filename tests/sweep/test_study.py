"""The built-in studies say what the home study did, and counting them needs no torch."""

import hashlib
import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from sweep.errors import StudyError
from sweep.expand import Role, cells
from sweep.plan import plan
from sweep.study import Study, builtin_names, count_cells, documented_keys, load_study

SEEDS = (38, 1483, 2056, 31425, 2749, 127, 780, 9872, 5587, 8740, 4396, 10106, 2324, 9945, 12578)
STUDENT_EPOCHS_NAIVE = {"cifar10": 30_375, "fashion_mnist": 30_375, "california_housing": 3_037_500}
STUDENT_EPOCHS_PLANNED = {
    "cifar10": 16_200, "fashion_mnist": 16_200, "california_housing": 1_620_000,
}  # fmt: skip


def test_the_thesis_has_6255_trials_in_three_roles() -> None:
    distinct = {cell.trial_id: cell for cell in cells(load_study("thesis"))}
    assert len(distinct) == 6255
    assert Counter(cell.role for cell in distinct.values()) == {
        Role.STUDENT: 6075, Role.BASELINE: 45, Role.TEACHER: 135,
    }  # fmt: skip


def test_sharing_saves_the_thesis_1_875_of_its_student_epochs() -> None:
    students = [c for c in cells(load_study("thesis")) if c.role is Role.STUDENT]
    for name in STUDENT_EPOCHS_NAIVE:
        specs = [cell.spec for cell in students if cell.dataset == name]
        assert sum(spec.epochs for spec in specs) == STUDENT_EPOCHS_NAIVE[name]
        assert plan(specs).epochs == STUDENT_EPOCHS_PLANNED[name]
        assert plan(specs, share=False).epochs == STUDENT_EPOCHS_NAIVE[name]
    assert sum(STUDENT_EPOCHS_NAIVE.values()) == 3_098_250
    assert sum(STUDENT_EPOCHS_PLANNED.values()) == 1_652_400
    assert 3_098_250 / 1_652_400 == 1.875


def test_the_thesis_follows_the_published_settings() -> None:
    thesis = load_study("thesis")
    assert thesis.seeds == SEEDS
    assert set(thesis.datasets) == {"cifar10", "fashion_mnist", "california_housing"}
    for name, dataset in thesis.datasets.items():
        regression = name == "california_housing"
        grid, recipe = dataset.grid, dataset.recipe
        assert grid.teacher == ("small", "medium", "large")
        assert grid.alpha == (0.1, 0.6, 0.9)
        assert grid.temperature == (1.0,)
        step = 100 if regression else 1
        assert grid.switch_epoch == tuple(step * n for n in range(1, 16))
        assert recipe.epochs == (1500 if regression else 15)
        assert recipe.batch_size == (None if regression else 64)
        assert (recipe.optimizer, recipe.learning_rate, recipe.init) == ("adam", 0.001, "default")
        assert (recipe.weight_decay, recipe.momentum) == (0, 0)
        assert dataset.teacher.select_on == "test"
        assert dataset.teacher.seeds is None
        assert dataset.teacher_recipe() == recipe
        assert dataset.evaluation.fgsm_epsilons == (0.005, 0.01, 0.05)
        assert dataset.split.validation == 0
        assert dataset.student == "student"


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("thesis-cifar10", "cifar10"),
        ("thesis-fashion-mnist", "fashion_mnist"),
        ("thesis-california", "california_housing"),
    ],
)
def test_a_third_of_the_thesis_asks_for_the_same_trials(name: str, dataset: str) -> None:
    part = {cell.trial_id for cell in cells(load_study(name))}
    whole = {c.trial_id for c in cells(load_study("thesis")) if c.dataset == dataset}
    assert len(part) == 2085
    assert part == whole


def test_quickstart_has_147_trials_and_shares_a_third_of_their_epochs() -> None:
    found = cells(load_study("quickstart"))
    roles = [cell.role for cell in found]
    assert len({cell.trial_id for cell in found}) == 147
    assert [roles.count(r) for r in (Role.TEACHER, Role.BASELINE, Role.STUDENT)] == [9, 3, 135]
    # 27 groups (teacher, alpha, seed): a trunk of 6 epochs and tails of 5, 4, 3 and 2.
    assert plan(cell.spec for cell in found).epochs == 27 * (6 + 5 + 4 + 3 + 2) + 12 * 6


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quickstart", "fd15581e637c233e5c2aec23"),
        ("thesis", "7d7c99b623c133d398c4e7d5"),
        ("thesis-california", "0332534ce7f68cf929dfce16"),
        ("thesis-cifar10", "6046b97025e216d1024d0093"),
        ("thesis-fashion-mnist", "458f041e4e452b20f3669c66"),
    ],
)
@pytest.mark.usefixtures("numerics_one")
def test_the_trials_of_a_study_are_those_that_stores_hold(name: str, expected: str) -> None:
    ids = "\n".join(cell.trial_id for cell in cells(load_study(name)))
    assert hashlib.sha256(ids.encode()).hexdigest()[:24] == expected


@pytest.mark.parametrize("name", builtin_names())
def test_a_study_survives_its_own_record(name: str) -> None:
    study = load_study(name)
    again = Study.model_validate(json.loads(study.to_json()))
    assert again == study
    asked = len(cells(study))
    later = bool(study.then or study.search)  # counted in full before they are asked for
    assert count_cells(study) > asked if later else count_cells(study) == asked


def test_schedules_survive_the_record_of_a_study() -> None:
    schedule = {"kind": "step", "factor": 0.1, "milestones": {"start": 5, "stop": 15, "step": 5}}
    study = load_study(
        "quickstart",
        {"recipe.lr_schedule": schedule, "recipe.early_stop": {"restore_best": True}},
    )
    again = Study.model_validate(json.loads(study.to_json()))
    assert again == study == load_study(json.loads(study.to_json()))
    assert again.datasets["digits"].recipe.lr_schedule.milestones == (5, 10, 15)


def test_expected_settings_are_of_the_grid() -> None:
    expected = [
        {
            "dataset": "digits",
            "alpha": [0.6, 0.9],
            "switch_epoch": {"start": 1, "stop": 3, "step": 1},
        }
    ]
    study = load_study("quickstart", {"expected": expected})
    assert study.expected[0].switch_epoch == (1, 2, 3)
    ids = [cell.trial_id for cell in cells(load_study("quickstart"))]
    assert [cell.trial_id for cell in cells(study)] == ids


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"alpha": [0.2]}, "expected.alpha = 0.2: must be one of 0.1, 0.6, 0.9"),
        ({"teacher": "huge"}, "expected.teacher = 'huge': must be one of large, medium, small"),
        ({"switch_epoch": [5]}, "expected.switch_epoch = 5: must be one of 1, 2, 3, 4, 6"),
        ({"dataset": "mnist", "alpha": [0.1]}, "expected.dataset = 'mnist': must be one of digits"),
        ({"dataset": "digits"}, "expected: must name a teacher, alpha or switch_epoch"),
        ({"aplha": [0.1]}, "expected[0].aplha = [0.1]: Extra inputs are not permitted"),
    ],
)
def test_unexpected_settings_are_refused(expected: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError) as caught:
        load_study("quickstart", {"expected": [expected]})
    assert str(caught.value) == message


def test_every_key_of_a_study_file_is_described() -> None:
    described = {name: meaning for name, _, meaning in documented_keys()}
    assert all(described.values())
    assert {"seeds", "grid.alpha", "recipe.epochs", "datasets.NAME.student"} <= set(described)
    assert "recipe.lr_schedule" not in described
    defaults = {name: default for name, default, _ in documented_keys()}
    assert defaults["recipe.lr_schedule.kind"] == '"constant"'
    assert defaults["recipe.lr_schedule.horizon"] == "none"
    assert defaults["recipe.early_stop.patience"] == "0"


def test_planning_the_thesis_loads_no_torch() -> None:
    code = """
import sys
from typing import Any
from sweep.cli import main
sys.argv = ["sweep", "plan", "thesis", "--json", "--results", "/nonexistent"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "torchvision", "sklearn", "ray"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["study"] == "thesis"
    assert (found["trials"], found["done"], found["todo"]) == (6255, 0, 6255)
    assert found["by_role"] == {"student": 6075, "baseline": 45, "teacher": 135}
    assert found["by_dataset"] == dict.fromkeys(STUDENT_EPOCHS_NAIVE, 2085)
    assert found["epochs_naive_by_role"] == {
        "student": 3_098_250, "baseline": 22_950, "teacher": 68_850,
    }  # fmt: skip
    assert found["epochs_planned_by_role"] == {
        "student": 1_652_400, "baseline": 22_950, "teacher": 68_850,
    }  # fmt: skip
    naive, planned = (found[f"epochs_{kind}_by_role"]["student"] for kind in ("naive", "planned"))
    assert naive / planned == 1.875
    # Each dataset: its students, 15 baselines and 45 teachers of 15 or 1500 epochs.
    for name, students in STUDENT_EPOCHS_NAIVE.items():
        alone = 60 * (1500 if name == "california_housing" else 15)
        assert found["epochs_naive_by_dataset"][name] == students + alone
        assert found["epochs_planned_by_dataset"][name] == STUDENT_EPOCHS_PLANNED[name] + alone
    assert found["epochs_naive"] == 3_098_250 + 22_950 + 68_850
    assert found["epochs_planned"] == 1_652_400 + 22_950 + 68_850

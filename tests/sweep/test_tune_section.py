"""The section `[tune]`: what it means, and what is refused by its key."""

from typing import Any

import pytest

from sweep.errors import StudyError
from sweep.study import load_study
from sweep.study.check_tune import space_of
from sweep.study.searched import KEYS, Setting
from sweep.suggest import Choice, Range

RAW: dict[str, Any] = {
    "name": "searched",
    "seeds": [1, 2, 3],
    "grid": {"teacher": ["mlp-4"], "alpha": [0.5], "switch_epoch": [2]},
    "recipe": {"epochs": 4, "batch_size": 32, "optimizer": "sgd"},
    "split": {"train_size": 64, "validation": 0.1},
    "evaluation": {"fgsm_epsilons": [0.05]},
    "datasets": {"digits": {"student": "mlp-6"}},
    "starts": {"near": {"training": {"epochs": 1}}},
    "tune": {"space": {"alpha": {"low": 0.1, "high": 0.9, "step": 0.1}}, "trials": 30},
}


def test_whole_numbers_are_told_by_the_key_not_by_how_they_are_written() -> None:
    space = {
        "alpha": {"low": 0, "high": 1},  # written as whole numbers, and yet any number between
        "switch_epoch": {"low": 1, "high": 4},
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "teacher": ["mlp-4", "mlp-5"],
        "batch_size": {"values": [16, "full"]},
        "momentum": {"low": 0.0, "high": 0.9},
    }
    study = load_study(RAW, {"tune.space": space})
    assert study.tune is not None
    assert dict(space_of(study.tune)) == {
        "alpha": Range(0, 1, digits=6),
        "switch_epoch": Range(1, 4, 1, whole=True),
        "learning_rate": Range(1e-4, 1e-1, log=True, digits=6),
        "teacher": Choice(("mlp-4", "mlp-5")),
        "batch_size": Choice((16, "full")),
        "momentum": Range(0.0, 0.9, digits=6),
    }


def test_numbers_of_the_recipe_and_weights_of_a_start_may_be_sought() -> None:
    assert {
        "momentum",
        "lr_schedule.factor",
        "augment.rotation",
        "anchor",
        "train_fraction",
    } <= set(KEYS)
    assert KEYS["frozen_epochs"]
    assert KEYS["lr_schedule.warmup_epochs"]
    assert not KEYS["learning_rate"]
    assert not {"past_end", "shuffle", "optimizer", "precision"} & set(KEYS)
    found = Setting.of({"alpha": 0.3, "momentum": 0.5, "lr_schedule.factor": 0.7, "hard": 2})
    assert found == Setting(
        {"alpha": (0.3,)}, {"momentum": 0.5, "lr_schedule": {"factor": 0.7}}, {"hard": 2.0}
    )
    dataset = load_study(
        RAW, {"recipe.lr_schedule": {"kind": "exponential", "factor": 0.9}}
    ).datasets
    recipe = found.recipe_of(dataset["digits"])
    assert (recipe.momentum, recipe.lr_schedule.factor) == (0.5, 0.7)
    assert recipe.lr_schedule.kind == "exponential"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tune.space": {}}, r"tune\.space = \{\}"),
    ({"tune.spaces": {}}, r"unknown key 'tune.spaces'.*did you mean space"),
    ({"tune.space": {"alpah": [1.0]}}, r"unknown key 'alpah'.*did you mean alpha\?"),
    ({"tune.space.alpha": {"low": 0.1}}, r"tune\.space\.alpha.*give values = \[\.\.\.\], or low and"),
    ({"tune.space.alpha": {"low": 0.5, "high": 0.5}}, r"high = 0\.5: must be above low, 0\.5"),
    ({"tune.space.alpha": {"lo": 0.5}}, r"unknown key 'tune\.space\.alpha\.lo'"),
    ({"tune.space.alpha": [0.5, 0.5]}, r"values = 0\.5 is given twice"),
    ({"tune.space.alpha": [True]}, r"must be numbers or texts, not true or false"),
    ({"tune.space.alpha.values": [0.5]}, r"values are given: leave out low, high, step and log"),
    ({"tune.space.alpha.high": 2}, r"must be less than or equal to 1"),
    ({"tune.space.alpha": {"low": 0, "high": 1, "log": True}}, r"low = 0: must be above 0 where log"),
    ({"tune.space.switch_epoch": {"low": 1, "high": 2.5}}, r"switch_epoch: high = 2\.5: must be a whole"),
    ({"tune.space.switch_epoch": {"low": 1, "high": 9}}, r"switch_epoch = 9: past the end of 4 epochs"),
    ({"tune.space.teacher": ["mlp-4", "huge"]}, r"huge"),
    ({"tune.trials": None, "tune.space.alpha": {"low": 0, "high": 1}}, r"nothing says when it ends"),
    ({"tune.trials": 6}, r"tune\.trials = 6: the finalists' further seeds take 6 of them"),
    ({"tune.epochs": 27}, r"tune\.epochs = 27: one point and the finalists' further seeds take 28"),
    ({"tune.space": {"lr_schedule.milestones": [1]}}, r"tune\.space: unknown key 'lr_schedule\.milestones'"),
    ({"tune.sampler": "grid", "tune.space.alpha": {"low": 0, "high": 1}}, r"needs a finite space, and alpha"),
    ({"tune.sampler": "luck"}, r"tune\.sampler = 'luck'.*'tpe', 'gp', 'random' or 'grid'"),
    ({"tune.repeats": 4}, r"tune\.repeats = 4: the study has 3 seeds"),
    ({"tune.repeats": 2, "tune.final_seeds": 1}, r"final_seeds = 1: must be 2 \(repeats\) or more"),
    ({"tune.rungs": [2, 1]}, r"rungs = \[2, 1\]: must rise"),
    ({"tune.rungs": [4]}, r"tune\.rungs = 4: must be below the epochs of a point, 4"),
    ({"tune.rungs": [1], "tune.objectives": [{}, {"by": "loss"}]}, r"leave rungs out with several"),
    ({"tune.objectives": [{}, {}]}, r"'validation metric' is given twice"),
    ({"tune.objectives": [{"attack": "fgsm"}]}, r"attack and epsilon are given together"),
    ({"tune.objectives": [{"attack": "fgsm", "epsilon": 0.1}]}, r"must be measured by.*it measures fgsm 0\.05"),
    ({"tune.objectives": [{"attack": "fgsm", "epsilon": 0.05}]}, r"needs evaluation\.validation = true"),
    ({"tune.objectives": [{"split": "test"}]}, r"unknown key 'tune\.objectives\[0\]\.split'"),
    ({"split.validation": 0.0, "teacher.select_on": "test"}, r"objectives\[0\]\.select_on.*needs split\.validation above 0"),
    ({"grid.temperature": [1.0, 2.0]}, r"grid\.temperature.*has 2 values and is not in tune\.space"),
    ({"tune.space.anchor": {"low": 0, "high": 1}}, r"tune\.space\.anchor: is a weight of a start; give tune\.start"),
    ({"tune.start": "near"}, r"tune\.space has none of its weights"),
    ({"tune.start": "far", "tune.space.anchor": {"low": 0, "high": 1}}, r"tune\.start = 'far'; allowed: near"),
    ({"tune.space.momentum": {"low": 0.0, "high": 1.0}}, r"momentum"),
    ({"tune.start": "near", "tune.space.hard": {"low": 0, "high": 1, "step": 0.5}}, r"every weight at its least.*all 0"),
    ({"tune.start": "near", "tune.space.hard": [1.0, -1.0]}, r"tune\.space\.hard = -1\.0: must be 0 or more"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_study(RAW, changes)


def test_a_split_that_is_named_is_taken_at_its_word() -> None:
    changes = {"split.validation": 0.0, "teacher.select_on": "test"}
    study = load_study(RAW, {**changes, "tune.objectives": [{"select_on": "test"}]})
    assert study.tune is not None
    assert [goal.name for goal in study.tune.objectives] == ["test metric"]


def test_what_is_written_down_is_read_again() -> None:
    from sweep.study import Study

    study = load_study(RAW, {"tune.space.teacher": ["mlp-4", "mlp-5"]})
    assert Study.model_validate_json(study.to_json()) == study

"""Splits that lack what an axis of the grid gives them."""

from typing import Any

import pytest

from sweep.errors import StudyError
from sweep.expand import cells, smoke_study
from sweep.study import Study, load_study


def blurred(grid: dict[str, Any], **split: Any) -> Study:
    return load_study(
        {
            "name": "blurred",
            "seeds": [1],
            "grid": {"teacher": ["small"], "alpha": [0.5], "switch_epoch": [2], **grid},
            "recipe": {"epochs": 2, "batch_size": 64},
            "split": {"validation": 0.1, "corruption": "blur", **split},
            "datasets": {"digits": {}},
        }
    )


def strengths(study: Study) -> set[float | None]:
    return {cell.spec.data.corruption_strength for cell in cells(study)}


def test_a_strength_may_be_the_grid_s_alone() -> None:
    study = blurred({"corruption_strength": [0.5, 1.5]})
    assert strengths(study) == {0.5, 1.5}
    assert strengths(smoke_study(study)) == {0.5, 1.5}


def test_a_strength_that_nobody_gives_is_a_mistake() -> None:
    with pytest.raises(StudyError, match=r"split: corruption_strength = None is not allowed"):
        blurred({"corruption_fraction": [0.5, 1.0]})


def test_a_strength_of_the_grid_that_cannot_be_is_named() -> None:
    with pytest.raises(StudyError, match=r"grid.corruption_strength: .* = 5000.0 is not allowed"):
        blurred({"corruption_strength": [0.5, 5000.0]})
    with pytest.raises(StudyError, match=r"corruption_strength = 5000.0 is not allowed"):
        blurred({"corruption_strength": [5000.0]})


def learnt(scaling: str, alpha: float, **split: Any) -> Study:
    """Teachers with rows of their own, for students that ask them, or do not."""
    return load_study(
        {
            "name": "learnt",
            "seeds": [1],
            "grid": {"teacher": ["mlp-4"], "start": ["zero-pad"], "alpha": [alpha], "switch_epoch": [2]},
            "recipe": {"epochs": 2, "batch_size": 64},
            "split": {"validation": 0.1, "train_fraction": 0.5, "scaling": scaling},
            "teacher": {"split": split},
            "datasets": {"digits": {"student": "mlp-6"}},
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    "split",
    [{"train_fraction": 1}, {"classes": [0, 1]}, {"corruption": "blur", "corruption_strength": 1}],
)
def test_teachers_are_not_asked_in_another_unit_than_they_learnt(split: dict[str, Any]) -> None:
    """Standardised images are in units of their own training rows' deviation."""
    with pytest.raises(StudyError, match=r"teacher\.split: must leave training rows .* standard"):
        learnt("standard", 0.5, **split)
    # Without its answers, or in one unit for all rows, it may have learnt from others.
    assert learnt("standard", 1.0, **split)
    assert learnt("unit", 0.5, **split)


def test_noise_on_labels_does_not_change_the_unit() -> None:
    assert learnt("standard", 0.5, label_noise=0.2)


def test_teachers_of_a_table_have_the_unit_of_their_students() -> None:
    raw = {
        "name": "learnt",
        "seeds": [1],
        "grid": {"teacher": ["small"], "alpha": [0.5], "switch_epoch": [2]},
        "recipe": {"epochs": 2, "batch_size": "full"},
        "split": {"validation": 0.1, "train_size": 1000, "target_noise": 0.1},
        "datasets": {"california_housing": {}},
    }
    assert load_study(raw, {"teacher.split": {"target_noise": 0}})
    with pytest.raises(StudyError, match=r"teacher\.split: must leave training rows .* tables"):
        load_study(raw, {"teacher.split": {"train_size": 2000}})

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

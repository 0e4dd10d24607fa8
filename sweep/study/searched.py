"""Keys that a search may seek: axes of the grid, numbers of the recipe, weights of a start."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, get_args, get_origin

from sweep.starts import Start, StartObjective
from sweep.study.dataset import DatasetStudy
from sweep.study.grid import Grid
from sweep.study.merging import merge
from sweep.study.recipe import RECIPE_TABLES, Recipe
from sweep.suggest import Values

WEIGHTS = ("hard", "noisy", "amplitude", "anchor", "curvature")


def _kinds(annotation: object) -> set[object]:
    """The plain types within an annotation."""
    inner = get_args(annotation)
    if not inner:
        return {annotation}
    return set().union(*(_kinds(one) for one in inner))


def _outer(annotation: object) -> set[object]:
    """What an annotation is made of, and what that is: `tuple` of `tuple[int, ...]`."""
    return {get_origin(annotation)}.union(*map(_outer, get_args(annotation)))


def _is_whole(field: Any) -> bool:
    return int in _kinds(field.annotation)


def _numbers(section: type[Any], prefix: str = "") -> dict[str, bool]:
    """Keys of a section that are numbers, and whether they are whole ones."""
    found = {}
    for name, field in section.model_fields.items():
        kinds = {one for one in _kinds(field.annotation) if isinstance(one, type)} - {NoneType}
        if tuple in _outer(field.annotation):
            continue  # many numbers are not a number
        if kinds and kinds <= {int, float}:
            found[prefix + name] = int in kinds
    return found


AXES: Mapping[str, bool] = {
    name: _is_whole(field) for name, field in Grid.model_fields.items() if name != "past_end"
}
"""Axes of the grid, and whether their values are whole numbers."""

NUMBERS: Mapping[str, bool] = {
    **{key: whole for key, whole in _numbers(Recipe).items() if key not in AXES},
    **{
        key: whole
        for table in sorted(RECIPE_TABLES)
        for key, whole in _numbers(type(Recipe.model_fields[table].default), f"{table}.").items()
    },
}
"""Numbers of the recipe that are no axes: momentum, lr_schedule.factor, ..."""

KEYS: Mapping[str, bool] = {**AXES, **NUMBERS, **dict.fromkeys(WEIGHTS, False)}
"""Every key that may be sought, and whether its values are whole numbers."""


@dataclass(frozen=True)
class Setting:
    """What the values of a point change.

    Attributes:
        grid: values of axes.
        recipe: changes to the recipe of students.
        weights: of the objective of a start.
    """

    grid: Mapping[str, tuple[Any, ...]]
    recipe: Mapping[str, Any]
    weights: Mapping[str, float]

    @classmethod
    def of(cls, values: Values) -> "Setting":
        """What one point changes."""
        recipe: dict[str, Any] = {}
        for key, value in values.items():
            if key in NUMBERS:
                table, dot, name = key.partition(".")
                recipe = merge(recipe, {table: {name: value}} if dot else {key: value})
        return cls(
            {key: (value,) for key, value in values.items() if key in AXES},
            recipe,
            {key: float(value) for key, value in values.items() if key in WEIGHTS},
        )

    def recipe_of(self, dataset: DatasetStudy) -> Recipe:
        """The students' recipe of a dataset with these changes."""
        return (
            dataset.changed_recipe(dataset.recipe, self.recipe) if self.recipe else dataset.recipe
        )

    def start(self, template: Start) -> Start:
        """A start with these weights."""
        objective = {**template.objective.model_dump(), **self.weights}
        return template.model_copy(update={"objective": StartObjective(**objective)})

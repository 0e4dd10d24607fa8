"""One dataset of a study, with all sections merged."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from sweep.section import Name, Section, Seeds
from sweep.study.evaluation import Evaluation
from sweep.study.grid import SPLIT_AXES, Grid
from sweep.study.merging import merge
from sweep.study.recipe import Recipe
from sweep.study.split import Split

SECTIONS = ("grid", "recipe", "split", "teacher", "evaluation")


class Teacher(Section):
    """How teachers are trained and chosen."""

    select_on: Literal["test", "validation"] = Field(
        "validation", description="split on which the best teacher is chosen"
    )
    select_by: Literal["metric", "loss"] = Field("metric", description="what is compared")
    seeds: Seeds | None = Field(
        None, description="seeds of the teachers; absent: those of the study"
    )
    match: Literal["best", "seed"] = Field(
        "best", description="best: one teacher for all students; seed: each student has the teacher "
        "of its own seed, and nothing is chosen"
    )  # fmt: skip
    recipe: dict[str, Any] = Field(
        default_factory=dict, description="overrides [recipe] for teachers"
    )
    split: dict[str, Any] = Field(
        default_factory=dict,
        description="overrides [split] for teachers, axes of the grid included",
    )


SECTION_MODELS: dict[str, type[Section]] = {
    "grid": Grid,
    "recipe": Recipe,
    "split": Split,
    "teacher": Teacher,
    "evaluation": Evaluation,
}


class DatasetStudy(Section):
    """One dataset of a study, with all sections merged."""

    student: Name = Field("student", description="the network that is guided")
    baseline: Annotated[bool, Strict()] = Field(
        True, description="whether the student is also trained alone"
    )
    grid: Grid = Field(Grid(), description="see [grid]")
    recipe: Recipe = Field(..., description="see [recipe]")
    split: Split = Field(Split(), description="see [split]")
    teacher: Teacher = Field(Teacher(), description="see [teacher]")
    evaluation: Evaluation = Field(
        Evaluation(),
        description="see [evaluation]",
    )

    def teacher_recipe(self, epochs: int | None = None) -> Recipe:
        """The recipe of the teachers; with other epochs where these are swept."""
        own = self.teacher.recipe | ({} if epochs is None else {"epochs": epochs})
        return self.changed_recipe(self.recipe, own)

    def teacher_split(self, split: Split) -> Split:
        """The rows of the teachers of students on some rows."""
        return self.changed_split(split, self.teacher.split)

    def changed_recipe(self, recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
        """A recipe with other values for some keys."""
        return Recipe.model_validate(merge(recipe.model_dump(), changes))

    def changed_split(self, split: Split, changes: Mapping[str, Any]) -> Split:
        """Rows with other values for some keys."""
        return Split.model_validate(merge(split.model_dump(), changes))

    def changed_grid(self, changes: Mapping[str, Any]) -> Grid:
        """The grid with other values on some axes."""
        return Grid.model_validate(merge(self.grid.model_dump(), changes))

    def a_split(self, **chosen: Any) -> Split:
        """Rows that the study asks for: the first value of every axis that sweeps them.

        Args:
            chosen: other values of some axes.
        """
        first = {axis: values[0] for axis in SPLIT_AXES if (values := getattr(self.grid, axis))}
        return self.split.model_copy(update=first | chosen)

    @property
    def students(self) -> tuple[str, ...]:
        """The networks that are guided."""
        return self.students_of(self.grid)

    def students_of(self, grid: Grid) -> tuple[str, ...]:
        """The networks that are guided in a grid, this one's or a later one."""
        return grid.student or (self.student,)

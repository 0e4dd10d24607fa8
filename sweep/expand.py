"""From a study to its cells, and from cells to trials.

A cell is one requested combination for one seed, in the words of the study; a trial is what has to
be trained for it. Several cells may be one trial: the baseline, alpha 1 and switch epoch 0 are.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import data
from sweep.study import RECIPE_AXES, DatasetStudy, Study
from sweep.study import Recipe as RecipeSection
from sweep.words import CELL_COLUMNS
from trials.spec import (
    Guide,
    Objective,
    Recipe,
    Schedule,
    SoftLoss,
    TeacherRule,
    TrialSpec,
    switched,
)


class Role(StrEnum):
    """What a cell is in its study."""

    TEACHER = "teacher"
    BASELINE = "baseline"
    STUDENT = "student"


@dataclass(frozen=True, slots=True)
class Cell:
    """One requested combination of a study for one seed.

    Attributes:
        alpha, switch_epoch, temperature: as asked; None for teachers and baselines.
        parameters: further parameters of the recipe and split, as asked, by column name.
        spec: the trial that answers the cell.
    """

    role: Role
    dataset: str
    model: str
    teacher: str | None
    alpha: float | None
    switch_epoch: int | None
    temperature: float | None
    seed: int
    parameters: Mapping[str, float | int | str | None]
    spec: TrialSpec

    @property
    def trial_id(self) -> str:
        """The id of the trial that answers the cell."""
        return self.spec.trial_id

    def column(self, key: str) -> object:
        """A parameter of the cell by its column name.

        Raises:
            KeyError: where a cell has no such column.
        """
        return getattr(self, key) if key in CELL_COLUMNS else self.parameters[key]


def cells(study: Study) -> list[Cell]:
    """All cells of a study: teachers, then baselines, then students, dataset by dataset."""
    return [
        cell for name, dataset in study.datasets.items() for cell in _cells(study, name, dataset)
    ]


def _cells(study: Study, name: str, dataset: DatasetStudy) -> Iterator[Cell]:
    split = data.DataSpec(name, **dataset.split.model_dump())
    teacher_section = dataset.teacher_recipe()
    teacher_seeds = dataset.teacher.seeds or study.seeds
    rules: dict[str, TeacherRule] = {}
    for teacher in dataset.grid.teacher:
        pool = []
        alone = switched(Objective(), 0, teacher_section.epochs)
        for seed in teacher_seeds:
            spec = _spec(seed, split, teacher, teacher_section, alone)
            pool.append(spec.trial_id)
            yield _cell(Role.TEACHER, teacher, spec, teacher_section)
        rules[teacher] = TeacherRule(
            tuple(pool), dataset.teacher.select_on, dataset.teacher.select_by
        )
    sections = list(_recipes(dataset))
    if dataset.baseline:
        for section in sections:
            alone = switched(Objective(), 0, section.epochs)
            for seed in study.seeds:
                spec = _spec(seed, split, dataset.student, section, alone)
                yield _cell(Role.BASELINE, dataset.student, spec, section)
    grid = dataset.grid
    for section, teacher, temperature, alpha in itertools.product(
        sections, grid.teacher, grid.temperature, grid.alpha
    ):
        guided = Objective(
            hard=alpha,
            soft=round(1 - alpha, 12),
            soft_loss=_soft_loss(section, name),
            temperature=temperature,
            guides=(Guide(rules[teacher]),),
        )
        for switch_epoch in grid.switch_epoch:
            schedule = switched(guided, switch_epoch, section.epochs)
            for seed in study.seeds:
                spec = _spec(seed, split, dataset.student, section, schedule)
                yield _cell(
                    Role.STUDENT, dataset.student, spec, section,
                    teacher, alpha, switch_epoch, temperature,
                )  # fmt: skip


def _recipes(dataset: DatasetStudy) -> Iterator[RecipeSection]:
    """The recipe for every combination of the axes that sweep it."""
    axes = [axis for axis in RECIPE_AXES if getattr(dataset.grid, axis)]
    for values in itertools.product(*(getattr(dataset.grid, axis) for axis in axes)):
        yield dataset.recipe.model_copy(update=dict(zip(axes, values, strict=True)))


def _soft_loss(section: RecipeSection, dataset: str) -> SoftLoss:
    if section.soft_loss != "auto":
        return section.soft_loss
    return "kl" if data.get(dataset).task == "classification" else "mse"


@functools.lru_cache(maxsize=256)
def _recipe(section: RecipeSection, model: str) -> Recipe:
    return Recipe(
        model=model,
        batch_size=section.batch_size,
        optimizer=section.optimizer,
        learning_rate=section.learning_rate,
        weight_decay=section.weight_decay,
        momentum=section.momentum,
        init=section.init,
        precision=section.precision,
        lr_schedule=section.lr_schedule.over(section.epochs),
        early_stop=section.early_stop.rule(),
    )


def _spec(
    seed: int,
    split: data.DataSpec,
    model: str,
    section: RecipeSection,
    schedule: Schedule,
) -> TrialSpec:
    return TrialSpec(seed, split, _recipe(section, model), schedule)


def _cell(
    role: Role,
    model: str,
    spec: TrialSpec,
    section: RecipeSection,
    teacher: str | None = None,
    alpha: float | None = None,
    switch_epoch: int | None = None,
    temperature: float | None = None,
) -> Cell:
    return Cell(
        role, spec.data.name, model, teacher, alpha, switch_epoch, temperature, spec.seed,
        _parameters(section, spec.data), spec,
    )  # fmt: skip


@functools.lru_cache(maxsize=256)
def _parameters(
    section: RecipeSection, split: data.DataSpec
) -> Mapping[str, float | int | str | None]:
    early_stop = section.early_stop.rule()
    return {
        "epochs": section.epochs,
        "batch_size": section.batch_size,
        "optimizer": section.optimizer,
        "learning_rate": section.learning_rate,
        "weight_decay": section.weight_decay,
        "momentum": section.momentum,
        "init": section.init,
        "soft_loss": _soft_loss(section, split.name),
        "precision": section.precision,
        "train_size": split.train_size,
        "validation": split.validation,
        "split_seed": split.split_seed,
        "lr_schedule": str(section.lr_schedule.over(section.epochs)),
        "early_stop": str(early_stop) if early_stop.watches else None,
    }


def smoke_study(study: Study, rows: int = 512) -> Study:
    """The same configurations with one seed, two epochs and few rows: finds mistakes in minutes.

    Every switch epoch becomes 1 (it switches) or 2 (it never does).
    """
    datasets = {}
    for name, dataset in study.datasets.items():
        grid, recipe = dataset.grid, dataset.recipe
        epochs = max(grid.epochs, default=recipe.epochs)
        switches = dict.fromkeys(1 if epoch < epochs else 2 for epoch in grid.switch_epoch)
        split = dataset.split
        available = data.get(name).train_rows
        largest = split.train_size or rows
        if available is not None:
            largest, _ = data.DataSpec(name, **split.model_dump()).counts(available)
        datasets[name] = dataset.model_copy(
            update={
                "grid": grid.model_copy(update={"switch_epoch": tuple(switches), "epochs": ()}),
                "recipe": recipe.model_copy(update={"epochs": 2}),
                "split": split.model_copy(update={"train_size": min(rows, largest)}),
                "teacher": dataset.teacher.model_copy(
                    update={
                        "seeds": (dataset.teacher.seeds or study.seeds)[:1],
                        "recipe": {
                            key: value
                            for key, value in dataset.teacher.recipe.items()
                            if key != "epochs"
                        },
                    }
                ),
            }
        )
    return study.model_copy(update={"seeds": study.seeds[:1], "datasets": datasets})

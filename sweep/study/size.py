"""How many cells a study has, without making them."""

import math
from collections.abc import Iterable, Mapping

from sweep.starts import Start
from sweep.study.checks import with_weights
from sweep.study.dataset import DatasetStudy
from sweep.study.grid import RECIPE_AXES, SPLIT_AXES, Grid, members
from sweep.study.study import Study

MAX_CELLS = 1_000_000


def count_cells(study: Study) -> int:
    """The number of cells, without making them; at most so many where some depend on answers."""
    total = 0
    for dataset in study.datasets.values():
        grid = dataset.grid
        alone = _times(grid, (*RECIPE_AXES, *SPLIT_AXES)) * len(dataset.students)
        total += alone * len(study.seeds) * dataset.baseline
        total += _grid_cells(study, dataset, study.starts)
        for then in study.then:
            later = dataset.model_copy(update={"grid": dataset.changed_grid(then.grid)})
            total += _grid_cells(study, later, study.starts)
        for search in study.search.values():
            start = with_weights(search, study.starts[search.start], search.high)
            one = {"": start}
            tried = dataset.model_copy(
                update={"grid": grid.model_copy(update={"start": ("",), "epochs": ()})}
            )
            last = dataset.model_copy(update={"grid": grid.model_copy(update={"start": ("",)})})
            total += search.trials * _grid_cells(study, tried, one)
            total += _grid_cells(study, last, one)
    return total


def _grid_cells(study: Study, dataset: DatasetStudy, starts: Mapping[str, Start]) -> int:
    """The cells of a grid, but for baselines: students, and what they need."""
    grid, seeds = dataset.grid, len(study.seeds)
    networks = {name for teacher in grid.teacher for name, _ in members(teacher)}
    splits = [axis for axis in SPLIT_AXES if axis not in dataset.teacher.split]
    teachers = len(networks) * _times(grid, (*splits, "teacher_epochs"))
    trainings = sum(
        _trainings(starts[name], dataset)
        for name in grid.start
        if name in starts and starts[name].training is not None and grid.teacher
    )
    students = _students(dataset, grid)
    return teachers * len(dataset.teacher.seeds or study.seeds) + (trainings + students) * seeds


def _students(dataset: DatasetStudy, grid: Grid) -> int:
    """The combinations of a grid."""
    guided = len(grid.teacher) * len(grid.alpha) * len(grid.switch_epoch) * len(grid.temperature)
    further = (*RECIPE_AXES, *SPLIT_AXES, "teacher_epochs", "start", "ramp", "begin_epoch")
    return guided * _times(grid, further) * len(dataset.students)


def _trainings(start: Start, dataset: DatasetStudy) -> int:
    """How many trainings of a seed there are for a way to begin."""
    fixed = {*(start.training or {}), *start.split, *(("init",) if start.init else ())}
    axes = [axis for axis in (*RECIPE_AXES, *SPLIT_AXES) if axis not in fixed]
    count = _times(dataset.grid, axes) * (1 if start.student else len(dataset.students))
    if start.needs_teacher:
        count *= len(dataset.grid.teacher) * _times(dataset.grid, ("teacher_epochs",))
    return count


def _times(grid: Grid, axes: Iterable[str]) -> int:
    return math.prod(max(1, len(getattr(grid, axis))) for axis in axes)

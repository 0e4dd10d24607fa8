"""Checks of the section `[tune]` against the rest of a study."""

import functools
import itertools
import re
from typing import Any

from pydantic import ValidationError

from sweep.errors import StudyError
from sweep.starts import KNOWN
from sweep.study.checks import check_dataset, check_measured, check_start, check_starts
from sweep.study.complaints import ask_catalog, line_of, one_of, with_changes
from sweep.study.dataset import DatasetStudy
from sweep.study.searched import AXES, KEYS, NUMBERS, WEIGHTS, Setting
from sweep.study.study import Study
from sweep.suggest import Choice, Range, Space, count
from sweep.tune import Tune, is_endless


def check_tune(study: Study, name: str, dataset: DatasetStudy) -> None:
    """Checks that every point of the search can be trained and measured on a dataset.

    Raises:
        StudyError: naming the key, the value and what is allowed.
    """
    tune = study.tune
    if tune is None:
        return
    for key in tune.space:
        if key not in KEYS:
            raise StudyError(f"tune.space: unknown key {key!r}; {one_of(key, KEYS)}")
    space = ask_catalog(lambda: space_of(tune), "tune.space")
    _check_end(study, tune, space)
    for number, goal in enumerate(tune.objectives):
        check_measured(goal, f"tune.objectives[{number}]", dataset)
    _check_axes(tune, name, dataset)
    _check_start(study, tune, name, dataset)
    _check_points(study, tune, space, name, dataset)


def space_of(tune: Tune) -> Space:
    """What a search draws from.

    Raises:
        ValueError: for an end that is no whole number where the key is of such.
    """
    found = []
    for key, span in tune.space.items():
        try:
            found.append((key, span.domain(KEYS[key])))
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return tuple(found)


def _check_end(study: Study, tune: Tune, space: Space) -> None:
    if is_endless(tune, space):
        raise StudyError(
            "tune: nothing says when it ends; give trials, epochs or minutes, or a finite space"
        )
    if tune.sampler == "grid" and count(space) is None:
        endless = next(key for key, domain in space if domain.size is None)
        raise StudyError(
            f"tune.sampler = 'grid': needs a finite space, and {endless} may be any number; give it "
            "values or a step"
        )
    for key in ("repeats", "final_seeds"):
        asked = getattr(tune, key)
        if asked is not None and asked > len(study.seeds):
            raise StudyError(f"tune.{key} = {asked}: the study has {len(study.seeds)} seeds")
    more = (len(study.seeds[: tune.final_seeds]) - tune.repeats) * tune.finalists
    if tune.trials is not None and tune.trials < more + tune.repeats * (len(tune.rungs) + 1):
        raise StudyError(
            f"tune.trials = {tune.trials}: the finalists' further seeds take {more} of them, which "
            "leaves no point to try; give more, or fewer finalists or final_seeds"
        )


def _check_axes(tune: Tune, name: str, dataset: DatasetStudy) -> None:
    """What is not sought has one value."""
    for axis in AXES:
        values = getattr(dataset.grid, axis)
        if axis not in tune.space and len(values) > 1:
            raise StudyError(
                f"datasets.{name}.grid.{axis} = {list(values)}: has {len(values)} values and is not in "
                "tune.space; put it there, or leave one"
            )
    if not dataset.grid.teacher:
        raise StudyError(
            f"datasets.{name}.grid: [tune] seeks students with a teacher; give teacher, alpha and "
            "switch_epoch one value each, where they are not in tune.space too"
        )


def _check_start(study: Study, tune: Tune, name: str, dataset: DatasetStudy) -> None:
    weights = [key for key in tune.space if key in WEIGHTS]
    if tune.start is None:
        if weights:
            raise StudyError(
                f"tune.space.{weights[0]}: is a weight of a start; give tune.start = the name of a "
                "table [starts.NAME] with a training"
            )
        return
    if not weights:
        raise StudyError(
            f"tune.start = {tune.start!r}: tune.space has none of its weights; {one_of('', WEIGHTS)}"
        )
    if "start" in tune.space:
        raise StudyError("tune.start: leave it out where tune.space has start, or that")
    if tune.start not in study.starts:
        raise StudyError(f"tune.start = {tune.start!r}; {one_of(tune.start, study.starts)}")
    start = study.starts[tune.start]
    if start.training is None:
        raise StudyError(f"tune.start = {tune.start!r}: must be a start with a training")
    taken = [one for one in {**KNOWN, **study.starts} if re.fullmatch(r"tune-\d+", one)]
    if taken:
        raise StudyError(
            f"starts.{taken[0]}: must have another name; points of [tune] are called so"
        )
    domains = {key: tune.space[key].domain(False) for key in weights}
    high = {key: _end(domain, "high") for key, domain in domains.items()}
    low = {key: _end(domain, "low") for key, domain in domains.items()}
    for key, value in low.items():
        if value < 0:
            raise StudyError(f"tune.space.{key} = {value}: must be 0 or more, a weight")
    try:
        changed = Setting.of(high).start(start)
    except ValidationError as error:
        raise StudyError(f"tune.space: {_said(error)}") from None
    check_start(tune.start, changed, name, dataset, f"tune.start = {tune.start!r}")
    if count(tuple(domains.items())) is not None:
        try:  # drawn from a few values, this may be
            Setting.of(low).start(start)
        except ValidationError as error:
            raise StudyError(
                f"tune.space: with every weight at its least, {_said(error)}; raise one of them"
            ) from None


def _said(error: ValidationError) -> str:
    return line_of("", error.errors()[0], False)


def _end(domain: Choice | Range, end: str) -> Any:
    if isinstance(domain, Range):
        return getattr(domain, end)
    return (min if end == "low" else max)(
        domain.values, key=lambda one: (isinstance(one, str), one)
    )


def _check_points(study: Study, tune: Tune, space: Space, name: str, dataset: DatasetStudy) -> None:
    """Checks a grid of all values, and of the ends of what is between two."""
    axes: dict[str, Any] = {}
    numbers: dict[str, list[Any]] = {}
    for key, domain in space:
        values = domain.values if isinstance(domain, Choice) else (domain.low, domain.high)
        if key in AXES:
            axes[key] = list(values)
        elif key in NUMBERS:
            numbers[key] = list(values)
    if tune.start is not None:
        axes["start"] = [tune.start]
    grid = with_changes(functools.partial(dataset.changed_grid, axes), "tune.space")
    for chosen in itertools.islice(itertools.product(*numbers.values()), 64):
        setting = Setting.of(dict(zip(numbers, chosen, strict=True)))
        recipe = with_changes(functools.partial(setting.recipe_of, dataset), "tune.space")
        changed = dataset.model_copy(update={"grid": grid, "recipe": recipe})
        check_dataset(name, changed)
        check_starts(study, name, changed)
    shortest = min(grid.epochs or (dataset.recipe.epochs,))
    late = [rung for rung in tune.rungs if rung >= shortest]
    if late:
        raise StudyError(f"tune.rungs = {late[0]}: must be below the epochs of a point, {shortest}")

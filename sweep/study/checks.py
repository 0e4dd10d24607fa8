"""Checks of a study that need more than one of its sections."""

import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import ValidationError

import data
import models
from models import alignment, pretrained
from sweep import guidance
from sweep.errors import StudyError
from sweep.follow import Search
from sweep.starts import KNOWN, Start
from sweep.study.complaints import ask_catalog, line_of, one_of, with_changes
from sweep.study.dataset import DatasetStudy
from sweep.study.grid import SPLIT_AXES, Grid, members
from sweep.study.recipe import Recipe
from sweep.study.split import Split
from sweep.study.study import Study
from sweep.tune import Goal
from trials import spec
from trials.spec import Monitor


def check_dataset(name: str, dataset: DatasetStudy) -> None:
    """Checks what needs more than one section."""
    key = f"datasets.{name}"
    grid, recipe = dataset.grid, dataset.recipe
    _check_splits(name, dataset)
    rows = dataset.a_split().rows_of(name)
    for student in dataset.students:
        where = f"{key}.grid.student" if grid.student else f"{key}.student"
        _check_network(rows, student, where, recipe.pretrained, f"{key}.recipe.pretrained")
    given = dataset.teacher.recipe.get("pretrained", recipe.pretrained)
    for teacher in grid.teacher:
        for member, _ in ask_catalog(functools.partial(members, teacher), f"{key}.grid.teacher"):
            where = f"{key}.teacher.recipe.pretrained"
            _check_network(rows, member, f"{key}.grid.teacher", given, where)
    chosen = dataset.teacher.match == "best" and grid.teacher
    if dataset.teacher.select_on == "validation" and chosen and not dataset.split.validation:
        raise StudyError(
            f"{key}.teacher.select_on = 'validation': needs split.validation above 0 (a fraction "
            "of the training rows), or select_on = 'test', which chooses on the final figure's rows"
        )
    if dataset.evaluation.validation and not dataset.split.validation:
        raise StudyError(
            f"{key}.evaluation.validation = true: needs split.validation above 0 (a fraction of the "
            "training rows); or leave it false, and robustness is measured on the test rows alone"
        )
    task = data.get(name).task
    if recipe.soft_loss == "kl" and task == "regression":
        raise StudyError(f"{key}.recipe.soft_loss = 'kl': must be mse or auto for regression")
    for epochs in grid.epochs or (recipe.epochs,):
        late = [epoch for epoch in grid.switch_epoch if epoch > epochs]
        if late and grid.past_end == "refuse":
            raise StudyError(
                f"{key}.grid.switch_epoch = {late[0]}: past the end of {epochs} epochs; allowed: "
                f"0..{epochs} ({epochs} never switches; grid.past_end = 'allow' takes larger "
                "values to mean the same)"
            )
    for begin in grid.begin_epoch:
        never = [epoch for epoch in grid.switch_epoch if 0 < epoch <= begin]
        if never:
            raise StudyError(
                f"{key}.grid.begin_epoch = {begin}: must be below every switch_epoch, and one is "
                f"{never[0]}: nothing would be guided"
            )
    _check_recipe(f"{key}.recipe", recipe, grid.learning_rate or (recipe.learning_rate,), dataset)
    try:
        teachers = dataset.teacher_recipe()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([f"{key}.teacher.recipe", *map(str, first["loc"])])
        raise StudyError(line_of(where, first, shows_value=bool(first["loc"]))) from None
    if grid.teacher:
        _check_recipe(f"{key}.teacher.recipe", teachers, (teachers.learning_rate,), dataset)


def _check_network(
    rows: data.DataSpec, name: str, key: str, weights: object, weights_key: str
) -> models.ModelEntry:
    """Checks that a network is known, takes such inputs, and can begin with such weights."""
    entry: models.ModelEntry = ask_catalog(functools.partial(models.get, rows.name, name), key)
    ask_catalog(functools.partial(entry.check, rows.input_shape), key)
    if isinstance(weights, str):
        check = functools.partial(pretrained.check, entry, rows.input_shape, weights)
        ask_catalog(check, weights_key)
    return entry


def _check_growth(rows: data.DataSpec, teacher: str, student: str, start: Start, key: str) -> None:
    """Checks that a teacher's network can become, or be held against, a student's."""
    outputs = data.get(rows.name).outputs
    small, large = (
        alignment.Site(models.get(rows.name, name), rows.input_shape, outputs)
        for name in (teacher, student)
    )
    if start.growth != "none":
        growth = functools.partial(alignment.check, small, large, start.growth, start.head)
        ask_catalog(growth, key)
    chains = small.chain(), large.chain()
    if start.training is not None and start.objective.anchor and None not in chains:
        padded = functools.partial(alignment.check, small, large, "uniform-pad")
        ask_catalog(padded, f"{key}: objective.anchor: as where networks are padded")


def _check_splits(name: str, dataset: DatasetStudy) -> None:
    """Checks the rows of students and of teachers, for every value of an axis that sweeps them."""
    grid, key = dataset.grid, f"datasets.{name}"
    for axis in ("", *SPLIT_AXES):
        for value in getattr(grid, axis, ()) if axis else (None,):
            chosen = {axis: value} if axis else {}
            swept = dataset.split.model_copy(update=chosen)
            where = f"{key}.grid.{axis}" if axis else f"{key}.split"
            if not _is_allowed(swept, name):  # by itself; another axis may give what it lacks
                swept = dataset.a_split(**chosen)
            rows = ask_catalog(functools.partial(swept.rows_of, name), where)
            if not grid.teacher:
                continue
            teachers = functools.partial(dataset.teacher_split, swept)
            own = with_changes(teachers, f"{key}.teacher.split")
            other = ask_catalog(functools.partial(own.rows_of, name), f"{key}.teacher.split")
            _require_same_inputs(
                rows, other, f"{key}.teacher.split", "they are shown the same inputs"
            )
            _require_same_unit(rows, other, grid, f"{key}.teacher.split")
            if own.classes != swept.classes and dataset.recipe.augment.how().is_on:
                raise StudyError(
                    f"{key}.teacher.split.classes: must be those of the students where "
                    "recipe.augment changes the images that teachers are asked about"
                )


def _is_allowed(split: Split, name: str) -> bool:
    try:
        split.rows_of(name)
    except ValueError:
        return False
    return True


def check_starts(study: Study, name: str, dataset: DatasetStudy) -> None:
    """Checks the ways in which students' weights begin, and what is asked of them later."""
    grid, key = dataset.grid, f"datasets.{name}"
    known = {**KNOWN, **study.starts}
    for asked in grid.start:
        if asked not in known:
            raise StudyError(f"{key}.grid.start = {asked!r}; {one_of(asked, known)}")
        check_start(asked, known[asked], name, dataset, f"{key}.grid.start = {asked!r}")
    for asked in grid.ramp:
        if asked not in guidance.RAMPS and asked not in study.ramps:
            allowed = one_of(asked, {**guidance.RAMPS, **study.ramps})
            raise StudyError(f"{key}.grid.ramp = {asked!r}; {allowed}")
    if dataset.teacher.match == "seed" and grid.teacher:
        missing = sorted(set(study.seeds) - set(dataset.teacher.seeds or study.seeds))
        if missing:
            raise StudyError(
                f"{key}.teacher.match = 'seed': needs a teacher of every seed of the study, and "
                f"teacher.seeds lacks {missing[0]}"
            )


def check_start(asked: str, start: Start, name: str, dataset: DatasetStudy, where: str) -> None:
    """Checks that the students of a dataset can begin so.

    Args:
        asked: its name.
        start: what it is.
        name: of the dataset.
        dataset: the section.
        where: what asks for it, and the value.
    """
    grid, recipe = dataset.grid, dataset.recipe
    rows = dataset.a_split().rows_of(name)
    own = () if start.student is None else (start.student,)
    for student in own:
        weights = None if start.needs_teacher else recipe.pretrained
        weights_key = f"datasets.{name}.recipe.pretrained"
        _check_network(rows, student, f"starts.{asked}.student", weights, weights_key)
    if start.needs_teacher:
        several = [teacher for teacher in grid.teacher if len(members(teacher)) > 1]
        if several:
            raise StudyError(f"{where}: needs one teacher, and {several[0]!r} are several")
        for student, teacher in itertools.product(own or dataset.students, grid.teacher):
            _check_growth(rows, members(teacher)[0][0], student, start, where)
    pretrained = recipe.pretrained
    if start.training is not None:
        key = f"starts.{asked}.training"
        changed = with_changes(
            functools.partial(dataset.changed_recipe, recipe, start.training), key
        )
        _check_recipe(key, changed, (changed.learning_rate,), dataset)
        pretrained = changed.pretrained
        for student in own or dataset.students:
            _check_network(
                rows, student, f"starts.{asked}.student", pretrained, f"{key}.pretrained"
            )
        key = f"starts.{asked}.split"
        split = with_changes(
            functools.partial(dataset.changed_split, dataset.split, start.split), key
        )
        other = ask_catalog(functools.partial(split.rows_of, name), key)
        _require_same_inputs(rows, other, key, "they go on with its weights")
    if start.needs_teacher and pretrained:
        raise StudyError(
            f"{where}: the teacher's weights and recipe.pretrained cannot both be what a network "
            "begins with"
        )


def _require_same_inputs(rows: data.DataSpec, other: data.DataSpec, key: str, since: str) -> None:
    """Refuses other networks' inputs that students would not know.

    Args:
        rows: of the students.
        other: of the others.
        key: the section that says so.
        since: why they must be the same.
    """
    for same in ("scaling", "image_size"):
        if getattr(rows, same) != getattr(other, same):
            raise StudyError(
                f"{key}.{same} = {getattr(other, same)!r}: must be that of the students, "
                f"{getattr(rows, same)!r}; {since}"
            )


def _require_same_unit(rows: data.DataSpec, other: data.DataSpec, grid: Grid, key: str) -> None:
    """Refuses teachers that learnt inputs or targets in another unit than students ask them in.

    Tables, and images of scaling standard, are in units of the training rows' own deviation.

    Args:
        rows: of the students.
        other: of their teachers.
        grid: whether teachers are asked at all; weights alone can be gone on with.
        key: the section that says so.
    """
    own_unit = rows.scaling == "standard" or not data.get(rows.name).is_image
    asked = any(alpha < 1 for alpha in grid.alpha) and any(grid.switch_epoch)
    if not (own_unit and asked):
        return
    # Noise on labels and targets, and other splits, have no part in what standardises.
    one, two = (
        replace(r, label_noise=0.0, label_noise_part=1.0, target_noise=0.0, corruption_on="train")
        for r in (rows, other)
    )
    if one != two:
        raise StudyError(
            f"{key}: must leave training rows and images as the students' are, since "
            f"{'tables are' if not data.get(rows.name).is_image else 'scaling = standard is'} in "
            "units of these rows: teachers would be asked in another unit than they learnt"
        )


def check_later(study: Study, name: str, dataset: DatasetStudy) -> None:
    """Checks the grids and searches that depend on answers."""
    for number, then in enumerate(study.then):
        key = f"then[{number}]"
        axes = sorted(set(Grid.model_fields) - {"past_end"})
        for axis in (*then.best, *then.grid):
            if axis not in axes:
                raise StudyError(f"{key}: unknown axis {axis!r}; {one_of(axis, axes)}")
        swept = {axis for axis in axes if getattr(dataset.grid, axis)}
        swept |= {axis for earlier in study.then[:number] for axis in earlier.grid}
        for axis in then.best:
            if axis in ("student", "teacher"):
                raise StudyError(
                    f"{key}.best = {axis!r}: must be another axis; the best is found for each "
                    "student and teacher"
                )
            if axis not in swept and dataset.grid.teacher:
                allowed = one_of(axis, swept - {"student", "teacher"})
                raise StudyError(
                    f"{key}.best = {axis!r}: must be an axis of the grid before; {allowed}"
                )
        later = with_changes(functools.partial(dataset.changed_grid, then.grid), f"{key}.grid")
        changed = dataset.model_copy(update={"grid": later})
        check_dataset(name, changed)
        check_starts(study, name, changed)
        if then.select_on == "validation" and not dataset.split.validation:
            raise StudyError(
                f"{key}.select_on = 'validation': needs split.validation above 0, or select_on = "
                "'test', which chooses on the final figure's rows"
            )
    for asked, search in study.search.items():
        key = f"search.{asked}"
        if search.start not in study.starts:
            raise StudyError(
                f"{key}.start = {search.start!r}; {one_of(search.start, study.starts)}"
            )
        if study.starts[search.start].training is None:
            raise StudyError(f"{key}.start = {search.start!r}: must be a start with a training")
        if asked in {**KNOWN, **study.starts}:
            raise StudyError(f"{key}: a start has this name; the search's own start needs another")
        tried = [start for start in study.starts if re.fullmatch(re.escape(asked) + r"-\d+", start)]
        if tried:
            raise StudyError(
                f"starts.{tried[0]}: must have another name; the suggestions of {key} are called so"
            )
        _check_searched(asked, search, study.starts[search.start], name, dataset)
        check_measured(search, key, dataset)
        unknown = sorted(set(search.seeds or ()) - set(study.seeds))
        if unknown:
            raise StudyError(f"{key}.seeds = {unknown[0]}: must be seeds of the study")


def check_measured(sought: Search | Goal, key: str, dataset: DatasetStudy) -> None:
    """Refuses a figure that a dataset's trials are not asked for.

    Args:
        sought: the figure.
        key: that names it.
        dataset: whose evaluation says what is measured.

    Raises:
        StudyError: for an attack that is not measured, or a split without rows.
    """
    evaluation = dataset.evaluation
    points = list(evaluation.attacks.points)
    if sought.attack is not None and (sought.attack, sought.epsilon) not in points:
        there = ", ".join(f"{attack} {epsilon:g}" for attack, epsilon in points) or "none"
        raise StudyError(
            f"{key}.attack = {sought.figure!r}: must be measured by [evaluation]; it measures {there}"
        )
    if sought.select_on == "validation":
        if not dataset.split.validation:
            raise StudyError(
                f"{key}.select_on = 'validation': needs split.validation above 0, or select_on = "
                "'test', which chooses on the final figure's rows"
            )
        if sought.attack is not None and not evaluation.validation:
            raise StudyError(
                f"{key}.select_on = 'validation': needs evaluation.validation = true, so that "
                "attacks are measured on these rows too"
            )


def with_weights(search: Search, start: Start, weight: float) -> Start:
    """A start with one value for every weight that a search seeks."""
    objective = start.objective.model_copy(update=dict.fromkeys(search.weights, weight))
    return start.model_copy(update={"objective": objective})


def _check_searched(
    asked: str, search: Search, start: Start, name: str, dataset: DatasetStudy
) -> None:
    """Checks a start with all the weights that a search may give it."""
    key = f"search.{asked}"
    if "noisy" in search.weights and not start.objective.amplitude:
        raise StudyError(
            f"starts.{search.start}.objective.amplitude = 0.0: must be above 0 where {key} seeks "
            "the weight of noisy"
        )
    all_on = with_weights(search, start, search.high)
    check_start(search.start, all_on, name, dataset, f"{key}.start = {search.start!r}")
    epochs = search.epochs or max(dataset.grid.epochs or (dataset.recipe.epochs,))
    begin = max(dataset.grid.begin_epoch, default=0)
    if begin >= epochs:
        raise StudyError(f"{key}.epochs = {epochs}: must be above grid.begin_epoch, {begin}")


def _check_recipe(
    key: str, recipe: Recipe, learning_rates: Sequence[float], dataset: DatasetStudy
) -> None:
    """Checks what a recipe asks of the split and of the learning rates it is used with."""
    schedule, rule = recipe.lr_schedule.over(recipe.epochs), recipe.early_stop.rule()
    monitors: Mapping[str, Monitor] = {}
    for rate in learning_rates:
        try:
            monitors = spec.Recipe(
                "", None, learning_rate=rate, lr_schedule=schedule, early_stop=rule
            ).monitors
        except ValueError as error:
            raise StudyError(f"{key}.{error}") from None
    for table, monitor in monitors.items():
        if monitor != "train_loss" and not dataset.split.validation:
            raise StudyError(
                f"{key}.{table}.monitor = {monitor!r}: needs split.validation above 0 (a fraction "
                "of the training rows), or monitor = 'train_loss'; the test rows are never watched"
            )

"""From a study to its cells, and from cells to trials.

A cell is one requested combination for one seed, in the words of the study; a trial is what has to
be trained for it. Several cells may be one trial: the baseline, alpha 1 and switch epoch 0 are.
What a cell needs of others, teachers and trainings that come before, are cells of their own.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import data
import models
from models import pretrained
from sweep import follow, guidance
from sweep.follow import Findings, Search, Then
from sweep.searching import Course, Problem, course
from sweep.starts import KNOWN, Start
from sweep.study import (
    RECIPE_AXES,
    SPLIT_AXES,
    DatasetStudy,
    Grid,
    Split,
    Study,
    members,
)
from sweep.study import Recipe as RecipeSection
from sweep.study.check_tune import space_of
from sweep.study.searched import Setting
from sweep.suggest import Values
from sweep.words import CELL_COLUMNS
from trials import spec
from trials.spec import (
    HARD,
    Guide,
    Objective,
    Recipe,
    Schedule,
    Segment,
    SoftLoss,
    TeacherRule,
    TrialSpec,
    frozen_at_first,
    schedule,
)

if TYPE_CHECKING:
    from sweep.begun import Begun


class Role(StrEnum):
    """What a cell is in its study."""

    TEACHER = "teacher"
    START = "start"
    BASELINE = "baseline"
    STUDENT = "student"

    @property
    def supports(self) -> bool:
        """Whether it is there for others: a teacher, or a training that students begin with."""
        return self in (Role.TEACHER, Role.START)


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


@dataclass(frozen=True)
class Expansion:
    """The cells of a study as far as they can be known.

    Attributes:
        cells: teachers, then what comes before, then baselines, then students, dataset by dataset.
        waiting: what else there will be, in words, once earlier cells are done.
        courses: the search of `[tune]` by dataset, where it has begun; its cells are among the others.
    """

    cells: tuple[Cell, ...]
    waiting: tuple[str, ...]
    courses: Mapping[str, Course] = field(default_factory=dict)


def cells(study: Study, known: Findings | None = None) -> list[Cell]:
    """The cells of a study as far as they can be known; see `expand`."""
    return list(expand(study, known).cells)


def expand(
    study: Study,
    known: Findings | None = None,
    seeds: int | None = None,
    begun: "Begun | None" = None,
) -> Expansion:
    """The cells of a study.

    Args:
        study: what is asked.
        known: trials that are done, on which later grids and searches depend.
        seeds: these depend on the first so many seeds; None for all.
        begun: the search of `[tune]`; None where it was not begun.
    """
    found: list[Cell] = []
    waiting: list[str] = []
    courses: dict[str, Course] = {}
    for name, dataset in study.datasets.items():
        parts = _Dataset(study, name, dataset, known or {}, frozenset(study.seeds[:seeds]))
        found += parts.cells(begun)
        waiting += parts.waiting
        if parts.course is not None:
            courses[name] = parts.course
    return Expansion(tuple(found), tuple(waiting), courses)


def problem(study: Study, name: str, begun: "Begun | None" = None) -> Problem:
    """The search of `[tune]` on one dataset.

    Args:
        study: with such a section.
        name: of the dataset.
        begun: the search, where it was begun.
    """
    return _Dataset(study, name, study.datasets[name], {}, frozenset(study.seeds)).problem(begun)


@dataclass(frozen=True)
class _Point:
    """A combination of the axes of a grid that every seed repeats."""

    split: Split
    recipe: RecipeSection
    student: str
    teacher: str
    teacher_epochs: int | None
    temperature: float
    alpha: float
    start: str | None
    ramp: str | None
    begin_epoch: int | None
    switch_epoch: int


class _Dataset:
    """The cells of one dataset; those of teachers and of what comes before as they are needed."""

    def __init__(
        self,
        study: Study,
        name: str,
        dataset: DatasetStudy,
        known: Findings,
        judged: frozenset[int],
    ) -> None:
        self._study, self._name, self._dataset, self._known = study, name, dataset, known
        self._judged = judged
        self._pools: dict[tuple[str, Split, int | None], dict[int, str]] = {}
        self._rules: dict[tuple[str, Split, int | None], TeacherRule] = {}
        self._supporting: dict[Role, dict[str, Cell]] = {Role.TEACHER: {}, Role.START: {}}
        self.waiting: list[str] = []
        self.course: Course | None = None

    def cells(self, begun: "Begun | None" = None) -> list[Cell]:
        """All of them that can be known.

        Args:
            begun: the search of `[tune]`, where it was begun.
        """
        grid = self._dataset.grid
        for split, epochs, teacher in itertools.product(
            self._splits(grid), grid.teacher_epochs or (None,), grid.teacher
        ):
            for member, _ in members(teacher):
                self._pool(member, split, epochs)
        baselines = list(self._baselines(grid))
        students = list(self._students(grid))
        for number, then in enumerate(self._study.then, start=1):
            students += self._after(then, number, grid, students)
            if self.waiting:
                break
        for name, search in self._study.search.items():
            students += self._searched(name, search, grid)
        if self._study.tune is not None and begun is not None:
            students += self._tuned(begun)
        teachers, starts = (self._supporting[role].values() for role in (Role.TEACHER, Role.START))
        later = self._study.then or self._study.search or begun is not None
        return [*teachers, *starts, *baselines, *(_once(students) if later else students)]

    # The grid

    def _splits(self, grid: Grid) -> Iterator[Split]:
        return _swept(self._dataset.split, grid, SPLIT_AXES)

    def _recipes(self, grid: Grid, recipe: RecipeSection | None = None) -> Iterator[RecipeSection]:
        return _swept(recipe or self._dataset.recipe, grid, RECIPE_AXES)

    def _baselines(self, grid: Grid) -> Iterator[Cell]:
        if not self._dataset.baseline:
            return
        for split, recipe, student in itertools.product(
            self._splits(grid), self._recipes(grid), self._dataset.students_of(grid)
        ):
            alone = _alone(recipe)
            words = parameters(recipe, split, self._name, grid)
            start = _begins(recipe, self._name, student)
            for seed in self._study.seeds:
                trial = TrialSpec(seed, self._rows(split), _recipe(recipe, student), alone, start)
                yield _cell(Role.BASELINE, trial, words)

    def _points(self, grid: Grid, recipe: RecipeSection | None = None) -> Iterator[_Point]:
        combinations: Iterator[tuple[Any, ...]] = itertools.product(
            self._splits(grid),
            self._recipes(grid, recipe),
            self._dataset.students_of(grid),
            grid.teacher,
            grid.teacher_epochs or (None,),
            grid.temperature,
            grid.alpha,
            grid.start or (None,),
            grid.ramp or (None,),
            grid.begin_epoch or (None,),
            grid.switch_epoch,
        )
        for values in combinations:
            yield _Point(*values)

    def _students(
        self,
        grid: Grid,
        starts: Mapping[str, Start] | None = None,
        seeds: tuple[int, ...] | None = None,
        section: RecipeSection | None = None,
    ) -> Iterator[Cell]:
        for point in self._points(grid, section):
            start = self._start(point.start, starts)
            student = point.student if start is None or start.student is None else start.student
            recipe = point.recipe
            if start is not None and start.init is not None:
                recipe = recipe.model_copy(update={"init": start.init})
            words = {
                **parameters(point.recipe, point.split, self._name, grid),
                "init": recipe.init,
                "start": point.start,
                "begin_epoch": point.begin_epoch,
                "ramp": point.ramp,
                "teacher_epochs": point.teacher_epochs,
            }
            rows, made = self._rows(point.split), _recipe(recipe, student)
            shared: Schedule | None = None
            for seed in seeds or self._study.seeds:
                if shared is None or self._dataset.teacher.match == "seed":
                    guides = self._guides(point, seed)
                    shared = self._schedule(point, recipe, start, guides)
                begins = self._begins(start, point, recipe, student, seed)
                trial = TrialSpec(seed, rows, made, shared, begins)
                yield _cell(
                    Role.STUDENT, trial, words,
                    point.teacher, point.alpha, point.switch_epoch, point.temperature,
                )  # fmt: skip

    def _schedule(
        self,
        point: _Point,
        recipe: RecipeSection,
        start: Start | None,
        guides: tuple[Guide, ...],
    ) -> Schedule:
        guided = guidance.schedule_of(
            alpha=point.alpha,
            soft_loss=_soft_loss(recipe, self._name),
            temperature=point.temperature,
            guides=guides,
            begin=point.begin_epoch or 0,
            end=point.switch_epoch,
            epochs=recipe.epochs,
            ramp=self._ramp(point.ramp),
        )
        frozen = recipe.frozen_epochs
        if start is not None and start.frozen_epochs is not None:
            frozen = start.frozen_epochs
        return frozen_at_first(guided, frozen) if frozen else guided

    def _ramp(self, name: str | None) -> guidance.Ramp:
        return guidance.ramp(name, self._study.ramps)

    # Teachers

    def _rows(self, split: Split) -> data.DataSpec:
        return _rows(split, self._name)

    def _pool(self, teacher: str, split: Split, epochs: int | None) -> dict[int, str]:
        """The trials of a teacher network by seed, for students on these rows."""
        key = (teacher, split, epochs)
        if key not in self._pools:
            section = self._dataset.teacher_recipe(epochs)
            own = self._dataset.teacher_split(split)
            alone = _alone(section)
            begins = _begins(section, self._name, teacher)
            words = parameters(section, own, self._name, self._dataset.grid)
            pool = self._pools[key] = {}
            for seed in self._dataset.teacher.seeds or self._study.seeds:
                trial = TrialSpec(seed, self._rows(own), _recipe(section, teacher), alone, begins)
                pool[seed] = trial.trial_id
                self._supporting[Role.TEACHER].setdefault(
                    trial.trial_id, _cell(Role.TEACHER, trial, words)
                )
        return self._pools[key]

    def _rule(self, teacher: str, point: _Point, seed: int) -> TeacherRule:
        key = (teacher, point.split, point.teacher_epochs)
        pool = self._pool(*key)
        section = self._dataset.teacher
        if section.match == "seed":
            return TeacherRule.only(pool[seed])
        if key not in self._rules:
            self._rules[key] = TeacherRule(
                tuple(pool.values()), section.select_on, section.select_by
            )
        return self._rules[key]

    def _guides(self, point: _Point, seed: int) -> tuple[Guide, ...]:
        return tuple(
            Guide(self._rule(member, point, seed), weight)
            for member, weight in members(point.teacher)
        )

    # Starts

    def _start(self, name: str | None, starts: Mapping[str, Start] | None) -> Start | None:
        if name is None:
            return None
        return {**KNOWN, **self._study.starts, **(starts or {})}[name]

    def _begins(
        self, start: Start | None, point: _Point, recipe: RecipeSection, student: str, seed: int
    ) -> spec.Start | None:
        """What a student's weights begin with."""
        if start is None or (start.growth == "none" and start.training is None):
            return _begins(recipe, self._name, student)
        (teacher, _), *_ = members(point.teacher)
        source = self._rule(teacher, point, seed) if start.needs_teacher else None
        grown = None
        if start.growth != "none":
            grown = spec.Start(source, start.growth, start.head)
        if start.training is None:
            return grown
        before = self._before(start, point, recipe, student, seed, source, grown)
        return spec.Start(TeacherRule.only(before.trial_id))

    def _before(
        self,
        start: Start,
        point: _Point,
        recipe: RecipeSection,
        student: str,
        seed: int,
        source: TeacherRule | None,
        grown: spec.Start | None,
    ) -> Cell:
        """The training that a student begins with; it is asked for by being needed."""
        section = self._dataset.changed_recipe(recipe, start.training or {})
        split = self._dataset.changed_split(point.split, start.split)
        objective = Objective(hard=start.objective.hard, terms=start.objective.terms(source))
        segments = schedule([Segment(section.epochs, objective)])
        begins = _begins(section, self._name, student) if grown is None else grown
        trial = TrialSpec(
            seed, self._rows(split), _recipe(section, student),
            frozen_at_first(segments, section.frozen_epochs), begins,
        )  # fmt: skip
        known = self._supporting[Role.START]
        if trial.trial_id not in known:
            words = {
                **parameters(section, split, self._name, self._dataset.grid),
                "start": point.start,
                "teacher_epochs": point.teacher_epochs,
            }
            known[trial.trial_id] = _cell(Role.START, trial, words, point.teacher)
        return known[trial.trial_id]

    # What depends on answers

    def _after(self, then: Then, number: int, grid: Grid, before: list[Cell]) -> list[Cell]:
        """A later grid around the best of the cells before, as far as these are done."""
        found: list[Cell] = []
        pending = False
        students = self._dataset.students_of(grid)
        for student, teacher in itertools.product(students, grid.teacher):
            # A start may put another network in the student's place.
            mine = [
                cell
                for cell in before
                if (cell.model == student or cell.model not in students)
                and (cell.teacher, cell.seed in self._judged) == (teacher, True)
            ]
            configurations: dict[tuple[object, ...], list[str]] = {}
            for cell in mine:
                values = tuple(cell.column(axis) for axis in then.best)
                rest = tuple(v for k, v in _asked(cell) if k not in then.best)
                configurations.setdefault((values, rest), []).append(cell.trial_id)
            chosen = follow.best(configurations, self._known, then.select_on, then.select_by)
            if chosen is None:
                pending = True
                continue
            pairs = zip(then.best, chosen[0], strict=True)
            # Nothing stands for an axis that the best, of an earlier grid, does not have.
            fixed = {axis: (v,) for axis, v in pairs if v is not None or axis == "batch_size"}
            around = self._dataset.changed_grid(
                {"student": (student,), "teacher": (teacher,), **fixed, **then.grid}
            )
            found += self._students(around)
        if pending:
            self.waiting.append(
                f"{self._name}: another grid of {', '.join(sorted(then.grid))} around the best "
                f"{', '.join(then.best)} (step {number + 1} of the study)"
            )
        return found

    def _searched(self, name: str, search: Search, grid: Grid) -> list[Cell]:
        """The students of each suggestion that is known by now, and of the best in the end."""
        found: list[Cell] = []
        template = self._study.starts[search.start]
        epochs = search.epochs or max(grid.epochs or (self._dataset.recipe.epochs,))
        for student, teacher in itertools.product(self._dataset.students_of(grid), grid.teacher):
            own = {"student": (student,), "teacher": (teacher,)}
            tried: dict[int, list[Cell]] = {}
            asked: dict[int, Start] = {}

            def score_of(
                number: int, weights: Mapping[str, float], tried: Any = tried, asked: Any = asked,
                own: Any = own,
            ) -> float | None:  # fmt: skip
                start = f"{name}-{number + 1:02d}"
                objective = template.objective.model_copy(update=dict(weights))
                asked[number] = template.model_copy(update={"objective": objective})
                one = self._dataset.changed_grid({**own, "start": (start,), "epochs": (epochs,)})
                asked_for = search.seeds or self._study.seeds
                seeds = tuple(seed for seed in asked_for if seed in self._judged) or asked_for
                cells = list(self._students(one, {start: asked[number]}, seeds))
                tried[number] = cells
                ids = [cell.trial_id for cell in cells]
                return follow.mean_score(ids, self._known, search.select_on, search.figure)

            label = f"{self._name} {student} {teacher} {name}"
            for _ in follow.suggestions(search, score_of, label):
                pass
            found += [cell for cells in tried.values() for cell in cells]
            trials = {number: [c.trial_id for c in cells] for number, cells in tried.items()}
            chosen = follow.best(trials, self._known, search.select_on, search.figure)
            if len(tried) < search.trials or chosen is None:
                self.waiting.append(
                    f"{self._name}: search {name}, {len(tried)} of {search.trials} suggestions made"
                )
            else:
                best = self._dataset.changed_grid({**own, "start": (name,)})
                found += self._students(best, {name: asked[chosen]})
        return found

    def _tuned(self, begun: "Begun") -> list[Cell]:
        """The students of the points that were tried, and of those that are tried next."""
        self.course = course(self.problem(begun), self._known)
        if self.course.waiting is not None:
            self.waiting.append(f"{self._name}: {self.course.waiting}")
        return self.course.cells

    def problem(self, begun: "Begun | None") -> Problem:
        """The search of `[tune]`."""
        tune = self._study.tune
        assert tune is not None

        def before(cells: Sequence[Cell]) -> Iterator[tuple[str, int]]:
            starts = self._supporting[Role.START]
            for cell in cells:
                source = None if cell.spec.start is None else cell.spec.start.source
                for trial_id in () if source is None else source.pool:
                    if trial_id in starts:
                        yield trial_id, starts[trial_id].spec.epochs

        return Problem(
            tune, space_of(tune), self._study.seeds,
            () if begun is None else begun.known.get(self._name, ()),
            self._tried, before, self._name,
            None if begun is None else begun.closed.get(self._name),
        )  # fmt: skip

    def _tried(self, number: int, values: Values, seeds: Sequence[int]) -> list[Cell]:
        """The students of a point of `[tune]`."""
        tune = self._study.tune
        assert tune is not None
        setting = Setting.of(values)
        axes, starts = dict(setting.grid), {}
        if tune.start is not None:
            name = f"tune-{number:03d}"
            starts[name] = setting.start(self._study.starts[tune.start])
            axes["start"] = (name,)
        grid = self._dataset.changed_grid(axes)
        section = setting.recipe_of(self._dataset)
        return list(self._students(grid, starts, tuple(seeds), section))


def _swept(section: Any, grid: Grid, names: tuple[str, ...]) -> Iterator[Any]:
    """A section for every combination of the axes that sweep its keys."""
    axes = [axis for axis in names if getattr(grid, axis)]
    for values in itertools.product(*(getattr(grid, axis) for axis in axes)):
        yield section.model_copy(update=dict(zip(axes, values, strict=True)))


def _once(asked: list[Cell]) -> list[Cell]:
    """Without what a later grid asked for again in the same words."""
    return list({(cell.trial_id, *_asked(cell)): cell for cell in asked}.values())


def _asked(cell: Cell) -> tuple[tuple[str, object], ...]:
    """The words of a cell, but for its seed."""
    own = tuple((key, getattr(cell, key)) for key in CELL_COLUMNS if key != "seed")
    return (*own, *cell.parameters.items())


def _alone(section: RecipeSection) -> Schedule:
    """The schedule of a network that nobody guides."""
    return frozen_at_first(schedule([Segment(section.epochs, HARD)]), section.frozen_epochs)


def _begins(section: RecipeSection, dataset: str, model: str) -> spec.Start | None:
    """What networks of a recipe begin with."""
    if section.pretrained is None:
        return None
    location = pretrained.located(section.pretrained)
    known = _identity(dataset, model, location, pretrained.written(location))
    return spec.Start(pretrained=known, location=location)


@functools.lru_cache(maxsize=64)
def _identity(dataset: str, model: str, source: str, _written: tuple[int, int] | None) -> str:
    """Cached while a file stays what it is: it is hashed whole."""
    return pretrained.identity(models.get(dataset, model), source)


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
        shuffle=section.shuffle,
        augment=section.augment.how(),
    )


@functools.lru_cache(maxsize=256)
def _rows(split: Split, dataset: str) -> data.DataSpec:
    return split.rows_of(dataset)


def _cell(
    role: Role,
    trial: TrialSpec,
    words: Mapping[str, float | int | str | None],
    teacher: str | None = None,
    alpha: float | None = None,
    switch_epoch: int | None = None,
    temperature: float | None = None,
) -> Cell:
    return Cell(
        role, trial.data.name, trial.recipe.model, teacher, alpha, switch_epoch, temperature,
        trial.seed, words, trial,
    )  # fmt: skip


def parameters(
    section: RecipeSection, split: Split, dataset: str, grid: Grid
) -> Mapping[str, float | int | str | None]:
    """Further words of a cell; what is off and not swept is null."""
    swept = frozenset(axis for axis in SPLIT_AXES if getattr(grid, axis))
    return _parameters(section, split, dataset, swept)


@functools.lru_cache(maxsize=1024)
def _parameters(
    section: RecipeSection, split: Split, dataset: str, swept: frozenset[str]
) -> Mapping[str, float | int | str | None]:
    early_stop, rows = section.early_stop.rule(), _rows(split, dataset)
    off = Split()
    further = {
        key: getattr(split, key)
        for key in FURTHER
        if key in swept or getattr(split, key) != getattr(off, key)
    }
    return {
        "epochs": section.epochs,
        "batch_size": section.batch_size,
        "optimizer": section.optimizer,
        "learning_rate": section.learning_rate,
        "weight_decay": section.weight_decay,
        "momentum": section.momentum,
        "init": section.init,
        "soft_loss": _soft_loss(section, dataset),
        "precision": section.precision,
        "train_size": rows.train_size if split.train_fraction is None else None,
        "validation": split.validation,
        "split_seed": rows.split_seed,
        "lr_schedule": str(section.lr_schedule.over(section.epochs)),
        "early_stop": str(early_stop) if early_stop.watches else None,
        "start": None,
        "begin_epoch": None,
        "ramp": None,
        "teacher_epochs": None,
        "shuffle": None if section.shuffle else "no",
        "augment": str(section.augment.how()) if section.augment.how().is_on else None,
        "pretrained": section.pretrained,
        "frozen_epochs": section.frozen_epochs or None,
        "classes": None if split.classes is None else ",".join(map(str, split.classes)),
        **dict.fromkeys(FURTHER),
        **further,
    }


FURTHER = (
    "scaling", "image_size", "train_fraction", "label_noise", "label_noise_part", "target_noise",
    "corruption", "corruption_strength", "corruption_fraction", "corruption_on",
)  # fmt: skip
"""Columns that are keys of a split, and null where they are off."""


SMOKE_EPOCHS = 2


def smoke_study(study: Study, rows: int = 512) -> Study:
    """The same configurations with one seed, two epochs and few rows: finds mistakes in minutes.

    Every switch epoch becomes 1 (it switches) or 2 (it never does). Where guidance begins later than
    with the first epoch, there are three epochs: it begins with the second, and switches after it.
    Trainings that come before have one epoch, and searches make two suggestions; what `sweep tune` would
    search is left out.
    """
    datasets = {}
    for name, dataset in study.datasets.items():
        grid, recipe = dataset.grid, dataset.recipe
        length = SMOKE_EPOCHS + (max(grid.begin_epoch, default=0) > 0)
        split, teacher = dataset.split, dataset.teacher
        longest = max(grid.epochs, default=recipe.epochs)
        datasets[name] = dataset.model_copy(
            update={
                "grid": grid.model_copy(update=_short_axes(grid, longest, length)),
                "recipe": recipe.model_copy(update={"epochs": length}),
                "split": split.model_copy(
                    update={
                        "train_size": min([rows, *_row_counts(study, name, dataset)]),
                        "train_fraction": None,
                    }
                ),
                "teacher": teacher.model_copy(
                    update={
                        "seeds": (teacher.seeds or study.seeds)[:1],
                        "recipe": _without(teacher.recipe, ("epochs",)),
                        "split": _without(teacher.split, _COUNT_ROWS),
                    }
                ),
            }
        )
    starts = {
        name: start
        if start.training is None
        else start.model_copy(
            update={
                "training": {**start.training, "epochs": 1},
                "split": _without(start.split, _COUNT_ROWS),
            }
        )
        for name, start in study.starts.items()
    }
    searches = {
        name: search.model_copy(
            update={"trials": min(search.trials, 2), "epochs": None, "seeds": None}
        )
        for name, search in study.search.items()
    }
    return study.model_copy(
        update={
            "seeds": study.seeds[:1],
            "datasets": datasets,
            "starts": starts,
            "search": searches,
            "then": tuple(_short_then(then) for then in study.then),
            "tune": None,
        }
    )


_COUNT_EPOCHS = ("switch_epoch", "begin_epoch", "epochs", "teacher_epochs")
_COUNT_ROWS = ("train_size", "train_fraction")


def _without(table: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in keys}


def _row_counts(study: Study, name: str, dataset: DatasetStudy) -> Iterator[int]:
    """Of the training rows there are for each kind of network, as far as that is known."""
    split = dataset.split
    if split.train_size is not None:
        yield split.train_size
    whole = dataset.a_split(**dict.fromkeys(_COUNT_ROWS))
    changes = [dataset.teacher.split, *(start.split for start in study.starts.values())]
    for own in ({}, *(_without(change, _COUNT_ROWS) for change in changes)):
        counts = dataset.changed_split(whole, own).rows_of(name).rows()
        if counts is not None:
            yield counts[0]


def _short_axes(grid: Grid, longest: int, length: int) -> dict[str, tuple[int, ...]]:
    """The axes that count epochs, where the longest training has another length."""
    switches = dict.fromkeys(
        length - 1 if epoch < longest else length for epoch in grid.switch_epoch
    )
    begins = dict.fromkeys(min(epoch, 1) for epoch in grid.begin_epoch)
    return {
        **dict.fromkeys((*_COUNT_EPOCHS, "train_fraction"), ()),
        "switch_epoch": tuple(switches),
        "begin_epoch": tuple(begins),
    }


def _short_then(then: Then) -> Then:
    """A later grid without axes that count epochs or rows: they are those of the first."""
    return then.model_copy(update={"grid": _without(then.grid, (*_COUNT_EPOCHS, "train_fraction"))})

"""The course of an adaptive search: which points were tried, what is tried next, when it ends.

A pure function of the settings, of what was known when the search began, and of the figures of trials:
nothing of it is kept anywhere. A search that was killed, or looked at by someone else, is gone through
again from its beginning and goes on where figures end.

Rounds: the points that go on, and new ones up to `parallel` beside them, are asked for together and judged
in their order. After a rung a point goes on where at most every `reduction`-th of those that ever came
there, itself among them, is better; the best of few always does (Li et al., 2020, in the variant that
decides at once and never takes a point up again). What a rung trained is an ordinary trial: the full length
of the same point cut short, from whose snapshot that goes on.

Luck of the seeds that chose a point speaks for it in the search, so it is not judged by them in the end: the
`finalists` that lead are trained with further seeds, and compared by these (see `analysis.search`).
"""

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sweep import follow
from sweep.follow import Finding, Findings
from sweep.suggest import Settings, Space, Suggester, Value, Values, count, drawn, every
from sweep.tune import MAX_POINTS, Tune

if TYPE_CHECKING:
    from sweep.expand import Cell

REPEATED_AT_MOST = 20
"""Suggestions in a row that were tried before, after which one that was not is drawn."""

DRAWS = 1000

BLOCKED = Finding(True, True, {}, failed=True)
"""Stands for a trial that is never trained: its point failed."""


class State(StrEnum):
    """How far a point is."""

    OPEN = "being tried"
    STOPPED = "given up"
    FAILED = "failed"
    DONE = "full length"


@dataclass(frozen=True)
class Step:
    """A point trained up to a rung, or to its end.

    Attributes:
        epochs: up to there.
        cells: one for each seed of the search.
        scores: the mean over seeds of each objective, to be high; minus infinity where one failed; None
            while a trial is not done.
        trials: that the search has asked for up to here, this step included.
        trained: epochs that these take, what a rung trained counted once.
    """

    epochs: int
    cells: tuple["Cell", ...]
    scores: tuple[float, ...] | None
    trials: int
    trained: int


@dataclass(frozen=True)
class Point:
    """A point of the space that is tried.

    Attributes:
        number: from 1 on, in the order in which they were begun; those known before come first.
        known: whether its trials were done when the search began.
        values: by key.
        state: see `State`.
        steps: rung by rung.
    """

    number: int
    known: bool
    values: Values
    state: State = State.OPEN
    steps: tuple[Step, ...] = ()

    @property
    def scores(self) -> tuple[float, ...]:
        """Of its last step."""
        scores = self.steps[-1].scores
        assert scores is not None
        return scores


@dataclass(frozen=True)
class Course:
    """How far a search of one dataset is.

    Attributes:
        points: in their order.
        finals: cells of the finalists, seeds of the search included, by the point's number.
        waiting: what is waited for, in words; None where the search is at its end.
        resumed: trials from whose snapshots others go on.
        begun: points that were suggested.
    """

    points: tuple[Point, ...]
    finals: Mapping[int, tuple["Cell", ...]] = field(default_factory=dict)
    waiting: str | None = None
    resumed: frozenset[str] = frozenset()
    begun: int = 0

    @property
    def cells(self) -> list["Cell"]:
        """All that were asked for, in their order."""
        tried = [cell for point in self.points for step in point.steps for cell in step.cells]
        return tried + [cell for cells in self.finals.values() for cell in cells]


@dataclass(frozen=True)
class Problem:
    """A search on one dataset.

    Attributes:
        tune: the settings.
        space: what is sought.
        seeds: of the study.
        known: points whose trials were done when the search began.
        trainings: the cells of a point, by its number, its values and some seeds.
        before: what is trained before some cells for their sake alone: id and epochs.
        label: tells searches apart.
        closed: points after which no new one is begun, where time was up; None where it was not.
        blocked: whether a cell that is not done never will be, for want of what it needs.
    """

    tune: Tune
    space: Space
    seeds: tuple[int, ...]
    known: tuple[Values, ...]
    trainings: "Callable[[int, Values, Sequence[int]], Sequence[Cell]]"
    before: "Callable[[Sequence[Cell]], Iterable[tuple[str, int]]]"
    label: str = ""
    closed: int | None = None
    blocked: "Callable[[Cell], bool]" = lambda _: False

    @property
    def search_seeds(self) -> tuple[int, ...]:
        """Seeds of every point."""
        return self.seeds[: self.tune.repeats]

    @property
    def final_seeds(self) -> tuple[int, ...]:
        """Seeds of the finalists."""
        return self.seeds[: self.tune.final_seeds]


def course(problem: Problem, findings: Findings) -> Course:
    """Goes through a search as far as figures are known.

    Args:
        problem: what is searched.
        findings: trials that are done.
    """
    return _Course(problem, findings).gone()


def frozen(values: Values) -> tuple[tuple[str, Value], ...]:
    """The values of a point, to look it up by."""
    return tuple(sorted(values.items()))


class _Course:
    def __init__(self, problem: Problem, findings: Findings) -> None:
        self._problem, self._tune, self._findings = problem, problem.tune, findings
        self._points: dict[int, Point] = {}
        self._numbers: dict[tuple[tuple[str, Value], ...], int] = {}
        self._asked_as: dict[int, list[int]] = {}
        self._paid: dict[str, int] = {}
        self._cost: Counter[str] = Counter()
        self._at_rung: dict[int, list[float]] = {}
        self._size = count(problem.space)
        self._begun = 0
        self._held: tuple[int | None, Values] | None = None
        self._cells: dict[int, tuple[Cell, ...]] = {}

    def gone(self) -> Course:
        """The course so far."""
        self._take_known()
        order = [key for key, _ in self._problem.space]
        known = tuple(
            (tuple((key, p.values[key]) for key in order), _told(p.scores))
            for p in self._points.values()
        )
        self._suggester = Suggester(
            Settings(
                self._problem.space, self._tune.sampler, self._tune.sampler_seed,
                len(self._tune.objectives), self._tune.parallel > 1, known, self._problem.label,
            )
        )  # fmt: skip
        going_on: list[int] = []
        while True:
            tried = self._round(going_on)
            if not tried:
                return self._ended()
            for number in tried:
                self._train(number)
            unknown = [n for n in tried if self._points[n].steps[-1].scores is None]
            if unknown:
                return self._so_far(f"point {', '.join(map(str, unknown))} of the search")
            going_on = [number for number in tried if self._goes_on(number)]

    def _so_far(
        self, waiting: str | None, finals: Mapping[int, tuple["Cell", ...]] | None = None
    ) -> Course:
        resumed = (
            cell.trial_id
            for point in self._points.values()
            for step in point.steps
            if step.epochs in self._tune.rungs
            for cell in step.cells
        )
        points = tuple(self._points.values())
        return Course(points, finals or {}, waiting, frozenset(resumed), self._begun)

    # Points

    def _take_known(self) -> None:
        """Takes in what was there before; it costs nothing."""
        for values in self._problem.known:
            number = self._add(values, known=True)
            cells = self._full(number)
            scores = self._scores(cells)
            if scores is None:  # its record was damaged since
                self._remove(number)
                continue
            step = Step(cells[0].spec.epochs, cells, scores, 0, 0)
            state = State.DONE if _told(scores) else State.FAILED
            self._points[number] = replace(self._points[number], state=state, steps=(step,))
            self._paid |= {cell.trial_id: cell.spec.epochs for cell in cells}
            self._paid |= dict(self._problem.before(cells))

    def _add(self, values: Values, known: bool = False) -> int:
        number = max(self._points, default=0) + 1
        self._points[number] = Point(number, known, values)
        self._numbers[frozen(values)] = number
        return number

    def _remove(self, number: int) -> None:
        del self._numbers[frozen(self._points.pop(number).values)]
        self._cells.pop(number, None)

    def _full(self, number: int) -> tuple["Cell", ...]:
        """The cells of a point in its full length."""
        if number not in self._cells:
            values = self._points[number].values
            found = self._problem.trainings(number, values, self._problem.search_seeds)
            self._cells[number] = tuple(found)
        return self._cells[number]

    def _round(self, going_on: Sequence[int]) -> list[int]:
        """The points that are tried next."""
        tried = list(going_on)
        while len(tried) < self._tune.parallel:
            number = self._begin(tried)
            if number is None:
                break
            tried.append(number)
        return tried

    def _begin(self, running: Sequence[int]) -> int | None:
        """A new point; None where none is begun any more."""
        closed = self._problem.closed
        if self._begun >= (MAX_POINTS if closed is None else closed):
            return None
        found = self._held or self._new()
        if found is None:
            return None
        asked, values = found
        number = self._add(values)
        if not self._has_room(number, running):
            self._remove(number)
            self._held = found  # there may be room when others were given up
            return None
        self._held = None
        self._asked_as[number] = [] if asked is None else [asked]
        self._begun += 1
        return number

    def _new(self) -> tuple[int | None, Values] | None:
        """A suggestion that was not tried before; what was is told again, and costs nothing."""
        for attempt in itertools.count():
            if self._size is not None and len(self._numbers) >= self._size:
                return None
            if attempt >= REPEATED_AT_MOST and self._tune.sampler != "grid":
                return self._drawn()
            found = self._suggester.ask()
            if found is None:
                return None
            asked, values = found
            twin = self._numbers.get(frozen(values))
            if twin is None:
                return asked, values
            if self._points[twin].state is State.OPEN:
                self._asked_as[twin].append(asked)
            else:
                self._tell(asked, self._points[twin])
        return None

    def _drawn(self) -> tuple[None, Values] | None:
        """One of the points that were not tried, of a space in which suggestions repeat themselves."""
        if self._size is None:
            return None
        chance = random.Random(f"{self._tune.sampler_seed} {len(self._points)}")
        for _ in range(DRAWS):
            values = drawn(self._problem.space, chance)
            if frozen(values) not in self._numbers:
                return None, values
        # Hardly any is left, of not many then.
        left = [v for v in every(self._problem.space) if frozen(v) not in self._numbers]
        return None, left[chance.randrange(len(left))]

    # Trials

    def _cut(self, number: int, stage: int) -> tuple[int, tuple["Cell", ...], bool]:
        """The cells of a point up to a rung: epochs, cells, whether it is the full length."""
        cells = self._full(number)
        full = cells[0].spec.epochs
        rungs = [rung for rung in self._tune.rungs if rung < full]
        if stage >= len(rungs):
            return full, cells, True
        rung = rungs[stage]
        short = tuple(
            replace(
                cell,
                spec=cell.spec.shortened(rung),
                parameters={**cell.parameters, "epochs": rung},
            )
            for cell in cells
        )
        return rung, short, False

    def _train(self, number: int) -> None:
        """Asks for the next step of a point."""
        point = self._points[number]
        epochs, cells, _ = self._cut(number, len(point.steps))
        gone = point.steps[-1].epochs if point.steps else 0
        self._pay(cells, gone)
        step = Step(epochs, cells, self._scores(cells), self._cost["trials"], self._cost["epochs"])
        self._points[number] = replace(point, steps=(*point.steps, step))

    def _pay(self, cells: Sequence["Cell"], gone: int) -> None:
        for cell in cells:
            if cell.trial_id not in self._paid:
                self._paid[cell.trial_id] = cell.spec.epochs
                self._cost.update(trials=1, epochs=cell.spec.epochs - gone)
        for trial_id, epochs in self._problem.before(cells):
            if trial_id not in self._paid:
                self._paid[trial_id] = epochs
                self._cost.update(epochs=epochs)

    def _has_room(self, number: int, running: Sequence[int]) -> bool:
        """Whether the budget holds a point to its end, beside those that run and the finalists."""
        seeds = len(self._problem.search_seeds)
        more = (len(self._problem.final_seeds) - seeds) * self._tune.finalists
        trials = trained = 0
        for one in (number, *running):
            epochs = self._full(one)[0].spec.epochs
            alone = sum(own for _, own in self._problem.before(self._full(one)[:1]))
            steps = self._points[one].steps
            trials += seeds * (sum(rung < epochs for rung in self._tune.rungs) + 1 - len(steps))
            trained += seeds * (epochs - steps[-1].epochs if steps else epochs + alone)
            if one == number:
                trials, trained = trials + more, trained + more * (epochs + alone)
        limits = ((self._tune.trials, "trials", trials), (self._tune.epochs, "epochs", trained))
        return all(
            limit is None or self._cost[what] + needed <= limit for limit, what, needed in limits
        )

    def _scores(self, cells: Sequence["Cell"]) -> tuple[float, ...] | None:
        ids = [cell.trial_id for cell in cells]
        findings = {
            cell.trial_id: BLOCKED
            for cell in cells
            if cell.trial_id not in self._findings and self._problem.blocked(cell)
        }
        findings |= {one: self._findings[one] for one in ids if one in self._findings}
        scores = [
            follow.mean_score(ids, findings, goal.select_on, goal.figure)
            for goal in self._tune.objectives
        ]
        known = tuple(score for score in scores if score is not None)
        return known if len(known) == len(scores) else None

    # Judgement

    def _goes_on(self, number: int) -> bool:
        """Judges a point by its last step, and tells the sampler where that was the end of it."""
        point = self._points[number]
        step = point.steps[-1]
        full = self._cut(number, len(point.steps) - 1)[2]
        failed = _told(point.scores) is None
        if not full and not failed:
            score = point.scores[0]
            there = self._at_rung.setdefault(step.epochs, [])
            there.append(score)
            better = sum(other > score for other in there)
            if better < max(1, len(there) // self._tune.reduction):
                return True
        state = State.FAILED if failed else State.DONE if full else State.STOPPED
        self._points[number] = point = replace(point, state=state)
        for asked in self._asked_as.pop(number):
            self._tell(asked, point)
        return False

    def _tell(self, asked: int, point: Point) -> None:
        if point.state is State.STOPPED:
            reached = [(step.epochs, step.scores[0]) for step in point.steps if step.scores]
            self._suggester.stop(asked, reached)
        else:
            self._suggester.tell(asked, _told(point.scores))

    # The end

    def _ended(self) -> Course:
        """Trains the finalists with all seeds."""
        finals = {
            number: tuple(
                self._problem.trainings(
                    number, self._points[number].values, self._problem.final_seeds
                )
            )
            for number in finalists(self._tune, tuple(self._points.values()))
        }
        unknown = [number for number, cells in finals.items() if self._scores(cells) is None]
        if unknown:
            return self._so_far(f"further seeds of point {', '.join(map(str, unknown))}", finals)
        return self._so_far(None, finals)


def finalists(tune: Tune, points: Sequence[Point]) -> list[int]:
    """The points that lead, by their figures in the search: front by front where there are several.

    Of points that are the same trials (alpha 1 is, at any switch epoch) the first stands for all.
    """
    from analysis.pareto import crowding, front_ranks

    apart: dict[object, Point] = {}
    for point in points:
        if point.state is State.DONE:
            trials = tuple(cell.trial_id for cell in point.steps[-1].cells)
            apart.setdefault(trials or point.number, point)
    done = list(apart.values())
    if len(tune.objectives) == 1 or not done:
        done.sort(key=lambda point: -point.scores[0])  # the earlier of equals first
        return sorted(point.number for point in done[: tune.finalists])
    ranks = front_ranks([point.scores for point in done])
    chosen: list[int] = []
    for rank in range(int(ranks.max()) + 1):
        front = [point for point, own in zip(done, ranks, strict=True) if own == rank]
        far = crowding([point.scores for point in front])
        by_distance = sorted(range(len(front)), key=lambda i: (-far[i], front[i].number))
        chosen += [front[i].number for i in by_distance]
    return sorted(chosen[: tune.finalists])


def _told(scores: tuple[float, ...]) -> tuple[float, ...] | None:
    """What a sampler is told: nothing of a point that failed."""
    return scores if all(map(math.isfinite, scores)) else None

"""Suggestions: the one engine of every search, Ray Tune's Optuna searcher asked and told step by step.

A search is a pure function of its settings and of what it was told, in that order. Asking again from the
beginning takes time that grows with the history, so the last searches are remembered as they stand; one
that is told something else begins anew.

Ray's `OptunaSearch.add_evaluated_point` takes a single value (2.60 raises TypeError for a list): where there
are several objectives, what is known already is suggested first and told at once.
"""

import itertools
import math
import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

Value = float | int | str
Values = Mapping[str, Value]
Sampler = Literal["tpe", "gp", "random", "grid"]

_REMEMBERED = 16


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.values)

    def at(self, number: int) -> Value:
        """The value at a place."""
        return self.values[number]

    def holds(self, value: object) -> Value | None:
        """The value of it that equals another, or None."""
        alike = (
            own
            for own in self.values
            if own == value and isinstance(own, str) == isinstance(value, str)
        )
        return next(alike, None)  # fmt: skip


@dataclass(frozen=True)
class Range:
    """A number between two, both included.

    Attributes:
        low, high: its ends.
        step: between values, from low on; None for any value between.
        log: whether it is drawn evenly in its logarithm.
        whole: whether it is a whole number.
        digits: significant ones of a number without step, so that machines whose last bits differ
            suggest the same; None for all.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False
    digits: int | None = None

    @property
    def size(self) -> int | None:
        """How many values there are; None where any number between is one."""
        if self.step is None:
            return None
        return math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def at(self, number: int) -> Value:
        """The value so many steps above the least, as it would be written: 0.3, not 0.30000000000000004."""
        step = Decimal(str(self.step))
        value = Decimal(str(self.low)) + number * step
        return int(value) if self.whole else float(value)

    def snapped(self, value: float) -> Value:
        """The value that is nearest."""
        if self.step is None:
            rounded = value if self.digits is None else float(f"{value:.{self.digits}g}")
            return float(min(max(rounded, self.low), self.high))
        return self.at(round((value - self.low) / self.step))

    def holds(self, value: object) -> Value | None:
        """The same number, where it is one of these, or None."""
        if isinstance(value, str) or not isinstance(value, int | float):
            return None
        if not self.low <= value <= self.high:
            return None
        found = float(value) if self.step is None else self.snapped(value)
        return found if found == value else None


Domain = Choice | Range
Space = tuple[tuple[str, Domain], ...]
"""By key, in the order in which they are drawn."""


def count(space: Space) -> int | None:
    """The number of points of a space; None where it is not finite."""
    sizes = [domain.size for _, domain in space]
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


def every(space: Space) -> Iterator[dict[str, Value]]:
    """The points of a finite space, the last key fastest."""
    for places in itertools.product(*(range(domain.size or 0) for _, domain in space)):
        yield _placed(space, places)


def drawn(space: Space, chance: random.Random) -> dict[str, Value]:
    """A point of a finite space, each as likely as any other."""
    return _placed(space, [chance.randrange(domain.size or 0) for _, domain in space])


def _placed(space: Space, places: Sequence[int]) -> dict[str, Value]:
    return {key: domain.at(place) for (key, domain), place in zip(space, places, strict=True)}


@dataclass(frozen=True)
class Settings:
    """What suggestions depend on before anything is told.

    Attributes:
        space: what is sought.
        sampler: tpe, gp, random, or grid, which goes through a finite space in its order.
        seed: of the sampler.
        objectives: how many figures a point has; each is to be high.
        parallel: whether several points are asked for before their figures are told.
        known: points and their figures from before; None for figures of one that failed.
        label: tells searches apart that are alike in all this.
    """

    space: Space
    sampler: Sampler = "tpe"
    seed: int = 0
    objectives: int = 1
    parallel: bool = False
    known: tuple[tuple[tuple[tuple[str, Value], ...], tuple[float, ...] | None], ...] = ()
    label: str = ""


class Suggester:
    """Asked for points and told what came of them.

    Every call is one step of a history; the answers are a function of the settings and the history.
    """

    def __init__(self, settings: Settings) -> None:
        """Stands at the beginning.

        Raises:
            ValueError: for a grid over a space that is not finite.
        """
        self._settings = settings
        self._live = _remembered(settings)
        self._steps: list[tuple[Any, ...]] = []

    def ask(self) -> tuple[int, dict[str, Value]] | None:
        """The next point with its number; None where a grid is at its end."""
        found: tuple[int, dict[str, Value]] | None = self._step("ask")
        return None if found is None else (found[0], dict(found[1]))

    def tell(self, number: int, scores: Sequence[float] | None) -> None:
        """Says what came of a point.

        Args:
            number: of the point.
            scores: a figure for each objective, each to be high; None where it failed.
        """
        self._step("tell", number, None if scores is None else tuple(scores))

    def stop(self, number: int, reached: Sequence[tuple[int, float]]) -> None:
        """Says that a point was given up early.

        Args:
            number: of the point.
            reached: epochs and the figure after them, for each rung it came to.
        """
        self._step("stop", number, tuple(reached))

    def _step(self, *step: Any) -> Any:
        at = len(self._steps)
        if len(self._live.log) > at and self._live.log[at] != step:
            self._live = _begun_anew(self._settings, self._steps)
        self._steps.append(step)
        return self._live.answers[at] if len(self._live.log) > at else self._live.do(step)


class _Live:
    """A search as it stands."""

    def __init__(self, settings: Settings) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.answers: list[Any] = []
        self._engine = _Grid(settings) if settings.sampler == "grid" else _Optuna(settings)

    def do(self, step: tuple[Any, ...]) -> Any:
        what, *given = step
        answer = getattr(self._engine, what)(*given)
        self.log.append(step)
        self.answers.append(answer)
        return answer


_LAST: "OrderedDict[Settings, _Live]" = OrderedDict()
"""The searches that were asked last, by their settings: a memory, which changes no answer."""


def _remembered(settings: Settings) -> _Live:
    if settings not in _LAST:
        _LAST[settings] = _Live(settings)
        while len(_LAST) > _REMEMBERED:
            _LAST.popitem(last=False)
    _LAST.move_to_end(settings)
    return _LAST[settings]


def _begun_anew(settings: Settings, steps: Sequence[tuple[Any, ...]]) -> _Live:
    live = _LAST[settings] = _Live(settings)
    for step in steps:
        live.do(step)
    return live


class _Grid:
    """Every point in its order."""

    def __init__(self, settings: Settings) -> None:
        if count(settings.space) is None:
            raise ValueError(
                "sampler = 'grid': needs a finite space: values, or low, high and step"
            )
        self._points = enumerate(every(settings.space))

    def ask(self) -> tuple[int, dict[str, Value]] | None:
        return next(self._points, None)

    def tell(self, number: int, scores: tuple[float, ...] | None) -> None:
        pass

    def stop(self, number: int, reached: tuple[tuple[int, float], ...]) -> None:
        pass


class _Optuna:
    """Ray Tune's searcher."""

    def __init__(self, settings: Settings) -> None:
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = dict(settings.space)
        self._names = [f"score{number}" for number in range(settings.objectives)]
        one = settings.objectives == 1
        known = [(dict(values), scores) for values, scores in settings.known]
        self._search = OptunaSearch(
            {key: _distribution(domain) for key, domain in self._space.items()},
            metric=self._names[0] if one else self._names,
            mode="max" if one else ["max"] * len(self._names),
            sampler=_sampler(settings),
            points_to_evaluate=None if one else [values for values, _ in known],
        )
        self._asked = itertools.count()
        for number, (values, scores) in enumerate(known):
            if one:
                self._search.add_evaluated_point(
                    values, 0.0 if scores is None else scores[0], error=scores is None
                )
            else:
                self._search.suggest(f"known-{number}")
                self._complete(f"known-{number}", scores)

    def ask(self) -> tuple[int, dict[str, Value]]:
        number = next(self._asked)
        found: dict[str, Any] = self._search.suggest(str(number)) or {}
        return number, {
            key: domain.snapped(found[key]) if isinstance(domain, Range) else found[key]
            for key, domain in self._space.items()
        }

    def tell(self, number: int, scores: tuple[float, ...] | None) -> None:
        self._complete(str(number), scores)

    def stop(self, number: int, reached: tuple[tuple[int, float], ...]) -> None:
        for epochs, score in reached:
            report = {self._names[0]: score, "training_iteration": epochs}
            self._search.on_trial_result(str(number), report)
        self._search.on_trial_complete(str(number))  # without a figure: given up

    def _complete(self, name: str, scores: tuple[float, ...] | None) -> None:
        result = None if scores is None else dict(zip(self._names, scores, strict=True))
        self._search.on_trial_complete(name, result, error=result is None)


def _sampler(settings: Settings) -> Any:
    import optuna

    if settings.sampler == "random":
        return optuna.samplers.RandomSampler(seed=settings.seed)
    if settings.sampler == "gp":
        return optuna.samplers.GPSampler(seed=settings.seed)
    # Points that are not told yet count as bad, so that those of a round are not all alike.
    return optuna.samplers.TPESampler(seed=settings.seed, constant_liar=settings.parallel)


def _distribution(domain: Domain) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    # The greatest that is there: Optuna warns of ends that no step leads to, and takes this too.
    high = domain.high if domain.size is None else float(domain.at(domain.size - 1))
    if domain.whole:
        step = 1 if domain.step is None else int(domain.step)
        return IntDistribution(int(domain.low), int(high), log=domain.log, step=step)
    return FloatDistribution(domain.low, high, log=domain.log, step=domain.step)

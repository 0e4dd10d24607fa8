"""An adaptive search over a study: section `[tune]`, for `sweep tune`.

What is sought, by which figure, how points are suggested, and when it ends.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Strict, field_validator, model_validator

from sweep.section import (
    Count,
    Epochs,
    Name,
    Number,
    Positive,
    Section,
    Seed,
    Values,
    distinct,
    only_number,
)
from sweep.suggest import Choice, Domain, Range, Sampler, Space, count

MAX_POINTS = 10_000
DIGITS = 6
"""Significant digits of what is drawn between two ends."""

Bound = Annotated[int | float, BeforeValidator(only_number)]


class Span(Section):
    """What a key of the space may be: some values, or a number between two."""

    values: Values[int | float | str] = Field(
        (), description="the values it may have; a list alone stands for this"
    )
    low: Bound | None = Field(None, description="least value")
    high: Bound | None = Field(None, description="greatest value, itself allowed")
    step: Annotated[Bound, Field(gt=0)] | None = Field(
        None, description="between values; absent: 1 for whole numbers, else any number"
    )
    log: Annotated[bool, Strict()] = Field(
        False, description="whether it is drawn evenly in its logarithm"
    )

    @field_validator("values", mode="before")
    @classmethod
    def _no_truth(cls, values: object) -> object:
        if isinstance(values, list | tuple) and any(isinstance(one, bool) for one in values):
            raise ValueError("must be numbers or texts, not true or false")
        return values

    @model_validator(mode="after")
    def _one_kind(self) -> "Span":
        distinct(self.values, "values =")
        if self.values:
            if (self.low, self.high, self.step, self.log) != (None, None, None, False):
                raise ValueError("values are given: leave out low, high, step and log")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give values = [...], or low and high")
        if self.low >= self.high:
            raise ValueError(f"high = {self.high}: must be above low, {self.low}")
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low}: must be above 0 where log = true")
        if self.log and self.step is not None:
            raise ValueError(f"step = {self.step}: leave it out where log = true")
        return self

    def domain(self, whole: bool) -> Domain:
        """What is drawn from.

        Args:
            whole: whether the key is of whole numbers.

        Raises:
            ValueError: for an end or a step that is then no whole number.
        """
        if self.values:
            return Choice(self.values)
        assert self.low is not None  # validated
        assert self.high is not None
        if not whole:
            return Range(self.low, self.high, self.step, self.log, digits=DIGITS)
        step = 1 if self.step is None else self.step
        for name, value in (("low", self.low), ("high", self.high), ("step", step)):
            if value != int(value):
                raise ValueError(f"{name} = {value}: must be a whole number")
        return Range(int(self.low), int(self.high), int(step), self.log, whole=True)


class Goal(Section):
    """A figure that is to be best."""

    by: Literal["metric", "loss"] = Field("metric", description="without an attack, what of it")
    attack: Name | None = Field(
        None, description="an attack of the evaluation, by its recorded name; absent: none"
    )
    epsilon: Annotated[Number, Field(ge=0)] | None = Field(None, description="its strength")
    select_on: Literal["test", "validation"] = Field(
        "validation", description="split on which it is measured"
    )

    @model_validator(mode="after")
    def _whole(self) -> "Goal":
        if (self.attack is None) != (self.epsilon is None):
            raise ValueError("attack and epsilon are given together, or neither")
        if self.attack is not None and self.by != "metric":
            raise ValueError(
                "by = 'loss': is of no use to an attack, which is measured by its metric"
            )
        return self

    @property
    def figure(self) -> str:
        """What is to be best, as `sweep.follow.Finding.figures` names it."""
        return self.by if self.attack is None else f"{self.attack} {self.epsilon:g}"

    @property
    def name(self) -> str:
        """The same with its split."""
        return f"{self.select_on} {self.figure}"


def _listed(space: object) -> object:
    """A list of values stands for a table with them."""
    if not isinstance(space, Mapping):
        return space
    return {
        key: {"values": span} if isinstance(span, list | tuple) else span
        for key, span in space.items()
    }


class Tune(Section):
    """A search over axes of the grid, numbers of the recipe and weights of a start."""

    space: Annotated[dict[str, Span], BeforeValidator(_listed)] = Field(
        ..., min_length=1, max_length=50, description="what is sought, by key"
    )
    start: Name | None = Field(
        None, description="the table [starts.NAME] whose weights are in the space"
    )
    objectives: tuple[Goal, ...] = Field(
        (Goal(),), min_length=1, max_length=4, description="what is to be best"
    )
    sampler: Sampler = Field(
        "tpe", description="tpe, gp, random, or grid: every point in its order"
    )
    sampler_seed: Seed = Field(0, description="of the sampler")
    repeats: Annotated[Count, Field(ge=1)] = Field(
        1, description="seeds of a point in the search: the first so many of the study"
    )
    parallel: Annotated[Count, Field(ge=1, le=1000)] = Field(
        1, description="points that are tried at a time"
    )
    rungs: Values[Epochs] = Field(
        (), description="epochs after which a point may be given up; absent: never"
    )
    reduction: Annotated[Count, Field(ge=2)] = Field(
        3, description="of so many points that came to a rung, one goes on"
    )
    trials: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="trials that may be asked for, the finalists' included"
    )
    epochs: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="epochs that may be trained, the finalists' included"
    )
    minutes: Positive | None = Field(None, description="after which no new point is begun")
    finalists: Annotated[Count, Field(ge=1, le=100)] = Field(
        3, description="leading points that are trained with more seeds in the end"
    )
    final_seeds: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="seeds of the finalists: the first so many; absent: all of the study"
    )

    @model_validator(mode="after")
    def _together(self) -> "Tune":
        distinct([goal.name for goal in self.objectives], "objectives:")
        if list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs = {list(self.rungs)}: must rise")
        if self.rungs and len(self.objectives) > 1:
            raise ValueError(
                "rungs: points are given up by one figure; leave rungs out with several objectives"
            )
        if self.final_seeds is not None and self.final_seeds < self.repeats:
            raise ValueError(
                f"final_seeds = {self.final_seeds}: must be {self.repeats} (repeats) or more"
            )
        return self


def is_endless(tune: Tune, space: Space) -> bool:
    """Whether nothing says when a search ends."""
    return (tune.trials, tune.epochs, tune.minutes) == (None, None, None) and count(space) is None


def definition(tune: Tune) -> dict[str, Any]:
    """What the order of suggestions depends on; budgets and what comes after do not."""
    skipped = {"trials", "epochs", "minutes", "finalists", "final_seeds"}
    return tune.model_dump(mode="json", exclude=skipped)

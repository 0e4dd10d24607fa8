"""Grids that depend on the answers of earlier ones: tables `[[then]]` and `[search.NAME]`.

What comes next is a function of the study and of the figures of trials that are done, so a run that is
continued, here or elsewhere, asks for what it would have asked for in one piece.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sweep.section import Count, Epochs, Name, Number, Section, Seed, Seeds, Values, distinct
from sweep.suggest import Range, Settings, Suggester

Split = Literal["test", "validation"]

MAX_SUGGESTIONS = 10_000


class Then(Section):
    """A second grid around the best of the first."""

    best: Values[Name] = Field(
        ..., min_length=1, description="axes of the grid before that keep their best value"
    )
    select_on: Split = Field("validation", description="split on which the best is chosen")
    select_by: Literal["metric", "loss"] = Field("metric", description="what is compared")
    grid: dict[str, Any] = Field(..., description="changes to the grid before")

    @field_validator("best")
    @classmethod
    def _distinct(cls, best: tuple[str, ...]) -> tuple[str, ...]:
        distinct(best, "best =")
        return best

    @model_validator(mode="after")
    def _apart(self) -> "Then":
        both = sorted(set(self.best) & set(self.grid))
        if both:
            raise ValueError(
                f"best and grid both name {', '.join(both)}; an axis is one or the other"
            )
        return self


class Search(Section):
    """A search for the weights of a start's objective (Optuna's TPE: Bergstra et al., 2011)."""

    start: Name = Field(..., description="the table [starts.NAME] whose weights are sought")
    weights: Values[Literal["hard", "noisy", "anchor", "curvature"]] = Field(
        ..., min_length=1, description="which; each is sought between low and high"
    )
    low: Annotated[Number, Field(ge=0)] = Field(0.0, description="least weight")
    high: Annotated[Number, Field(gt=0)] = Field(1.0, description="greatest weight")
    trials: Annotated[Count, Field(ge=1, le=MAX_SUGGESTIONS)] = Field(
        ..., description="suggestions, one after the other"
    )
    attack: Name | None = Field(
        None, description="what is to be best: an attack of the evaluation, by its recorded name; "
        "absent: the metric without one"
    )  # fmt: skip
    epsilon: Annotated[Number, Field(ge=0)] | None = Field(None, description="its strength")
    select_on: Split = Field("validation", description="split on which it is measured")
    epochs: Epochs | None = Field(
        None, description="of the students that are measured; absent: the most of the grid"
    )
    seeds: Seeds | None = Field(
        None, description="of the students that are measured; absent: all of the study"
    )
    sampler_seed: Seed = Field(0, description="of the sampler")

    @model_validator(mode="after")
    def _whole(self) -> "Search":
        distinct(self.weights, "weights =")
        if self.low >= self.high:
            raise ValueError(f"high = {self.high}: must be above low, {self.low}")
        if (self.attack is None) != (self.epsilon is None):
            raise ValueError("attack and epsilon are given together, or neither")
        return self

    @property
    def figure(self) -> str:
        """What is to be best, as `Finding.figures` names it."""
        return "metric" if self.attack is None else f"{self.attack} {self.epsilon:g}"


@dataclass(frozen=True)
class Finding:
    """What is known of a trial that has ended.

    Attributes:
        higher_is_better: whether its metric is to grow.
        diverged: whether its loss stopped being finite; it has no figures then.
        figures: by split and name: `metric`, `loss`, and under an attack `fgsm 0.01`.
        failed: whether it failed for good, and there is no record of it.
    """

    higher_is_better: bool
    diverged: bool
    figures: Mapping[tuple[str, str], float]
    failed: bool = False

    def score(self, split: str, figure: str) -> float | None:
        """A figure as something that is to be high.

        Returns:
            Minus infinity where it diverged; None where the figure was not measured.
        """
        if self.diverged:
            return -math.inf
        value = self.figures.get((split, figure))
        if value is None:
            return None
        if not math.isfinite(value):
            return -math.inf
        higher = figure != "loss" and self.higher_is_better
        return value if higher else -value


Findings = Mapping[str, Finding]
"""By trial id."""


def mean_score(trials: Iterable[str], known: Findings, split: str, figure: str) -> float | None:
    """The mean over seeds of what is to be high; None while a trial is not done, or not measured."""
    scores: list[float] = []
    for trial_id in trials:
        finding = known.get(trial_id)
        score = None if finding is None else finding.score(split, figure)
        if score is None:
            return None
        scores.append(score)
    return math.fsum(scores) / len(scores) if all(map(math.isfinite, scores)) else -math.inf


def best(
    configurations: Mapping[Any, Sequence[str]], known: Findings, split: str, figure: str
) -> Any | None:
    """The configuration with the best mean over its trials; the first of equals.

    Args:
        configurations: the trials of each.
        known: those that are done.
        split: where they are compared.
        figure: by what.

    Returns:
        None while a trial of any is not done, where all have diverged, or where there are none.
    """
    scores = {}
    for configuration, trials in configurations.items():
        score = mean_score(trials, known, split, figure)
        if score is None:
            return None
        scores[configuration] = score
    found = max(scores, key=lambda one: scores[one], default=None)
    return None if found is None or scores[found] == -math.inf else found


def suggestions(
    search: Search,
    score_of: Callable[[int, Mapping[str, float]], float | None],
    label: str = "",
) -> Iterator[dict[str, float]]:
    """The weights to try, one after the other, until the score of one is not known yet.

    A pure function of the settings and the scores: asked again when more of them are known, it gives
    the same and goes on.

    Args:
        search: the settings.
        score_of: the score of a suggestion that was given, by its number from 0 and its weights;
            None while it is not known.
        label: tells searches of the same settings apart.
    """
    space = tuple((key, Range(search.low, search.high)) for key in sorted(search.weights))
    suggester = Suggester(Settings(space, seed=search.sampler_seed, label=label))
    for number in range(search.trials):
        asked = suggester.ask()
        assert asked is not None  # TPE has no end
        weights = {key: float(value) for key, value in asked[1].items()}
        yield weights
        score = score_of(number, weights)
        if score is None:
            return
        suggester.tell(asked[0], (score,) if math.isfinite(score) else None)

"""Pages of configurations: what the seeds say of each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sweep.filters import Condition
from sweep.filters import parse as parse_filter
from sweep.web.measures import Attack
from sweep.web.models import CellLine, Cells, Interval, Measure
from sweep.web.paging import Column, Page, sort_column
from sweep.web.problems import ProblemError
from sweep.web.view import STATUSES, Statistics, View, sign_of
from sweep.words import CELL_COLUMNS, PARAMETER_COLUMNS

FIGURES = (
    "n", "mean", "deviation", "low", "high", "delta", "delta_low", "delta_high", "asked", "done",
    "failed", "blocked", "missing", "running", "p_holm",
)  # fmt: skip
"""Columns that pages are sorted by, beside the words of a cell."""

WORDS = tuple(word for word in (*CELL_COLUMNS, *PARAMETER_COLUMNS) if word != "seed")
SORTED_BY = (*FIGURES, *WORDS)


def cells(
    view: View, version: int, page: Page, sort: str | None, descending: bool, filter: str | None,
    attack: Attack | None = None,
) -> Cells:  # fmt: skip
    """A page of configurations.

    Args:
        view: of the study.
        version: of the results.
        page: which of them.
        sort: one of `SORTED_BY`; None for the order of the study.
        descending: largest first; what is not known is last either way.
        filter: conditions as `sweep run --only` takes them; one on the seed is not allowed.
        attack: under which the view's figures were measured; None where they are of the metric.

    Raises:
        ProblemError: for a condition on what tells trials of a configuration apart.
        FilterError: for a filter that cannot be read.
    """
    numbers = np.arange(len(view.asked.configurations))
    if filter:
        conditions = parse_filter([filter])
        narrower = {one.key for one in conditions} & {"seed", "trial_id"}
        if narrower:
            raise ProblemError(
                400, f"filter: {min(narrower)} tells trials apart; these figures are of all seeds"
            )
        numbers = numbers[[*map(_holds(conditions), _words(view))]]
    if sort is not None:
        numbers = numbers[sort_column(_column(view, sort), descending, numbers)]
    shown = numbers[page.offset : page.offset + page.limit]
    return Cells(
        version=version,
        under=under(attack),
        total=len(numbers),
        offset=page.offset,
        limit=page.limit,
        columns=list(view.asked.varying),
        cells=[line(view, int(number)) for number in shown],
    )


def under(attack: Attack | None) -> Measure | None:
    """An attack as answers name it."""
    return None if attack is None else Measure(measure=attack.measure, title=attack.title)


def line(view: View, number: int) -> CellLine:
    """A configuration with what its seeds say."""
    one = view.asked.configurations[number]
    counts = view.counts[number]
    base = int(view.asked.baseline[number])
    metric = view.metric.get(one.words["dataset"])
    return CellLine(
        key=one.key,
        label=one.label,
        words={word: value for word, value in one.words.items() if value is not None},
        metric=metric,
        higher_is_better=sign_of(metric) > 0,
        asked=int(counts.sum()),
        counts={name: int(n) for name, n in zip(STATUSES, counts, strict=True)},
        value=interval(view.own, number),
        delta=interval(view.pairs, number) if base >= 0 else None,
        p_holm=float(view.p_holm[number]),
        verdict=str(view.verdict[number]),
        baseline=view.asked.configurations[base].key if base >= 0 else None,
    )


def interval(statistics: Statistics, number: int) -> Interval:
    """What the seeds say of one configuration."""
    return Interval(
        n=int(statistics.n[number]),
        mean=float(statistics.mean[number]),
        deviation=float(statistics.deviation[number]),
        low=float(statistics.low[number]),
        high=float(statistics.high[number]),
    )


def _words(view: View) -> Sequence[Any]:
    return [one.words for one in view.asked.configurations]


def _holds(conditions: Sequence[Condition]) -> Any:
    def check(words: Any) -> bool:
        return all(one.holds(words.get(one.key)) for one in conditions)

    return check


def _column(view: View, name: str) -> Column:
    own, pairs = view.own, view.pairs
    figures: dict[str, Column] = {
        "n": own.n, "mean": own.mean, "deviation": own.deviation, "low": own.low, "high": own.high,
        "delta": pairs.mean, "delta_low": pairs.low, "delta_high": pairs.high,
        "asked": view.counts.sum(axis=1), "p_holm": view.p_holm,
        **{status: view.counts[:, position] for position, status in enumerate(STATUSES)},
    }  # fmt: skip
    if name in figures:
        return figures[name]
    return [one.words[name] for one in view.asked.configurations]

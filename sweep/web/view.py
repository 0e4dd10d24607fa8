"""A study at one moment: status and figure of every cell, and what the seeds say of configurations.

The same numbers as `analysis.summarise` and `analysis.paired`, of arrays in place of frames: they are
made anew whenever a record arrives.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sweep.web.asked import Asked, Numbers

STATUSES = ("done", "failed", "blocked", "missing", "running")
DONE, FAILED, BLOCKED, MISSING, RUNNING = range(len(STATUSES))

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """A mean over seeds, for each configuration; NaN where there are too few.

    Attributes:
        n: values.
        mean: of them.
        deviation: standard deviation over seeds (ddof 1).
        low, high: 95 % t interval of the mean.
    """

    n: Numbers
    mean: Floats
    deviation: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class View:
    """A study at one moment. Arrays have the shape (cells,) or (configurations,).

    Attributes:
        asked: what it asks for.
        status: of each cell, an index into `STATUSES`; a trial that is being run is `running`.
        row: of each cell, the row of its trial among all trials, -1 without one.
        value: the headline metric of each cell on the test split, or what else is measured in its
            place (`measuring`); NaN without one.
        counts: cells of each status, shape (configurations, statuses).
        own: what the seeds say of each configuration.
        pairs: of the differences to the baseline of the same seeds.
        p_holm: p of the paired t test, corrected for all configurations of the study.
        verdict: as `analysis.paired` gives it; "" where there is no baseline.
        metric: the name of the headline metric by dataset.
    """

    asked: Asked
    status: NDArray[np.int8]
    row: Numbers
    value: Floats
    counts: Numbers
    own: Statistics
    pairs: Statistics
    p_holm: Floats
    verdict: NDArray[np.str_]
    metric: dict[str, str]

    @property
    def trials(self) -> dict[str, int]:
        """How many trials there are, and how many of each status."""
        first = np.bincount(self.status[self.asked.first], minlength=len(STATUSES))
        counted = {name: int(n) for name, n in zip(STATUSES, first, strict=True)}
        return {"total": len(self.asked.trial_ids), **counted}


def view(asked: Asked, status: pa.ChunkedArray, trials: pa.Table) -> View:
    """Looks at a study, of which nothing is being run.

    Args:
        asked: what it asks for.
        status: of each cell; see `sweep.results.statuses_of`.
        trials: at least `trial_id`, `metric_name` and `test_metric` of all trials.
    """
    found = pc.index_in(asked.cells["trial_id"], value_set=trials["trial_id"])
    row = pc.fill_null(found, -1).to_numpy().astype(np.int64)
    codes = pc.index_in(status, value_set=pa.array(STATUSES)).to_numpy().astype(np.int8)
    metrics = trials["test_metric"].to_numpy()
    known = (codes == DONE) & (row >= 0)
    value = np.full(len(codes), np.nan)
    value[known] = metrics[row[known]]
    metric = _metrics(asked, row, trials)
    return View(asked, codes, row, counts=_counts(asked, codes), metric=metric,
                **_figures(asked, value, metric))  # fmt: skip


def measuring(seen: View, value: Floats) -> View:
    """A study by another figure of its cells: the same statistics, of that.

    Args:
        seen: see `view`.
        value: of each cell, in the unit of the metric and as good where that is; NaN without one.
    """
    return replace(seen, **_figures(seen.asked, value, seen.metric))


def _figures(asked: Asked, value: Floats, metric: dict[str, str]) -> dict[str, Any]:
    """The figures of a view: those of the cells, and what the seeds say of each configuration."""
    value = np.where(np.isfinite(value), value, np.nan)
    partner = np.where(asked.partner >= 0, value[asked.partner], np.nan) if len(value) else value
    groups = len(asked.configurations)
    pairs = _statistics(value - partner, asked.number, groups)
    p_holm, verdict = _judged(asked, value, partner, pairs, metric)
    own = _statistics(value, asked.number, groups)
    return {"value": value, "own": own, "pairs": pairs, "p_holm": p_holm, "verdict": verdict}


def with_running(idle: View, running: frozenset[str]) -> View:
    """A study of which some trials are being run; what is done stays done.

    Args:
        idle: see `view`.
        running: ids of trials.
    """
    asked = idle.asked
    at_work = pc.is_in(asked.cells["trial_id"], value_set=pa.array(sorted(running), pa.string()))
    codes = np.where(at_work.to_numpy() & (idle.status != DONE), RUNNING, idle.status)
    return replace(idle, status=codes.astype(np.int8), counts=_counts(asked, codes))


def _counts(asked: Asked, codes: NDArray[Any]) -> Numbers:
    """Cells of each status, shape (configurations, statuses)."""
    shape = (len(asked.configurations), len(STATUSES))
    found = np.bincount(asked.number * shape[1] + codes, minlength=shape[0] * shape[1])
    return found.reshape(shape)


def _statistics(values: Floats, number: Numbers, groups: int) -> Statistics:
    from analysis.intervals import t_interval

    known = np.isfinite(values)
    number, values = number[known], values[known]
    n = np.bincount(number, minlength=groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(number, values, minlength=groups) / n
        squares = np.bincount(number, (values - mean[number]) ** 2, minlength=groups)
        deviation = np.sqrt(squares / np.where(n > 1, n - 1, np.nan))
    low, high = t_interval(mean, deviation, n)
    return Statistics(n, mean, deviation, low, high)


def _metrics(asked: Asked, row: Numbers, trials: pa.Table) -> dict[str, str]:
    """The metric of each dataset, as its trials say."""
    known = np.flatnonzero(row >= 0)
    datasets = asked.cells["dataset"].take(pa.array(known))
    names = trials["metric_name"].take(pa.array(row[known]))
    pairs = pa.table({"dataset": datasets, "name": names}).group_by(["dataset", "name"])
    return {
        row["dataset"]: row["name"]
        for row in pairs.aggregate([]).to_pylist()
        if row["name"] is not None
    }


def _judged(
    asked: Asked, value: Floats, partner: Floats, pairs: Statistics, metric: dict[str, str]
) -> tuple[Floats, NDArray[np.str_]]:
    """The corrected p values and the verdicts; see `analysis.pairs.paired`."""
    from analysis.intervals import SIGNIFICANCE, holm, t_p_value
    from analysis.pairs import MIN_PAIRS

    groups = len(asked.configurations)
    paired = np.isfinite(value - partner)
    other = paired & (asked.trial != np.where(asked.partner >= 0, asked.trial[asked.partner], -1))
    others = np.bincount(asked.number[other], minlength=groups)
    same = (pairs.n > 0) & (others == 0)
    p = t_p_value(pairs.mean, pairs.deviation, pairs.n)
    corrected = holm(np.where(same, np.nan, p))
    signs = {name: sign_of(name) for name in set(metric.values())}
    sign = np.array(
        [signs.get(metric.get(one.words["dataset"], ""), 1) for one in asked.configurations]
    )
    gain, clear = pairs.mean * sign, corrected < SIGNIFICANCE
    student = asked.baseline >= 0
    verdict = np.select(
        [~student, same, pairs.n < MIN_PAIRS, clear & (gain > 0), clear & (gain < 0)],
        ["", "same trial", "cannot say", "better", "worse"],
        default="no clear difference",
    )
    return corrected, verdict


def sign_of(metric: str | None) -> int:
    """+1 where a higher metric is better, -1 where a lower one is; +1 for one nobody knows."""
    from analysis.columns import direction

    try:
        return direction(metric or "")
    except ValueError:
        return 1

"""How fast students learn: epochs to a level, area under the curve, the jump at the switch.

While a teacher guides, the loss that is recorded is the mixed one, on another scale than the
baseline's. So a student is compared with its baseline on its *hard part* alone, the epochs after
the switch, and the baseline over the same epochs; only evaluations during training (`curve`), where
a study asked for them, can be compared from the first epoch on.

A level that is not reached, or was passed at a time that nobody saw, is counted and never filled
in: a mean over those that reached it says so with `n_reached` of `n`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import configuration_keys, matching_keys, tidy
from analysis.columns import direction
from analysis.curves import Array, evaluations, recorded, with_losses
from analysis.intervals import LEVEL, holm, t_interval
from analysis.pairs import MIN_PAIRS, pair_up

Index = NDArray[np.int64]

EPOCHS_TO_LOSS: Final = "epochs to loss"
AREA: Final = "loss after the switch"
RECORDED_AREA: Final = "recorded loss"
JUMP: Final = "jump at the switch"
STAIRCASE: Final = "epoch staircase"
EPOCHS_TO_METRIC: Final = "epochs to metric"
METRIC_AREA: Final = "metric while training"
MEASURES: Final = (
    EPOCHS_TO_LOSS, AREA, RECORDED_AREA, JUMP, STAIRCASE, EPOCHS_TO_METRIC, METRIC_AREA,
)  # fmt: skip
JUDGED: Final = (EPOCHS_TO_LOSS, AREA, EPOCHS_TO_METRIC, METRIC_AREA)
"""Measures of which less (or, of a metric, better) is good; the others have no good direction."""

FRACTIONS: Final = (0.25, 0.5, 0.75)
"""Where in its training the baseline's mean is taken as a level, if none is given."""

JUMP_POINTS: Final = 3
"""Recorded points on either side of the switch whose means are compared."""

REACHED, BEFORE, NEVER, MEASURED = "reached", "before", "never", "measured"
_NO_LEVEL = -1
_PAIRED = {
    "n_pairs": "n_pairs",
    "unpaired_seeds": "unpaired_seeds",
    "difference": "difference",
    "deviation": "difference_deviation",
    "ci_low": "difference_ci_low",
    "ci_high": "difference_ci_high",
    "p": "p",
    "same_trial": "same_trial",
}


def convergence_table(
    cells: pd.DataFrame,
    loss_levels: Sequence[float] | None = None,
    metric_levels: Sequence[float] | None = None,
) -> pd.DataFrame:
    """What the seeds say about how fast each configuration learns, and against the baseline.

    Args:
        cells: One row per requested cell, with `train_loss`, `train_loss_step`, `steps_per_epoch`
            and, where a study evaluated during training, `curve`.
        loss_levels: Hard training losses to be reached. None takes, per dataset, the mean loss
            of the baselines at 25, 50 and 75 % of their epochs.
        metric_levels: The same for the metric evaluated during training.

    Returns:
        One row per configuration (students and baselines), measure and level:

        - the keys, `measure` (one of `MEASURES`), `level` and `level_rule` (null without a level);
        - `n`: finished cells of which the measure can be taken, of `seeds` finished ones (without
          a curve or its steps per epoch it cannot); `mean`, `deviation` (ddof 1), `ci_low`,
          `ci_high` (95 % t interval) over those with a value;
        - for epochs to a level: `n_reached` (seen to reach it), `n_before` (at the first point of
          the hard part it was reached already, nobody knows when), `n_never` (not reached when
          training ended). `mean` is over `n_reached`; `median` over all `n` with never as infinite
          and before as earlier than all, NaN where it falls on one of those;
        - for students `n_pairs`, `unpaired_seeds`, `difference` (student - baseline of the same
          seed, over the same epochs), `difference_deviation`, `difference_ci_low`,
          `difference_ci_high`, `p` (paired t test), `p_holm` (corrected for all configurations of
          a dataset under one measure and level), `verdict` (of `p_holm`) and `verdict_uncorrected`
          (of `p`), null for measures not in `JUDGED`. Where a level was not seen to be reached by
          every seed on both sides nothing is tested and the verdict is "cannot say": the rest is
          not a fair sample.

    Raises:
        ValueError: See `analysis.cells.tidy` and `analysis.curves.recorded`.
    """
    found = _measured(cells, loss_levels, metric_levels)
    keys, long = found.keys, found.long
    group = [*keys, "measure", "level_index"]
    own = long[long["own"]].copy()
    state = own["state"]
    for name in (REACHED, BEFORE, NEVER):
        own[f"n_{name}"] = state == name
    own["known"] = state.notna()
    ends = {BEFORE: -np.inf, NEVER: np.inf}
    own["ranked"] = own["value"].where(~state.isin(list(ends)), state.map(ends))
    table = (
        own.groupby(group, dropna=False, sort=True, observed=True)
        .agg(
            metric_name=("metric", "first"),
            level=("level", "first"),
            level_rule=("level_rule", "first"),
            n=("known", "sum"),
            n_reached=("n_reached", "sum"),
            n_before=("n_before", "sum"),
            n_never=("n_never", "sum"),
            mean=("value", "mean"),
            deviation=("value", "std"),
            values=("value", "count"),
            median=("ranked", "median"),
        )
        .reset_index()
    )
    table["median"] = table["median"].where(np.isfinite(table["median"]))
    counted = table.pop("values")
    table["ci_low"], table["ci_high"] = t_interval(table["mean"], table["deviation"], counted)
    table = table.merge(found.seeds, on=keys, how="left")
    pairs = pair_up(long, keys, found.match, by=["measure", "level_index", "hard_from"])
    columns = [*group, *_PAIRED]
    table = table.merge(pairs[columns].rename(columns=_PAIRED), on=group, how="left")
    table = table.astype({"same_trial": object})
    table.loc[table["measure"] == RECORDED_AREA, list(_PAIRED.values())] = np.nan
    table = _judged(table)
    order = table["measure"].map({name: i for i, name in enumerate(MEASURES)})
    table = table.assign(order=order).sort_values([*keys, "order", "level_index"], kind="stable")
    return table.drop(columns=["order", "level_index"]).reset_index(drop=True)


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `p_holm`, `verdict` and `verdict_uncorrected` in place of `same_trial`."""
    same = table.pop("same_trial").eq(True)
    timed = table["measure"].isin([EPOCHS_TO_LOSS, EPOCHS_TO_METRIC])
    unknown = (table["n_pairs"] < MIN_PAIRS) | (timed & (table["n_pairs"] < table["n"]))
    tested = table["p"].where(~same & ~unknown)
    families = table.groupby(["dataset", "measure", "level_index"], observed=True).groups
    table["p_holm"] = np.nan
    for rows in families.values():
        table.loc[rows, "p_holm"] = holm(tested.loc[rows])
    metric = table["metric_name"].where(table["measure"] == METRIC_AREA, "loss")
    sign = metric.map({name: direction(name) for name in metric.unique()}).astype("float64")
    gain = table["difference"] * sign
    for column, p in (("verdict", table["p_holm"]), ("verdict_uncorrected", tested)):
        clear = p < 1 - LEVEL
        words = ["same trial", "cannot say", "better", "worse"]
        cases = [same, unknown | p.isna(), clear & (gain > 0), clear & (gain < 0)]
        said = pd.Series(np.select(cases, words, "no clear difference"), table.index, dtype="str")
        table[column] = said.where((table["role"] == "student") & table["measure"].isin(JUDGED))
    return table


def trial_convergence(
    cells: pd.DataFrame,
    loss_levels: Sequence[float] | None = None,
    metric_levels: Sequence[float] | None = None,
) -> pd.DataFrame:
    """The measures of each student and baseline; see `convergence_table`.

    Returns:
        One row per finished cell, measure and level: the keys, `seed`, `trial_id`, `metric_name`,
        `measure`, `level`, `level_rule`, `state` ("measured"; for levels "reached", "before" or
        "never"; null where it cannot be taken) and `value`: epochs for a level (null unless
        reached), loss or metric else.

        - `EPOCHS_TO_LOSS`: epochs done at the first recorded point of the hard part with a loss at
          or below the level; `EPOCHS_TO_METRIC`: at the first evaluation as good as the level.
        - `AREA`: area under the hard part (trapezoid over epochs) divided by its length in epochs;
          `RECORDED_AREA`: the same of the whole curve, whatever it was that was minimised, so it
          compares with nothing; `METRIC_AREA`: of the evaluations.
        - `JUMP`: mean of the first `JUMP_POINTS` points after the switch minus mean of the last
          before it. What is minimised changes there, so it is not only the student that jumps; the
          baseline at the same epoch shows what a boundary between epochs does anyway.
        - `STAIRCASE`: how far the loss falls at once where an epoch begins, as samples are seen
          again: loss of the last point of an epoch minus that of the first of the next, minus what
          the trend within the two epochs gives over those steps (their mean slope from first to
          last point), averaged over the boundaries of the hard part. Needs two points an epoch.

    Raises:
        ValueError: See `convergence_table`.
    """
    found = _measured(cells, loss_levels, metric_levels)
    long = found.long[found.long["own"]].drop(columns="metric_name")
    names = ["seed", "trial_id", "metric_name", "measure", "level", "level_rule", "state", "value"]
    return long.rename(columns={"metric": "metric_name"})[[*found.keys, *names]].reset_index(
        drop=True
    )


@dataclass(frozen=True)
class _Measured:
    """Every measure of every student and baseline, and of baselines for each start of a student.

    `own` rows are what a cell gave over its own hard part; the others exist to be paired with.
    `seeds` counts the finished cells of each configuration, with or without a curve.
    """

    keys: list[str]
    match: list[str]
    seeds: pd.DataFrame
    long: pd.DataFrame


@dataclass(frozen=True)
class _Curves:
    """Curves laid end to end.

    Attributes:
        row: Position in the table of cells, shape (curves,).
        first: Position of each curve's first point, shape (curves,).
        end: One past its last point.
        per_epoch: Steps per epoch, shape (curves,).
        step: Steps done at each point, shape (points,).
        value: Its loss or metric.
    """

    row: Index
    first: Index
    end: Index
    per_epoch: Array
    step: Array
    value: Array

    @property
    def owner(self) -> Index:
        """The curve of each point, shape (points,)."""
        return np.repeat(np.arange(len(self.row)), self.end - self.first)

    @property
    def epoch(self) -> Array:
        """Epochs done at each point, shape (points,)."""
        return self.step / np.repeat(self.per_epoch, self.end - self.first)

    def after(self, curve: Index, steps: Array) -> Index:
        """Position of the first point of a curve past so many steps; its end if none is."""
        wide = float(self.step.max(initial=0)) + 1
        place = self.owner * wide + self.step
        return np.searchsorted(place, curve * wide + np.minimum(steps, wide - 0.5), side="right")


@dataclass(frozen=True)
class _Job:
    """Curves to be measured from an epoch on: arrays of shape (jobs,)."""

    curve: Index
    start: Array
    own: NDArray[np.bool_]


def _measured(
    cells: pd.DataFrame,
    loss_levels: Sequence[float] | None,
    metric_levels: Sequence[float] | None,
) -> _Measured:
    frame = tidy(cells)
    keys, match = configuration_keys(frame), matching_keys(frame)
    frame = frame[(frame["role"] != "teacher") & frame["done"]].reset_index(drop=True)
    frame["family"] = frame.groupby(match, dropna=False, observed=True).ngroup()
    parts = [*_of_losses(frame, loss_levels), *_of_evaluations(frame, metric_levels)]
    parts = [part for part in parts if len(part)]
    columns = [*dict.fromkeys([*keys, *match, "seed", "trial_id", "metric_name"])]
    long = pd.concat(parts, ignore_index=True) if parts else _rows(np.empty(0, np.int64), "", None)
    taken = frame.iloc[long["row"]][columns].reset_index(drop=True)
    long = pd.concat([taken, long.drop(columns="row")], axis=1)
    long["metric"] = long["metric_name"]
    # A lower loss and fewer epochs are better, whatever the metric.
    long["metric_name"] = long["metric_name"].where(long["measure"] == METRIC_AREA, "loss")
    counts = frame.groupby(keys, dropna=False, observed=True).size()
    return _Measured(keys, match, counts.rename("seeds").reset_index(), long)


def _of_losses(frame: pd.DataFrame, levels: Sequence[float] | None) -> Iterator[pd.DataFrame]:
    curves = _loss_curves(frame)
    if not len(curves.row):
        return
    jobs = _loss_jobs(frame, curves)
    begin = curves.after(jobs.curve, jobs.start * curves.per_epoch[jobs.curve])
    end = curves.end[jobs.curve]
    epoch = curves.epoch
    area = _area(epoch, curves.value, begin, end)
    own = jobs.own
    rows = curves.row[jobs.curve]
    yield _rows(rows, AREA, jobs, area)
    whole = _area(epoch, curves.value, curves.first, curves.end)
    yield _rows(rows[own], RECORDED_AREA, _own(jobs), whole[jobs.curve[own]])
    yield _rows(rows, JUMP, jobs, _jump(curves, jobs, begin, end))
    yield _rows(rows, STAIRCASE, jobs, _staircase(curves, begin, end))
    for index, rule, level in _levels(frame, curves, levels):
        hit = _first_hit(curves.value <= level[curves.owner], begin[own], end[own])
        yield _reached(curves, _own(jobs), begin[own], hit, EPOCHS_TO_LOSS, index, rule, level)


def _of_evaluations(frame: pd.DataFrame, levels: Sequence[float] | None) -> Iterator[pd.DataFrame]:
    curves = _metric_curves(frame)
    if not len(curves.row):
        return
    count = len(curves.row)
    jobs = _Job(np.arange(count), np.zeros(count), np.ones(count, dtype=bool))
    names = frame["metric_name"].to_numpy()[curves.row]
    sign = np.array([float(direction(name)) for name in names])
    area = _area(curves.epoch, curves.value, curves.first, curves.end)
    yield _rows(curves.row, METRIC_AREA, jobs, area)
    for index, rule, level in _levels(frame, curves, levels):
        good = (curves.value - level[curves.owner]) * sign[curves.owner] >= 0
        hit = _first_hit(good, curves.first, curves.end)
        yield _reached(curves, jobs, curves.first, hit, EPOCHS_TO_METRIC, index, rule, level)


def _loss_curves(frame: pd.DataFrame) -> _Curves:
    part = with_losses(frame)
    part = part[pd.to_numeric(part["steps_per_epoch"]).notna()]
    per_epoch = pd.to_numeric(part["steps_per_epoch"]).to_numpy(np.float64)
    return _end_to_end(part.index.to_numpy(np.int64), per_epoch, list(recorded(part)))


def _metric_curves(frame: pd.DataFrame) -> _Curves:
    """Evaluations during training: those on validation where there are several splits."""
    if "curve" not in frame:
        return _end_to_end(np.empty(0, np.int64), np.empty(0), [])
    rows, found = [], []
    for row, points in zip(frame.index, frame["curve"], strict=True):
        if not isinstance(points, (list, tuple, np.ndarray)) or not len(points):
            continue
        rows.append(row)
        found.append(evaluations(points))
    return _end_to_end(np.array(rows, dtype=np.int64), np.ones(len(rows)), found)


def _end_to_end(rows: Index, per_epoch: Array, found: list[tuple[Array, Array]]) -> _Curves:
    sizes = np.array([len(step) for step, _ in found], dtype=np.int64)
    end = np.cumsum(sizes)
    step, value = (
        np.concatenate([pair[side] for pair in found]) if found else np.empty(0) for side in (0, 1)
    )
    kept = sizes > 0
    return _Curves(rows[kept], (end - sizes)[kept], end[kept], per_epoch[kept], step, value)


def _loss_jobs(frame: pd.DataFrame, curves: _Curves) -> _Job:
    """Every curve from where its hard part begins; baselines also from where each student's does.

    A student that was guided by a schedule other than one switch has no part known to be hard.
    """
    students = (frame["role"] == "student").to_numpy()[curves.row]
    guided = students & (frame["alpha"] != 1).to_numpy()[curves.row]
    switch = frame["switch_epoch"].to_numpy("float64", na_value=np.inf)[curves.row]
    start = np.where(guided, switch, 0.0)
    family = frame["family"].to_numpy()[curves.row]
    wanted = pd.DataFrame({"family": family, "start": start})[guided & (start > 0)]
    bases = pd.DataFrame({"family": family, "curve": np.arange(len(family))})[~students]
    more = bases.merge(wanted.drop_duplicates(), on="family")
    own = np.arange(len(curves.row))
    return _Job(
        curve=np.concatenate([own, more["curve"].to_numpy(np.int64)]),
        start=np.concatenate([start, more["start"].to_numpy(np.float64)]),
        own=np.concatenate([np.ones(len(own), bool), np.zeros(len(more), bool)]),
    )


def _own(jobs: _Job) -> _Job:
    return _Job(jobs.curve[jobs.own], jobs.start[jobs.own], jobs.own[jobs.own])


def _rows(
    rows: Index,
    measure: str,
    jobs: _Job | None,
    value: Array | None = None,
    state: NDArray[np.object_] | None = None,
    level: tuple[int, str | None, Array | float] = (_NO_LEVEL, None, np.nan),
) -> pd.DataFrame:
    """A long table of one measure: a row per job."""
    values = np.full(len(rows), np.nan) if value is None else value
    if state is None:
        state = np.full(len(rows), MEASURED, dtype=object)
        state[np.isnan(values)] = None
    index, rule, height = level
    start = np.zeros(len(rows)) if jobs is None else np.minimum(jobs.start, 1e9)
    return pd.DataFrame(
        {
            "row": rows,
            "own": np.ones(len(rows), bool) if jobs is None else jobs.own,
            "hard_from": start.astype(np.int64),
            "measure": measure,
            "level_index": index,
            "level": height,
            "level_rule": pd.Series([rule] * len(rows), dtype="str"),
            "state": pd.Series(state, dtype="str"),
            "value": values,
        }
    )


def _reached(
    curves: _Curves,
    jobs: _Job,
    begin: Index,
    hit: Index,
    measure: str,
    index: int,
    rule: str,
    level: Array,
) -> pd.DataFrame:
    """Epochs to a level, as a long table; a start of 0 lets each student meet its baseline."""
    end = curves.end[jobs.curve]
    known = (begin < end) & ~np.isnan(level[jobs.curve])
    never = hit >= end
    before = (hit == begin) & (jobs.start > 0)
    state = np.full(len(hit), REACHED, dtype=object)
    state[before] = BEFORE
    state[never] = NEVER
    state[~known] = None
    at = curves.epoch[np.minimum(hit, len(curves.step) - 1)]
    value = np.where(state == REACHED, at, np.nan)
    whole = _Job(jobs.curve, np.zeros(len(hit)), jobs.own)
    heights = (index, rule, level[jobs.curve])
    return _rows(curves.row[jobs.curve], measure, whole, value, state, heights)


def _levels(
    frame: pd.DataFrame, curves: _Curves, given: Sequence[float] | None
) -> Iterator[tuple[int, str, Array]]:
    """Each level: its number, its rule and its height for every curve (NaN without a baseline)."""
    if given is not None:
        for index, level in enumerate(given):
            yield index, "given", np.full(len(curves.row), float(level))
        return
    family = frame["family"].to_numpy()[curves.row]
    bases = np.flatnonzero((frame["role"] == "baseline").to_numpy()[curves.row])
    last = np.ceil(curves.epoch[curves.end - 1])
    for index, fraction in enumerate(FRACTIONS):
        steps = fraction * last[bases] * curves.per_epoch[bases]
        at = np.maximum(curves.after(bases, steps) - 1, curves.first[bases])
        seen = pd.Series(curves.value[at]).groupby(family[bases]).mean()
        heights: Array = np.asarray(seen.reindex(family), dtype=np.float64)
        yield index, f"baseline at {fraction:.0%} of its epochs", heights


def _area(x: Array, y: Array, begin: Index, end: Index) -> Array:
    """Trapezoid area over points begin..end divided by its length; NaN below two points."""
    pieces = np.zeros(len(x))
    pieces[1:] = np.diff(x) * (y[1:] + y[:-1]) / 2
    total = np.cumsum(pieces)
    first, last = np.minimum(begin, end - 1), end - 1
    length = x[last] - x[first]
    known = (begin < last) & (length > 0)
    return np.where(known, (total[last] - total[first]) / np.where(known, length, 1.0), np.nan)


def _jump(curves: _Curves, jobs: _Job, begin: Index, end: Index) -> Array:
    first = curves.first[jobs.curve]
    width = np.minimum(JUMP_POINTS, np.minimum(begin - first, end - begin))
    total = np.concatenate([[0.0], np.cumsum(curves.value)])
    points = np.maximum(width, 1)
    after = total[np.minimum(begin + points, end)] - total[begin]
    before = total[begin] - total[np.maximum(begin - points, first)]
    return np.where((width > 0) & (jobs.start > 0), (after - before) / points, np.nan)


def _staircase(curves: _Curves, begin: Index, end: Index) -> Array:
    """Mean drop at the boundaries between epochs, beyond the trend, of points begin..end."""
    owner, step, value = curves.owner, curves.step, curves.value
    within = np.floor((step - 1) / curves.per_epoch[owner])
    turns = np.flatnonzero((np.diff(owner) != 0) | (np.diff(within) != 0))
    heads = np.concatenate([[0], turns + 1])
    tails = np.concatenate([turns, [len(step) - 1]])
    span = step[tails] - step[heads]
    slope = np.where(span > 0, value[heads] - value[tails], np.nan) / np.where(span > 0, span, 1.0)
    left, right = tails[:-1], heads[1:]
    trend = (slope[:-1] + slope[1:]) / 2 * (step[right] - step[left])
    fall = value[left] - value[right] - trend
    next_epoch = (owner[left] == owner[right]) & (within[right] == within[left] + 1)
    kept = next_epoch & np.isfinite(fall)
    falls, counts = np.zeros(len(step) + 1), np.zeros(len(step) + 1)
    # Held by the later point, so that a boundary counts where both of its sides do.
    falls[left[kept] + 1], counts[left[kept] + 1] = fall[kept], 1
    total, number = np.cumsum(falls), np.cumsum(counts)
    last, first = end - 1, np.minimum(begin, end - 1)
    n = number[last] - number[first]
    return np.where(n > 0, (total[last] - total[first]) / np.maximum(n, 1), np.nan)


def _first_hit(good: NDArray[np.bool_], begin: Index, end: Index) -> Index:
    """The first point of begin..end that is good; `end` where none is."""
    positions = np.append(np.flatnonzero(good), len(good))
    found = positions[np.searchsorted(positions, begin)]
    return np.where(found < end, found, end)

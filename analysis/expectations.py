"""Settings that somebody expected to do best, against what was found.

What was expected before a study was run is no pick of its results, so its test needs no correction
for the grid. It is asked whether the expected settings do better, seed by seed, than the others of
the same dataset and teacher, and whether the best mean is among them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import words
from analysis.cells import tidy
from analysis.columns import direction
from analysis.contrasts import Grid, contrasts, guided_grids, judged


def expected_settings(cells: pd.DataFrame, expected: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """What became of what was expected.

    Args:
        cells: One row per requested cell.
        expected: Each `dataset` and `teacher` (null: all), `alpha` and `switch_epoch` (lists;
            empty: all).

    Returns:
        One row per expectation and dataset: `dataset`, `metric_name`, `expected` (in words),
        `configurations` (expected ones with results) and `others`, `n` (seeds), `difference`
        (expected - others, paired over seeds), `ci_low`, `ci_high`, `p`, `p_holm` (over this
        table), `verdict`, `best` (the best mean of that dataset and teacher, in words),
        `best_expected` (whether it is among them).

    Raises:
        ValueError: See `analysis.cells.tidy`.
    """
    frame = tidy(cells)
    metrics = frame.dropna(subset=["metric_name"]).groupby("dataset")["metric_name"].first()
    grids = guided_grids(frame)
    rows: list[dict[str, Any]] = []
    tables: list[pd.DataFrame] = []
    for one in expected:
        for dataset, grid in grids.items():
            if one.get("dataset") in (None, dataset):
                row, by_seed = _met(grid, one, metrics[dataset])
                rows.append({"dataset": dataset, "metric_name": metrics[dataset], **row})
                tables.append(contrasts({"": by_seed}))
    if not rows:
        return pd.DataFrame(rows)
    signs = [direction(row["metric_name"]) for row in rows]
    found = judged(pd.concat(tables, ignore_index=True), signs)
    return pd.concat([pd.DataFrame(rows), found.drop(columns=["contrast", "deviation"])], axis=1)


def _met(
    grid: Grid, expected: Mapping[str, Any], metric: str
) -> tuple[dict[str, Any], "np.ndarray[Any, np.dtype[np.float64]]"]:
    """One row, and the differences of expected and other settings, shape (seeds,)."""
    asked = grid.configurations
    pool = (
        grid.where() if expected.get("teacher") is None else grid.where(teacher=expected["teacher"])
    )
    chosen = pool.copy()
    for column in ("alpha", "switch_epoch"):
        if expected.get(column):
            chosen &= asked[column].isin(list(expected[column])).to_numpy(dtype=bool)
    others = pool & ~chosen
    by_seed = np.empty(0)
    if chosen.any() and others.any():
        by_seed = grid.metric[chosen].mean(axis=0) - grid.metric[others].mean(axis=0)
    best = best_expected = None
    if pool.any():
        rank = np.where(pool, grid.metric.mean(axis=1) * direction(metric), -np.inf)
        first = int(rank.argmax())
        best = words.configuration({"role": "student", **asked.iloc[first].to_dict()})
        best_expected = bool(chosen[first])
    row = {
        "expected": _described(expected),
        "configurations": int(chosen.sum()),
        "others": int(others.sum()),
        "best": best,
        "best_expected": best_expected,
    }
    return row, by_seed


def _described(expected: Mapping[str, Any]) -> str:
    parts = [f"{expected['teacher']} teacher"] if expected.get("teacher") is not None else []
    for column, name in (("alpha", "alpha"), ("switch_epoch", "switch")):
        values = list(expected.get(column) or ())
        if len(values) > 3 and values == sorted(values):
            parts.append(f"{name} {words.number(values[0])} to {words.number(values[-1])}")
        elif values:
            parts.append(f"{name} {words.listed(words.number(value) for value in values)}")
    return ", ".join(parts) or "any setting"

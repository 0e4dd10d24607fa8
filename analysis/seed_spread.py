"""Does guidance change how much results vary over seeds?

Brown and Forsythe's test (1974): an analysis of variance of the absolute distances from each group's
median, which keeps its level where noise is not normal. It takes groups as independent. Here they
share seeds; where that makes student and baseline rise and fall together the test errs on the careful
side.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.cells import configuration_keys, matching_keys, tidy
from analysis.intervals import SIGNIFICANCE, Array, holm
from analysis.pairs import MIN_PAIRS, paired

VERDICTS = ("varies more", "varies less", "no clear difference", "cannot say", "same trial")


def stability(cells: pd.DataFrame) -> pd.DataFrame:
    """The spread over seeds of every student configuration against its baseline's.

    Args:
        cells: One row per requested cell.

    Returns:
        One row per student configuration: the keys, `metric_name`, `n`, `n_baseline` (seeds with a
        result on each side; they need not be the same), `deviation`, `deviation_baseline` (ddof 1),
        `ratio` of the two, `statistic` (Brown and Forsythe's F), `p`, `p_holm` (the family is every
        row with a test) and `verdict`: "varies more" or "varies less" where p_holm < 0.05, "no clear
        difference" where it is not, "cannot say" without a test or where a side has fewer seeds than
        `analysis.pairs.MIN_PAIRS`, "same trial" where every seed is the baseline's own trial. No
        test (NaN) where a side has fewer than three seeds or no distance varies.

    Raises:
        ValueError: See `analysis.pairs.paired`.
    """
    frame = tidy(cells)
    keys = configuration_keys(frame)
    table = _beside_baseline(frame, keys)
    columns = ("n", "distance", "squares")
    sides = [np.stack([table[c], table[f"{c}_baseline"]]) for c in columns]
    table["statistic"], _, _, table["p"] = brown_forsythe(*sides)
    table["p"] = table["p"].mask(table["same_trial"])
    table["p_holm"] = holm(table["p"])
    found = table["p_holm"] < SIGNIFICANCE
    unknown = table["p"].isna() | (table[["n", "n_baseline"]].min(axis=1) < MIN_PAIRS)
    table["verdict"] = np.select(
        [table["same_trial"], unknown, found & (table["ratio"] > 1), found],
        ["same trial", "cannot say", "varies more", "varies less"],
        default="no clear difference",
    )
    kept = ["metric_name", "n", "n_baseline", "deviation", "deviation_baseline", "ratio"]
    return table[[*keys, *kept, "statistic", "p", "p_holm", "verdict"]]


def overall_stability(cells: pd.DataFrame) -> pd.DataFrame:
    """Whether all configurations of a dataset, baselines among them, have one variance.

    Args:
        cells: One row per requested cell.

    Returns:
        One row per dataset with students: `metric_name`, `groups` (configurations and baselines
        with at least three seeds; students that are the baseline's own trials are left out),
        `statistic` (Brown and Forsythe's F over all groups), `df_between`, `df_within`, `p` (not
        corrected: one test per dataset); `deviation_students`, `deviation_baseline` (pooled: root
        of the variances' mean, weighted by n - 1) and their `ratio`; `more`, `less`: student
        configurations that vary more and less than their baseline, by chance or not.

    Raises:
        ValueError: See `analysis.pairs.paired`.
    """
    frame = tidy(cells)
    keys = configuration_keys(frame)
    table = _beside_baseline(frame, keys)
    rows = []
    for dataset, part in table.groupby("dataset", sort=True):
        students = part[~part["same_trial"] & (part["n"] >= 3)]
        baselines = part[part["n_baseline"] >= 3].drop_duplicates("group_baseline")
        needed = ("n", "distance", "squares", "deviation")
        n, distance, squares, deviation = (
            np.concatenate([students[c], baselines[f"{c}_baseline"]]) for c in needed
        )
        statistic, between, within, p = brown_forsythe(n, distance, squares)
        guided = np.arange(len(n)) < len(students)
        pooled = [_pooled(deviation[side], n[side]) for side in (guided, ~guided)]
        rows.append(
            {
                "dataset": dataset,
                "metric_name": part["metric_name"].iloc[0],
                "groups": len(n),
                "statistic": float(statistic),
                "df_between": int(between),
                "df_within": int(within),
                "p": float(p),
                "deviation_students": pooled[0],
                "deviation_baseline": pooled[1],
                "ratio": pooled[0] / pooled[1] if pooled[1] else np.nan,
                "more": int((students["ratio"] > 1).sum()),
                "less": int((students["ratio"] < 1).sum()),
            }
        )
    columns = ["dataset", "metric_name", "groups", "statistic", "df_between", "df_within", "p"]
    columns += ["deviation_students", "deviation_baseline", "ratio", "more", "less"]
    return pd.DataFrame(rows, columns=columns)


def brown_forsythe(
    n: ArrayLike, distance: ArrayLike, squares: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    """Brown and Forsythe's test from what each group says of its distances |x - median|.

    Args:
        n: Sizes, shape (groups, ...).
        distance: Mean distances, same shape.
        squares: Sums of squares of the distances around their mean, same shape.

    Returns:
        F, its two degrees of freedom, and p, each of shape (...). F and p are NaN for fewer than
        two groups, for a group of fewer than three (two values have one distance) and where no
        distance varies within its group.
    """
    from scipy.special import fdtrc

    count, mean, inner = (np.asarray(a, dtype=np.float64) for a in (n, distance, squares))
    groups, total = count.shape[0], count.sum(axis=0)
    between, within = np.full_like(total, groups - 1), total - groups
    known = (groups >= 2) & (count >= 3).all(axis=0) & (inner.sum(axis=0) > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = (count * mean).sum(axis=0) / total
        outer = (count * (mean - centre) ** 2).sum(axis=0)
        statistic = np.where(known, outer / between / (inner.sum(axis=0) / within), np.nan)
    p = np.where(known, fdtrc(between, within, np.where(known, statistic, 1.0)), np.nan)
    return statistic, between, within, p


def _beside_baseline(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Student configurations with what `brown_forsythe` needs of them and of their baselines."""
    match = matching_keys(frame)
    done = frame.assign(value=frame["test_metric"].where(frame["done"]))
    students = _distances(done[done["role"] == "student"], keys)
    baselines = _distances(done[done["role"] == "baseline"], match)
    baselines = baselines.drop(columns="metric_name").assign(group=np.arange(len(baselines)))
    table = students.merge(baselines, on=match, how="left", suffixes=("", "_baseline"))
    table = table.rename(columns={"group": "group_baseline"})
    table["n_baseline"] = table["n_baseline"].fillna(0).astype(int)
    spread = table["deviation_baseline"].where(table["deviation_baseline"] > 0)
    table["ratio"] = table["deviation"] / spread
    return table.merge(paired(frame)[[*keys, "same_trial"]], on=keys, how="left")


def _distances(part: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    groups = part.groupby(keys, dropna=False, sort=True, observed=True)
    away = (part["value"] - groups["value"].transform("median")).abs()
    named = part.assign(away=away)
    table = named.groupby(keys, dropna=False, sort=True, observed=True).agg(
        metric_name=("metric_name", "first"),
        n=("value", "count"),
        deviation=("value", "std"),
        distance=("away", "mean"),
        squares=("away", "var"),
    )
    table["squares"] *= table["n"] - 1
    return table.reset_index()


def _pooled(deviation: Array, n: Array) -> float:
    return float(np.sqrt(((n - 1) * deviation**2).sum() / (n - 1).sum())) if len(n) else np.nan

"""What is left of a network under attack, per epsilon, and against the baseline of the same seeds.

For accuracy the value is the percentage of all test samples still classified correctly, of `fgsm-all`
and of noise that of samples classified correctly under it; for regression it is the MSE on attacked
inputs. Epsilon acts in the space of the normalised inputs, for noise on weights in that of the
weights. A drop is how much worse than clean a trial is, in the unit of the metric: points of accuracy
lost, or MSE gained. A single-step attack is weak: its values are an upper bound of robustness.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.cells import configuration_keys, matching_keys, parameters, tidy
from analysis.columns import EPSILON_DECIMALS, KEY, direction
from analysis.intervals import t_interval
from analysis.pairs import pair_up

_PAIRED = {
    "n_pairs": "n_pairs",
    "unpaired_seeds": "unpaired_seeds",
    "difference": "difference",
    "deviation": "difference_deviation",
    "ci_low": "difference_ci_low",
    "ci_high": "difference_ci_high",
    "p": "p",
    "p_wilcoxon": "p_wilcoxon",
    "verdict": "verdict",
}
_FIGURES = ("value", "clean", "drop", "drop_percent")


def attacked(cells: pd.DataFrame) -> pd.DataFrame:
    """The nested `robustness` column as a long table.

    Returns:
        One row per finished cell, attack and epsilon (to `EPSILON_DECIMALS`) with a finite figure: the
        parameters, `seed`, `trial_id`, `metric_name`, `attack`, `epsilon`, `value`, `clean` (the metric
        without an attack), `drop` (how much worse than that) and `drop_percent` (the same in percent of
        clean; null where clean is zero). Empty where nothing was attacked.

    Raises:
        ValueError: See `analysis.cells.tidy`; or a metric whose direction is not known.
    """
    frame = tidy(cells)
    if "robustness" not in frame:
        frame["robustness"] = None
    kept = [*KEY, *parameters(frame), "seed", "trial_id", "metric_name"]
    rows: list[int] = []
    entries: list[tuple[str, float, float]] = []
    for position, (done, points) in enumerate(zip(frame["done"], frame["robustness"], strict=True)):
        if not done or not isinstance(points, (list, tuple, np.ndarray)):
            continue
        for point in points:
            if point["value"] is not None and math.isfinite(point["value"]):
                rows.append(position)
                entries.append((point["attack"], point["epsilon"], point["value"]))
    long = frame.iloc[rows][kept].reset_index(drop=True)
    long["attack"] = pd.Series([entry[0] for entry in entries], dtype="str")
    epsilon = np.array([entry[1] for entry in entries], dtype=np.float64)
    long["epsilon"] = np.round(epsilon, EPSILON_DECIMALS)
    long["value"] = np.array([entry[2] for entry in entries], dtype=np.float64)
    clean = frame["test_metric"].to_numpy(dtype=np.float64)
    long["clean"] = clean[rows]
    # Strengths of one trial may have become one: it counts once.
    again = long[["attack", "epsilon"]].assign(position=rows).duplicated()
    long = long[~again].reset_index(drop=True)
    long["drop"] = (long["clean"] - long["value"]) * signs(long["metric_name"])
    long["drop_percent"] = 100 * long["drop"] / long["clean"].where(long["clean"] != 0)
    return long


def attack_pairs(long: pd.DataFrame, keys: Sequence[str], match: Sequence[str]) -> pd.DataFrame:
    """Every student trial under every attack, beside the baseline of its seed.

    Args:
        long: See `attacked`.
        keys: What tells configurations apart.
        match: What a student and its baseline have in common, beside the seed.

    Returns:
        One row per student trial, attack and epsilon that its baseline has as well: the keys,
        `attack`, `epsilon`, `seed`, `metric_name`, `trial_id`, the figures of `attacked`, and those
        of the baseline with the ending `_baseline`.
    """
    shared = [*match, "attack", "epsilon", "seed"]
    own = [*dict.fromkeys([*keys, *shared, "metric_name", "trial_id", *_FIGURES])]
    baselines = long.loc[long["role"] == "baseline", [*shared, "trial_id", *_FIGURES]]
    return long.loc[long["role"] == "student", own].merge(
        baselines.drop_duplicates(shared), on=shared, suffixes=("", "_baseline")
    )


def signs(metric_names: "pd.Series[str]") -> "pd.Series[float]":
    """+1 where a higher metric is better, -1 where a lower one is; see `columns.direction`."""
    known = {name: float(direction(name)) for name in metric_names.dropna().unique()}
    return metric_names.map(known).astype("float64").fillna(1.0)


def attack_means(cells: pd.DataFrame) -> pd.DataFrame:
    """Each configuration under each attack and epsilon, without a look at the baseline.

    Returns:
        One row per configuration, attack and epsilon: the keys, `metric_name`, `n`, `mean`,
        `deviation`, `clean`, `ci_low` and `ci_high`, as in `robustness`.

    Raises:
        ValueError: See `attacked`.
    """
    frame = tidy(cells)
    return _means_of_values(attacked(frame), configuration_keys(frame))


def _means_of_values(long: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    group = [*keys, "attack", "epsilon"]
    groups = long.groupby(group, dropna=False, sort=True, observed=True)
    table = groups.agg(
        metric_name=("metric_name", "first"),
        n=("value", "count"),
        mean=("value", "mean"),
        deviation=("value", "std"),
        clean=("clean", "mean"),
    ).reset_index()
    table["ci_low"], table["ci_high"] = t_interval(table["mean"], table["deviation"], table["n"])
    return table


def robustness(cells: pd.DataFrame) -> pd.DataFrame:
    """Each configuration under each attack and epsilon, with the paired difference to the baseline.

    Returns:
        One row per configuration, attack and epsilon: `metric_name`, `n`, `mean`, `deviation`,
        `ci_low`, `ci_high` of the value; `clean`, the mean metric of the same trials without an
        attack; `drop` with `drop_ci_low`, `drop_ci_high`, and the same for `drop_percent`, both
        paired within the trial (positive is worse). For students also `n_pairs`, `unpaired_seeds`,
        `difference`, `difference_deviation`, `difference_ci_low`, `difference_ci_high`, `p`,
        `p_wilcoxon` and `verdict`, as in `analysis.pairs.paired`, about the values; and the paired
        differences of the drops, `drop_difference` and `drop_percent_difference` with their intervals
        (negative: loses less than the baseline). All of these are null for baselines and teachers.
        Intervals are 95 % t intervals.

    Raises:
        ValueError: See `analysis.pairs.paired`.
    """
    frame = tidy(cells)
    long = attacked(frame)
    # What tells configurations apart is a fact of all cells, not only of the attacked ones.
    keys, match = configuration_keys(frame), matching_keys(frame)
    group = [*keys, "attack", "epsilon"]
    table = _means_of_values(long, keys)
    for figure in ("drop", "drop_percent"):
        table = table.merge(_means(long, group, figure, figure), on=group, how="left")
    pairs = pair_up(long, keys, match, by=["attack", "epsilon"])
    table = table.merge(pairs[[*group, *_PAIRED]].rename(columns=_PAIRED), on=group, how="left")
    beside = attack_pairs(long, keys, match)
    for figure in ("drop", "drop_percent"):
        beside["of_drops"] = beside[figure] - beside[f"{figure}_baseline"]
        found = _means(beside, group, "of_drops", f"{figure}_difference")
        table = table.merge(found, on=group, how="left")
    return table


def _means(rows: pd.DataFrame, group: list[str], column: str, name: str) -> pd.DataFrame:
    """The mean of a column per group, with its interval."""
    groups = rows.groupby(group, dropna=False, sort=True, observed=True)[column]
    table = groups.agg(["mean", "std", "count"])
    low, high = t_interval(table["mean"], table["std"], table["count"])
    found = pd.DataFrame(
        {name: table["mean"], f"{name}_ci_low": low, f"{name}_ci_high": high}, index=table.index
    )
    return found.reset_index()


def robustness_averages(cells: pd.DataFrame) -> pd.DataFrame:
    """Averages over the student configurations that are not the baseline's own trial.

    Returns:
        One row per dataset, attack and epsilon: `metric_name`, `configurations`, `students` (mean
        over configurations of their means over seeds), `students_min`, `students_max` (of those
        means), `students_drop` (how much worse than their clean figures), `baseline`, `baseline_ci_low`, `baseline_ci_high`, `baseline_n`, `baseline_drop`, and
        `difference` (students - baseline). Where several baselines exist, `baseline` is the mean of theirs.

    Raises:
        ValueError: See `attacked`.
    """
    frame = tidy(cells)
    own = frame.loc[frame["role"] == "baseline", "trial_id"].dropna()
    # A student with alpha 1 or switch epoch 0 is its baseline's trial: nobody guided it.
    unguided = (frame["role"] == "student") & frame["trial_id"].isin(own)
    table = attack_means(frame[~unguided])
    table["drop"] = (table["clean"] - table["mean"]) * signs(table["metric_name"])
    group = ["dataset", "attack", "epsilon"]
    students = table[table["role"] == "student"].groupby(group, sort=True)
    averages = students.agg(
        metric_name=("metric_name", "first"),
        configurations=("mean", "count"),
        students=("mean", "mean"),
        students_min=("mean", "min"),
        students_max=("mean", "max"),
        students_drop=("drop", "mean"),
    )
    baselines = table[table["role"] == "baseline"].groupby(group, sort=True)
    base = baselines.agg(
        baseline=("mean", "mean"),
        baseline_ci_low=("ci_low", "mean"),
        baseline_ci_high=("ci_high", "mean"),
        baseline_n=("n", "sum"),
        baseline_drop=("drop", "mean"),
    )
    result = averages.join(base, how="left")
    result["difference"] = result["students"] - result["baseline"]
    return result.reset_index()

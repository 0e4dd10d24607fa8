"""What is left of a network under attack, per epsilon, and against the baseline of the same seeds.

For accuracy the value is the percentage of all test samples still classified correctly; for
regression it is the MSE on attacked inputs. Epsilon acts in the space of the normalised inputs.
A single-step attack is weak: its values are an upper bound of robustness.
"""

import numpy as np
import pandas as pd

from analysis.cells import configuration_keys, matching_keys, parameters, tidy
from analysis.columns import KEY
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


def attacked(cells: pd.DataFrame) -> pd.DataFrame:
    """The nested `robustness` column as a long table.

    Returns:
        One row per finished cell, attack and epsilon: the parameters, `seed`, `trial_id`,
        `metric_name`, `attack`, `epsilon`, `value`. Empty where nothing was attacked.

    Raises:
        ValueError: See `analysis.cells.tidy`.
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
            if point["value"] is not None:
                rows.append(position)
                entries.append((point["attack"], point["epsilon"], point["value"]))
    long = frame.iloc[rows][kept].reset_index(drop=True)
    long["attack"] = pd.Series([entry[0] for entry in entries], dtype="str")
    epsilon = np.array([entry[1] for entry in entries], dtype=np.float64)
    long["epsilon"] = np.round(epsilon, 12)
    long["value"] = np.array([entry[2] for entry in entries], dtype=np.float64)
    return long


def robustness(cells: pd.DataFrame) -> pd.DataFrame:
    """Each configuration under each attack and epsilon, with the paired difference to the baseline.

    Returns:
        One row per configuration, attack and epsilon: `metric_name`, `n`, `mean`, `deviation`,
        `ci_low`, `ci_high`; for students also `n_pairs`, `unpaired_seeds`, `difference`,
        `difference_deviation`, `difference_ci_low`, `difference_ci_high`, `p`, `p_wilcoxon` and
        `verdict`, as in `analysis.pairs.paired` (null for baselines and teachers).

    Raises:
        ValueError: See `analysis.pairs.paired`.
    """
    long = attacked(cells)
    # What tells configurations apart is a fact of all cells, not only of the attacked ones.
    frame = tidy(cells)
    keys = configuration_keys(frame)
    group = [*keys, "attack", "epsilon"]
    table = (
        long.groupby(group, dropna=False, sort=True, observed=True)
        .agg(
            metric_name=("metric_name", "first"),
            n=("value", "count"),
            mean=("value", "mean"),
            deviation=("value", "std"),
        )
        .reset_index()
    )
    table["ci_low"], table["ci_high"] = t_interval(table["mean"], table["deviation"], table["n"])
    pairs = pair_up(long, keys, matching_keys(frame), by=["attack", "epsilon"])
    return table.merge(pairs[[*group, *_PAIRED]].rename(columns=_PAIRED), on=group, how="left")


def robustness_averages(cells: pd.DataFrame) -> pd.DataFrame:
    """Averages over all student configurations, per dataset, attack and epsilon.

    Returns:
        One row per dataset, attack and epsilon: `metric_name`, `configurations`, `students` (mean
        over configurations of their means over seeds), `students_min`, `students_max` (of those
        means), `baseline`, `baseline_ci_low`, `baseline_ci_high`, `baseline_n`, and `difference`
        (students - baseline). Where several baselines exist, `baseline` is the mean of theirs.

    Raises:
        ValueError: See `analysis.pairs.paired`.
    """
    table = robustness(cells)
    group = ["dataset", "attack", "epsilon"]
    students = table[table["role"] == "student"].groupby(group, sort=True)
    averages = students.agg(
        metric_name=("metric_name", "first"),
        configurations=("mean", "count"),
        students=("mean", "mean"),
        students_min=("mean", "min"),
        students_max=("mean", "max"),
    )
    baselines = table[table["role"] == "baseline"].groupby(group, sort=True)
    base = baselines.agg(
        baseline=("mean", "mean"),
        baseline_ci_low=("ci_low", "mean"),
        baseline_ci_high=("ci_high", "mean"),
        baseline_n=("n", "sum"),
    )
    result = averages.join(base, how="left")
    result["difference"] = result["students"] - result["baseline"]
    return result.reset_index()

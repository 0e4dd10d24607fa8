"""What classes a network gets right: scores as means over classes, and the error of each class.

The error of a class is the share of its test rows that are taken for another: 1 - recall.
"""

import numpy as np
import pandas as pd

from analysis.cells import configuration_keys, matching_keys, tidy
from analysis.intervals import t_interval
from analysis.measure_names import CLASS_SCORES
from analysis.measures import measure
from analysis.seed_means import over_seeds


def class_scores(cells: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall and F1 of each configuration, as means over classes that count alike.

    Args:
        cells: One row per requested cell, with `per_class`.

    Returns:
        One row per configuration with such figures: the keys, `n` (seeds), `n_asked`, and for each
        of `precision`, `recall` and `f1` its mean over seeds in percent, with `_deviation` (ddof 1),
        `_ci_low` and `_ci_high` (95 % t interval).

    Raises:
        ValueError: See `analysis.cells.tidy`.
    """
    frame = tidy(cells)
    keys = configuration_keys(frame)
    table = pd.DataFrame()
    for name in CLASS_SCORES:
        found = over_seeds(frame.assign(value=measure(frame, name)), keys, "value")
        if table.empty:
            table = found[[*keys, "n", "n_asked"]].copy()
        table[name] = found["mean"]
        for column in ("deviation", "ci_low", "ci_high"):
            table[f"{name}_{column}"] = found[column]
    return table[table["n"] > 0].reset_index(drop=True)


def error_reduction(cells: pd.DataFrame) -> pd.DataFrame:
    """How much of the baseline's error each student takes away, class by class.

    Args:
        cells: One row per requested cell, with `per_class`.

    Returns:
        One row per student configuration and class that has test rows: the keys, `label`, `n_pairs`
        (seeds that both have), `baseline_error` and `student_error` (percent, means over those),
        `reduction` (their difference in percent of the baseline's error; NaN where that is zero:
        positive is better) and `difference` (student - baseline in points, mean over seeds) with
        its paired 95 % t interval `ci_low`, `ci_high`.

    Raises:
        ValueError: See `analysis.cells.tidy`.
    """
    frame = tidy(cells)
    keys, match = configuration_keys(frame), matching_keys(frame)
    errors = class_errors(frame, [*dict.fromkeys([*keys, *match])])
    shared = [*match, "seed", "label"]
    bases = errors.loc[errors["role"] == "baseline", [*shared, "error"]].drop_duplicates(shared)
    rows = errors[errors["role"] == "student"].merge(bases, on=shared, suffixes=("", "_baseline"))
    rows["change"] = rows["error"] - rows["error_baseline"]
    table = (
        rows.groupby([*keys, "label"], dropna=False, sort=True, observed=True)
        .agg(
            n_pairs=("change", "count"),
            baseline_error=("error_baseline", "mean"),
            student_error=("error", "mean"),
            difference=("change", "mean"),
            deviation=("change", "std"),
        )
        .reset_index()
    )
    base = table["baseline_error"].where(table["baseline_error"] > 0)
    reduction = 100 * (table["baseline_error"] - table["student_error"]) / base
    table.insert(list(table.columns).index("difference"), "reduction", reduction)
    table["ci_low"], table["ci_high"] = t_interval(
        table["difference"], table.pop("deviation"), table["n_pairs"]
    )
    return table


def class_errors(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The error of every class in every finished trial of a tidy table.

    Returns:
        One row per finished cell and class that has test rows: the columns that are named, `seed`,
        `label` and `error` (percent).
    """
    rows: list[int] = []
    found: list[tuple[int, float]] = []
    nested = frame["per_class"] if "per_class" in frame else [None] * len(frame)
    for position, (done, classes) in enumerate(zip(frame["done"], nested, strict=True)):
        if done and isinstance(classes, (list, tuple, np.ndarray)):
            for one in classes:
                if one["support"] > 0:
                    rows.append(position)
                    found.append((int(one["label"]), 100 * (1 - float(one["recall"]))))
    long = frame.iloc[rows][[*columns, "seed"]].reset_index(drop=True)
    long["label"] = np.array([label for label, _ in found], dtype=np.int64)
    long["error"] = np.array([error for _, error in found], dtype=np.float64)
    return long

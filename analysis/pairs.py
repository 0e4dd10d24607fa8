"""Students against the baseline of the same seeds.

A seed fixes initialisation and data order of student and baseline alike, so the difference per
seed has less noise than the difference of two means; the tests are those for paired samples. A
seed that is there on one side only is counted, never dropped in silence.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.cells import configuration_keys, matching_keys, tidy
from analysis.columns import direction
from analysis.intervals import t_interval, t_p_value
from analysis.signed_rank import signed_rank_p

VERDICTS = ("better", "worse", "no clear difference", "cannot say", "same trial")


MIN_PAIRS = 3
"""Two differences can agree by rounding alone and give an interval of no width."""


def paired(cells: pd.DataFrame) -> pd.DataFrame:
    """The paired difference of every student configuration to the baseline of the same seeds.

    Args:
        cells: One row per requested cell.

    Returns:
        One row per student configuration: the keys, `metric_name` and

        - `n_pairs`: seeds with a result on both sides; `unpaired_seeds`: on one side only;
        - `difference`: mean of student - baseline, in the metric's unit; `deviation` of the
          differences (ddof 1); `ci_low`, `ci_high`: its 95 % t interval;
        - `p`: paired t test; `p_wilcoxon`: exact signed-rank test; neither is corrected for the
          number of configurations;
        - `better`: whether the mean difference is in the metric's good direction (null without
          pairs); `same_trial`: every pair is one trial (alpha 1 or switch epoch 0);
        - `verdict`: "better" or "worse" where the interval excludes zero, "no clear difference"
          where it does not, "cannot say" below `MIN_PAIRS` pairs, "same trial".

    Raises:
        ValueError: See `analysis.cells.tidy`; or a metric whose direction is not known.
    """
    frame = tidy(cells)
    keys, match = configuration_keys(frame), matching_keys(frame)
    frame["value"] = frame["test_metric"].where(frame["done"])
    return pair_up(frame, keys, match)


def pair_up(
    frame: pd.DataFrame, keys: Sequence[str], match: Sequence[str], by: Sequence[str] = ()
) -> pd.DataFrame:
    """Pairs a column `value` of students with that of baselines; the core of `paired`.

    Args:
        frame: A tidy table with `value` (NaN where there is no result).
        keys: What tells configurations apart.
        match: What a student and its baseline have in common, beside the seed.
        by: Further columns both sides have in common (attack, epsilon).

    Returns:
        See `paired`, with the columns of `by` after the keys.
    """
    shared = [*match, *by]
    columns = [*shared, "seed", "value", "trial_id"]
    students = frame[frame["role"] == "student"]
    baselines = frame.loc[frame["role"] == "baseline", columns].drop_duplicates([*shared, "seed"])
    rows = students[[*dict.fromkeys([*keys, *columns, "metric_name"])]].merge(
        baselines, on=[*shared, "seed"], how="left", suffixes=("", "_baseline")
    )
    rows["difference"] = rows["value"] - rows["value_baseline"]
    rows["same"] = (rows["trial_id"] == rows["trial_id_baseline"]).fillna(False).astype(bool)
    rows["other"] = rows["difference"].notna() & ~rows["same"]
    group = [*keys, *by]
    groups = rows.groupby(group, dropna=False, sort=True, observed=True)
    table = groups.agg(
        metric_name=("metric_name", "first"),
        n_pairs=("difference", "count"),
        unpaired_seeds=("value", "count"),
        others=("other", "sum"),
        difference=("difference", "mean"),
        deviation=("difference", "std"),
    ).reset_index()
    available = baselines.groupby(shared, dropna=False, observed=True)["value"].count()
    table = table.merge(
        available.rename("baselines").reset_index(), on=shared, how="left", sort=False
    )
    table["unpaired_seeds"] += table.pop("baselines").fillna(0).astype(int) - 2 * table["n_pairs"]
    statistics = (table["difference"], table["deviation"], table["n_pairs"])
    table["ci_low"], table["ci_high"] = t_interval(*statistics)
    table["p"] = t_p_value(*statistics)
    table["p_wilcoxon"] = [
        signed_rank_p(values[~np.isnan(values)])
        for values in (part.to_numpy() for _, part in groups["difference"])
    ]
    table["same_trial"] = (table["n_pairs"] > 0) & (table.pop("others") == 0)
    sign = _sign(table["metric_name"])
    gain = table["difference"] * sign
    table["better"] = (gain > 0).astype("boolean").where(table["n_pairs"] > 0)
    table["verdict"] = np.select(
        [
            table["same_trial"],
            table["n_pairs"] < MIN_PAIRS,
            np.where(sign > 0, table["ci_low"] > 0, table["ci_high"] < 0),
            np.where(sign > 0, table["ci_high"] < 0, table["ci_low"] > 0),
        ],
        ["same trial", "cannot say", "better", "worse"],
        default="no clear difference",
    )
    return table


def _sign(metric_names: "pd.Series[str]") -> "pd.Series[float]":
    signs = {name: float(direction(name)) for name in metric_names.dropna().unique()}
    return metric_names.map(signs).astype("float64").fillna(1.0)

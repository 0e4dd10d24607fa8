"""Is a student more robust than the baseline, or only better or worse at everything?

Two answers. First, students that are *equal* to the baseline without an attack: two one-sided tests
(Schuirmann, 1987) find that the paired difference is smaller than a tolerance, which is the case
where its 90 % t interval lies within it. Not having found a difference would not be enough: with few
seeds nothing is found. Second, for every student, the gain that is left once its difference without
an attack is taken into account: analysis of covariance with the clean metric as covariate (Fisher,
1932). Its slope is that within configurations, from seed to seed, pooled over all of them: the slope
between configurations would take for a property of accuracy what guidance did to both.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.attacks import attack_pairs, attacked, signs
from analysis.cells import configuration_keys, matching_keys, tidy
from analysis.equivalence import negligible
from analysis.intervals import holm, t_interval, t_p_value

_POOL = ["dataset", "attack", "epsilon"]
_ROUNDING = 1e-24
"""Squared deviations below this part of the squares are what rounding leaves of equal values."""


def robustness_at_equal_accuracy(
    cells: pd.DataFrame,
    dataset: str | None = None,
    tolerance: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Every student under every attack and epsilon: what is gained beyond the clean metric.

    Args:
        cells: One row per requested cell.
        dataset: Only this one.
        tolerance: The largest difference without an attack that still counts as equal, by metric
            name and in its unit. For a metric that is not named: 0.5 points of accuracy; of any other,
            per dataset, 2 % of the baseline's mean.

    Returns:
        One row per student configuration, attack and epsilon that is attacked on both sides, but for
        those that are the baseline's own trial; per dataset, attack and epsilon those of equal
        accuracy first, the largest gain on top. The keys, `attack`, `epsilon`, `metric_name`, and

        - `n_pairs`: seeds with a result on both sides;
        - `clean_difference` (student - baseline) with its 90 % t interval `clean_ci_low`,
          `clean_ci_high`; `tolerance`; `equal_accuracy`: whether the interval lies within it;
        - `gain`: how much better than the baseline under attack, paired, positive is better for any
          metric, with its 95 % t interval `gain_ci_low`, `gain_ci_high` and its `p`;
        - `p_holm`: `p` after Holm, the family being all rows of equal accuracy (null for others): the
          best of many looks better than it is;
        - `slope`: how much the attacked metric changes with the clean one from seed to seed;
          `adjusted_gain` = gain at equal clean metric, with its 95 % interval `adjusted_ci_low`,
          `adjusted_ci_high` (jackknife over seeds, slope included; t with n - 1 degrees). Far from
          the baseline it extrapolates. Null where the clean metric does not vary.

    Raises:
        ValueError: See `analysis.cells.tidy`; an unknown dataset; or a tolerance that is not positive.
    """
    for name, value in (tolerance or {}).items():
        if not value > 0:
            raise ValueError(f"tolerance: {name} = {value}: must be above 0")
    frame = tidy(cells)
    known = sorted(frame["dataset"].unique())
    if dataset is not None and dataset not in known:
        raise ValueError(f"dataset: {dataset!r} is not one of {', '.join(known)}")
    keys, match = configuration_keys(frame), matching_keys(frame)
    long = attacked(frame if dataset is None else frame[frame["dataset"] == dataset])
    group = [*keys, "attack", "epsilon"]
    pairs = attack_pairs(long, keys, match)
    pairs = pairs[pairs["trial_id"].isna() | (pairs["trial_id"] != pairs["trial_id_baseline"])]
    pairs = pairs.dropna(subset=["value", "value_baseline"])
    pairs["clean_difference"] = pairs["clean"] - pairs["clean_baseline"]
    pairs["attacked_difference"] = pairs["value"] - pairs["value_baseline"]
    pairs["gain"] = pairs["attacked_difference"] * signs(pairs["metric_name"])
    table = (
        pairs.groupby(group, dropna=False, sort=True, observed=True)
        .agg(
            metric_name=("metric_name", "first"),
            n_pairs=("gain", "count"),
            clean_difference=("clean_difference", "mean"),
            clean_deviation=("clean_difference", "std"),
            clean_baseline=("clean_baseline", "mean"),
            gain=("gain", "mean"),
            gain_deviation=("gain", "std"),
        )
        .reset_index()
    )
    clean = (table["clean_difference"], table.pop("clean_deviation"), table["n_pairs"])
    table["clean_ci_low"], table["clean_ci_high"] = t_interval(*clean, level=0.9)
    table["tolerance"] = _tolerance(table, table.pop("clean_baseline"), tolerance or {})
    table["equal_accuracy"] = (table["clean_ci_low"] > -table["tolerance"]) & (
        table["clean_ci_high"] < table["tolerance"]
    )
    gain = (table["gain"], table.pop("gain_deviation"), table["n_pairs"])
    table["gain_ci_low"], table["gain_ci_high"] = t_interval(*gain)
    table["p"] = t_p_value(*gain)
    table["p_holm"] = holm(table["p"].where(table["equal_accuracy"]))
    table = table.merge(_adjusted(long, pairs, keys), on=group, how="left")
    order = [*_POOL, "equal_accuracy", "gain"]
    table = table.sort_values(order, ascending=[True] * 3 + [False] * 2, kind="stable")
    return table.reset_index(drop=True)


def _tolerance(
    table: pd.DataFrame, baseline: "pd.Series[float]", given: Mapping[str, float]
) -> "pd.Series[float]":
    mean = baseline.groupby(table["dataset"]).transform("mean")
    usual = negligible(table["metric_name"], mean)
    return table["metric_name"].map(dict(given)).astype("float64").fillna(usual)


def _adjusted(long: pd.DataFrame, pairs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The slope of each pool, and each student's gain at the baseline's clean metric.

    Leaving one seed out changes a sum of products of deviations from a mean of n by
    n / (n - 1) times the product of that seed, so no sum is taken twice.
    """
    group = [*keys, "attack", "epsilon"]
    rows = long[long["role"] != "teacher"].dropna(subset=["value", "clean"])
    rows = rows[[*dict.fromkeys([*group, "seed", "value", "clean"])]]
    groups = rows.groupby(group, dropna=False, observed=True)
    n = groups["clean"].transform("count")
    x = rows["clean"] - groups["clean"].transform("mean")
    y = rows["value"] - groups["value"].transform("mean")
    without = (n / (n - 1)).where(n > 1, 0.0)
    rows = rows.assign(xx=x * x, xy=x * y, less_xx=without * x * x, less_xy=without * x * y)
    rows["rounding"] = _ROUNDING * rows["clean"] ** 2
    of_pool = rows.groupby(_POOL, observed=True)[["xx", "xy", "rounding"]].sum()
    of_seed = rows.groupby([*_POOL, "seed"], observed=True)[["less_xx", "less_xy"]].sum()
    slopes = of_seed.join(of_pool)
    slopes["slope"] = slopes["xy"] / slopes["xx"].where(slopes["xx"] > slopes["rounding"])
    left = slopes["xx"] - slopes["less_xx"]
    slopes["slope_without"] = (slopes["xy"] - slopes["less_xy"]) / left.where(
        left > slopes["rounding"]
    )
    beside = pairs.merge(
        slopes[["slope", "slope_without"]].reset_index(), on=[*_POOL, "seed"], how="left"
    )
    groups = beside.groupby(group, dropna=False, observed=True)
    count = groups["gain"].transform("count")
    attack, clean = beside["attacked_difference"], beside["clean_difference"]
    sign = signs(beside["metric_name"])

    def without_seed(values: "pd.Series[float]", name: str) -> "pd.Series[float]":
        others = groups[name].transform("sum") - values
        return others / (count - 1).where(count > 1)

    beside["left_out"] = sign * (
        without_seed(attack, "attacked_difference")
        - beside["slope_without"] * without_seed(clean, "clean_difference")
    )
    beside["adjusted"] = sign * (attack - beside["slope"] * clean)
    table = (
        beside.groupby(group, dropna=False, sort=True, observed=True)
        .agg(
            slope=("slope", "first"),
            adjusted_gain=("adjusted", "mean"),
            spread=("left_out", "std"),
            count=("left_out", "count"),
        )
        .reset_index()
    )
    # Jackknife: the variance of the estimate is (n - 1)^2 / n times that of those with a seed left out.
    deviation = table.pop("spread") * (table["count"] - 1)
    interval = t_interval(table["adjusted_gain"], deviation, table.pop("count"))
    table["adjusted_ci_low"], table["adjusted_ci_high"] = interval
    return table

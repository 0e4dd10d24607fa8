"""Means over seeds of any measure, for groups that may hold several configurations.

A seed counts once: its value is the mean over the configurations of the group. A seed of which one
of them has no result is left out and counted as missing, or its mean would be of another mixture.
"""

from collections.abc import Sequence

import pandas as pd

from analysis.intervals import t_interval


def over_seeds(rows: pd.DataFrame, by: Sequence[str], value: str, ddof: int = 1) -> pd.DataFrame:
    """The mean over seeds of a column, per group.

    Args:
        rows: `seed`, the columns of `by` (null is a value, too) and `value` (NaN: no result).
        by: What tells groups apart; empty for one group.
        value: The column.
        ddof: 1 for the sample deviation, 0 for the population's; intervals take the sample's.

    Returns:
        One row per group, in key order: the keys, `n` (seeds with a result), `n_asked`, `cells`,
        `configurations` (cells per seed), `mean`, `deviation` and the 95 % t interval of the mean
        `ci_low`, `ci_high` (NaN for n < 2).
    """
    keys = list(by) or ["all"]
    columns = ["seed", value]
    part = rows[[*by, *columns]] if by else rows[columns].assign(all=0)
    seeds = part.groupby([*keys, "seed"], dropna=False, sort=True, observed=True)[value]
    table = seeds.agg(mean="mean", known="count", cells="size").reset_index()
    table["mean"] = table["mean"].where(table["known"] == table["cells"])
    groups = table.groupby(keys, dropna=False, sort=True, observed=True)
    found = groups.agg(
        n=("mean", "count"),
        n_asked=("seed", "size"),
        cells=("cells", "sum"),
        configurations=("cells", "max"),
        deviation=("mean", "std"),
    )
    found.insert(4, "mean", groups["mean"].mean())
    found["ci_low"], found["ci_high"] = t_interval(found["mean"], found["deviation"], found["n"])
    if ddof != 1:
        found["deviation"] = groups["mean"].std(ddof=ddof)
    found = found.reset_index()
    return found if by else found.drop(columns="all")

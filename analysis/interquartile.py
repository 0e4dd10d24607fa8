"""The interquartile mean: the mean of the middle half, for which one failed seed is no matter.

Recommended for a few runs by Agarwal et al. (2021, "Deep reinforcement learning at the edge of the
statistical precipice"): it uses more of the values than the median and heeds outliers less than the
mean.
"""

import pandas as pd


def interquartile_means(
    values: "pd.Series[float]", groups: "pd.Series[int]", count: int
) -> "pd.Series[float]":
    """The interquartile mean of every group.

    A quarter of the n values is cut off at each end, rounded down to whole values, as
    `scipy.stats.trim_mean(x, 0.25)` does: n = 15 keeps 9, n = 5 keeps 3; below n = 4 nothing is
    cut and it is the plain mean.

    Args:
        values: Shape (values,); NaN is left out.
        groups: Number of the group of each value, 0 to `count` - 1, same shape.
        count: How many groups there are.

    Returns:
        Shape (count,), NaN for a group without values.
    """
    known = pd.DataFrame({"value": values, "group": groups}).dropna()
    known = known.sort_values(["group", "value"], kind="stable")
    same = known.groupby("group", sort=False)["value"]
    place, size = same.cumcount(), same.transform("size")
    cut = size // 4
    middle = known[(place >= cut) & (place < size - cut)]
    return middle.groupby("group")["value"].mean().reindex(range(count))

"""Wilcoxon's signed-rank test, exact at every sample size, ties included.

Accuracies are rounded to hundredths of a percent, so differences tie; the usual tables do not hold
then. The null distribution is counted over all sign patterns of the ranks that were observed
(Wilcoxon 1945; Hollander, Wolfe and Chicken 2014, section 3.1). Zero differences are dropped.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def smallest_p(pairs: int) -> float:
    """The smallest p value that so many pairs can give: all differences of one sign, 2 / 2**pairs.

    Ties do not change it: of all sign patterns only two have all ranks on one side.
    """
    return min(1.0, 2.0 / 2.0**pairs)


def signed_rank_p(differences: ArrayLike) -> float:
    """Two-sided p value of "the differences are symmetric around zero".

    Args:
        differences: Shape (pairs,).

    Returns:
        The exact p value; 1.0 where all differences are zero, NaN without any difference. It cannot
        fall below `smallest_p`: 0.25 for 3 pairs and 0.0625 for 5.
    """
    values = np.asarray(differences, dtype=np.float64)
    if np.isnan(values).any():
        return float("nan")
    return float(signed_rank_p_rows(values[np.newaxis])[0])


def signed_rank_p_rows(differences: ArrayLike) -> Array:
    """`signed_rank_p` of every row at once.

    Rows whose differences tie in the same way share one null distribution: without ties that is one
    for each number of pairs.

    Args:
        differences: Shape (rows, pairs); NaN where a row has fewer pairs.

    Returns:
        The exact p values, shape (rows,); see `signed_rank_p`.
    """
    values = np.asarray(differences, dtype=np.float64)
    there = ~np.isnan(values)
    p_values = np.where(there.any(axis=1), 1.0, np.nan)
    sizes = np.abs(np.where(values == 0, np.nan, values))
    order = np.argsort(sizes, axis=1)  # NaN behind all values
    counts = (~np.isnan(sizes)).sum(axis=1)
    for count in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == count)
        ranked = order[rows, :count]
        ranks = _doubled_ranks(np.take_along_axis(sizes[rows], ranked, axis=1))
        positive = np.take_along_axis(values[rows], ranked, axis=1) > 0
        observed = np.where(positive, ranks, 0).sum(axis=1)
        patterns, pattern = np.unique(ranks, axis=0, return_inverse=True)
        tails = np.array([_tails(own) for own in patterns])
        p_values[rows] = np.minimum(1.0, 2 * tails[pattern.ravel(), observed])
    return p_values


def _tails(ranks: Index) -> Array:
    """For each sum of the doubled ranks of positive differences the smaller of its two tails."""
    # Mid-ranks are halves: doubled they are integers, and sums can be counted.
    chance = np.zeros(int(ranks.sum()) + 1)
    chance[0] = 1.0
    for rank in ranks:
        chance *= 0.5
        chance[rank:] += chance[:-rank].copy()
    return np.minimum(np.cumsum(chance), np.cumsum(chance[::-1])[::-1])


def _doubled_ranks(sizes: Array) -> Index:
    """Twice the mid-rank of each of the ascending values of each row, shape (rows, pairs)."""
    place = np.arange(sizes.shape[1])
    turn = sizes[:, 1:] > sizes[:, :-1]
    edge = np.ones((len(sizes), 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.hstack([edge, turn]), place, 0), axis=1)
    last = np.where(np.hstack([turn, edge]), place, place[-1])
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    return first + last + 2

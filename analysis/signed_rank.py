"""Wilcoxon's signed-rank test, exact at every sample size, ties included.

Accuracies are rounded to hundredths of a percent, so differences tie; the usual tables do not hold
then. The null distribution is counted over all sign patterns of the ranks that were observed
(Wilcoxon 1945; Hollander, Wolfe and Chicken 2014, section 3.1). Zero differences are dropped.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
    if values.size == 0 or np.isnan(values).any():
        return float("nan")
    values = values[values != 0]
    if values.size == 0:
        return 1.0
    # Mid-ranks are halves: doubled they are integers, and sums can be counted.
    ranks = _doubled_ranks(np.abs(values))
    observed = int(ranks[values > 0].sum())
    chance = np.zeros(int(ranks.sum()) + 1)
    chance[0] = 1.0
    for rank in ranks:
        chance *= 0.5
        chance[rank:] += chance[:-rank].copy()
    tail = min(chance[: observed + 1].sum(), chance[observed:].sum())
    return float(min(1.0, 2 * tail))


def _doubled_ranks(sizes: NDArray[np.float64]) -> NDArray[np.int64]:
    _, group, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((2 * last - counts + 1)[group], dtype=np.int64)

"""Which points no other one beats in everything (Pareto), and how crowded they lie (Deb et al., 2002)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def front_ranks(scores: ArrayLike) -> NDArray[np.int64]:
    """The front that each point lies on: 0 for those that none beats, 1 for those without these, ...

    One point beats another where no figure is lower and some figure is higher.

    Args:
        scores: (n_points, n_objectives), each to be high; minus infinity for what failed.

    Returns:
        (n_points,)
    """
    values = np.asarray(scores, float)
    beats = (values[:, None] >= values[None, :]).all(2) & (values[:, None] > values[None, :]).any(2)
    ranks = np.full(len(values), -1, np.int64)
    rank = 0
    while (ranks < 0).any():
        left = ranks < 0
        on_front = left & ~(beats & left[:, None]).any(0)
        ranks[on_front] = rank
        rank += 1
    return ranks


def crowding(scores: ArrayLike) -> NDArray[np.float64]:
    """How far the neighbours of each point of a front are apart, summed over figures by their range.

    Args:
        scores: (n_points, n_objectives), finite.

    Returns:
        (n_points,); infinite for the ends of a figure.
    """
    values = np.asarray(scores, float)
    found = np.zeros(len(values))
    for figure in values.T:
        order = np.argsort(figure, kind="stable")
        found[order[[0, -1]]] = np.inf
        width = figure[order[-1]] - figure[order[0]]
        if width > 0:
            found[order[1:-1]] += (figure[order[2:]] - figure[order[:-2]]) / width
    return found

"""A regression whose truth is known: Friedman #1, without noise.

The function of Friedman (1991), "Multivariate adaptive regression splines", The Annals of
Statistics 19(1), 1-67:

    y = 10 sin(pi x1 x2) + 20 (x3 - 0.5)^2 + 10 x4 + 5 x5

of ten inputs that are independent and uniform in [0, 1]; x6 to x10 have no effect.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from data.catalog import RawArrays
from data.random_numbers import uniforms

FEATURES, TRAIN_ROWS, TEST_ROWS = 10, 2_000, 1_000


def friedman_1(x: list[float]) -> float:
    """The function at one point.

    Args:
        x: The inputs x1 to x5; further ones have no effect.

    Returns:
        Its value, rounded to six decimals: the last bits of a sine differ between machines, and
        the data may not.
    """
    value = (
        10 * math.sin(math.pi * x[0] * x[1]) + 20 * (x[2] - 0.5) ** 2 + 10 * x[3] + 5 * x[4]
    )  # fmt: skip
    return round(value, 6)


def known_function(folder: Path) -> RawArrays:
    """Makes 2,000 training and 1,000 test rows, the same everywhere."""
    del folder  # nothing is read there
    rows = TRAIN_ROWS + TEST_ROWS
    x = uniforms(rows * FEATURES, seed=1991, purpose="known_function").reshape(rows, FEATURES)
    y = np.array([friedman_1(row) for row in x.tolist()])
    return RawArrays(x[:TRAIN_ROWS], y[:TRAIN_ROWS], x[TRAIN_ROWS:], y[TRAIN_ROWS:])

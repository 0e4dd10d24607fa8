"""Quantiles of Student's t, without SciPy, whose import would take longer than a query.

For up to 200 degrees of freedom the distribution function in its closed form for whole numbers of
them (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4), inverted by
bisection; beyond, the expansion around the normal quantile (26.7.5).
"""

import math
from statistics import NormalDist

_EXACT = 200
_HALVINGS = 60


def two_sided(level: float, freedom: int) -> float:
    """The t within whose negative and itself a value lies with a probability.

    Args:
        level: that probability, between 0 and 1.
        freedom: degrees of freedom, 1 or more.
    """
    return _inverted(level, freedom) if freedom <= _EXACT else _expanded(level, freedom)


def _inverted(level: float, freedom: int) -> float:
    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _within(middle, freedom) < level:
            low = middle
        else:
            high = middle
    return math.tan(high) * math.sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    """The probability to lie within ± t, by the angle whose tangent is t / sqrt(freedom)."""
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for power in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (power - 1) / power
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _expanded(level: float, freedom: int) -> float:
    x = NormalDist().inv_cdf((1 + level) / 2)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    found: float = x + sum(term / freedom**power for power, term in enumerate(terms, start=1))
    return found

"""How small a difference has to be not to matter, where nobody said it."""

import pandas as pd

EQUAL_POINTS = 0.5
"""For accuracy: half a point, about what one seed deviates from the next on the home study's images."""
EQUAL_SHARE = 0.02
"""For every other metric: 2 % of the baseline's mean."""


def negligible(metric_names: "pd.Series[str]", scale: "pd.Series[float]") -> "pd.Series[float]":
    """The largest difference that does not matter, in each metric's unit.

    Args:
        metric_names: One per row.
        scale: The baseline's mean, one per row.
    """
    return (EQUAL_SHARE * scale.abs()).mask(metric_names == "accuracy", EQUAL_POINTS)

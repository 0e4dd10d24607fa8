"""Which values are drawn where a grid has more than a figure can hold; tables always have all."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
PANELS_AT_MOST = 12
LINES_AT_MOST = 16


def evenly(values: Sequence[T], at_most: int) -> list[T]:
    """At most so many of the values, evenly spread, first and last among them."""
    if len(values) <= at_most:
        return list(values)
    if at_most == 1:
        return [values[-1]]
    return [values[round(i * (len(values) - 1) / (at_most - 1))] for i in range(at_most)]

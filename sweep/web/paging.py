"""A part of a long table, and its order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import Query
from numpy.typing import NDArray

MAX_ROWS = 500

Column = Sequence[Any] | NDArray[Any]
"""Of all rows: numbers, NaN where not known; or values, None where not known."""


@dataclass(frozen=True)
class Page:
    """Which rows: at most `MAX_ROWS`, from an offset on."""

    offset: Annotated[int, Query(ge=0, le=10**9)] = 0
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 50


def sort_column(values: Column, descending: bool, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order of some rows by a column: stable, with what is not known last either way.

    Args:
        values: of all rows.
        descending: largest first.
        rows: those that are sorted.

    Returns:
        Positions in `rows`.
    """
    own = np.asarray(values)[rows] if isinstance(values, np.ndarray) else [values[r] for r in rows]
    if isinstance(own, np.ndarray) and own.dtype.kind in "iufb":
        numbers = own.astype(np.float64)
    else:
        known = sorted({value for value in own if value is not None}, key=_rank)
        place = {value: float(position) for position, value in enumerate(known)}
        numbers = np.array([place.get(value, np.nan) for value in own], dtype=np.float64)
    order = np.argsort(-numbers if descending else numbers, kind="stable")
    return order.astype(np.int64)


def _rank(value: object) -> tuple[int, float, str]:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))

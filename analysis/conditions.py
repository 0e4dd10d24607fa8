"""Which cells a statement of a study is about: a column, and the value or values it may have.

`{start = "zero-pad", epochs = [10, 30]}` are the cells that have both. Statements are about students
unless they name a role.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import words

Where = Mapping[str, Any]
NONE = "none"
"""Stands for null: no corruption, no schedule."""
FULL = "full"
"""Stands for null as a batch size: the whole training set."""


def met(frame: pd.DataFrame, where: Where) -> NDArray[np.bool_]:
    """Which rows meet all conditions, shape (rows,).

    Args:
        frame: A table in the form of `analysis.cells.tidy`.
        where: Column to a value, or a list of values of which any will do; see `NONE` and `FULL`.

    Raises:
        ValueError: A column that is not there.
    """
    kept = np.ones(len(frame), dtype=bool)
    for column, wanted in where.items():
        if column not in frame:
            raise ValueError(f"where: {column!r} is no column of the cells")
        kept &= _is_one_of(frame[column], several(wanted), FULL if column == "batch_size" else NONE)
    return kept


def subjects(frame: pd.DataFrame, where: Where) -> pd.DataFrame:
    """The rows that meet all conditions; students alone where no role is named.

    Raises:
        ValueError: See `met`.
    """
    return frame[met(frame, where if "role" in where else {"role": "student", **where})]


def several(wanted: Any) -> Sequence[Any]:
    """The values of a condition: itself, or those of its list."""
    return wanted if isinstance(wanted, (list, tuple)) else (wanted,)


def described(where: Where) -> str:
    """Conditions in words: start zero-pad, epochs 10 and 30."""
    parts = []
    for column, wanted in where.items():
        values = words.listed(words.number(value) for value in several(wanted))
        parts.append(values if column == "role" else f"{column.replace('_', ' ')} {values}")
    return ", ".join(parts) or "every student"


def _is_one_of(column: "pd.Series[Any]", wanted: Sequence[Any], null: str) -> NDArray[np.bool_]:
    kept = np.zeros(len(column), dtype=bool)
    for value in wanted:
        if isinstance(value, str):
            kept |= (column.astype("object") == value).to_numpy(dtype=bool)
            if value == null:
                kept |= column.isna().to_numpy()
        elif pd.api.types.is_numeric_dtype(column):
            found = column.to_numpy(dtype="float64", na_value=np.nan)
            kept |= np.isclose(found, float(value), rtol=1e-9, atol=0)
        else:
            kept |= (column.astype("object") == value).fillna(False).to_numpy(dtype=bool)
    return kept

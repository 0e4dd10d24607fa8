"""Configurations of requested cells: all that was asked for except the seed.

They are numbered when results are read, so that a query groups and joins by one number in place of
two dozen columns.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sweep.query.student_t import two_sided
from sweep.words import CELL_COLUMNS, PARAMETER_COLUMNS

Codes = NDArray[np.int64]

WORDS = ("study", *(key for key in CELL_COLUMNS if key != "seed"), *PARAMETER_COLUMNS)
"""The columns that tell configurations apart."""

LEVEL = 0.95
_MOST = 2**31


def numbered(asked: pa.Table) -> tuple[pa.Array, pa.Table]:
    """Numbers the configurations of requested cells.

    A student's baseline is the configuration of the same study, dataset and network whose further
    parameters are its own; a parameter that no baseline of the study has and every student has says
    how students are guided, and does not count.

    Args:
        asked: one row per requested cell, with `WORDS`.

    Returns:
        The number of each cell's configuration. And one row per configuration: `configuration` (its
        number), `WORDS`, `n_asked`, and `baseline` (the number of its baseline; null where there is
        none, and for other roles than students).
    """
    codes = {name: _codes(asked[name]) for name in WORDS}
    whole = _joined(list(codes.values()), len(asked))
    _, first, number, count = np.unique(
        whole, return_index=True, return_inverse=True, return_counts=True
    )
    found = asked.select(WORDS).take(pa.array(first))
    columns = {
        "configuration": pa.array(np.arange(len(first), dtype=np.int32)),
        **{name: found[name] for name in WORDS},
        "n_asked": pa.array(count.astype(np.int64)),
        "baseline": _baselines(found, {name: own[first] for name, own in codes.items()}),
    }
    return pa.array(number.reshape(-1).astype(np.int32)), pa.table(columns)


def quantiles(most: int) -> pa.Table:
    """For sample sizes `n` from 2 to `most`, half the width of a 95 % t interval in standard errors."""
    sizes = range(2, most + 1)
    return pa.table(
        {
            "n": pa.array(sizes, pa.int64()),
            "t": pa.array([two_sided(LEVEL, size - 1) for size in sizes], pa.float64()),
        }
    )


def _codes(column: pa.ChunkedArray) -> Codes:
    """A number for each value, 0 for none."""
    encoded = column.combine_chunks().dictionary_encode()
    codes: Codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False) + np.int64(1)
    return codes


def _joined(columns: list[Codes], rows: int) -> Codes:
    """A number for each combination of values."""
    joined: Codes = np.zeros(rows, np.int64)
    room = 1
    for codes in columns:
        kinds = int(codes.max(initial=0)) + 1
        if room * kinds > _MOST:
            _, joined = np.unique(joined, return_inverse=True)
            room = int(joined.max(initial=0)) + 1
        joined = joined * kinds + codes
        room *= kinds
    return joined


def _baselines(found: pa.Table, codes: dict[str, Codes]) -> pa.Array:
    study, rows = codes["study"], len(found)
    students = pc.fill_null(pc.equal(found["role"], "student"), False).to_numpy()
    baselines = pc.fill_null(pc.equal(found["role"], "baseline"), False).to_numpy()
    studies = int(study.max(initial=0)) + 1
    matched = [study, codes["dataset"], codes["model"]]
    for name in PARAMETER_COLUMNS:
        own = codes[name]
        some = np.bincount(study, weights=baselines & (own > 0), minlength=studies) > 0
        lacking = np.bincount(study, weights=students & (own == 0), minlength=studies) > 0
        matched.append(np.where((some | lacking)[study], own, 0))
    key = _joined(matched, rows)
    numbers = np.flatnonzero(baselines).astype(np.int32)
    at = pc.index_in(pa.array(key), value_set=pa.array(key[baselines]))
    return pc.if_else(pa.array(students), pa.array(numbers).take(at), pa.scalar(None, pa.int32()))

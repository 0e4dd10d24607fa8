"""Which classes are taken for which: confusion matrices as means over seeds."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def mean_confusion(rows: pd.DataFrame) -> tuple[Matrix, int] | None:
    """The mean over trials of their confusion matrices, each row in percent of the true class.

    Args:
        rows: Finished cells of one configuration, with `confusion` (counts, true class by
            predicted class); cells without one are left out.

    Returns:
        The matrix, shape (classes, classes), a row NaN where that class has no test row, and of how
        many trials it is the mean; None where there is none.

    Raises:
        ValueError: Matrices of different sizes.
    """
    nested = rows.get("confusion", ())
    found = [
        np.array([list(row) for row in counts], dtype=np.float64)
        for counts in nested
        if isinstance(counts, (list, tuple, np.ndarray)) and len(counts)
    ]
    if not found:
        return None
    shapes = sorted({matrix.shape for matrix in found})
    if len(shapes) > 1:
        raise ValueError(f"confusion: matrices of sizes {shapes[0]} and {shapes[1]} in one mean")
    counts = np.stack(found)
    totals = counts.sum(axis=2, keepdims=True)
    shares = np.where(totals > 0, 100 * counts / np.where(totals > 0, totals, 1.0), np.nan)
    return shares.mean(axis=0), len(found)

"""Standardisation of tables: zero mean and unit population deviation, column by column.

Sums are exactly rounded (`math.fsum`), so the figures depend on the set of rows alone: not on
their order, and not on how wide the machine's vector instructions are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Standardiser:
    """A fitted standardisation.

    Attributes:
        mean: Mean of each column, float64 ``[columns]``.
        deviation: Population deviation of each column, float64 ``[columns]``; 1 where constant.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @staticmethod
    def fit(values: NDArray[np.float64]) -> Standardiser:
        """Fits mean and deviation to rows.

        Args:
            values: Finite values, ``[rows, columns]``, at least one row.

        Returns:
            The standardisation.
        """
        means, deviations = [], []
        for column in values.T:
            mean = math.fsum(column.tolist()) / len(column)
            variance = math.fsum(((column - mean) ** 2).tolist()) / len(column)
            constant = bool((column == column[0]).all())
            means.append(float(column[0]) if constant else mean)
            deviations.append(1.0 if constant or variance == 0.0 else math.sqrt(variance))
        return Standardiser(np.array(means), np.array(deviations))

    def __call__(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Standardises rows in float64 and rounds once.

        Args:
            values: ``[rows, columns]``.

        Returns:
            float32, ``[rows, columns]``.
        """
        return ((values - self.mean) / self.deviation).astype(np.float32)

"""The baseline, as every figure needs it."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Baseline:
    """Mean of the baseline with its 95 % t interval (NaN for one seed) over `n` seeds."""

    mean: float
    ci_low: float
    ci_high: float
    n: int


def baseline_of(summary: pd.DataFrame) -> Baseline | None:
    """The baseline in a table of `analysis.cells.summarise`; None unless there is exactly one."""
    rows = summary[(summary["role"] == "baseline") & (summary["n"] > 0)]
    if len(rows) != 1:
        return None
    row = rows.iloc[0]
    return Baseline(
        mean=float(row["mean"]),
        ci_low=float(row["ci_low"]),
        ci_high=float(row["ci_high"]),
        n=int(row["n"]),
    )

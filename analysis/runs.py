"""What the runs of a study cost, and what sharing saved them."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class RunTotals:
    """All runs of a study together.

    Attributes:
        runs: How many there were.
        epochs_trained: Epochs that were trained.
        epochs_alone: Epochs that the trials which ended would have trained each alone.
        busy_s: Seconds that workers had something to do.
        available_s: Seconds of all workers, busy or not.
        elapsed_s: Seconds from start to end, summed over the runs.
    """

    runs: int
    epochs_trained: int
    epochs_alone: int
    busy_s: float
    available_s: float
    elapsed_s: float

    @property
    def saved(self) -> float | None:
        """The part of the epochs that sharing saved; None where nothing ended.

        A run that was stopped trained some epochs for trials that another run ended, so this is
        about all runs.
        """
        if self.epochs_alone <= 0:
            return None
        return max(0.0, 1 - self.epochs_trained / self.epochs_alone)

    @property
    def utilisation(self) -> float | None:
        """The part of the workers' time that they were busy; None where there is no time."""
        return min(1.0, self.busy_s / self.available_s) if self.available_s > 0 else None


def run_totals(runs: pd.DataFrame | None) -> RunTotals | None:
    """Adds up runs.

    Args:
        runs: One row per run with `epochs_trained`, `epochs_alone`, `busy_s`, `slots` and
            `elapsed_s`; or None.

    Returns:
        The totals; None without runs.
    """
    if runs is None or runs.empty:
        return None
    return RunTotals(
        runs=len(runs),
        epochs_trained=int(runs["epochs_trained"].sum()),
        epochs_alone=int(runs["epochs_alone"].sum()),
        busy_s=float(runs["busy_s"].sum()),
        available_s=float((runs["slots"] * runs["elapsed_s"]).sum()),
        elapsed_s=float(runs["elapsed_s"].sum()),
    )

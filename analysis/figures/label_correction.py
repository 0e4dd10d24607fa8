"""What became of training rows whose label was perturbed: corrected, or memorised as given.

One panel for each, over the first of `OVER` that varies among the students; where none does, bars
of baseline and student.
"""

from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis import words
from analysis.cells import tidy
from analysis.figures import stated
from analysis.figures.choice import of_dataset
from analysis.figures.stated import StatedNumbers, stated_numbers

if TYPE_CHECKING:
    import plotly.graph_objects as go

OVER = ("alpha", "epochs", "label_noise", "switch_epoch", "temperature")
LINES = ("model", "teacher", "start", "label_noise", "epochs")
"""What makes lines where it varies; all else is averaged over, and said."""


def label_correction_numbers(
    cells: pd.DataFrame, dataset: str | None = None
) -> StatedNumbers | None:
    """The numbers of the figure; None where no finished trial tracked perturbed labels.

    Args:
        cells: One row per requested cell, with `perturbed`.
        dataset: Which dataset; may be left out where there is only one.

    Raises:
        ValueError: See `analysis.figures.choice.of_dataset`.
    """
    own = of_dataset(tidy(cells), dataset)
    if "perturbed" not in own:
        return None
    tracked = own[own["done"] & own["perturbed"].notna()]
    students = tracked[tracked["role"] == "student"]
    varied = [c for c in dict.fromkeys([*OVER, *LINES]) if c in own]
    varied = [c for c in varied if students[c].dropna().nunique() > 1]
    over = next((c for c in OVER if c in varied), None)
    figure: dict[str, Any] = {
        "title": f"{words.dataset_title(str(own['dataset'].iloc[0]))}: training rows with a wrong "
        "label, as the trained network classifies them",
        "y": ["corrected", "memorised"],
    }
    if over is None:
        figure |= {"x": "role", "where": {"role": ["baseline", "student"]}}
    else:
        lines = [c for c in LINES if c in varied and c != over]
        figure |= {"x": over, "lines": lines, "baseline": True}
    return stated_numbers(tracked, figure)


def draw(numbers: StatedNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    return stated.draw(numbers, narrow)


def label_correction(
    cells: pd.DataFrame, dataset: str | None = None, narrow: bool = False
) -> "go.Figure":
    """Perturbed labels corrected and memorised, ready to show.

    Raises:
        ValueError: See `label_correction_numbers`; or no trial tracked perturbed labels.
    """
    numbers = label_correction_numbers(cells, dataset)
    if numbers is None:
        raise ValueError("cells: no finished trial tracked perturbed labels")
    return draw(numbers, narrow)

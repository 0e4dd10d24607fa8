"""Confusion matrices: the baseline's, the best student's, and what changed between them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis import words
from analysis.best_student import best_student
from analysis.cells import tidy
from analysis.confusions import Matrix, mean_confusion
from analysis.figures import style
from analysis.figures.choice import of_dataset

if TYPE_CHECKING:
    import plotly.graph_objects as go

WRITTEN_AT_MOST = 12
"""Classes up to which numbers stand in the cells."""
_SHARES = ((0.0, "#f4f3f0"), (0.5, "#8dbbe0"), (1.0, "#0d4f87"))


@dataclass(frozen=True)
class ConfusionNumbers:
    """What the figure shows.

    Attributes:
        dataset: Name of the dataset.
        student: The best student in words.
        baseline_shares: Percent of each true class, shape (classes, classes), mean over seeds.
        student_shares: The same of the best student.
        seeds: Of how many trials each is the mean: baseline, student.
    """

    dataset: str
    student: str
    baseline_shares: Matrix
    student_shares: Matrix
    seeds: tuple[int, int]

    @property
    def change(self) -> Matrix:
        """Student less baseline, in points."""
        return self.student_shares - self.baseline_shares

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        gains = np.diagonal(self.change)
        known = gains[~np.isnan(gains)]
        better, worse = int((known > 0).sum()), int((known < 0).sum())
        return (
            f"{words.dataset_title(self.dataset)}: of {words.counted(len(known), 'class', 'classes')} "
            f"the best student ({self.student}) gets {words.none_or(better)} right more often than "
            f"the baseline and {words.none_or(worse)} less often"
        )


def confusion_numbers(cells: pd.DataFrame, dataset: str | None = None) -> ConfusionNumbers | None:
    """The numbers of the figure; None without a confusion matrix of a student and its baseline.

    Args:
        cells: One row per requested cell, with `confusion`.
        dataset: Which dataset; may be left out where there is only one.

    Raises:
        ValueError: See `analysis.figures.choice.of_dataset` and `analysis.confusions`.
    """
    own = of_dataset(tidy(cells), dataset)
    best = best_student(own)
    if best is None:
        return None
    base, student = mean_confusion(best.baselines), mean_confusion(best.students)
    if base is None or student is None or base[0].shape != student[0].shape:
        return None
    name = str(own["dataset"].iloc[0])
    return ConfusionNumbers(name, best.label, base[0], student[0], (base[1], student[1]))


def draw(numbers: ConfusionNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    classes = [str(label) for label in range(len(numbers.change))]
    seeds = [words.counted(n, "seed") for n in numbers.seeds]
    panels = style.Panels(
        [f"baseline ({seeds[0]})", f"best student ({seeds[1]})", "student less baseline"],
        columns=1 if narrow else 3,
        row_px=300,
        x_title="predicted class",
        y_title="true class",
        shared_y=False,
        narrow=narrow,
    )
    limit = float(np.nanmax(np.abs(numbers.change))) or 1.0
    few = len(classes) <= WRITTEN_AT_MOST
    # Blue is better, as everywhere: more on the diagonal, less beside it.
    gain = numbers.change * np.where(np.eye(len(classes), dtype=bool), 1, -1)
    parts = (
        (numbers.baseline_shares, numbers.baseline_shares, "coloraxis", False),
        (numbers.student_shares, numbers.student_shares, "coloraxis", False),
        (numbers.change, gain, "coloraxis2", True),
    )
    for index, (matrix, coloured, colours, signed) in enumerate(parts):
        text = [[_label(value, signed) for value in row] for row in matrix]
        unit = "points" if signed else "%"
        trace: dict[str, Any] = {"text": text}
        if few:
            trace |= {"texttemplate": "%{text}", "textfont": {"size": 10}}
        panels.add(
            index,
            type="heatmap",
            z=coloured,
            customdata=matrix,
            x=classes,
            y=classes,
            coloraxis=colours,
            xgap=1,
            ygap=1,
            hoverongaps=False,
            hovertemplate=f"class %{{y}} taken for %{{x}}: %{{customdata:.2f}} {unit}<extra></extra>",
            **trace,
        )
    panels.x_axes(type="category", showgrid=False)
    panels.y_axes(type="category", showgrid=False, autorange="reversed")
    panels.layout(
        coloraxis={
            "colorscale": [list(stop) for stop in _SHARES],
            "cmin": 0,
            "cmax": 100,
            "showscale": False,
        },
        coloraxis2={
            "colorscale": [list(stop) for stop in style.DIVERGING],
            "cmin": -limit,
            "cmid": 0,
            "cmax": limit,
            "showscale": False,
        },
    )
    return panels.figure(numbers.title)


def confusion_heatmaps(
    cells: pd.DataFrame, dataset: str | None = None, narrow: bool = False
) -> "go.Figure":
    """Confusion matrices of the baseline and the best student, ready to show.

    Raises:
        ValueError: See `confusion_numbers`; or a student or its baseline has no such matrix.
    """
    numbers = confusion_numbers(cells, dataset)
    if numbers is None:
        raise ValueError("cells: no student and baseline with a confusion matrix are finished")
    return draw(numbers, narrow)


def _label(value: float, signed: bool) -> str:
    """A share or a change; nothing for what rounds to zero, so that the others stand out."""
    if np.isnan(value) or abs(value) < 0.05:
        return ""
    return words.signed(value, 1) if signed else words.decimal(value, 1)

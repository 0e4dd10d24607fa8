"""The metric over the switch epoch: every teacher and alpha as a line of one panel."""

from typing import TYPE_CHECKING

import pandas as pd

from analysis import words
from analysis.figures import style
from analysis.figures.lines import add_lines
from analysis.figures.switch_epoch import SwitchEpochNumbers, switch_epoch_numbers

if TYPE_CHECKING:
    import plotly.graph_objects as go


def draw(numbers: SwitchEpochNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers of `analysis.figures.switch_epoch` in one panel."""
    panels = style.Panels(
        [""],
        columns=1,
        row_px=style.SINGLE_PX if narrow else 420,
        x_title="switch epoch (guidance ends)",
        y_title=words.metric_title(numbers.metric_name),
        shared_y=False,
        narrow=narrow,
    )
    if numbers.baseline is not None:
        base = numbers.baseline
        panels.baseline(0, base.mean, base.ci_low, base.ci_high, style.BASELINE_LEGEND)
    add_lines(
        panels,
        0,
        numbers.points,
        numbers.teachers,
        numbers.alphas,
        numbers.shown,
        numbers.metric_name,
        named=True,
    )
    panels.y_axes(range=list(numbers.shown))
    return panels.figure(numbers.title)


def summary_lines(
    cells: pd.DataFrame,
    dataset: str | None = None,
    narrow: bool = False,
) -> "go.Figure":
    """All configurations in one panel, ready to show.

    Raises:
        ValueError: See `analysis.cells.only_variant`; or no student has a result.
    """
    numbers = switch_epoch_numbers(cells, dataset)
    if numbers is None:
        raise ValueError("cells: no student has a result")
    return draw(numbers, narrow)

"""Under attack, over the switch epoch: one panel per epsilon, one line per teacher and alpha."""

from typing import TYPE_CHECKING

import pandas as pd

from analysis import words
from analysis.figures import style
from analysis.figures.fgsm import FgsmNumbers, needed_numbers
from analysis.figures.lines import add_lines
from analysis.figures.switch_epoch import shown_range

if TYPE_CHECKING:
    import plotly.graph_objects as go


def draw(numbers: FgsmNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers of `analysis.figures.fgsm` over the switch epoch, without the clean ones."""
    epsilons = [epsilon for epsilon in numbers.epsilons if epsilon > 0]
    panels = style.Panels(
        [style.epsilon_title(epsilon) for epsilon in epsilons],
        columns=1,
        row_px=260 if narrow else 300,
        x_title="switch epoch (guidance ends)",
        y_title=words.metric_title(numbers.metric_name),
        shared_y=False,
        narrow=narrow,
    )
    ranges = []
    for index, epsilon in enumerate(epsilons):
        base = numbers.baselines.get(epsilon)
        if base is not None:
            legend = style.BASELINE_LEGEND if index == 0 else ""
            panels.baseline(index, base.mean, base.ci_low, base.ci_high, legend)
        points = numbers.points[numbers.points["epsilon"] == epsilon]
        ranges.append(shown_range(points, base))
        add_lines(
            panels,
            index,
            points,
            numbers.teachers,
            numbers.alphas,
            ranges[-1],
            numbers.metric_name,
            named=index == 0,
        )
    figure = panels.figure(numbers.title)
    for index, (low, high) in enumerate(ranges):
        figure.layout[f"yaxis{index + 1 if index else ''}"].range = [low, high]
    return figure


def attack_lines(
    cells: pd.DataFrame,
    dataset: str | None = None,
    attack: str = "fgsm",
    narrow: bool = False,
) -> "go.Figure":
    """All configurations under attack over the switch epoch, ready to show.

    Raises:
        ValueError: See `analysis.cells.only_variant`; or no student was attacked.
    """
    return draw(needed_numbers(cells, dataset, attack), narrow)

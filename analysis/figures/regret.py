"""Regret over the number of trials, a line for each way to search."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from analysis.figures import style

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class RegretNumbers:
    """What the figure shows.

    Attributes:
        title: its headline.
        allowed: the regret that is good enough.
        curves: `strategy` and the columns of `analysis.regret.curve`.
    """

    title: str
    allowed: float
    curves: pd.DataFrame


def draw(numbers: RegretNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers: means with their 95 % intervals as bands."""
    panels = style.Panels(
        [""],
        columns=1,
        row_px=style.SINGLE_PX if narrow else 440,
        x_title="trials",
        y_title="regret: mean of the best cell less that of the chosen one",
        shared_y=False,
        narrow=narrow,
    )
    legend = "standard error of the best cell's mean"
    panels.baseline(0, numbers.allowed, float("nan"), float("nan"), legend)
    for position, (name, own) in enumerate(numbers.curves.groupby("strategy", sort=False)):
        colour, x = style.category(position), own["trials"].tolist()
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        panels.add(
            0, type="scatter", mode="lines", x=x + x[::-1],
            y=own["ci_high"].tolist() + own["ci_low"].tolist()[::-1], fill="toself",
            fillcolor=f"rgba({red},{green},{blue},0.15)", line={"width": 0}, hoverinfo="skip",
            showlegend=False, legendgroup=str(name),
        )  # fmt: skip
        panels.add(
            0, type="scatter", mode="lines", name=str(name), x=x, y=own["regret"].tolist(),
            line={"color": colour, "dash": style.dash(2 if position < 4 else 1), "width": 2},
            legendgroup=str(name), customdata=(100 * own["good"]).tolist(),
            hovertemplate=f"{name}<br>%{{y:.4g}} after %{{x}} trials<br>good enough in %{{customdata:.0f}} %<extra></extra>",
        )  # fmt: skip
    panels.x_axes(type="log")
    return panels.figure(numbers.title)

"""What all figures share: colours, fonts, and the grid of panels.

Colours are told apart by people with any colour vision and in grey print: Okabe and Ito's set for
categories, viridis for ordered ones, blue against orange around the baseline. Backgrounds are
transparent and the baseline grey, so that a drawing works on white and on black.
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

CATEGORIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
MARKERS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star")
BASELINE = "#808080"
BASELINE_BAND = "rgba(128,128,128,0.22)"
GRID = "rgba(128,128,128,0.25)"
BETTER_BLUE, NEUTRAL, WORSE_ORANGE = "#1f6fb4", "#f4f3f0", "#c9560c"
DIVERGING = (
    (0.0, WORSE_ORANGE),
    (0.25, "#eda869"),
    (0.5, NEUTRAL),
    (0.75, "#8dbbe0"),
    (1.0, BETTER_BLUE),
)
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
BASELINE_LEGEND = "baseline: mean and its 95 % interval"
_TOP_PX, _BOTTOM_PX, _GAP_PX, _LEGEND_PX = 84, 58, 62, 34


def category(position: int) -> str:
    """The colour of the category at a position; repeats after the last."""
    return CATEGORIES[position % len(CATEGORIES)]


def marker(position: int) -> str:
    """The marker of the category at a position; repeats after the last."""
    return MARKERS[position % len(MARKERS)]


def ordered(count: int) -> list[str]:
    """Colours for ordered values, from dark violet to yellow-green that still shows on white."""
    at = [0.0] if count == 1 else [0.88 * i / (count - 1) for i in range(count)]
    return [str(colour) for colour in sample_colorscale("viridis", at)]


def panels(
    titles: Sequence[str],
    columns: int,
    row_px: int,
    x_title: str,
    y_title: str,
    shared_y: bool,
) -> go.Figure:
    """An empty grid of panels, filled row by row, axis i + 1 for panel i whatever the columns.

    Args:
        titles: One per panel; "" for a single panel without.
        columns: Panels beside each other.
        row_px: Height of a panel in pixels.
        x_title: Written below the last row.
        y_title: Written left of every row.
        shared_y: Whether all panels have one y scale.
    """
    columns = max(1, min(columns, len(titles)))
    rows = -(-len(titles) // columns)
    inner = rows * row_px + (rows - 1) * _GAP_PX
    figure: go.Figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=list(titles),
        vertical_spacing=_GAP_PX / inner if rows > 1 else 0.0,
        horizontal_spacing=0.06 if columns > 1 else 0.0,
        shared_yaxes="all" if shared_y and len(titles) > 1 else False,
    )
    # Panel titles stand at the left, clear of the tool bar that appears at the right.
    for index, note in enumerate(figure.layout.annotations):
        row, column = place(index, columns)
        left = figure.get_subplot(row, column).xaxis.domain[0]
        note.update(font={"size": 13}, yshift=2, x=left, xanchor="left")
    figure.update_xaxes(gridcolor=GRID, zeroline=False, showline=False, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, showline=False, automargin=True)
    for index in range(len(titles)):
        row, column = place(index, columns)
        # The last panel of a column carries the title, also in a grid that is not full.
        if index + columns >= len(titles):
            figure.update_xaxes(title={"text": x_title, "standoff": 8}, row=row, col=column)
        if column == 1:
            figure.update_yaxes(title={"text": y_title, "standoff": 6}, row=row, col=column)
    figure.update_layout(
        height=inner + _TOP_PX + _BOTTOM_PX + _LEGEND_PX,
        margin={"l": 8, "r": 8, "t": _TOP_PX, "b": _BOTTOM_PX + _LEGEND_PX},
        font={"family": FONT, "size": 12},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"font": {"family": FONT}},
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 0.0,
            "yanchor": "bottom",
            "x": 0.5,
            "xanchor": "center",
        },
        template="none",
    )
    return figure


def place(index: int, columns: int) -> tuple[int, int]:
    """Row and column, from 1, of the panel at an index."""
    return index // columns + 1, index % columns + 1


def title(figure: go.Figure, text: str) -> None:
    """Writes the figure's headline."""
    figure.update_layout(title={"text": text, "x": 0.0, "xanchor": "left", "font": {"size": 16}})


def axis(index: int, letter: str) -> str:
    """The plotly name of the x or y axis of the panel at an index: x, x2, x3, ..."""
    return letter if index == 0 else f"{letter}{index + 1}"


def baseline_line(
    figure: go.Figure, index: int, mean: float, low: float, high: float, legend: str
) -> None:
    """Draws the baseline across a panel: its mean as a dashed line, its interval as a band.

    Args:
        figure: Where to draw.
        index: The panel.
        mean: The baseline's mean.
        low: Lower end of its interval; NaN for none.
        high: Upper end.
        legend: Its name in the legend; "" for no entry.
    """
    across: dict[str, Any] = {"xref": f"{axis(index, 'x')} domain", "yref": axis(index, "y")}
    if low == low and high == high:
        figure.add_shape(
            type="rect",
            x0=0,
            x1=1,
            y0=low,
            y1=high,
            fillcolor=BASELINE_BAND,
            line={"width": 0},
            layer="below",
            **across,
        )
    figure.add_shape(
        type="line",
        x0=0,
        x1=1,
        y0=mean,
        y1=mean,
        line={"color": BASELINE, "width": 2, "dash": "dash"},
        layer="below",
        **across,
    )
    if legend:
        figure.add_trace(
            go.Scatter(
                x=[None],
                y=[None],
                mode="lines",
                name=legend,
                line={"color": BASELINE, "width": 2, "dash": "dash"},
                hoverinfo="skip",
            )
        )

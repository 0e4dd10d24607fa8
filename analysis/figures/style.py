"""What all figures share: colours, fonts, and the grid of panels.

Colours are told apart by people with any colour vision and in grey print: Okabe and Ito's set for
categories, viridis for ordered ones, blue against orange around the baseline. Backgrounds are
transparent and the baseline grey, so that a drawing works on white and on black.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

CATEGORIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
MARKERS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star")
DASHES = ("dot", "dash", "solid", "dashdot", "longdash")
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
SINGLE_PX = 340
"""Height of a panel that stands alone."""
_TOP_PX, _BOTTOM_PX, _GAP_PX, _LEGEND_PX, _LEGEND_LINE_PX = 84, 58, 62, 34, 19


def category(position: int) -> str:
    """The colour of the category at a position; repeats after the last."""
    return CATEGORIES[position % len(CATEGORIES)]


def marker(position: int) -> str:
    """The marker of the category at a position; repeats after the last."""
    return MARKERS[position % len(MARKERS)]


def ordered(count: int) -> list[str]:
    """Colours for ordered values, from dark violet to yellow-green that still shows on white."""
    from plotly.colors import sample_colorscale

    at = [0.0] if count == 1 else [0.88 * i / (count - 1) for i in range(count)]
    return [str(colour) for colour in sample_colorscale("viridis", at)]


def dash(position: int) -> str:
    """The line style of the category at a position; repeats after the last."""
    return DASHES[position % len(DASHES)]


def epsilon_title(epsilon: float) -> str:
    """The strength of an attack, for the head of a panel; 0 is the clean test set."""
    return "clean" if epsilon == 0 else f"epsilon {epsilon:g}"


def axis(index: int, letter: str) -> str:
    """The plotly name of the x or y axis of the panel at an index: x, x2, x3, ..."""
    return letter if index == 0 else f"{letter}{index + 1}"


def without_far(values: "pd.Series[float]") -> tuple[float, float]:
    """Lowest and highest value that is no further than three box lengths from the quartiles.

    A few values far out (Tukey) must not flatten all others.
    """
    lower, upper = float(values.quantile(0.25)), float(values.quantile(0.75))
    reach = 3 * (upper - lower)
    near = values[values.between(lower - reach, upper + reach)]
    return float(near.min()), float(near.max())


def error_bars(points: "pd.DataFrame", axis: str = "") -> dict[str, Any]:
    """Error bars from `mean` to `ci_low` and `ci_high`, thin enough to stand beside others."""
    mean = points[f"mean{axis}"].to_numpy()
    return {
        "type": "data",
        "symmetric": False,
        "array": points[f"ci_high{axis}"].to_numpy() - mean,
        "arrayminus": mean - points[f"ci_low{axis}"].to_numpy(),
        "thickness": 1,
        "width": 0,
    }


class Panels:
    """A grid of panels that collects traces and becomes a figure once, at the end.

    Filled row by row, axis i + 1 for panel i whatever the number of columns, so that one set of
    traces serves several layouts. Traces are plain dicts until `figure` checks them all: building
    plotly objects one by one takes many times as long.
    """

    def __init__(
        self,
        titles: Sequence[str],
        columns: int,
        row_px: int,
        x_title: str,
        y_title: str | Sequence[str],
        shared_y: bool,
        narrow: bool = False,
    ) -> None:
        """An empty grid.

        Args:
            titles: One per panel.
            columns: Panels beside each other.
            row_px: Height of a panel in pixels.
            x_title: Written below the last panel of each column.
            y_title: Written left of every row; one per panel where rows differ.
            shared_y: Whether all panels have one y scale.
            narrow: Whether it is drawn for a phone; its legend has room for fewer names beside
                each other.
        """
        self._traces: list[dict[str, Any]] = []
        self._legend_width_px = 360 if narrow else 900
        columns = max(1, min(columns, len(titles)))
        rows = -(-len(titles) // columns)
        inner_px = rows * row_px + (rows - 1) * _GAP_PX
        gap_x = 0.06 if shared_y else 0.08
        width = (1 - (columns - 1) * gap_x) / columns
        self._x: list[dict[str, Any]] = []
        self._y: list[dict[str, Any]] = []
        self._notes: list[dict[str, Any]] = []
        self._shapes: list[dict[str, Any]] = []
        for index, title in enumerate(titles):
            row, column = divmod(index, columns)
            left = column * (width + gap_x)
            top = 1 - row * (row_px + _GAP_PX) / inner_px
            look = {"gridcolor": GRID, "zeroline": False, "showline": False, "automargin": True}
            x = {**look, "anchor": axis(index, "y"), "domain": [left, min(1.0, left + width)]}
            y = {**look, "anchor": axis(index, "x")}
            y["domain"] = [max(0.0, top - row_px / inner_px), top]
            # The last panel of a column carries the title, also in a grid that is not full.
            if index + columns >= len(titles):
                x["title"] = {"text": x_title, "standoff": 8}
            if column == 0:
                text = y_title if isinstance(y_title, str) else y_title[index]
                y["title"] = {"text": text, "standoff": 6}
            if shared_y and index > 0:
                y |= {"matches": "y", "showticklabels": column == 0}
            self._x.append(x)
            self._y.append(y)
            # At the left, clear of the tool bar that appears at the right.
            where = {"x": left, "y": top, "xref": "paper", "yref": "paper"}
            hold = {"xanchor": "left", "yanchor": "bottom", "showarrow": False, "yshift": 2}
            self._notes.append({**where, **hold, "text": title, "font": {"size": 13}})
        self._layout: dict[str, Any] = {
            "height": inner_px + _TOP_PX + _BOTTOM_PX + _LEGEND_PX,
            "margin": {"l": 8, "r": 8, "t": _TOP_PX, "b": _BOTTOM_PX + _LEGEND_PX},
            "font": {"family": FONT, "size": 12},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hoverlabel": {"font": {"family": FONT}},
            "legend": {
                "orientation": "h",
                "yref": "container",
                "y": 0.0,
                "yanchor": "bottom",
                "x": 0.5,
                "xanchor": "center",
            },
        }

    def add(self, index: int, **trace: Any) -> None:
        """Adds a trace, in plotly's words, to a panel."""
        self._traces.append({**trace, "xaxis": axis(index, "x"), "yaxis": axis(index, "y")})

    def note(self, index: int, **note: Any) -> None:
        """Writes an annotation into a panel: x as a share of its width, y as a value."""
        where = {"xref": f"{axis(index, 'x')} domain", "yref": axis(index, "y")}
        self._notes.append({"showarrow": False, **note, **where})

    def x_axes(self, **more: Any) -> None:
        """Sets properties of every x axis."""
        for own in self._x:
            own.update(more)

    def y_axes(self, **more: Any) -> None:
        """Sets properties of every y axis."""
        for own in self._y:
            own.update(more)

    def layout(self, **more: Any) -> None:
        """Sets properties of the layout."""
        self._layout.update(more)

    def baseline(self, index: int, mean: float, low: float, high: float, legend: str) -> None:
        """Draws the baseline across a panel: its mean as a dashed line, its interval as a band.

        Args:
            index: The panel.
            mean: The baseline's mean.
            low: Lower end of its interval; NaN for none.
            high: Upper end.
            legend: Its name in the legend; "" for no entry.
        """
        line = {"color": BASELINE, "width": 2, "dash": "dash"}
        across = {"xref": f"{axis(index, 'x')} domain", "yref": axis(index, "y"), "x0": 0, "x1": 1}
        across["layer"] = "below"
        if low == low and high == high:
            band = {"type": "rect", "y0": low, "y1": high, "fillcolor": BASELINE_BAND}
            self._shapes.append({**across, **band, "line": {"width": 0}})
        self._shapes.append({**across, "type": "line", "y0": mean, "y1": mean, "line": line})
        if legend:
            entry = {"type": "scatter", "x": [None], "y": [None], "mode": "lines", "line": line}
            self.add(index, **entry, name=legend, hoverinfo="skip")

    def _legend_rows(self) -> int:
        """Lines of the legend: plotly gives every entry the width of the longest name."""
        names = [
            str(trace["name"])
            for trace in self._traces
            if "name" in trace and trace.get("showlegend", True)
        ]
        if not names:
            return 1
        entry_px = 46 + 6.6 * max(map(len, names))
        beside = max(1, int(self._legend_width_px / entry_px))
        return -(-len(names) // beside)

    def figure(self, title: str) -> "go.Figure":
        """The finished figure with its headline."""
        import plotly.graph_objects as go

        axes: dict[str, Any] = {}
        for index, (x, y) in enumerate(zip(self._x, self._y, strict=True)):
            number = "" if index == 0 else str(index + 1)
            axes |= {f"xaxis{number}": x, f"yaxis{number}": y}
        more = (self._legend_rows() - 1) * _LEGEND_LINE_PX
        if more > 0:
            self._layout["height"] += more
            self._layout["margin"]["b"] += more
        headline = {"text": title, "x": 0.0, "xanchor": "left", "font": {"size": 16}}
        return go.Figure(
            data=self._traces,
            layout={
                **self._layout,
                **axes,
                "annotations": self._notes,
                "shapes": self._shapes,
                "title": headline,
                "template": "none",
            },
        )

"""How a search went: every point over the trials asked for, and the best so far; or the front of two figures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis import words
from analysis.figures import style
from analysis.pareto import front_ranks
from analysis.search import search_history, search_points

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class SearchNumbers:
    """What the history shows.

    Attributes:
        dataset: its name.
        panels: one for each objective, as `analysis.search.search_history` gives them.
    """

    dataset: str
    panels: tuple[tuple[str, pd.DataFrame], ...]

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        name, points = words.dataset_title(self.dataset), self.panels[0][1]
        tried = int((~points["known"]).sum())
        said = f"{name}: {words.counted(tried, 'point')} tried to the end"
        known = len(points) - tried
        return said + (f", {known} known before" if known else "")


def search_numbers(table: pd.DataFrame, dataset: str) -> SearchNumbers | None:
    """The numbers of the history of one dataset; None where no point came to its end."""
    history = search_history(table)
    own = history[history["dataset"] == dataset]
    if own.empty:
        return None
    return SearchNumbers(
        dataset, tuple((str(name), part) for name, part in own.groupby("objective", sort=False))
    )


def draw(numbers: SearchNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the history."""
    panels = style.Panels(
        [name for name, _ in numbers.panels],
        columns=1,
        row_px=style.SINGLE_PX if narrow else 380,
        x_title="trials asked for",
        y_title="mean over the seeds of the search",
        shared_y=False,
        narrow=narrow,
    )
    for index, (_, points) in enumerate(numbers.panels):
        for known, name, symbol in ((True, "known before", "x"), (False, "point", "circle")):
            own = points[points["known"] == known]
            if len(own):
                panels.add(
                    index, type="scatter", mode="markers", name=name, showlegend=index == 0,
                    x=own["asked_trials"].tolist(), y=own["mean"].tolist(),
                    text=[f"point {n}: {t}" for n, t in zip(own["point"], own["parameters"], strict=True)],
                    hovertemplate="%{text}<br>%{y:.5g} after %{x} trials<extra></extra>",
                    marker={"color": style.category(0), "symbol": symbol, "size": 7},
                )  # fmt: skip
        panels.add(
            index, type="scatter", mode="lines", name="best so far", showlegend=index == 0,
            x=points["asked_trials"].tolist(), y=points["best"].tolist(),
            line={"color": style.category(1), "shape": "hv", "width": 2}, hoverinfo="skip",
        )  # fmt: skip
    return panels.figure(numbers.title)


@dataclass(frozen=True)
class FrontNumbers:
    """What the front of two objectives shows.

    Attributes:
        dataset: its name.
        objectives: of x and y.
        points: one row per point: `x`, `y`, `parameters`, `front`.
    """

    dataset: str
    objectives: tuple[str, str]
    points: pd.DataFrame

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        count, total = int(self.points["front"].sum()), len(self.points)
        name = words.dataset_title(self.dataset)
        return (
            f"{name}: of {words.counted(total, 'point')} none is better in everything than {count}"
        )


def front_numbers(table: pd.DataFrame, dataset: str) -> FrontNumbers | None:
    """The front of the first two objectives of a dataset; None where there are no two, or no point."""
    points = search_points(table)
    own = points[(points["dataset"] == dataset) & (points["state"] == "full length")]
    names = list(dict.fromkeys(own["objective"]))
    if len(names) < 2:
        return None
    wide = own.pivot_table(index="point", columns="objective", values="mean", aggfunc="first")
    wide = wide.dropna()
    signs = own.drop_duplicates("objective").set_index("objective")["higher_is_better"]
    scores = wide[names] * np.where(signs[names], 1.0, -1.0)
    said = own.drop_duplicates("point").set_index("point")["parameters"]
    found = pd.DataFrame(
        {
            "point": wide.index, "x": wide[names[0]].to_numpy(), "y": wide[names[1]].to_numpy(),
            "parameters": said[wide.index].to_numpy(), "front": front_ranks(scores) == 0,
        }
    )  # fmt: skip
    return FrontNumbers(dataset, (names[0], names[1]), found)


def draw_front(numbers: FrontNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the front."""
    panels = style.Panels(
        [""],
        columns=1,
        row_px=style.SINGLE_PX if narrow else 420,
        x_title=numbers.objectives[0],
        y_title=numbers.objectives[1],
        shared_y=False,
        narrow=narrow,
    )
    for front, name, colour in ((False, "beaten by another", 5), (True, "on the front", 1)):
        own = numbers.points[numbers.points["front"] == front].sort_values("x")
        if len(own):
            panels.add(
                0, type="scatter", mode="lines+markers" if front else "markers", name=name,
                x=own["x"].tolist(), y=own["y"].tolist(),
                text=[f"point {n}: {t}" for n, t in zip(own["point"], own["parameters"], strict=True)],
                hovertemplate="%{text}<br>%{x:.5g}, %{y:.5g}<extra></extra>",
                marker={"color": style.category(colour), "size": 8},
                line={"color": style.category(colour), "dash": "dot", "width": 1},
            )  # fmt: skip
    return panels.figure(numbers.title)

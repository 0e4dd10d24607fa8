"""One line per teacher and alpha over the switch epoch, all in one panel.

The colour is the alpha, line style and marker are the teacher, so that no line is told apart by
its colour alone. Lines stand a little beside each other, or their intervals would cover one another.
"""

from itertools import pairwise

import pandas as pd

from analysis import words
from analysis.figures import style

_SPREAD = 0.6


def add_lines(
    panels: style.Panels,
    index: int,
    points: pd.DataFrame,
    teachers: tuple[str, ...],
    alphas: tuple[float, ...],
    shown: tuple[float, float],
    metric_name: str,
    named: bool,
) -> None:
    """Draws the lines into a panel and says at its edge how far each goes that leaves it.

    Args:
        panels: The figure.
        index: The panel.
        points: `teacher`, `alpha`, `switch_epoch`, `n`, `mean`, `ci_low`, `ci_high`.
        teachers: Order of line styles.
        alphas: Order of colours.
        shown: The range of the y axis.
        metric_name: For the numbers at the edge.
        named: Whether these lines are the ones in the legend.
    """
    pairs = [(teacher, alpha) for teacher in teachers for alpha in alphas]
    epochs = sorted(points["switch_epoch"].unique())
    gap = min((b - a for a, b in pairwise(epochs)), default=1)
    edges = {True: 0, False: 0}
    for number, (teacher, alpha) in enumerate(pairs):
        line = points[(points["teacher"] == teacher) & (points["alpha"] == alpha)]
        if line.empty:
            continue
        beside = ((number + 0.5) / len(pairs) - 0.5) * _SPREAD * float(gap)
        colour = style.category(alphas.index(alpha))
        size = teachers.index(teacher)
        text = f"{teacher} teacher, alpha {alpha:g}"
        panels.add(
            index,
            type="scatter",
            x=line["switch_epoch"].to_numpy("float64") + beside,
            y=line["mean"].to_numpy(),
            error_y=style.error_bars(line),
            mode="lines+markers",
            name=text,
            legendgroup=text,
            showlegend=named,
            line={"color": colour, "width": 1.5, "dash": style.dash(size)},
            marker={"symbol": style.marker(size), "size": 6},
            customdata=line[["switch_epoch", "n"]].to_numpy("int64"),
            hovertemplate=(
                f"{text}, switch %{{customdata[0]}}<br>%{{y:.5g}}, n = %{{customdata[1]}}"
                "<extra></extra>"
            ),
        )
        for below in (True, False):
            beyond = line[line["mean"] < shown[0]] if below else line[line["mean"] > shown[1]]
            if beyond.empty:
                continue
            far = beyond.iloc[int((beyond["mean"] * (1 if below else -1)).to_numpy().argmin())]
            value = words.metric_value(float(far["mean"]), metric_name, unit=False)
            panels.note(
                index,
                x=0.01,
                y=shown[0] if below else shown[1],
                text=f"{'↓' if below else '↑'} {text}: {value} at {far['switch_epoch']}",
                xanchor="left",
                yshift=(9 + 14 * edges[below]) * (1 if below else -1),
                font={"size": 11, "color": colour},
            )
            edges[below] += 1

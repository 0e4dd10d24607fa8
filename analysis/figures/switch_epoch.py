"""The metric over the switch epoch: one panel per teacher, one line per alpha, and the baseline."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from analysis import words
from analysis.cells import only_variant, summarise
from analysis.columns import direction
from analysis.figures import style
from analysis.figures.baseline import Baseline, baseline_of

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class SwitchEpochNumbers:
    """What the figure shows.

    Attributes:
        dataset: Name of the dataset.
        metric_name: Name of its metric.
        teachers: Panel order.
        alphas: Line order.
        points: One row per teacher, alpha and switch epoch with a result: `teacher`, `alpha`,
            `switch_epoch`, `n`, `mean`, `ci_low`, `ci_high` (95 % t interval, NaN for n < 2).
        baseline: The baseline's mean and interval; None without one.
        shown: The range of the metric that is drawn; means beyond are written at the edge.
    """

    dataset: str
    metric_name: str
    teachers: tuple[str, ...]
    alphas: tuple[float, ...]
    points: pd.DataFrame
    baseline: Baseline | None
    shown: tuple[float, float]

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        name = words.dataset_title(self.dataset)
        sign = direction(self.metric_name)
        best = self.points.iloc[int((self.points["mean"] * sign).to_numpy().argmax())]
        where = words.configuration({"role": "student", **best.to_dict()})
        value = words.metric_value(best["mean"], self.metric_name)
        if self.baseline is None:
            return f"{name}: the highest mean is {value} ({where}); there is no baseline"
        above = ((self.points["mean"] - self.baseline.mean) * sign > 0).sum()
        base = words.metric_value(self.baseline.mean, self.metric_name)
        share = f"{above} of {len(self.points)}"
        return (
            f"{name}: {share} means are better than the baseline's {base}; best {value} ({where})"
        )


def switch_epoch_numbers(
    cells: pd.DataFrame, dataset: str | None = None
) -> SwitchEpochNumbers | None:
    """The numbers of the figure; None without a student's result.

    Raises:
        ValueError: See `analysis.cells.only_variant`.
    """
    variant = only_variant(cells, dataset)
    table = summarise(variant.cells)
    points = table[(table["role"] == "student") & (table["n"] > 0)]
    if points.empty:
        return None
    columns = ["teacher", "alpha", "switch_epoch", "n", "mean", "ci_low", "ci_high"]
    base = baseline_of(table)
    return SwitchEpochNumbers(
        dataset=variant.dataset,
        metric_name=str(points["metric_name"].iloc[0]),
        teachers=tuple(words.by_size(points["teacher"])),
        alphas=tuple(sorted(points["alpha"].unique())),
        points=points[columns].reset_index(drop=True),
        baseline=base,
        shown=shown_range(points, base),
    )


def draw(numbers: SwitchEpochNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    columns = 1 if narrow else min(3, len(numbers.teachers))
    panels = style.Panels(
        [f"{teacher} teacher" for teacher in numbers.teachers],
        columns,
        row_px=230 if narrow else 330,
        x_title="switch epoch (guidance ends)",
        y_title=words.metric_title(numbers.metric_name),
        shared_y=True,
        narrow=narrow,
    )
    low, high = numbers.shown
    legend = style.BASELINE_LEGEND
    named: set[float] = set()
    for index, teacher in enumerate(numbers.teachers):
        if numbers.baseline is not None:
            base = numbers.baseline
            panels.baseline(index, base.mean, base.ci_low, base.ci_high, legend)
            legend = ""
        for position, alpha in enumerate(numbers.alphas):
            points = numbers.points
            line = points[(points["teacher"] == teacher) & (points["alpha"] == alpha)]
            if line.empty:
                continue
            panels.add(
                index,
                type="scatter",
                x=line["switch_epoch"].to_numpy("int64"),
                y=line["mean"].to_numpy(),
                error_y=style.error_bars(line),
                mode="lines+markers",
                name=f"alpha {alpha:g}",
                legendgroup=f"{alpha:g}",
                showlegend=alpha not in named,
                line={"color": style.category(position), "width": 1.6},
                marker={"symbol": style.marker(position), "size": 6},
                customdata=line["n"].to_numpy(),
                hovertemplate=(
                    f"{teacher} teacher, alpha {alpha:g}, switch %{{x}}<br>"
                    "%{y:.5g}, n = %{customdata}<extra></extra>"
                ),
            )
            named.add(alpha)
        _write_beyond(panels, numbers, index, teacher)
    panels.y_axes(range=[low, high])
    return panels.figure(numbers.title)


def _write_beyond(
    panels: style.Panels, numbers: SwitchEpochNumbers, index: int, teacher: str
) -> None:
    """Writes at a panel's edge how far each line goes that leaves it."""
    low, high = numbers.shown
    points = numbers.points[numbers.points["teacher"] == teacher]
    for below in (True, False):
        beyond = points[points["mean"] < low] if below else points[points["mean"] > high]
        for stacked, (alpha, line) in enumerate(beyond.groupby("alpha", sort=True)):
            means = line["mean"].to_numpy()
            far = line.iloc[int(means.argmin() if below else means.argmax())]
            value = words.metric_value(float(far["mean"]), numbers.metric_name, unit=False)
            panels.note(
                index,
                x=0.02,
                y=low if below else high,
                text=f"{'↓' if below else '↑'} alpha {alpha:g}: {value} at {far['switch_epoch']}",
                xanchor="left",
                yshift=(10 + 15 * stacked) * (1 if below else -1),
                font={"size": 11, "color": style.category(numbers.alphas.index(alpha))},
            )


def shown_range(points: pd.DataFrame, baseline: Baseline | None) -> tuple[float, float]:
    """The range of most means and the baseline, with their intervals.

    Means far out do not count (`analysis.figures.style.without_far`), nor do the intervals of two
    seeds, which are several times as wide as those of three.
    """
    near = points[points["mean"].between(*style.without_far(points["mean"]))]
    sure = near[near["n"] >= 3]
    ends = [*near["mean"], *sure["ci_low"], *sure["ci_high"]]
    if baseline is not None:
        ends += [v for v in (baseline.mean, baseline.ci_low, baseline.ci_high) if v == v]
    low, high = float(min(ends)), float(max(ends))
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def metric_over_switch_epoch(
    cells: pd.DataFrame,
    dataset: str | None = None,
    narrow: bool = False,
) -> "go.Figure":
    """The metric over the switch epoch, ready to show.

    Raises:
        ValueError: See `analysis.cells.only_variant`; or no student has a result.
    """
    numbers = switch_epoch_numbers(cells, dataset)
    if numbers is None:
        raise ValueError("cells: no student has a result")
    return draw(numbers, narrow)

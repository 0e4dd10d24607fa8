"""Our results against a reference: every difference with its interval, beside the margin."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from analysis import words
from analysis.comparison import VERDICTS
from analysis.figures import style

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS = {
    "reproduced": style.CATEGORIES[2],
    "differs": style.CATEGORIES[1],
    "cannot say": style.BASELINE,
}
_MATCH = ("dataset", "role", "model", "teacher", "alpha", "switch_epoch")


@dataclass(frozen=True)
class ComparisonNumbers:
    """What the figure shows.

    Attributes:
        metrics: Dataset to the name of its metric; one panel each.
        margins: Dataset to its margin, in the metric's unit.
        points: One row per configuration with a difference: `dataset`, `label`, `place` (1 for the
            lowest difference of its dataset), `difference`, `ci_low`, `ci_high` (NaN for a side
            with one seed), `verdict`.
        counts: Configurations by verdict, those without a difference included.
    """

    metrics: dict[str, str]
    margins: dict[str, float]
    points: pd.DataFrame
    counts: dict[str, int]

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        total = sum(self.counts.values())
        return (
            f"{self.counts['reproduced']} of {words.counted(total, 'configuration')} reproduced "
            f"within the margin, {words.none_or(self.counts['differs'])} different, "
            f"{words.none_or(self.counts['cannot say'])} undecided"
        )


def comparison_numbers(table: pd.DataFrame) -> ComparisonNumbers | None:
    """The numbers of the figure; None where no configuration has results on both sides.

    Args:
        table: Of `analysis.compare`.
    """
    points = table[table["difference"].notna()].copy()
    if points.empty:
        return None
    keys = list(table.columns[: table.columns.get_loc("metric_name")])
    extra = [k for k in keys if k not in _MATCH and table[k].nunique(dropna=False) > 1]
    points["label"] = [words.configuration(row, extra) for row in points.to_dict("records")]
    points = points.sort_values(["dataset", "difference"], kind="stable", ignore_index=True)
    points["place"] = points.groupby("dataset").cumcount() + 1
    first = points.drop_duplicates("dataset").set_index("dataset")
    columns = ["dataset", "label", "place", "difference", "ci_low", "ci_high", "verdict"]
    return ComparisonNumbers(
        metrics={str(k): str(v) for k, v in first["metric_name"].items()},
        margins={str(k): float(v) for k, v in first["margin"].items()},
        points=points[columns],
        counts={verdict: int((table["verdict"] == verdict).sum()) for verdict in VERDICTS},
    )


def draw(numbers: ComparisonNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    panels = style.Panels(
        [words.dataset_title(dataset) for dataset in numbers.metrics],
        columns=1,
        row_px=230 if narrow else 300,
        x_title="configurations, sorted by their difference",
        y_title="ours − reference",
        shared_y=False,
    )
    legend = "no difference, and the margin that counts as none"
    named: set[str] = set()
    for index, (dataset, metric) in enumerate(numbers.metrics.items()):
        margin = numbers.margins[dataset]
        panels.baseline(index, 0.0, -margin, margin, legend)
        legend = ""
        points = numbers.points[numbers.points["dataset"] == dataset]
        for position, verdict in enumerate(VERDICTS):
            own = points[points["verdict"] == verdict]
            if own.empty:
                continue
            panels.add(
                index,
                type="scatter",
                x=own["place"].to_numpy(),
                y=own["difference"].to_numpy(),
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": (own["ci_high"] - own["difference"]).to_numpy(),
                    "arrayminus": (own["difference"] - own["ci_low"]).to_numpy(),
                    "thickness": 1,
                    "width": 0,
                },
                mode="markers",
                name=verdict,
                legendgroup=verdict,
                showlegend=verdict not in named,
                marker={
                    "color": _COLOURS[verdict],
                    "symbol": style.marker(position),
                    "size": 6,
                },
                customdata=[
                    [label, words.metric_difference(d, metric), words.interval(a, b, metric, True)]
                    for label, d, a, b in own[
                        ["label", "difference", "ci_low", "ci_high"]
                    ].itertuples(index=False)
                ],
                hovertemplate=(
                    "%{customdata[0]}<br>%{customdata[1]}, 95 % interval %{customdata[2]}"
                    f"<br>{verdict}<extra></extra>"
                ),
            )
            named.add(verdict)
    panels.x_axes(showgrid=False, showticklabels=False)
    return panels.figure(numbers.title)


def comparison_figure(table: pd.DataFrame) -> "go.Figure":
    """All differences of a comparison, ready to show.

    Args:
        table: Of `analysis.compare`.

    Raises:
        ValueError: No configuration has results on both sides.
    """
    numbers = comparison_numbers(table)
    if numbers is None:
        raise ValueError("table: no configuration has results on both sides")
    return draw(numbers)

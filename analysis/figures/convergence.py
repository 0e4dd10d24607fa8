"""How fast students learn against their baselines: a row of panels per measure, one per teacher.

Every point is the mean difference to the baseline of the same seed, over the same epochs, with its
95 % t interval. What is drawn is what can be compared: the hard loss after the switch, never the
mixed loss before it (see `analysis.convergence`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from analysis import words
from analysis.cells import only_variant
from analysis.convergence import (
    AREA,
    EPOCHS_TO_LOSS,
    EPOCHS_TO_METRIC,
    JUMP,
    METRIC_AREA,
    convergence_table,
)
from analysis.figures import style
from analysis.figures.choice import narrowed

if TYPE_CHECKING:
    import plotly.graph_objects as go

ROWS = (AREA, EPOCHS_TO_LOSS, METRIC_AREA, EPOCHS_TO_METRIC, JUMP)
_HEAD = {
    AREA: "loss after the switch",
    EPOCHS_TO_LOSS: "epochs to loss {level:.3g}",
    METRIC_AREA: "metric while training",
    EPOCHS_TO_METRIC: "epochs to metric {level:.4g}",
    JUMP: "jump at the switch",
}
_UNIT = {EPOCHS_TO_LOSS: "epochs", EPOCHS_TO_METRIC: "epochs", METRIC_AREA: "metric"}


@dataclass(frozen=True)
class ConvergenceNumbers:
    """What the figure shows.

    Attributes:
        dataset: Name of the dataset.
        metric_name: Name of its metric.
        teachers: Columns of panels.
        alphas: Line order.
        measures: Rows of panels.
        levels: Measure to the level it is about: the hardest; only for epochs to a level.
        points: One row per measure, teacher, alpha and switch epoch that is drawn: `n_pairs`, `mean`
            of the paired differences, `ci_low`, `ci_high`, `verdict`.
        censored: Measure to configurations that are not drawn: not every pair of seeds was seen
            to reach the level.
    """

    dataset: str
    metric_name: str
    teachers: tuple[str, ...]
    alphas: tuple[float, ...]
    measures: tuple[str, ...]
    levels: dict[str, float]
    points: pd.DataFrame
    censored: dict[str, int]

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        name = words.dataset_title(self.dataset)
        rows = self.points[self.points["measure"] == AREA]
        rows = rows[rows["verdict"].isin(["better", "worse", "no clear difference"])]
        if rows.empty:
            return f"{name}: how fast students learn, as a difference to the baseline"
        lower, higher = (int((rows["verdict"] == word).sum()) for word in ("better", "worse"))
        total = words.counted(len(rows), "configuration")
        return (
            f"{name}: after the switch the mean training loss of {words.none_or(lower)} of {total} "
            f"is lower than the baseline's over the same epochs, of {words.none_or(higher)} higher "
            "(corrected for their number)"
        )


def convergence_numbers(
    cells: pd.DataFrame,
    dataset: str | None = None,
    teacher: str | None = None,
    learned: pd.DataFrame | None = None,
) -> ConvergenceNumbers | None:
    """The numbers of the figure; None where no student can be compared with a baseline.

    Args:
        cells: One row per requested cell.
        dataset: Which dataset; may be left out where there is only one.
        teacher: Only this teacher.
        learned: What `analysis.convergence.convergence_table` says of them, where it is known
            already.

    Raises:
        ValueError: See `analysis.cells.only_variant`, `analysis.convergence.convergence_table` and
            `analysis.figures.choice.narrowed`.
    """
    variant = only_variant(cells, dataset)
    table = convergence_table(variant.cells) if learned is None else learned
    table = table[(table["role"] == "student") & table["measure"].isin(ROWS)]
    if table.empty:
        return None
    table = narrowed(table, teacher)
    # Of the levels the last is the hardest: fewest students have passed it before the switch.
    table = table.drop_duplicates(["teacher", "alpha", "switch_epoch", "measure"], keep="last")
    timed = table["measure"].isin(_HEAD) & table["level"].notna()
    whole = (table["n_pairs"] == table["n"]) | ~timed
    drawn = table[whole & table["difference"].notna()]
    if drawn.empty:
        return None
    names = {
        "difference": "mean",
        "difference_ci_low": "ci_low",
        "difference_ci_high": "ci_high",
    }
    columns = ["measure", "teacher", "alpha", "switch_epoch", "n_pairs", "verdict", *names]
    hidden = table[timed & (table["n"] > 0) & ~whole]["measure"].value_counts()
    levels = table[timed].groupby("measure")["level"].last()
    return ConvergenceNumbers(
        dataset=variant.dataset,
        metric_name=str(drawn["metric_name"].iloc[0]),
        teachers=tuple(words.by_size(drawn["teacher"])),
        alphas=tuple(sorted(drawn["alpha"].unique())),
        measures=tuple(m for m in ROWS if (drawn["measure"] == m).any()),
        levels={str(measure): float(level) for measure, level in levels.items()},
        points=drawn[columns].rename(columns=names).reset_index(drop=True),
        censored={str(measure): int(count) for measure, count in hidden.items()},
    )


def draw(numbers: ConvergenceNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    grid = [(measure, teacher) for measure in numbers.measures for teacher in numbers.teachers]
    panels = style.Panels(
        [f"{teacher}: {_head(numbers, measure)}" for measure, teacher in grid],
        columns=1 if narrow else len(numbers.teachers),
        row_px=200,
        x_title="switch epoch (guidance ends)",
        y_title=[f"Δ {_UNIT.get(measure, 'loss')}" for measure, _ in grid],
        shared_y=False,
        narrow=narrow,
    )
    named: set[float] = set()
    for index, (measure, teacher) in enumerate(grid):
        legend = "baseline of the same seed" if index == 0 else ""
        panels.baseline(index, 0.0, float("nan"), float("nan"), legend)
        here = numbers.points[
            (numbers.points["measure"] == measure) & (numbers.points["teacher"] == teacher)
        ]
        for position, alpha in enumerate(numbers.alphas):
            line = here[here["alpha"] == alpha]
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
                line={"color": style.category(position), "width": 1.5},
                marker={"symbol": style.marker(position), "size": 5},
                customdata=line["n_pairs"].to_numpy("int64"),
                hovertemplate=(
                    f"{teacher} teacher, alpha {alpha:g}, switch %{{x}}<br>"
                    "%{y:+.4g}, %{customdata} pairs<extra></extra>"
                ),
            )
            named.add(alpha)
    figure = panels.figure(numbers.title)
    # One scale for a measure, so that teachers can be compared.
    for index, (measure, _) in enumerate(grid):
        head = numbers.measures.index(measure) * len(numbers.teachers)
        if index != head:
            figure.layout[f"yaxis{index + 1}"].matches = style.axis(head, "y")
    return figure


def _head(numbers: ConvergenceNumbers, measure: str) -> str:
    return _HEAD[measure].format(level=numbers.levels.get(measure, float("nan")))


def convergence_differences(
    cells: pd.DataFrame,
    dataset: str | None = None,
    teacher: str | None = None,
    narrow: bool = False,
) -> "go.Figure":
    """How fast students learn against their baselines, ready to show.

    Raises:
        ValueError: See `convergence_numbers`; or no student can be compared with a baseline.
    """
    numbers = convergence_numbers(cells, dataset, teacher)
    if numbers is None:
        raise ValueError("cells: no student has a loss curve to compare with a baseline's")
    return draw(numbers, narrow)

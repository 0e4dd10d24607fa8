"""Every seed: the spread of the metric over the switch epoch, one panel per teacher and alpha."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from analysis import words
from analysis.cells import only_variant, summarise
from analysis.columns import direction
from analysis.figures import style
from analysis.figures.baseline import Baseline, baseline_of
from analysis.figures.choice import PANELS_AT_MOST, best, evenly, narrowed

if TYPE_CHECKING:
    import plotly.graph_objects as go

BASELINE_LABEL = " "


@dataclass(frozen=True)
class SeedNumbers:
    """What the figure shows.

    Attributes:
        dataset: Name of the dataset.
        metric_name: Name of its metric.
        panels: The (teacher, alpha) of each panel, teacher by teacher.
        columns: Panels per teacher.
        values: One row per finished student cell: `teacher`, `alpha`, `switch_epoch`, `seed`,
            `value`.
        baseline_values: The baseline's figure per seed (index: seed).
        baseline: The baseline's mean and interval; None without one.
    """

    dataset: str
    metric_name: str
    panels: tuple[tuple[str, float], ...]
    columns: int
    values: pd.DataFrame
    baseline_values: "pd.Series[float]"
    baseline: Baseline | None

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        name = words.dataset_title(self.dataset)
        if len(self.panels) == 1:
            return self._title_of_one(name)
        groups = self.values.groupby(["teacher", "alpha", "switch_epoch"])["value"]
        if (groups.size() < 2).all():
            return f"{name}: one seed per configuration, so the spread over seeds is not known"
        spread = groups.std()
        typical = words.metric_difference(float(spread.median()), self.metric_name).lstrip("+")
        teacher, alpha, epoch = spread.index[int(spread.fillna(0.0).to_numpy().argmax())]
        widest = words.metric_difference(float(spread.max()), self.metric_name).lstrip("+")
        return (
            f"{name}: seeds of one configuration deviate by {typical} in the median, "
            f"at most {widest} ({teacher} teacher, alpha {alpha:g}, switch {epoch})"
        )

    def _title_of_one(self, name: str) -> str:
        (teacher, alpha), metric = self.panels[0], self.metric_name
        means = self.values.groupby(["teacher", "alpha", "switch_epoch"])["value"].mean()
        points = means.rename("mean").reset_index()
        top = points["mean"].iloc[int((points["mean"] * direction(metric)).to_numpy().argmax())]
        text = (
            f"{name}, {teacher} teacher, alpha {alpha:g}: best mean "
            f"{words.metric_value(float(top), metric)} at switch {best(points, metric)[2]}"
        )
        if self.baseline is None:
            return text
        return f"{text}, the baseline's {words.metric_value(self.baseline.mean, metric)}"


def seed_numbers(
    cells: pd.DataFrame,
    dataset: str | None = None,
    teacher: str | None = None,
    alpha: float | None = None,
) -> SeedNumbers | None:
    """The numbers of the figure; None without a student's result.

    Args:
        cells: One row per requested cell.
        dataset: Which dataset; may be left out where there is only one.
        teacher: Only panels of this teacher.
        alpha: Only panels of this alpha.

    Raises:
        ValueError: See `analysis.cells.only_variant` and `analysis.figures.choice.narrowed`.
    """
    variant = only_variant(cells, dataset)
    done = variant.cells[variant.cells["done"]]
    students = done[done["role"] == "student"]
    if students.empty:
        return None
    students = narrowed(students, teacher, alpha)
    teachers = words.by_size(students["teacher"])
    room = max(1, PANELS_AT_MOST // len(teachers))
    alphas = evenly(sorted(students["alpha"].unique()), room)
    shown = students[students["alpha"].isin(alphas)]
    values = shown[["teacher", "alpha", "switch_epoch", "seed", "test_metric"]]
    present = set(zip(shown["teacher"], shown["alpha"], strict=True))
    panels = tuple((t, a) for t in teachers for a in alphas if (t, a) in present)
    baselines = done[done["role"] == "baseline"].set_index("seed")["test_metric"]
    order = ["teacher", "alpha", "switch_epoch", "seed"]
    return SeedNumbers(
        dataset=variant.dataset,
        metric_name=str(students["metric_name"].iloc[0]),
        panels=panels,
        columns=len(alphas),
        values=values.rename(columns={"test_metric": "value"}).sort_values(
            order, ignore_index=True
        ),
        baseline_values=baselines.sort_index(),
        baseline=baseline_of(summarise(variant.cells)),
    )


def draw(numbers: SeedNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    columns = 1 if narrow else min(3, numbers.columns)
    panels = style.Panels(
        [f"{teacher} teacher, alpha {alpha:g}" for teacher, alpha in numbers.panels],
        columns,
        row_px=210 if len(numbers.panels) > 1 else style.SINGLE_PX,
        x_title="switch epoch (guidance ends)",
        y_title=words.metric_title(numbers.metric_name),
        shared_y=False,
        narrow=narrow,
    )
    alphas = sorted({alpha for _, alpha in numbers.panels})
    epochs = [str(e) for e in sorted(numbers.values["switch_epoch"].unique())]
    look = {"boxpoints": "all", "jitter": 0.5, "pointpos": 0, "line": {"width": 1}}
    for index, (teacher, alpha) in enumerate(numbers.panels):
        if numbers.baseline is not None:
            base = numbers.baseline
            panels.baseline(
                index,
                base.mean,
                base.ci_low,
                base.ci_high,
                "baseline: grey box, mean and its 95 % interval" if index == 0 else "",
            )
            panels.add(
                index,
                type="box",
                x=[BASELINE_LABEL] * len(numbers.baseline_values),
                y=numbers.baseline_values.to_numpy(),
                text=[f"seed {seed}" for seed in numbers.baseline_values.index],
                marker={"color": style.BASELINE, "size": 3},
                showlegend=False,
                hovertemplate="baseline, %{text}: %{y:.5g}<extra></extra>",
                **look,
            )
        values = numbers.values
        own = values[(values["teacher"] == teacher) & (values["alpha"] == alpha)]
        panels.add(
            index,
            type="box",
            x=own["switch_epoch"].astype(str).tolist(),
            y=own["value"].to_numpy(),
            text=[f"seed {seed}" for seed in own["seed"]],
            marker={"color": style.category(alphas.index(alpha)), "size": 3},
            showlegend=False,
            hovertemplate="switch %{x}, %{text}: %{y:.5g}<extra></extra>",
            **look,
        )
    first = [BASELINE_LABEL] if numbers.baseline is not None else []
    panels.x_axes(
        type="category", categoryorder="array", categoryarray=[*first, *epochs], showgrid=False
    )
    return panels.figure(numbers.title)


def seed_boxplots(
    cells: pd.DataFrame,
    dataset: str | None = None,
    teacher: str | None = None,
    alpha: float | None = None,
    narrow: bool = False,
) -> "go.Figure":
    """Boxplots over seeds, ready to show.

    Raises:
        ValueError: See `seed_numbers`; or no student has a result.
    """
    numbers = seed_numbers(cells, dataset, teacher, alpha)
    if numbers is None:
        raise ValueError("cells: no student has a result")
    return draw(numbers, narrow)

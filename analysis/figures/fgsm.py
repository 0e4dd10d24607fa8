"""Under attack: all configurations per epsilon, their mean, and the baseline.

One panel per epsilon, 0 being the clean test set; in a panel one column per teacher, every mark
the mean of one configuration over its seeds, the bar their mean.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis import words
from analysis.attacks import attack_means
from analysis.cells import only_variant, summarise
from analysis.columns import direction
from analysis.figures import style
from analysis.figures.baseline import Baseline, baseline_of
from analysis.figures.choice import not_attacked

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class FgsmNumbers:
    """What the figure shows.

    Attributes:
        dataset: Name of the dataset.
        metric_name: Name of its metric.
        attack: Name of the attack.
        epsilons: Panel order; 0 is the clean test set.
        teachers: Column order within a panel.
        alphas: Colour order.
        points: One row per configuration and epsilon: `teacher`, `alpha`, `switch_epoch`,
            `epsilon`, `n`, `mean` over seeds, `ci_low`, `ci_high` (95 % t interval).
        averages: `epsilon`, `teacher`, `mean` over that teacher's configurations.
        baselines: Epsilon to baseline; empty without one.
    """

    dataset: str
    metric_name: str
    attack: str
    epsilons: tuple[float, ...]
    teachers: tuple[str, ...]
    alphas: tuple[float, ...]
    points: pd.DataFrame
    averages: pd.DataFrame
    baselines: dict[float, Baseline]

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        name, under = words.dataset_title(self.dataset), words.attack_title(self.attack)
        parts = []
        for epsilon in self.epsilons:
            base = self.baselines.get(epsilon)
            if base is None or epsilon == 0:
                continue
            means = self.points.loc[self.points["epsilon"] == epsilon, "mean"]
            gain = (means - base.mean) * direction(self.metric_name)
            parts.append(f"{(gain > 0).sum()} of {len(means)} at epsilon {epsilon:g}")
        if not parts:
            return f"{name}: guided students under {under}; there is no baseline"
        return f"{name}: means better than the baseline's under {under}: {words.listed(parts)}"


def fgsm_numbers(
    cells: pd.DataFrame, dataset: str | None = None, attack: str = "fgsm"
) -> FgsmNumbers | None:
    """The numbers of the figure; None where no student was attacked.

    Raises:
        ValueError: See `analysis.cells.only_variant`.
    """
    variant = only_variant(cells, dataset)
    under = attack_means(variant.cells)
    under = under[under["attack"] == attack]
    clean = summarise(variant.cells).assign(epsilon=0.0)
    table = pd.concat([clean[clean["n"] > 0], under], ignore_index=True)
    students = table[table["role"] == "student"]
    if students.empty or under.empty:
        return None
    epsilons = sorted(float(epsilon) for epsilon in students["epsilon"].unique())
    bases = {e: baseline_of(table[table["epsilon"] == e]) for e in epsilons}
    columns = ["teacher", "alpha", "switch_epoch", "epsilon", "n", "mean"]
    columns += ["ci_low", "ci_high"]
    return FgsmNumbers(
        dataset=variant.dataset,
        metric_name=str(students["metric_name"].iloc[0]),
        attack=attack,
        epsilons=tuple(epsilons),
        teachers=tuple(words.by_size(students["teacher"])),
        alphas=tuple(sorted(students["alpha"].unique())),
        points=students[columns].reset_index(drop=True),
        averages=students.groupby(["epsilon", "teacher"])[["mean"]].mean().reset_index(),
        baselines={epsilon: base for epsilon, base in bases.items() if base is not None},
    )


def draw(numbers: FgsmNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    columns = 1 if narrow else min(4, len(numbers.epsilons))
    panels = style.Panels(
        [style.epsilon_title(epsilon) for epsilon in numbers.epsilons],
        columns,
        row_px=180 if narrow else 300,
        x_title="teacher",
        y_title=words.metric_title(numbers.metric_name),
        shared_y=False,
        narrow=narrow,
    )
    slots = {teacher: slot for slot, teacher in enumerate(numbers.teachers)}
    count = len(numbers.alphas)
    legend = style.BASELINE_LEGEND
    for index, epsilon in enumerate(numbers.epsilons):
        base = numbers.baselines.get(epsilon)
        if base is not None:
            panels.baseline(
                index, base.mean, base.ci_low, base.ci_high, legend if index == 0 else ""
            )
        here = numbers.points[numbers.points["epsilon"] == epsilon]
        for position, alpha in enumerate(numbers.alphas):
            own = here[here["alpha"] == alpha]
            # Alphas stand beside each other; within one, switch epochs run from left to right.
            rank = own.groupby("teacher")["switch_epoch"].rank(method="first").to_numpy(np.float64)
            size = own.groupby("teacher")["switch_epoch"].transform("size").to_numpy(np.float64)
            inside = (rank - 0.5) / np.maximum(size, 1) - 0.5
            at = (position + 0.5) / count - 0.5 + inside / count * 0.8
            panels.add(
                index,
                type="scatter",
                x=own["teacher"].map(slots).to_numpy(np.float64) + 0.8 * at,
                y=own["mean"].to_numpy(),
                mode="markers",
                name=f"alpha {alpha:g}",
                legendgroup=f"{alpha:g}",
                showlegend=index == 0,
                marker={
                    "color": style.category(position),
                    "symbol": style.marker(position),
                    "size": 5,
                    "opacity": 0.8,
                },
                text=[words.configuration({"role": "student", **r}) for r in _records(own)],
                hovertemplate="%{text}<br>%{y:.5g}<extra></extra>",
            )
        means = numbers.averages[numbers.averages["epsilon"] == epsilon]
        xs: list[float | None] = []
        ys: list[float | None] = []
        for teacher, mean in zip(means["teacher"], means["mean"], strict=True):
            xs += [slots[teacher] - 0.4, slots[teacher] + 0.4, None]
            ys += [mean, mean, None]
        panels.add(
            index,
            type="scatter",
            x=xs,
            y=ys,
            mode="lines",
            name="mean over the teacher's configurations",
            legendgroup="mean",
            showlegend=index == 0,
            line={"color": "#CC79A7", "width": 3},
            hovertemplate="mean over configurations: %{y:.5g}<extra></extra>",
        )
    panels.x_axes(
        tickvals=list(slots.values()),
        ticktext=list(slots),
        range=[-0.5, len(slots) - 0.5],
        showgrid=False,
    )
    return panels.figure(numbers.title)


def needed_numbers(cells: pd.DataFrame, dataset: str | None, attack: str) -> FgsmNumbers:
    """As `fgsm_numbers`, for a figure that was asked for by its name.

    Raises:
        ValueError: See `analysis.cells.only_variant`; or no student was attacked.
    """
    numbers = fgsm_numbers(cells, dataset, attack)
    if numbers is None:
        raise ValueError(not_attacked(cells, attack))
    return numbers


def fgsm_summary(
    cells: pd.DataFrame,
    dataset: str | None = None,
    attack: str = "fgsm",
    narrow: bool = False,
) -> "go.Figure":
    """The summary under attack, ready to show.

    Raises:
        ValueError: See `analysis.cells.only_variant`; or no student was attacked.
    """
    return draw(needed_numbers(cells, dataset, attack), narrow)


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    columns = ["teacher", "alpha", "switch_epoch"]
    rows = frame[columns].itertuples(index=False)
    return [dict(zip(columns, row, strict=True)) for row in rows]

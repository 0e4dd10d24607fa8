"""Robustness against clean performance: every configuration, one panel per epsilon.

What is above the baseline at the same clean value is more robust than its clean performance
explains; what moves along with it is not.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from analysis import words
from analysis.columns import direction
from analysis.figures import style
from analysis.figures.baseline import Baseline
from analysis.figures.fgsm import FgsmNumbers, fgsm_numbers, needed_numbers

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class TradeoffNumbers:
    """What the figure shows.

    Attributes:
        dataset: Name of the dataset.
        metric_name: Name of its metric.
        attack: Name of the attack.
        epsilons: Panel order.
        teachers: Marker order.
        alphas: Colour order.
        points: One row per configuration and epsilon: `teacher`, `alpha`, `switch_epoch`,
            `epsilon`, `mean`, `ci_low`, `ci_high` under attack, and the same with `_clean`.
        clean: The baseline on clean inputs; None without one.
        baselines: Epsilon to the baseline under attack.
        shown: The range of clean means that is drawn; `left_out` are beyond it.
    """

    dataset: str
    metric_name: str
    attack: str
    epsilons: tuple[float, ...]
    teachers: tuple[str, ...]
    alphas: tuple[float, ...]
    points: pd.DataFrame
    clean: Baseline | None
    baselines: dict[float, Baseline]
    shown: tuple[float, float]

    @property
    def left_out(self) -> int:
        """Configurations whose clean mean is outside the range that is drawn."""
        far = self.points[~self.points["mean_clean"].between(*self.shown)]
        return len(far[["teacher", "alpha", "switch_epoch"]].drop_duplicates())

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        name, under = words.dataset_title(self.dataset), words.attack_title(self.attack)
        if self.clean is None or not self.baselines:
            return f"{name}: clean performance and robustness under {under}; there is no baseline"
        sign = direction(self.metric_name)
        up = (self.points["mean_clean"] - self.clean.mean) * sign > 0
        parts = []
        for epsilon in self.epsilons:
            here = self.points["epsilon"] == epsilon
            base = self.baselines[epsilon].mean
            robust = (self.points["mean"] - base) * sign > 0
            parts.append(f"{int((here & up & robust).sum())} at epsilon {epsilon:g}")
        total = words.counted(
            int((self.points["epsilon"] == self.epsilons[0]).sum()), "configuration"
        )
        far = f"; {self.left_out} far out are not drawn" if self.left_out else ""
        return (
            f"{name}: better than the baseline both clean and under {under}, of {total}: "
            f"{words.listed(parts)}{far}"
        )


def tradeoff_numbers(
    cells: pd.DataFrame, dataset: str | None = None, attack: str = "fgsm"
) -> TradeoffNumbers | None:
    """The numbers of the figure; None where no student was attacked.

    Raises:
        ValueError: See `analysis.cells.only_variant`.
    """
    found = fgsm_numbers(cells, dataset, attack)
    return None if found is None else tradeoff_of(found)


def tradeoff_of(found: FgsmNumbers) -> TradeoffNumbers:
    """The numbers of the figure from those of `analysis.figures.fgsm`, which has them all."""
    key = ["teacher", "alpha", "switch_epoch"]
    clean = found.points[found.points["epsilon"] == 0].drop(columns=["epsilon", "n"])
    under = found.points[found.points["epsilon"] > 0].drop(columns="n")
    points = under.merge(clean, on=key, suffixes=("", "_clean"))
    return TradeoffNumbers(
        dataset=found.dataset,
        metric_name=found.metric_name,
        attack=found.attack,
        epsilons=tuple(sorted(float(epsilon) for epsilon in points["epsilon"].unique())),
        teachers=found.teachers,
        alphas=found.alphas,
        points=points,
        clean=found.baselines.get(0.0),
        baselines={e: base for e, base in found.baselines.items() if e > 0},
        shown=style.without_far(clean["mean"]),
    )


def draw(numbers: TradeoffNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    title = words.metric_title(numbers.metric_name)
    panels = style.Panels(
        [style.epsilon_title(epsilon) for epsilon in numbers.epsilons],
        columns=1 if narrow else min(3, len(numbers.epsilons)),
        row_px=260 if narrow else 320,
        x_title=f"{title}, clean",
        y_title=f"{title}, {words.attack_title(numbers.attack)}",
        shared_y=False,
        narrow=narrow,
    )
    for index, epsilon in enumerate(numbers.epsilons):
        here = numbers.points[numbers.points["epsilon"] == epsilon]
        here = here[here["mean_clean"].between(*numbers.shown)]
        for teacher in numbers.teachers:
            for position, alpha in enumerate(numbers.alphas):
                own = here[(here["teacher"] == teacher) & (here["alpha"] == alpha)]
                panels.add(index, **_cloud(own, teacher, alpha, position, numbers, index == 0))
        base = numbers.baselines.get(epsilon)
        if base is not None and numbers.clean is not None:
            panels.add(index, **_cross(numbers.clean, base, index == 0))
    low, high = numbers.shown
    room = 0.04 * (high - low) or 1e-3
    panels.x_axes(range=[low - room, high + room])
    return panels.figure(numbers.title)


def _cloud(
    own: pd.DataFrame,
    teacher: str,
    alpha: float,
    position: int,
    numbers: TradeoffNumbers,
    named: bool,
) -> dict[str, object]:
    size = numbers.teachers.index(teacher)
    text = f"{teacher} teacher, alpha {alpha:g}"
    faint = {"color": "rgba(128,128,128,0.25)"}
    return {
        "type": "scatter",
        "x": own["mean_clean"].to_numpy(),
        "y": own["mean"].to_numpy(),
        "error_x": style.error_bars(own, "_clean") | faint,
        "error_y": style.error_bars(own) | faint,
        "mode": "markers",
        "name": text,
        "legendgroup": text,
        "showlegend": named,
        "marker": {
            "color": style.category(position),
            "symbol": style.marker(size) + ("-open" if size % 2 else ""),
            "size": 7,
        },
        "customdata": own["switch_epoch"].to_numpy("int64"),
        "hovertemplate": (
            f"{text}, switch %{{customdata}}<br>clean %{{x:.5g}}, attacked %{{y:.5g}}<extra></extra>"
        ),
    }


def _cross(clean: Baseline, under: Baseline, named: bool) -> dict[str, object]:
    point = pd.DataFrame(
        {
            "mean": [under.mean],
            "ci_low": [under.ci_low],
            "ci_high": [under.ci_high],
            "mean_clean": [clean.mean],
            "ci_low_clean": [clean.ci_low],
            "ci_high_clean": [clean.ci_high],
        }
    )
    thick = {"color": style.BASELINE, "thickness": 3, "width": 6}
    return {
        "type": "scatter",
        "x": [clean.mean],
        "y": [under.mean],
        "error_x": style.error_bars(point, "_clean") | thick,
        "error_y": style.error_bars(point) | thick,
        "mode": "markers",
        "name": "baseline: mean and its 95 % intervals",
        "legendgroup": "baseline",
        "showlegend": named,
        "marker": {"color": style.BASELINE, "symbol": "cross", "size": 11},
        "hovertemplate": "baseline<br>clean %{x:.5g}, attacked %{y:.5g}<extra></extra>",
    }


def robustness_tradeoff(
    cells: pd.DataFrame,
    dataset: str | None = None,
    attack: str = "fgsm",
    narrow: bool = False,
) -> "go.Figure":
    """Robustness against clean performance, ready to show.

    Raises:
        ValueError: See `analysis.cells.only_variant`; or no student was attacked.
    """
    return draw(tradeoff_of(needed_numbers(cells, dataset, attack)), narrow)

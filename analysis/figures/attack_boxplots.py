"""Under attack, every seed: one teacher and alpha against the baseline, one panel per epsilon."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from analysis import words
from analysis.attacks import attacked
from analysis.cells import only_variant
from analysis.columns import direction
from analysis.figures import style
from analysis.figures.baseline import Baseline
from analysis.figures.choice import best, narrowed, not_attacked
from analysis.intervals import t_interval

if TYPE_CHECKING:
    import plotly.graph_objects as go

BASELINE_LABEL = "baseline"


@dataclass(frozen=True)
class AttackBoxNumbers:
    """What the figure shows.

    Attributes:
        dataset: Name of the dataset.
        metric_name: Name of its metric.
        attack: Name of the attack.
        teacher: The students' teacher.
        alpha: Their alpha.
        switch_epochs: Box order, after the baseline.
        epsilons: Panel order; 0 is the clean test set.
        values: One row per student, epsilon and seed: `epsilon`, `switch_epoch`, `seed`, `value`.
        baseline_values: The same of the baseline, without `switch_epoch`.
        baselines: Epsilon to the baseline's mean and interval; empty without one.
    """

    dataset: str
    metric_name: str
    attack: str
    teacher: str
    alpha: float
    switch_epochs: tuple[int, ...]
    epsilons: tuple[float, ...]
    values: pd.DataFrame
    baseline_values: pd.DataFrame
    baselines: dict[float, Baseline]

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        name = (
            f"{words.dataset_title(self.dataset)}, {self.teacher} teacher, alpha {self.alpha:g}, "
            f"under {words.attack_title(self.attack)}"
        )
        means = self.values.groupby(["epsilon", "switch_epoch"])["value"].mean()
        parts = []
        for epsilon in self.epsilons:
            base = self.baselines.get(epsilon)
            if base is None or epsilon == 0:
                continue
            own = means[epsilon]
            if len(own) == 1:
                gap = words.metric_difference(float(own.iloc[0]) - base.mean, self.metric_name)
                parts.append(f"{gap} at epsilon {epsilon:g}")
            else:
                above = int(((own - base.mean) * direction(self.metric_name) > 0).sum())
                parts.append(f"{above} of {len(own)} at epsilon {epsilon:g}")
        if not parts:
            return f"{name}; there is no baseline"
        if len(self.switch_epochs) == 1:
            return f"{name}, switch {self.switch_epochs[0]}: against the baseline {words.listed(parts)}"
        return f"{name}: switch epochs better than the baseline: {words.listed(parts)}"


def attack_box_numbers(
    cells: pd.DataFrame,
    dataset: str | None = None,
    teacher: str | None = None,
    alpha: float | None = None,
    switch_epoch: int | None = None,
    attack: str = "fgsm",
) -> AttackBoxNumbers | None:
    """The numbers of the figure; None where no student was attacked.

    Args:
        cells: One row per requested cell.
        dataset: Which dataset; may be left out where there is only one.
        teacher: Which teacher; left out, that of the best mean on clean inputs.
        alpha: Which alpha; left out, likewise.
        switch_epoch: Which switch epoch; left out, all.
        attack: Which attack.

    Raises:
        ValueError: See `analysis.cells.only_variant` and `analysis.figures.choice.narrowed`.
    """
    variant = only_variant(cells, dataset)
    long = attacked(variant.cells)
    long = long[long["attack"] == attack]
    if not (long["role"] == "student").any():
        return None
    done = variant.cells[variant.cells["done"]].assign(epsilon=0.0)
    done = done.rename(columns={"test_metric": "value"})
    columns = ["role", "teacher", "alpha", "switch_epoch", "seed", "epsilon", "value"]
    table = pd.concat([done[columns], long[columns]], ignore_index=True)
    metric = str(long["metric_name"].iloc[0])
    students = narrowed(table[table["role"] == "student"], teacher, alpha, switch_epoch)
    clean = students[students["epsilon"] == 0]
    means = clean.groupby(["teacher", "alpha", "switch_epoch"])["value"].mean()
    teacher, alpha, _ = best(means.rename("mean").reset_index(), metric)
    students = narrowed(students, teacher, alpha)
    bases = table[table["role"] == "baseline"]
    order = ["epsilon", "switch_epoch", "seed"]
    return AttackBoxNumbers(
        dataset=variant.dataset,
        metric_name=metric,
        attack=attack,
        teacher=teacher,
        alpha=alpha,
        switch_epochs=tuple(sorted(int(epoch) for epoch in students["switch_epoch"].unique())),
        epsilons=tuple(sorted(float(epsilon) for epsilon in students["epsilon"].unique())),
        values=students[[*order, "value"]].sort_values(order, ignore_index=True),
        baseline_values=bases[["epsilon", "seed", "value"]].reset_index(drop=True),
        baselines=_baselines(bases),
    )


def _baselines(bases: pd.DataFrame) -> dict[float, Baseline]:
    table = bases.groupby("epsilon")["value"].agg(["mean", "std", "count"])
    low, high = t_interval(table["mean"], table["std"], table["count"])
    return {
        float(epsilon): Baseline(float(row[0]), float(low[i]), float(high[i]), int(row[2]))
        for i, (epsilon, *row) in enumerate(table.itertuples())
    }


def draw(numbers: AttackBoxNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    one = len(numbers.switch_epochs) == 1
    columns = 1 if narrow else (min(4, len(numbers.epsilons)) if one else 2)
    panels = style.Panels(
        [style.epsilon_title(epsilon) for epsilon in numbers.epsilons],
        columns,
        row_px=210 if narrow else 260,
        x_title="" if one else "switch epoch (guidance ends)",
        y_title=words.metric_title(numbers.metric_name),
        shared_y=False,
        narrow=narrow,
    )
    label = {e: f"switch {e}" if one else str(e) for e in numbers.switch_epochs}
    first = BASELINE_LABEL if one else " "
    for index, epsilon in enumerate(numbers.epsilons):
        base = numbers.baselines.get(epsilon)
        if base is not None:
            legend = "baseline: grey box, mean and its 95 % interval" if index == 0 else ""
            panels.baseline(index, base.mean, base.ci_low, base.ci_high, legend)
            own = numbers.baseline_values[numbers.baseline_values["epsilon"] == epsilon]
            panels.add(index, **_box([first] * len(own), own, style.BASELINE))
        own = numbers.values[numbers.values["epsilon"] == epsilon]
        panels.add(index, **_box([label[e] for e in own["switch_epoch"]], own, style.category(0)))
    boxes = [first] if numbers.baselines else []
    order = [*boxes, *label.values()]
    panels.x_axes(type="category", categoryorder="array", categoryarray=order, showgrid=False)
    return panels.figure(numbers.title)


def _box(x: list[str], values: pd.DataFrame, colour: str) -> dict[str, object]:
    return {
        "type": "box",
        "x": x,
        "y": values["value"].to_numpy(),
        "text": [f"seed {seed}" for seed in values["seed"]],
        "boxpoints": "all",
        "jitter": 0.5,
        "pointpos": 0,
        "boxmean": True,
        "line": {"width": 1},
        "marker": {"color": colour, "size": 3},
        "showlegend": False,
        "hovertemplate": "%{x}, %{text}: %{y:.5g}<extra></extra>",
    }


def attack_boxplots(
    cells: pd.DataFrame,
    dataset: str | None = None,
    teacher: str | None = None,
    alpha: float | None = None,
    switch_epoch: int | None = None,
    attack: str = "fgsm",
    narrow: bool = False,
) -> "go.Figure":
    """Boxplots under attack, ready to show.

    Raises:
        ValueError: See `attack_box_numbers`; or no student was attacked.
    """
    numbers = attack_box_numbers(cells, dataset, teacher, alpha, switch_epoch, attack)
    if numbers is None:
        raise ValueError(not_attacked(cells, attack))
    return draw(numbers, narrow)

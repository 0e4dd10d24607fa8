"""Mean training loss per switch epoch, one panel per teacher and alpha, with the baseline's.

While a teacher guides, the loss that is minimised is the mixed one, on another scale than the hard
loss afterwards: the jump at the switch is that change of scale, too.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis import words
from analysis.cells import only_variant
from analysis.curves import loss_curves
from analysis.figures import style
from analysis.figures.choice import LINES_AT_MOST, PANELS_AT_MOST, evenly, narrowed

if TYPE_CHECKING:
    import plotly.graph_objects as go

POINTS_AT_MOST = 200
_FEW, _MANY = (1, 2, 5), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)


@dataclass(frozen=True)
class LossNumbers:
    """What the figure shows.

    Attributes:
        dataset: Name of the dataset.
        unit: What `at` counts: "epoch", or "optimiser step" where epochs are not known.
        panels: The (teacher, alpha) of each panel, teacher by teacher.
        columns: Panels per teacher.
        switch_epochs: The lines drawn, in order.
        left_out: Switch epochs with a curve that are not drawn.
        students: `teacher`, `alpha`, `switch_epoch`, `at`, `n`, `mean`.
        baseline: `at`, `n`, `mean`; empty without a baseline.
    """

    dataset: str
    unit: str
    panels: tuple[tuple[str, float], ...]
    columns: int
    switch_epochs: tuple[int, ...]
    left_out: int
    students: pd.DataFrame
    baseline: pd.DataFrame

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        name = words.dataset_title(self.dataset)
        last = self.students.groupby(["teacher", "alpha", "switch_epoch"])["mean"].last()
        if len(self.panels) == 1:
            (teacher, alpha) = self.panels[0]
            name += f", {teacher} teacher, alpha {alpha:g}"
        text = f"{name}: mean training loss ends between {last.min():.3g} and {last.max():.3g}"
        if not self.baseline.empty:
            text += f", the baseline's at {self.baseline['mean'].iloc[-1]:.3g}"
        return text


def loss_numbers(
    cells: pd.DataFrame,
    dataset: str | None = None,
    teacher: str | None = None,
    alpha: float | None = None,
) -> LossNumbers | None:
    """The numbers of the figure; None without a student's curve.

    Args:
        cells: One row per requested cell.
        dataset: Which dataset; may be left out where there is only one.
        teacher: Only panels of this teacher.
        alpha: Only panels of this alpha.

    Raises:
        ValueError: See `analysis.cells.only_variant`, `analysis.curves.loss_curves` and
            `analysis.figures.choice.narrowed`.
    """
    variant = only_variant(cells, dataset)
    part = variant.cells[variant.cells["role"] != "teacher"]
    if part.empty:
        return None
    curves = loss_curves(part, POINTS_AT_MOST)
    by_epoch = bool(curves["epoch"].notna().all())
    curves["at"] = curves["epoch" if by_epoch else "step"]
    students = curves[curves["role"] == "student"]
    if students.empty:
        return None
    students = narrowed(students, teacher, alpha)
    teachers = words.by_size(students["teacher"])
    alphas = evenly(sorted(students["alpha"].unique()), max(1, PANELS_AT_MOST // len(teachers)))
    epochs = sorted(int(epoch) for epoch in students["switch_epoch"].unique())
    drawn = evenly(epochs, LINES_AT_MOST)
    shown = students[students["alpha"].isin(alphas) & students["switch_epoch"].isin(drawn)]
    present = set(zip(shown["teacher"], shown["alpha"], strict=True))
    return LossNumbers(
        dataset=variant.dataset,
        unit="epoch" if by_epoch else "optimiser step",
        panels=tuple((t, a) for t in teachers for a in alphas if (t, a) in present),
        columns=len(alphas),
        switch_epochs=tuple(drawn),
        left_out=len(epochs) - len(drawn),
        students=shown[["teacher", "alpha", "switch_epoch", "at", "n", "mean"]].reset_index(
            drop=True
        ),
        baseline=curves.loc[curves["role"] == "baseline", ["at", "n", "mean"]].reset_index(
            drop=True
        ),
    )


def draw(numbers: LossNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    columns = 1 if narrow else min(3, numbers.columns)
    panels = style.Panels(
        [f"{teacher} teacher, alpha {alpha:g}" for teacher, alpha in numbers.panels],
        columns,
        row_px=210 if len(numbers.panels) > 1 else style.SINGLE_PX,
        x_title=numbers.unit,
        y_title="training loss",
        shared_y=True,
        narrow=narrow,
    )
    colours = style.ordered(len(numbers.switch_epochs))
    named: set[int] = set()
    for index, (teacher, alpha) in enumerate(numbers.panels):
        students = numbers.students
        own = students[(students["teacher"] == teacher) & (students["alpha"] == alpha)]
        for epoch, line in own.groupby("switch_epoch", sort=True):
            number = int(str(epoch))
            panels.add(
                index,
                type="scatter",
                # Half the bytes: a screen shows less than single precision.
                x=line["at"].to_numpy(np.float32),
                y=line["mean"].to_numpy(np.float32),
                mode="lines",
                name=f"switch {number}",
                legendgroup=str(number),
                showlegend=number not in named,
                line={"color": colours[numbers.switch_epochs.index(number)], "width": 1},
                hovertemplate=f"switch {number}: %{{y:.4g}}<extra></extra>",
            )
            named.add(number)
        if not numbers.baseline.empty:
            panels.add(
                index,
                type="scatter",
                x=numbers.baseline["at"].to_numpy(np.float32),
                y=numbers.baseline["mean"].to_numpy(np.float32),
                mode="lines",
                name="baseline",
                legendgroup="baseline",
                showlegend=index == 0,
                line={"color": style.BASELINE, "width": 2.5, "dash": "dash"},
                hovertemplate="baseline: %{y:.4g}<extra></extra>",
            )
    panels.y_axes(type="log", tickvals=log_ticks(numbers.students["mean"]))
    return panels.figure(numbers.title)


def log_ticks(losses: "pd.Series[float]") -> list[float]:
    """1, 2 and 5 times the powers of ten around the losses; more where only one would be seen."""
    positive = losses[losses > 0]
    if positive.empty:
        return []
    first, last = np.floor(np.log10([positive.min(), positive.max()])).astype(int)
    for digits in (_FEW, _MANY):
        ticks = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in digits]
        if sum(positive.min() <= tick <= positive.max() for tick in ticks) > 1:
            break
    return ticks


def training_losses(
    cells: pd.DataFrame,
    dataset: str | None = None,
    teacher: str | None = None,
    alpha: float | None = None,
    narrow: bool = False,
) -> "go.Figure":
    """Mean training losses, ready to show.

    Raises:
        ValueError: See `loss_numbers`; or no student has a loss curve.
    """
    numbers = loss_numbers(cells, dataset, teacher, alpha)
    if numbers is None:
        raise ValueError("cells: no student has a loss curve")
    return draw(numbers, narrow)

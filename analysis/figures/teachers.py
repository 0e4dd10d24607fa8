"""How much teachers of one size differ between seeds, and which of them was chosen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from analysis import words
from analysis.columns import direction
from analysis.figures import style
from analysis.teachers import selection_splits, teacher_table

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class TeacherNumbers:
    """What the figure shows.

    Attributes:
        dataset: Name of the dataset.
        metric_name: Name of its metric.
        models: Box order.
        values: One row per finished teacher: `model`, `seed`, `value`, `chosen`.
        splits: The splits the choice was made on; empty where that is not recorded.
    """

    dataset: str
    metric_name: str
    models: tuple[str, ...]
    values: pd.DataFrame
    splits: tuple[str, ...]

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        name = words.dataset_title(self.dataset)
        groups = self.values.groupby("model")["value"]
        if (groups.size() < 2).all():
            return f"{name}: one teacher per size, so their spread over seeds is not known"
        spread = groups.max() - groups.min()
        width = words.metric_difference(float(spread.max()), self.metric_name).lstrip("+")
        text = f"{name}: {spread.idxmax()} teachers differ most between seeds, by up to {width}"
        if self.splits:
            text += f"; stars were chosen on the {words.listed(self.splits)} split"
        return text


def teacher_numbers(cells: pd.DataFrame, dataset: str | None = None) -> TeacherNumbers | None:
    """The numbers of the figure; None without a finished teacher.

    Args:
        cells: One row per requested cell.
        dataset: Which dataset; may be left out where there is only one.

    Raises:
        ValueError: An unknown dataset, or several and none named.
    """
    names = sorted(cells["dataset"].unique())
    if (dataset is None and len(names) != 1) or (dataset is not None and dataset not in names):
        raise ValueError(f"dataset: {dataset!r} given; choose one of {', '.join(names)}")
    own = cells[cells["dataset"] == (dataset or names[0])]
    table = teacher_table(own)
    table = table[table["status"] == "done"].rename(columns={"test_metric": "value"})
    if table.empty:
        return None
    return TeacherNumbers(
        dataset=str(table["dataset"].iloc[0]),
        metric_name=str(table["metric_name"].iloc[0]),
        models=tuple(words.by_size(table["model"])),
        values=table[["model", "seed", "value", "chosen"]].reset_index(drop=True),
        splits=selection_splits(own).get(str(table["dataset"].iloc[0]), ()),
    )


def draw(numbers: TeacherNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    panels = style.Panels(
        [f"{model} teachers" for model in numbers.models],
        columns=len(numbers.models) if not narrow else 2,
        row_px=260,
        x_title="",
        y_title=words.metric_title(numbers.metric_name),
        shared_y=False,
        narrow=narrow,
    )
    named = False
    up = direction(numbers.metric_name) > 0
    for index, model in enumerate(numbers.models):
        own = numbers.values[numbers.values["model"] == model]
        panels.add(
            index,
            type="box",
            x=[model] * len(own),
            y=own["value"].to_numpy(),
            text=[f"seed {seed}" for seed in own["seed"]],
            boxpoints="all",
            jitter=0.5,
            pointpos=0,
            line={"width": 1.2},
            marker={"color": style.category(index), "size": 5},
            showlegend=False,
            hovertemplate="%{text}: %{y:.5g}<extra></extra>",
        )
        chosen = own[own["chosen"]]
        if len(chosen):
            panels.add(
                index,
                type="scatter",
                x=[model] * len(chosen),
                y=chosen["value"].to_numpy(),
                text=[f"seed {seed}" for seed in chosen["seed"]],
                textposition="top center" if up else "bottom center",
                cliponaxis=False,
                mode="markers+text",
                name="guided the students",
                legendgroup="chosen",
                showlegend=not named,
                marker={
                    "symbol": "star",
                    "size": 15,
                    "color": "#E69F00",
                    "line": {"color": "#333", "width": 1},
                },
                hovertemplate="chosen, %{text}: %{y:.5g}<extra></extra>",
            )
            named = True
    panels.x_axes(showticklabels=False, showgrid=False)
    return panels.figure(numbers.title)


def teacher_boxplots(
    cells: pd.DataFrame,
    dataset: str | None = None,
    narrow: bool = False,
) -> "go.Figure":
    """Boxplots of the teachers' seeds, ready to show.

    Raises:
        ValueError: See `teacher_numbers`; or no teacher is finished.
    """
    numbers = teacher_numbers(cells, dataset)
    if numbers is None:
        raise ValueError("cells: no teacher is finished")
    return draw(numbers, narrow)

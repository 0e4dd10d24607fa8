"""How teachers learned: the training loss of every seed, their mean, and the chosen one's.

One panel per size, and one for the student that trains without a teacher.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis import words
from analysis.cells import tidy
from analysis.curves import loss_curves, recorded, with_losses
from analysis.figures import style
from analysis.figures.choice import evenly, narrowed
from analysis.figures.losses import log_ticks
from analysis.teachers import teacher_table

if TYPE_CHECKING:
    import plotly.graph_objects as go

POINTS_AT_MOST = 150


@dataclass(frozen=True)
class TeacherLossNumbers:
    """What the figure shows.

    Attributes:
        dataset: Name of the dataset.
        unit: What `at` counts: "epoch", or "optimiser step" where epochs are not known.
        models: Panel order; a baseline's panel is the last and its name is in `baselines`.
        baselines: Models that are students without a teacher.
        seeds: `model`, `seed`, `at`, `loss`, at most `POINTS_AT_MOST` points a curve.
        means: `model`, `at`, `n`, `mean` over seeds.
        chosen: Teacher model to the seeds that guided students.
    """

    dataset: str
    unit: str
    models: tuple[str, ...]
    baselines: tuple[str, ...]
    seeds: pd.DataFrame
    means: pd.DataFrame
    chosen: dict[str, tuple[int, ...]]

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        last = self.means.groupby("model")["mean"].last()
        ends = words.listed(
            f"{last[m]:.3g} ({'student' if m in self.baselines else m})" for m in self.models
        )
        return f"{words.dataset_title(self.dataset)}: mean training loss ends at {ends}"


def teacher_loss_numbers(
    cells: pd.DataFrame, dataset: str | None = None, teacher: str | None = None
) -> TeacherLossNumbers | None:
    """The numbers of the figure; None where no teacher has a loss curve.

    Args:
        cells: One row per requested cell.
        dataset: Which dataset; may be left out where there is only one.
        teacher: Only this size of teacher, without the student; left out, all.

    Raises:
        ValueError: An unknown dataset or teacher; several datasets and none named; see
            `analysis.curves.recorded`.
    """
    frame = tidy(cells)
    names = sorted(frame["dataset"].unique())
    if (dataset is None and len(names) != 1) or (dataset is not None and dataset not in names):
        raise ValueError(f"dataset: {dataset!r} given; choose one of {', '.join(names)}")
    name = dataset or names[0]
    frame = frame[frame["dataset"] == name]
    part = with_losses(frame[frame["role"] != "student"])
    teachers = part[part["role"] == "teacher"]
    if teachers.empty:
        return None
    if teacher is not None:
        alike = teachers.assign(teacher=teachers["model"])
        part = part.loc[narrowed(alike, teacher).index]
    models = words.by_size(part.loc[part["role"] == "teacher", "model"])
    alone = words.by_size(part.loc[part["role"] == "baseline", "model"])
    baselines = [model for model in alone if model not in models]
    part = part[(part["role"] == "teacher") | part["model"].isin(baselines)]
    scale = pd.to_numeric(part["steps_per_epoch"])
    by_epoch = bool(scale.notna().all())
    curves = loss_curves(part, POINTS_AT_MOST)
    curves["at"] = curves["epoch" if by_epoch else "step"]
    table = teacher_table(frame)
    table = table[table["chosen"] & table["model"].isin(models)]
    return TeacherLossNumbers(
        dataset=name,
        unit="epoch" if by_epoch else "optimiser step",
        models=(*models, *baselines),
        baselines=tuple(baselines),
        seeds=_seeds(part, scale.to_numpy() if by_epoch else np.ones(len(part))),
        means=curves[["model", "at", "n", "mean"]].reset_index(drop=True),
        chosen={
            str(model): tuple(sorted(int(seed) for seed in rows["seed"]))
            for model, rows in table.groupby("model")
        },
    )


def _seeds(part: pd.DataFrame, scale: "np.typing.NDArray[np.float64]") -> pd.DataFrame:
    pieces = []
    for position, (step, loss) in enumerate(recorded(part)):
        kept = evenly(range(len(step)), POINTS_AT_MOST)
        row = part.iloc[position]
        points = {"at": step[kept] / scale[position], "loss": loss[kept]}
        pieces.append(pd.DataFrame({"model": row["model"], "seed": row["seed"], **points}))
    return pd.concat(pieces, ignore_index=True)


def draw(numbers: TeacherLossNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    alone = len(numbers.models) == 1
    panels = style.Panels(
        [
            "student, no teacher" if m in numbers.baselines else f"{m} teachers"
            for m in numbers.models
        ],
        columns=1 if narrow else min(4, len(numbers.models)),
        row_px=style.SINGLE_PX if alone else 240,
        x_title=numbers.unit,
        y_title="training loss",
        shared_y=True,
        narrow=narrow,
    )
    named: set[str] = set()

    def entry(name: str) -> dict[str, object]:
        first = name not in named
        named.add(name)
        return {"name": name, "legendgroup": name, "showlegend": first}

    for index, model in enumerate(numbers.models):
        own = numbers.seeds[numbers.seeds["model"] == model]
        x, y = _with_gaps(own)
        grey = {"color": "rgba(128,128,128,0.45)", "width": 1}
        panels.add(index, type="scatter", x=x, y=y, mode="lines", line=grey, hoverinfo="skip",
                   **entry("every seed"))  # fmt: skip
        mean = numbers.means[numbers.means["model"] == model]
        panels.add(
            index,
            type="scatter",
            x=mean["at"].to_numpy(np.float32),
            y=mean["mean"].to_numpy(np.float32),
            mode="lines",
            line={"color": style.category(0), "width": 2.5},
            hovertemplate="mean over seeds: %{y:.4g}<extra></extra>",
            **entry("mean over seeds"),
        )
        seeds = numbers.chosen.get(model, ())
        chosen = own[own["seed"].isin(seeds)]
        if chosen.empty:
            continue
        x, y = _with_gaps(chosen)
        panels.add(
            index,
            type="scatter",
            x=x,
            y=y,
            mode="lines",
            line={"color": style.category(1), "width": 1.8, "dash": "dash"},
            hovertemplate=f"chosen, seed {words.listed(map(str, seeds))}: %{{y:.4g}}<extra></extra>",
            **entry("the teacher that guided the students"),
        )
    panels.y_axes(type="log", tickvals=log_ticks(numbers.seeds["loss"]))
    return panels.figure(numbers.title)


def _with_gaps(
    own: pd.DataFrame,
) -> "tuple[np.typing.NDArray[np.float32], np.typing.NDArray[np.float32]]":
    """The curves of all seeds as one line with a gap between them."""
    xs, ys = [], []
    for _, curve in own.groupby("seed", sort=True):
        xs.append(np.append(curve["at"].to_numpy(np.float32), np.float32(np.nan)))
        ys.append(np.append(curve["loss"].to_numpy(np.float32), np.float32(np.nan)))
    return np.concatenate(xs), np.concatenate(ys)


def teacher_losses(
    cells: pd.DataFrame,
    dataset: str | None = None,
    teacher: str | None = None,
    narrow: bool = False,
) -> "go.Figure":
    """Training losses of all teachers, ready to show.

    Raises:
        ValueError: See `teacher_loss_numbers`; or no teacher has a loss curve.
    """
    numbers = teacher_loss_numbers(cells, dataset, teacher)
    if numbers is None:
        raise ValueError("cells: no teacher has a loss curve")
    return draw(numbers, narrow)

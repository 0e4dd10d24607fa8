"""All figures by name, so that a command line and a report can list and draw them.

A figure is one function of a table of cells; every other argument narrows what is drawn and may be
left out. To add one, write its function and name it here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, cast

import pandas as pd

if TYPE_CHECKING:
    import plotly.graph_objects as go

Argument = Literal["dataset", "teacher", "alpha", "switch_epoch", "attack"]


@dataclass(frozen=True)
class FigureKind:
    """A figure that can be drawn from any results.

    Attributes:
        name: What it is called on the command line; the function's name with dashes.
        description: What it shows, in one line.
        arguments: What it can be narrowed by.
        module: The module of `analysis.figures` that has its function.
    """

    name: str
    description: str
    arguments: tuple[Argument, ...]
    module: str

    @property
    def function(self) -> "Callable[..., go.Figure]":
        """The function: of a table of cells, the arguments and `narrow`."""
        module = import_module(f"analysis.figures.{self.module}")
        return cast("Callable[..., go.Figure]", getattr(module, self.name.replace("-", "_")))


_ONE: tuple[Argument, ...] = ("dataset",)
_BOX: tuple[Argument, ...] = ("dataset", "teacher", "alpha")
_ATTACK: tuple[Argument, ...] = ("dataset", "attack")

_KINDS = (
    FigureKind(
        "teacher-boxplots",
        "how much teachers of one size differ between seeds, and which was chosen",
        _ONE,
        "teachers",
    ),
    FigureKind(
        "teacher-losses",
        "training loss of every teacher, the mean and the chosen one's",
        ("dataset", "teacher"),
        "teacher_losses",
    ),
    FigureKind(
        "metric-over-switch-epoch",
        "mean and interval over the switch epoch, a panel per teacher",
        _ONE,
        "switch_epoch",
    ),
    FigureKind(
        "summary-lines",
        "the same, every teacher and alpha as a line of one panel",
        _ONE,
        "summary_lines",
    ),
    FigureKind(
        "guidance-heatmaps",
        "alpha by switch epoch, coloured around the baseline, one per teacher",
        _ONE,
        "heatmap",
    ),
    FigureKind(
        "seed-boxplots",
        "every seed over the switch epoch beside the baseline, a panel per teacher and alpha",
        _BOX,
        "seeds",
    ),
    FigureKind(
        "training-losses",
        "mean training loss per switch epoch and the baseline's, a panel per teacher and alpha",
        _BOX,
        "losses",
    ),
    FigureKind(
        "convergence-differences",
        "loss after the switch, epochs to a level and jump, each against the baseline",
        ("dataset", "teacher"),
        "convergence",
    ),
    FigureKind(
        "variance-shares",
        "how much of the variance teacher, alpha, switch epoch and seed explain",
        _ONE,
        "effects",
    ),
    FigureKind(
        "fgsm-summary",
        "all configurations per epsilon, their mean and the baseline",
        _ATTACK,
        "fgsm",
    ),
    FigureKind(
        "attack-lines",
        "under attack over the switch epoch, a panel per epsilon, a line per teacher and alpha",
        _ATTACK,
        "attack_lines",
    ),
    FigureKind(
        "attack-boxplots",
        "every seed under attack beside the baseline; without teacher and alpha, the best on clean",
        (*_BOX, "switch_epoch", "attack"),
        "attack_boxplots",
    ),
    FigureKind(
        "robustness-tradeoff",
        "robustness against clean performance of every configuration and the baseline",
        _ATTACK,
        "tradeoff",
    ),
    FigureKind(
        "confusion-heatmaps",
        "which classes are taken for which, by the baseline and by the best student",
        _ONE,
        "confusion",
    ),
    FigureKind(
        "label-correction",
        "of training rows with a wrong label, how many are corrected and how many memorised",
        _ONE,
        "label_correction",
    ),
    FigureKind(
        "attribution-violins",
        "how much of what networks look at lies on the object, per image, beside the baseline",
        (*_BOX, "switch_epoch"),
        "attribution",
    ),
)

FIGURES: dict[str, FigureKind] = {kind.name: kind for kind in _KINDS}
"""Every figure by its name, in the order they are listed."""


def figure_kind(name: str) -> FigureKind:
    """The figure of a name.

    Raises:
        ValueError: There is none; names those there are.
    """
    if name not in FIGURES:
        raise ValueError(f"figure: {name!r} is not one of {', '.join(FIGURES)}")
    return FIGURES[name]


def draw_figure(
    cells: pd.DataFrame, name: str, narrow: bool = False, **arguments: Any
) -> "go.Figure":
    """Draws a figure by its name.

    Args:
        cells: One row per requested cell.
        name: One of `FIGURES`.
        narrow: For a phone or one column of a page.
        **arguments: Of those its kind names; None is as good as left out.

    Raises:
        ValueError: An unknown name, an argument it does not take, a value that is not there, or
            nothing to draw.
    """
    kind = figure_kind(name)
    given = {key: value for key, value in arguments.items() if value is not None}
    for key, value in given.items():
        if key not in kind.arguments:
            raise ValueError(
                f"{key}: {value!r} is of no use to {name}, which takes {', '.join(kind.arguments)}"
            )
    return kind.function(cells, narrow=narrow, **given)

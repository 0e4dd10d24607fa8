"""Where networks look: a violin of the images' shares on the object, baseline and students."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from analysis import words
from analysis.attribution import (
    COLUMN,
    Way,
    attribution_table,
    attribution_ways,
    entries_of,
    image_shares,
)
from analysis.cells import configuration_keys, tidy
from analysis.columns import KEY
from analysis.figures import style
from analysis.figures.choice import evenly, narrowed, of_dataset

if TYPE_CHECKING:
    import plotly.graph_objects as go

VIOLINS_AT_MOST = 8


@dataclass(frozen=True)
class Violin:
    """One violin.

    Attributes:
        label: The configuration in words.
        role: `baseline` or `student`.
        shares: For each image the percentage of the absolute values on the object, mean over seeds.
        seeds: Of how many trials it is the mean.
        verdict: Of a student, see `analysis.attribution.attribution_table`.
    """

    label: str
    role: str
    shares: tuple[float, ...]
    seeds: int
    verdict: str

    @property
    def mean(self) -> float:
        """Mean of the shares, in percent."""
        return sum(self.shares) / len(self.shares)


@dataclass(frozen=True)
class AttributionNumbers:
    """What the figure shows.

    Attributes:
        dataset: Name of the dataset.
        way: How networks were asked, in the one way that is drawn.
        violins: Baselines first.
        left_out: Configurations that there is no room for.
        other_ways: Further ways in which networks were asked, that are not drawn.
    """

    dataset: str
    way: Way
    violins: tuple[Violin, ...]
    left_out: int
    other_ways: int

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        name = f"{words.dataset_title(self.dataset)}: values on the object"
        students = [violin for violin in self.violins if violin.role == "student"]
        bases = [violin for violin in self.violins if violin.role == "baseline"]
        if not bases or not students:
            said = words.listed(f"{v.label} {v.mean:.1f} %" for v in self.violins)
            return f"{name}, {said}"
        name += f", baseline {words.listed(f'{v.mean:.1f} %' for v in bases)}"
        if all(violin.verdict == "cannot say" for violin in students):
            low, high = (f"{pick(v.mean for v in students):.1f}" for pick in (min, max))
            means = f"{low} %" if low == high else f"{low} to {high} %"
            return f"{name}, students {means}; too few seeds to say more"
        more, less = (
            sum(violin.verdict == f"{side} on the object" for violin in students)
            for side in ("more", "less")
        )
        return (
            f"{name}; of {words.counted(len(students), 'student')} {words.none_or(more)} clearly "
            f"more and {words.none_or(less)} clearly less"
        )

    @property
    def note(self) -> str:
        """How it was measured, and what is not drawn."""
        parts = [self.way.sentences(), "A violin is over images, each the mean of its seeds."]
        if self.left_out:
            counted = words.counted(self.left_out, "configuration")
            parts.append(f"{counted} not drawn; the table has all.")
        if self.other_ways:
            parts.append(f"Networks were asked in {self.other_ways} other ways too, not drawn.")
        return " ".join(parts)


def attribution_numbers(
    cells: pd.DataFrame,
    dataset: str | None = None,
    teacher: str | None = None,
    alpha: float | None = None,
    switch_epoch: int | None = None,
) -> AttributionNumbers | None:
    """The numbers of the figure; None where no network of a baseline or student was asked.

    Args:
        cells: One row per requested cell; see `analysis.attribution.attribution_table`.
        dataset: Which dataset; may be left out where there is only one.
        teacher: Which teacher; left out, all. Too many are thinned out evenly.
        alpha: Which alpha; likewise.
        switch_epoch: Which switch epoch; likewise.

    Raises:
        ValueError: See `analysis.figures.choice.of_dataset` and `narrowed`.
    """
    own = of_dataset(tidy(cells), dataset)
    own = own[own["role"] != "teacher"]
    ways = attribution_ways(own)
    if not ways:
        return None
    keys = configuration_keys(own)
    asked = entries_of(own, ways[0])
    students = asked[asked["role"] == "student"]
    if len(students) or any(value is not None for value in (teacher, alpha, switch_epoch)):
        students = narrowed(students, teacher, alpha, switch_epoch)
    table = attribution_table(own)
    extra = [k for k in keys if k not in KEY or k in ("model", "temperature")]
    extra = [k for k in extra if asked[k].nunique() > 1]
    violins: dict[str, list[Violin]] = {"baseline": [], "student": []}
    for role, part in (("baseline", asked[asked["role"] == "baseline"]), ("student", students)):
        for key, group in part.groupby(keys, dropna=False, sort=True, observed=True):
            named = dict(zip(keys, key, strict=True))
            shares = 100 * image_shares(group[COLUMN])
            if shares.empty:
                continue
            verdict = _verdict(table, named, ways[0])
            if verdict == "same trial":
                continue  # it would be the baseline once more
            label = words.configuration(named, extra)
            seeds = int(group["seed"].nunique())
            violins[role].append(Violin(label, role, tuple(shares), seeds, verdict))
    room = max(1, VIOLINS_AT_MOST - len(violins["baseline"]))
    shown = evenly(violins["student"], room)
    drawn = (*violins["baseline"], *shown)
    if not drawn:
        return None
    return AttributionNumbers(
        dataset=str(own["dataset"].iloc[0]),
        way=ways[0],
        violins=drawn,
        left_out=len(violins["student"]) - len(shown),
        other_ways=len(ways) - 1,
    )


def _verdict(table: pd.DataFrame, named: dict[str, object], way: Way) -> str:
    rows = table
    for name, value in {**named, **vars(way)}.items():
        same = rows[name].isna() if pd.isna(value) else rows[name] == value
        rows = rows[same.fillna(False).astype(bool)]
    (verdict,) = rows["verdict"]
    return "" if pd.isna(verdict) else str(verdict)


def draw(numbers: AttributionNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    panels = style.Panels(
        [""], 1, style.SINGLE_PX, x_title="", y_title="values on the object (%)", shared_y=False,
        narrow=narrow,
    )  # fmt: skip
    students = 0
    for violin in numbers.violins:
        colour = style.BASELINE
        if violin.role == "student":
            colour = style.category(students)
            students += 1
        label = violin.label.replace(", ", "<br>")
        panels.add(
            0,
            type="violin",
            name=label,
            x=[label] * len(violin.shares),
            y=[round(share, 3) for share in violin.shares],
            line={"color": colour, "width": 1.5},
            box={"visible": True, "width": 0.15},
            meanline={"visible": True},
            points=False,
            spanmode="hard",
            scalemode="width",
            showlegend=False,
        )
    return panels.figure(numbers.title)


def attribution_violins(
    cells: pd.DataFrame,
    dataset: str | None = None,
    teacher: str | None = None,
    alpha: float | None = None,
    switch_epoch: int | None = None,
    narrow: bool = False,
) -> "go.Figure":
    """Where networks look, ready to show.

    Raises:
        ValueError: See `attribution_numbers`; or no network was asked.
    """
    numbers = attribution_numbers(cells, dataset, teacher, alpha, switch_epoch)
    if numbers is None:
        raise ValueError(
            "cells: no network of a baseline or student was asked where it looks; "
            "`sweep attribute` does"
        )
    return draw(numbers, narrow)

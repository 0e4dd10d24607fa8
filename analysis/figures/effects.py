"""How much of the variance each factor explains, one bar per term, one panel per dataset."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis import words
from analysis.anova import RESIDUAL
from analysis.effects import factor_effects
from analysis.figures import style

if TYPE_CHECKING:
    import plotly.graph_objects as go

_TITLE_LINE_PX = 20
# What a term is: its name in the legend, and its colour.
_KINDS = {
    "one factor": style.CATEGORIES[0],
    "factors together": style.CATEGORIES[5],
    "seed": style.CATEGORIES[4],
    "residual": style.BASELINE,
}


@dataclass(frozen=True)
class EffectNumbers:
    """What the figure shows.

    Attributes:
        datasets: Panel order.
        bars: One row per dataset and term, in the order of `analysis.effects.factor_effects`:
            `dataset`, `term`, `kind` (one of "one factor", "factors together", "seed", "residual"),
            `eta2` and `omega2` (shares of the variance, 0 to 1; omega2 NaN for the residual), `p`.
    """

    datasets: tuple[str, ...]
    bars: pd.DataFrame

    @property
    def title(self) -> str:
        """What is seen, a line per dataset."""
        return "<br>".join(self._sentence(dataset) for dataset in self.datasets)

    def _sentence(self, dataset: str) -> str:
        own = self.bars[self.bars["dataset"] == dataset]
        name = words.dataset_title(dataset)
        explained = own[~own["kind"].isin(("seed", "residual"))]
        if explained["eta2"].isna().all():
            return f"{name}: no factor varies"
        most = explained.iloc[int(explained["eta2"].to_numpy().argmax())]
        text = (
            f"{name}: of all settings {most['term']} explains the largest share of the variance "
            f"({_percent(most['eta2'])}"
        )
        seed = own.loc[own["kind"] == "seed", "eta2"]
        return text + (f", the seed {_percent(seed.iloc[0])})" if len(seed) else ")")


def effect_numbers(cells: pd.DataFrame, dataset: str | None = None) -> EffectNumbers | None:
    """The numbers of the figure; None without a student's result.

    Args:
        cells: One row per requested cell.
        dataset: Which dataset; all, if left out.

    Raises:
        ValueError: See `analysis.effects.factor_effects`; or an unknown dataset.
    """
    if dataset is not None and dataset not in set(cells["dataset"]):
        known = ", ".join(sorted(cells["dataset"].unique()))
        raise ValueError(f"dataset: {dataset!r} is not one of {known}")
    own = cells if dataset is None else cells[cells["dataset"] == dataset]
    return numbers_of(factor_effects(own))


def numbers_of(effects: pd.DataFrame) -> EffectNumbers | None:
    """The same from rows of a table of `analysis.effects.factor_effects`."""
    table = effects[effects["n_trials"] > 0]
    if table.empty:
        return None
    bars = table[["dataset", "term", "eta2", "omega2", "p"]].reset_index(drop=True)
    bars.insert(2, "kind", bars["term"].map(_kind))
    bars["term"] = bars["term"].str.replace("_", " ")
    return EffectNumbers(datasets=tuple(bars["dataset"].unique()), bars=bars)


def draw(numbers: EffectNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    panels = style.Panels(
        [words.dataset_title(dataset) for dataset in numbers.datasets],
        columns=1 if narrow else min(2, len(numbers.datasets)),
        row_px=26 * len(_terms(numbers.bars)) + 20,
        x_title="share of the variance (%)",
        y_title="",
        shared_y=True,
    )
    named: set[str] = set()

    def add(index: int, name: str, **trace: Any) -> None:
        panels.add(index, name=name, legendgroup=name, showlegend=name not in named, **trace)
        named.add(name)

    for index, dataset in enumerate(numbers.datasets):
        own = numbers.bars[numbers.bars["dataset"] == dataset]
        for kind, colour in _KINDS.items():
            part = own[own["kind"] == kind]
            if part.empty:
                continue
            add(
                index,
                kind,
                type="bar",
                orientation="h",
                x=(100 * part["eta2"]).to_numpy(),
                y=part["term"].tolist(),
                marker={"color": colour},
                text=[_percent(share) for share in part["eta2"]],
                textposition="outside",
                cliponaxis=False,
                customdata=[words.p_value(p) for p in part["p"]],
                hovertemplate="%{y}: eta² %{x:.2f} %, p %{customdata}<extra></extra>",
            )
        unbiased = own[own["omega2"].notna()]
        add(
            index,
            "without what chance adds (omega²)",
            type="scatter",
            mode="markers",
            x=(100 * unbiased["omega2"]).to_numpy(),
            y=unbiased["term"].tolist(),
            marker={"color": style.CATEGORIES[1], "symbol": "diamond", "size": 7},
            hovertemplate="%{y}: omega² %{x:.2f} %<extra></extra>",
        )
    # The first term stands on top; a term that one dataset lacks leaves its line empty there.
    order = {"categoryorder": "array", "categoryarray": _terms(numbers.bars)[::-1]}
    panels.y_axes(type="category", showgrid=False, **order)
    # One scale for all panels, with room for the numbers beside the bars.
    panels.x_axes(range=[0, 120 * float(numbers.bars["eta2"].fillna(0.0).max()) or 1.0])
    figure = panels.figure(numbers.title)
    more_px = _TITLE_LINE_PX * (len(numbers.datasets) - 1)
    figure.update_layout(
        height=figure.layout.height + more_px, margin_t=figure.layout.margin.t + more_px
    )
    return figure


def _terms(bars: pd.DataFrame) -> list[str]:
    """All terms once, seed and residual last."""
    last = bars["kind"].map({"seed": 1, "residual": 2}).fillna(0)
    return list(bars["term"][last.sort_values(kind="stable").index].unique())


def _kind(term: str) -> str:
    if term in (RESIDUAL, "seed"):
        return term
    return "factors together" if "×" in term else "one factor"


def _percent(share: float) -> str:
    return "–" if pd.isna(share) else f"{100 * share:.{1 if share < 0.0995 else 0}f} %"


def variance_shares(
    cells: pd.DataFrame, dataset: str | None = None, narrow: bool = False
) -> "go.Figure":
    """Shares of the variance, ready to show; of one dataset, or all beside each other.

    Raises:
        ValueError: See `effect_numbers`; or no student has a result.
    """
    numbers = effect_numbers(cells, dataset)
    if numbers is None:
        raise ValueError("cells: no student has a result")
    return draw(numbers, narrow)

"""Alpha by switch epoch, one heatmap per teacher, coloured around the baseline.

White is the baseline's mean, blue better, orange worse, for an MSE too, where lower is better. One
disastrous cell would leave all others white, so the colours end at the 80th percentile of the
distances from the baseline (rounded up to one digit); what lies beyond has the end colour, and its
number is written in the cell. Beside it a full dot marks a difference that is clear after the
correction for many comparisons, a ring one that is clear only before it.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import words
from analysis.cells import having, only_variant, summarise
from analysis.columns import direction
from analysis.figures import style
from analysis.figures.baseline import Baseline, baseline_of
from analysis.pairs import paired

if TYPE_CHECKING:
    import plotly.graph_objects as go

FULL_MARK, RING_MARK = "•", "◦"
_PERCENTILE = 80


@dataclass(frozen=True)
class HeatmapNumbers:
    """What the figure shows.

    Attributes:
        dataset: Name of the dataset.
        metric_name: Name of its metric.
        teachers: One heatmap each.
        alphas: Rows.
        switch_epochs: Columns.
        means: Teacher to means over seeds, shape (alphas, switch epochs), NaN without a result.
        verdicts: Teacher to verdicts of `analysis.pairs.paired`, same shape, "" without a result.
        uncorrected: The same before the correction for many comparisons.
        comparisons: How many tests the verdicts are corrected for: those of the whole study.
        midpoint: The baseline's mean: the neutral colour. Without a baseline the mean of the cells.
        limit: Distance from the midpoint at which the colours end.
        baseline: The baseline; None without one.
    """

    dataset: str
    metric_name: str
    teachers: tuple[str, ...]
    alphas: tuple[float, ...]
    switch_epochs: tuple[int, ...]
    means: dict[str, NDArray[np.float64]]
    verdicts: dict[str, NDArray[np.str_]]
    uncorrected: dict[str, NDArray[np.str_]]
    comparisons: int
    midpoint: float
    limit: float
    baseline: Baseline | None

    @property
    def title(self) -> str:
        """What is seen, in one sentence."""
        name = words.dataset_title(self.dataset)
        if self.baseline is None:
            return f"{name}: means by alpha and switch epoch; there is no baseline to compare with"
        verdicts = np.concatenate([table.ravel() for table in self.verdicts.values()])
        better, worse, unknown = (
            int((verdicts == word).sum()) for word in ("better", "worse", "cannot say")
        )
        # What is the baseline's own trial is not compared with it.
        total = int((~np.isin(verdicts, ("", "same trial"))).sum())
        if unknown == total:
            why = "too few seeds to tell any from" if total else "all of them are"
            return f"{name}: means by alpha and switch epoch; {why} the baseline"
        rest = f"; of {unknown:,} nothing can be said" if unknown else ""
        rule = f"paired, corrected for {words.counted(self.comparisons, 'comparison')}"
        return (
            f"{name}: of {words.counted(total, 'configuration')} {words.none_or(better)} better "
            f"and {words.none_or(worse)} worse than the baseline ({rule}){rest}"
        )


def heatmap_numbers(
    cells: pd.DataFrame, dataset: str | None = None, pairs: pd.DataFrame | None = None
) -> HeatmapNumbers | None:
    """The numbers of the figure; None without a student's result.

    Args:
        cells: One row per requested cell.
        dataset: Which dataset; may be left out where there is only one.
        pairs: What `analysis.pairs.paired` says of the whole study, where `cells` are a part of it:
            all configurations of a study are one family of tests. None: of `cells`.

    Raises:
        ValueError: See `analysis.cells.only_variant`.
    """
    variant = only_variant(cells, dataset)
    table = summarise(variant.cells)
    points = table[(table["role"] == "student") & (table["n"] > 0)]
    if points.empty:
        return None
    family = paired(cells) if pairs is None else pairs
    verdicts = family[family["dataset"] == variant.dataset]
    for parameter, value in variant.values:
        if parameter in verdicts:
            verdicts = having(verdicts, parameter, value)
    teachers = words.by_size(points["teacher"])
    alphas = sorted(points["alpha"].unique())
    epochs = sorted(int(epoch) for epoch in points["switch_epoch"].unique())
    means = {t: np.full((len(alphas), len(epochs)), np.nan) for t in teachers}
    row, column = ({value: i for i, value in enumerate(v)} for v in (alphas, epochs))
    where = ["teacher", "alpha", "switch_epoch"]
    for teacher, alpha, epoch, mean in points[[*where, "mean"]].itertuples(index=False):
        means[teacher][row[alpha], column[int(epoch)]] = mean

    def laid_out(name: str) -> dict[str, NDArray[np.str_]]:
        found = {t: np.full((len(alphas), len(epochs)), "", dtype="<U20") for t in teachers}
        for teacher, alpha, epoch, verdict in verdicts[[*where, name]].itertuples(index=False):
            if teacher in means and alpha in row and epoch in column:
                known = not np.isnan(means[teacher][row[alpha], column[int(epoch)]])
                found[teacher][row[alpha], column[int(epoch)]] = verdict if known else ""
        return found

    base = baseline_of(table)
    midpoint = base.mean if base is not None else float(points["mean"].mean())
    return HeatmapNumbers(
        dataset=variant.dataset,
        metric_name=str(points["metric_name"].iloc[0]),
        teachers=tuple(teachers),
        alphas=tuple(alphas),
        switch_epochs=tuple(epochs),
        means=means,
        verdicts=laid_out("verdict"),
        uncorrected=laid_out("verdict_uncorrected"),
        comparisons=int(family["p_holm"].notna().sum()),
        midpoint=midpoint,
        limit=_colour_limit(points["mean"].to_numpy() - midpoint),
        baseline=base,
    )


def draw(numbers: HeatmapNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    metric, mid, limit = numbers.metric_name, numbers.midpoint, numbers.limit
    panels = style.Panels(
        [f"{teacher} teacher" for teacher in numbers.teachers],
        columns=1,
        row_px=36 * len(numbers.alphas) + 8,
        x_title="switch epoch (guidance ends)",
        y_title="alpha",
        shared_y=False,
        narrow=narrow,
    )
    for index, teacher in enumerate(numbers.teachers):
        means = numbers.means[teacher]
        marks = _marks(numbers, teacher)
        text = [
            [_label(mean - mid, metric, mark) for mean, mark in zip(*pair, strict=True)]
            for pair in zip(means, marks, strict=True)
        ]
        panels.add(
            index,
            type="heatmap",
            z=means,
            x=[str(epoch) for epoch in numbers.switch_epochs],
            y=[f"{alpha:g}" for alpha in numbers.alphas],
            text=text,
            texttemplate="%{text}",
            customdata=numbers.verdicts[teacher].tolist(),
            coloraxis="coloraxis",
            xgap=2,
            ygap=2,
            hoverongaps=False,
            hovertemplate=(
                f"{teacher} teacher, alpha %{{y}}, switch %{{x}}<br>%{{z:.5g}} (%{{text}})<br>"
                "%{customdata}<extra></extra>"
            ),
        )
    ticks = [mid - limit, mid - limit / 2, mid, mid + limit / 2, mid + limit]
    labels = [_tick(value - mid, metric) for value in ticks]
    labels[0], labels[-1] = f"≤ {labels[0]}", f"≥ {labels[-1]}"
    labels[2] = f"{words.metric_value(mid, metric)}"
    if narrow:
        ticks, labels = ticks[::2], labels[::2]
    panels.layout(
        coloraxis={
            "colorscale": [list(stop) for stop in _scale(direction(metric))],
            "cmin": mid - limit,
            "cmid": mid,
            "cmax": mid + limit,
            "colorbar": {
                "orientation": "h",
                "thickness": 12,
                "len": 0.8 if narrow else 0.6,
                "x": 0.5,
                "yref": "container",
                "y": 0.0,
                "yanchor": "bottom",
                "tickvals": ticks,
                "ticktext": labels,
                "outlinewidth": 0,
            },
        }
    )
    panels.x_axes(type="category", showgrid=False)
    panels.y_axes(type="category", showgrid=False)
    return panels.figure(numbers.title)


def guidance_heatmaps(
    cells: pd.DataFrame,
    dataset: str | None = None,
    narrow: bool = False,
) -> "go.Figure":
    """Heatmaps of alpha by switch epoch, ready to show.

    Raises:
        ValueError: See `analysis.cells.only_variant`; or no student has a result.
    """
    numbers = heatmap_numbers(cells, dataset)
    if numbers is None:
        raise ValueError("cells: no student has a result")
    return draw(numbers, narrow)


def _colour_limit(distances: NDArray[np.float64]) -> float:
    far = float(np.percentile(np.abs(distances), _PERCENTILE)) or float(np.abs(distances).max())
    if far == 0:
        return 1e-6
    digit = 10.0 ** math.floor(math.log10(far))
    return math.ceil(far / digit * (1 - 1e-12)) * digit


def _scale(sign: int) -> tuple[tuple[float, str], ...]:
    if sign > 0:
        return style.DIVERGING
    return tuple((1 - at, colour) for at, colour in reversed(style.DIVERGING))


def _marks(numbers: HeatmapNumbers, teacher: str) -> NDArray[np.str_]:
    """A full dot for a clear difference, a ring for one that the correction takes back."""
    clear = ("better", "worse")
    full = np.isin(numbers.verdicts[teacher], clear)
    alone = np.isin(numbers.uncorrected[teacher], clear)
    return np.where(full, FULL_MARK, np.where(alone, RING_MARK, ""))


def _label(difference: float, metric: str, mark: str) -> str:
    if np.isnan(difference):
        return ""
    if metric == "accuracy":
        text = words.signed(difference, 1 if abs(difference) >= 10 else 2)
    else:
        # In thousandths, so that a cell has room for it.
        text = words.signed(difference * 1000, 1)
    return text + mark


def _tick(difference: float, metric: str) -> str:
    return words.metric_difference(difference, metric, unit=False)

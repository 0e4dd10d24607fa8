"""The figures of the report: which there are, what is said below them, and their data for the page."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis import words
from analysis.cells import Variant
from analysis.figures import (
    attack_lines,
    attribution,
    confusion,
    convergence,
    fgsm,
    heatmap,
    label_correction,
    losses,
    search,
    seeds,
    stated,
    style,
    switch_epoch,
    teacher_losses,
    tradeoff,
)
from analysis.figures import (
    effects as factor_effects,
)
from analysis.figures import (
    teachers as teacher_boxplots,
)
from analysis.figures.choice import attacks_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

ATTACKS_AT_MOST = 4
_HEADLINE_PX = 46


@dataclass(frozen=True)
class FigureBlock:
    """A figure on the page: its id, headline, explanation and data for the plotting library."""

    name: str
    headline: str
    note: str
    payload: dict[str, Any]


def of_variant(
    part: Variant, pairs: pd.DataFrame, prefix: str, learned: pd.DataFrame | None = None
) -> Iterator[FigureBlock]:
    """The figures of one variant of a dataset.

    Args:
        part: The variant.
        pairs: A table of `analysis.pairs.paired` of the whole study, whose tests are one family.
        prefix: Begins the ids.
        learned: What `analysis.convergence.convergence_table` says of the variant, where it is
            known already.
    """
    cells = part.cells
    guidance = cells.loc[cells["role"] == "student", ["alpha", "switch_epoch"]].drop_duplicates()
    swept = len(guidance) > 1  # one point is no curve, and no map
    over = switch_epoch.switch_epoch_numbers(cells) if swept else None
    if over is not None:
        yield _block(
            f"{prefix}-switch",
            "Mean over seeds with its 95 % interval. The dashed line is the baseline, the band its "
            "interval. Arrows name means that lie outside the range shown.",
            lambda narrow: switch_epoch.draw(over, narrow),
        )
    heat = heatmap.heatmap_numbers(cells, pairs=pairs) if swept else None
    if heat is not None:
        accuracy = heat.metric_name == "accuracy"
        unit = "points" if accuracy else f"thousandths of {heat.metric_name.upper()}"
        neutral = "the baseline's mean" if heat.baseline else "the mean of all cells"
        yield _block(
            f"{prefix}-heat",
            f"The number is the difference of means to {neutral}, in {unit}; blue is better, orange "
            "worse. A filled dot marks a difference that is clear after Holm's correction for the "
            "whole study, a hollow one a paired 95 % interval that excludes zero by itself. Beyond "
            "the ends of the scale the colour stays the same.",
            lambda narrow: heatmap.draw(heat, narrow),
        )
    spread = seeds.seed_numbers(cells)
    if spread is not None:
        yield _block(
            f"{prefix}-seeds",
            "Every point is a seed; boxes show quartiles, whiskers reach the last point within 1.5 "
            "box lengths. Each panel has its own scale.",
            lambda narrow: seeds.draw(spread, narrow),
        )
    curves = losses.loss_numbers(cells)
    if curves is not None:
        note = (
            "Mean over seeds of the loss that was minimised: the mix of hard and soft loss while "
            "the teacher guides, the hard loss afterwards, so a curve may jump at its switch."
        )
        if curves.left_out:
            note += f" {curves.left_out} further switch epochs are not drawn."
        yield _block(f"{prefix}-loss", note, lambda narrow: losses.draw(curves, narrow))
    converged = convergence.convergence_numbers(cells, learned=learned)
    if converged is not None:
        yield _block(
            f"{prefix}-convergence",
            "Each against the baseline of the same seeds, with its 95 % interval. Losses are "
            "compared over the epochs after the switch, with the baseline over the same epochs.",
            lambda narrow: convergence.draw(converged, narrow),
        )
    # Numbered: the name of an attack could be that of a figure.
    attacks = attacks_of(cells)
    left = words.listed(words.attack_title(attack) for attack in attacks[ATTACKS_AT_MOST:])
    for number, attack in enumerate(attacks[:ATTACKS_AT_MOST], 1):
        more = (
            f" Not drawn, but in the tables: {left}." if left and number == ATTACKS_AT_MOST else ""
        )
        yield from _under(cells, attack, f"{prefix}-attack{number}", more)


def _under(cells: pd.DataFrame, attack: str, prefix: str, more: str) -> Iterator[FigureBlock]:
    under = fgsm.fgsm_numbers(cells, attack=attack)
    if under is None:
        return
    note = (
        "Every mark is the mean of one configuration over its seeds, switch epochs from left to "
        "right; each panel has its own scale."
    )
    if words.attack_family(attack) == "fgsm":
        note += " A single gradient step is a weak attack: these values are an upper bound of robustness."
    yield _block(prefix, note + more, lambda narrow: fgsm.draw(under, narrow))
    yield _block(
        f"{prefix}-lines",
        "Mean over seeds under attack, over the switch epoch; dashed is the baseline.",
        lambda narrow: attack_lines.draw(under, narrow),
    )
    traded = tradeoff.tradeoff_of(under)
    yield _block(
        f"{prefix}-tradeoff",
        "Every mark is a configuration, with 95 % intervals both ways; the cross is the baseline. "
        "Better on both lies towards the baseline's better side on both axes.",
        lambda narrow: tradeoff.draw(traded, narrow),
    )


def effects(factors: pd.DataFrame, prefix: str) -> FigureBlock | None:
    """What explains the variance of one dataset; None without a student.

    Args:
        factors: The dataset's rows of a table of `analysis.effects.factor_effects`.
        prefix: Begins the id.
    """
    explained = factor_effects.numbers_of(factors)
    if explained is None:
        return None
    return _block(
        f"{prefix}-effects",
        "Every student trial is one observation; bars are shares of the sum of squares, diamonds "
        "what is left of them without what noise alone would give.",
        lambda narrow: factor_effects.draw(explained, narrow),
    )


def classes(own: pd.DataFrame, prefix: str) -> FigureBlock | None:
    """Confusion matrices of one dataset; None without."""
    seen = confusion.confusion_numbers(own)
    if seen is None:
        return None
    return _block(
        f"{prefix}-confusion",
        "Rows are true classes, each in percent of its test rows; means over seeds. Of the "
        "difference blue is better: more on the diagonal, less beside it.",
        lambda narrow: confusion.draw(seen, narrow),
    )


def labels(own: pd.DataFrame, prefix: str) -> tuple[FigureBlock, stated.StatedNumbers] | None:
    """What became of perturbed labels in one dataset, with the numbers; None without."""
    seen = label_correction.label_correction_numbers(own)
    if seen is None:
        return None
    note = f"{seen.note} The test rows' labels are clean."
    block = _block(f"{prefix}-labels", note, lambda narrow: label_correction.draw(seen, narrow))
    return block, seen


def looks(own: pd.DataFrame, prefix: str) -> FigureBlock | None:
    """Where the networks of one dataset look; None where none was asked."""
    seen = attribution.attribution_numbers(own)
    if seen is None:
        return None
    return _block(f"{prefix}-looks", seen.note, lambda narrow: attribution.draw(seen, narrow))


def teachers(own: pd.DataFrame, prefix: str) -> tuple[FigureBlock, ...]:
    """The teachers of one dataset."""
    blocks = []
    seen = teacher_boxplots.teacher_numbers(own)
    if seen is not None:
        blocks.append(
            _block(
                f"{prefix}-teachers",
                "Every point is a teacher; each panel has its own scale.",
                lambda narrow: teacher_boxplots.draw(seen, narrow),
            )
        )
    learned = teacher_losses.teacher_loss_numbers(own)
    if learned is not None:
        blocks.append(
            _block(
                f"{prefix}-teacher-losses",
                "Thin lines are seeds, the thick one their mean.",
                lambda narrow: teacher_losses.draw(learned, narrow),
            )
        )
    return tuple(blocks)


def of_study(numbers: stated.StatedNumbers, name: str) -> FigureBlock:
    """A figure that the study file states, under the headline that is written there."""
    return _block(name, numbers.note, lambda narrow: stated.draw(numbers, narrow), numbers.title)


def _block(
    name: str, note: str, draw: "Callable[[bool], go.Figure]", headline: str = ""
) -> FigureBlock:
    wide, narrow = draw(False), draw(True)
    if not headline:
        # The section names the dataset already.
        headline = str(wide.layout.title.text).split(": ", 1)[-1]
        headline = headline[:1].upper() + headline[1:]
    drawn = json.loads(wide.to_json())
    layouts = {
        "wide": _page_layout(drawn["layout"]),
        "narrow": _page_layout(
            json.loads(narrow.update(data=[], overwrite=True).to_json())["layout"]
        ),
    }
    return FigureBlock(name, headline, note, {"data": drawn["data"], **layouts})


def _page_layout(layout: dict[str, Any]) -> dict[str, Any]:
    """A figure's layout without the headline, which the page writes itself, and its room."""
    layout.pop("title", None)
    layout.pop("template", None)
    titled = any(note.get("text") for note in layout.get("annotations", []))
    room = _HEADLINE_PX if titled else _HEADLINE_PX + 18
    layout["height"] -= room
    layout["margin"]["t"] -= room
    layout["font"] = {"family": style.FONT, "size": 12}
    return layout


def of_search(table: pd.DataFrame, dataset: str, prefix: str) -> Iterator[FigureBlock]:
    """How the search on a dataset went, and the front where it had several objectives."""
    history = search.search_numbers(table, dataset)
    if history is not None:
        yield _block(
            f"{prefix}-history",
            "Every point is the mean over the seeds of the search, those that led look better than "
            "they are. What was known before stands at 0 trials; points that were given up early "
            "are left out.",
            lambda narrow: search.draw(history, narrow),
        )
    front = search.front_numbers(table, dataset)
    if front is not None:
        yield _block(
            f"{prefix}-front",
            "Means over all seeds of a point.",
            lambda narrow: search.draw_front(front, narrow),
        )

"""Configurations over two axes, filling in: from the first second by status, then by figure.

The axes are the switch epoch and alpha where these vary, else the words of the study with most
values; what else varies makes panels, as `analysis.variants` makes figures.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sweep.web.asked import Asked, Configuration
from sweep.web.cells import interval, under
from sweep.web.measures import Attack
from sweep.web.models import Axis, BaselineLine, Heatmap, HeatmapCell, Panel
from sweep.web.problems import ProblemError
from sweep.web.view import BLOCKED, DONE, FAILED, RUNNING, View, sign_of

PREFERRED = ("switch_epoch", "alpha", "temperature")
MAX_PANELS = 500
PERCENTILE = 80
"""One disastrous cell would leave all others in one colour, so colours end here; see
`analysis.figures.heatmap`."""

SUBJECTS = ("student", "baseline", "teacher", "start")
"""Roles in the order in which a study is about them."""


def heatmap(
    view: View, version: int, panel: str | None, x: str | None, y: str | None,
    attack: Attack | None = None,
) -> Heatmap:  # fmt: skip
    """A heatmap of a study.

    Args:
        view: of the study.
        version: of the results.
        panel: its id; None for the first.
        x: the word on the horizontal axis; None for what suits.
        y: the word on the vertical axis.
        attack: under which the view's figures were measured; None where they are of the metric.

    Raises:
        ProblemError: an unknown panel, or a word that does not vary.
    """
    asked = view.asked
    words = _words(asked)
    across, up = _axes(words, x, y)
    grouped = _panels(asked, tuple(word for word in words if word not in (across, up)))
    panels = [one for one, _ in grouped.values()]
    chosen = panel or (panels[0].id if panels else None)
    if chosen is not None and chosen not in grouped:
        raise ProblemError(404, "this study has no such panel")
    numbers = grouped[chosen][1] if chosen is not None else []
    dataset = grouped[chosen][0].dataset if chosen is not None else ""
    metric = view.metric.get(dataset)
    base = next((int(asked.baseline[n]) for n in numbers if asked.baseline[n] >= 0), None)
    midpoint, limit = _colours(view, numbers, base)
    along = _axis(across, (asked.configurations[n].words[across] for n in numbers))
    upward = _axis(up, (asked.configurations[n].words[up] for n in numbers)) if up else None
    return Heatmap(
        version=version,
        study=asked.name,
        panels=panels[:MAX_PANELS],
        panel=chosen,
        axes=words,
        x=along,
        y=upward,
        metric=metric,
        under=under(attack),
        higher_is_better=sign_of(metric) > 0,
        midpoint=midpoint,
        limit=limit,
        baseline=None if base is None else _baseline(view, base),
        cells=_cells(view, numbers, along, upward),
    )


def _subjects(asked: Asked) -> list[int]:
    """The numbers of the configurations that a study is about."""
    by_role: dict[str, list[int]] = {role: [] for role in SUBJECTS}
    for number, one in enumerate(asked.configurations):
        by_role[one.words["role"]].append(number)
    return next((found for found in by_role.values() if found), [])


@functools.lru_cache(maxsize=64)
def _words(asked: Asked) -> list[str]:
    """Words that vary within a dataset, those with most values first."""
    numbers = _subjects(asked)
    found: dict[str, int] = {}
    for word in asked.configurations[numbers[0]].words if numbers else ():
        if word in ("role", "dataset"):
            continue
        values: dict[str, set[Any]] = {}
        for number in numbers:
            own = asked.configurations[number].words
            values.setdefault(own["dataset"], set()).add(own[word])
        most = max(len(some) for some in values.values())
        if most > 1:
            found[word] = most
    return sorted(found, key=lambda word: (-found[word], word))


def _axes(words: Sequence[str], x: str | None, y: str | None) -> tuple[str, str | None]:
    """The words on the axes."""
    for word in (x, y):
        if word is not None and word not in words:
            allowed = ", ".join(words) or "none"
            raise ProblemError(400, f"an axis must be a word that varies here: {allowed}")
    if x is not None and x == y:
        raise ProblemError(400, "the axes must be two words")
    wanted = [word for word in PREFERRED if word in words]
    wanted += [word for word in words if word not in PREFERRED and word != "teacher"]
    wanted += [word for word in words if word == "teacher"]
    free = [word for word in wanted if word not in (x, y)]
    across = x or (free.pop(0) if free else "switch_epoch")
    return across, y or (free[0] if free else None)


@functools.lru_cache(maxsize=64)
def _panels(asked: Asked, words: tuple[str, ...]) -> dict[str, tuple[Panel, list[int]]]:
    """The configurations by what is on no axis."""
    found: dict[str, tuple[Mapping[str, Any], list[int]]] = {}
    for number in _subjects(asked):
        own = asked.configurations[number].words
        fixed = {word: own[word] for word in ("dataset", *words)}
        identity = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]
        found.setdefault(identity, (fixed, []))[1].append(number)
    order = sorted(found, key=lambda one: [_rank(value) for value in found[one][0].values()])
    return {
        one: (
            Panel(
                id=one,
                label=_label(found[one][0]),
                dataset=found[one][0]["dataset"],
                words=dict(found[one][0]),
                cells=len(found[one][1]),
            ),
            found[one][1],
        )
        for one in order
    }


SIZES = {"small": 0, "medium": 1, "large": 2}


def _rank(value: object) -> tuple[int, float, str]:
    """Nothing first, numbers by size, networks small to large, other text by letters."""
    if value is None:
        return 0, 0.0, ""
    if isinstance(value, int | float):
        return 1, float(value), ""
    return 2, SIZES.get(str(value), len(SIZES)), str(value)


def _label(words: Mapping[str, Any]) -> str:
    said = [str(words["dataset"])]
    for word, value in words.items():
        if word == "dataset":
            continue
        shown = "none" if value is None else f"{value:g}" if isinstance(value, float) else value
        said.append(f"{title(word)} {shown}")
    return ", ".join(said)


def title(word: str) -> str:
    """A word as people say it."""
    return word.replace("_", " ")


def _axis(word: str, values: Iterable[Any]) -> Axis:
    return Axis(word=word, title=title(word), values=sorted(set(values), key=_rank))


def _cells(
    view: View, numbers: Sequence[int], along: Axis, upward: Axis | None
) -> list[HeatmapCell]:
    across = {value: place for place, value in enumerate(along.values)}
    up = {value: place for place, value in enumerate(upward.values)} if upward else {}
    found = []
    for number in numbers:
        one: Configuration = view.asked.configurations[number]
        counts = view.counts[number]
        found.append(
            HeatmapCell(
                key=one.key,
                x=across[one.words[along.word]],
                y=up[one.words[upward.word]] if upward else 0,
                asked=int(counts.sum()),
                done=int(counts[DONE]),
                failed=int(counts[FAILED]),
                blocked=int(counts[BLOCKED]),
                running=int(counts[RUNNING]),
                n=int(view.own.n[number]),
                mean=float(view.own.mean[number]),
                delta=float(view.pairs.mean[number]),
                verdict=str(view.verdict[number]),
            )
        )
    return found


def _baseline(view: View, number: int) -> BaselineLine:
    counts = view.counts[number]
    return BaselineLine(
        key=view.asked.configurations[number].key,
        value=interval(view.own, number),
        asked=int(counts.sum()),
        done=int(counts[DONE]),
    )


def _colours(
    view: View, numbers: Sequence[int], base: int | None
) -> tuple[float | None, float | None]:
    """The neutral figure, and the distance from it at which colours end."""
    means = view.own.mean[np.asarray(numbers, dtype=np.int64)]
    means = means[np.isfinite(means)]
    if not len(means):
        return None, None
    middle = float(means.mean())
    if base is not None and np.isfinite(view.own.mean[base]):
        middle = float(view.own.mean[base])
    distances = np.abs(means - middle)
    limit = float(np.percentile(distances, PERCENTILE)) or float(distances.max())
    return middle, limit or None

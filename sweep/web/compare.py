"""Configurations side by side, and the differences between each two over the same seeds."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from sweep.web.asked import Numbers
from sweep.web.cells import line, under
from sweep.web.measures import Attack
from sweep.web.models import Compared, Comparison, Difference
from sweep.web.problems import ProblemError
from sweep.web.view import View, sign_of

LEAST, MOST = 2, 8


def compare(
    view: View, version: int, keys: Sequence[str], attack: Attack | None = None
) -> Comparison:
    """Compares configurations of one dataset.

    Args:
        view: of the study.
        version: of the results.
        keys: of 2 to 8 configurations.
        attack: under which the view's figures were measured; None where they are of the metric.

    Raises:
        ProblemError: fewer or more, one that the study does not have, or of several datasets.
    """
    from analysis.contrasts import contrasts

    keys = list(dict.fromkeys(keys))
    if not LEAST <= len(keys) <= MOST:
        raise ProblemError(400, f"cell: give {LEAST} to {MOST} different cells")
    asked = view.asked
    numbers = [asked.number_of(key) for key in keys]
    if None in numbers:
        raise ProblemError(404, "this study has no such cell")
    chosen = [number for number in numbers if number is not None]
    datasets = {asked.configurations[number].words["dataset"] for number in chosen}
    if len(datasets) > 1:
        raise ProblemError(400, "cell: cells of several datasets have no common measure")
    metric = view.metric.get(datasets.pop())
    rows = {number: _by_seed(view, number) for number in chosen}
    differences = []
    for one, other in combinations(chosen, 2):
        values = [
            dict(zip(asked.seeds[rows[n]].tolist(), view.value[rows[n]].tolist(), strict=True))
            for n in (one, other)
        ]
        common = [seed for seed in values[0] if seed in values[1]]
        gains = np.array([values[0][seed] - values[1][seed] for seed in common])
        gains = gains[np.isfinite(gains)]
        known = sum(np.isfinite(value) for side in values for value in side.values())
        found = contrasts({"": gains}).iloc[0]
        same = set(asked.trial[rows[one]].tolist()) == set(asked.trial[rows[other]].tolist())
        differences.append(
            Difference(
                first=asked.configurations[one].key,
                second=asked.configurations[other].key,
                n=len(gains),
                difference=float(found["difference"]),
                deviation=float(found["deviation"]),
                low=float(found["ci_low"]),
                high=float(found["ci_high"]),
                p=float(found["p"]),
                verdict=_verdict(found["ci_low"], found["ci_high"], len(gains), metric, same),
                unpaired=int(known) - 2 * len(gains),
            )
        )
    return Comparison(
        version=version,
        study=asked.name,
        metric=metric,
        under=under(attack),
        higher_is_better=sign_of(metric) > 0,
        cells=[
            Compared(
                cell=line(view, number),
                seeds=asked.seeds[rows[number]].tolist(),
                values=view.value[rows[number]].tolist(),
                trial_ids=[asked.trial_ids[t] for t in asked.trial[rows[number]]],
            )
            for number in chosen
        ],
        differences=differences,
    )


def _by_seed(view: View, number: int) -> Numbers:
    """The rows of a configuration in the order of their seeds."""
    rows = np.flatnonzero(view.asked.number == number)
    return rows[np.argsort(view.asked.seeds[rows], kind="stable")]


def _verdict(low: float, high: float, n: int, metric: str | None, same: bool) -> str:
    """Of the first against the second, for who chose the two beforehand; see `analysis.pairs`."""
    from analysis.pairs import MIN_PAIRS

    if same:
        return "same trial"
    if n < MIN_PAIRS:
        return "cannot say"
    if low <= 0 <= high:
        return "no clear difference"
    return "better" if (low > 0) == (sign_of(metric) > 0) else "worse"

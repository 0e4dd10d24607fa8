"""How far a search is from the best cell of a grid, by the number of its trials.

Regret: the best cell's mean over all seeds, less the mean over all seeds of the cell that the search would
choose; a search chooses by what it has seen, and is judged by the whole table. Good enough is a cell whose mean
falls short of the best one's by no more than the standard error of that mean (its deviation over seeds
divided by the square root of their number).

The best of many cells owes part of its mean to its seeds, and a search that saw these seeds shares in that. So
the same is judged by halves: a search sees one half of the seeds, and what it chose is held, on the other
half, against what the whole of the first half would have chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.intervals import t_interval

Floats = NDArray[np.float64]
SURE = 0.9
"""Share of the repeats that are to be good enough."""


def tolerance(scores: ArrayLike) -> float:
    """The standard error of the mean of the best cell.

    Args:
        scores: (n_cells, n_seeds), to be high.
    """
    values = np.asarray(scores, float)
    best = values[int(values.mean(1).argmax())]
    return float(best.std(ddof=1) / np.sqrt(len(best)))


def regrets(
    means: ArrayLike, chosen: Sequence[ArrayLike], length: int, best: float | None = None
) -> Floats:
    """The regret of each repeat after each trial.

    Args:
        means: (n_cells,) by which cells are judged, to be high.
        chosen: for each repeat the cell after each trial, -1 while there is none; a repeat that ended
            keeps what it has.
        length: trials.
        best: the mean of what is to be found; None for the greatest.

    Returns:
        (n_repeats, length); NaN while nothing is chosen.
    """
    values = np.asarray(means, float)
    top = float(values.max()) if best is None else best
    found = np.full((len(chosen), length), np.nan)
    for row, cells in zip(found, chosen, strict=True):
        own = np.asarray(cells, np.int64)[:length]
        row[: len(own)] = np.where(own >= 0, top - values[own], np.nan)
        row[len(own) :] = row[len(own) - 1]
    return found


def curve(found: Floats, allowed: float, at: Sequence[int]) -> pd.DataFrame:
    """The mean regret over repeats.

    Args:
        found: (n_repeats, n_trials).
        allowed: regret that is good enough.
        at: numbers of trials.

    Returns:
        One row for each number up to n_trials at which every repeat has chosen: `trials`, `regret`,
        `ci_low`, `ci_high` (95 % t interval of the mean), `good`: the share that is good enough.
    """
    rows = []
    for trials in at:
        if trials > found.shape[1] or np.isnan(found[:, trials - 1]).any():
            continue
        own = found[:, trials - 1]
        spread = own.std(ddof=1) if len(own) > 1 else np.nan
        low, high = t_interval(own.mean(), spread, len(own))
        rows.append(
            {
                "trials": trials, "regret": own.mean(), "ci_low": float(low), "ci_high": float(high),
                "good": _good(own, allowed).mean(),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["trials", "regret", "ci_low", "ci_high", "good"])


def _good(own: Floats, allowed: float) -> NDArray[np.bool_]:
    return own <= allowed * (1 + 1e-12)


@dataclass(frozen=True)
class Needed:
    """Trials that a search needs.

    Attributes:
        ends: trials after which it ends by itself, in the mean of the repeats.
        on_average: from so many trials on the mean regret is good enough; None where never.
        surely: from so many on, nine of ten repeats are; None where never.
    """

    ends: float
    on_average: int | None
    surely: int | None


def needed(found: Floats, allowed: float, ends: float) -> Needed:
    """How many trials a search needs; see `Needed`.

    Args:
        found: (n_repeats, n_trials).
        allowed: regret that is good enough.
        ends: trials after which it ends by itself, in the mean.
    """
    with np.errstate(invalid="ignore"):
        mean = _good(found.mean(0), allowed)
        share = np.where(np.isnan(found).any(0), 0.0, _good(found, allowed).mean(0)) >= SURE
    return Needed(ends, _from(mean), _from(share))


def _from(holds: NDArray[np.bool_]) -> int | None:
    """The first number of trials from which something holds to the end."""
    if not holds[-1]:
        return None
    fails = np.flatnonzero(~holds)
    return 1 if not len(fails) else int(fails[-1]) + 2


def halves(seeds: int, repeats: int, seed: int = 0) -> list[tuple[list[int], list[int]]]:
    """For each repeat, the seeds that are seen and those that judge, drawn at random.

    Args:
        seeds: how many there are; the greater half is seen.
        repeats: how many to draw.
        seed: of the draws.
    """
    found = []
    for number in range(repeats):
        order = np.random.default_rng([seed, 1, number]).permutation(seeds)
        seen = -(-seeds // 2)
        found.append((sorted(map(int, order[:seen])), sorted(map(int, order[seen:]))))
    return found


def regrets_by_halves(
    scores: ArrayLike,
    chosen: Sequence[ArrayLike],
    split: Sequence[tuple[Sequence[int], Sequence[int]]],
    length: int,
) -> Floats:
    """The regret on seeds that were not seen, against what all the seen ones would have chosen.

    Args:
        scores: (n_cells, n_seeds), to be high.
        chosen: for each repeat the cell after each trial.
        split: for each repeat the seen seeds and the others.
        length: trials.

    Returns:
        (n_repeats, length); below zero where the search was luckier than all the seen seeds.
    """
    values = np.asarray(scores, float)
    rows = []
    for cells, (seen, others) in zip(chosen, split, strict=True):
        judged = values[:, list(others)].mean(1)
        target = int(values[:, list(seen)].mean(1).argmax())
        rows.append(regrets(judged, [cells], length, float(judged[target]))[0])
    return np.array(rows)

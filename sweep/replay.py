"""Searches replayed on a finished grid: which cell each would have chosen after so many trials.

A trial is looked up in place of being trained, so a hundred repeats take seconds. Every strategy pays one
trial for one seed of one cell; the k-th trial of any cell has the same seed, so that cells can be compared
pair by pair. Cells and seeds are as in the table; their order is drawn anew for every repeat, but for
strategies that are said to keep the order of the grid.

Strategies: cells at random, a seed each time; TPE (Bergstra et al., 2011), told one seed at a time, a cell
that it suggests again gets another seed; the same with the last trials kept for further seeds of three
finalists, which decide (as `sweep tune` does); the grid cell by cell with all seeds, or seed by seed; and two
races over seeds: successive halving (Jamieson and Talwalkar, 2016), which leaves a third after 1, 3 and 9
seeds, and elimination of cells that a paired t test against the leader finds worse (Birattari et al., 2002,
with the t test in place of Friedman's).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.suggest import Choice, Range, Settings, Space, Suggester, Value

Scores = NDArray[np.float64]
Chosen = NDArray[np.int64]

FINALISTS = 3
HALVING = 3
RACE_FROM = 3
"""Seeds that every cell has before a race leaves any out."""
RACE_LEVEL = 0.05


@dataclass(frozen=True)
class Benchmark:
    """A finished grid.

    Attributes:
        scores: (n_cells, n_seeds), to be high.
        points: the values of each cell on the axes.
        axes: the axes, with their values in order.
    """

    scores: Scores
    points: tuple[tuple[Value, ...], ...]
    axes: Mapping[str, tuple[Value, ...]]

    @property
    def space(self) -> Space:
        """The axes as a search sees them: numbers by their rank, text without order."""
        return tuple(
            (key, Choice(values))
            if any(isinstance(value, str) for value in values) or len(values) == 1
            else (key, Range(0, len(values) - 1, 1, whole=True))
            for key, values in self.axes.items()
        )

    def cell_of(self, suggested: Mapping[str, Value]) -> int | None:
        """The cell of a point of `space`; None where the grid has none."""
        point = tuple(
            suggested[key] if isinstance(domain, Choice) else self.axes[key][int(suggested[key])]
            for key, domain in self.space
        )
        try:
            return self.points.index(point)
        except ValueError:
            return None


class _Seen:
    """What a search has seen so far."""

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self.counts = np.zeros(len(scores), np.int64)
        self._sums = np.zeros(len(scores))
        self.chosen: list[int] = []

    def take(self, cell: int) -> float:
        """Pays for the next seed of a cell; what is chosen is the best mean so far."""
        value = float(self._scores[cell, self.counts[cell]])
        self.counts[cell] += 1
        self._sums[cell] += value
        self.chosen.append(int(self.means().argmax()))
        return value

    def means(self) -> Scores:
        """Of each cell, over the seeds it has; minus infinity without any."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.counts > 0, self._sums / self.counts, -np.inf)

    @property
    def full(self) -> NDArray[np.bool_]:
        """Cells without a further seed."""
        return np.asarray(self.counts >= self._scores.shape[1])


Strategy = Callable[[Benchmark, np.random.Generator, int], Chosen]
"""The cell that is chosen after each trial, as far as it takes or may take them."""


def _along(order: NDArray[np.int_], benchmark: Benchmark, limit: int) -> Chosen:
    """Cells one after the other, each time with their next seed."""
    seen = _Seen(benchmark.scores)
    for cell in order[:limit]:
        seen.take(int(cell))
    return np.array(seen.chosen)


def at_random(benchmark: Benchmark, rng: np.random.Generator, limit: int) -> Chosen:
    """A cell at random each time, with its next seed."""
    cells, seeds = benchmark.scores.shape
    return _along(rng.permutation(np.repeat(np.arange(cells), seeds)), benchmark, limit)


def cell_by_cell(benchmark: Benchmark, _: np.random.Generator, limit: int) -> Chosen:
    """The grid in its order, all seeds of a cell before the next."""
    cells, seeds = benchmark.scores.shape
    return _along(np.repeat(np.arange(cells), seeds), benchmark, limit)


def seed_by_seed(benchmark: Benchmark, _: np.random.Generator, limit: int) -> Chosen:
    """The grid in its order, all cells with a seed before the next seed."""
    cells, seeds = benchmark.scores.shape
    return _along(np.tile(np.arange(cells), seeds), benchmark, limit)


def _suggested(benchmark: Benchmark, rng: np.random.Generator, limit: int) -> Iterator[_Seen]:
    """TPE, after each trial."""
    seen = _Seen(benchmark.scores)
    suggester = Suggester(Settings(benchmark.space, seed=int(rng.integers(2**31))))
    paid = 0
    while paid < limit and not seen.full.all():
        asked = suggester.ask()
        assert asked is not None  # TPE has no end
        cell = benchmark.cell_of(asked[1])
        if cell is None:
            suggester.tell(asked[0], None)
        elif seen.full[cell]:  # costs nothing, and says nothing new
            suggester.tell(asked[0], (float(seen.means()[cell]),))
            cell = int(rng.choice(np.flatnonzero(~seen.full)))
            seen.take(cell)
            paid += 1
            yield seen
        else:
            suggester.tell(asked[0], (seen.take(cell),))
            paid += 1
            yield seen


def by_tpe(benchmark: Benchmark, rng: np.random.Generator, limit: int) -> Chosen:
    """TPE, the best mean so far."""
    for seen in _suggested(benchmark, rng, limit):
        last = seen
    return np.array(last.chosen)


def by_tpe_and_finalists(benchmark: Benchmark, rng: np.random.Generator, limit: int) -> Chosen:
    """TPE, of whose leaders further seeds decide.

    What is chosen after n trials is of a search that ends there: its last trials are the finalists'.
    """
    chosen: list[int] = []
    scores = benchmark.scores
    for seen in _suggested(benchmark, rng, limit):
        means, counts = seen.means(), seen.counts
        leaders = np.argsort(-means, kind="stable")[:FINALISTS]
        leaders = leaders[counts[leaders] > 0]
        fresh = [scores[cell, counts[cell] :] for cell in leaders]
        cost = sum(len(values) for values in fresh)
        judged = [v.mean() if len(v) else means[c] for c, v in zip(leaders, fresh, strict=True)]
        ends = len(seen.chosen) + cost
        best = int(leaders[int(np.argmax(judged))])
        # Longer than the search before it, where more seeds are left to the leaders: it ends later.
        while len(chosen) < min(ends - 1, limit):
            chosen.append(chosen[-1] if chosen else -1)
        if len(chosen) < limit:
            chosen.append(best)
    return np.array(chosen)


def by_halving(benchmark: Benchmark, rng: np.random.Generator, limit: int) -> Chosen:
    """Successive halving over seeds."""
    cells, seeds = benchmark.scores.shape
    seen = _Seen(benchmark.scores)
    chosen: list[int] = []
    left = rng.permutation(cells)
    goal = 1
    while True:
        for _ in range(int(goal - seen.counts[left[0]])):
            for cell in left:
                seen.take(int(cell))
                before = chosen[-1] if chosen and goal > 1 else seen.chosen[-1]
                chosen.append(before)
        means = seen.means()[left]
        left = left[np.argsort(-means, kind="stable")]
        chosen[-1] = int(left[0])
        if goal >= seeds or len(chosen) >= limit:
            return np.array(chosen[:limit])
        left = left[: max(1, len(left) // HALVING)]
        goal = min(seeds, goal * HALVING)


def by_elimination(benchmark: Benchmark, rng: np.random.Generator, limit: int) -> Chosen:
    """A race: every cell that is left has a seed more, then those found worse than the leader go."""
    from scipy.special import stdtr

    cells, seeds = benchmark.scores.shape
    scores, left = benchmark.scores, rng.permutation(cells)
    chosen: list[int] = []
    for count in range(1, seeds + 1):
        best, best_score = (chosen[-1] if chosen else -1), -np.inf
        for cell in left:
            if count == 1 and scores[cell, 0] > best_score:  # nothing better is known yet
                best, best_score = int(cell), float(scores[cell, 0])
            chosen.append(best)
        means = scores[left, :count].mean(1)
        leader = left[int(means.argmax())]
        chosen[-1] = int(leader)
        if len(chosen) >= limit:
            break
        if count >= RACE_FROM:
            difference = scores[leader, :count] - scores[left, :count]
            error = difference.std(1, ddof=1) / np.sqrt(count)
            with np.errstate(invalid="ignore", divide="ignore"):
                t = np.where(difference.mean(1) == 0, 0.0, difference.mean(1) / error)
            left = left[2 * stdtr(count - 1, -t) >= RACE_LEVEL]
        if len(left) == 1:
            break
    return np.array(chosen[:limit])


STRATEGIES: Mapping[str, Strategy] = {
    "random": at_random,
    "TPE": by_tpe,
    "TPE, finalists": by_tpe_and_finalists,
    "grid, cell by cell": cell_by_cell,
    "grid, seed by seed": seed_by_seed,
    "race, halving": by_halving,
    "race, t test": by_elimination,
}
SLOW = ("TPE", "TPE, finalists")
"""Strategies whose suggestions take their time."""


def replay(
    benchmark: Benchmark,
    strategies: Sequence[str],
    repeats: int,
    seed: int = 0,
    limits: Mapping[str, int] | None = None,
    seeds: Sequence[Sequence[int]] | None = None,
) -> dict[str, list[Chosen]]:
    """Repeats searches.

    Args:
        benchmark: the grid.
        strategies: names of `STRATEGIES`.
        repeats: how often; each draws the order of seeds anew, the same for all strategies.
        seed: of all that is drawn; the same gives the same.
        limits: trials of a strategy; all of the grid for those that are not named.
        seeds: for each repeat, the columns of the seeds that may be seen; None for all.

    Returns:
        For each strategy and repeat the chosen cell after each trial, -1 where there cannot be one yet;
        shorter where the search ended by itself.
    """
    found: dict[str, list[Chosen]] = {name: [] for name in strategies}
    for number in range(repeats):
        columns = np.arange(benchmark.scores.shape[1]) if seeds is None else np.array(seeds[number])
        order = np.random.default_rng([seed, number]).permutation(columns)
        seen = Benchmark(benchmark.scores[:, order], benchmark.points, benchmark.axes)
        for name in strategies:  # those by TPE after one another: what it suggests is remembered
            most = min((limits or {}).get(name, seen.scores.size), seen.scores.size)
            own = np.random.default_rng([seed, number, 1])
            found[name].append(STRATEGIES[name](seen, own, most))
    return found

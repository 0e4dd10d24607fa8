"""The regret of searches on a finished grid, from a table of its trials; trains nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis import regret as judging
from sweep.errors import SweepError
from sweep.replay import SLOW, STRATEGIES, Benchmark, Chosen, replay
from sweep.words import CELL_COLUMNS, PARAMETER_COLUMNS

if TYPE_CHECKING:
    from analysis.figures.regret import RegretNumbers

MILESTONES = (10, 20, 30, 45, 60, 80, 100, 135, 170, 200, 270, 345, 405, 600, 800, 1000, 1350, 2025)
NOT_AXES = ("role", "dataset", "seed")


@dataclass(frozen=True)
class Grid:
    """A grid read from a table.

    Attributes:
        dataset: its name.
        metric: the column that is judged.
        higher_is_better: whether it is to grow.
        benchmark: the scores of its cells.
        left_out: cells that lack a seed that most have.
    """

    dataset: str
    metric: str
    higher_is_better: bool
    benchmark: Benchmark
    left_out: int


@dataclass(frozen=True)
class Regret:
    """What searches on a grid need.

    Attributes:
        grid: where they were replayed.
        repeats: of each.
        allowed: regret that is good enough: the standard error of the best cell's mean.
        good_cells: cells that are.
        curves: `strategy` and the columns of `analysis.regret.curve`.
        halves: the same, judged by seeds that were not seen.
        needed: by strategy.
    """

    grid: Grid
    repeats: int
    allowed: float
    good_cells: int
    curves: pd.DataFrame
    halves: pd.DataFrame
    needed: dict[str, judging.Needed]

    @property
    def best(self) -> str:
        """The best cell, in words."""
        benchmark = self.grid.benchmark
        cell = benchmark.points[int(benchmark.scores.mean(1).argmax())]
        return ", ".join(f"{key} {value}" for key, value in zip(benchmark.axes, cell, strict=True))

    def numbers(self) -> "RegretNumbers":
        """What the figure shows."""
        from analysis import words
        from analysis.figures.regret import RegretNumbers

        title = (
            f"{words.dataset_title(self.grid.dataset)}: regret of searches over "
            f"{len(self.grid.benchmark.scores)} cells, mean of {self.repeats} repeats"
        )
        return RegretNumbers(title, self.allowed, self.curves)


def read_grid(
    path: Path, dataset: str | None = None, metric: str = "test_metric", lower: bool = False
) -> Grid:
    """Reads the students of a dataset from a table, a row for each trial.

    Args:
        path: Parquet or CSV, as `sweep export` writes it.
        dataset: its name; None where the table has one.
        metric: a column of numbers.
        lower: whether less is better, where that is not known from `metric_name` or the dataset.

    Raises:
        SweepError: naming what is missing.
    """
    try:
        table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise SweepError(f"{str(path)!r}: cannot be read: {error}") from None
    for column in ("role", "dataset", "seed", metric):
        if column not in table:
            raise SweepError(f"{str(path)!r}: has no column {column}")
    try:
        table[metric] = pd.to_numeric(table[metric])
    except (TypeError, ValueError):
        raise SweepError(f"--metric {metric}: must be a column of numbers") from None
    students = table[(table["role"] == "student") & np.isfinite(table[metric].astype(float))]
    names = sorted(students["dataset"].unique())
    if dataset is None and len(names) != 1:
        raise SweepError(f"--dataset: must be one of {', '.join(names) or 'none: no student'}")
    name = names[0] if dataset is None else dataset
    own = students[students["dataset"] == name]
    if own.empty:
        raise SweepError(f"--dataset {name}: must be one of {', '.join(names)}")
    axes = [
        column
        for column in dict.fromkeys((*CELL_COLUMNS, *PARAMETER_COLUMNS))
        if column in own and column not in NOT_AXES and own[column].nunique(dropna=False) > 1
    ]
    if not axes:
        raise SweepError(f"{str(path)!r}: all students of {name} are one cell")
    lower = lower or _is_lower(own, name, metric)
    return Grid(name, metric, not lower, *_benchmark(own, axes, metric, -1.0 if lower else 1.0))


def _is_lower(own: pd.DataFrame, dataset: str, metric: str) -> bool:
    if metric.endswith("loss"):
        return True
    if "metric_name" in own:
        return bool((own["metric_name"] == "mse").all())
    import data

    try:
        return data.get(dataset).task == "regression"
    except ValueError:
        return False


def _benchmark(
    own: pd.DataFrame, axes: Sequence[str], metric: str, sign: float
) -> tuple[Benchmark, int]:
    repeated = own.duplicated([*axes, "seed"])
    if repeated.any():
        first = own[repeated].iloc[0]
        said = ", ".join(f"{axis} {first[axis]}" for axis in (*axes, "seed"))
        raise SweepError(f"{said}: stands there twice; a cell and a seed are one trial")
    filled = own.assign(**{axis: own[axis].astype(object).where(own[axis].notna(), "none") for axis in axes})  # fmt: skip
    wide = filled.pivot(index=list(axes), columns="seed", values=metric).astype(float)
    if len(axes) == 1:
        wide.index = pd.MultiIndex.from_arrays([wide.index], names=list(axes))
    whole = wide.dropna(axis="columns", thresh=len(wide) // 2 + 1).dropna()
    if len(whole) < 2 or whole.shape[1] < 2:
        raise SweepError("two cells with two seeds each are needed")
    values = {
        axis: tuple(sorted(whole.index.unique(axis), key=lambda v: (isinstance(v, str), v)))
        for axis in axes
    }
    plain = {axis: tuple(map(_plain, own_values)) for axis, own_values in values.items()}
    points = tuple(tuple(map(_plain, point)) for point in whole.index)
    return Benchmark(sign * whole.to_numpy(), points, plain), len(wide) - len(whole)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def regret(
    grid: Grid,
    repeats: int = 100,
    seed: int = 0,
    slow_trials: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Regret:
    """Replays every strategy.

    Args:
        grid: where.
        repeats: of each.
        seed: of all draws; the same gives the same.
        slow_trials: trials of strategies whose suggestions take their time; None for two a cell.
        tell: told what is at work.
    """
    benchmark = grid.benchmark
    scores, total = benchmark.scores, benchmark.scores.size
    allowed = judging.tolerance(scores)
    means = scores.mean(1)
    split = judging.halves(scores.shape[1], repeats, seed)
    slow = 2 * len(scores) if slow_trials is None else slow_trials
    limits = {name: min(total, slow) for name in SLOW}
    runs: dict[str, list[Chosen]] = {}
    seen: dict[str, list[Chosen]] = {}
    for group in (SLOW, [name for name in STRATEGIES if name not in SLOW]):
        tell(", ".join(group))
        runs |= replay(benchmark, group, repeats, seed, limits)
        half = _half_repeats(group, repeats)
        seen |= replay(benchmark, group, half, seed, limits, [first for first, _ in split[:half]])
    curves, by_halves, needed = [], [], {}
    for name in STRATEGIES:
        length = limits.get(name, total)
        found = judging.regrets(means, runs[name], length)
        at = sorted({n for n in (*MILESTONES, total) if n <= length} | set(_spaced(length)))
        curves.append(judging.curve(found, allowed, at).assign(strategy=name))
        ends = float(np.mean([len(chosen) for chosen in runs[name]]))
        needed[name] = judging.needed(found, allowed, ends)
        length = min(length, len(scores) * len(split[0][0]))
        other = judging.regrets_by_halves(scores, seen[name], split[: len(seen[name])], length)
        at = [n for n in at if n < length] + [length]
        by_halves.append(judging.curve(other, allowed, at).assign(strategy=name))
    good = int((means >= means.max() - allowed * (1 + 1e-12)).sum())
    return Regret(
        grid, repeats, allowed, good, pd.concat(curves, ignore_index=True),
        pd.concat(by_halves, ignore_index=True), needed,
    )  # fmt: skip


def _half_repeats(group: Sequence[str], repeats: int) -> int:
    """Repeats by halves: a quarter of the slow ones, whose suggestions take as long again."""
    return max(2, repeats // 4) if set(group) <= set(SLOW) else repeats


def _spaced(length: int) -> list[int]:
    return [int(n) for n in np.unique(np.geomspace(1, length, 60).round())]

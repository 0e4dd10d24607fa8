"""Searches replayed on small grids, whose choices are worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweep.errors import SweepError
from sweep.regret import read_grid, regret
from sweep.replay import (
    STRATEGIES,
    Benchmark,
    at_random,
    by_elimination,
    by_halving,
    by_tpe,
    by_tpe_and_finalists,
    cell_by_cell,
    replay,
    seed_by_seed,
)

RNG = np.random.default_rng(0)


def bench(scores: list[list[float]]) -> Benchmark:
    points = tuple((number,) for number in range(len(scores)))
    return Benchmark(np.array(scores, float), points, {"x": tuple(range(len(scores)))})


class InOrder(np.random.Generator):
    """Draws nothing: everything keeps its order."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def permutation(self, x: int) -> np.ndarray:  # type: ignore[override,type-arg]
        return np.arange(x)


def test_a_grid_cell_by_cell_and_seed_by_seed() -> None:
    grid = bench([[1, 5], [4, 0], [2, 9]])
    # Means as they come: 1; 3; 3 and 4; 3 and 2; 3, 2 and 2; 3, 2 and 5.5.
    assert cell_by_cell(grid, RNG, 6).tolist() == [0, 0, 1, 0, 0, 2]
    # 1; 1, 4; 1, 4, 2; 3, 4, 2; 3, 2, 2; 3, 2, 5.5.
    assert seed_by_seed(grid, RNG, 6).tolist() == [0, 1, 1, 1, 0, 2]
    assert seed_by_seed(grid, RNG, 2).tolist() == [0, 1]


def test_random_pays_every_seed_of_every_cell_once() -> None:
    grid = bench(np.arange(12.0).reshape(4, 3).tolist())
    chosen = at_random(grid, np.random.default_rng(1), 12)
    assert len(chosen) == 12
    assert chosen[-1] == 3  # all is seen: the best mean


def test_halving_leaves_a_third_after_one_seed_and_after_three() -> None:
    # Nine cells; by the first seed 6, 7 and 8 lead, after three 7 is last of them and 6 first.
    scores = [[float(cell), 0, 0, 0] for cell in range(6)]
    scores += [[6, 9, 9, 0], [7, 0, 0, 0], [8, 6, 6, 0]]
    chosen = by_halving(bench(scores), InOrder(), 99)
    # 9 trials of one seed, 3 cells of two more, 1 cell of the last one.
    assert len(chosen) == 9 + 6 + 1
    assert chosen[:9].tolist() == list(range(9))  # each is better than all before it
    assert chosen[9:14].tolist() == [8] * 5  # until the round is over
    assert chosen[14:].tolist() == [6, 6]


def test_the_race_leaves_out_what_a_paired_test_finds_worse() -> None:
    # Cell 1 is always 2 below cell 0: no spread, so it goes after three seeds. Cell 2 differs by 3, -3, 3:
    # mean 1, t = 0.5, stays. With the fourth seed it is 10 below: mean 3.25, still not told apart.
    scores = [[5, 5, 5, 5.0], [3, 3, 3, 3.0], [2, 8, 2, -5.0]]
    chosen = by_elimination(bench(scores), InOrder(), 99)
    assert len(chosen) == 3 * 3 + 2
    assert chosen[:3].tolist() == [0, 0, 0]
    # After two seeds cell 0 and cell 2 have a mean of 5; the first of equals leads.
    assert set(chosen.tolist()) == {0}
    # One that is alone ends the race.
    alone = [[5, 5, 5, 5.0], [3, 3, 3, 3.0]]
    assert len(by_elimination(bench(alone), InOrder(), 99)) == 2 * 3
    # Equal cells are never told apart.
    assert len(by_elimination(bench([[1, 1, 1, 1.0]] * 3), InOrder(), 99)) == 12


def test_tpe_finds_the_best_of_cells_without_noise() -> None:
    grid = bench([[-abs(cell - 17.0)] * 4 for cell in range(30)])
    chosen = by_tpe(grid, np.random.default_rng(2), 60)
    assert len(chosen) == 60
    assert chosen[-1] == 17


def test_finalists_decide_by_seeds_that_did_not_make_them_lead() -> None:
    # One seed of cell 0 is lucky; in truth cell 3 is best, by all its seeds alike.
    scores = [[99, 0, 0, 0.0], [5, 5, 5, 5.0], [6, 6, 6, 6.0], [7, 7, 7, 7.0]]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        chosen = by_tpe_and_finalists(bench(scores), rng, 16)
        ends = np.flatnonzero(chosen >= 0)
        assert ends[0] >= 1 + 3 - 1  # a trial of one cell, and its three further seeds
        assert chosen[-1] == 3


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_the_same_seed_gives_the_same_and_no_trial_is_paid_twice(strategy: str) -> None:
    scores = np.random.default_rng(0).normal(size=(6, 4))
    points = tuple((t, a) for t in ("a", "b") for a in (0.1, 0.6, 0.9))
    grid = Benchmark(scores, points, {"t": ("a", "b"), "alpha": (0.1, 0.6, 0.9)})
    (first,), (again,), (other,) = (
        replay(grid, [strategy], 3, seed).values() for seed in (1, 1, 2)
    )
    assert [run.tolist() for run in first] == [run.tolist() for run in again]
    assert [run.tolist() for run in first] != [run.tolist() for run in other]
    assert all(1 <= len(run) <= scores.size for run in first)
    best = int(scores.mean(1).argmax())
    if "TPE" in strategy or strategy in ("random", "grid, cell by cell", "grid, seed by seed"):
        assert {int(run[-1]) for run in first} == {best} or "finalists" in strategy


def test_seeds_that_may_be_seen_are_the_only_ones() -> None:
    scores = np.array([[1.0, 1.0, 50.0], [2.0, 2.0, 0.0]])
    (runs,) = replay(bench(scores.tolist()), ["random"], 5, seeds=[[0, 1]] * 5).values()
    assert {len(run) for run in runs} == {4}
    assert {int(run[-1]) for run in runs} == {1}


# Tables


def trials(**more: object) -> pd.DataFrame:
    rows = [
        {"role": "student", "dataset": "digits", "teacher": t, "alpha": a, "seed": s,
         "test_metric": 10.0 * (t == "b") + a + s / 10, **more}
        for t in ("a", "b") for a in (0.1, 0.9) for s in (1, 2, 3)
    ]  # fmt: skip
    rows.append({"role": "baseline", "dataset": "digits", "seed": 1, "test_metric": 99.0, **more})
    return pd.DataFrame(rows)


def test_a_table_of_trials_is_read_as_a_grid(tmp_path: Path) -> None:
    trials().to_parquet(tmp_path / "t.parquet")
    grid = read_grid(tmp_path / "t.parquet")
    assert grid.benchmark.axes == {"teacher": ("a", "b"), "alpha": (0.1, 0.9)}
    assert grid.benchmark.points == (("a", 0.1), ("a", 0.9), ("b", 0.1), ("b", 0.9))
    np.testing.assert_allclose(grid.benchmark.scores[3], [11.0, 11.1, 11.2])
    assert (grid.higher_is_better, grid.left_out) == (True, 0)
    trials(metric_name="mse").to_csv(tmp_path / "t.csv", index=False)
    lower = read_grid(tmp_path / "t.csv")
    assert not lower.higher_is_better
    np.testing.assert_allclose(lower.benchmark.scores[0], [-0.2, -0.3, -0.4])
    trials(dataset="california_housing").to_parquet(tmp_path / "c.parquet")
    assert not read_grid(tmp_path / "c.parquet").higher_is_better
    part = trials()
    part[part.index != 2].to_parquet(tmp_path / "part.parquet")
    assert read_grid(tmp_path / "part.parquet").left_out == 1


def test_a_table_that_is_no_grid_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    for made, message in (
        (trials().drop(columns="seed"), "has no column seed"),
        (pd.concat([trials(), trials()]), "teacher a, alpha 0.1, seed 1: stands there twice"),
        (trials()[["role", "dataset", "seed", "test_metric"]], "are one cell"),
        (pd.concat([trials(), trials(dataset="other")]), "--dataset: must be one of digits, other"),
    ):  # fmt: skip
        made.to_parquet(path)
        with pytest.raises(SweepError, match=message):
            read_grid(path)
    with pytest.raises(SweepError, match="cannot be read"):
        read_grid(tmp_path / "none.parquet")


def test_every_search_is_judged(tmp_path: Path) -> None:
    trials().to_parquet(tmp_path / "t.parquet")
    found = regret(read_grid(tmp_path / "t.parquet"), repeats=3, slow_trials=12)
    assert set(found.needed) == set(STRATEGIES) == set(found.curves["strategy"])
    # Seeds 1, 2, 3 add 0.1, 0.2, 0.3 to any cell: deviation 0.1; the next best is 0.8 below.
    assert found.allowed == pytest.approx(0.1 / np.sqrt(3))
    assert (found.good_cells, found.best) == (1, "teacher b, alpha 0.9")
    last = found.curves[found.curves["trials"] == 12].set_index("strategy")["regret"]
    assert last["random"] == pytest.approx(0)
    # In the grid's order the best cell is the last: its first seed is the tenth trial, 0.1 at least ahead.
    ordered = found.curves[found.curves["strategy"] == "grid, cell by cell"].set_index("trials")
    assert ordered.loc[10, "good"] == 1.0
    assert ordered.loc[6, "regret"] == pytest.approx(10.8 - 0.8 + 0.0)

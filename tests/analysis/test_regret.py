"""Regret: hand-computed values on a small table."""

import numpy as np
import pytest

from analysis.figures.regret import RegretNumbers, draw
from analysis.regret import curve, halves, needed, regrets, regrets_by_halves, tolerance

SCORES = [[1.0, 3.0, 2.0, 2.0], [6.0, 4.0, 5.0, 5.0], [4.5, 4.5, 4.5, 4.5]]
"""Means 2, 5, 4.5. The best one's deviation is sqrt(2 / 3), its standard error 0.40825."""


def test_good_enough_is_within_the_standard_error_of_the_best_mean() -> None:
    assert tolerance(SCORES) == pytest.approx(np.sqrt(2 / 3) / 2)


def test_regret_is_by_the_whole_table() -> None:
    found = regrets(np.mean(SCORES, 1), [[0, 2, 1], [-1, 2]], 4)
    np.testing.assert_array_equal(found, [[3.0, 0.5, 0.0, 0.0], [np.nan, 0.5, 0.5, 0.5]])


def test_a_curve_is_the_mean_with_its_interval() -> None:
    found = regrets([2, 5, 4.5], [[0, 2, 1], [-1, 2, 2], [-1, 1, 2]], 3)
    made = curve(found, 0.5, [1, 2, 3, 4])
    # Not after one trial, when two had not chosen yet, nor after more than there are.
    assert made["trials"].tolist() == [2, 3]
    assert made["regret"].tolist() == pytest.approx([1 / 3, 1 / 3])
    # 0.5, 0.5, 0: deviation sqrt(1 / 12), t(2) = 4.302653.
    half = 4.302653 * np.sqrt(1 / 12) / np.sqrt(3)
    assert made["ci_high"].iloc[0] == pytest.approx(1 / 3 + half)
    assert made["good"].tolist() == [1.0, 1.0]
    assert curve(found, 0.4, [2])["good"].tolist() == pytest.approx([1 / 3])


def test_trials_needed_are_those_from_which_it_stays_good() -> None:
    found = np.array([[3.0, 0.0, 3.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.3, 0.0]])
    # Means 3, 0, 1.5, 0.15, 0.
    assert needed(found, 0.2, 5.0).on_average == 4
    assert needed(found, 0.2, 5.0).surely == 5  # one of two is no nine of ten
    assert needed(found, 0.3, 5.0).surely == 4
    assert needed(found + 1, 0.2, 5.0).on_average is None
    assert needed(np.zeros((2, 3)), 0.2, 3.0).on_average == 1
    unborn = np.array([[np.nan, 0.0], [0.0, 0.0]])
    assert needed(unborn, 0.2, 2.0).surely == 2


def test_halves_are_drawn_once_for_each_repeat_and_share_no_seed() -> None:
    drawn = halves(15, 20, seed=3)
    assert drawn == halves(15, 20, seed=3) != halves(15, 20, seed=4)
    assert len({tuple(seen) for seen, _ in drawn}) > 10
    for seen, others in drawn:
        assert len(seen) == 8
        assert sorted(seen + others) == list(range(15))


def test_by_halves_it_is_against_what_all_seen_seeds_would_choose() -> None:
    # Seen seeds 0 and 1: means 2, 5, 4.5, so cell 1; on the others: 2, 5, 4.5.
    # Seen 1 alone: 3, 4, 4.5, so cell 2, which is worse on the others than cell 1: below zero.
    split = [([0, 1], [2, 3]), ([1], [0, 2, 3])]
    found = regrets_by_halves(SCORES, [[0, 1], [2, 1]], split, 2)
    np.testing.assert_allclose(found, [[3.0, 0.0], [0.0, 4.5 - 16 / 3]])


def test_the_figure_draws_the_means() -> None:
    made = curve(regrets([2, 5, 4.5], [[0, 2, 1], [2, 2, 2]], 3), 0.5, [1, 2, 3])
    fig = draw(RegretNumbers("title", 0.5, made.assign(strategy="random")))
    line = next(trace for trace in fig.data if trace.name == "random")
    assert (list(line.x), list(line.y)) == ([1, 2, 3], [1.75, 0.5, 0.25])
    assert fig.layout.xaxis.type == "log"

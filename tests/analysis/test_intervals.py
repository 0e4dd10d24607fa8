import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind

from analysis.intervals import (
    benjamini_hochberg,
    equivalence,
    holm,
    share_interval,
    t_interval,
    t_p_value,
    welch,
)
from analysis.signed_rank import signed_rank_p, signed_rank_p_rows, smallest_p

SAMPLE = np.array([1.2, 0.4, -0.3, 2.2, 0.9])
OTHER = np.array([0.1, -0.9, 0.3, 0.2])


def moments(x):
    return x.mean(), x.std(ddof=1), len(x)


def test_t_interval_of_three_by_hand():
    # mean 2, deviation 1, t(2, 0.975) = 4.302653
    low, high = t_interval(2.0, 1.0, 3)
    assert low == pytest.approx(2 - 4.302653 / np.sqrt(3), abs=1e-6)
    assert high == pytest.approx(2 + 4.302653 / np.sqrt(3), abs=1e-6)


def test_t_interval_and_p_are_scipys():
    result = stats.ttest_1samp(SAMPLE, 0)
    interval = result.confidence_interval(0.95)
    low, high = t_interval(*moments(SAMPLE))
    assert (low, high) == pytest.approx((interval.low, interval.high))
    assert t_p_value(*moments(SAMPLE)) == pytest.approx(result.pvalue)


def test_one_value_has_no_interval_and_no_p():
    low, high = t_interval([5.0], [np.nan], [1])
    assert np.isnan(low).all()
    assert np.isnan(high).all()
    assert np.isnan(t_p_value([5.0], [np.nan], [1])).all()


def test_without_spread_p_is_one_at_zero_and_zero_elsewhere():
    assert t_p_value([0.0, 0.5], [0.0, 0.0], [4, 4]).tolist() == [1.0, 0.0]


def test_welch_is_scipys():
    result = stats.ttest_ind(SAMPLE, OTHER, equal_var=False)
    interval = result.confidence_interval(0.95)
    low, high, p = welch(*moments(SAMPLE), *moments(OTHER))
    assert (low, high, p) == pytest.approx((interval.low, interval.high, result.pvalue))


def test_welch_says_nothing_about_a_single_value():
    assert np.isnan(welch(1.0, np.nan, 1, 2.0, 0.5, 9)).all()


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 = 0.04, 0.06, 0.06, 0.04 -> made monotone.
    assert holm([0.04, 0.01, np.nan, 0.03, 0.02]) == pytest.approx(
        [0.06, 0.04, np.nan, 0.06, 0.06], nan_ok=True
    )
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]


def test_benjamini_hochberg_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4/1, 4/2, 4/3, 4/4 = 0.04, 0.04, 0.04, 0.04.
    assert benjamini_hochberg([0.04, 0.01, np.nan, 0.03, 0.02]) == pytest.approx(
        [0.04, 0.04, np.nan, 0.04, 0.04], nan_ok=True
    )
    # 0.01 * 3, 0.5 * 3/2 = 0.75, 0.6 * 3/3: the step from the right makes 0.75 a 0.6.
    assert benjamini_hochberg([0.5, 0.6, 0.01]) == pytest.approx([0.6, 0.6, 0.03])


@pytest.mark.parametrize("size", [1, 2, 27, 270])
def test_corrections_are_statsmodels(size):
    p = np.random.default_rng(size).beta(0.3, 2.0, size)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])


@pytest.mark.parametrize("margin", [0.3, 1.0, 2.5])
def test_equivalence_is_statsmodels_tost(margin):
    expected = ttost_ind(SAMPLE, OTHER, -margin, margin, usevar="unequal")[0]
    assert equivalence(*moments(SAMPLE), *moments(OTHER), margin) == pytest.approx(expected)


def test_equivalence_by_hand():
    # Difference 0.2, both variances 1 over 4: error sqrt(0.5), 6 degrees of freedom,
    # t = (1 - 0.2) / sqrt(0.5) against the nearer end.
    p = equivalence(1.2, 1.0, 4, 1.0, 1.0, 4, 1.0)
    assert p == pytest.approx(stats.t.sf(0.8 / np.sqrt(0.5), 6))


def test_equivalence_without_spread_or_without_two_values():
    assert equivalence([1.0, 2.0, 3.0], 0.0, 3, 1.0, 0.0, 3, 1.0).tolist() == [0.0, 1.0, 1.0]
    assert np.isnan(equivalence(1.0, np.nan, 1, 1.0, 0.5, 9, 1.0))
    assert np.isnan(equivalence(1.0, 0.5, 9, 1.0, 0.5, 9, np.nan))


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (3, 5), (5, 5), (14, 15)])
def test_share_interval_is_scipys(hits, n):
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert share_interval(hits, n) == pytest.approx((expected.low, expected.high))


def test_half_a_success_lies_between():
    low, high = share_interval([7, 7.5, 8, 0], [15, 15, 15, 0])
    assert low[0] < low[1] < low[2]
    assert high[0] < high[1] < high[2]
    assert np.isnan([low[3], high[3]]).all()


@pytest.mark.parametrize("size", [3, 5, 9, 15])
def test_signed_rank_without_ties_is_scipys_exact_test(size):
    values = np.random.default_rng(size).normal(0.4, 1, size)
    expected = stats.wilcoxon(values, method="exact").pvalue
    assert signed_rank_p(values) == pytest.approx(expected)


def test_signed_rank_with_ties_and_zeros_counts_every_sign_pattern():
    values = np.array([0.1, 0.1, -0.1, 0.2, 0.2, 0.3, 0.0])
    method = stats.PermutationMethod(n_resamples=np.inf)
    expected = stats.wilcoxon(values[values != 0], method=method).pvalue
    assert signed_rank_p(values) == pytest.approx(expected)


def test_signed_rank_of_rows_is_that_of_each_row():
    absent = np.nan
    rows = np.array(
        [
            [0.1, absent, -0.2, 0.3, absent, 0.4],  # 3 of 16 patterns are as extreme at either end
            [1.0, 1.0, -1.0, 2.0, 2.0, 3.0],
            [absent] * 6,
            [0.0, absent, 0.0, 0.0, absent, 0.0],
            [5.0, 4.0, 0.0, 3.0, absent, 2.0],
            [-2.0, -0.5, 0.5, absent, 0.5, 0.5],
        ]
    )
    method = stats.PermutationMethod(n_resamples=np.inf)

    def of_scipy(row):
        return stats.wilcoxon(row[(row != 0) & ~np.isnan(row)], method=method).pvalue

    found = signed_rank_p_rows(rows)
    assert found[0] == pytest.approx(6 / 16)
    assert found[[0, 1, 4, 5]] == pytest.approx([of_scipy(rows[i]) for i in (0, 1, 4, 5)])
    assert np.isnan(found[2])
    assert found[3] == 1.0


def test_signed_rank_cannot_fall_below_its_floor():
    assert signed_rank_p([1.0, 2.0, 3.0]) == pytest.approx(0.25)
    assert signed_rank_p([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(0.0625)
    assert [smallest_p(n) for n in (0, 3, 5, 6)] == [1.0, 0.25, 0.0625, 0.03125]
    assert signed_rank_p([0.5] * 6) == pytest.approx(smallest_p(6))


def test_signed_rank_of_no_difference():
    assert signed_rank_p([0.0, 0.0]) == 1.0
    assert np.isnan(signed_rank_p([]))


@given(st.lists(st.floats(-5, 5).map(lambda x: round(x, 2)), min_size=1, max_size=12))
def test_signed_rank_does_not_care_for_the_sign_of_all(values):
    p = signed_rank_p(values)
    assert 0 < p <= 1
    assert signed_rank_p([-v for v in values]) == pytest.approx(p)

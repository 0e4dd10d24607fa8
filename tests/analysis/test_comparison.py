import pandas as pd
import pytest
from scipy import stats

from analysis.comparison import compare, describe_comparison
from tests.analysis.tables import SEEDS, cell, grid, small_study, table


def test_one_cell_is_scipys_welch_test():
    ours = [80.0, 81.5, 79.0]
    theirs = [78.0, 78.5, 77.0, 78.2]
    a = table([cell("baseline", s, v) for s, v in enumerate(ours)])
    b = table([cell("baseline", s, v) for s, v in enumerate(theirs, start=2)])
    row = compare(a, b).iloc[0]
    expected = stats.ttest_ind(ours, theirs, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert row["p"] == pytest.approx(expected.pvalue)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert (row["n_ours"], row["n_reference"], row["seeds_common"]) == (3, 4, 1)


def test_one_seed_cannot_say():
    a = table([cell("baseline", 1, 80.0)])
    b = table([cell("baseline", s, 80.0 + s) for s in (1, 2)])
    row = compare(a, b).iloc[0]
    assert row["verdict"] == "cannot say"
    assert pd.isna(row["p_holm"])


def test_configurations_of_one_side():
    ours = small_study()
    theirs = ours[ours["switch_epoch"].fillna(2) != 3]
    assert compare(theirs, ours)["n_ours"].tolist() == [3, 3]
    everything = compare(theirs, ours, reference_only=True)
    assert everything["n_ours"].tolist() == [3, 3, 0]
    assert everything["n_reference"].tolist() == [3, 3, 2]
    left = compare(ours, theirs)
    assert left["verdict"].tolist() == ["agrees", "agrees", "cannot say"]


def test_holm_is_over_all_tested_cells():
    result = compare(grid(), grid(seeds=(5, 6, 7)))
    smallest = result["p"].min()
    assert result.loc[result["p"].idxmin(), "p_holm"] == pytest.approx(
        min(1.0, smallest * len(result))
    )


def test_a_parameter_only_we_vary_gives_a_row_each():
    ours = pd.concat([grid().assign(init=i) for i in ("he", "default")])
    ours["trial_id"] += ours["init"]
    result = compare(ours, grid().drop(columns="temperature"))
    assert len(result) == 2 * 15
    assert set(result["init"]) == {"he", "default"}
    assert (result["n_reference"] == 3).all()


def test_metrics_must_agree():
    with pytest.raises(ValueError, match="digits has accuracy here and mse in the reference"):
        compare(grid(), grid(metric="mse"))


def test_the_published_results_agree_with_themselves(published):
    result = compare(published, published)
    assert len(result) == 278
    assert (result["verdict"] == "agrees").all()
    assert (result["difference"] == 0).all()
    assert (result["seeds_common"] == 15).all()


def test_a_shift_of_ten_deviations_differs(published):
    part = published[published["dataset"] == "california_housing"].copy()
    moved = part.copy()
    moved["test_metric"] += 10 * 0.0031
    baseline = compare(moved, part)
    row = baseline[baseline["role"] == "baseline"].iloc[0]
    assert row["verdict"] == "differs"
    assert row["difference"] == pytest.approx(0.031)
    assert row["ci_low"] > 0


def test_the_words_do_not_claim_equality(published):
    text = describe_comparison(compare(published, published))
    assert "278 could be tested" in text
    assert "not proof" in text
    assert "intervals still allow" in text


def test_the_words_without_any_test():
    frame = table([cell("baseline", SEEDS[0], 80.0)])
    assert "None of the 1 configurations could be compared" in describe_comparison(
        compare(frame, frame)
    )

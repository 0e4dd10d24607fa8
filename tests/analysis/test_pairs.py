import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.pairs import paired
from tests.analysis.tables import BASE, SEEDS, cell, grid, small_study, table


def by_switch(frame: pd.DataFrame) -> pd.DataFrame:
    return paired(frame).set_index("switch_epoch")


def test_paired_difference_by_hand():
    # Differences 1, 2, 3: mean 2, deviation 1, t = 2 * sqrt(3) with 2 degrees of freedom.
    row = by_switch(small_study()).loc[2]
    assert (row["n_pairs"], row["unpaired_seeds"]) == (3, 0)
    assert (row["difference"], row["deviation"]) == (2.0, 1.0)
    assert row["ci_low"] == pytest.approx(2 - 4.302653 / np.sqrt(3), abs=1e-6)
    assert row["p"] == pytest.approx(
        stats.ttest_rel([81.0, 83.0, 82.0], list(BASE.values())).pvalue
    )
    assert row["p_wilcoxon"] == 0.25
    assert row["better"]
    assert row["verdict"] == "no clear difference"


def test_seeds_on_one_side_are_counted():
    row = by_switch(small_study()).loc[3]
    assert (row["n_pairs"], row["unpaired_seeds"]) == (2, 1)
    assert row["difference"] == -1.0
    assert not row["better"]
    assert row["verdict"] == "cannot say"  # two differences, both -1: no width, and no evidence


def test_seeds_unknown_to_the_baseline_are_counted():
    rows = [cell("baseline", s, 80.0) for s in (1, 2)] + [
        cell("student", s, 81.0) for s in (2, 3, 4)
    ]
    row = paired(table(rows)).iloc[0]
    assert (row["n_pairs"], row["unpaired_seeds"]) == (1, 3)
    assert row["verdict"] == "cannot say"


def test_without_a_baseline_nothing_can_be_said():
    row = paired(table([cell("student", s, 81.0) for s in SEEDS])).iloc[0]
    assert (row["n_pairs"], row["unpaired_seeds"]) == (0, 3)
    assert row["verdict"] == "cannot say"
    assert pd.isna(row["better"])


def test_lower_is_better_for_an_mse():
    rows = [cell("baseline", s, 0.2 + s / 100, metric_name="mse") for s in (1, 2, 3)]
    rows += [cell("student", s, 0.1 + s / 90, metric_name="mse") for s in (1, 2, 3)]
    row = paired(table(rows)).iloc[0]
    assert row["difference"] < 0
    assert row["better"]
    assert row["verdict"] == "better"


def test_the_baseline_itself_is_the_same_trial():
    rows = [cell("baseline", s, 80.0, trial_id=f"t{s}") for s in SEEDS]
    rows += [cell("student", s, 80.0, alpha=1.0, trial_id=f"t{s}") for s in SEEDS]
    row = paired(table(rows)).iloc[0]
    assert row["same_trial"]
    assert row["verdict"] == "same trial"
    assert (row["difference"], row["p"]) == (0.0, 1.0)


def test_baselines_of_other_parameters_are_not_partners():
    rows = [
        cell("baseline", s, 80.0 + 10 * (rate == 0.1), learning_rate=rate, trial_id=f"b{rate}{s}")
        for rate in (0.1, 0.01)
        for s in SEEDS
    ]
    rows += [cell("student", s, 91.0, learning_rate=0.1, trial_id=f"s{s}") for s in SEEDS]
    row = paired(table(rows)).iloc[0]
    assert (row["n_pairs"], row["difference"]) == (3, 1.0)


def test_a_parameter_that_only_students_have_does_not_part_them_from_the_baseline():
    rows = [cell("baseline", s, 80.0, soft_loss=None) for s in SEEDS]
    rows += [
        cell("student", s, 81.0, soft_loss=kind, trial_id=f"{kind}{s}")
        for kind in ("kl", "mse")
        for s in SEEDS
    ]
    table_ = paired(table(rows))
    assert table_["soft_loss"].tolist() == ["kl", "mse"]
    assert table_["n_pairs"].tolist() == [3, 3]


def test_null_can_be_a_value_of_a_parameter():
    rows = [cell("baseline", s, 80.0, batch_size=None) for s in SEEDS]
    rows += [
        cell("student", s, 81.0, batch_size=size, trial_id=f"{size}{s}")
        for size in (None, 64)
        for s in SEEDS
    ]
    table_ = paired(table(rows)).sort_values("batch_size")
    assert table_["n_pairs"].tolist() == [0, 3]


def test_paired_matches_scipy_everywhere():
    frame = grid()
    result = paired(frame)
    assert len(result) == 12
    base = frame[frame["role"] == "baseline"].set_index("seed")["test_metric"]
    for row in result.to_dict("records"):
        where = (
            (frame["teacher"] == row["teacher"])
            & (frame["alpha"] == row["alpha"])
            & (frame["switch_epoch"] == row["switch_epoch"])
        )
        own = frame[where].set_index("seed")["test_metric"]
        expected = stats.ttest_rel(own, base.loc[own.index])
        assert row["p"] == pytest.approx(expected.pvalue)
        interval = expected.confidence_interval(0.95)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))


def test_published_best_cifar_cell(published):
    students = paired(published)
    cifar = students[students["dataset"] == "cifar10"]
    best = cifar.loc[cifar["difference"].idxmax()]
    assert (best["teacher"], best["alpha"], best["switch_epoch"]) == ("small", 0.9, 15)
    assert round(best["difference"], 2) == 0.75
    assert best["verdict"] == "better"
    assert (cifar["n_pairs"] == 15).all()
    assert (cifar["unpaired_seeds"] == 0).all()

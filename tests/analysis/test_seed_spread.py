import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.seed_spread import brown_forsythe, overall_stability, stability
from tests.analysis.tables import BASE, cell, grid, small_study, table


def test_brown_forsythe_by_hand():
    # (0, 1, 2, 3) is 1.5, 0.5, 0.5, 1.5 from its median: mean 1, squares around it 1.
    # (0, 10, 20, 30) likewise: mean 10, squares 100.
    # Between: 4 * 4.5**2 * 2 = 162; within: 101 / 6; F = 162 / (101 / 6).
    statistic, between, within, p = brown_forsythe([4, 4], [1.0, 10.0], [1.0, 100.0])
    assert statistic == pytest.approx(162 * 6 / 101)
    assert (between, within) == (1, 6)
    assert p == pytest.approx(stats.f.sf(162 * 6 / 101, 1, 6))


def test_every_row_is_scipys_levene_test():
    frame = grid(seeds=range(1, 9))
    result = stability(frame)
    assert len(result) == 12
    base = frame.loc[frame["role"] == "baseline", "test_metric"]
    for row in result.to_dict("records"):
        own = frame[
            (frame["teacher"] == row["teacher"])
            & (frame["alpha"] == row["alpha"])
            & (frame["switch_epoch"] == row["switch_epoch"])
        ]["test_metric"]
        expected = stats.levene(own, base, center="median")
        assert (row["statistic"], row["p"]) == pytest.approx((expected.statistic, expected.pvalue))
        assert row["ratio"] == pytest.approx(own.std() / base.std())
    assert result["p_holm"].tolist() == pytest.approx(multipletests(result["p"], method="holm")[1])


def spread(factor: float, seeds: int = 15) -> pd.DataFrame:
    """A student whose seeds deviate by a multiple of the baseline's."""
    noise = np.random.default_rng(1).normal(size=(2, seeds))
    rows = [cell("baseline", s, 80.0 + noise[0, s]) for s in range(seeds)]
    return table(rows + [cell("student", s, 80.0 + factor * noise[1, s]) for s in range(seeds)])


@pytest.mark.parametrize(
    ("factor", "seeds", "verdict"),
    [
        (9.0, 15, "varies more"),
        (0.1, 15, "varies less"),
        (1.0, 15, "no clear difference"),
        (99.0, 5, "cannot say"),
    ],
)
def test_verdicts(factor, seeds, verdict):
    assert stability(spread(factor, seeds))["verdict"].tolist() == [verdict]


def test_too_few_seeds_are_no_test():
    result = stability(small_study()).set_index("switch_epoch")
    assert result["n"].tolist() == [3, 2]
    assert result["n_baseline"].tolist() == [3, 3]
    assert pd.isna(result.loc[3, "p"])
    assert result["verdict"].tolist() == ["cannot say", "cannot say"]
    alone = stability(table([cell("student", s, 81.0 + s) for s in (1, 2, 3)])).iloc[0]
    assert (alone["n_baseline"], alone["verdict"]) == (0, "cannot say")


def test_nothing_varies_is_no_test():
    rows = [cell("baseline", s, 80.0) for s in range(8)]
    rows += [cell("student", s, 81.0) for s in range(8)]
    row = stability(table(rows)).iloc[0]
    assert pd.isna(row["p"])
    assert pd.isna(row["ratio"])
    assert row["verdict"] == "cannot say"


def test_the_baselines_own_trials_are_no_test():
    rows = [cell("baseline", s, v, trial_id=f"t{s}") for s, v in BASE.items()]
    rows += [cell("student", s, v, alpha=1.0, trial_id=f"t{s}") for s, v in BASE.items()]
    rows += [cell("student", s, 2 * v) for s, v in BASE.items()]
    result = stability(table(rows)).set_index("alpha")
    assert result["verdict"].to_dict() == {0.1: "cannot say", 1.0: "same trial"}
    assert pd.isna(result.loc[1.0, "p"])
    overall = overall_stability(table(rows)).iloc[0]
    assert (overall["groups"], overall["more"], overall["less"]) == (2, 1, 0)


def test_all_configurations_at_once_are_scipys_levene_test(published):
    result = overall_stability(published).set_index("dataset")
    for dataset, row in result.iterrows():
        own = published[(published["dataset"] == dataset) & (published["role"] != "teacher")]
        groups = own.groupby(["role", "teacher", "alpha", "switch_epoch"], dropna=False)
        expected = stats.levene(*[g["test_metric"] for _, g in groups], center="median")
        assert row["groups"] == 136
        assert (row["df_between"], row["df_within"]) == (135, 136 * 14)
        assert (row["statistic"], row["p"]) == pytest.approx((expected.statistic, expected.pvalue))
        variance = groups["test_metric"].var()
        students = variance.drop("baseline", level=0)
        assert row["deviation_students"] == pytest.approx(np.sqrt(students.mean()))
        assert row["more"] == (students > variance["baseline"].iloc[0]).sum()


def test_without_students_there_is_nothing():
    frame = grid()[lambda f: f["role"] == "baseline"]
    assert stability(frame).empty
    assert overall_stability(frame).empty


def test_no_effect_on_the_spread_is_found_by_chance_in_few_studies():
    # All against one baseline, skewed noise: after Holm at most 5 % of studies find something.
    rng = np.random.default_rng(6)
    studies, configurations, n = 400, 27, 15
    values = rng.exponential(size=(studies, configurations + 1, n))
    away = np.abs(values - np.median(values, axis=2, keepdims=True))
    mean, squares = away.mean(axis=2), away.var(axis=2) * n
    size = np.full((2, studies, configurations), n)

    def beside(x):
        return np.stack([x[:, 1:], np.broadcast_to(x[:, :1], x[:, 1:].shape)])

    p = brown_forsythe(size, beside(mean), beside(squares))[3]
    assert (p.min(axis=1) * configurations < 0.05).mean() <= 0.05 + 3 * np.sqrt(
        0.05 * 0.95 / studies
    )

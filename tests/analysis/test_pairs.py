import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.attacks import robustness
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
    assert (row["effect"], row["median"], row["iqm"]) == (2.0, 2.0, 2.0)
    assert row["p_improvement"] == 1.0
    # All three of three: the lower end is 0.025 ** (1 / 3).
    assert (row["p_improvement_low"], row["p_improvement_high"]) == pytest.approx(
        (0.2924, 1), abs=1e-4
    )


def test_seeds_on_one_side_are_counted():
    row = by_switch(small_study()).loc[3]
    assert (row["n_pairs"], row["unpaired_seeds"]) == (2, 1)
    assert row["difference"] == -1.0
    assert not row["better"]
    assert row["verdict"] == "cannot say"  # two differences, both -1: no width, and no evidence
    assert pd.isna(row["effect"])
    assert row["p_improvement"] == 0.0


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
    rows = [cell("baseline", s, 0.2 + s / 100, metric_name="mse") for s in range(6)]
    rows += [cell("student", s, 0.1 + s / 90, metric_name="mse") for s in range(6)]
    row = paired(table(rows)).iloc[0]
    assert row["difference"] < 0
    assert row["effect"] < 0
    assert row["better"]
    assert row["p_improvement"] == 1.0
    assert row["verdict"] == row["verdict_uncorrected"] == "better"


def test_the_baseline_itself_is_the_same_trial():
    rows = [cell("baseline", s, 80.0, trial_id=f"t{s}") for s in SEEDS]
    rows += [cell("student", s, 80.0, alpha=1.0, trial_id=f"t{s}") for s in SEEDS]
    row = paired(table(rows)).iloc[0]
    assert row["same_trial"]
    assert row["verdict"] == row["verdict_uncorrected"] == "same trial"
    assert (row["difference"], row["p"]) == (0.0, 1.0)
    assert row[["p_holm", "p_bh", "p_wilcoxon_holm"]].isna().all()


def shifted(seeds: int, **gains: float) -> pd.DataFrame:
    """Baseline near 80; students, named by teacher, whose differences deviate by about 1."""
    noise = {s: np.cos(5.0 * s) for s in range(seeds)}
    rows = [cell("baseline", s, 80.0 + s / 7) for s in noise]
    for teacher, gain in gains.items():
        rows += [cell("student", s, 80.0 + s / 7 + gain + noise[s], teacher=teacher) for s in noise]
    return table(rows)


@pytest.mark.parametrize(
    ("seeds", "verdict"), [(3, "cannot say"), (5, "cannot say"), (6, "better")]
)
def test_too_few_pairs_for_any_exact_test_say_nothing(seeds, verdict):
    row = paired(shifted(seeds, small=50.0)).iloc[0]
    assert row["p_holm"] < 0.001
    assert row["verdict"] == row["verdict_uncorrected"] == verdict


def test_verdicts_are_corrected_for_all_configurations():
    alone = paired(shifted(10, small=0.7)).iloc[0]
    assert 0.01 < alone["p"] < 0.05
    assert alone["p_holm"] == alone["p"]
    assert alone["verdict"] == "better"
    names = [f"t{i}" for i in range(20)]
    crowd = paired(shifted(10, small=0.7, awful=-9.0, **dict.fromkeys(names, 0.0)))
    rows = crowd.set_index("teacher")
    assert rows.loc["small", "p"] == alone["p"]
    assert rows.loc["small", "p_holm"] == pytest.approx(min(1.0, 21 * alone["p"]))
    assert rows.loc["small", "p_bh"] == pytest.approx(22 / 2 * alone["p"])
    assert rows.loc["small", "verdict"] == "no clear difference"
    assert rows.loc["small", "verdict_uncorrected"] == "better"
    assert rows.loc["awful", "verdict"] == rows.loc["awful", "verdict_uncorrected"] == "worse"


def test_the_baseline_asked_for_again_is_no_test_of_the_family():
    frame = shifted(10, small=0.7, medium=0.1)
    same = frame[frame["role"] == "baseline"].assign(
        role="student", teacher="small", alpha=1.0, switch_epoch=2
    )
    rows = paired(pd.concat([frame, same])).set_index(["teacher", "alpha"])
    small = rows.loc[("small", 0.1)]
    assert small["p_holm"] == pytest.approx(2 * small["p"])
    assert rows.loc[("small", 1.0), "verdict"] == "same trial"


def test_both_datasets_of_a_study_are_one_family():
    frame = pd.concat([grid(), grid("california_housing", "mse")])
    result = paired(frame)
    assert len(result) == 24
    for name, p, method in (
        ("p_holm", "p", "holm"),
        ("p_bh", "p", "fdr_bh"),
        ("p_wilcoxon_holm", "p_wilcoxon", "holm"),
    ):
        assert result[name].tolist() == pytest.approx(multipletests(result[p], method=method)[1])


def test_each_attack_and_epsilon_is_a_family():
    table_ = robustness(grid(seeds=range(1, 9)))
    students = table_[table_["role"] == "student"]
    frame = grid(seeds=range(1, 9))
    clean = paired(frame)
    # The made-up values under attack are the clean ones times a factor, and so are the differences.
    for _, part in students.groupby(["attack", "epsilon"]):
        assert len(part) == 12
        assert part["p"].tolist() == pytest.approx(clean["p"].tolist())
        assert part["verdict"].tolist() == clean["verdict"].tolist()


def test_a_tie_is_half_an_improvement():
    gains = (1.0, 0.0, -1.0, 2.0)
    rows = [cell("baseline", s, 80.0) for s in range(4)]
    rows += [cell("student", s, 80.0 + gain) for s, gain in enumerate(gains)]
    row = paired(table(rows)).iloc[0]
    assert row["p_improvement"] == 2.5 / 4
    assert row["effect"] == pytest.approx(0.5 / np.std(gains, ddof=1))
    assert (row["median"], row["iqm"]) == (0.5, 0.5)


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


@pytest.mark.parametrize(
    ("column", "value"),
    [("ramp", "linear"), ("start", "found-01"), ("begin_epoch", 1), ("teacher_epochs", 30)],
)
def test_what_a_later_grid_says_of_students_does_not_part_them_from_the_baseline(column, value):
    """The first grid leaves it empty, as baselines do; another dataset may have no such axis."""
    gains = {None: 1.0, value: 3.0}
    rows = [cell("baseline", seed, BASE[seed], **{column: None}) for seed in SEEDS]
    rows += [
        cell("student", seed, BASE[seed] + gain, **{column: given, "trial_id": f"{given}-{seed}"})
        for seed in SEEDS
        for given, gain in gains.items()
    ]
    found = paired(table(rows)).set_index(column)
    assert found["n_pairs"].tolist() == [3, 3]
    assert found.loc[value, "difference"] == pytest.approx(3.0)


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
    assert best["verdict_uncorrected"] == "better"
    assert (cifar["n_pairs"] == 15).all()
    assert (cifar["unpaired_seeds"] == 0).all()


def by_hand(published: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Differences to the baseline, seeds in rows: plain pandas, none of our own code."""
    own = published[published["dataset"] == dataset]
    base = own[own["role"] == "baseline"].set_index("seed")["test_metric"]
    students = own[own["role"] == "student"].pivot_table(
        index="seed", columns=["teacher", "alpha", "switch_epoch"], values="test_metric"
    )
    return students.sub(base, axis=0)


def test_what_survives_correction_of_the_published_trials(published):
    differences = pd.concat(
        {d: by_hand(published, d).T for d in ("california_housing", "cifar10")}, names=["dataset"]
    )
    assert differences.shape == (270, 15)
    p = stats.ttest_1samp(differences, 0, axis=1).pvalue
    corrected = pd.Series(multipletests(p, method="holm")[1], index=differences.index)
    result = paired(published).set_index(["dataset", "teacher", "alpha", "switch_epoch"])
    pd.testing.assert_series_equal(
        result["p_holm"], corrected.loc[result.index], check_names=False, check_index=False
    )
    # No configuration is shown to be better on either dataset, also not the +0.75 points.
    assert not (result["verdict"] == "better").any()
    best = result.loc[("cifar10", "small", 0.9, 15)]
    assert best["verdict"] == "no clear difference"
    assert best["p_bh"] < 0.05 < best["p_holm"]
    # On CIFAR-10 higher is better, for an MSE lower: these are all worse.
    mean = differences.mean(axis=1)
    harmed = (corrected < 0.05) & (
        mean.where(mean.index.get_level_values(0) == "cifar10", -mean) < 0
    )
    assert harmed.groupby("dataset").sum().to_dict() == {"california_housing": 32, "cifar10": 11}
    assert (result["verdict"] == "worse").sum() == 43


def test_switch_epoch_15_beats_every_other_for_the_best_teacher_and_alpha(published):
    means = by_hand(published, "cifar10").mean()["small"][0.9]
    assert means.idxmax() == 15
    assert (means.drop(15) < means[15]).all()
    assert len(means) == 15


def test_published_california_cells_against_the_baseline(published):
    means = by_hand(published, "california_housing").mean()
    result = paired(published)
    own = result[result["dataset"] == "california_housing"]
    assert own["better"].sum() == (means < 0).sum() == 41
    assert len(means) == 135
    best = own.loc[own["difference"].idxmin()]
    assert (best["teacher"], best["alpha"], best["switch_epoch"]) == means.idxmin()
    assert best["difference"] == pytest.approx(means.min())

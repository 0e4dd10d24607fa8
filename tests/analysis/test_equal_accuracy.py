import numpy as np
import pandas as pd
import pytest

from analysis.cells import tidy
from analysis.equal_accuracy import robustness_at_equal_accuracy
from analysis.tables.robustness import equal_accuracy
from tests.analysis.tables import SEEDS, cell, table

MANY = tuple(range(1, 16))


def attacked(value: float) -> list[dict[str, object]]:
    return [{"attack": "fgsm", "epsilon": 0.05, "value": value}]


def three_students() -> pd.DataFrame:
    """Baseline 80 clean and 40 attacked; students at switch 1, 2, 3 with clean gains 0, 0 and +2."""
    rows = [cell("baseline", s, 80.0, robustness=attacked(40.0)) for s in SEEDS]
    for switch, clean, gains in ((1, 0.0, (1, 2, 3)), (2, 0.0, (4, 5, 6)), (3, 2.0, (7, 8, 9))):
        rows += [
            cell("student", s, 80.0 + clean + jitter, switch_epoch=switch,
                 robustness=attacked(40.0 + gain))
            for s, gain, jitter in zip(SEEDS, gains, (-0.1, 0.0, 0.1), strict=True)
        ]  # fmt: skip
    return table(rows)


def test_equal_ones_come_first_and_the_most_robust_on_top():
    found = robustness_at_equal_accuracy(three_students())
    assert found["switch_epoch"].tolist() == [2, 1, 3]
    assert found["equal_accuracy"].tolist() == [True, True, False]
    assert found["gain"].tolist() == [5.0, 2.0, 8.0]
    first = found.iloc[0]
    # t(2): 4.3027 at 97.5 %, 2.9200 at 95 %; deviations 1 of the gain, 0.1 of the clean difference
    assert first["gain_ci_low"] == pytest.approx(5 - 4.302652729911275 / 3**0.5)
    assert first["clean_ci_high"] == pytest.approx(0.1 * 2.919985580353725 / 3**0.5)
    # p of t = 5 sqrt(3) and 2 sqrt(3) with 2 degrees: Holm doubles the smaller; the third is no test
    assert first["p"] == pytest.approx(0.013072, abs=1e-6)
    assert first["p_holm"] == pytest.approx(2 * 0.013072, abs=2e-6)
    assert found["p_holm"].isna().tolist() == [False, False, True]


def test_a_tolerance_decides_what_is_equal():
    cells = three_students()
    assert not robustness_at_equal_accuracy(cells, tolerance={"accuracy": 0.1})[
        "equal_accuracy"
    ].any()
    wide = robustness_at_equal_accuracy(cells, tolerance={"accuracy": 3.0, "mse": 1.0})
    assert wide["equal_accuracy"].all()
    assert wide["switch_epoch"].tolist() == [3, 2, 1]
    with pytest.raises(ValueError, match="tolerance: accuracy = 0: must be above 0"):
        robustness_at_equal_accuracy(cells, tolerance={"accuracy": 0})
    with pytest.raises(ValueError, match="dataset: 'x' is not one of digits"):
        robustness_at_equal_accuracy(cells, dataset="x")


def test_not_having_found_a_difference_is_not_equality():
    # A mean difference of zero, but seeds that differ by points: nothing is known.
    rows = [cell("baseline", s, 80.0, robustness=attacked(40.0)) for s in SEEDS]
    rows += [
        cell("student", s, 80.0 + d, robustness=attacked(45.0))
        for s, d in zip(SEEDS, (-2.0, 0.0, 2.0), strict=True)
    ]
    found = robustness_at_equal_accuracy(table(rows))
    assert found["clean_difference"].tolist() == [0.0]
    assert found["equal_accuracy"].tolist() == [False]


def test_errors_gain_where_they_fall_and_tolerate_a_share_of_the_baseline():
    rows = [cell("baseline", s, 0.2, metric_name="mse", robustness=attacked(0.5)) for s in SEEDS]
    rows += [cell("student", s, 0.203, metric_name="mse", robustness=attacked(0.4)) for s in SEEDS]
    found = robustness_at_equal_accuracy(table(rows))
    assert found["gain"].tolist() == pytest.approx([0.1])
    assert found["tolerance"].tolist() == pytest.approx([0.004])
    assert found["equal_accuracy"].tolist() == [True]
    # Without any variation from seed to seed there is no slope, and nothing is adjusted.
    assert found[["slope", "adjusted_gain"]].isna().all(axis=None)


def test_the_baseline_s_own_trial_is_no_student():
    own = {s: f"baseline-{s}" for s in SEEDS}
    rows = [cell("baseline", s, 80.0, robustness=attacked(40.0), trial_id=own[s]) for s in SEEDS]
    rows += [
        cell("student", s, 80.0, alpha=1.0, robustness=attacked(40.0), trial_id=own[s])
        for s in SEEDS
    ]
    assert robustness_at_equal_accuracy(table(rows)).empty


def noisy(slope: float, effect: float, spread: float, seed: int = 1) -> pd.DataFrame:
    """Students at three switch epochs whose attacked metric follows the clean one by `slope`.

    Args:
        slope: attacked points per clean point.
        effect: of switch 3 beyond that, in attacked points.
        spread: deviation of the attacked metric around the line.
        seed: of the noise.
    """
    rng = np.random.default_rng(seed)

    def values(clean: float, more: float = 0.0) -> dict[str, object]:
        under = 40 + slope * (clean - 80) + more + rng.normal(0, spread)
        return {"value": clean, "robustness": attacked(under)}

    rows = [cell("baseline", s, **values(80 + rng.normal(0, 0.5))) for s in MANY]
    for switch, shift in ((1, 0.0), (2, -3.0), (3, -6.0)):
        rows += [
            cell(
                "student", s, switch_epoch=switch,
                **values(80 + shift + rng.normal(0, 0.5), effect * (switch == 3)),
            )
            for s in MANY
        ]  # fmt: skip
    return table(rows)


def test_what_accuracy_explains_is_no_robustness():
    # On the line exactly: switch 2 loses 6 points under attack, all of them by its accuracy.
    found = robustness_at_equal_accuracy(noisy(2.0, 1.5, 0.0)).set_index("switch_epoch")
    assert found["slope"].tolist() == pytest.approx([2.0] * 3)
    assert found.loc[2, "gain"] < -5
    assert found.loc[2, "adjusted_gain"] == pytest.approx(0, abs=1e-9)
    assert found.loc[3, "adjusted_gain"] == pytest.approx(1.5)
    assert found.loc[3, "adjusted_ci_low"] == pytest.approx(1.5)


def test_adjusted_gains_are_those_of_an_analysis_of_covariance():
    from statsmodels.formula.api import ols

    cells = noisy(2.0, 1.0, 0.7)
    found = robustness_at_equal_accuracy(cells).set_index("switch_epoch")
    frame = pd.DataFrame(
        {
            "clean": cells["test_metric"],
            "under": [p[0]["value"] for p in cells["robustness"]],
            "group": cells["switch_epoch"].astype("float").fillna(0),
        }
    )
    fit = ols("under ~ C(group) + clean", frame).fit()
    assert found["slope"].tolist() == pytest.approx([fit.params["clean"]] * 3)
    for switch in (1, 2, 3):
        expected = fit.params[f"C(group)[T.{float(switch)}]"]
        assert found.loc[switch, "adjusted_gain"] == pytest.approx(expected)


def test_the_jackknife_leaves_out_one_seed_after_the_other():
    cells = noisy(2.0, 1.0, 0.7, seed=3)
    cells = cells[~((cells["switch_epoch"] == 2) & (cells["seed"] == 4)).fillna(False)]

    def gain(part: pd.DataFrame) -> float:
        return float(
            robustness_at_equal_accuracy(part).set_index("switch_epoch").loc[3, "adjusted_gain"]
        )

    without = np.array([gain(cells[cells["seed"] != seed]) for seed in MANY])
    n = len(MANY)
    error = np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
    found = robustness_at_equal_accuracy(cells).set_index("switch_epoch").loc[3]
    half = 2.1447866879169273 * error  # t(14) at 97.5 %
    assert found["adjusted_gain"] == pytest.approx(gain(cells))
    assert found["adjusted_ci_high"] - found["adjusted_gain"] == pytest.approx(half)
    assert found["adjusted_gain"] - found["adjusted_ci_low"] == pytest.approx(half)


@pytest.mark.slow
def test_adjusted_intervals_cover_near_the_baseline_and_far_from_it():
    covered = {1: 0, 3: 0}
    studies = 400
    for seed in range(studies):
        found = robustness_at_equal_accuracy(noisy(1.0, 0.0, 1.0, seed)).set_index("switch_epoch")
        for switch in covered:
            row = found.loc[switch]
            covered[switch] += row["adjusted_ci_low"] <= 0 <= row["adjusted_ci_high"]
    # 95 % of 400 are 380, with a deviation of 4.4.
    assert all(366 <= n <= 394 for n in covered.values()), covered


def test_the_published_cell_of_equal_accuracy(published):
    found = robustness_at_equal_accuracy(published, "cifar10")
    assert set(found["dataset"]) == {"cifar10"}
    best = found[found["equal_accuracy"]].groupby("epsilon").first()
    for epsilon, gain in ((0.005, 3.16), (0.01, 4.25)):
        row = best.loc[epsilon]
        assert (row["teacher"], row["alpha"], row["switch_epoch"]) == ("medium", 0.6, 15)
        cifar = published[published["dataset"] == "cifar10"]
        chosen = (
            (cifar["teacher"] == "medium") & (cifar["alpha"] == 0.6) & (cifar["switch_epoch"] == 15)
        )
        means = [
            np.mean([p["value"] for points in part for p in points if p["epsilon"] == epsilon])
            for part in (
                cifar.loc[chosen.fillna(False), "robustness"],
                cifar.loc[cifar["role"] == "baseline", "robustness"],
            )
        ]
        assert row["gain"] == pytest.approx(means[0] - means[1])
        assert row["gain"] == pytest.approx(gain, abs=0.005)
        assert row["p_holm"] < 0.001
    strong = found[found["equal_accuracy"] & (found["epsilon"] == 0.05)]
    assert not ((strong["p_holm"] < 0.05) & (strong["gain"] > 0)).any()


def test_a_gain_over_few_seeds_has_no_colour():
    def colours(seeds):
        rows = [cell("baseline", s, 80.0, robustness=attacked(40.0)) for s in seeds]
        rows += [
            cell("student", s, 80.0, robustness=attacked(45.0 + 0.01 * (s % 3))) for s in seeds
        ]
        cells = tidy(table(rows))
        shown = equal_accuracy(robustness_at_equal_accuracy(cells), cells)
        assert shown is not None
        return [row[shown.columns.index("gain")].style for row in shown.rows]

    assert colours(range(5)) == [""]
    assert colours(range(6)) == ["better"]

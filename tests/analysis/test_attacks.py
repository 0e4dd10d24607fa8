import pandas as pd
import pytest

from analysis.attacks import attacked, robustness, robustness_averages
from tests.analysis.tables import SEEDS, cell, grid, table


def points(*values: float) -> list[dict[str, object]]:
    return [
        {"attack": "fgsm", "epsilon": epsilon, "value": value}
        for epsilon, value in zip((0.01, 0.05), values, strict=True)
    ]


def study() -> pd.DataFrame:
    rows = [cell("baseline", s, 80.0, robustness=points(50.0, 10.0)) for s in SEEDS]
    drops = dict(zip(SEEDS, (1.0, 2.0, 3.0), strict=True))
    rows += [
        cell("student", s, 81.0, robustness=points(50.0 + drops[s], 10.0 - drops[s])) for s in SEEDS
    ]
    return table(rows)


def test_robustness_by_hand():
    table_ = robustness(study()).set_index(["role", "epsilon"])
    student = table_.loc[("student", 0.05)]
    assert (student["n"], student["mean"], student["deviation"]) == (3, 8.0, 1.0)
    assert (student["difference"], student["difference_deviation"]) == (-2.0, 1.0)
    assert student["n_pairs"] == 3
    assert pd.isna(table_.loc[("baseline", 0.05), "difference"])


def test_strengths_that_are_one_count_once_for_each_trial():
    """0.1 + 0.2 was measured by the training, 0.3 later: three seeds, not six."""

    def twice(value: float) -> list[dict[str, object]]:
        return [{"attack": "fgsm", "epsilon": e, "value": value} for e in (0.3, 0.1 + 0.2)]

    rows = [cell("baseline", s, 80.0, robustness=twice(40.0)) for s in SEEDS]
    gains = dict(zip(SEEDS, (1.0, 2.0, 3.0), strict=True))
    rows += [cell("student", s, 81.0, robustness=twice(40.0 + gains[s])) for s in SEEDS]
    student = robustness(table(rows)).set_index("role").loc["student"]
    assert (student["n"], student["mean"], student["deviation"]) == (3, 42.0, 1.0)
    assert (student["n_pairs"], student["verdict"]) == (3, "cannot say")


def test_averages_by_hand():
    averages = robustness_averages(study()).set_index("epsilon")
    assert averages["students"].tolist() == [52.0, 8.0]
    assert averages["baseline"].tolist() == [50.0, 10.0]
    assert averages["difference"].tolist() == [2.0, -2.0]
    # 81 clean and 80 clean
    assert averages["students_drop"].tolist() == [29.0, 73.0]
    assert averages["baseline_drop"].tolist() == [30.0, 70.0]


def test_cells_without_attacks_are_left_out():
    assert attacked(grid(attacked=False)).empty
    assert robustness(grid(attacked=False)).empty
    assert robustness_averages(grid(attacked=False)).empty


def test_published_values_are_percent_of_all_test_samples(published):
    raw = published[(published["dataset"] == "cifar10") & (published["role"] == "baseline")]
    by_hand = [p["value"] for nested in raw["robustness"] for p in nested if p["epsilon"] == 0.01]
    table_ = robustness(published)
    base = table_[(table_["dataset"] == "cifar10") & (table_["role"] == "baseline")]
    found = base.set_index("epsilon").loc[0.01, "mean"]
    assert found == pytest.approx(sum(by_hand) / 15)
    assert base.set_index("epsilon")["mean"].is_monotonic_decreasing


def test_drops_by_hand():
    # Baseline: 80 to 50 for every seed. Students: 81 to 51, 52, 53: drops 30, 29, 28.
    table_ = robustness(study()).set_index(["role", "epsilon"])
    student, base = table_.loc[("student", 0.01)], table_.loc[("baseline", 0.01)]
    assert (student["clean"], student["drop"]) == (81.0, 29.0)
    half = 4.302652729911275 / 3**0.5  # t(2) at 97.5 %, deviation 1
    assert student["drop_ci_low"] == pytest.approx(29 - half)
    assert student["drop_percent"] == pytest.approx(100 * 29 / 81)
    assert (base["drop"], base["drop_percent"]) == (30.0, 37.5)
    assert student["drop_difference"] == pytest.approx(-1.0)
    assert student["drop_difference_ci_high"] == pytest.approx(-1 + half)
    percent = [100 * d / 81 - 37.5 for d in (30, 29, 28)]
    assert student["drop_percent_difference"] == pytest.approx(sum(percent) / 3)
    assert pd.isna(base["drop_difference"])


def test_a_drop_of_an_error_is_its_growth():
    rows = [
        cell("baseline", s, 0.2, metric_name="mse", robustness=points(0.25, 0.5)) for s in SEEDS
    ]
    rows += [cell("student", s, 0.1, metric_name="mse", robustness=points(0.2, 0.6)) for s in SEEDS]
    table_ = robustness(table(rows)).set_index(["role", "epsilon"])
    assert table_.loc[("baseline", 0.05), "drop"] == pytest.approx(0.3)
    assert table_.loc[("baseline", 0.05), "drop_percent"] == pytest.approx(150)
    assert table_.loc[("student", 0.05), "drop"] == pytest.approx(0.5)
    assert table_.loc[("student", 0.05), "drop_difference"] == pytest.approx(0.2)
    assert table_.loc[("student", 0.05), "drop_percent_difference"] == pytest.approx(350)


def test_drops_are_those_of_pairs_alone():
    # A seed without its baseline has a drop of its own, but none beside the baseline's.
    cells = study()
    lonely = (cells["role"] == "baseline") & (cells["seed"] == SEEDS[2])
    table_ = robustness(cells[~lonely]).set_index(["role", "epsilon"])
    assert table_.loc[("student", 0.01), "drop"] == 29.0
    assert table_.loc[("student", 0.01), "drop_difference"] == pytest.approx(-0.5)
    assert table_.loc[("student", 0.01), ["n", "n_pairs", "unpaired_seeds"]].tolist() == [3, 2, 1]


def test_averages_leave_out_the_baselines_own_trial():
    cells = study()
    same = cells[cells["role"] == "baseline"].assign(
        role="student", teacher="small", alpha=1.0, switch_epoch=2, temperature=1.0
    )
    both = pd.concat([cells, same], ignore_index=True)
    pd.testing.assert_frame_equal(robustness_averages(both), robustness_averages(cells))

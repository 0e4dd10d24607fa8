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


def test_averages_by_hand():
    averages = robustness_averages(study()).set_index("epsilon")
    assert averages["students"].tolist() == [52.0, 8.0]
    assert averages["baseline"].tolist() == [50.0, 10.0]
    assert averages["difference"].tolist() == [2.0, -2.0]


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

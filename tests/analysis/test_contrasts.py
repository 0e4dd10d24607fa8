import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.contrasts import contrasts, full_grid, judged

SEEDS = (1, 2, 3, 4)


def students(values: dict[tuple[str, float], list[float]], base: list[float]) -> pd.DataFrame:
    """One row per configuration and seed; NaN where there is no result."""
    rows = [
        {"teacher": t, "alpha": a, "seed": seed, "value": value, "baseline": b}
        for (t, a), own in values.items()
        for seed, value, b in zip(SEEDS, own, base, strict=True)
    ]
    return pd.DataFrame(rows)


def test_part_of_a_grid_has_one_difference_per_seed():
    frame = students(
        {("small", 0.1): [1, 2, 3, 4], ("small", 0.9): [3, 4, 5, 6], ("large", 0.1): [9, 9, 9, 9]},
        [1, 1, 2, 2],
    )
    grid = full_grid(frame.sample(frac=1, random_state=0), ["teacher", "alpha"])
    assert grid.seeds == SEEDS
    # mean of (1, 3), (2, 4), ... less the baseline
    assert grid.by_seed(grid.where(teacher="small")).tolist() == [1, 2, 2, 3]
    assert grid.by_seed(grid.where(alpha=0.1)).tolist() == [4, 4.5, 4, 4.5]
    assert (grid.configurations_left_out, grid.seeds_left_out) == (0, 0)


def test_missing_results_take_out_configurations_then_seeds():
    nan = float("nan")
    frame = students(
        {
            ("small", 0.1): [1, 2, 3, 4],
            ("small", 0.9): [3, nan, 5, 6],
            ("large", 0.1): [nan, nan, nan, 9],
        },
        [1, 1, 2, nan],
    )
    grid = full_grid(frame, ["teacher", "alpha"])
    # large has 0 of 4 that the baseline has, too; then seeds 2 (a student) and 4 (the baseline)
    assert grid.configurations["teacher"].tolist() == ["small", "small"]
    assert grid.seeds == (1, 3)
    assert (grid.configurations_left_out, grid.seeds_left_out) == (1, 2)
    assert grid.by_seed(grid.where()).tolist() == [1, 2]


def test_nothing_in_common_leaves_an_empty_grid():
    nan = float("nan")
    frame = students({("small", 0.1): [1, nan, 3, nan], ("small", 0.9): [nan, 2, nan, 4]}, [0] * 4)
    grid = full_grid(frame, ["teacher", "alpha"])
    assert grid.values.shape == (2, 0)
    assert grid.seeds_left_out == 4
    empty = full_grid(frame[:0], ["teacher", "alpha"])
    assert empty.values.size == 0


def test_contrasts_are_one_sample_t_tests():
    values = np.array([0.3, -0.1, 0.5, 0.4, 0.2, 0.6])
    (row,) = contrasts({"a": values}).to_dict("records")
    found = stats.ttest_1samp(values, 0)
    low, high = found.confidence_interval(0.95)
    assert row["n"] == 6
    assert row["difference"] == pytest.approx(1.9 / 6)
    assert (row["ci_low"], row["ci_high"], row["p"]) == pytest.approx((low, high, found.pvalue))


def test_contrasts_of_one_family_are_judged_together():
    shape = np.array([-1.0, 1, -1, 1, -1, 1])
    strong, weak = 3 + shape, 1.3 + shape
    table = judged(
        contrasts({"strong": strong, "weak": weak, "few": strong[:5], "none": strong[:0]}), 1
    )
    p_strong = stats.ttest_1samp(strong, 0).pvalue
    p_weak = stats.ttest_1samp(weak, 0).pvalue
    assert p_weak < 0.05
    # five seeds cannot reach 5 % in an exact rank test, and are no member of the family
    assert table["p_holm"][:2].tolist() == pytest.approx([2 * p_strong, p_weak])
    assert table["p_holm"][2:].isna().all()
    assert table["verdict"].tolist() == ["better", "better", "cannot say", "cannot say"]
    assert judged(table, -1)["verdict"].tolist()[:2] == ["worse", "worse"]
    third = contrasts({"a": weak, "b": weak, "c": weak})
    assert judged(third, 1)["verdict"].tolist() == ["no clear difference"] * 3

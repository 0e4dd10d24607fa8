import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind

import analysis
from analysis.comparison import compare, describe_comparison
from analysis.figures import comparison as figure
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
    # Deviations of one point and three seeds: a margin of ten is needed to call that equal.
    assert left["verdict"].tolist() == ["cannot say"] * 3
    wide = compare(ours, theirs, margin={"accuracy": 10.0})
    assert wide["verdict"].tolist() == ["reproduced", "reproduced", "cannot say"]


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
    assert not (result["verdict"] == "differs").any()
    assert (result["difference"] == 0).all()
    assert (result["seeds_common"] == 15).all()


def test_a_shift_of_ten_deviations_differs(published):
    part = published[published["dataset"] == "california_housing"].copy()
    moved = part.copy()
    moved["test_metric"] += 10 * 0.0031
    baseline = compare(moved, part)
    row = baseline[baseline["role"] == "baseline"].iloc[0]
    assert row["verdict"] == "differs"
    assert row["differs"]
    assert row["difference"] == pytest.approx(0.031)
    assert row["ci_low"] > 0
    # 2 % of the reference's baseline, 0.1972.
    assert row["margin"] == pytest.approx(0.003945, abs=1e-6)
    assert row["p_equivalent"] > 0.99


def baselines(values, metric="accuracy", dataset="digits"):
    return table(
        [cell("baseline", s, v, metric_name=metric, dataset=dataset) for s, v in enumerate(values)]
    )


OURS, THEIRS = [80.0, 80.3, 79.9, 80.1], [80.2, 80.1, 80.4, 80.3, 80.2]


def test_equivalence_is_statsmodels_tost():
    row = compare(baselines(OURS), baselines(THEIRS)).iloc[0]
    expected = ttost_ind(np.array(OURS), np.array(THEIRS), -0.5, 0.5, usevar="unequal")[0]
    assert row["margin"] == 0.5
    assert row["p_equivalent"] == row["p_equivalent_holm"] == pytest.approx(expected)
    assert row["verdict"] == "reproduced"
    strict = compare(baselines(OURS), baselines(THEIRS), margin={"accuracy": 0.2}).iloc[0]
    assert strict["margin"] == 0.2
    assert strict["verdict"] == "cannot say"


def test_a_difference_within_the_margin_is_reproduced_and_named():
    moved = [value + 0.3 for value in (80.0, 80.01, 80.02, 79.99)]
    result = compare(baselines(moved), baselines([80.0, 80.01, 80.02, 79.99]))
    row = result.iloc[0]
    assert row["differs"]
    assert row["verdict"] == "reproduced"
    assert "In 1 of the reproduced a difference was found that is smaller" in (
        describe_comparison(result)
    )
    tight = compare(
        baselines(moved), baselines([80.0, 80.01, 80.02, 79.99]), False, {"accuracy": 0.1}
    )
    assert tight["verdict"].tolist() == ["differs"]


def test_the_margin_of_an_mse_is_a_share_of_the_references_baseline():
    reference = baselines([0.19, 0.20, 0.21], "mse")
    assert compare(reference, reference)["margin"].tolist() == pytest.approx([0.004])
    students = table([cell("student", s, 0.1 * s, metric_name="mse") for s in (1, 2, 3)])
    assert compare(students, students)["margin"].tolist() == pytest.approx([0.004])
    ours = pd.concat([reference, baselines([0.5, 0.6], "mse", "wine")])
    unknown = compare(ours, reference).set_index("dataset").loc["wine"]
    assert pd.isna(unknown["margin"])
    assert unknown["verdict"] == "cannot say"


def test_margins_are_checked():
    frame = baselines(OURS)
    with pytest.raises(
        ValueError, match=r"'acuracy' is not a metric of these results \(accuracy\)"
    ):
        compare(frame, frame, margin={"acuracy": 0.5})
    for value in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="must be above zero and finite"):
            compare(frame, frame, margin={"accuracy": value})


def test_both_families_are_corrected_after_holm():
    result = compare(grid(), grid(seeds=(5, 6, 7)))
    for name in ("p", "p_equivalent"):
        expected = multipletests(result[name], method="holm")[1]
        assert result[f"{name}_holm"].tolist() == pytest.approx(expected)


def test_at_most_one_in_twenty_at_the_margin_is_called_reproduced():
    # The true difference is exactly the margin: at most 5 % may be called reproduced.
    rng = np.random.default_rng(2)
    seeds, configurations = 8, 300
    sides = [rng.normal(80.0, 0.2, (configurations, seeds)) for _ in range(2)]
    sides[0] += 0.5
    ours, theirs = (
        table(
            [
                cell("student", seed, value, switch_epoch=epoch)
                for epoch, row in enumerate(side, start=1)
                for seed, value in enumerate(row)
            ]
        )
        for side in sides
    )
    share = (compare(ours, theirs)["verdict"] == "reproduced").mean()
    assert 0.0 < share <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / configurations)
    near = compare(ours.assign(test_metric=ours["test_metric"] - 0.5), theirs)
    assert (near["verdict"] == "reproduced").mean() > 0.9


def test_the_words_count_and_name_the_margin(published):
    result = compare(published, published)
    text = describe_comparison(result)
    reproduced = int((result["verdict"] == "reproduced").sum())
    assert f"Of 278 configurations {reproduced} are reproduced, none differ" in text
    assert f"for {278 - reproduced} the seeds do not suffice to say" in text
    assert "within 0.0039 MSE on California Housing and 0.50 points on CIFAR-10" in text
    assert "intervals still allow differences of up to" in text
    part = published[published["dataset"] == "california_housing"]
    moved = describe_comparison(compare(part.assign(test_metric=part["test_metric"] + 0.05), part))
    assert "The clearest difference is California Housing, " in moved
    assert "+0.0500 MSE" in moved


def test_the_figures_numbers_are_sorted_and_whole(published):
    result = compare(published[published["seed"] > 2000], published)
    numbers = figure.comparison_numbers(result)
    assert numbers is not None
    assert numbers.metrics == {"california_housing": "mse", "cifar10": "accuracy"}
    assert len(numbers.points) == 278
    for _, part in numbers.points.groupby("dataset"):
        assert part["difference"].is_monotonic_increasing
        assert part["place"].tolist() == list(range(1, 140))
    assert sum(numbers.counts.values()) == 278
    reproduced = numbers.counts["reproduced"]
    assert numbers.title.startswith(f"{reproduced} of 278 configurations reproduced")


@pytest.mark.parametrize("narrow", [False, True])
def test_the_figure_draws_every_difference_beside_the_margin(narrow):
    moved = grid().assign(test_metric=lambda f: f["test_metric"] + 30.0 * (f["alpha"] == 0.9))
    result = compare(moved, grid(), margin={"accuracy": 5.0})
    numbers = figure.comparison_numbers(result)
    assert numbers is not None
    drawn = figure.draw(numbers, narrow)
    traces = {trace.name: trace for trace in drawn.data if trace.x is not None and len(trace.x) > 1}
    # Two teachers, the baseline and six students as they were; six with alpha 0.9 are moved.
    assert {name: len(trace.x) for name, trace in traces.items()} == {"reproduced": 9, "differs": 6}
    assert list(traces["differs"].y) == pytest.approx([30.0] * 6)
    band = next(shape for shape in drawn.layout.shapes if shape.type == "rect")
    assert (band.y0, band.y1) == (-5.0, 5.0)
    assert "large teacher, alpha 0.9, switch 1" in str(traces["differs"].customdata)


def test_without_a_difference_there_is_no_figure():
    result = compare(baselines(OURS), baselines(THEIRS, dataset="mnist"))
    assert figure.comparison_numbers(result) is None
    with pytest.raises(ValueError, match="no configuration has results on both sides"):
        analysis.comparison_figure(result)


def test_the_words_without_any_test():
    frame = table([cell("baseline", SEEDS[0], 80.0)])
    assert "None of the 1 configurations could be compared" in describe_comparison(
        compare(frame, frame)
    )

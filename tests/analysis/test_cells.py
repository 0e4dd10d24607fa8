import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.cells import configuration_keys, only_variant, summarise, tidy, variants
from tests.analysis.tables import SEEDS, cell, grid, small_study, table


def row(summary: pd.DataFrame, **where: object) -> pd.Series:
    for column, value in where.items():
        summary = summary[summary[column] == value]
    assert len(summary) == 1
    return summary.iloc[0]


def test_summary_by_hand():
    base = row(summarise(small_study()), role="baseline")
    assert (base["n"], base["n_missing"]) == (3, 0)
    assert base["mean"] == 80.0
    assert base["deviation"] == 1.0
    assert (base["median"], base["min"], base["max"]) == (80.0, 79.0, 81.0)
    assert base["ci_high"] - base["mean"] == pytest.approx(4.302653 / np.sqrt(3), abs=1e-6)


def test_missing_cells_are_counted():
    late = row(summarise(small_study()), switch_epoch=3)
    assert (late["n"], late["n_missing"]) == (2, 1)
    assert late["mean"] == pytest.approx(79.5)


def test_a_configuration_without_any_result_is_still_a_row():
    rows = [cell("baseline", 1, 80.0), cell("student", 1, None)]
    student = row(summarise(table(rows)), role="student")
    assert (student["n"], student["n_missing"]) == (0, 1)
    assert np.isnan(student["mean"])
    assert student["metric_name"] == "accuracy"


def test_one_seed_has_no_interval():
    summary = summarise(table([cell("baseline", 1, 80.0)]))
    assert np.isnan(summary["ci_low"]).all()
    assert summary["mean"].tolist() == [80.0]


def test_a_parameter_that_varies_is_a_key_and_one_that_does_not_is_none():
    rows = [cell("baseline", s, 80.0 + s, init=i) for i in ("he", "default") for s in (1, 2)]
    frame = table(rows)
    frame["trial_id"] = [f"t{i}" for i in range(4)]
    assert "init" in configuration_keys(tidy(frame))
    assert "batch_size" not in configuration_keys(tidy(frame))
    assert len(summarise(frame)) == 2


def test_a_parameter_that_differs_between_datasets_only_is_no_key():
    frame = pd.concat([grid(), grid("california_housing", "mse").assign(batch_size=None)])
    assert "batch_size" not in configuration_keys(tidy(frame))


def test_alphas_are_compared_to_twelve_digits():
    rows = [cell("student", 1, 80.0, alpha=0.3), cell("student", 2, 82.0, alpha=0.1 + 0.2)]
    assert summarise(table(rows))["n"].tolist() == [2]


def test_datasets_are_never_pooled():
    summary = summarise(pd.concat([grid(), grid("california_housing", "mse")]))
    assert set(summary.groupby("dataset")["metric_name"].nunique()) == {1}
    assert summary.loc[summary["metric_name"] == "mse", "mean"].max() < 1


def test_a_trial_asked_for_twice_counts_once():
    frame = pd.concat([small_study(), small_study().iloc[:3]])
    assert row(summarise(frame), role="baseline")["n"] == 3


def test_two_trials_for_one_cell_are_refused():
    frame = table(
        [cell("baseline", 1, 80.0, trial_id="a"), cell("baseline", 1, 81.0, trial_id="b")]
    )
    with pytest.raises(ValueError, match="two trials for one configuration and seed"):
        summarise(frame)


def test_a_result_that_is_not_finite_is_no_result():
    frame = table([cell("baseline", 1, float("inf")), cell("baseline", 2, 80.0)])
    assert summarise(frame)[["n", "n_missing"]].to_numpy().tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "pupil"}, "role: pupil is not one of baseline, student, teacher"),
        ({"dataset": "digits", "metric_name": ["mse", "accuracy", "mse"]}, "has mse, accuracy"),
    ],
)
def test_bad_tables_are_refused(change, message):
    frame = table([cell("baseline", s, 80.0) for s in SEEDS]).assign(**change)
    with pytest.raises(ValueError, match=message):
        summarise(frame)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="missing columns seed; required are"):
        summarise(small_study().drop(columns="seed"))


def test_tidy_twice_changes_nothing():
    once = tidy(grid())
    pd.testing.assert_frame_equal(tidy(once), once)


def test_arrow_types_make_no_difference():
    frame = small_study()
    other = frame.copy()
    for column in ("role", "dataset", "model", "teacher", "metric_name", "status"):
        other[column] = other[column].astype("string[pyarrow]")
    other["test_metric"] = other["test_metric"].astype("double[pyarrow]")
    other["seed"] = other["seed"].astype("int64[pyarrow]")
    pd.testing.assert_frame_equal(summarise(frame), summarise(other))


def test_variants_split_by_parameter_and_keep_baselines_and_teachers():
    frame = pd.concat([grid().assign(temperature=t) for t in (1.0, 4.0)])
    frame["trial_id"] += frame["temperature"].astype(str).where(frame["role"] == "student", "")
    parts = variants(frame)
    assert [part.label for part in parts] == ["temperature 1", "temperature 4"]
    for part in parts:
        assert part.cells["role"].value_counts().to_dict() == {
            "student": 36,
            "teacher": 6,
            "baseline": 3,
        }
    with pytest.raises(ValueError, match="2 variants"):
        only_variant(frame)


def test_variants_get_the_baselines_of_their_own_parameters():
    rates = [grid().assign(learning_rate=rate) for rate in (0.1, 0.01)]
    frame = pd.concat(rates)
    frame["trial_id"] += frame["learning_rate"].astype(str)
    parts = variants(frame)
    assert [part.label for part in parts] == ["learning rate 0.01", "learning rate 0.1"]
    for part, rate in zip(parts, (0.01, 0.1), strict=True):
        own = part.cells[part.cells["role"] != "teacher"]
        assert set(own["learning_rate"]) == {rate}
        assert (own["role"] == "baseline").sum() == 3


def test_one_dataset_must_be_named_among_several():
    frame = pd.concat([grid(), grid("mnist")])
    with pytest.raises(ValueError, match="choose one of digits, mnist"):
        only_variant(frame)
    with pytest.raises(ValueError, match="'cifar' is not one of digits, mnist"):
        only_variant(frame, "cifar")


def test_published_baselines(published):
    summary = summarise(published)
    base = summary[summary["role"] == "baseline"].set_index("dataset")
    assert round(base.loc["cifar10", "mean"], 2) == 76.93
    assert round(base.loc["california_housing", "mean"], 4) == 0.1972
    assert round(base.loc["california_housing", "deviation"], 4) == 0.0031
    assert base["n"].tolist() == [15, 15]


def test_published_worst_cifar_cell(published):
    summary = summarise(published)
    students = summary[(summary["dataset"] == "cifar10") & (summary["role"] == "student")]
    worst = students.loc[students["mean"].idxmin()]
    assert (worst["teacher"], worst["alpha"], worst["switch_epoch"]) == ("small", 0.1, 15)
    assert round(worst["mean"], 2) == 59.90


def test_import_is_light():
    code = (
        "import sys, analysis\n"
        "assert 'pandas' not in sys.modules\n"
        "assert 'plotly' not in sys.modules\n"
        "import analysis.report\n"
        "heavy = {'torch', 'ray', 'sweep', 'trials', 'models', 'data'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_public_name_is_there():
    for name in analysis.__all__:
        assert getattr(analysis, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        analysis.nothing  # noqa: B018

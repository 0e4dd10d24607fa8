import math

import numpy as np
import pandas as pd
import pytest

from analysis.measure_names import MeasureName
from analysis.measures import measure, measure_title, written, written_difference
from tests.analysis.tables import cell, table

ATTACKED = [
    {"attack": "fgsm-all-unclipped", "epsilon": 0.018, "value": 61.5},
    {"attack": "fgsm", "epsilon": 0.018, "value": 60.0},
    {"attack": "weight_noise-batch-mean1", "epsilon": 0.09, "value": 33.0},
]
CLASSES = [
    {"label": 0, "precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 10},
    {"label": 1, "precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 10},
    {"label": 2, "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0},
]
CURVE = [
    {"epoch": e, "split": s, "metric": m, "loss": 1.0}
    for e, test, valid in ((1, 95.0, 50.0), (2, 96.0, 90.0), (3, 97.0, 89.0), (4, 98.0, 92.0))
    for s, m in (("test", test), ("validation", valid))
]


def cells() -> pd.DataFrame:
    full = {"robustness": ATTACKED, "per_class": CLASSES, "curve": CURVE, "epochs_run": 4,
            "perturbed": {"rows": 8, "corrected": 6, "memorised": 1, "other": 1},
            "validation_metric": 71.0,
            "validation_robustness": [{"attack": "fgsm", "epsilon": 0.018, "value": 55.0}]}  # fmt: skip
    rows = [
        cell("baseline", 1, 70.0, **full),
        cell("baseline", 2, 72.0),
        cell("baseline", 3, None, **full),
        cell("baseline", 4, 0.25, dataset="rows", metric_name="mse", r2=0.8),
    ]
    return table(rows).set_index(pd.Index([7, 3, 5, 1]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", [70, 72, None, None]),
        ("mse", [None, None, None, 0.25]),
        ("test_metric", [70, 72, None, 0.25]),
        ("validation_metric", [71, None, None, None]),
        ("r2", [None, None, None, 0.8]),
        ("epochs_run", [4, None, None, None]),
        ("fgsm 0.018", [60, None, None, None]),
        ("fgsm-all-unclipped 0.018", [61.5, None, None, None]),
        ("weight_noise-batch-mean1  9e-2", [33, None, None, None]),
        ("validation fgsm 0.018", [55, None, None, None]),
        ("fgsm 0.0180001", [None, None, None, None]),
        # the third class has no test row, so its zeros are no figures
        ("precision", [75, None, None, None]),
        ("recall", [75, None, None, None]),
        ("f1", [200 / 3, None, None, None]),
        ("corrected", [75, None, None, None]),
        ("memorised", [12.5, None, None, None]),
        ("other", [12.5, None, None, None]),
        # on validation, where the test split would give 1; falling back below does not undo it
        ("epoch_at 90", [2, None, None, None]),
        ("epoch_at 91", [4, None, None, None]),
        ("epoch_at 92.5", [None, None, None, None]),
    ],
)
def test_every_measure_of_every_cell(name, expected):
    found = measure(cells(), name)
    assert list(found.index) == [7, 3, 5, 1]
    wanted = [np.nan if value is None else value for value in expected]
    np.testing.assert_allclose(found.to_numpy(), wanted, rtol=1e-12)


def test_a_level_of_an_error_is_reached_from_above():
    curve = [{"epoch": e, "split": "test", "metric": m, "loss": m} for e, m in ((1, 2.0), (2, 0.9))]
    frame = table([cell("baseline", 1, 0.5, metric_name="mse", curve=curve)])
    assert measure(frame, "epoch_at 1").tolist() == [2.0]


def test_what_was_never_recorded_has_no_number():
    bare = table([cell("baseline", 1, 70.0)]).drop(columns=["robustness", "train_loss"])
    for name in ("validation_metric", "fgsm 0.05", "f1", "corrected", "epoch_at 50"):
        assert measure(bare, name).isna().all(), name
    assert measure(bare.assign(status="diverged"), "accuracy").isna().all()


@pytest.mark.parametrize(
    "name",
    ["", "acuracy", "accuracy 0.1", "fgsm", "fgsm x", "fgsm -0.1", "fgsm inf", "noise 0.1",
     "epoch_at", "validation accuracy", "validation epoch_at 90", "fgsm 0.1 0.2"],
)  # fmt: skip
def test_a_name_that_is_none_says_what_there_is(name):
    with pytest.raises(
        ValueError, match=r"measure: .* is not one of accuracy, mse, .*'epoch_at 90'"
    ):
        measure(cells(), name)


def test_a_table_without_the_metric_is_refused():
    with pytest.raises(ValueError, match="missing column metric_name, which measure 'accuracy'"):
        measure(cells().drop(columns="metric_name"), "accuracy")


def test_units_and_how_numbers_are_written():
    units = {name: MeasureName.parse(name).unit("mse") for name in
             ("mse", "accuracy", "fgsm 0.1", "f1", "epoch_at 90", "test_loss", "test_metric")}  # fmt: skip
    assert units == {
        "mse": "number", "accuracy": "percent", "fgsm 0.1": "number", "f1": "percent",
        "epoch_at 90": "epochs", "test_loss": "number", "test_metric": "number",
    }  # fmt: skip
    assert MeasureName.parse("fgsm 0.1").unit("accuracy") == "percent"
    assert [written(12.345, unit) for unit in ("percent", "epochs", "number")] == [
        "12.35", "12.3", "12.35",
    ]  # fmt: skip
    assert written(math.nan, "epochs") == "–"
    assert written_difference(-0.5, "percent") == "−0.50"
    assert written_difference(0.12345, "number") == "+0.1235"


def test_titles_name_the_unit():
    assert measure_title("accuracy", "accuracy") == "Test accuracy (%)"
    assert measure_title("fgsm 0.018", "accuracy") == "Test accuracy (%) under FGSM 0.018"
    assert measure_title("epoch_at 90", "accuracy") == "Epochs to accuracy 90"
    assert measure_title("validation_metric", "mse") == "Validation MSE"

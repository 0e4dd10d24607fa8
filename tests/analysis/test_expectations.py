import pytest

from analysis.expectations import expected_settings
from tests.analysis.test_questions import study


def test_expected_settings_against_the_others():
    # gains: teacher small 0 / large 1, alpha 0.1 -2 / 0.9 0, switch 1, 2, 3: 0, 0.5, 1
    table = expected_settings(
        study(),
        [
            {"dataset": "digits", "teacher": "small", "alpha": [0.9], "switch_epoch": [2, 3]},
            {"dataset": None, "teacher": None, "alpha": [0.1], "switch_epoch": []},
            {"dataset": "mnist", "teacher": None, "alpha": [0.1], "switch_epoch": []},
        ],
    )
    assert len(table) == 2
    first, second = table.to_dict("records")
    # expected: mean of 0.5 and 1; others of the small teacher: mean of -2, -1.5, -1 and 0
    assert first["difference"] == pytest.approx(0.75 + 4.5 / 4, abs=0.01)
    assert (first["configurations"], first["others"], first["n"]) == (2, 4, 7)
    assert first["expected"] == "small teacher, alpha 0.9, switch 2 and 3"
    assert (first["best"], first["best_expected"]) == ("small teacher, alpha 0.9, switch 3", True)
    assert first["verdict"] == "better"
    assert second["difference"] == pytest.approx(-2)
    assert (second["configurations"], second["others"]) == (6, 6)
    assert (second["best"], second["best_expected"]) == (
        "large teacher, alpha 0.9, switch 3",
        False,
    )
    assert second["verdict"] == "worse"


def test_nothing_to_compare_with_cannot_say():
    (row,) = expected_settings(study(), [{"alpha": [0.1, 0.9]}]).to_dict("records")
    assert (row["configurations"], row["others"], row["n"]) == (12, 0, 0)
    assert row["verdict"] == "cannot say"
    assert row["best_expected"] is True
    assert expected_settings(study(), []).empty

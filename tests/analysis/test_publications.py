import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import tables
from analysis.conditions import described, met
from analysis.publications import published
from analysis.seed_means import over_seeds
from tests.analysis.tables import SEEDS, cell, small_study, table


def test_found_by_hand():
    # students at switch 2: 81, 83, 82, so mean 82, deviation 1, t(2) 4.303 / sqrt(3) = 2.484
    where = {"switch_epoch": 2}
    given = [
        {"where": where, "measure": "accuracy", "value": 80.0, "deviation": 0.5, "source": "T I"},
        {"where": where, "measure": "accuracy", "value": 79.0, "note": "the last epoch"},
        {"where": {"role": "baseline"}, "measure": "accuracy", "value": 80.0},
        {"where": where, "measure": "fgsm 0.1", "value": 10.0},
        {"where": {"switch_epoch": 9}, "measure": "accuracy", "value": 1.0},
    ]
    found = published(small_study(), given)
    first, second, base, attacked, nowhere = found.to_dict("records")
    assert (first["setting"], first["state"], first["n"]) == ("switch epoch 2", "found", 3)
    assert (first["mean"], first["deviation"], first["difference"]) == (82.0, 1.0, 2.0)
    assert first["ci_low"] == pytest.approx(82 - 4.302653 / math.sqrt(3), abs=1e-5)
    assert first["inside"] is True
    assert second["inside"] is False
    assert (base["setting"], base["mean"], base["inside"]) == ("baseline", 80.0, True)
    assert (attacked["state"], attacked["n"], attacked["n_asked"]) == ("not run", 0, 3)
    assert (nowhere["state"], nowhere["n_asked"], nowhere["inside"]) == ("not asked for", 0, None)
    shown = tables.published(found)
    assert shown is not None
    assert [entry.text for entry in shown.rows[0]] == [
        "switch epoch 2", "accuracy", "80.00 ± 0.50", "82.00 ± 1.00", "3", "+2.00",
        "79.52 to 84.48", "yes", "T I", "",
    ]  # fmt: skip
    assert [row[3].text for row in shown.rows[3:]] == ["not run", "not asked for"]
    assert shown.rows[1][-1].text == "the last epoch"
    assert tables.published(published(small_study(), [])) is None


def test_several_settings_are_one_value_per_seed():
    rows = [
        cell("student", seed, value, switch_epoch=switch)
        for switch, values in ((1, (80.0, 82.0, 90.0)), (2, (84.0, 86.0, None)))
        for seed, value in zip(SEEDS, values, strict=True)
    ]
    (row,) = published(table(rows), [{"measure": "accuracy", "value": 83.0}]).to_dict("records")
    # seed means 82 and 84; the third seed lacks one of its two settings
    assert (row["setting"], row["configurations"]) == ("every student", 2)
    assert (row["n"], row["n_asked"], row["mean"]) == (2, 3, 83.0)
    assert row["deviation"] == pytest.approx(math.sqrt(2))


def test_two_datasets_have_no_common_mean():
    both = pd.concat([small_study(), small_study().assign(dataset="mnist")])
    with pytest.raises(ValueError, match="every student is asked of digits, mnist; where must"):
        published(both, [{"measure": "accuracy", "value": 1}])
    (row,) = published(
        both,
        [{"where": {"dataset": "mnist", "switch_epoch": 2}, "measure": "accuracy", "value": 1}],
    ).to_dict("records")
    assert row["n"] == 3


def test_conditions_on_every_kind_of_column():
    frame = pd.DataFrame(
        {
            "alpha": [0.1, 0.30000000000000004, np.nan],
            "epochs": pd.array([10, 30, None], dtype="Int64"),
            "start": pd.array(["zero-pad", None, "none"], dtype="str"),
            "batch_size": [64.0, np.nan, 128.0],
            "flip": [True, False, True],
        }
    )
    for where, expected in (
        ({"alpha": 0.3}, [False, True, False]),
        ({"epochs": [10, 30]}, [True, True, False]),
        ({"start": "zero-pad"}, [True, False, False]),
        ({"start": "none"}, [False, True, True]),
        ({"batch_size": "full"}, [False, True, False]),
        ({"batch_size": ["full", 64]}, [True, True, False]),
        ({"flip": True, "alpha": 0.1}, [True, False, False]),
        ({"epochs": "none"}, [False, False, True]),
        ({"start": 3}, [False, False, False]),
        ({}, [True, True, True]),
    ):
        assert met(frame, where).tolist() == expected, where
    with pytest.raises(ValueError, match="where: 'strat' is no column"):
        met(frame, {"strat": 1})
    assert described({"role": "teacher", "epochs": [10, 30], "alpha": 0.1}) == (
        "teacher, epochs 10 and 30, alpha 0.1"
    )


def test_population_deviation_is_smaller_and_the_interval_stays():
    rows = pd.DataFrame({"seed": [1, 2, 3, 1], "by": ["a", "a", "a", "b"], "v": [1.0, 2, 3, 5]})
    sample, population = (over_seeds(rows, ["by"], "v", ddof) for ddof in (1, 0))
    assert sample["deviation"].tolist()[0] == 1.0
    assert population["deviation"].tolist() == [pytest.approx(math.sqrt(2 / 3)), 0.0]
    assert sample["ci_low"].equals(population["ci_low"])
    assert math.isnan(sample["deviation"][1])


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12), st.floats(-50, 50))
def test_a_mean_moves_with_its_values_and_counts_seeds_once(values, shift):
    rows = pd.DataFrame({"seed": range(len(values)), "v": values})
    twice = pd.concat([rows.assign(v=rows["v"] - 1), rows.assign(v=rows["v"] + 1 + 2 * shift)])
    (one,), (two,) = (over_seeds(part, (), "v").to_dict("records") for part in (rows, twice))
    assert two["n"] == one["n"] == len(values)
    assert two["mean"] == pytest.approx(one["mean"] + shift, abs=1e-9)
    assert two["deviation"] == pytest.approx(one["deviation"], abs=1e-9)

"""The aggregated view: seeds in one row, and what the analysis says of the same cells."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from sweep.expand import Cell, Role
from sweep.query import Asking, query
from sweep.query.configurations import WORDS
from sweep.query.student_t import two_sided
from sweep.records import trial_row
from sweep.results import Results
from tests.sweep.test_cells import finish
from tests.sweep.test_results import Asked
from tests.sweep.tiny import result, tiny_study

Rows = Callable[[str], list[dict[str, Any]]]
MOMENTS = ("mean", "deviation", "median", "min", "max", "ci_low", "ci_high")
PAIRED = {"n_pairs": "n_pairs", "difference": "difference", "ci_low": "difference_ci_low",
          "ci_high": "difference_ci_high"}  # fmt: skip


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_quantiles_are_those_of_scipy(level: float) -> None:
    from scipy.special import stdtrit

    freedom = [*range(1, 203), 1000, 10**6]
    ours = [two_sided(level, n) for n in freedom]
    np.testing.assert_allclose(ours, stdtrit(freedom, (1 + level) / 2), rtol=1e-10)


@pytest.fixture
def given(tmp_path: Path) -> Iterator["tuple[Asked, Rows]"]:
    """Three seeds, and what the view says of their configurations where something holds."""
    with Asking(tmp_path) as asking:
        yield (
            Asked(tmp_path, tiny_study(seeds=[1, 2, 3])),
            lambda where: asking.query(f"SELECT * FROM cells WHERE {where}").to_pylist(),
        )


def test_three_seeds_by_hand(given: "tuple[Asked, Rows]") -> None:
    """Baseline 80, 82, 84; a student 81, 84 and one that is missing: +1, +2, on two pairs."""
    asked, rows = given
    for cell, value in zip(asked.some(Role.BASELINE), (80.0, 82.0, 84.0), strict=True):
        finish(asked.store, cell, test_metric=value)
    students = [c for c in asked.some(Role.STUDENT) if (c.alpha, c.switch_epoch) == (0.1, 1)]
    for cell, value in zip(students, (81.0, 84.0), strict=False):
        finish(asked.store, cell, test_metric=value)
    (baseline,) = rows("role = 'baseline'")
    # t(0.975, 2) = 4.302653; 4.302653 * 2 / sqrt(3) = 4.968276
    assert {key: baseline[key] for key in ("study", "metric_name", "n", "n_asked", "n_missing")} == {
        "study": "tiny", "metric_name": "accuracy", "n": 3, "n_asked": 3, "n_missing": 0,
    }  # fmt: skip
    assert [baseline[key] for key in MOMENTS] == pytest.approx(
        [82, 2, 82, 80, 84, 77.031724, 86.968276], abs=1e-6
    )
    assert [baseline[key] for key in PAIRED.values()] == [None] * 4
    (student,) = rows("alpha = 0.1 AND switch_epoch = 1")
    # Differences 1 and 2; t(0.975, 1) = 12.706205; 12.706205 * 0.5 = 6.353102
    assert (student["n"], student["n_asked"], student["n_missing"]) == (2, 3, 1)
    assert [student[key] for key in PAIRED.values()] == pytest.approx(
        [2, 1.5, -4.853102, 7.853102], abs=1e-6
    )
    (nothing,) = rows("alpha = 0.1 AND switch_epoch = 3")
    assert (nothing["n"], nothing["n_missing"], nothing["n_pairs"]) == (0, 3, 0)
    assert nothing["metric_name"] == "accuracy"  # that of its dataset
    assert {nothing[key] for key in (*MOMENTS, "difference")} == {None}
    (same,) = rows("alpha = 0.1 AND switch_epoch = 0")  # is the baseline
    assert (same["n_pairs"], same["difference"], same["difference_ci_high"]) == (3, 0.0, 0.0)


def test_one_seed_has_no_interval(given: "tuple[Asked, Rows]") -> None:
    asked, rows = given
    baseline = asked.some(Role.BASELINE)[0]
    student = next(c for c in asked.some(Role.STUDENT) if c.alpha == 0.1)
    finish(asked.store, baseline, test_metric=70.0)
    finish(asked.store, student, test_metric=float("nan"))
    (found,) = rows("role = 'baseline'")
    assert (found["n"], found["mean"], found["deviation"], found["ci_low"]) == (1, 70.0, None, None)
    (other,) = rows("alpha = 0.1 AND switch_epoch = 1")
    assert (other["n"], other["n_missing"]) == (0, 3)  # what is no number is no result


VARIED = {
    "recipes": {"grid.learning_rate": [0.001, 0.01], "grid.init": ["default", "he"]},
    "temperatures": {"grid.temperature": [1.0, 4.0], "teacher.recipe": {"epochs": 2}},
    "alone": {"grid.epochs": [3, 4], "datasets.digits.baseline": False},
    "datasets": {
        "datasets.california_housing": {"recipe": {"batch_size": 64, "learning_rate": 0.1}}
    },
}


def test_the_analysis_says_the_same(tmp_path: Path) -> None:
    for name, overrides in VARIED.items():
        asked = Asked(tmp_path, tiny_study(name=name, seeds=[1, 2, 3, 4], **overrides))
        trials = {cell.trial_id: cell for cell in asked.cells}.values()
        asked.store.trials.publish(
            [row for n, cell in enumerate(trials) for row in given_to(n, cell)]
        )
    everything = query(tmp_path, "SELECT * FROM cells").to_pandas()
    assert set(everything["study"]) == set(VARIED)
    for name in VARIED:
        cells = Results(tmp_path).cells(name)
        own = everything[everything["study"] == name]
        agree(own, analysis.summarise(cells), {moment: moment for moment in MOMENTS})
        agree(own, analysis.paired(cells), PAIRED)


def given_to(number: int, cell: Cell) -> Iterator[dict[str, Any]]:
    """What came out of a trial: nothing of some, no figure of others."""
    value = float(np.random.default_rng(number).normal(60, 5))
    name = "accuracy" if cell.dataset == "digits" else "mse"
    if number % 11 == 5:
        yield trial_row(cell, result(status="diverged", test_metric=None, metric_name=name))
    elif number % 7 != 3:
        yield trial_row(cell, result(test_metric=value, metric_name=name))


def agree(view: pd.DataFrame, table: pd.DataFrame, columns: dict[str, str]) -> None:
    """Every row of the analysis stands in the view with the same figures."""
    keys = [name for name in WORDS if name in table]
    known = dict(zip(_names(view, keys), view.to_dict("records"), strict=True))
    count = 0
    for name, row in zip(_names(table, keys), table.to_dict("records"), strict=True):
        found = known[name]
        for theirs, ours in columns.items():
            np.testing.assert_allclose(
                float(found[ours]),
                float(row[theirs]),
                rtol=1e-9,
                atol=1e-9,
                err_msg=f"{name} {ours}",
            )
        if "mean" in row:
            assert (found["n"], found["n_missing"]) == (row["n"], row["n_missing"])
            assert found["metric_name"] == row["metric_name"]
        count += 1
    assert count == len(table) > 0


def _names(frame: pd.DataFrame, keys: list[str]) -> Iterator[tuple[object, ...]]:
    for row in frame[keys].astype(object).itertuples(index=False):
        yield tuple(None if pd.isna(value) or value == "None" else value for value in row)


def test_many_columns_do_not_overflow_the_numbers(tmp_path: Path) -> None:
    """Combinations of values beyond 64 bits: as many configurations as there are."""
    import pyarrow as pa

    from sweep.query.configurations import numbered
    from sweep.records import CELLS

    texts = [f"v{number}" for number in range(40)]
    asked = pa.table(
        {
            field.name: pa.array(
                texts if field.type == pa.string() else range(40), field.type, from_pandas=True
            )
            for field in CELLS
        }
    ).append_column("study", pa.array(texts))
    number, found = numbered(pa.concat_tables([asked, asked.slice(0, 5)]))
    assert len(found) == 40
    assert number.to_pylist()[40:] == number.to_pylist()[:5]
    assert sorted(set(number.to_pylist())) == list(range(40))
    assert found["n_asked"].to_pylist().count(2) == 5

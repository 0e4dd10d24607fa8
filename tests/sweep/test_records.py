"""The rows of a results directory: a trial is said in one way, a cell as it was asked for."""

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from sweep.expand import Cell, Role, cells
from sweep.records import (
    ATTEMPTS,
    CELLS,
    EVALUATIONS,
    RUNS,
    TRIALS,
    Attempt,
    FailureKind,
    cell_row,
    schedule_text,
    table,
    trial_row,
    trial_words,
)
from sweep.study import load_study
from tests.sweep.tiny import result

PROMISED = {
    "trial_id", "role", "dataset", "model", "teacher", "alpha", "switch_epoch", "temperature",
    "seed", "metric_name", "test_metric", "test_loss", "train_loss", "robustness", "epochs_run",
    "selected_on", "wall_s", "device_s", "device_name", "code_version", "data_fingerprint",
    "finished_at",
}  # fmt: skip


def made(dataset: str = "digits", **changes: Any) -> list[Cell]:
    raw = {
        "name": "small",
        "seeds": [5],
        "grid": {"teacher": ["small"], "alpha": [0.25, 1.0], "switch_epoch": [0, 2, 4, 6],
                 "past_end": "allow"},
        "recipe": {"epochs": 4, "batch_size": 32},
        "split": {"validation": 0.25},
        "datasets": {dataset: {}},
    }  # fmt: skip
    return cells(load_study(raw, changes))


def test_the_promised_columns_are_there() -> None:
    assert set(TRIALS.names) >= PROMISED
    assert set(CELLS.names) <= set(TRIALS.names)


@pytest.mark.parametrize("schema", [CELLS, TRIALS, ATTEMPTS, EVALUATIONS, RUNS])
def test_every_table_says_its_version(schema: pa.Schema) -> None:
    assert schema.metadata == {b"sweep_schema_version": b"5"}


def test_equal_trials_are_one_record() -> None:
    by_trial: dict[str, list[dict[str, Any]]] = {}
    for cell in made():
        by_trial.setdefault(cell.trial_id, []).append(trial_words(cell))
    several = [words for words in by_trial.values() if len(words) > 1]
    assert [len(words) for words in several] == [1 + 4 + 1, 2]  # alone; switch 4 and 6
    for words in several:
        assert all(other == words[0] for other in words)


def test_a_trial_alone_has_no_words_of_guidance() -> None:
    for cell in made():
        words = trial_words(cell)
        guided = cell.role is Role.STUDENT and cell.alpha == 0.25 and cell.switch_epoch != 0
        keys = ("teacher", "alpha", "switch_epoch", "temperature", "soft_loss")
        assert [words[key] is not None for key in keys] == [guided] * 5
        if cell.role is not Role.TEACHER:
            assert words["role"] == ("student" if guided else "baseline")


def test_a_switch_past_the_end_is_recorded_as_the_end_and_asked_for_as_it_was() -> None:
    late = next(cell for cell in made() if cell.alpha == 0.25 and cell.switch_epoch == 6)
    assert trial_words(late)["switch_epoch"] == 4
    assert cell_row(late)["switch_epoch"] == 6


def test_a_temperature_without_effect_is_recorded_as_1() -> None:
    found = made("california_housing", **{"grid.temperature": [1, 4]})
    guided = [cell for cell in found if cell.spec.rules]
    assert {trial_words(cell)["temperature"] for cell in guided} == {1.0}
    assert {cell_row(cell)["temperature"] for cell in guided} == {1.0, 4.0}
    softened = [cell for cell in made(**{"grid.temperature": [4]}) if cell.spec.rules]
    assert {trial_words(cell)["temperature"] for cell in softened} == {4.0}


def test_a_row_of_a_trial_fills_the_table() -> None:
    cell = next(cell for cell in made() if cell.spec.rules)
    row = trial_row(cell, result(teacher_trial_ids=("c" * 24,)))
    assert set(row) == set(TRIALS.names)
    (back,) = table([row], TRIALS).to_pylist()
    assert back["trial_id"] == cell.trial_id
    assert back["selected_on"] == "validation"
    assert back["teacher_trial_ids"] == ["c" * 24]
    assert back["robustness"] == [{"attack": "fgsm", "epsilon": 0.05, "value": 30.0}]
    assert back["finished_at"].tzinfo is not None
    assert json.loads(back["schedule"]) == json.loads(schedule_text(cell.spec))


def test_a_schedule_is_written_out() -> None:
    cell = next(
        c for c in made(**{"grid.temperature": [2]}) if c.switch_epoch == 2 and c.spec.rules
    )
    (rule,) = cell.spec.rules
    assert json.loads(schedule_text(cell.spec)) == [
        {
            "epochs": 2, "hard": 0.25, "soft": 0.75, "soft_loss": "kl", "temperature": 2.0,
            "teachers": [{"rule": rule.key, "pool": 1, "select_on": "validation", "weight": 1.0}],
        },
        {"epochs": 2, "hard": 1.0, "soft": 0.0},
    ]  # fmt: skip


def test_a_row_of_a_cell_fills_its_table() -> None:
    rows = [cell_row(cell) for cell in made()]
    assert all(set(row) == set(CELLS.names) for row in rows)
    assert table(rows, CELLS).num_rows == 1 + 1 + 8


def test_an_attempt_fills_its_table() -> None:
    at = datetime(2025, 1, 2, tzinfo=UTC)
    attempt = Attempt("e", "t", "s", "failed", FailureKind.BUG, "m", "tb", "n", "w", at, at, 1.5)
    row = attempt.row()
    assert set(row) == set(ATTEMPTS.names)
    (back,) = table([row], ATTEMPTS).to_pylist()
    assert (back["kind"], back["wall_s"], back["started_at"]) == ("bug", 1.5, at)


def test_an_unknown_column_of_any_row_is_refused() -> None:
    rows = [{"trial_id": "a"}, {"trial_id": "b", "acuracy": 1.0}]
    with pytest.raises(ValueError, match="acuracy"):
        table(rows, TRIALS)


def test_a_column_that_a_row_leaves_out_is_null() -> None:
    (row,) = table([{"trial_id": "a"}], TRIALS).to_pylist()
    assert set(row) == set(TRIALS.names)
    assert [key for key, value in row.items() if value is not None] == ["trial_id"]

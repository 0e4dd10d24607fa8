"""A trial as a value: names, units, figures, how it ended."""

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.handover.handed import Curve, Tries, handed_run, plain, run_name
from sweep.handover.source import handed_runs
from sweep.records import FailureKind
from sweep.results import Results
from tests.sweep.handover.made import BEGAN, FAILED, RESULTS, STUDY, attempt, measure_more

WORDS: dict[str, Any] = {
    "role": "student", "dataset": "cifar10", "model": "large", "teacher": "small", "alpha": 0.1,
    "switch_epoch": 5, "temperature": 1.0, "seed": 38,
}  # fmt: skip


def test_a_name_says_what_tells_trials_apart() -> None:
    assert run_name(WORDS) == "cifar10 student teacher small alpha 0.1 switch 5 seed 38"
    assert run_name(WORDS, ["alpha", "temperature"]) == (
        "cifar10 student teacher small alpha 0.1 switch 5 temperature 1 seed 38"
    )
    teacher = {"role": "teacher", "dataset": "digits", "model": "small", "seed": 2}
    assert run_name(teacher, ["temperature"]) == "digits teacher small seed 2"


@given(st.floats(allow_nan=False))
def test_a_value_is_written_short_and_stays_itself(value: float) -> None:
    assert float(plain(value)) == value


def test_short_values() -> None:
    assert [plain(v) for v in (0.005, 1.0, 1e-5, 7, "kl")] == ["0.005", "1", "1e-05", "7", "kl"]


def test_every_trial_that_ended_is_handed_over_once(results: Results) -> None:
    runs = list(handed_runs(results, STUDY))
    assert len({run.trial_id for run in runs}) == len(runs) == RESULTS + FAILED
    assert sorted(run.status for run in runs) == ["diverged", *5 * ["done"], "failed"]
    recorded = results.trials().set_index("trial_id")
    for run in runs:
        if run.status != "done":
            continue
        row = recorded.loc[run.trial_id]
        assert run.metrics["test/accuracy_percent"] == row["test_metric"]
        assert run.metrics["test/loss"] == row["test_loss"]
        assert run.metrics["robustness/fgsm_0.05/accuracy_percent"] == row["test_metric"] / 2
        assert run.parameters["seed"] == row["seed"]
        assert run.role == row["role"]
        assert (run.started_at, run.finished_at) == (BEGAN, BEGAN + timedelta(seconds=20))
        assert run.message is None
        assert run.curves[0] == Curve("train/loss", "step", (10, 20, 40), tuple(row["train_loss"]))
        assert run.curves[1:] == (
            Curve(
                "epochs/validation/accuracy_percent", "epoch", (1, 2, 3),
                tuple(row["test_metric"] - 9 + epoch for epoch in (1, 2, 3)),
            ),
            Curve("epochs/validation/loss", "epoch", (1, 2, 3), (2.0, 1.0, 2.0 / 3)),
        )  # fmt: skip


def test_names_of_the_runs_of_a_study_differ(results: Results) -> None:
    names = [run.name for run in handed_runs(results, STUDY)]
    assert len(set(names)) == len(names)
    assert "digits baseline medium seed 1" in names


def test_what_failed_says_why_and_when(results: Results) -> None:
    (run,) = (run for run in handed_runs(results, STUDY) if run.status == "failed")
    assert run.name == "digits baseline medium seed 2"
    assert run.message == "bug: went wrong in attempt 2"
    assert run.tags["failed_attempts"] == "1 bug, 1 worker_lost"
    assert run.tags["attempts"] == "2"
    assert run.started_at == BEGAN + timedelta(minutes=1)
    assert run.finished_at == BEGAN + timedelta(minutes=1, seconds=20)
    assert (run.metrics, run.curves) == ({}, ())
    assert run.parameters["model"] == "medium"
    assert "teacher" not in run.parameters


def test_what_diverged_has_its_losses_and_no_metric(results: Results) -> None:
    (run,) = (run for run in handed_runs(results, STUDY) if run.status == "diverged")
    assert run.message == "diverged: went wrong in attempt 1"
    assert "test/accuracy_percent" not in run.metrics
    assert run.metrics["diverged_epoch"] == 1.0
    one, infinite, nan = run.curves[0].values
    assert (one, infinite) == (1.0, math.inf)
    assert math.isnan(nan)


def test_an_mse_is_not_called_an_accuracy() -> None:
    record = {
        **WORDS, "trial_id": "t", "status": "done", "metric_name": "mse", "test_metric": 0.25,
        "validation_metric": 0.5, "mae": 0.375, "validation_robustness": [
            {"attack": "fgsm", "epsilon": 1e-5, "value": 0.75}
        ],
    }  # fmt: skip
    run = handed_run("s", _all(record), None)
    assert run.metrics == {
        "test/mse": 0.25, "test/mae": 0.375, "validation/mse": 0.5,
        "validation_robustness/fgsm_1e-05/mse": 0.75,
    }  # fmt: skip
    assert (run.started_at, run.finished_at, run.tags) == (None, None, {})


def _all(record: dict[str, Any]) -> dict[str, Any]:
    from sweep.records import TRIALS

    return {**dict.fromkeys(TRIALS.names), **record}


def test_the_last_attempt_is_the_one_with_the_highest_number() -> None:
    late = BEGAN + timedelta(days=1)  # of a node whose clock is ahead
    tries = Tries.of(
        [
            attempt("t", 2).row(),
            attempt("t", 1, FailureKind.WORKER_LOST, started_at=late, finished_at=late).row(),
        ]
    )
    assert (tries.number, tries.failures) == (2, {"worker_lost": 1})
    assert tries.started_at == BEGAN + timedelta(minutes=1)
    assert tries.message == "worker_lost: went wrong in attempt 1"


def test_an_evaluation_made_later_changes_the_digest_of_its_trial_alone(results: Results) -> None:
    before = {run.trial_id: run.digest for run in handed_runs(results, STUDY)}
    again = {run.trial_id: run.digest for run in handed_runs(results, STUDY)}
    assert again == before
    chosen = next(r.trial_id for r in handed_runs(results, STUDY) if r.status == "done")
    measure_more(results.store, chosen, 12.5)
    after = {run.trial_id: run for run in handed_runs(results, STUDY)}
    assert after[chosen].metrics["robustness/pgd_0.1/accuracy_percent"] == 12.5
    assert {key for key, run in after.items() if run.digest != before[key]} == {chosen}


def test_a_study_that_was_never_run_is_named(results: Results) -> None:
    from sweep.errors import StoreError

    with pytest.raises(StoreError, match="study 'other' was never run"):
        list(handed_runs(results, "other"))

"""A small study whose trials ended in every way, with figures that are told apart."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sweep.cells import demand
from sweep.records import Attempt, FailureKind, cell_row, evaluation_id, trial_row
from sweep.results import Results
from sweep.store import Store
from tests.sweep.tiny import result, tiny_study

BEGAN = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
STUDY = "tiny"
TRIALS, RESULTS, FAILED, MISSING = 8, 6, 1, 1


def attempt(trial_id: str, number: int, kind: FailureKind | None = None, **changes: Any) -> Attempt:
    """The so many-th attempt at a trial, a minute after the one before, of 20 seconds."""
    began = BEGAN + timedelta(minutes=number - 1)
    known: dict[str, Any] = {
        "attempt_id": f"{trial_id}-{number}", "trial_id": trial_id, "stage_key": trial_id,
        "status": "failed" if kind else "done", "kind": kind,
        "message": f"went wrong in attempt {number}" if kind else None, "traceback": None,
        "node": "node", "worker": "1", "started_at": began,
        "finished_at": began + timedelta(seconds=20), "wall_s": 20.0, "number": number,
    }  # fmt: skip
    return Attempt(**{**known, **changes})


def made(folder: Path) -> Store:
    """Publishes the study: 5 trials done, 1 diverged, 1 failed after 2 attempts, 1 never begun."""
    store = Store(folder)
    study = tiny_study()
    wanted = demand(study, store)
    cells = sorted(
        wanted.todo.values(), key=lambda cell: (str(cell.role), cell.seed, cell.trial_id)
    )
    rows, attempts = [], []
    for position, cell in enumerate(cells):
        ended = BEGAN + timedelta(seconds=20)
        metric = 50.0 + position / 3
        changes: dict[str, Any] = {
            "test_metric": metric, "test_loss": 1 / (position + 3), "finished_at": ended,
            "train_loss": (1.0, 0.5 + position / 7, 0.25), "train_loss_step": (10, 20, 40),
            "steps_per_epoch": 20,
            "curve": tuple(
                {"epoch": epoch, "split": "validation", "metric": metric - 9 + epoch,
                 "loss": 2.0 / epoch} for epoch in (1, 2, 3)
            ),
            "robustness": ({"attack": "fgsm", "epsilon": 0.05, "value": metric / 2},),
        }  # fmt: skip
        role, seed = str(cell.role), cell.seed
        if (role, seed) == ("baseline", 2):
            attempts += [
                attempt(cell.trial_id, 1, FailureKind.WORKER_LOST, status="retried"),
                attempt(cell.trial_id, 2, FailureKind.BUG),
            ]
            continue
        if cell is cells[-3]:  # a student
            continue
        if (role, seed) == ("teacher", 2):
            changes |= {
                "status": "diverged", "test_metric": None, "test_loss": None,
                "validation_metric": None, "validation_loss": None, "robustness": (), "curve": (),
                "train_loss": (1.0, float("inf"), float("nan")), "diverged_epoch": 1,
                "zero_gradients_percent": None,
            }  # fmt: skip
            attempts.append(attempt(cell.trial_id, 1, FailureKind.DIVERGED))
        else:
            attempts.append(attempt(cell.trial_id, 1))
        rows.append(trial_row(cell, result(**changes)))
    with store.writing():
        store.write_cells(study.name, [cell_row(c) for c in wanted.everything], study.to_json())
        store.trials.publish(rows)
        store.attempts.publish([one.row() for one in attempts])
    return store


def measure_more(store: Store, trial_id: str, value: float) -> None:
    """Adds an evaluation to a trial that is done."""
    point = {"attack": "pgd", "epsilon": 0.1, "value": value}
    row = {
        "evaluation_id": evaluation_id(trial_id, point, "test"), "trial_id": trial_id, **point,
        "split": "test", "finished_at": BEGAN,
    }  # fmt: skip
    with store.writing():
        store.evaluations.publish([row])


def done_after_all(results: Results) -> str:
    """Publishes a third attempt at the trial that failed, which is done with 77.25 %; its id."""
    store = results.store
    (failed,) = set(results.attempts()["trial_id"]) - set(results.trials()["trial_id"])
    cell = demand(tiny_study(), store, retry=lambda _: True).todo[failed]
    with store.writing():
        store.trials.publish([trial_row(cell, result(test_metric=77.25))])
        store.attempts.publish([attempt(failed, 3).row()])
    return str(failed)

"""Asking about kept networks where workers come later than the question."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep.cells import demand
from sweep.execution.base import Finished, WorkerSetup
from sweep.execution.local import LocalExecutor
from sweep.kept_networks import answers
from sweep.progress import Silent
from sweep.store import Store
from tests.sweep.tiny import prepared, tiny_study, weights
from trials.attack_settings import NO_ATTACKS
from trials.task import EvaluateOutcome, EvaluateTask, LoadTask, Prepared

LATE_S = 0.5
AT = datetime(2026, 1, 1, tzinfo=UTC)


class Late(LocalExecutor):
    """As on a cluster that has no worker yet: nothing runs, so a wait comes back at once."""

    def __init__(self, setup: WorkerSetup) -> None:
        super().__init__(setup)
        self.from_then = time.monotonic() + LATE_S
        self.waits = 0

    @property
    def free(self) -> int:
        return super().free if time.monotonic() > self.from_then else 0

    def wait(self, timeout_s: float) -> list[Finished]:
        self.waits += 1
        return super().wait(timeout_s)


def test_no_core_is_kept_busy_while_there_is_no_worker(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell = next(iter(demand(tiny_study(), store).todo.values()))
    task = EvaluateTask(
        cell.trial_id, cell.spec.data, cell.spec.recipe.model, NO_ATTACKS, cell.spec.seed
    )

    def runner(task: Any, *_: Any) -> EvaluateOutcome | Prepared:
        if isinstance(task, LoadTask):
            return prepared(task)
        return EvaluateOutcome(task.trial_id, (), None, "test", AT)

    with store.writing():
        store.write_weights(cell.trial_id, weights(cell.trial_id))
    executor = Late(WorkerSetup(runner=runner))
    failures: list[str] = []
    found = list(answers(executor, [task], store, failures, Silent(), "evaluated"))
    executor.stop()
    assert (len(found), failures) == (1, [])
    assert executor.waits < 50

"""The grid as this package runs it: `run_study` on Ray, with sharing or without.

Prints what the run says of itself, and of every stage when it was given out, when a worker began
and ended it, and when its end was seen.

    python -m tests.benchmarks.as_a_study --dataset california_housing --epochs 60 \\
        --share 1 --workers 2 --results DIR
"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

from sweep import service
from sweep.execution.base import Executor, Finished, Inputs, Task
from tests.benchmarks.grid import Grid
from trials.task import StageTask


class Watched:
    """An executor that writes down when its stages ran; everything else is that of another."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self.stages: dict[str, dict[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def submit(
        self,
        task_id: str,
        task: Task,
        inputs: Inputs,
        timeout_s: float | None = None,
        numerics: str | None = None,
    ) -> None:
        self._inner.submit(task_id, task, inputs, timeout_s, numerics)
        if not isinstance(task, StageTask):
            return
        self.stages[task_id] = {
            "model": task.spec.recipe.model,
            "guided": bool(task.teachers),
            "epochs": task.spec.epochs - task.start_epoch,
            "evaluated": task.ends_trial,
            "submitted": time.time(),
        }

    def wait(self, timeout_s: float) -> list[Finished]:
        ended = self._inner.wait(timeout_s)
        for finished in ended:
            if finished.task_id not in self.stages:
                continue  # it loaded a dataset, or asked a teacher
            self.stages[finished.task_id] |= {
                "worker": finished.worker,
                "began": finished.started_at.timestamp(),
                "ended": finished.finished_at.timestamp(),
                "seen": time.time(),
            }
        return ended


def main() -> None:
    """Runs the grid and prints JSON."""
    grid, options = Grid.parse(__doc__, "share", "workers", "results")
    watched: list[Watched] = []
    real = service.executor

    @contextlib.contextmanager
    def watching(*arguments: Any, **options: Any) -> Iterator[Watched]:
        with real(*arguments, **options) as inner:
            watched.append(Watched(inner))
            yield watched[0]

    called = time.time()
    with mock.patch.object(service, "executor", watching):
        summary = service.run_study(
            grid.study(),
            options.results,
            service.Where(workers=int(options.workers), gpus_per_trial=0.0),
            share=bool(int(options.share)),
        )
    if summary.exit_status:
        raise RuntimeError(f"not every trial was done: {summary}")
    print(
        json.dumps(
            {
                "called": called,
                "returned": time.time(),
                "summary": dataclasses.asdict(summary),
                "stages": list(watched[0].stages.values()),
            }
        )
    )


if __name__ == "__main__":
    main()

"""Runs stages in this process, one after the other: for tests, and to debug with a breakpoint."""

import os
import platform
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

import torch

from sweep.execution.base import Finished, Handle, Runner, Task, WorkerSetup, describe_failure
from trials.device import choose, configure
from trials.stage import Workshop, run_stage
from trials.task import ChosenTeacher


class LocalExecutor:
    """One worker that is this process."""

    def __init__(self, setup: WorkerSetup) -> None:
        """Sets the process up like a worker; `stop` restores its number of threads."""
        self._threads = torch.get_num_threads()
        configure()
        self._workshop = Workshop(choose(setup.gpus), setup.data_dir)
        self._runner: Runner = setup.runner or run_stage
        self._queue: deque[tuple[str, Task, Handle | None, Sequence[Handle]]] = deque()

    @property
    def slots(self) -> int:
        """Always 1."""
        return 1

    @property
    def free(self) -> int:
        """1 while nothing waits to be run."""
        return 1 - len(self._queue)

    def put(self, value: ChosenTeacher | bytes) -> Handle:
        """The value itself."""
        return value

    def get(self, handle: Handle) -> bytes:
        """The value itself."""
        content: bytes = handle
        return content

    def submit(
        self, task_id: str, task: Task, start: Handle | None, teachers: Sequence[Handle]
    ) -> None:
        """Queues a stage; `wait` runs it."""
        self._queue.append((task_id, task, start, teachers))

    def wait(self, timeout_s: float) -> list[Finished]:  # noqa: ARG002 (it never waits)
        """Runs what is queued, however long it takes."""
        finished = []
        while self._queue:
            task_id, task, start, teachers = self._queue.popleft()
            began = datetime.now(UTC)
            outcome = failure = None
            try:
                outcome = self._runner(task, start, teachers, self._workshop)
            except Exception as error:
                failure = describe_failure(error)
            snapshot = outcome.snapshot if outcome else None
            ended = datetime.now(UTC)
            where = platform.node(), f"process {os.getpid()}"
            finished.append(Finished(task_id, outcome, snapshot, failure, *where, began, ended))
        return finished

    def stop(self) -> None:
        """Forgets what is queued."""
        self._queue.clear()
        torch.set_num_threads(self._threads)

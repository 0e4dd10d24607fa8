"""Runs stages in this process, one after the other: for tests, and to debug with a breakpoint."""

import os
import platform
import threading
from collections import deque
from datetime import UTC, datetime

import torch

from sweep.execution.base import (
    Finished,
    Handle,
    Inputs,
    Runner,
    Task,
    WorkerSetup,
    describe_failure,
)
from trials.device import choose, configure
from trials.stage import Workshop, run_task
from trials.task import LoadTask

ROOM_BYTES = 2 * 1024**3


class TaskInterrupted(BaseException):
    """Ends a task in the middle; not an `Exception`, which the task might take for its own."""


class LocalExecutor:
    """One worker that is this process."""

    def __init__(self, setup: WorkerSetup) -> None:
        """Sets the process up like a worker; `stop` restores its number of threads."""
        self._threads = torch.get_num_threads()
        configure()
        self._workshop = Workshop(choose(setup.gpus), setup.data_dir, engine=setup.engine)
        self._runner: Runner = setup.runner or run_task
        self._queue: deque[tuple[str, Task, Inputs]] = deque()
        self._inside: int | None = None

    @property
    def slots(self) -> int:
        """Always 1."""
        return 1

    @property
    def free(self) -> int:
        """1 while nothing waits to be run."""
        return 1 - len(self._queue)

    @property
    def room_bytes(self) -> int:
        """Memory for snapshots that wait."""
        return ROOM_BYTES

    def put(self, value: bytes) -> Handle:
        """The value itself."""
        return value

    def keep(self, handle: Handle) -> Handle:
        """The value itself."""
        return handle

    def get(self, handle: Handle) -> bytes:
        """The value itself."""
        content: bytes = handle
        return content

    def submit(
        self,
        task_id: str,
        task: Task,
        inputs: Inputs,
        timeout_s: float | None = None,  # noqa: ARG002
    ) -> None:
        """Queues a task; `wait` runs it, without a limit of time."""
        self._queue.append((task_id, task, inputs))

    def wait(self, timeout_s: float) -> list[Finished]:  # noqa: ARG002 (it never waits)
        """Runs what is queued, however long it takes."""
        finished = []
        while self._queue:
            task_id, task, inputs = self._queue.popleft()
            began = datetime.now(UTC)
            outcome = failure = None
            try:
                if inputs.dataset is not None and not isinstance(task, LoadTask):
                    self._workshop.adopt(task.data, inputs.dataset)
                self._inside = threading.get_ident()
                outcome = self._runner(task, inputs.start, inputs.teachers, self._workshop)
            except TaskInterrupted:
                break  # as a worker that is ended in the middle: nothing comes of it
            except Exception as error:
                failure = describe_failure(error)
            finally:
                self._inside = None
            product = outcome.product if outcome else None
            ended = datetime.now(UTC)
            where = platform.node(), f"process {os.getpid()}"
            finished.append(Finished(task_id, outcome, product, failure, *where, began, ended))
        return finished

    def interrupt(self) -> None:
        """Ends the task that runs, where this is called from a signal's handler in its thread."""
        if self._inside == threading.get_ident():
            self._inside = None
            raise TaskInterrupted

    def stop(self) -> None:
        """Forgets what is queued."""
        self._queue.clear()
        torch.set_num_threads(self._threads)

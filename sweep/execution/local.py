"""Runs stages in this process, for tests and to debug with a breakpoint.

One after the other, but for those that are trained side by side in lanes.
"""

import functools
import os
import platform
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import torch

from sweep.execution.base import (
    Failure,
    Finished,
    Handle,
    Inputs,
    Outcome,
    Runner,
    Task,
    WorkerSetup,
    describe_failure,
)
from sweep.execution.devices import DeviceUse, Seat, uses
from trials.crew import Crew, Member
from trials.device import choose, configure
from trials.engine import LANES, LaneGroup
from trials.stage import Workshop, run_task
from trials.task import ChosenTeacher, LoadTask, StageTask

ROOM_BYTES = 2 * 1024**3


class TaskInterrupted(BaseException):
    """Ends a task in the middle; not an `Exception`, which the task might take for its own."""


@dataclass(frozen=True)
class _Aboard:
    """A stage in a lane."""

    group: LaneGroup
    member: Member
    began: datetime


class LocalExecutor:
    """One worker that is this process."""

    def __init__(self, setup: WorkerSetup) -> None:
        """Sets the process up like a worker; `stop` restores its number of threads."""
        self._threads = torch.get_num_threads()
        self._setup = setup
        configure()
        self._workshop = Workshop(choose(setup.gpus), setup.data_dir, engine=setup.engine)
        self._runner: Runner = setup.runner or run_task
        self._queue: deque[tuple[str, Task, Inputs]] = deque()
        self._crew = Crew(self._workshop)
        self._aboard: dict[str, _Aboard] = {}
        self._inside: int | None = None

    @property
    def slots(self) -> int:
        """Always 1."""
        return 1

    @property
    def free(self) -> int:
        """1 while nothing waits to be run, or runs."""
        return 0 if self._queue or self._aboard else 1

    @property
    def joinable(self) -> frozenset[LaneGroup]:
        """The group that is in lanes, while there is an empty one."""
        groups = Counter(stage.group for stage in self._aboard.values())
        groups.update(filter(None, (self._group_of(task) for _, task, _ in self._queue)))
        return frozenset(group for group, count in groups.items() if count < LANES)

    @property
    def classes(self) -> None:
        """None: this process is of one class."""
        return None

    def free_in(self, numerics: str | None) -> int:  # noqa: ARG002
        """See `free`."""
        return self.free

    def joinable_in(self, numerics: str | None) -> frozenset[LaneGroup]:  # noqa: ARG002
        """See `joinable`."""
        return self.joinable

    def news(self) -> list[str]:
        """Nothing."""
        return []

    def _group_of(self, task: Task) -> LaneGroup | None:
        return self._setup.group_of(task, self._workshop.device.type)

    @property
    def room_bytes(self) -> int:
        """Memory for snapshots that wait."""
        return ROOM_BYTES

    @property
    def devices(self) -> tuple[DeviceUse, ...]:
        """That of this process."""
        device = "CPU" if self._workshop.device.type == "cpu" else "GPU 0"
        busy = bool(self._queue or self._aboard)
        return uses([Seat(platform.node(), device, busy)], {})

    def put(self, value: bytes | ChosenTeacher) -> Handle:
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
        numerics: str | None = None,  # noqa: ARG002
    ) -> None:
        """Queues a task; `wait` runs it, without a limit of time."""
        self._queue.append((task_id, task, inputs))

    def wait(self, timeout_s: float) -> list[Finished]:  # noqa: ARG002 (it never waits)
        """Runs what is queued, and what is in lanes until one has ended, however long it takes."""
        finished: list[Finished] = []
        try:
            self._work(finished)
        except TaskInterrupted:  # as a worker that is ended in the middle: nothing comes of it
            self._queue.clear()
            self._aboard.clear()
            self._crew = Crew(self._workshop)
        return finished

    def _work(self, finished: list[Finished]) -> None:
        while self._queue:
            task_id, task, inputs = self._queue.popleft()
            began = datetime.now(UTC)
            group = self._group_of(task)
            if group is not None and len(self._aboard) >= LANES:
                self._queue.append((task_id, task, inputs))
                break
            try:
                if inputs.dataset is not None and not isinstance(task, LoadTask):
                    self._workshop.adopt(task.data, inputs.dataset)
                if group is not None and isinstance(task, StageTask):
                    member = self._crew.join(task, inputs.start, inputs.teachers)
                    self._aboard[task_id] = _Aboard(group, member, began)
                    continue
            except Exception as error:
                finished.append(_failed(task_id, began, error))
                continue
            run = functools.partial(
                self._runner, task, inputs.start, inputs.teachers, self._workshop
            )
            with self._breakable():
                finished.append(_ended(task_id, began, run))
        while self._aboard and not finished:
            with self._breakable():
                self._crew.step()
                for task_id, stage in list(self._aboard.items()):
                    if stage.member.ended:
                        del self._aboard[task_id]
                        finished.append(_ended(task_id, stage.began, stage.member.outcome))

    @contextmanager
    def _breakable(self) -> Iterator[None]:
        """What is done within may be ended in the middle by `interrupt`."""
        self._inside = threading.get_ident()
        try:
            yield
        finally:
            self._inside = None

    def take_lost_nodes(self) -> tuple[str, ...]:
        """None: this process is all there is."""
        return ()

    def interrupt(self) -> None:
        """Ends the task that runs, where this is called from a signal's handler in its thread."""
        if self._inside == threading.get_ident():
            self._inside = None
            raise TaskInterrupted

    def stop(self) -> None:
        """Forgets what is queued, and what is in lanes."""
        self._queue.clear()
        self._aboard.clear()
        torch.set_num_threads(self._threads)


def _ended(task_id: str, began: datetime, run: Callable[[], Outcome]) -> Finished:
    """How a task ended, from what gives its outcome."""
    try:
        outcome = run()
    except Exception as error:
        return _failed(task_id, began, error)
    return _finished(task_id, began, outcome, None)


def _failed(task_id: str, began: datetime, error: Exception) -> Finished:
    return _finished(task_id, began, None, describe_failure(error))


def _finished(
    task_id: str, began: datetime, outcome: Outcome | None, failure: Failure | None
) -> Finished:
    product = outcome.product if outcome else None
    where = platform.node(), f"process {os.getpid()}"
    return Finished(task_id, outcome, product, failure, *where, began, datetime.now(UTC))

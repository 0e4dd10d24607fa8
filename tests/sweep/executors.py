"""Other ways to execute the same stages: each in a process of its own, or in any order."""

import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch

import data
from sweep.execution.base import Failure, Finished, Outcome, Task, WorkerSetup
from sweep.execution.local import LocalExecutor
from sweep.policy import RETRIES
from sweep.records import FailureKind
from trials.device import configure
from trials.stage import Workshop, run_task
from trials.task import TeacherOutputs

_PROCESSES = multiprocessing.get_context("forkserver")
# New processes are copies of one that has imported what they need, and has computed nothing. Where
# pytest is the main script, each of them imports it as well.
_PROCESSES.set_forkserver_preload(["pytest", __name__])


@dataclass(frozen=True)
class InNewProcess:
    """A runner that gives every task a new process, which has done nothing before and ends with it.

    Attributes:
        data_dir: where datasets lie.
    """

    data_dir: Path

    def __call__(
        self,
        task: Task,
        start: bytes | None,
        teachers: Sequence[TeacherOutputs],
        workshop: object,
    ) -> Outcome:
        here, there = _PROCESSES.Pipe(duplex=False)
        arguments = (there, task, start, teachers, self.data_dir, data.registered())
        process = _PROCESSES.Process(target=_run, args=arguments, daemon=True)
        process.start()
        there.close()
        with here:
            outcome: Outcome = here.recv()
        process.join()
        return outcome


def _run(
    answer: Connection,
    task: Task,
    start: bytes | None,
    teachers: Sequence[TeacherOutputs],
    data_dir: Path,
    entries: Sequence[data.DatasetEntry],
) -> None:
    for entry in entries:
        data.register(entry, replace=True)
    configure()
    answer.send(run_task(task, start, teachers, Workshop(torch.device("cpu"), data_dir)))


class Losses:
    """Loses workers at random: what they had trained is gone.

    No task is lost so often that it would be given up.
    """

    def __init__(self, chance: random.Random, share: float, message: str = "gone") -> None:
        """Says how often.

        Args:
            chance: decides.
            share: of the answers, from 0 to 1.
            message: of the failure.
        """
        self.lost: Counter[str] = Counter()
        self._chance, self._share, self._message = chance, share, message

    def __call__(self, end: Finished) -> Finished:
        """What the run is told in place of an end."""
        spared = self.lost[end.task_id] == RETRIES[FailureKind.WORKER_LOST]
        if spared or self._chance.random() >= self._share:
            return end
        self.lost[end.task_id] += 1
        failure = Failure(FailureKind.WORKER_LOST, self._message, "")
        start_lost = self._message.startswith("ObjectLost")
        return replace(end, outcome=None, product=None, failure=failure, start_lost=start_lost)


class AnyOrder(LocalExecutor):
    """Several slots that are served, and answer, in random order."""

    def __init__(
        self,
        setup: WorkerSetup,
        slots: int,
        chance: random.Random,
        ends: Callable[[Finished], Finished] = lambda end: end,
    ) -> None:
        """Sets up the process like a worker.

        Args:
            setup: see `LocalExecutor`.
            slots: tasks that it takes at a time.
            chance: decides what runs next, and how much of it before it answers; at times nothing.
            ends: what the run is told in place of an end.
        """
        super().__init__(setup)
        self._count, self._chance, self._ends = slots, chance, ends

    @property
    def slots(self) -> int:
        """As many as asked for."""
        return self._count

    @property
    def free(self) -> int:
        """Those that have nothing to do."""
        return self._count - len(self._queue)

    def wait(self, timeout_s: float) -> list[Finished]:
        """Runs some of what is queued."""
        self._chance.shuffle(self._queue)
        later = [self._queue.pop() for _ in range(self._chance.randint(0, len(self._queue)))]
        ended = [self._ends(end) for end in super().wait(timeout_s)]
        self._queue.extend(later)
        return ended

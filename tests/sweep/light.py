"""Workers and tasks of a cluster that cost next to nothing, and write down where they were.

A real worker imports torch, which takes seconds of a processor; these stand in for it where a test is
about where work goes and not about what comes out of it.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from sweep.execution.base import WorkerSetup
from sweep.execution.worker import Worker
from tests.sweep.tiny import FakeTraining
from trials.task import StageTask, TeacherOutputs

CLASS = "TEST_NUMERICS_CLASS"
"""Environment variable of a node: the class of the workers there."""


class LightWorker(Worker):
    """Does what its runner does; of the class that its node's environment says."""

    def __init__(self, setup: WorkerSetup) -> None:
        assert setup.runner is not None
        self._setup, self._runner = setup, setup.runner
        numerics = SimpleNamespace(machine=os.environ.get(CLASS, "light"))
        self._workshop: Any = SimpleNamespace(numerics=numerics, adopt=lambda *_: None)
        self._name = f"process {os.getpid()}"


class Was(NamedTuple):
    """A task that ended, or began and never ended: where and when, by one clock for all."""

    task: str
    node: str
    gpu: str
    numerics: str
    began: float
    ended: float | None


class WrittenDown(FakeTraining):
    """Stands in for training, takes a moment, and writes down where it was.

    From a number of tasks on it waits, on all nodes but those that came late, until one of these has
    done something: a late node is then used or the test fails.
    """

    def __init__(self, folder: Path, takes_s: float = 0.1, waits_after: int | None = None) -> None:
        super().__init__()
        self.folder, self.takes_s, self.waits_after = folder, takes_s, waits_after
        self.late = folder / "late"

    def __call__(
        self, task: Any, start: bytes | None, teachers: Sequence[TeacherOutputs], workshop: Any
    ) -> Any:
        import ray

        about = {
            "task": task.key if isinstance(task, StageTask) else type(task).__name__,
            "node": str(ray.get_runtime_context().get_node_id()),
            "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            "numerics": workshop.numerics.machine,
        }
        path = self.folder / f"{time.time_ns()}-{os.getpid()}.json"
        path.write_text(json.dumps({**about, "began": time.monotonic(), "ended": None}))
        began = time.monotonic()
        if isinstance(task, StageTask):
            time.sleep(self.takes_s)
            self._wait_for_late()
        outcome = super().__call__(task, start, teachers, workshop)
        done = {**about, "began": began, "ended": time.monotonic()}
        aside = path.with_suffix(".part")
        aside.write_text(json.dumps(done))
        aside.replace(path)
        return outcome

    def _wait_for_late(self) -> None:
        if os.environ.get("TEST_LATE"):
            self.late.touch()
        if self.waits_after is None or len(list(self.folder.glob("*.json"))) < self.waits_after:
            return
        until = time.monotonic() + 120.0
        while not self.late.exists() and time.monotonic() < until:
            time.sleep(0.05)


def read(folder: Path) -> list[Was]:
    """What was written down."""
    found = []
    for path in sorted(folder.glob("*.json")):
        text = path.read_text()
        if text:
            found.append(Was(**json.loads(text)))
    return found


def at_a_time(tasks: list[Was]) -> dict[tuple[str, str], int]:
    """The most stages that were on each GPU at one moment, by node and GPU."""
    events: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for one in tasks:
        if one.ended is not None:
            events[one.node, one.gpu] += [(one.began, 1), (one.ended, -1)]
    most = {}
    for where, changes in events.items():
        now = highest = 0
        for _, change in sorted(changes):
            now += change
            highest = max(highest, now)
        most[where] = highest
    return most

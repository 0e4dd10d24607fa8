"""What runs in a worker process of a cluster: an actor that keeps its datasets, and does tasks.

Small networks are trained side by side: one worker then has many stages at a time, each with its own
answer, and all of them are lost with it.
"""

import asyncio
import os
import platform
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sweep.execution.base import Failure, Outcome, Runner, Task, WorkerSetup, describe_failure
from trials.capacity import Footprint
from trials.task import LoadTask, StageTask, Teaching


class Worker:
    """What runs in a worker process."""

    def __init__(self, setup: WorkerSetup) -> None:
        """Sets up the process: registered extensions, one thread, the device."""
        import data
        import models
        from trials.device import choose, configure
        from trials.stage import Workshop, run_task

        for entry in setup.extensions:
            owner = data if isinstance(entry, data.DatasetEntry) else models
            owner.register(entry, replace=True)
        configure()
        self._setup = setup
        self._runner: Runner = setup.runner or run_task
        self._workshop = Workshop(
            choose(setup.gpus), setup.data_dir, setup.gpus or 1.0, engine=setup.engine
        )
        self._name = f"process {os.getpid()}"

    def place(self) -> "Place":
        """Where it runs."""
        import ray

        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        device = f"{platform.node()}/{f'GPU {visible}' if visible else 'CPU'}"
        numerics = self._workshop.numerics.machine
        return Place(str(ray.get_runtime_context().get_node_id()), device, numerics)

    def footprints(self, *datasets: Any) -> list[Footprint]:
        """What trials of each kind take of the device.

        Args:
            datasets: those of the trials; none has them loaded here.
        """
        from trials.capacity import footprint

        prober = self._setup.prober or footprint
        found = []
        for number, spec in enumerate(self._setup.probe):
            if datasets:
                self._workshop.adopt(spec.data, datasets[number])
            found.append(prober(spec, self._workshop))
        return found

    def run(
        self, task: Task, start: bytes | None, dataset: Any, *teachers: Teaching
    ) -> tuple[dict[str, Any], Any]:
        """Runs a task; what goes wrong is part of the answer."""
        began = datetime.now(UTC), time.monotonic()
        outcome: Outcome | None = None
        failure: Failure | None = None
        product = None
        try:
            if dataset is not None and not isinstance(task, LoadTask):
                self._workshop.adopt(task.data, dataset)
            outcome = self._runner(task, start, teachers, self._workshop)
            product = outcome.product
            outcome = replace(outcome, product=None)
        except Exception as error:
            failure = describe_failure(error)
        return self._report(outcome, failure, began), product

    def _report(
        self, outcome: Outcome | None, failure: Failure | None, began: tuple[datetime, float]
    ) -> dict[str, Any]:
        return {
            "outcome": outcome,
            "failure": failure,
            "node": platform.node(),
            "worker": self._name,
            "started_at": began[0],
            "finished_at": datetime.now(UTC),
            "took_s": time.monotonic() - began[1],
        }


class LaneWorker(Worker):
    """A worker that can train stages side by side, all in the thread of its event loop."""

    def __init__(self, setup: WorkerSetup) -> None:
        """Sets up the process."""
        super().__init__(setup)
        from trials.crew import Crew

        self._crew = Crew(self._workshop)

    async def run_beside(
        self, task: StageTask, start: bytes | None, dataset: Any, *teachers: Teaching
    ) -> tuple[dict[str, Any], Any]:
        """Trains a stage beside others, where the device is one for that; else as `run` does."""
        if not self._crew.takes(task):
            return self.run(task, start, dataset, *teachers)
        began = datetime.now(UTC), time.monotonic()
        try:
            if dataset is not None:
                self._workshop.adopt(task.data, dataset)
            member = self._crew.join(task, start, teachers)
            while not member.ended:
                self._crew.step()
                await asyncio.sleep(0)  # others end here, or begin
            outcome = member.outcome()
        except Exception as error:
            return self._report(None, describe_failure(error), began), None
        return self._report(replace(outcome, product=None), None, began), outcome.product


@dataclass(frozen=True)
class Place:
    """Where a worker runs.

    Attributes:
        node: Ray's id of the node.
        device: where it trains, with the name of the machine.
        numerics: the numerics class of what it trains, but for the engine.
    """

    node: str
    device: str
    numerics: str = ""

    @property
    def name(self) -> tuple[str, str]:
        """The machine and the device on it."""
        machine, _, device = self.device.partition("/")
        return machine, device

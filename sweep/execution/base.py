"""The interface between the run and whatever executes its stages."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sweep.execution.devices import DeviceUse
from sweep.records import FailureKind
from trials.engine import Engine, LaneGroup, engine_for, lane_group
from trials.spec import TrialSpec
from trials.task import (
    AttributeOutcome,
    AttributeTask,
    ChosenTeacher,
    EvaluateOutcome,
    EvaluateTask,
    LoadTask,
    Prepared,
    StageOutcome,
    StageTask,
    Teaching,
    TeachTask,
)

if TYPE_CHECKING:
    from trials.capacity import Footprint
    from trials.stage import Workshop

DEFAULT_GPU_SHARE = 0.25

Handle = Any
"""Something an executor holds for the run: an object, or a reference to one elsewhere."""

Task = StageTask | EvaluateTask | AttributeTask | LoadTask | TeachTask
Outcome = StageOutcome | EvaluateOutcome | AttributeOutcome | Prepared

Runner = Callable[[Any, bytes | None, Sequence[Teaching], "Workshop"], Outcome]
"""What a worker does with a task: `trials.stage.run_task`, or a stand-in that measures what
execution itself costs."""


@dataclass(frozen=True)
class Inputs:
    """Handles of what a task needs.

    Attributes:
        start: the state to begin with: a snapshot, or weights.
        dataset: the loaded dataset; None where the worker is to load it.
        teachers: outputs of the teachers of a stage, and teachers themselves where it needs their
            weights.
    """

    start: Handle | None = None
    dataset: Handle | None = None
    teachers: tuple[Handle, ...] = ()


@dataclass(frozen=True)
class Failure:
    """An attempt that did not end well."""

    kind: FailureKind
    message: str
    traceback: str

    @property
    def headline(self) -> str:
        """The first line of the message; without one, the kind."""
        return self.message.splitlines()[0] if self.message else str(self.kind)


class ProductLostError(Exception):
    """What a handle stood for is gone, with the node that held it."""


@dataclass(frozen=True)
class Finished:
    """The end of one attempt at a stage.

    Attributes:
        task_id: what `submit` was given.
        outcome: None where it failed.
        product: a handle on what the outcome leaves for other tasks.
        failure: None where it succeeded.
        node, worker, device: where it ran.
        beside: what ran on the same device when it failed.
        relieved: whether fewer tasks share that device from now on, because its memory ran out.
        innocent: whether it was ended for what another task of its worker did.
        start_lost: whether it could not begin because what it was to go on from is gone.
        took_s: seconds it took, by a clock that never jumps; None: the difference of the times.
    """

    task_id: str
    outcome: Outcome | None
    product: Handle | None
    failure: Failure | None
    node: str
    worker: str
    started_at: datetime
    finished_at: datetime
    device: str | None = None
    beside: tuple[str, ...] = ()
    relieved: bool = False
    innocent: bool = False
    start_lost: bool = False
    took_s: float | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds it took; never below 0."""
        if self.took_s is not None:
            return self.took_s
        return max(0.0, (self.finished_at - self.started_at).total_seconds())

    @property
    def busy_s(self) -> float:
        """Seconds of its worker's time; stages that are trained side by side share it."""
        if isinstance(self.outcome, StageOutcome) and self.outcome.worker_s is not None:
            return self.outcome.worker_s
        return self.elapsed_s


@dataclass(frozen=True)
class WorkerSetup:
    """What every worker process needs to know.

    Attributes:
        gpus: share of a GPU for each trial; 0 trains on the CPU; None takes `DEFAULT_GPU_SHARE`
            where there is a GPU.
        data_dir: where datasets lie on each node; None is the default place.
        extensions: datasets and networks registered outside this package.
        engine: how training steps are executed, see `trials.engine.engine_for`.
        runner: what to do with a task; None does what it asks for.
        probe: trials of each kind, to be measured on a GPU to choose how many share one; empty
            takes `gpus`.
        prober: measures one; None trains a little of it.
        datasets: those that are needed, of which no node may hold another version.
    """

    gpus: float | None = None
    data_dir: Path | None = None
    extensions: tuple[Any, ...] = ()
    engine: Engine | None = None
    runner: Runner | None = field(default=None, repr=False)
    probe: tuple[TrialSpec, ...] = ()
    prober: "Callable[[TrialSpec, Workshop], Footprint] | None" = field(default=None, repr=False)
    datasets: tuple[str, ...] = ()

    def group_of(self, task: Task, device_type: str) -> LaneGroup | None:
        """The trials beside which a worker can train a stage; None where it needs the worker.

        Args:
            task: a stage, or another task.
            device_type: of the worker, `cpu` or `cuda`.
        """
        if self.runner is not None or not isinstance(task, StageTask):
            return None
        engine = engine_for(device_type, task.spec, self.engine)
        return lane_group(task.spec) if engine == "lanes" else None


class Executor(Protocol):
    """Runs stages. Used by one run, from one thread.

    `submit` is called while `free` is above 0, or for what `joinable` allows; `wait` returns what has
    ended since. A failing stage is an answer, never an exception. `stop` may be called at any time and
    twice.

    Where workers may be of several numerics classes, `classes` says of which; `free_in` and
    `joinable_in` are then asked for each, and `submit` is told for which.
    """

    @property
    def slots(self) -> int:
        """How many stages can run at a time; falls where a device's memory was too small."""
        ...

    @property
    def free(self) -> int:
        """How many more stages may be submitted now."""
        ...

    @property
    def classes(self) -> Mapping[str, int] | None:
        """Workers by numerics class, without its engine; None where all are of one."""
        ...

    def free_in(self, numerics: str | None) -> int:
        """How many more stages may be submitted now for a class; None: for any."""
        ...

    def joinable_in(self, numerics: str | None) -> frozenset[LaneGroup]:
        """What `joinable` is, for a class; None: for any."""
        ...

    def news(self) -> list[str]:
        """What a user should know and was not told yet, a line each."""
        ...

    @property
    def joinable(self) -> frozenset[LaneGroup]:
        """Groups of which a stage may be submitted even though no worker is free.

        It is then trained beside others. While there are any, the same is true of tasks that are no
        stages.
        """
        ...

    @property
    def room_bytes(self) -> int:
        """Memory for snapshots that wait for the stages that go on from them."""
        ...

    @property
    def devices(self) -> tuple[DeviceUse, ...]:
        """What each device does now."""
        ...

    def put(self, value: bytes | ChosenTeacher) -> Handle:
        """Makes a value available to all workers."""
        ...

    def keep(self, handle: Handle) -> Handle:
        """A handle on the same value that does not go with the node of the worker that made it.

        Raises:
            ProductLostError: where the value is gone.
        """
        ...

    def get(self, handle: Handle) -> bytes:
        """The bytes behind a handle that `wait` returned.

        Raises:
            ProductLostError: where they are gone.
        """
        ...

    def submit(
        self,
        task_id: str,
        task: Task,
        inputs: Inputs,
        timeout_s: float | None = None,
        numerics: str | None = None,
    ) -> None:
        """Starts a task.

        Args:
            task_id: comes back with the end of the task.
            task: what to do.
            inputs: handles of what it needs.
            timeout_s: seconds after which it is ended with its worker, and comes back as timed out;
                None for no limit. In this process a task cannot be ended, and goes on.
            numerics: the class it is to be done in; None: any.
        """
        ...

    def wait(self, timeout_s: float) -> list[Finished]:
        """What has ended, waiting for at most `timeout_s` seconds for something to."""
        ...

    def take_lost_nodes(self) -> tuple[str, ...]:
        """Nodes of the cluster that went since this was last asked, by name."""
        ...

    def interrupt(self) -> None:
        """The run is to end: what this thread does in `wait` at this moment may be given up.

        Called from a signal's handler or from another thread.
        """
        ...

    def stop(self) -> None:
        """Ends all workers, without waiting for what they do."""
        ...


_CUDA_MEMORY = (
    "CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)  # fmt: skip
_HOST_MEMORY = ("can't allocate memory", "not enough memory", "Cannot allocate memory")


def describe_failure(error: BaseException) -> Failure:
    """The failure that an exception means."""
    name, said = type(error).__name__, str(error)
    if name == "OutOfMemoryError" or any(words in said for words in _CUDA_MEMORY):
        kind = FailureKind.CUDA_OUT_OF_MEMORY
    elif isinstance(error, MemoryError) or any(words in said for words in _HOST_MEMORY):
        kind = FailureKind.HOST_OUT_OF_MEMORY
    else:
        kind = FailureKind.BUG
    text = "".join(traceback.format_exception(error))
    return Failure(kind, f"{name}: {error}", text)

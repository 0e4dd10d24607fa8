"""Runs stages on a Ray cluster, in warm actors that each hold a slot for the whole run.

An actor keeps its datasets and teacher outputs, so a stage costs its arithmetic and one call. Ray
reuses processes of plain GPU tasks only when told to; an actor is one by construction. Datasets,
teacher outputs and snapshots lie in Ray's object store, once on each node, where processes read them
without copying; they are owned by the run: a lost worker costs its stage alone.

Small networks are trained side by side: one worker then has many stages at a time, each with its own
answer, and all of them are lost with it.

Where the memory of a GPU runs out, its worker is given up, so that fewer share that GPU from then
on, unless it was the last there. A task that takes longer than it may is ended with its worker.
Nodes may go and come while a run goes on: workers are given up and added as there is room.
"""

import asyncio
import contextlib
import logging
import os
import platform
import re
import socket
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep import scratch
from sweep.errors import SweepError
from sweep.execution import mps
from sweep.execution.base import (
    DEFAULT_GPU_SHARE,
    Failure,
    Finished,
    Handle,
    Inputs,
    Outcome,
    ProductLostError,
    Runner,
    Task,
    WorkerSetup,
    describe_failure,
)
from sweep.execution.devices import DeviceUse, Gauge, GaugeReader, Seat, uses
from sweep.interrupts import children_ignore_hangups
from sweep.policy import timed_out
from sweep.records import FailureKind
from trials.capacity import Footprint, trials_at_a_time
from trials.engine import LANES, LaneGroup
from trials.task import ChosenTeacher, LoadTask, StageTask, Teaching

SNAPSHOT_SHARE = 0.5
"""Part of the cluster's object store that snapshots may fill; Ray moves what is more to disk."""

MAX_LOST_IN_A_ROW = 20
"""Workers that may die one after the other before the cluster is given up."""

LOOK_S = 5.0
"""How often the nodes of the cluster are looked at."""

NO_ROOM_PATIENCE_S = 120.0
"""How long a cluster may have room for no worker, its nodes being lost, before it is given up."""


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
        return Place(str(ray.get_runtime_context().get_node_id()), device)

    def footprints(self) -> list[Footprint]:
        """What trials of each kind take of the device."""
        from trials.capacity import footprint

        prober = self._setup.prober or footprint
        return [prober(spec, self._workshop) for spec in self._setup.probe]

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
        device: where it trains; workers of one device share its memory.
    """

    node: str
    device: str

    @property
    def name(self) -> tuple[str, str]:
        """The machine and the device on it."""
        machine, _, device = self.device.partition("/")
        return machine, device


@dataclass(eq=False)
class _Slot:
    """A worker, where it runs once that is known, and what it has been given.

    Attributes:
        place: known when it has started.
        tasks: that it has.
        group: of the stages that it trains side by side.
        alive: whether it is, as far as is known.
        sacrificed: whether it was ended because one of its tasks took too long.
    """

    actor: Any
    answer: Any
    place: Place | None = None
    tasks: int = 0
    group: LaneGroup | None = None
    alive: bool = True
    sacrificed: bool = False


@dataclass(eq=False)
class _Given:
    """A task that a worker has.

    Attributes:
        timeout_s: how long it may take.
        since: when its worker, having started, began with it, as far as is known.
        relieved: whether a worker on its device was given up for want of memory since it began.
        overdue: whether it was ended because it took too long.
    """

    task_id: str
    slot: _Slot
    product: Any
    at: datetime
    timeout_s: float | None = None
    since: float | None = None
    relieved: bool = False
    overdue: bool = False


class RayExecutor:
    """One actor for each slot of a cluster."""

    def __init__(
        self, setup: WorkerSetup, address: str | None = None, workers: int | None = None
    ) -> None:
        """Joins a cluster, or starts one on this machine, and fills it with workers.

        Args:
            setup: what workers need to know.
            address: of an existing cluster; None starts one here, on loopback, without dashboard.
            workers: at most this many; None for as many as there is room for.

        Raises:
            SweepError: where the cluster cannot be reached or has no room for one worker.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if address is None or _on_loopback(address):
            # Ray replaces a loopback address by one that others can reach, unless told that this
            # machine can be in no cluster; that switch is read when Ray is imported.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray

        self._ray = ray
        self._started_here = not ray.is_initialized()
        self._restore_output: Callable[[], None] = _silence()
        self._within = contextlib.ExitStack()
        self._idle: list[_Slot] = []
        self._running: dict[Any, _Given] = {}
        self._relieved: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self._lost_nodes: list[str] = []
        self._stopped = False
        self._reader: GaugeReader | None = None
        try:
            self._start(setup, address, workers)
        except BaseException:  # what is started so far is not to stay
            self.stop()
            raise

    def _start(self, setup: WorkerSetup, address: str | None, workers: int | None) -> None:
        """See `__init__`."""
        ray = self._ray
        if self._started_here:
            folder = None
            if address is None:
                base = scratch.short_base()
                for place in {base, None}:
                    scratch.clear_abandoned(place)
                ours = self._within.enter_context(scratch.Scratch())
                if setup.gpus != 0:
                    self._within.enter_context(mps.service(ours))
                folder = None if base is None else ours.folder(base)
            _connect(ray, address, workers, folder)
        if setup.gpus is None:
            any_gpu = any(node["Resources"].get("GPU", 0) >= 1 for node in self._cluster_nodes())
            share = DEFAULT_GPU_SHARE if any_gpu else 0.0
            if any_gpu and setup.probe:
                share = 1 / self._measured(setup)
            setup = replace(setup, gpus=share)
        self._setup = setup
        self._device_type = "cuda" if setup.gpus else "cpu"
        by_device = "lanes" if self._device_type == "cuda" else None
        self._has_lanes = setup.runner is None and (setup.engine or by_device) == "lanes"
        self._gpus, self._workers = setup.gpus or 0.0, workers
        self._actor_class = self._actor()
        self._room_bytes = int(
            SNAPSHOT_SHARE
            * sum(n["Resources"].get("object_store_memory", 0.0) for n in self._cluster_nodes())
        )
        if address is None and self._gpus:
            self._reader = GaugeReader()
            self._within.callback(self._reader.stop)
        self._idle = [self._new_worker() for _ in range(self._wanted())]
        self._looked = self._had_room = time.monotonic()
        self._lost_in_a_row = 0
        self._note_lost(node for node in self._cluster_nodes() if node["Alive"])

    @property
    def slots(self) -> int:
        """How many workers there are."""
        return len(self._idle) + len({g.slot for g in self._running.values() if g.slot.alive})

    @property
    def free(self) -> int:
        """How many workers wait for a stage."""
        return len(self._idle)

    @property
    def joinable(self) -> frozenset[LaneGroup]:
        """Groups that a worker trains side by side while it has an empty lane."""
        slots = {given.slot for given in self._running.values()} if self._has_lanes else set()
        return frozenset(s.group for s in slots if s.group and s.alive and s.tasks < LANES)

    @property
    def devices(self) -> tuple[DeviceUse, ...]:
        """As far as workers have said where they are; asks nobody."""
        idle = dict.fromkeys(self._idle, False)
        busy = {given.slot: True for given in self._running.values() if given.slot.alive}
        seats = [
            Seat(*(("", "starting") if slot.place is None else slot.place.name), busy=does)
            for slot, does in (idle | busy).items()
        ]
        return uses(seats, self._gauges())

    def _gauges(self) -> dict[tuple[str, str], Gauge]:
        if self._reader is None:
            return {}
        here = platform.node()
        return {(here, device): gauge for device, gauge in self._reader.latest().items()}

    @property
    def room_bytes(self) -> int:
        """Part of the object store."""
        return self._room_bytes

    def put(self, value: bytes | ChosenTeacher) -> Handle:
        """Puts a value into the object store once."""
        return self._ray.put(value)

    def keep(self, handle: Handle) -> Handle:
        """Has the object store of this node hold the value too, if there are others."""
        if len([node for node in self._cluster_nodes() if node["Alive"]]) == 1:
            return handle
        return self._ray.put(self._value(handle))

    def get(self, handle: Handle) -> bytes:
        """Fetches a value from the object store."""
        return bytes(self._value(handle))

    def _value(self, handle: Handle) -> Any:
        try:
            return self._ray.get(handle)
        except self._ray.exceptions.RayError as error:
            raise ProductLostError(_last_line(error)) from error

    def submit(
        self, task_id: str, task: Task, inputs: Inputs, timeout_s: float | None = None
    ) -> None:
        """Gives a task to a worker that trains its group and has room, else to an idle one.

        Of those, to one that has started if there is any.
        """
        group = self._setup.group_of(task, self._device_type) if self._has_lanes else None
        slot = self._beside_others(task, group)
        if slot is None:
            slot = next((s for s in reversed(self._idle) if self._place(s)), self._idle[-1])
            self._idle.remove(slot)
        method = slot.actor.run if group is None else slot.actor.run_beside
        answer, product = method.options(num_returns=2).remote(
            task, inputs.start, inputs.dataset, *inputs.teachers
        )
        slot.tasks += 1
        slot.group = group or slot.group
        self._running[answer] = _Given(task_id, slot, product, datetime.now(UTC), timeout_s)

    def wait(self, timeout_s: float) -> list[Finished]:
        """What has ended; a worker that died is replaced and its stage reported as lost."""
        if time.monotonic() - self._looked >= LOOK_S:
            self._follow_nodes()
        if not self._running:
            return []
        self._end_overdue()
        pending = list(self._running)
        ready, _ = self._ray.wait(
            pending, num_returns=len(pending), timeout=0, fetch_local=True
        )  # fmt: skip
        if not ready:
            ready, _ = self._ray.wait(pending, num_returns=1, timeout=timeout_s)
        until_now = tuple(self._running.values())
        return [self._collect(answer, until_now) for answer in ready]

    def interrupt(self) -> None:
        """Nothing: `wait` comes back in a moment."""

    def stop(self) -> None:
        """Ends the workers, and the cluster if it was started here."""
        if self._stopped:
            return
        self._stopped = True
        slots = [*self._idle, *(given.slot for given in self._running.values())]
        self._idle, self._running = [], {}
        for slot in slots:
            self._kill(slot)
        if self._started_here:
            self._ray.shutdown()
        self._within.close()
        self._restore_output()

    def _collect(self, answer: Any, until_now: tuple[_Given, ...]) -> Finished:
        given = self._running.pop(answer)
        try:
            report = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            return self._lost(given, until_now, error)
        self._lost_in_a_row = 0
        device = self._device(given.slot)
        beside: tuple[str, ...] = ()
        failure: Failure | None = report["failure"]
        relieved = False
        if failure is not None:
            beside = self._beside(given, until_now)
            relieved = failure.kind is FailureKind.CUDA_OUT_OF_MEMORY and self._relieve(given)
        self._leave(given.slot)
        return Finished(
            task_id=given.task_id, product=given.product, device=device, beside=beside,
            relieved=relieved, **report,
        )  # fmt: skip

    def _end_overdue(self) -> None:
        """Ends tasks that take longer than they may; `wait` finds their workers dead."""
        for given in self._running.values():
            if given.timeout_s is None or given.overdue or self._place(given.slot) is None:
                continue
            given.since = given.since or time.monotonic()
            if time.monotonic() - given.since > given.timeout_s:
                given.overdue, given.slot.alive, given.slot.sacrificed = True, False, True
                self._kill(given.slot)

    def _place(self, slot: _Slot) -> Place | None:
        """Where a worker runs; None where it has not said so yet."""
        if slot.place is None:
            with contextlib.suppress(self._ray.exceptions.RayError):
                slot.place = self._ray.get(slot.answer, timeout=0)
        return slot.place

    def _beside_others(self, task: Task, group: LaneGroup | None) -> _Slot | None:
        """A worker that can do a task beside what it has; the fullest one, since steps cost the same."""
        if group is None and (self._idle or isinstance(task, StageTask)):
            return None
        slots = {given.slot for given in self._running.values()}
        fitting = [
            slot
            for slot in slots
            if slot.alive and slot.group and slot.tasks < LANES and group in (None, slot.group)
        ]
        return max(fitting, key=lambda slot: slot.tasks, default=None)

    def _leave(self, slot: _Slot) -> None:
        """Takes a task from a worker, which is idle where that was its last."""
        slot.tasks -= 1
        if slot.tasks == 0:
            slot.group = None
            if slot.alive:
                self._idle.append(slot)

    def _device(self, slot: _Slot) -> str | None:
        """Where a worker trains; None where it has not said so yet."""
        place = self._place(slot)
        return None if place is None else place.device

    def _beside(self, given: _Given, until_now: tuple[_Given, ...]) -> tuple[str, ...]:
        """The tasks that were on the same device when a task ended."""
        device = self._device(given.slot)
        return tuple(
            other.task_id
            for other in until_now
            if other is not given and device is not None and self._device(other.slot) == device
        )

    def _relieve(self, given: _Given) -> bool:
        """Gives up a task's worker for good, unless it is the last on its device.

        A task that began beside a worker that was given up since says nothing about what fits now.

        Returns:
            Whether fewer share the device than when the task began.
        """
        slot = given.slot
        if not slot.alive or given.relieved:
            return True
        running = [one for one in self._running.values() if one is not given]
        every = [*self._idle, *(one.slot for one in running)]
        device = self._device(slot)
        if device is None or all(
            self._device(other) != device for other in every if other is not slot
        ):
            return False
        slot.alive = False
        self._relieved[slot.place.node if slot.place else ""] += 1
        self._kill(slot)
        for one in running:
            one.relieved = one.relieved or self._device(one.slot) == device
        return True

    def _kill(self, slot: _Slot) -> None:
        with contextlib.suppress(Exception):
            self._ray.kill(slot.actor)

    def _lost(self, given: _Given, until_now: tuple[_Given, ...], error: Exception) -> Finished:
        if getattr(error, "_actor_init_failed", False) or "creation task" in str(error):
            raise SweepError(f"a worker could not start: {_last_line(error)}")
        if given.overdue:
            took = time.monotonic() - (given.since or 0.0)
            return self._gone(given, until_now, timed_out(took))
        exceptions = self._ray.exceptions
        if given.slot.sacrificed:
            why = "its worker was ended because another of its trainings took too long"
            failure = Failure(FailureKind.WORKER_LOST, why, "")
            return replace(self._gone(given, until_now, failure), innocent=True)
        start_lost = isinstance(getattr(error, "cause", error), exceptions.ObjectLostError)
        # An answer that could not be given is no dead worker; with neighbours, it goes on.
        dead = given.slot.tasks == 1 or not isinstance(error, exceptions.RayTaskError)
        self._lost_in_a_row += dead and given.slot.alive
        if self._lost_in_a_row > MAX_LOST_IN_A_ROW:
            raise SweepError(
                f"{self._lost_in_a_row} workers died one after the other; the last said: "
                f"{_last_line(error)}"
            )
        if isinstance(error, exceptions.OutOfMemoryError):
            kind = FailureKind.HOST_OUT_OF_MEMORY
        elif isinstance(error, exceptions.RayTaskError) and not start_lost:
            kind = FailureKind.BUG
        else:
            kind = FailureKind.WORKER_LOST
        failure = Failure(kind, f"{type(error).__name__}: {error}".strip(), str(error))
        return replace(self._gone(given, until_now, failure, dead), start_lost=start_lost)

    def _gone(
        self, given: _Given, until_now: tuple[_Given, ...], failure: Failure, dead: bool = True
    ) -> Finished:
        """The end of a task without an answer; if its worker is dead, another takes its place."""
        beside = self._beside(given, until_now)
        if dead and given.slot.alive:
            given.slot.alive = False
            self._kill(given.slot)
        self._leave(given.slot)
        self._follow_nodes()
        place = given.slot.place
        node = "unknown" if place is None else place.device.partition("/")[0]
        return Finished(
            given.task_id, None, None, failure, node, "unknown", given.at, datetime.now(UTC),
            None if place is None else place.device, beside,
        )  # fmt: skip

    def _new_worker(self) -> _Slot:
        actor = self._actor_class.remote(self._setup)
        return _Slot(actor, actor.place.remote())

    def _follow_nodes(self) -> None:
        """Has as many workers as there is room for: nodes may have gone, or come.

        Raises:
            SweepError: where there was no room for any for long.
        """
        self._looked = time.monotonic()
        nodes = [node for node in self._cluster_nodes() if node["Alive"]]
        self._note_lost(nodes)
        alive = {node["NodeID"] for node in nodes}
        self._drop([s for s in self._idle if (place := self._place(s)) and place.node not in alive])
        wanted = self._wanted()
        if wanted > 0:
            self._had_room = self._looked
        elif self._looked - self._had_room > NO_ROOM_PATIENCE_S:
            raise SweepError(
                f"the cluster has had no room for a trial for {NO_ROOM_PATIENCE_S:.0f} s: its nodes "
                "are gone; what is finished is kept"
            )
        # Workers that cannot start any more, since what was to hold them is gone.
        waiting = [slot for slot in self._idle if self._place(slot) is None]
        self._drop(waiting[: max(0, self.slots - wanted)])
        self._idle += [self._new_worker() for _ in range(wanted - self.slots)]
        too_many = self.slots - wanted
        for slot in {given.slot for given in self._running.values() if given.slot.alive}:
            if too_many > 0 and self._place(slot) is None:
                self._kill(slot)  # `wait` finds it lost
                too_many -= 1

    def take_lost_nodes(self) -> tuple[str, ...]:
        """See `Executor.take_lost_nodes`."""
        lost, self._lost_nodes = tuple(self._lost_nodes), []
        return lost

    def _note_lost(self, alive: Iterable[Mapping[str, Any]]) -> None:
        """Notes the nodes that were alive when the cluster was last looked at, and are not now."""
        names = {n["NodeID"]: str(n.get("NodeManagerHostname") or n["NodeID"]) for n in alive}
        self._lost_nodes += [name for key, name in self._names.items() if key not in names]
        self._names = names

    def _drop(self, slots: list[_Slot]) -> None:
        for slot in slots:
            self._idle.remove(slot)
            self._kill(slot)

    def _cluster_nodes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ray.nodes()  # type: ignore[no-untyped-call]
        return found

    def _measured(self, setup: WorkerSetup) -> int:
        """How many trials to run on each GPU, by what some take of one that is theirs alone."""
        actor: Any = self._ray.remote(Worker).options(num_cpus=1, num_gpus=1).remote(setup)
        try:
            found = self._ray.get(actor.footprints.remote())
        except self._ray.exceptions.RayError as error:
            raise SweepError(
                f"--trials-per-gpu auto: measuring a trial failed: {_last_line(error)}; give a number"
            ) from None
        finally:
            with contextlib.suppress(Exception):
                self._ray.kill(actor)
        nodes = [node["Resources"] for node in self._cluster_nodes() if node["Alive"]]
        cores = min(int(n.get("CPU", 1) // n["GPU"]) for n in nodes if n.get("GPU", 0) >= 1)
        return trials_at_a_time(found, cores)

    def _wanted(self) -> int:
        """How many workers there are to be, by the room on the nodes that are there now."""
        return min(self._room(), self._workers or sys.maxsize)

    def _room(self) -> int:
        """How many workers fit, node by node, those not counted that were given up for memory."""
        device, each = ("GPU", self._gpus) if self._gpus else ("CPU", 1.0)
        return sum(
            max(
                0,
                _fitting(node["Resources"].get(device, 0.0), each) - self._relieved[node["NodeID"]],
            )
            for node in self._cluster_nodes()
            if node["Alive"]
        )

    def _actor(self) -> Any:
        """The actor with the resources that one takes.

        Raises:
            SweepError: where there is no room for any.
        """
        room, cpus = self._room(), 1.0
        if room == 0:
            wanted = f"{self._gpus:g} of a GPU" if self._gpus else "one CPU"
            raise SweepError(f"no node of the cluster has {wanted} for a trial")
        if self._gpus:
            nodes = [node["Resources"] for node in self._cluster_nodes() if node["Alive"]]
            cpus = min(1.0, sum(node.get("CPU", 0.0) for node in nodes) / room)
        return self._ray.remote(LaneWorker if self._has_lanes else Worker).options(
            num_cpus=cpus, num_gpus=self._gpus, max_restarts=0, max_task_retries=0
        )


def _last_line(error: Exception) -> str:
    """The innermost message of an error that Ray wrapped, without its colours."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _fitting(available: float, each: float) -> int:
    """How many shares fit into whole devices: a share never spans two."""
    if each >= 1:
        return int(available / each + 1e-9)
    return int(available) * int(1 / each + 1e-9)


def _connect(ray: Any, address: str | None, workers: int | None, folder: Path | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "address": "local",  # not one that RAY_ADDRESS or an earlier `ray start` names
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
            "num_cpus": workers,
            "_temp_dir": None if folder is None else str(folder),
        }
    else:
        _check_reachable(address)
        options["address"] = address
    marked = contextlib.nullcontext() if folder is None else scratch.marking(folder)
    with warnings.catch_warnings(), marked, children_ignore_hangups():
        warnings.simplefilter("ignore")
        try:
            ray.init(**options)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            where = address or "this machine"
            hint = ""
            explicit = address not in (None, "auto")
            if (
                explicit
                and isinstance(error, ConnectionError)
                and "RAY_AUTH_MODE" not in os.environ
            ):
                hint = "; one that wants a token is joined with RAY_AUTH_MODE=token"
            raise SweepError(f"no Ray cluster could be used at {where}: {error}{hint}") from None


def _on_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


def _check_reachable(address: str) -> None:
    """Finds out in seconds that nothing listens at HOST:PORT, where Ray tries for minutes."""
    host, _, port = address.rpartition(":")
    if "//" in address or not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
    except (OSError, OverflowError) as error:
        raise SweepError(
            f"--address {address}: nothing answers there ({error}); must be HOST:PORT of a Ray "
            "cluster's head node, or auto"
        ) from None


def _silence() -> Callable[[], None]:
    """Keeps Ray from printing about lost workers on standard output, where `--json` writes.

    The run tells of them in a line of its own; Ray has no setting for it.

    Returns:
        Undoes it.
    """
    from ray._private import worker as internals

    before = getattr(internals, "print_to_stdstream", None)
    if before is None:
        return lambda: None
    internals.print_to_stdstream = lambda *_arguments, **_options: None
    return lambda: setattr(internals, "print_to_stdstream", before)

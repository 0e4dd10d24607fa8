"""Runs stages on a Ray cluster, in warm actors that each hold a slot for the whole run.

An actor keeps its datasets and teacher outputs, so a stage costs its arithmetic and one call. Ray
reuses processes of plain GPU tasks only when told to; an actor is one by construction. Datasets,
teacher outputs and snapshots lie in Ray's object store, once on each node, where processes read them
without copying; they are owned by the run: a lost worker costs its stage alone. On a cluster of
several machines, datasets are loaded on that of the run, so the others need none of their own.

Where the memory of a GPU runs out, its worker is given up, so that fewer share that GPU from then
on, unless it was the last there. A task that takes longer than it may is ended with its worker.
Nodes may go and come while a run goes on: workers are given up and added as there is room. Each
worker is on a node that was chosen for it, and says when it has started which numerics class it is of.
"""

import contextlib
import os
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
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
    ProductLostError,
    Task,
    WorkerSetup,
)
from sweep.execution.devices import DeviceUse, Gauge, GaugeReader, Seat, gpu_names, uses
from sweep.execution.joining import connect, on_loopback
from sweep.execution.members import Members
from sweep.execution.room import Room, gpu_count
from sweep.execution.worker import LaneWorker, Place, Worker
from sweep.policy import timed_out
from sweep.records import FailureKind
from trials.capacity import trials_at_a_time
from trials.engine import LANES, LaneGroup
from trials.task import ChosenTeacher, LoadTask, StageTask

SNAPSHOT_SHARE = 0.5
"""Part of the cluster's object store that snapshots may fill; Ray moves what is more to disk."""

MAX_LOST_IN_A_ROW = 20
"""Workers that may die one after the other before the cluster is given up."""

LOOK_S = 5.0
"""How often the nodes of the cluster are looked at."""

NO_ROOM_PATIENCE_S = 120.0
"""How long a cluster may have room for no worker, its nodes being lost, before it is given up."""

FIRST_WORKER_S = 60.0
"""How long the first worker of each node may take to start before the run begins without it."""


@dataclass(eq=False)
class _Slot:
    """A worker, where it runs once that is known, and what it has been given.

    Attributes:
        place: known when it has started.
        node: Ray's id of the node that it is on.
        tasks: that it has.
        group: of the stages that it trains side by side.
        alive: whether it is, as far as is known.
        sacrificed: whether it was ended because one of its tasks took too long.
        aside: whether it loads datasets beside those that train.
    """

    actor: Any
    answer: Any
    place: Place | None = None
    tasks: int = 0
    group: LaneGroup | None = None
    alive: bool = True
    sacrificed: bool = False
    node: str = ""
    aside: bool = False


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
        if address is None or on_loopback(address):
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
        self._manned: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self._lost_nodes: list[str] = []
        self._said: list[str] = []
        self._stopped = False
        self._reader: GaugeReader | None = None
        self._loader: _Slot | None = None
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
            connect(ray, address, workers, folder)
        joined = address is not None or (not self._started_here and len(ray.nodes()) > 1)
        self._members = Members(ray, setup, joined)
        self._members.start()
        self._room = self._room_for(setup)
        self._setup = replace(setup, gpus=self._room.share)
        self._device_type = "cuda" if self._room.share else "cpu"
        by_device = "lanes" if self._device_type == "cuda" else None
        self._has_lanes = setup.runner is None and (setup.engine or by_device) == "lanes"
        self._workers = workers
        self._require_room()
        self._may_differ = joined or (self._room.share > 0 and len(set(gpu_names())) > 1)
        self._room_bytes = int(
            SNAPSHOT_SHARE
            * sum(n["Resources"].get("object_store_memory", 0.0) for n in self._cluster_nodes())
        )
        if address is None and self._room.share:
            self._reader = GaugeReader()
            self._within.callback(self._reader.stop)
        self._lost_in_a_row = 0
        self._fill()
        if joined:
            self._wait_for_first()
        self._note_lost(self._members.alive)
        self._looked = self._had_room = time.monotonic()

    @property
    def slots(self) -> int:
        """How many workers there are."""
        return len(self._slots)

    @property
    def _slots(self) -> set[_Slot]:
        """The workers that train, as far as they are known to be alive."""
        busy = (g.slot for g in self._running.values() if g.slot.alive and not g.slot.aside)
        return {*self._idle, *busy}

    @property
    def classes(self) -> Mapping[str, int] | None:
        """Workers by numerics class; None where all are on devices of one kind.

        Those that have not started are not counted: each says itself of which class it is.
        """
        if not self._may_differ:
            return None
        places = (self._place(slot) for slot in self._slots)
        return Counter(place.numerics for place in places if place is not None)

    @property
    def free(self) -> int:
        """How many workers wait for a stage.

        On a cluster that others may use, those that have not started are not counted: what they need
        to start may be held by another run, for as long as that takes.
        """
        if self._members.joined:
            return sum(self._place(slot) is not None for slot in self._idle)
        return len(self._idle)

    def free_in(self, numerics: str | None) -> int:
        """How many of a class do."""
        if numerics is None:
            return len(self._idle)
        return sum(self._is_of(slot, numerics) for slot in self._idle)

    def _is_of(self, slot: _Slot, numerics: str | None) -> bool:
        """Whether a worker has started and is of a class; None: of any."""
        place = self._place(slot)
        return place is not None and numerics in (None, place.numerics)

    @property
    def joinable(self) -> frozenset[LaneGroup]:
        """Groups that a worker trains side by side while it has an empty lane."""
        return self.joinable_in(None)

    def joinable_in(self, numerics: str | None) -> frozenset[LaneGroup]:
        """Those of a class."""
        slots = {given.slot for given in self._running.values()} if self._has_lanes else set()
        return frozenset(
            s.group
            for s in slots
            if s.group and s.alive and s.tasks < LANES
            and (numerics is None or self._is_of(s, numerics))
        )  # fmt: skip

    @property
    def devices(self) -> tuple[DeviceUse, ...]:
        """As far as workers have said where they are; waits for nobody."""
        idle = set(self._idle)
        seats = []
        for slot in self._slots:
            device = "starting" if slot.place is None else slot.place.name[1]
            seats.append(Seat(self._members.name(slot.node), device, slot not in idle))
        return uses(seats, self._gauges())

    def _gauges(self) -> dict[tuple[str, str], Gauge]:
        if self._reader is not None:
            here = self._members.name(self._members.own_node)
            return {(here, device): gauge for device, gauge in self._reader.latest().items()}
        return {
            (self._members.name(node), device): gauge
            for node, found in self._members.gauges().items()
            for device, gauge in found.items()
        }

    def news(self) -> list[str]:
        """Of nodes that came and cannot be used, and how many trials share a GPU where that was measured."""
        found = [*self._said, *self._members.news]
        self._said, self._members.news = [], []
        return found

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
        self,
        task_id: str,
        task: Task,
        inputs: Inputs,
        timeout_s: float | None = None,
        numerics: str | None = None,
    ) -> None:
        """Gives a task to a worker that trains its group and has room, else to an idle one.

        Of those, to one that has started if there is any. Datasets are loaded on the machine of the
        run where there may be others.
        """
        group = self._setup.group_of(task, self._device_type) if self._has_lanes else None
        if self._members.joined and isinstance(task, LoadTask):
            slot: _Slot | None = self._loading()
        else:
            slot = self._beside_others(task, group, numerics)
        if slot is None:
            started = (s for s in reversed(self._idle) if self._is_of(s, numerics))
            slot = next(started, self._idle[-1])
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
        slots = {*self._idle, *(given.slot for given in self._running.values())}
        if self._loader is not None:
            slots.add(self._loader)
        self._idle, self._running, self._loader = [], {}, None
        for slot in slots:
            self._kill(slot)
        with contextlib.suppress(AttributeError):  # it never came so far
            self._members.stop()
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

    def _beside_others(
        self, task: Task, group: LaneGroup | None, numerics: str | None
    ) -> _Slot | None:
        """A worker that can do a task beside what it has; the fullest one, since steps cost the same."""
        if group is None and (self.free_in(numerics) or isinstance(task, StageTask)):
            return None
        slots = {given.slot for given in self._running.values()}
        fitting = [
            slot
            for slot in slots
            if slot.alive and slot.group and slot.tasks < LANES and group in (None, slot.group)
            and (numerics is None or self._is_of(slot, numerics))
        ]  # fmt: skip
        return max(fitting, key=lambda slot: slot.tasks, default=None)

    def _leave(self, slot: _Slot) -> None:
        """Takes a task from a worker, which is idle where that was its last."""
        slot.tasks -= 1
        if slot.tasks == 0:
            slot.group = None
            if slot.alive and not slot.aside:
                self._idle.append(slot)

    def _device(self, slot: _Slot) -> str | None:
        """Where a worker trains; None where it has not said so yet."""
        place = self._place(slot)
        return None if place is None else place.device

    def _beside(self, given: _Given, until_now: tuple[_Given, ...]) -> tuple[str, ...]:
        """The tasks that were on the same device when a task ended."""
        device = self._place(given.slot)
        return tuple(
            other.task_id
            for other in until_now
            if other is not given and device is not None and self._place(other.slot) == device
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
        device = self._place(slot)
        if device is None or all(
            self._place(other) != device for other in every if other is not slot
        ):
            return False
        slot.alive = False
        self._room.given_up[slot.node] += 1
        self._kill(slot)
        for one in running:
            one.relieved = one.relieved or self._place(one.slot) == device
        return True

    def _kill(self, slot: _Slot) -> None:
        with contextlib.suppress(Exception):
            self._ray.kill(slot.actor)

    def _lost(self, given: _Given, until_now: tuple[_Given, ...], error: Exception) -> Finished:
        could_not_start = getattr(error, "_actor_init_failed", False)
        if (could_not_start or "creation task" in str(error)) and self._is_there(given.slot.node):
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

    def _new_worker(self, node: dict[str, Any]) -> _Slot:
        setup = replace(self._setup, gpus=self._room.share_on(node))
        actor = self._actor_class(node).remote(setup)
        return _Slot(actor, actor.place.remote(), node=node["NodeID"])

    def _loading(self) -> _Slot:
        """What loads datasets on the machine of the run, beside the workers."""
        if self._loader is None or not self._loader.alive:
            here = self._members.own_node
            actor: Any = (
                self._ray.remote(Worker)
                .options(num_cpus=0, max_restarts=0, **self._members.pinned(here))
                .remote(replace(self._setup, gpus=0.0))
            )
            self._loader = _Slot(actor, actor.place.remote(), node=here, aside=True)
        return self._loader

    def _wait_for_first(self) -> None:
        """Waits until each node has a worker, so that it is known what classes there are.

        Raises:
            SweepError: where a worker cannot start.
        """
        first = {slot.node: slot.answer for slot in self._idle}
        ready, _ = self._ray.wait(
            list(first.values()), num_returns=len(first), timeout=FIRST_WORKER_S
        )
        for answer in ready:
            try:
                self._ray.get(answer)
            except self._ray.exceptions.RayError as error:
                raise SweepError(f"a worker could not start: {_last_line(error)}") from None

    def _is_there(self, node_id: str) -> bool:
        return not node_id or any(
            node["NodeID"] == node_id and node["Alive"] for node in self._cluster_nodes()
        )

    def _follow_nodes(self) -> None:
        """Has as many workers as there is room for: nodes may have gone, or come.

        Raises:
            SweepError: where there was no room for any for long.
        """
        self._looked = time.monotonic()
        self._members.look()
        self._note_lost(self._members.alive)
        wanted = self._wanted()
        if wanted > 0:
            self._had_room = self._looked
        elif self._looked - self._had_room > NO_ROOM_PATIENCE_S:
            raise SweepError(
                f"the cluster has had no room for a trial for {NO_ROOM_PATIENCE_S:.0f} s: its nodes "
                "are gone; what is finished is kept"
            )
        alive = {node["NodeID"] for node in self._usable()}
        self._drop([slot for slot in self._idle if slot.node not in alive])
        self._drop_dead()
        for slot in self._slots:
            if slot.node not in alive and self._place(slot) is None:
                self._kill(slot)  # it cannot start any more; `wait` finds it lost
        self._fill()

    def _fill(self) -> None:
        """Adds workers while there is room for more, on the node that is emptiest.

        Of those that are alike, on the one that has had most: one that died is replaced in its class.
        """
        have = Counter(slot.node for slot in self._slots)
        room = {node["NodeID"]: self._room.on(node) for node in self._usable()}
        by_id = {node["NodeID"]: node for node in self._usable()}
        missing = self._wanted() - sum(have[node_id] for node_id in room)
        for _ in range(missing):
            open_nodes = [node_id for node_id in room if have[node_id] < room[node_id]]
            if not open_nodes:
                break
            node_id = min(open_nodes, key=lambda n: (have[n] / room[n], -self._manned[n]))
            self._idle.append(self._new_worker(by_id[node_id]))
            self._manned[node_id] += 1
            have[node_id] += 1

    def take_lost_nodes(self) -> tuple[str, ...]:
        """See `Executor.take_lost_nodes`."""
        lost, self._lost_nodes = tuple(self._lost_nodes), []
        return lost

    def _note_lost(self, alive: Iterable[Mapping[str, Any]]) -> None:
        """Notes the nodes that were alive when the cluster was last looked at, and are not now."""
        names = {n["NodeID"]: str(n.get("NodeManagerHostname") or n["NodeID"]) for n in alive}
        self._lost_nodes += [name for key, name in self._names.items() if key not in names]
        self._names = names

    def _drop_dead(self) -> None:
        """Gives up idle workers that did not come to say where they are, since they died.

        Raises:
            SweepError: where one after the other does.
        """
        dead = []
        for slot in self._idle:
            if slot.place is None:
                try:
                    slot.place = self._ray.get(slot.answer, timeout=0)
                except self._ray.exceptions.GetTimeoutError:
                    continue
                except self._ray.exceptions.RayError as error:
                    dead.append(slot)
                    self._lost_in_a_row += 1
                    if self._lost_in_a_row > MAX_LOST_IN_A_ROW:
                        raise SweepError(f"workers cannot start: {_last_line(error)}") from None
        self._drop(dead)

    def _drop(self, slots: list[_Slot]) -> None:
        for slot in slots:
            self._idle.remove(slot)
            self._kill(slot)

    def _cluster_nodes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ray.nodes()  # type: ignore[no-untyped-call]
        return found

    def _usable(self) -> list[dict[str, Any]]:
        return self._members.usable

    def _room_for(self, setup: WorkerSetup) -> Room:
        """What workers take, as it was said, as is usual, or as it is measured."""
        if setup.gpus is not None:
            return Room(setup.gpus)
        nodes = [node for node in self._usable() if gpu_count(node) >= 1]
        if not nodes:
            return Room(0.0)
        return (
            Room.of_measured(self._measured(setup, nodes), self._members.gpu_kind)
            if setup.probe
            else Room(DEFAULT_GPU_SHARE)
        )

    def _measured(self, setup: WorkerSetup, nodes: list[dict[str, Any]]) -> dict[str, int]:
        """How many trials to run on each kind of GPU, by what some take of one that is theirs alone."""
        kinds: dict[str, list[dict[str, Any]]] = {}
        for node in sorted(nodes, key=self._members.gpu_kind):  # Ray has them in any order
            kinds.setdefault(self._members.gpu_kind(node), []).append(node)
        probers: dict[str, Any] = {}
        for kind, (node, *_) in kinds.items():
            cpus = min(1.0, node["Resources"].get("CPU", 0.0))  # some nodes give none away
            options = {"num_cpus": cpus, "num_gpus": 1, **self._members.pinned(node["NodeID"])}
            probers[kind] = self._ray.remote(Worker).options(**options).remote(setup)
        try:
            free = self._begun({kind: prober.place.remote() for kind, prober in probers.items()})
            datasets = self._loaded(setup)
            asked = [probers[kind].footprints.remote(*datasets) for kind in free]
            footprints = dict(zip(free, self._ray.get(asked), strict=True))
        except self._ray.exceptions.RayError as error:
            raise SweepError(
                f"--trials-per-gpu auto: measuring a trial failed: {_last_line(error)}; give a number"
            ) from None
        finally:
            for prober in probers.values():
                with contextlib.suppress(Exception):
                    self._ray.kill(prober)
        found = {}
        for kind in free:
            cores = min(int(n["Resources"].get("CPU", 1) // gpu_count(n)) for n in kinds[kind])
            found[kind] = trials_at_a_time(footprints[kind], cores)
        each = [f"{count} on each {kind or 'GPU'}" for kind, count in found.items()]
        each += [
            f"{kind or 'GPU'} is in use: as on the others, at most"
            for kind in kinds
            if kind not in free
        ]
        self._said.append(f"trials at a time, as measured: {'; '.join(each)}")
        return found

    def _begun(self, answers: Mapping[str, Any]) -> list[str]:
        """The kinds of GPU of which one is to be had soon; others may be held by another run.

        Args:
            answers: of a worker on each, once it has started. Where none has soon, the first is waited for.
        """
        all_of_them = list(answers.values())
        number = len(all_of_them)
        ready, _ = self._ray.wait(all_of_them, num_returns=number, timeout=FIRST_WORKER_S)
        if not ready:
            ready, _ = self._ray.wait(all_of_them, num_returns=1)
        return [kind for kind, answer in answers.items() if answer in ready]

    def _loaded(self, setup: WorkerSetup) -> list[Any]:
        """The datasets of what is measured, where its node may have none; else none."""
        if not self._members.joined:
            return []
        self._setup = setup
        loader = self._loading().actor
        products = {}
        for spec in setup.probe:
            if spec.data not in products:
                task = LoadTask(spec.data)
                _, products[spec.data] = loader.run.options(num_returns=2).remote(task, None, None)
        return [products[spec.data] for spec in setup.probe]

    def _wanted(self) -> int:
        """How many workers there are to be, by the room on the nodes that are there now."""
        return min(sum(map(self._room.on, self._usable())), self._workers or sys.maxsize)

    def _require_room(self) -> None:
        """Refuses a cluster without room for a worker.

        Raises:
            SweepError: for that.
        """
        if not any(map(self._room.on, self._usable())):
            wanted = f"{self._room.share:g} of a GPU" if self._room.share else "one CPU"
            raise SweepError(f"no node of the cluster has {wanted} for a trial")

    def _actor_class(self, node: dict[str, Any]) -> Any:
        """The actor with the resources that one takes of a node."""
        return self._ray.remote(LaneWorker if self._has_lanes else Worker).options(
            num_cpus=self._room.cpus_on(node), num_gpus=self._room.share_on(node),
            max_restarts=0, max_task_retries=0, **self._members.pinned(node["NodeID"]),
        )  # fmt: skip


def _last_line(error: Exception) -> str:
    """The innermost message of an error that Ray wrapped, without its colours."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


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

"""Workers on Ray: a task that takes too long, a worker that dies, nodes that come and go."""

import os
import platform
import signal
import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.errors import SweepError
from sweep.execution import ray as on_ray
from sweep.execution.base import Finished, Inputs, WorkerSetup
from sweep.execution.ray import RayExecutor
from sweep.execution.room import Room, gpu_kind
from sweep.records import FailureKind
from tests.sweep.light import LightWorker
from trials.capacity import Footprint
from trials.task import Prepared


class Told:
    """Does what the task says, in place of training."""

    def __call__(self, task: Any, *_others: Any) -> Prepared:
        if task.startswith("sleep"):
            time.sleep(float(task.split()[1]))
        elif task == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif task == "raise":
            raise ValueError("told to")
        return Prepared(product=task.encode())


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with a processor, in a process of its own, to which nodes can be added."""
    from ray.cluster_utils import Cluster

    found = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "node_ip_address": "127.0.0.1"},
    )
    yield found
    found.shutdown()


@pytest.fixture
def executor(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayExecutor]:
    """Of workers that do without torch: nothing is trained here."""
    monkeypatch.setattr(on_ray, "Worker", LightWorker)
    made = RayExecutor(WorkerSetup(gpus=0.0, runner=Told()), cluster.address)
    yield made
    made.stop()


def ended(executor: RayExecutor, count: int, timeout_s: float = 90.0) -> dict[str, Finished]:
    found: dict[str, Finished] = {}
    deadline = time.monotonic() + timeout_s
    while len(found) < count and time.monotonic() < deadline:
        found |= {end.task_id: end for end in executor.wait(0.25)}
    assert len(found) == count
    return found


def kind(end: Finished) -> FailureKind | None:
    return None if end.failure is None else end.failure.kind


def until(condition: Any, executor: RayExecutor, timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        executor.wait(0.0)
        time.sleep(0.2)


def give(executor: RayExecutor, task: str, timeout_s: float | None = None) -> None:
    executor.submit(task, task, Inputs(), timeout_s)  # type: ignore[arg-type]


def test_tasks_end_in_their_own_way(executor: RayExecutor) -> None:
    """One worker: what is killed is replaced, and what comes next is not hurt."""
    assert (executor.slots, executor.free) == (1, 1)
    give(executor, "sleep 600", 1.0)  # its time begins when the worker has started
    first = ended(executor, 1)["sleep 600"]
    assert kind(first) is FailureKind.TIMED_OUT
    assert first.failure is not None
    assert first.failure.message == "given up after 1 s: its time is over"
    took = (first.finished_at - first.started_at).total_seconds()
    assert 1.0 <= took < 60.0
    assert executor.slots == 1
    until(lambda: executor.free == 1, executor)  # once another has started in its place
    for task, expected in (
        ("die", FailureKind.WORKER_LOST), ("raise", FailureKind.BUG), ("sleep 0", None),
    ):  # fmt: skip
        give(executor, task, 60.0)
        (end,) = ended(executor, 1).values()
        assert kind(end) is expected, end
    assert executor.get(end.product) == b"sleep 0"


@pytest.mark.slow
def test_workers_follow_the_nodes(
    cluster: Any, executor: RayExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "LOOK_S", 0.2)
    node = cluster.add_node(num_cpus=2, node_ip_address="127.0.0.1")
    until(lambda: executor.slots == 3, executor)
    until(lambda: all(executor._place(slot) for slot in executor._idle), executor)
    for number in range(3):
        give(executor, f"sleep 600.{number}")
    assert executor.free == 0
    assert executor.take_lost_nodes() == ()
    cluster.remove_node(node, allow_graceful=False)
    lost = ended(executor, 2)
    assert {kind(end) for end in lost.values()} == {FailureKind.WORKER_LOST}
    until(lambda: executor.slots == 1, executor)
    assert executor.free == 0, "the task on the node that stayed goes on"
    assert executor.take_lost_nodes() == (platform.node(),)
    assert executor.take_lost_nodes() == ()


def test_a_cluster_without_nodes_is_given_up(
    executor: RayExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "LOOK_S", 0.0)
    monkeypatch.setattr(on_ray, "NO_ROOM_PATIENCE_S", 0.3)
    monkeypatch.setattr(executor, "_usable", list)
    executor.wait(0.0)
    assert executor.free == 0
    time.sleep(0.4)
    with pytest.raises(SweepError, match="no room for a trial for 0 s: its nodes are gone"):
        executor.wait(0.0)


@pytest.mark.parametrize("joined", [True, False])
def test_on_a_shared_cluster_only_workers_that_have_started_are_free(joined: bool) -> None:
    """Another run may hold what a worker needs to start: a task given to it waits for that run."""
    executor = object.__new__(RayExecutor)
    began = on_ray._Slot(None, None, place=on_ray.Place("n", "m/CPU", "x"))
    waits = on_ray._Slot(None, None)
    executor._idle = [began, waits]
    executor._members = SimpleNamespace(joined=joined)  # type: ignore[assignment]
    executor._place = lambda slot: slot.place  # type: ignore[method-assign]
    assert executor.free == (1 if joined else 2)


def test_a_worker_is_replaced_on_the_node_where_it_was() -> None:
    """Its class would be gone, and what it had begun would start again, were it another one's."""
    nodes = [{"NodeID": name, "Resources": {"CPU": 4.0}} for name in "abc"]
    executor = object.__new__(RayExecutor)
    executor._idle, executor._running, executor._manned = [], {}, Counter()
    executor._room, executor._workers = Room(0.0), 1
    executor._new_worker = lambda node: on_ray._Slot(None, None, node=node["NodeID"])  # type: ignore[method-assign]
    for order in (nodes, nodes[::-1], nodes[1:] + nodes[:1]):  # as Ray tells of them: in any order
        executor._members = SimpleNamespace(usable=order)  # type: ignore[assignment]
        executor._fill()
        assert [slot.node for slot in executor._idle] == ["a"]
        executor._idle.clear()  # it died
    executor._members = SimpleNamespace(usable=nodes[1:])  # type: ignore[assignment]
    executor._fill()
    assert [slot.node for slot in executor._idle] == ["b"], "its node is gone"


class Prober:
    """Stands for workers that measure: each trial takes 1 of 8 GB, and computes a tenth of the time."""

    def __init__(self, taken: dict[str, tuple[float, float]]) -> None:
        self.taken, self.node = taken, ""
        self.place = SimpleNamespace(remote=lambda: self.node)
        self.footprints = SimpleNamespace(remote=lambda *_: [Footprint(10**9, 8 * 10**9, 0.1)])

    def options(self, node: str, num_cpus: float, num_gpus: float) -> "Prober":
        self.taken[node] = (num_cpus, num_gpus)
        self.node = node
        return self

    def remote(self, *_: Any) -> "Prober":
        return self


def measuring(taken: dict[str, tuple[float, float]], in_use: tuple[str, ...] = ()) -> RayExecutor:
    """An executor of a cluster that stands in for Ray's, where some nodes have no GPU to give now."""

    def wait(
        answers: list[str], num_returns: int, timeout: float | None = None
    ) -> tuple[list[str], list[str]]:
        if timeout is None:  # until they have ended, one after the other
            return answers[:num_returns], answers[num_returns:]
        return [a for a in answers if a not in in_use], [a for a in answers if a in in_use]

    executor = object.__new__(RayExecutor)
    executor._ray = SimpleNamespace(
        remote=lambda _: Prober(taken), get=list, wait=wait, kill=lambda _: None,
        exceptions=SimpleNamespace(RayError=RuntimeError),
    )  # fmt: skip
    executor._members = SimpleNamespace(  # type: ignore[assignment]
        joined=False, pinned=lambda node: {"node": node}, gpu_kind=gpu_kind
    )
    executor._said = []
    return executor


KINDS = [
    {"NodeID": "a", "Resources": {"CPU": 8.0, "GPU": 2.0, "accelerator_type:new": 1.0}},
    {"NodeID": "b", "Resources": {"GPU": 1.0, "accelerator_type:old": 1.0}},
]


def test_gpus_of_a_node_that_gives_no_cpus_are_measured_too() -> None:
    """Its workers take none, as `Room.cpus_on` has it; one that asked for a CPU would wait for ever."""
    taken: dict[str, tuple[float, float]] = {}
    executor = measuring(taken)
    assert executor._measured(WorkerSetup(), KINDS) == {"new": 4, "old": 1}
    assert taken == {"a": (1.0, 1), "b": (0.0, 1)}


def test_a_kind_of_gpu_that_is_in_use_is_not_waited_for_but_where_all_are() -> None:
    """Another run may hold them for days; on the others this one begins."""
    executor = measuring({}, in_use=("b",))
    assert executor._measured(WorkerSetup(), KINDS) == {"new": 4}
    assert executor.__dict__["_said"] == [
        "trials at a time, as measured: 4 on each new; old is in use: as on the others, at most"
    ]
    executor = measuring({}, in_use=("a", "b"))
    assert executor._measured(WorkerSetup(), KINDS) == {"new": 4}

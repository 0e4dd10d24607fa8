"""Runs on real clusters of several raylets: capacity, loss, late nodes, classes, data, versions."""

import importlib.metadata
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import data
from data import catalog
from sweep import binding
from sweep.cells import demand
from sweep.errors import SweepError
from sweep.execution import ray as on_ray
from sweep.execution.base import WorkerSetup
from sweep.execution.local import LocalExecutor
from sweep.execution.ray import RayExecutor
from sweep.plan import plan
from sweep.progress import Silent
from sweep.run import run
from sweep.service import Where, evaluate_study, run_study
from sweep.store import Store
from tests.sweep.light import CLASS, LightWorker, Was, WrittenDown, at_a_time, read
from tests.sweep.raylets import ROOT
from tests.sweep.tiny import FakeTraining, science, tiny_study
from trials.capacity import Footprint
from trials.spec import TrialSpec

PATIENCE_S = 240.0
MANY: dict[str, Any] = {
    "seeds": list(range(1, 13)), "grid.alpha": [0.1, 0.5], "grid.switch_epoch": [1, 2, 3],
}  # fmt: skip
"""12 teachers, 12 baselines, and 12 x 2 x 3 students."""


class Nodes:
    """A cluster of this test's own, whose first node only holds the run."""

    def __init__(self, **head: Any) -> None:
        from ray.cluster_utils import Cluster

        about = {"include_dashboard": False, "node_ip_address": "127.0.0.1", "num_cpus": 1}
        self.cluster = Cluster(initialize_head=True, head_node_args=about | head)

    def add(
        self, gpus: int = 0, cpus: int = 1, also: dict[str, int] | None = None, **environment: str
    ) -> Any:
        return self.cluster.add_node(
            num_gpus=gpus, num_cpus=cpus, resources=also or {}, node_ip_address="127.0.0.1",
            env_vars=environment,
        )  # fmt: skip

    def kill(self, node: Any) -> None:
        self.cluster.remove_node(node, allow_graceful=False)

    @property
    def address(self) -> str:
        return str(self.cluster.address)


@pytest.fixture
def make_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Nodes]]:
    monkeypatch.setattr(on_ray, "LOOK_S", 0.5)
    made: list[Nodes] = []

    def make(**head: Any) -> Nodes:
        made.append(Nodes(**head))
        return made[-1]

    yield make
    for nodes in made:
        nodes.cluster.shutdown()


class Heard(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def undisturbed(folder: Path, **study: Any) -> Store:
    store = Store(folder)
    executor = LocalExecutor(WorkerSetup(runner=FakeTraining()))
    with store.writing():
        assert run(demand(tiny_study(**study), store), store, executor).exit_status == 0
    executor.stop()
    return store


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stages(tasks: list[Was]) -> list[Was]:
    return [one for one in tasks if one.task not in ("LoadTask", "TeachTask")]


def test_three_nodes_share_a_study(
    make_nodes: Callable[..., Nodes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halves of three GPUs on three nodes of two classes: all used, none over, each tree in one."""
    monkeypatch.setattr(on_ray, "Worker", LightWorker)
    folder = tmp_path / "written"
    folder.mkdir()
    nodes = make_nodes(num_gpus=1)
    nodes.add(gpus=1)
    nodes.add(gpus=1, **{CLASS: "other"})
    store = Store(tmp_path / "results")
    training = WrittenDown(folder, takes_s=0.05)
    executor = RayExecutor(WorkerSetup(gpus=0.5, runner=training), nodes.address)
    try:
        assert executor.slots == 6
        until(lambda: executor.classes == {"light": 4, "other": 2})
        assert [device.slots for device in executor.devices] == [2, 2, 2]
        assert {device.device for device in executor.devices} == {"GPU 0"}
        assert len({device.node for device in executor.devices}) == 3
        study = {**MANY, "seeds": list(range(1, 6)), "grid.teacher": ["small", "large"]}
        with store.writing():
            summary = run(demand(tiny_study(**study), store), store, executor)
    finally:
        executor.stop()
    assert summary.exit_status == 0, summary.failures
    done = read(folder)
    most = at_a_time(stages(done))
    assert len(most) == 3
    assert max(most.values()) <= 2
    classes: dict[str, set[str]] = defaultdict(set)
    whole = {cell.trial_id: cell for cell in demand(tiny_study(**study), None).todo.values()}
    for one in stages(done):
        if one.task in whole and whole[one.task].teacher:
            classes[str(whole[one.task].teacher)].add(one.numerics)
    assert set(map(len, classes.values())) == {1}
    # The dataset was loaded where the run is, once.
    loads = [one for one in done if one.task == "LoadTask"]
    assert len(loads) == 1
    assert loads[0].gpu == ""
    # So was each teacher asked, once for all nodes.
    assert sum(one.task == "TeachTask" for one in done) == 2
    assert science(store).equals(science(undisturbed(tmp_path / "alone", **study)))


@pytest.mark.slow
def test_eight_gpus_a_node_that_dies_and_one_that_comes(
    make_nodes: Callable[..., Nodes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 + 2 + 2 GPUs, 32 trials at a time; the second node is killed, a fourth comes."""
    monkeypatch.setattr(on_ray, "Worker", LightWorker)
    folder = tmp_path / "written"
    folder.mkdir()
    nodes = make_nodes(num_gpus=4, num_cpus=2)
    victim = nodes.add(gpus=2)
    nodes.add(gpus=2)
    training = WrittenDown(folder, takes_s=0.3, waits_after=70)
    store = Store(tmp_path / "results")
    executor = RayExecutor(WorkerSetup(gpus=0.25, runner=training), nodes.address)
    summaries: list[Any] = []

    def train() -> None:
        with store.writing():
            summaries.append(run(demand(tiny_study(**MANY), store), store, executor))

    try:
        assert executor.slots == 32
        until(lambda: executor.classes == {"light": 32})
        training_thread = threading.Thread(target=train)
        training_thread.start()
        until(lambda: sum(w.node == victim.node_id for w in stages(read(folder))) >= 6)
        nodes.kill(victim)
        late = nodes.add(gpus=2, cpus=3, TEST_LATE="1").node_id
        training_thread.join(PATIENCE_S)
        assert not training_thread.is_alive()
        (summary,) = summaries
        until(lambda: executor.wait(0.1) is not None and executor.slots == 32)
    finally:
        executor.stop()
    assert summary.exit_status == 0, summary.failures
    done = stages(read(folder))
    most = at_a_time(done)
    assert max(most.values()) <= 4
    used = {(one.node, one.gpu) for one in done}  # what was killed began there
    assert len(used) >= 8 + 1, "every GPU that was there was used, and one that came late"
    assert sum(one.node == late for one in done) > 0
    attempts = store.attempts.read(["kind", "status"])[0].to_pylist()
    assert {(a["status"], a["kind"]) for a in attempts} == {
        ("done", None), ("retried", "worker_lost"),
    }  # fmt: skip
    assert science(store).equals(science(undisturbed(tmp_path / "alone", **MANY)))


LOADS, NO_DATA = "TEST_LOADS", "TEST_NO_DATA"


def prepare_counted(_: Path) -> data.RawArrays:
    """Sixteen rows, where there is data; each time is written down."""
    if os.environ.get(NO_DATA):
        raise FileNotFoundError("this node has no data")
    with Path(os.environ[LOADS]).open("a") as lines:
        lines.write(f"{os.getpid()}\n")
    rows = np.arange(80, dtype=np.float32).reshape(20, 4)
    labels = np.arange(20, dtype=np.int64) % 2
    return data.RawArrays(rows[:16], labels[:16], rows[16:], labels[16:])


@pytest.mark.slow
def test_data_is_loaded_once_where_the_run_is(
    make_nodes: Callable[..., Nodes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second node has no data: it trains, asks teachers and evaluates on what the first loaded."""
    monkeypatch.setattr(catalog, "_ENTRIES", dict(catalog._ENTRIES))
    loads = tmp_path / "loads"
    loads.touch()
    monkeypatch.setenv(LOADS, str(loads))
    data.register(
        data.DatasetEntry(
            name="counted",
            task="classification",
            outputs=2,
            input_shape=(4,),
            prepare=prepare_counted,
        )
    )
    nodes = make_nodes()
    nodes.add(**{NO_DATA: "1"})
    overrides = {
        "datasets": {"counted": {"student": "mlp-8"}}, "grid.teacher": ["mlp-4"],
        "recipe.batch_size": 8, "split": {"validation": 0.25}, "evaluation.keep": "weights",
        "evaluation.fgsm_epsilons": [0.1],
    }  # fmt: skip
    study = tiny_study(**overrides)
    where = Where(address=nodes.address, gpus_per_trial=0.0, data_dir=tmp_path / "data")
    summary = run_study(study, tmp_path / "results", where)
    assert summary.exit_status == 0, summary.failures
    assert len(loads.read_text().splitlines()) == 1
    attempts = Store(tmp_path / "results").attempts.read(["worker"])[0]["worker"].to_pylist()
    assert len(set(attempts)) == 2, "both nodes trained"
    loads.write_text("")
    more = tiny_study(**overrides | {"evaluation.fgsm_epsilons": [0.3]})
    evaluated = evaluate_study(more, tmp_path / "results", where)
    assert evaluated.failures == ()
    assert evaluated.evaluated == summary.done
    assert len(loads.read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_node_of_another_version_is_refused_or_left_out(
    make_nodes: Callable[..., Nodes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "Worker", LightWorker)
    other = tmp_path / "other"
    (other / "torchvision-0.0.1.dist-info").mkdir(parents=True)
    (other / "torchvision-0.0.1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.0.1+cpu\n"
    )
    path = os.pathsep.join([str(other), str(ROOT), os.environ.get("PYTHONPATH", "")])
    nodes = make_nodes()
    training = FakeTraining()
    executor = RayExecutor(WorkerSetup(gpus=0.0, runner=training), nodes.address)
    said: list[str] = []
    try:
        late = nodes.add(cpus=2, PYTHONPATH=path)

        def told() -> bool:
            executor.wait(0.0)
            said.extend(executor.news())
            return bool(said)

        until(told)
        assert executor.slots == 1
        assert [device.slots for device in executor.devices] == [1]
    finally:
        executor.stop()
    here = importlib.metadata.version("torchvision").partition("+")[0]
    wrong = f"{late.node_id[:8]}) has torchvision 0.0.1, this machine has {here}"
    (line,) = said
    assert line.endswith(f"{wrong}: it is not used")
    with pytest.raises(SweepError, match="do not go together") as refused:
        RayExecutor(WorkerSetup(gpus=0.0, runner=training), nodes.address)
    assert str(refused.value).endswith(wrong)


@pytest.mark.slow
def test_what_a_class_had_begun_goes_on_where_there_still_are_nodes(
    make_nodes: Callable[..., Nodes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only node of a class is killed: its trees are trained from their start on the other."""
    monkeypatch.setattr(on_ray, "Worker", LightWorker)
    monkeypatch.setattr(binding, "UNBEGUN_PATIENCE_S", 1.0)
    monkeypatch.setattr(binding, "BEGUN_PATIENCE_S", 3.0)
    folder = tmp_path / "written"
    folder.mkdir()
    nodes = make_nodes(num_gpus=1)
    victim = nodes.add(gpus=1, **{CLASS: "other"})
    training = WrittenDown(folder, takes_s=0.3)
    store = Store(tmp_path / "results")
    executor = RayExecutor(WorkerSetup(gpus=0.25, runner=training), nodes.address)
    study = {**MANY, "seeds": list(range(1, 5)), "grid.teacher": ["small", "large"]}
    heard = Heard()
    summaries: list[Any] = []

    def train() -> None:
        with store.writing():
            wanted = demand(tiny_study(**study), store)
            summaries.append(run(wanted, store, executor, progress=heard))

    try:
        until(lambda: executor.classes == {"light": 4, "other": 4})
        thread = threading.Thread(target=train)
        thread.start()
        # Its teachers are trained and its students have begun.
        until(lambda: sum(one.node == victim.node_id for one in stages(read(folder))) >= 10)
        nodes.kill(victim)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    finally:
        executor.stop()
    (summary,) = summaries
    assert summary.exit_status == 0, summary.failures
    assert any(
        "on a class that is gone (other): they start again on light" in s for s in heard.said
    )
    whole = plan([cell.spec for cell in demand(tiny_study(**study), None).todo.values()])
    trained: dict[str, str] = {}
    for one in sorted(stages(read(folder)), key=lambda one: one.began):
        if one.ended is not None:
            parent = whole.stages[one.task].parent
            assert parent is None or trained[parent] == one.numerics
            trained[one.task] = one.numerics
    assert science(store).equals(science(undisturbed(tmp_path / "alone", **study)))


def by_kind(spec: TrialSpec, workshop: Any) -> Footprint:
    """Stands for GPUs of several kinds: the largest trial takes 9 GB, and computes a tenth of the time."""
    total = int(os.environ["PRETENDED_GB"])
    return Footprint(10**9 * (9 if spec.recipe.model == "medium" else 1), 10**9 * total, 0.1)


@pytest.mark.slow
def test_each_kind_of_gpu_is_measured(tmp_path: Path, make_nodes: Callable[..., Nodes]) -> None:
    nodes = make_nodes()
    for kind, gigabytes, gpus in (("old", "24", 2), ("new", "80", 1)):
        nodes.add(gpus, 16, {f"accelerator_type:{kind}": 1}, PRETENDED_GB=gigabytes)
    specs = tuple(cell.spec for cell in demand(tiny_study(), None).todo.values())
    setup = WorkerSetup(runner=FakeTraining(), probe=specs, prober=by_kind)
    executor = RayExecutor(setup, nodes.address)
    store = Store(tmp_path)
    try:
        # 0.9 of their memory holds two times 9 GB, or eight times.
        assert executor.slots == 2 * 2 + 8
        assert executor.news() == ["trials at a time, as measured: 8 on each new; 2 on each old"]
        with store.writing():
            assert run(demand(tiny_study(), store), store, executor).exit_status == 0
    finally:
        executor.stop()

"""Where the memory of a GPU runs out, fewer trials share it from then on, and nothing is lost."""

import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sweep.cells import demand
from sweep.execution import ray as on_ray
from sweep.execution.base import WorkerSetup
from sweep.execution.ray import RayExecutor
from sweep.run import run
from sweep.store import Store
from tests.sweep.light import LightWorker
from tests.sweep.tiny import FakeTraining, tiny_study
from trials.capacity import Footprint
from trials.spec import TrialSpec
from trials.task import StageTask


class Cramped(FakeTraining):
    """Training on a device that has room for two stages at a time.

    The first stages wait for a third, and all of them run out of memory at once.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def running(self) -> list[Path]:
        return list(self.folder.iterdir())

    def __call__(self, task: Any, *others: Any) -> Any:
        if not isinstance(task, StageTask):
            return super().__call__(task, *others)
        here = self.folder / uuid.uuid4().hex
        here.touch()
        once = self.folder.with_name("three were here")
        deadline = time.monotonic() + 60
        try:
            while not once.exists() and len(self.running()) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            once.touch()
            crowded = len(self.running()) > 2
            time.sleep(0.15)
            if crowded or len(self.running()) > 2:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return super().__call__(task, *others)
        finally:
            here.unlink()


@pytest.fixture(scope="module")
def one_gpu() -> Iterator[None]:
    """A Ray cluster that believes it has a GPU."""
    import ray

    ray.init(
        address="local", num_cpus=3, num_gpus=1, include_dashboard=False, log_to_driver=False,
        _node_ip_address="127.0.0.1", logging_level="ERROR",
    )  # fmt: skip
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained here: workers that do without torch start in a fraction of the time."""
    monkeypatch.setattr(on_ray, "Worker", LightWorker)


def rows_of(store: Store, columns: Sequence[str]) -> list[dict[str, Any]]:
    rows, _ = store.attempts.read(columns)
    found: list[dict[str, Any]] = rows.to_pylist()
    return found


def wait_until_started(executor: RayExecutor, timeout_s: float = 120.0) -> None:
    """On a busy machine the first worker would be done before the last has started."""
    deadline = time.monotonic() + timeout_s
    while not all(executor._place(slot) for slot in executor._idle):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_fewer_share_a_gpu_whose_memory_ran_out(tmp_path: Path, one_gpu: None) -> None:
    folder = tmp_path / "running"
    folder.mkdir()
    store = Store(tmp_path / "results")
    executor = RayExecutor(WorkerSetup(gpus=0.33, runner=Cramped(folder)))
    assert executor.slots == 3
    wait_until_started(executor)
    with store.writing():
        summary = run(demand(tiny_study(), store), store, executor)
    left = executor.slots
    executor.stop()
    assert (summary.done, summary.failed, summary.exit_status) == (8, 0, 0)
    # Never below what fits: with two left, none runs out.
    assert left == 2
    failed = [r for r in rows_of(store, ["status", "kind", "device", "beside"]) if r["kind"]]
    assert {(r["status"], r["kind"]) for r in failed} == {("retried", "cuda_out_of_memory")}
    assert all(r["device"].endswith("/GPU 0") for r in failed)
    # The victim may be innocent: who was there is known.
    assert max(len(r["beside"]) for r in failed) >= 2


def test_a_trial_that_does_not_fit_alone_fails(tmp_path: Path, one_gpu: None) -> None:
    store = Store(tmp_path / "results")
    training = FakeTraining(
        lambda task: (
            RuntimeError("CUDA out of memory") if task.spec.recipe.model == "small" else None
        )
    )
    executor = RayExecutor(WorkerSetup(gpus=0.5, runner=training))
    assert executor.slots == 2
    with store.writing():
        summary = run(demand(tiny_study(), store), store, executor)
    assert executor.slots == 1, "the last worker of a device is kept"
    executor.stop()
    assert (summary.done, summary.failed, summary.blocked) == (2, 2, 4)
    kinds = [r["kind"] for r in rows_of(store, ["status", "kind"]) if r["status"] == "failed"]
    assert kinds == ["cuda_out_of_memory"] * 2


def measured(spec: TrialSpec, workshop: Any) -> Footprint:
    """Stands for what a GPU would show: the student takes 9 of 24 GB and is busy half the time."""
    assert workshop is not None
    large = spec.recipe.model == "medium"
    return Footprint(10**9 * (9 if large else 1), 24 * 10**9, 0.5 if large else 1.0)


def test_the_number_of_trials_on_a_gpu_follows_from_what_one_takes(one_gpu: None) -> None:
    specs = tuple(cell.spec for cell in demand(tiny_study(), None).todo.values())
    setup = WorkerSetup(runner=FakeTraining(), probe=specs, prober=measured)
    executor = RayExecutor(setup)
    assert executor.slots == 2  # 0.9 x 24 GB hold two; two fill the time
    executor.stop()

"""A study in lanes: the same tables wherever it runs, and near those of eager steps."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

import data
import models
from data import catalog as datasets
from models import catalog as networks
from models.home import Dense
from sweep.cells import demand
from sweep.execution.base import Inputs, WorkerSetup
from sweep.execution.local import LocalExecutor
from sweep.execution.ray import LaneWorker, RayExecutor
from sweep.run import run
from sweep.service import Where, executor, run_study
from sweep.store import Store
from sweep.study import Study, load_study
from tests.sweep.executors import AnyOrder, Losses
from tests.sweep.tiny import science
from trials.engine import LANES
from trials.lanes import Lanes
from trials.task import StageTask

CPU: dict[str, Any] = {"gpus_per_trial": 0.0, "engine": "lanes"}
TRIALS, EPOCHS = 2 * (1 + 1 + 2 * 4), 12


def slope(folder: Path) -> data.RawArrays:
    """A bent plane in four dimensions, with noise."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(320, 4))
    y = np.sin(x @ [1.0, -0.5, 0.3, 0.0])[:, None] + 0.1 * rng.normal(size=(320, 1))
    return data.RawArrays(x[:250], y[:250], x[250:], y[250:])


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "_ENTRIES", dict(datasets._ENTRIES))
        patch.setattr(networks, "_entries", dict(networks._entries))
        entry = data.DatasetEntry(
            name="slope", task="regression", outputs=1, input_shape=(4,), prepare=slope
        )
        data.register(entry)
        models.register(models.ModelEntry("small", Dense((6,), dropouts=0), "slope"))
        models.register(models.ModelEntry("student", Dense((24, 12), dropouts=2), "slope"))
        yield


def study(**overrides: Any) -> Study:
    """Two seeds, two alphas, four switch epochs."""
    return load_study(
        {
            "name": "slopes",
            "seeds": [1, 2],
            "grid": {"teacher": ["small"], "alpha": [0.1, 0.6], "switch_epoch": [3, 6, 9, 12]},
            "recipe": {"epochs": EPOCHS, "batch_size": "full", "learning_rate": 0.02},
            "split": {"validation": 0.1},
            "evaluation": {"fgsm_epsilons": [0.05], "keep": "weights"},
            "datasets": {"slope": {}},
        },
        overrides,
    )


def stopping(**overrides: Any) -> Study:
    """Rates fall and trials stop at different epochs."""
    changed = {
        "recipe.learning_rate": 0.1,
        "recipe.lr_schedule": {"kind": "plateau", "factor": 0.5, "patience": 0},
        "recipe.early_stop": {"patience": 2, "restore_best": True},
    }
    return study(**changed, **overrides)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, _registered: None) -> Store:
    """The study in lanes, in this process."""
    store = Store(tmp_path_factory.mktemp("lanes"))
    summary = run_study(study(), store.layout.root, Where(local=True, **CPU))
    assert (summary.done, summary.exit_status) == (TRIALS, 0)
    return store


def assert_same(store: Store, expected: Store) -> None:
    assert science(store).equals(science(expected))
    one, other = (
        {path.name: path.read_bytes() for path in s.layout.weights("x").parent.iterdir()}
        for s in (store, expected)
    )
    assert one == other
    assert len(one) == science(store).num_rows


def test_every_trial_of_the_study_was_in_a_lane(undisturbed: Store) -> None:
    classes = science(undisturbed)["numerics_class"].unique().to_pylist()
    assert [text.rsplit("; ", 1)[1] for text in classes] == ["engine lanes"]


def test_forked_trials_equal_trials_run_alone(undisturbed: Store, tmp_path: Path) -> None:
    summary = run_study(study(), tmp_path, Where(local=True, **CPU), share=False)
    assert summary.epochs == TRIALS * EPOCHS
    assert_same(Store(tmp_path), undisturbed)


def test_tables_are_near_those_of_eager_steps(undisturbed: Store, tmp_path: Path) -> None:
    run_study(study(), tmp_path, Where(local=True, gpus_per_trial=0.0))
    lanes, eager = science(undisturbed).to_pylist(), science(Store(tmp_path)).to_pylist()
    for one, other in zip(lanes, eager, strict=True):
        assert other["numerics_class"].endswith("engine eager")
        assert one["trial_id"] == other["trial_id"]
        for column in ("test_metric", "test_loss", "validation_metric", "mae", "r2"):
            assert one[column] == pytest.approx(other[column], rel=1e-4)
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("workers", "share"),
    [pytest.param(2, True, marks=pytest.mark.slow), pytest.param(1, False, marks=pytest.mark.slow)],
)
def test_ray_workers_give_what_this_process_gives(
    workers: int, share: bool, undisturbed: Store, tmp_path: Path
) -> None:
    summary = run_study(study(), tmp_path, Where(workers=workers, **CPU), share=share)
    assert (summary.done, summary.exit_status, summary.slots) == (TRIALS, 0, workers)
    assert summary.utilisation is not None
    assert 0 < summary.utilisation <= 1
    assert_same(Store(tmp_path), undisturbed)
    # Many at a time in one worker: attempts overlap.
    rows, _ = Store(tmp_path).attempts.read(["worker", "started_at", "finished_at"])
    attempts = rows.to_pylist()
    most = max(
        sum(
            other["worker"] == one["worker"]
            and other["started_at"] <= one["started_at"] < other["finished_at"]
            for other in attempts
        )
        for one in attempts
    )
    assert most >= 2


@pytest.mark.parametrize("seed", range(3))
def test_lanes_in_any_company_with_lost_workers(
    seed: int, undisturbed: Store, tmp_path: Path
) -> None:
    chance = Random(seed)
    workers = AnyOrder(WorkerSetup(gpus=0.0, engine="lanes"), 6, chance, Losses(chance, 0.25))
    store = Store(tmp_path)
    with store.writing():
        summary = run(demand(study(), store), store, workers)
    workers.stop()
    assert (summary.done, summary.exit_status) == (TRIALS, 0)
    assert_same(store, undisturbed)


@pytest.mark.parametrize(
    ("where", "share"),
    [
        (Where(local=True, **CPU), False),
        pytest.param(Where(workers=2, **CPU), True, marks=pytest.mark.slow),
    ],
)
def test_trials_that_stop_early_side_by_side(where: Where, share: bool, tmp_path: Path) -> None:
    one, other = (Store(tmp_path / name) for name in ("one", "other"))
    run_study(stopping(), one.layout.root, Where(local=True, **CPU))
    run_study(stopping(), other.layout.root, where, share=share)
    assert len(set(science(one)["epochs_run"].to_pylist())) > 2
    assert_same(other, one)


@pytest.mark.slow
def test_networks_that_cannot_be_in_a_lane_run_beside(tmp_path: Path) -> None:
    mixed = study(**{"datasets.slope.teacher.recipe": {"batch_size": 25}, "seeds": [1]})
    stores = [Store(tmp_path / name) for name in ("local", "ray")]
    run_study(mixed, stores[0].layout.root, Where(local=True, **CPU))
    summary = run_study(mixed, stores[1].layout.root, Where(workers=2, **CPU))
    assert (summary.done, summary.exit_status) == (TRIALS // 2, 0)
    engines = {
        row["role"]: row["numerics_class"].rsplit(" ", 1)[1]
        for row in science(stores[0]).to_pylist()
    }
    assert engines == {"teacher": "eager", "baseline": "lanes", "student": "lanes"}
    assert_same(stores[1], stores[0])


def test_a_diverging_student_leaves_the_others_alone(undisturbed: Store, tmp_path: Path) -> None:
    wild = study(**{"grid.learning_rate": [0.02, 1e6]})
    summary = run_study(wild, tmp_path, Where(local=True, **CPU))
    assert summary.diverged > 0
    expected = {row["trial_id"]: row for row in science(undisturbed).to_pylist()}
    found = {row["trial_id"]: row for row in science(Store(tmp_path)).to_pylist()}
    assert set(expected) < set(found)
    for trial_id, row in expected.items():
        assert found[trial_id] == row


def _kill_a_worker(workers: RayExecutor, killed: list[int]) -> None:
    import ray

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        full = [g.slot for g in list(workers._running.values()) if g.slot.tasks >= 3]
        if full:
            # It answers between two epochs: the worker is in the middle of its stages.
            pid = ray.get(full[0].actor.__ray_call__.remote(lambda _: os.getpid()))
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.01)


@pytest.mark.slow
def test_a_worker_that_dies_loses_all_its_stages_once(undisturbed: Store, tmp_path: Path) -> None:
    store = Store(tmp_path)
    killed: list[int] = []
    with executor(Where(workers=2, **CPU)) as workers, store.writing():
        assert isinstance(workers, RayExecutor)
        killer = threading.Thread(target=_kill_a_worker, args=(workers, killed))
        killer.start()
        summary = run(demand(study(), store), store, workers)
        killer.join()
        assert workers.free == workers.slots == 2
    assert killed
    assert (summary.done, summary.exit_status) == (TRIALS, 0)
    rows, _ = store.attempts.read(["stage_key", "status", "kind", "message"])
    lost = [row for row in rows.to_pylist() if row["kind"] is not None]
    assert {(row["status"], row["kind"]) for row in lost} == {("retried", "worker_lost")}
    assert len({row["stage_key"] for row in lost}) >= 3
    assert_same(store, undisturbed)


def test_a_stage_that_cannot_begin_fails_alone() -> None:
    specs = [cell.spec for cell in demand(study(), None).todo.values() if cell.role == "baseline"]
    workers = LocalExecutor(WorkerSetup(gpus=0.0, engine="lanes"))
    for number, spec in enumerate(specs):
        start = b"no snapshot" if number == 0 else None
        workers.submit(str(number), StageTask(spec, 0, True, False, False), Inputs(start))
    ended = {end.task_id: end for _ in range(3) for end in workers.wait(0)}
    workers.stop()
    assert ended["0"].failure is not None
    assert "not a snapshot" in ended["0"].failure.message
    assert ended["1"].failure is None


class CrampedLanes(LaneWorker):
    """A worker whose device has no memory for what three do side by side, the first time."""

    def __init__(self, setup: WorkerSetup) -> None:
        super().__init__(setup)
        step, marker = Lanes.step, Path(os.environ["CRAMPED"])

        def cramped(lanes: Lanes) -> None:
            if lanes.free <= LANES - 3 and not marker.exists():
                marker.touch()
                lanes._replay = _no_memory
            step(lanes)

        Lanes.step = cramped  # type: ignore[method-assign]


def _no_memory(_: object) -> torch.Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.slow
def test_memory_that_runs_out_in_lanes_loses_nothing(
    undisturbed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.execution.ray.LaneWorker", CrampedLanes)
    monkeypatch.setenv("CRAMPED", str(tmp_path / "ran out"))
    store = Store(tmp_path / "results")
    with executor(Where(workers=2, **CPU)) as workers, store.writing():
        summary = run(demand(study(), store), store, workers)
        # Both workers are on one device, this machine's CPU: one was given up.
        assert workers.free == workers.slots == 1
    assert (summary.done, summary.exit_status) == (TRIALS, 0)
    rows, _ = store.attempts.read(["stage_key", "status", "kind"])
    failed = [row for row in rows.to_pylist() if row["kind"] is not None]
    kinds = {row["kind"] for row in failed}
    assert "cuda_out_of_memory" in kinds
    assert kinds <= {"cuda_out_of_memory", "worker_lost"}
    assert {row["status"] for row in failed} == {"retried"}
    assert len({row["stage_key"] for row in failed}) >= 3
    assert_same(store, undisturbed)

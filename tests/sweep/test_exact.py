"""Equal trials give equal bits, however they are run: the tables are compared whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.cells import demand
from sweep.execution.base import WorkerSetup
from sweep.filters import parse
from sweep.run import run
from sweep.service import Where, run_study
from sweep.store import Store
from sweep.study import Study
from tests.sweep.executors import AnyOrder, Losses
from tests.sweep.signals import as_in_a_terminal
from tests.sweep.tiny import science, tiny_study

CPU = {"gpus_per_trial": 0.0}
KEEP = {"evaluation.keep": "weights"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The tiny study, run in this process."""
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    summary = run_study(tiny_study(**KEEP), store.layout.root, Where(local=True, **CPU))
    assert (summary.done, summary.exit_status) == (8, 0)
    return store


def assert_same(store: Store, undisturbed: Store) -> None:
    """Equal tables, and equal bytes of every weights file."""
    assert science(store).equals(science(undisturbed))
    one, other = (
        {path.name: path.read_bytes() for path in s.layout.weights("x").parent.iterdir()}
        for s in (store, undisturbed)
    )
    assert one == other
    assert len(one) == 8


def test_forked_trials_equal_trials_run_alone(undisturbed: Store, tmp_path: Path) -> None:
    run_study(tiny_study(**KEEP), tmp_path, Where(local=True, **CPU), share=False)
    assert_same(Store(tmp_path), undisturbed)


@pytest.mark.parametrize(
    ("workers", "share"),
    [
        (2, True),
        pytest.param(1, True, marks=pytest.mark.slow),
        pytest.param(3, True, marks=pytest.mark.slow),
        pytest.param(3, False, marks=pytest.mark.slow),
    ],
)
def test_ray_workers_give_what_this_process_gives(
    workers: int, share: bool, undisturbed: Store, tmp_path: Path
) -> None:
    summary = run_study(tiny_study(**KEEP), tmp_path, Where(workers=workers, **CPU), share=share)
    assert (summary.done, summary.exit_status, summary.slots) == (8, 0, workers)
    assert summary.epochs == (22 if share else 24)
    assert_same(Store(tmp_path), undisturbed)


# Every stage is trained in earnest, and every fourth answer is lost with its worker.
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 6), share=st.booleans())
def test_any_order_and_any_number_of_slots_give_the_same(
    seed: int, slots: int, share: bool, undisturbed: Store
) -> None:
    chance = Random(seed)
    executor = AnyOrder(WorkerSetup(gpus=0.0), slots, chance, Losses(chance, 0.25))
    with TemporaryDirectory() as folder:
        store = Store(folder)
        with store.writing():
            summary = run(demand(tiny_study(**KEEP), store), store, executor, share=share)
        executor.stop()
        assert (summary.done, summary.exit_status) == (8, 0)
        assert summary.epochs == (22 if share else 24)
        assert_same(store, undisturbed)


def stopping_study(**overrides: Any) -> Study:
    """A rate at which trials stop early: some in the stage they share, some after the switch."""
    settings = {
        "grid.alpha": [0.1],
        "grid.switch_epoch": [0, 2, 4, 6, 9, 12],
        "recipe.epochs": 12,
        "recipe.learning_rate": 0.08,
        "recipe.lr_schedule": {"kind": "plateau", "factor": 0.5, "patience": 0},
        "recipe.early_stop": {"patience": 1, "restore_best": True},
        "evaluation.keep": "weights",
    }
    return tiny_study(**{**settings, **overrides})


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The study with early stops, in shared stages, in this process."""
    store = Store(tmp_path_factory.mktemp("stopped"))
    summary = run_study(stopping_study(), store.layout.root, Where(local=True, **CPU))
    assert (summary.done, summary.exit_status) == (14, 0)
    return store


def _assert_same(store: Store, expected: Store) -> None:
    assert science(store).equals(science(expected))
    weights = {path.name: path.read_bytes() for path in _weights(expected)}
    assert {path.name: path.read_bytes() for path in _weights(store)} == weights


def _weights(store: Store) -> list[Path]:
    return list(store.layout.weights("x").parent.iterdir())


def test_trials_that_stop_early_in_shared_stages_stop_so_alone(
    stopped: Store, tmp_path: Path
) -> None:
    rows = science(stopped).to_pylist()
    assert len(_weights(stopped)) == len(rows) == 14
    students = [row for row in rows if row["role"] == "student"]
    # In a stage that several share, and after the switch.
    shared = [r for r in students if r["stopped_epoch"] and r["stopped_epoch"] < r["switch_epoch"]]
    assert len(shared) >= 3
    assert {r["epochs_run"] for r in shared} < {r["epochs_run"] for r in students}
    for row in rows:
        assert row["epochs_run"] == (row["stopped_epoch"] or 12) == len(row["curve"])
        assert row["best_epoch"] <= row["epochs_run"]
        best = row["curve"][row["best_epoch"] - 1]
        assert (row["validation_metric"], row["validation_loss"]) == (best["metric"], best["loss"])
        assert len(row["robustness"]) == 1
    alone = run_study(stopping_study(), tmp_path, Where(local=True, **CPU), share=False)
    assert alone.epochs == sum(row["epochs_run"] for row in rows)
    _assert_same(Store(tmp_path), stopped)


@pytest.mark.slow
def test_early_stops_on_ray_workers_are_those_of_this_process(
    stopped: Store, tmp_path: Path
) -> None:
    run_study(stopping_study(), tmp_path, Where(workers=2, **CPU))
    _assert_same(Store(tmp_path), stopped)


def test_a_longer_study_goes_on_from_kept_states_that_stopped_early(tmp_path: Path) -> None:
    kept, fresh = tmp_path / "kept", tmp_path / "fresh"
    snapshots = {"evaluation.keep": "snapshot"}
    longer = stopping_study(**snapshots, **{"recipe.epochs": 14})
    here, only = Where(local=True, **CPU), parse(["role=baseline"])
    run_study(stopping_study(**snapshots), kept, here, only=only)
    before = {row["seed"]: row["epochs_run"] for row in science(Store(kept)).to_pylist()}
    continued = run_study(longer, kept, here, only=only)
    run_study(longer, fresh, here, only=only)
    expected = science(Store(fresh))
    trials = science(Store(kept))
    assert trials.filter(pc.is_in(trials["trial_id"], expected["trial_id"])).equals(expected)
    # One had stopped and needs nothing more, the other goes on.
    after = {row["seed"]: row["epochs_run"] for row in expected.to_pylist()}
    assert sorted(before.values())[0] < sorted(before.values())[1] == 12
    more = {seed: after[seed] - before[seed] for seed in after}
    assert sorted(more.values())[0] == 0 < sorted(more.values())[1]
    assert continued.epochs == sum(more.values())


SCRIPT = """
import sys
from sweep.filters import parse
from sweep.service import Where, run_study
from sweep.progress import PlainLines
from tests.sweep.signals import as_in_a_terminal
from tests.sweep.tiny import tiny_study
where = Where(local=sys.argv[2] == "local", workers=2, gpus_per_trial=0.0)
summary = run_study(tiny_study(), sys.argv[1], where, progress=PlainLines(sys.stdout, 0.0))
sys.exit(summary.exit_status)
"""


def _start(folder: Path, where: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-u", "-c", SCRIPT, str(folder), where],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        start_new_session=True,
        preexec_fn=as_in_a_terminal,
    )


def _wait_for_records(folder: Path, at_least: int, timeout_s: float = 120) -> None:
    store = Store(folder)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        rows, _ = store.trials.read(["trial_id"])
        if rows.num_rows >= at_least:
            return
        time.sleep(0.02)
    raise AssertionError("no records appeared")


@pytest.mark.parametrize(
    ("where", "number", "status"),
    [
        ("local", signal.SIGKILL, -signal.SIGKILL),
        ("local", signal.SIGINT, 130),
        pytest.param("ray", signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("ray", signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param("ray", signal.SIGTERM, 130, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_continues_without_repeating_a_finished_trial(
    where: str, number: int, status: int, undisturbed: Store, tmp_path: Path
) -> None:
    driver = _start(tmp_path, where)
    _wait_for_records(tmp_path, 2)
    os.kill(driver.pid, number)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == status, output
    store = Store(tmp_path)
    rows, damaged = store.trials.read(["trial_id", "finished_at"])
    before = dict(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))
    assert not damaged
    assert 2 <= len(before) < 8, "the run was to be stopped in the middle"

    summary = run_study(tiny_study(), tmp_path, Where(local=True, **CPU))
    assert (summary.exit_status, summary.already_done) == (0, len(before))
    rows, _ = store.trials.read(["trial_id", "finished_at"])
    after = dict(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))
    assert {trial_id: after[trial_id] for trial_id in before} == before, "a trial was repeated"
    assert science(store).equals(science(undisturbed))
    assert not list(store.layout.incoming.iterdir()), "everything lies in trials/ at the end"

"""Equal trials give equal bits, however they are run: the tables are compared whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweep.service import Where, run_study
from sweep.store import Store
from tests.sweep.tiny import science, tiny_study

CPU = {"gpus_per_trial": 0.0}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The tiny study, run in this process."""
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    summary = run_study(tiny_study(), store.layout.root, Where(local=True, **CPU))
    assert (summary.done, summary.exit_status) == (8, 0)
    return store


def test_forked_trials_equal_trials_run_alone(undisturbed: Store, tmp_path: Path) -> None:
    run_study(tiny_study(), tmp_path, Where(local=True, **CPU), share=False)
    assert science(Store(tmp_path)).equals(science(undisturbed))


def test_ray_workers_give_what_this_process_gives(undisturbed: Store, tmp_path: Path) -> None:
    summary = run_study(tiny_study(), tmp_path, Where(workers=2, **CPU))
    assert (summary.done, summary.exit_status, summary.slots) == (8, 0, 2)
    assert science(Store(tmp_path)).equals(science(undisturbed))
    for path in undisturbed.layout.weights("x").parent.iterdir():
        assert (tmp_path / "weights" / path.name).read_bytes() == path.read_bytes()


SCRIPT = """
import sys
from sweep.service import Where, run_study
from sweep.progress import PlainLines
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

"""Clusters that the scripts start, as processes of this machine: containers, an allocation, an array."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from sweep.merge import merge
from sweep.service import Where, run_study
from sweep.store import Store
from sweep.study import load_study
from tests.docker.machines import (
    DOCKER,
    PATIENCE_S,
    SCONTROL,
    SRUN,
    STUDY,
    commands,
    end,
    environment,
    free_port,
    node,
    running,
    until,
)  # fmt: skip
from tests.sweep.tiny import science

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="Ray has clusters on Linux alone"),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "tiny.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def expected(study: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """What one process gives."""
    folder = tmp_path_factory.mktemp("alone")
    where = Where(local=True, gpus_per_trial=0.0)
    assert run_study(load_study(study), folder, where).exit_status == 0
    return science(Store(folder))


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder of a short name: the names of Ray's sockets must fit."""
    with tempfile.TemporaryDirectory(prefix="sweep-", dir="/tmp") as folder:
        yield Path(folder)


def test_a_head_and_two_workers_run_a_study(
    tmp_path: Path, study: Path, expected: pa.Table
) -> None:
    token = tmp_path / "token"
    token.write_text("ab" * 32)
    port, dashboard, agent = free_port(), free_port(), free_port()
    address = f"127.0.0.1:{port}"
    env = environment(
        commands(tmp_path / "bin"), RAY_AUTH_TOKEN_PATH=str(token), RAY_AUTH_MODE="token",
        SWEEP_DASHBOARD_PORT=str(dashboard), SWEEP_AGENT_PORT=str(agent),
    )  # fmt: skip

    def said(*words: object, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            list(map(str, words)), env=env | changes, capture_output=True, text=True
        )

    with short_folder() as folder:
        started = [
            node(
                env, tmp_path / "head.log", "head", "--node-ip-address=127.0.0.1", f"--port={port}",
                "--num-cpus=0", f"--dashboard-port={dashboard}", f"--temp-dir={folder}/h",
                f"--dashboard-agent-listen-port={agent}",
            )
        ]  # fmt: skip
        try:
            # These begin before there is a head, and wait for it.
            for name in ("a", "b"):
                started.append(
                    node(
                        env, tmp_path / f"{name}.log", "worker", address, "--num-cpus=1",
                        f"--temp-dir={folder}/{name}", "--dashboard-agent-listen-port=0",
                    )
                )  # fmt: skip
            until(
                lambda: "/2.0 CPU" in said("ray", "status", "--address", address).stdout, started[0]
            )
            until(lambda: said(DOCKER / "node.sh", "health", "head").returncode == 0, started[0])
            assert said(DOCKER / "node.sh", "health").stdout == "success\n"
            other = said(
                DOCKER / "node.sh", "worker", address, RAY_AUTH_TOKEN="cd", SWEEP_WAIT_S="0"
            )
            assert other.returncode == 1
            assert "or it has another token" in other.stderr
            done = said("sweep", "run", study, "--results", tmp_path / "out", "--address", address)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "on 2 workers" in done.stdout
            workers = [one for one in started[1:] if one.poll() is None]
            assert len(workers) == 2
        finally:
            end(*reversed(started))
        until(lambda: not running(folder))
    assert said(DOCKER / "node.sh", "health").returncode == 1
    assert science(Store(tmp_path / "out")).equals(expected)


def allocation(folder: Path, **changes: str) -> dict[str, str]:
    """The variables of a job with two nodes, both of which are this machine."""
    return environment(
        commands(folder / "bin", scontrol=SCONTROL, srun=SRUN),
        SLURM_JOB_ID="7", SLURM_JOB_NODELIST="localhost,other", SLURM_CPUS_PER_TASK="1",
        SLURM_SUBMIT_DIR=str(folder), SWEEP_SCRIPTS=str(DOCKER), SWEEP_HEAD_IP="127.0.0.1",
        SWEEP_PORT=str(free_port(above=10000)), SRUN_LOG=str(folder / "srun.log"), **changes,
    )  # fmt: skip


def job(env: dict[str, str], log: Path, *words: object) -> "subprocess.Popen[bytes]":
    """`cluster.sh` as Slurm runs it: a copy, from somewhere else."""
    copied = log.parent / "slurm_script"
    copied.write_bytes((DOCKER / "slurm" / "cluster.sh").read_bytes())
    with log.open("wb") as out:
        return subprocess.Popen(
            ["bash", copied, *map(str, words)], env=env, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip


def test_an_allocation_runs_a_study_on_all_its_nodes(
    tmp_path: Path, study: Path, expected: pa.Table
) -> None:
    env = allocation(tmp_path)
    log = tmp_path / "job.log"
    process = job(env, log, study, tmp_path / "out")
    try:
        assert process.wait(PATIENCE_S) == 0, log.read_text()
    finally:
        end(process)
    assert "on 2 workers" in log.read_text()
    assert science(Store(tmp_path / "out")).equals(expected)
    asked = (tmp_path / "srun.log").read_text()
    assert "--nodes=1 --ntasks=1" in asked
    assert "--nodelist=other" in asked
    assert "token 600" in asked, "nobody else can read it"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "bin", "job.log", "out", "slurm_script", "srun.log",
    ], "the token is gone"  # fmt: skip
    assert not running(f"127.0.0.1:{env['SWEEP_PORT']}")


def test_a_job_that_is_ended_keeps_what_is_finished_and_leaves_nothing_behind(
    tmp_path: Path, study: Path
) -> None:
    env = allocation(tmp_path)
    more = ("--set", "recipe.epochs=40", "--set", "grid.switch_epoch=[10, 20, 30]", "--set",
            "seeds=[1, 2, 3, 4, 5, 6]")  # fmt: skip
    log = tmp_path / "job.log"
    process = job(env, log, study, tmp_path / "out", *more)
    store = Store(tmp_path / "out")
    try:
        until(lambda: store.is_there() and store.trials.files(), process)
        process.terminate()
        assert process.wait(PATIENCE_S) == 130, log.read_text()
    finally:
        end(process)
    kept = len(store.trials.read(["trial_id"])[0])
    assert 0 < kept < 6 * (1 + 1 + 6)
    assert not running(f"127.0.0.1:{env['SWEEP_PORT']}")
    assert not list(tmp_path.glob(".sweep-7-*"))
    assert not list(Path("/tmp").glob("sweep-7-*"))


def test_the_tasks_of_an_array_joined_are_the_run_in_one_piece(
    tmp_path: Path, study: Path, expected: pa.Table
) -> None:
    env = environment(commands(tmp_path / "bin"), SLURM_CPUS_PER_TASK="1")
    for part in ("1", "2", "3"):
        done = subprocess.run(
            [DOCKER / "slurm" / "array.sh", study, "3", tmp_path / "out", "--local"],
            env=env | {"SLURM_ARRAY_TASK_ID": part}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    parts = sorted((tmp_path / "out").glob("shard-*"))
    assert [part.name for part in parts] == ["shard-1", "shard-2", "shard-3"]
    joined = Store(tmp_path / "joined")
    assert merge(list(map(Store, parts)), joined).exit_status == 0
    assert science(joined).equals(expected)

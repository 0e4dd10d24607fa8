"""The scripts of a cluster: what they refuse, and what they hand on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.machines import DOCKER, commands, environment

SCRIPTS = sorted(DOCKER.rglob("*.sh"))
ARRAY, CLUSTER = DOCKER / "slurm" / "array.sh", DOCKER / "slurm" / "cluster.sh"
TELL = (
    '#!/bin/sh\nprintf "%s|" "$(basename "$0")" "$@"\necho "$RAY_AUTH_MODE $RAY_AUTH_TOKEN_PATH"\n'
)


def call(*words: object, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(list(map(str, words)), env=env, capture_output=True, text=True)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where `ray` and `sweep` say what they were asked for."""
    return commands(tmp_path / "bin", ray=TELL, sweep=TELL)


@pytest.fixture
def token(tmp_path: Path) -> str:
    file = tmp_path / "token"
    file.write_text("ab" * 32)
    return str(file)


def test_there_are_scripts_that_can_be_run() -> None:
    assert [str(s.relative_to(DOCKER)) for s in SCRIPTS] == [
        "node.sh", "slurm/array.sh", "slurm/cluster.sh", "slurm/worker.sh",
    ]  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_scripts_are_sound_and_stop_at_the_first_mistake(script: Path) -> None:
    shell, *rest = script.read_text("utf-8").splitlines()
    assert os.access(script, os.X_OK)
    bash = shell == "#!/usr/bin/env bash"
    assert bash or shell == "#!/bin/sh"
    assert ("set -euo pipefail" if bash else "set -eu") in rest
    done = subprocess.run(["bash" if bash else "sh", "-n", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_nodes_start_with_a_token_and_hand_on_their_options(path: str, token: str) -> None:
    env = environment(path, RAY_AUTH_TOKEN_PATH=token)
    head = call(DOCKER / "node.sh", "head", "--num-cpus=0", env=env)
    common = "--block|--disable-usage-stats|"
    assert head.stdout == (
        f"ray|start|--head|{common}--include-dashboard=true|--num-cpus=0|token {token}\n"
    )
    worker = call(DOCKER / "node.sh", "worker", "head:6379", "--num-cpus", "2", env=env)
    assert worker.stdout == (f"ray|start|--address|head:6379|{common}--num-cpus|2|token {token}\n")
    given = environment(path, RAY_AUTH_TOKEN="ab")
    assert call(DOCKER / "node.sh", "head", env=given).stdout.endswith("|token \n")


@pytest.mark.parametrize("content", [None, ""])
def test_nothing_is_started_without_a_token(path: str, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "absent"
    if content is not None:
        file.write_text(content)
    env = environment(path, RAY_AUTH_TOKEN_PATH=str(file), RAY_AUTH_MODE="disabled")
    for words in (["head"], ["worker", "head:6379"]):
        done = call(DOCKER / "node.sh", *words, env=env)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"no token can be read from {file}" in done.stderr


@pytest.mark.parametrize("words", [[], ["worker"], ["other"]])
def test_mistakes_are_named(path: str, token: str, words: list[str]) -> None:
    done = call(DOCKER / "node.sh", *words, env=environment(path, RAY_AUTH_TOKEN_PATH=token))
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: node.sh head|worker HOST:PORT|health" in done.stderr


def test_a_worker_gives_up_a_head_that_does_not_answer(tmp_path: Path, token: str) -> None:
    path = commands(tmp_path / "bin", ray='#!/bin/sh\n[ "$1" != health-check ]\n')
    env = environment(path, RAY_AUTH_TOKEN_PATH=token, SWEEP_WAIT_S="0")
    done = call(DOCKER / "node.sh", "worker", "head:6379", env=env)
    assert done.returncode == 1
    assert "no head answers at head:6379, or it has another token" in done.stderr


def test_health_without_ray_is_bad_health() -> None:
    env = environment(os.environ["PATH"], SWEEP_AGENT_PORT="1", SWEEP_DASHBOARD_PORT="1")
    for words, lines in (([], 1), (["head"], 2)):
        done = call(sys.executable, DOCKER / "health.py", *words, env=env)
        assert done.returncode == 1
        assert len(done.stdout.splitlines()) == lines


def test_a_task_of_an_array_does_its_part(path: str) -> None:
    env = environment(path, SLURM_ARRAY_TASK_ID="3", SLURM_CPUS_PER_TASK="4")
    # Given again alone, Slurm would say that there is one task: the number of parts is an argument.
    env |= {"SLURM_ARRAY_TASK_COUNT": "1", "SLURM_ARRAY_TASK_MAX": "3"}
    done = call(ARRAY, "my study.toml", "8", "out", "--set", "recipe.epochs=2", env=env)
    assert done.stdout.strip() == (
        "sweep|run|my study.toml|--shard|3/8|--results|out/shard-3|--workers|4|--set|recipe.epochs=2|"
    )
    done = call(ARRAY, "s", "8", "out", env=env | {"TEACHERS": "old"})
    assert done.stdout.splitlines()[0].strip() == "sweep|merge|old|out/shard-3|"
    assert len(done.stdout.splitlines()) == 2


def test_scripts_for_slurm_say_how_they_are_used(path: str) -> None:
    env = environment(path)
    for script, words, said in (
        (ARRAY, ["s", "8"], "usage: sbatch"),
        (ARRAY, ["s", "8", "out"], "is set for the tasks of an array"),
        (CLUSTER, ["s"], "usage: sbatch"),
        (CLUSTER, ["s", "out"], "is set within a job"),
    ):
        done = call(script, *words, env=env)
        assert done.returncode != 0
        assert (done.stdout, said in done.stderr) == ("", True), done.stderr
    done = call(CLUSTER, "s", "out", env=env | {"SLURM_JOB_ID": "7", "SLURM_SUBMIT_DIR": "/none"})
    assert "no /none/docker/node.sh; submit from the checkout" in done.stderr


def test_a_head_that_others_cannot_reach_is_refused_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    scontrol = "#!/bin/sh\nprintf 'localhost\\nother\\n'\n"
    env = environment(
        commands(tmp_path / "bin", scontrol=scontrol), SLURM_JOB_ID="7", SLURM_JOB_NODELIST="x",
        SWEEP_SCRIPTS=str(DOCKER), SWEEP_SHARED=str(tmp_path),
    )  # fmt: skip
    done = call(CLUSTER, "s", "out", env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert "give the address others reach it at in SWEEP_HEAD_IP" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["bin"]

"""The service that lets processes share a GPU: with a program that stands in for NVIDIA's."""

import os
from pathlib import Path

import pytest

from sweep.execution import mps
from sweep.scratch import Scratch

PROGRAM = """#!/bin/sh
echo "$1 $(cat) $CUDA_MPS_PIPE_DIRECTORY" >> "$MPS_LOG"
[ "$1" = -d ] && exit "$MPS_STATUS"
exit 0
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / mps.CONTROL
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("MPS_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("MPS_STATUS", "0")
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    return tmp_path / "log"


def test_it_is_started_for_those_within_and_ended(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mps, "_TRY", "pass")
    with Scratch() as scratch:
        with mps.service(scratch) as runs:
            folder = os.environ["CUDA_MPS_PIPE_DIRECTORY"]
            assert runs
            assert Path(folder).is_dir()
        assert "CUDA_MPS_PIPE_DIRECTORY" not in os.environ
    assert log.read_text().splitlines() == [f"-d  {folder}", f" quit {folder}"]
    assert not Path(folder).exists()


@pytest.mark.parametrize(("status", "trial"), [("1", "pass"), ("0", "raise SystemExit(1)")])
def test_it_is_left_out_where_it_or_a_process_under_it_does_not_work(
    log: Path, status: str, trial: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPS_STATUS", status)
    monkeypatch.setattr(mps, "_TRY", trial)
    with Scratch() as scratch, mps.service(scratch) as runs:
        assert not runs
        assert "CUDA_MPS_PIPE_DIRECTORY" not in os.environ
    assert log.read_text().splitlines()[-1].split()[0] == "quit"


def test_one_that_runs_is_left_alone(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/somewhere")
    with Scratch() as scratch, mps.service(scratch) as runs:
        assert runs
    assert os.environ["CUDA_MPS_PIPE_DIRECTORY"] == "/somewhere"
    assert not log.exists()


def test_it_is_left_out_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with Scratch() as scratch, mps.service(scratch) as runs:
        assert not runs

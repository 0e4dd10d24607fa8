"""`--log-json`: a run with forced failures, as a program reads it from a file and from a pipe."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sweep import cli, service
from sweep.results import Results
from tests.sweep.test_cli import STUDY, TRIALS
from tests.sweep.tiny import FakeTraining


def called(patch: pytest.MonkeyPatch, *arguments: object) -> int:
    patch.setattr(sys, "argv", ["sweep", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def lines(content: str) -> list[dict[str, Any]]:
    assert content.endswith("\n")
    return [json.loads(text) for text in content.splitlines()]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    return path


def fake(patch: pytest.MonkeyPatch, training: FakeTraining) -> None:
    real = service.executor
    patch.setattr(service, "_fetch_data", lambda *_: None)
    patch.setattr(service, "executor", lambda where, **_: real(where, runner=training))


def test_a_run_with_failures_and_its_retry_are_logged_whole(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, folder = study.parent / "run.jsonl", study.parent / "results"
    broken = True
    training = FakeTraining(
        lambda task: ValueError("boom") if broken and task.start_epoch and task.teachers else None
    )
    fake(monkeypatch, training)
    command = [study, "--local", "--results", folder, "--log-json", log]
    with monkeypatch.context() as patch:
        assert called(patch, "run", *command) == 1
    found = lines(log.read_text())
    trials = Results(folder).trials()
    attempts = Results(folder).attempts()
    assert [row["event"] for row in found][:: len(found) - 1] == ["run_started", "run_ended"]
    done = Counter(row["trial_id"] for row in found if row["event"] == "trial_done")
    assert done == Counter(trials["trial_id"])
    failed = [row for row in found if row["event"] == "trial_failed"]
    expected = attempts[attempts["status"] == "failed"]
    assert len(expected) == 2
    assert sorted((r["trial_id"], r["attempt"], r["kind"]) for r in failed) == sorted(
        zip(expected["trial_id"], expected["number"], expected["kind"], strict=True)
    )
    assert {row["level"] for row in failed} == {"error"}
    assert all(row["study"] == "tiny" for row in found)
    assert "2 failed" in found[-1]["message"]

    broken = False
    with monkeypatch.context() as patch:
        assert called(patch, "retry", *command) == 0
    again = lines(log.read_text())
    assert again[: len(found)] == found
    done = Counter(row["trial_id"] for row in again if row["event"] == "trial_done")
    assert done == Counter(Results(folder).trials()["trial_id"])
    assert len(done) == TRIALS
    second = [row for row in again[len(found) :] if row["event"] == "trial_done"]
    assert {row["attempt"] for row in second} == {2}


def test_the_standard_output_is_the_logs_alone(
    study: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fake(monkeypatch, FakeTraining())
    folder = study.parent / "results"
    assert called(monkeypatch, "run", study, "--local", "--results", folder, "--log-json", "-") == 0
    out, err = capfd.readouterr()
    assert Counter(row["event"] for row in lines(out))["trial_done"] == TRIALS
    assert f"{TRIALS} trained" in err


@pytest.mark.slow
def test_a_panel_on_a_terminal_does_not_reach_the_log(study: Path) -> None:
    """The panel draws on a pretended terminal while the log goes to a file."""
    log, folder = study.parent / "run.jsonl", study.parent / "results"
    terminal, end = os.openpty()
    command = "from sweep.cli import main; main()"
    run = subprocess.Popen(
        [sys.executable, "-c", command, "run", str(study), "--local", "--results", str(folder),
         "--log-json", str(log)],
        stdout=end, stderr=end,
    )  # fmt: skip
    os.close(end)
    drawn = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # how a terminal says that nobody writes to it any more
            break
        if not part:
            break
        drawn += part
    os.close(terminal)
    assert run.wait() == 0
    found = lines(log.read_text())
    assert Counter(row["event"] for row in found)["trial_done"] == TRIALS
    assert b"trial_done" not in drawn
    assert b"\x1b[" in drawn  # it was drawn as on a terminal
    # The same process measures what it kept: one line per network.
    evaluated = subprocess.run(
        [sys.executable, "-c", command, "evaluate", str(study), "--local", "--results", str(folder),
         "--fgsm-epsilons", "0.02", "--log-json", "-"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = lines(evaluated.stdout)
    assert [row["event"] for row in found][:: len(found) - 1] == ["run_started", "run_ended"]
    measured = [row["trial_id"] for row in found if row["event"] == "trial_evaluated"]
    assert sorted(measured) == sorted(Results(folder).trials()["trial_id"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--json", "--log-json", "-"], "--json and --log-json - both write"),
        (["--log-json", "/nowhere/run.jsonl"], "--log-json '/nowhere/run.jsonl': No such file"),
    ],
)
def test_a_log_that_cannot_be_is_refused_before_anything_is_trained(
    study: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    options: list[str], said: str,
) -> None:  # fmt: skip
    folder = study.parent / "results"
    assert called(monkeypatch, "run", study, "--local", "--results", folder, *options) == 2
    assert said in capfd.readouterr().err
    assert not folder.exists()

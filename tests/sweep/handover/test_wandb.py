"""What wandb's own reader of its files finds, and that they are framed as it frames them."""

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.handover.handed import Curve
from sweep.handover.handing import hand_over
from sweep.handover.wandb_offline import BLOCK_BYTES, HEADER, as_json, framed, rows
from sweep.results import Results
from tests.sweep.handover.made import BEGAN, STUDY
from tests.sweep.handover.wandb_server import wandb_server


def unframed(content: bytes) -> list[bytes]:
    """Records of a log: written anew from the format's description."""
    assert content[: len(HEADER)] == HEADER
    found, pieces, at = [], [], len(HEADER)
    while at < len(content):
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < 7:
            assert content[at : at + left] == bytes(left)
            at += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", content, at)
        assert length <= left - 7
        piece = content[at + 7 : at + 7 + length]
        assert checksum == zlib.crc32(content[at + 6 : at + 7 + length])
        assert (kind in (1, 2)) == (not pieces)
        pieces.append(piece)
        at += 7 + length
        if kind in (1, 4):
            found.append(b"".join(pieces))
            pieces = []
    assert not pieces
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda size, fill: bytes([fill]) * size,
            st.one_of(
                st.integers(0, 200),
                st.integers(BLOCK_BYTES - 30, BLOCK_BYTES + 30),
                st.integers(0, 3 * BLOCK_BYTES),
            ),
            st.integers(0, 255),
        ),
        max_size=6,
    )
)
def test_records_come_back(records: list[bytes]) -> None:
    assert unframed(HEADER + framed(records)) == records


def test_rows_stand_at_the_steps_of_their_epochs() -> None:
    curves = (
        Curve("train/loss", "step", (10, 20, 40), (3.0, 2.0, 1.0)),
        Curve("epochs/loss", "epoch", (1, 2), (5.0, 4.0)),
        Curve("epochs/accuracy_percent", "epoch", (1, 2), (50.0, 60.0)),
    )
    assert list(rows(curves, 20).items()) == [
        (10, {"train/loss": 3.0}),
        (20, {"train/loss": 2.0, "epoch": 1, "epochs/loss": 5.0, "epochs/accuracy_percent": 50.0}),
        (40, {"train/loss": 1.0, "epoch": 2, "epochs/loss": 4.0, "epochs/accuracy_percent": 60.0}),
    ]


def test_what_json_has_no_number_for_is_a_text() -> None:
    values = [1.5, float("nan"), float("inf"), float("-inf"), "a", 3]
    assert [as_json(v) for v in values] == [
        "1.5", '"NaN"', '"Infinity"', '"-Infinity"', '"a"', "3",
    ]  # fmt: skip


def inspected(folder: Path) -> list[dict[str, Any]]:
    """The records of a run as `wandb leet inspect` reads them; it has no network to reach."""
    found = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)],
        capture_output=True, text=True, check=True,
        env={**os.environ, "WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false",
             "WANDB_BASE_URL": "http://127.0.0.1:9"},
    )  # fmt: skip
    return [json.loads(text) for text in found.stdout.splitlines()]


def of(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in records if record["type"] == kind]


def test_wandb_reads_what_the_store_holds(results: Results, tmp_path: Path) -> None:
    hand_over(results, STUDY, "wandb-offline", tmp_path / "out")
    trials = results.trials()
    row = trials[(trials["status"] == "done") & (trials["role"] == "student")].iloc[0]
    root = tmp_path / "out" / STUDY / "wandb"
    records = inspected(root / f"offline-run-20260301_120000-{row['trial_id']}")
    assert [record["num"] for record in records] == list(range(1, len(records) + 1))
    (run,) = of(records, "run")
    assert (run["run_id"], run["project"]) == (row["trial_id"], STUDY)
    assert run["display_name"].endswith(f"seed {row['seed']}")
    assert run["run_group"] == run["display_name"].rpartition(" seed ")[0]
    assert run["start_time"] == "2026-03-01T12:00:00.250Z"
    assert run["job_type"] == "student"
    config = run["config"]["update"]
    assert (config["alpha"], config["seed"]) == (row["alpha"], row["seed"])
    assert config["code_version"] == row["code_version"]
    history = [record["item"] for record in of(records, "history")]
    losses = [(item["_step"], item["train/loss"]) for item in history if "train/loss" in item]
    assert losses == list(zip(row["train_loss_step"], row["train_loss"], strict=True))
    epochs = {item["epoch"]: item for item in history if "epoch" in item}
    assert {key: item["epochs/validation/loss"] for key, item in epochs.items()} == {
        1: 2.0, 2: 1.0, 3: 2 / 3,
    }  # fmt: skip
    assert {key: item["_step"] for key, item in epochs.items()} == {1: 20, 2: 40, 3: 60}
    assert [item["_step"] for item in history] == sorted({item["_step"] for item in history})
    (summary,) = of(records, "summary")
    assert summary["update"]["test/accuracy_percent"] == row["test_metric"]
    assert summary["update"]["robustness/fgsm_0.05/accuracy_percent"] == row["test_metric"] / 2
    assert summary["update"]["_timestamp"] == BEGAN.timestamp() + 20
    (end,) = of(records, "exit")
    assert end.get("exit_code", 0) == 0


def test_what_failed_or_diverged_is_a_failed_run(results: Results, tmp_path: Path) -> None:
    hand_over(results, STUDY, "wandb-offline", tmp_path / "out")
    trials = results.trials()
    root = tmp_path / "out" / STUDY / "wandb"
    (diverged,) = trials[trials["status"] == "diverged"]["trial_id"]
    (failed,) = set(results.attempts()["trial_id"]) - set(trials["trial_id"])
    for trial_id, said in ((diverged, "diverged: went"), (failed, "bug: went wrong in attempt 2")):
        (folder,) = root.glob(f"*-{trial_id}")
        records = inspected(folder)
        assert of(records, "exit")[0]["exit_code"] == 1
        assert said in of(records, "run")[0]["notes"]
        if trial_id == diverged:
            history = [record["item"]["train/loss"] for record in of(records, "history")]
            assert history == [1.0, "Infinity", "NaN"]


def test_what_was_sent_on_is_to_be_sent_again_when_it_changes(
    results: Results, tmp_path: Path
) -> None:
    hand_over(results, STUDY, "wandb-offline", tmp_path / "out")
    files = sorted((tmp_path / "out").rglob("*.wandb"))
    marks = [file.with_name(f"{file.name}.synced") for file in files]
    for mark in marks:
        mark.touch()
    hand_over(results, STUDY, "wandb-offline", tmp_path / "out")
    assert all(mark.exists() for mark in marks)
    shutil.rmtree(tmp_path / "kept", ignore_errors=True)
    files[0].write_bytes(b"half")
    hand_over(results, STUDY, "wandb-offline", tmp_path / "out")
    assert [mark.exists() for mark in marks] == [False, *[True] * (len(marks) - 1)]


@pytest.mark.slow
def test_wandb_sync_sends_all_of_it_on(results: Results, tmp_path: Path) -> None:
    hand_over(results, STUDY, "wandb-offline", tmp_path / "out")
    with wandb_server() as (address, sent):
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "sync", str(tmp_path / "out" / STUDY / "wandb")],
            capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
            env={**os.environ, "HOME": str(tmp_path), "WANDB_API_KEY": 40 * "a",
                 "WANDB_BASE_URL": address, "WANDB_ERROR_REPORTING": "false"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = results.trials().set_index("trial_id")
    assert sent.runs.keys() > set(trials.index)
    assert len(sent.runs) == len(trials) + 1
    for trial_id, row in trials.iterrows():
        run = sent.runs[str(trial_id)]
        assert (run["project"], run["jobType"]) == (STUDY, row["role"])
        config = json.loads(run["config"])
        assert config["seed"]["value"] == row["seed"]
        losses = {
            item["_step"]: item["train/loss"]
            for item in sent.history[str(trial_id)]
            if "train/loss" in item
        }
        done = row["status"] == "done"
        assert sent.exits[str(trial_id)] == (0 if done else 1)
        if done:
            steps = row["train_loss_step"], row["train_loss"]
            assert losses == dict(zip(*steps, strict=True))
            summary = sent.summary[str(trial_id)]
            assert summary["test/accuracy_percent"] == row["test_metric"]
    files = sorted((tmp_path / "out").rglob("*.wandb"))
    assert all(file.with_name(f"{file.name}.synced").exists() for file in files)
    again = hand_over(results, STUDY, "wandb-offline", tmp_path / "out")
    assert again.unchanged == len(sent.runs)

"""Results in places with odd names or of the wrong kind, and weights that are damaged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.errors import DamagedError, StoreError
from sweep.query import query
from sweep.records import trial_row
from sweep.results import Results
from sweep.store import Store
from tests.sweep.test_results import Asked
from tests.sweep.tiny import result


def command(*arguments: str | bytes, folder: Path) -> "subprocess.CompletedProcess[bytes]":
    """The real command, where output that cannot be encoded is an error."""
    return subprocess.run(
        [sys.executable, "-c", "from sweep.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"r\xff\xfe \n")
    asked = Asked(tmp_path / name)
    asked.store.trials.publish([trial_row(asked.cells[0], result())])
    sql = "SELECT count(*) AS n FROM trials"
    assert query(tmp_path / name, sql).to_pylist() == [{"n": 1}]
    done = command("query", sql, "--json", "--results", b"r\xff\xfe \n", folder=tmp_path)
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, [{"n": 1}], b"")
    kept = asked.store.layout.weights(asked.cells[0].trial_id)
    kept.parent.mkdir()
    kept.write_bytes(b"weights")
    for form in ([], ["--json"]):
        show = ("show", asked.cells[0].trial_id, *form, "--results", b"r\xff\xfe \n")
        done = command(*show, folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, b"")
    assert tmp_path / json.loads(done.stdout)["weights"] == kept
    done = command("status", "--results", b"no\xff", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == b"sweep: results directory 'no\\udcff' does not exist\n"


@pytest.mark.parametrize("what", ["status", "trials", "query"])
def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").write_text("")
    sql = ["SELECT 1"] if what == "query" else []
    done = command(what, *sql, "--results", "file", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(b"sweep: results directory 'file' ")
    (tmp_path / "results" / "trials" / "x.parquet").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"cannot read .*x\.parquet: Is a directory"):
        query(tmp_path / "results", "SELECT * FROM trials")


def test_a_run_into_a_file_is_refused_before_it_trains(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(StoreError, match=r"cannot write to .*file: "),
        Store(tmp_path / "file").writing(),
    ):
        pass
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"weights", (2**60).to_bytes(8, "little") + bytes(100)])
def test_damaged_weights_are_named(tmp_path: Path, content: bytes) -> None:
    asked = Asked(tmp_path)
    cell = asked.cells[0]
    asked.store.trials.publish([trial_row(cell, result())])
    path = asked.store.layout.weights(cell.trial_id)
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DamagedError) as caught:
        Results(tmp_path).model(cell.trial_id)
    assert f"{path} is damaged" in str(caught.value)

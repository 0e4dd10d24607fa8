"""The commands on imported results, and answers of queries as files, in this process."""

from pathlib import Path

import pandas as pd
import pytest

from tests.sweep.test_cli import Sweep, sweep
from tests.sweep.test_importing import ROWS, parquet

__all__ = ["sweep"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("imports")


@pytest.fixture
def results(folder: Path, sweep: Sweep) -> Path:
    table = parquet(folder, [r | {"colour": "red"} for r in ROWS])
    options = ("--study", "old", "--title", "Old ones", "--drop", "colour")
    sweep("import", table, *options, "--results", folder / "results")
    return folder / "results"


def test_import_says_what_it_did(sweep: Sweep, tmp_path: Path) -> None:
    command = ("import", parquet(tmp_path), "--study", "old", "--results", tmp_path / "r")
    out = sweep(*command)
    assert "old: 8 rows, 7 with a result, 1 without; 7 trials added to" in out
    assert "nothing has changed" in sweep(*command)
    assert sweep.json(*command)["added"] == 0
    sweep("import", tmp_path / "none.csv", "--study", "old", status=2)
    assert "there is no such file" in sweep.err


def test_commands_that_read(sweep: Sweep, results: Path, tmp_path: Path) -> None:
    where = ("--results", results)
    out = sweep("status", *where)
    assert "old: imported from old.parquet (SHA-256 " in out
    assert "are gone" not in out
    told = sweep.json("status", *where)
    assert told["studies"][0]["done"] == 7
    assert told["imported"]["old"]["title"] == "Old ones"
    trials = sweep.json("trials", "old", *where, "--only", "role=student")
    assert [t["test_metric"] for t in trials] == [61, 64, None]
    shown = sweep("show", trials[0]["trial_id"], *where)
    assert "imported from old.parquet" in shown
    sweep("export", "old", tmp_path / "old.csv", *where)
    assert len(pd.read_csv(tmp_path / "old.csv")) == 8
    compared = sweep.json("compare", "old", tmp_path / "old.csv", *where)
    assert {row["difference"] for row in compared} == {0.0}
    assert "0 files" in sweep("gc", *where)


@pytest.mark.parametrize("command", ["run", "retry", "plan", "evaluate", "attribute"])
def test_commands_that_train_refuse(sweep: Sweep, results: Path, command: str) -> None:
    sweep(command, "old", "--results", results, status=2)
    assert "was imported from old.parquet" in sweep.err
    assert "it is no study that can be run" in sweep.err


def test_lost_results_are_said(sweep: Sweep, tmp_path: Path) -> None:
    sweep("import", parquet(tmp_path), "--study", "old", "--results", tmp_path / "r")
    (segment,) = (tmp_path / "r" / "trials").iterdir()
    segment.unlink()
    assert "7 of its results are gone or damaged" in sweep("status", "--results", tmp_path / "r")


SQL = "SELECT seed, avg(test_metric) AS mean, list(role) AS roles FROM trials GROUP BY 1 ORDER BY 1"
MEANS = {1: 57.0, 2: 181 / 3, 3: 55.0}


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_answers_as_files(sweep: Sweep, results: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"answer.{ending}"
    # The ending says the format, but for what is said.
    said = ("--format", "csv") if ending == "csv" else ()
    path = path.with_suffix("") if said else path
    assert sweep("query", SQL, "--results", results, "--output", path, *said) == ""
    read = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet}[ending]
    frame = read(path)
    assert dict(zip(frame["seed"], frame["mean"], strict=True)) == pytest.approx(MEANS)


def test_answers_on_the_standard_output(sweep: Sweep, results: Path) -> None:
    query = ("query", "SELECT count(*) AS n FROM trials", "--results", results)
    assert sweep(*query, "--format", "csv") == "n\n7\n"
    assert sweep(*query).split() == ["n", "7"]


def test_formats_that_do_not_fit(
    sweep: Sweep, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = ("query", "SELECT 1 AS a", "--results", results)
    sweep(*query, "--output", tmp_path / "answer.txt", status=2)
    assert "must end in .csv, .json or .parquet" in sweep.err
    sweep(*query, "--json", "--format", "csv", status=2)
    assert "exclude each other" in sweep.err
    sweep("query", "--results", results, status=2)
    assert "--examples shows some" in sweep.err
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    sweep(*query, "--format", "parquet", status=2)
    assert "give --output FILE" in sweep.err


def test_examples_are_shown(sweep: Sweep) -> None:
    out = sweep("query", "--examples")
    assert out.count("-- ") == 10
    assert "-- What did every dataset cost?\nSELECT dataset, role" in out

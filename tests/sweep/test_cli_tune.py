"""`sweep tune` and `sweep regret` on the command line: what they print, their files, their messages."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.sweep.test_cli import Sweep

STUDY = """
name = "searched"
title = "A tiny search"
question = "Does it work?"
seeds = [1, 2, 3]

[grid]
teacher = ["mlp-4"]
alpha = [0.5]
switch_epoch = [2]

[recipe]
epochs = 2
batch_size = 32

[split]
train_size = 64
validation = 0.1

[teacher]
seeds = [1]

[datasets.digits]
student = "mlp-6"

[tune]
finalists = 2

[tune.space]
alpha = { low = 0.1, high = 0.9, step = 0.1 }
switch_epoch = { low = 1, high = 2 }
"""


@pytest.fixture
def sweep(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.setenv("COLUMNS", "200")  # no heading is folded
    return Sweep(capsys, monkeypatch)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "searched.toml"
    path.write_text(STUDY)
    return path


def test_a_search_prints_its_points_and_which_to_take(
    sweep: Sweep, study: Path, tmp_path: Path
) -> None:
    options = ["--local", "--results", tmp_path, "--trials", 10, "--sampler", "random"]
    told: Any = sweep.json("tune", study, *options, "--parallel", 2)
    # Six points with a seed each, and two finalists with two further seeds each.
    assert len(told["points"]) == 6
    assert (told["done"], told["failed"]) == (10 + 1, 0)
    (choice,) = told["choices"]
    assert (choice["judged_by_seeds"], choice["fresh_seeds"]) == (2, True)
    (best,) = choice["points"]
    of_best = next(point for point in told["points"] if point["point"] == best)
    others = [p["fresh_mean"] for p in told["points"] if p["fresh_n"] and p["point"] != best]
    assert of_best["fresh_mean"] >= max(others)
    again = sweep("tune", study, *options, "--parallel", 2)
    assert "0 trained, 11 were done" in again
    assert f"Point {best} has the best mean of the finalists over 2 seeds that had no part" in again
    assert "chosen" in again
    # It is a study of the results like any other.
    assert '"done": 11' in sweep("status", "searched", "--results", tmp_path, "--json")
    counted = sweep.json("query", "select count(*) as n from trials", "--results", tmp_path)
    assert counted == [{"n": 11}]


def test_a_search_whose_points_all_failed_says_so(
    sweep: Sweep, study: Path, tmp_path: Path
) -> None:
    space = "tune.space={learning_rate = [1e30, 2e30]}"
    options = ["--local", "--results", tmp_path, "--set", space]
    teachers = ["--set", "teacher.recipe={learning_rate = 0.001}"]
    shown = sweep("tune", study, *options, *teachers, status=1)
    assert "Every point that was tried failed: there is none to take." in shown
    assert "not at its end" not in shown


def test_mistakes_are_one_message(sweep: Sweep, study: Path, tmp_path: Path) -> None:
    for options, message in (
        (["--sampler", "luck"], "tune.sampler = 'luck'"),
        (["--trials", "4"], "tune.trials = 4: the finalists' further seeds take 4 of them"),
        (["--minutes", "-1"], "tune.minutes = -1"),
        (["--set", "tune.space.alpah=[1.0]"], "unknown key 'alpah'"),
    ):
        sweep("tune", study, "--local", "--results", tmp_path / "r", *options, status=2)
        assert message in sweep.err
    sweep("tune", "quickstart", "--local", "--results", tmp_path / "r", status=2)
    assert "study quickstart has no section [tune]" in sweep.err
    sweep("tune", "quickstart", "--trials", "9", "--results", tmp_path / "r", status=2)
    assert "tune.space: missing" in sweep.err


def test_regret_of_a_table(sweep: Sweep, tmp_path: Path) -> None:
    rows = [
        {"role": "student", "dataset": "digits", "alpha": a / 10, "seed": s, "test_metric": 10.0 * a + s}
        for a in range(1, 7) for s in range(4)
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    figure = tmp_path / "regret.json"
    command = ["regret", tmp_path / "t.parquet", "--repeats", 3, "--tpe-trials", 20, "-o", figure]
    told: Any = sweep.json(*command)
    assert (told["cells"], told["seeds"], told["good_cells"]) == (6, 4, 1)
    assert told["best"] == "alpha 0.6"
    assert told["good_enough"] == pytest.approx(np.std(range(4), ddof=1) / 2)
    assert told["needed"]["grid, cell by cell"]["surely"] == 21
    assert "regret of searches over 6 cells" in figure.read_text()
    shown = sweep(*command)
    assert "good enough on average from" in shown
    sweep("regret", tmp_path / "no.parquet", status=2)
    assert "cannot be read" in sweep.err
    sweep("regret", tmp_path / "t.parquet", "--metric", "role", status=2)
    assert "--metric role: must be a column of numbers" in sweep.err
    sweep("regret", tmp_path / "t.parquet", "--seed", -1, status=2)
    assert "--seed -1: must be 0 or more" in sweep.err
    # A trial without a finite figure is one that is missing: its cell is left out.
    rows[0]["test_metric"] = float("-inf")
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    told = sweep.json("regret", tmp_path / "t.parquet", "--repeats", 2, "--tpe-trials", 5)
    assert (told["cells"], told["left_out"]) == (5, 1)
    sweep("regret", tmp_path / "t.parquet", "--repeats", 1, status=2)
    assert "--repeats 1: must be 2 or more" in sweep.err
    sweep("regret", tmp_path / "t.parquet", "-o", tmp_path / "x.gif", status=2)

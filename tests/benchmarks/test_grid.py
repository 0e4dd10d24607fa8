"""The grids that are timed."""

import sys
from pathlib import Path

import pytest

import data
from data import catalog
from data.load import load
from models import catalog as networks
from tests.benchmarks.grid import Grid, absent


@pytest.fixture(autouse=True)
def _no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_ENTRIES", dict(catalog._ENTRIES))
    monkeypatch.setattr(networks, "_entries", dict(networks._entries))


def test_fifteen_switch_epochs_and_the_baseline_are_240_epochs_of_which_135_differ() -> None:
    grid = Grid("california_housing", epochs=15)
    assert grid.switch_epochs == tuple(range(1, 16))
    assert grid.epochs_of_students(share=False) == 16 * 15
    # baseline and the one guided throughout; 14 tails of 14, 13, ... 1 epochs
    assert grid.epochs_of_students(share=True) == 15 + 15 + 14 * 15 // 2


def test_twice_the_epochs_are_twice_the_work() -> None:
    grid = Grid("fashion_mnist", epochs=30, batch_size=64)
    assert grid.switch_epochs == tuple(range(2, 31, 2))
    assert [grid.epochs_of_students(share) for share in (False, True)] == [480, 270]


def test_epochs_that_switch_points_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="epochs = 20: must be a multiple of 15"):
        _ = Grid("digits", epochs=20).switch_epochs


def test_arguments_say_all_of_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid("digits", 4, switch_points=2, batch_size=64, train_size=256, test_size=30)
    monkeypatch.setattr(sys, "argv", ["module", *grid.arguments(), "--workers=2"])
    parsed, rest = Grid.parse("", "workers")
    assert (parsed, rest.workers) == (grid, "2")


def test_test_rows_are_cut_and_training_rows_kept() -> None:
    spec = Grid("digits", 2, switch_points=2, batch_size=64, train_size=100, test_size=30)
    part, whole = load(spec.data_spec()), load(data.DataSpec("digits", train_size=100))
    assert (len(part.train), len(part.test), part.pixel_max) == (100, 30, 16)
    assert part.train.x.equal(whole.train.x)
    assert part.test.x.equal(whole.test.x[:30])


def test_absent_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_DATA_DIR", str(tmp_path))
    assert absent(["digits"]) is None
    assert absent(["digits", "fashion_mnist"]) == (
        f"fashion_mnist is not in {tmp_path}; `sweep data fetch fashion_mnist` puts it there"
    )

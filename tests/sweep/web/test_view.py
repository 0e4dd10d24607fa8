"""What the server says of a study's seeds, by hand and against the analysis."""

import math
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from sweep.expand import Cell
from sweep.results import Results
from sweep.store import Store
from sweep.web.cells import cells as page_of_cells
from sweep.web.paging import Page
from sweep.web.view import STATUSES, View
from sweep.web.watch import Watch
from tests.sweep.web.serving import ask, fail, figure, finish, study


def looked_at(folder: Path, name: str = "grid") -> View:
    view = Watch(Store(folder)).moment.view(name)
    assert view is not None
    return view


def test_a_study_without_results_is_all_missing(tmp_path: Path) -> None:
    ask(Store(tmp_path), study())
    view = looked_at(tmp_path)
    assert view.trials == {
        "total": 18, "done": 0, "failed": 0, "blocked": 0, "missing": 18, "running": 0,
    }  # fmt: skip
    assert not view.own.n.any()
    assert np.isnan(view.own.mean).all()


def test_means_intervals_and_differences_by_hand(tmp_path: Path) -> None:
    store = Store(tmp_path)
    finish(store, ask(store, study()), figure)
    page = page_of_cells(looked_at(tmp_path), 1, Page(), "mean", True, "role=student")
    best = page.cells[0]
    assert best.label == "teacher small, alpha 0.6, switch 2"
    # 88.1, 88.2, 88.3: mean 88.2, deviation 0.1, t(2) = 4.302653, half width 0.1 t / sqrt(3).
    assert best.value.mean == pytest.approx(88.2)
    assert best.value.deviation == pytest.approx(0.1)
    assert best.value.high == pytest.approx(88.2 + 4.302653 * 0.1 / math.sqrt(3), abs=1e-6)
    assert best.delta is not None
    assert best.delta.mean == pytest.approx(8.0)
    assert best.delta.deviation == pytest.approx(0.0, abs=1e-9)
    assert (best.value.n, best.delta.n, best.asked, best.counts["done"]) == (3, 3, 3, 3)
    assert best.verdict == "cannot say"  # of three seeds
    assert [round(cell.value.mean or 0, 1) for cell in page.cells] == [88.2, 87.2, 83.2, 82.2]


def test_statuses_are_those_of_the_library_and_what_runs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    asked = ask(store, study())
    students = [cell for cell in asked if cell.role == "student"]
    finish(store, [cell for cell in asked if cell.role != "student"], figure)
    fail(store, students[0], "no")
    with store.writing():
        store.write_live({"running_trials": [students[1].trial_id], "study": "grid"})
        view = looked_at(tmp_path)
    by_id = {
        view.asked.trial_ids[view.asked.trial[row]]: STATUSES[view.status[row]]
        for row in range(len(view.status))
    }
    known = Results(tmp_path).statuses("grid")
    assert by_id.pop(students[1].trial_id) == "running"
    assert known.pop(students[1].trial_id) == "missing"
    assert by_id == known
    assert view.trials["failed"] == 1


@pytest.mark.parametrize("seed", range(4))
def test_statistics_are_those_of_the_analysis(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    several = study(
        seeds=list(range(1, 10)), datasets={"digits": {"student": "medium"}, "california_housing": {}},
        **{"grid.alpha": [0.1, 1.0], "grid.switch_epoch": [0, 1, 3], "grid.temperature": [1.0, 4.0]},
    )  # fmt: skip

    def metric(cell: Cell) -> float | None:
        lost = draw.random() < 0.2
        return None if lost else draw.gauss(50, 1) + (3 if cell.alpha == 0.1 else 0)

    store = Store(tmp_path)
    finish(store, ask(store, several), metric)
    view = looked_at(tmp_path)
    cells = Results(tmp_path).cells("grid")
    page = page_of_cells(view, 1, Page(limit=500), None, False, None)
    ours = pd.DataFrame(
        [
            {
                **{key: cell.words.get(key) for key in analysis_keys()},
                "n": cell.value.n, "mean": cell.value.mean, "ci_low": cell.value.low,
                "ci_high": cell.value.high, "difference": cell.delta and cell.delta.mean,
                "pair_low": cell.delta and cell.delta.low, "n_pairs": cell.delta and cell.delta.n,
                "p_holm": cell.p_holm, "verdict": cell.verdict,
            }
            for cell in page.cells
        ]
    )  # fmt: skip
    means = analysis.summarise(cells)
    assert len(means) == len(ours)
    _same(ours, means, ["n", "mean", "ci_low", "ci_high"])
    pairs = analysis.paired(cells).rename(columns={"ci_low": "pair_low"})
    students = ours[ours["role"] == "student"]
    assert len(pairs) == len(students)
    _same(students, pairs, ["difference", "pair_low", "n_pairs", "p_holm", "verdict"])
    assert {"better", "same trial"} <= set(students["verdict"])


def analysis_keys() -> list[str]:
    return ["dataset", "role", "model", "teacher", "alpha", "switch_epoch", "temperature"]


def _same(ours: pd.DataFrame, theirs: pd.DataFrame, columns: list[str]) -> None:
    keys = analysis_keys()

    def by_key(frame: pd.DataFrame) -> dict[tuple[str, ...], list[object]]:
        frame = frame.astype(object).where(frame.notna(), None)
        return {
            tuple("-" if row[k] is None else f"{row[k]}".removesuffix(".0") for k in keys): [
                row[column] for column in columns
            ]
            for row in frame.to_dict("records")
        }

    left, right = by_key(ours), by_key(theirs)
    assert left.keys() == right.keys()
    for key, values in left.items():
        for one, other in zip(values, right[key], strict=True):
            one = None if isinstance(one, float) and math.isnan(one) else one
            assert one == (pytest.approx(other) if isinstance(other, float) else other), key


def test_a_configuration_keeps_its_key(tmp_path: Path) -> None:
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    ask(one, study())
    ask(other, study(seeds=[1], **{"grid.alpha": [0.6], "grid.switch_epoch": [2]}))
    keys = {c.label: c.key for c in looked_at(tmp_path / "one").asked.configurations}
    fewer = {c.key for c in looked_at(tmp_path / "other").asked.configurations}
    assert keys["teacher small, alpha 0.6, switch 2"] in fewer
    assert len(set(keys.values())) == len(keys) == 6

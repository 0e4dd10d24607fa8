"""Cells by what is left of the metric under an attack: by hand, and against the analysis."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from sweep import store as stores
from sweep.errors import StoreError
from sweep.expand import Cell
from sweep.importing import import_table
from sweep.records import evaluation_id, trial_row
from sweep.results import Results
from sweep.store import Store
from sweep.web.cells import cells as page_of_cells
from sweep.web.measures import Attack, Measures
from sweep.web.paging import Page
from sweep.web.problems import ProblemError
from sweep.web.watch import Watch
from tests.sweep.test_importing import ROWS, parquet
from tests.sweep.tiny import result
from tests.sweep.web.serving import (
    AT,
    FakeLauncher,
    Served,
    ask,
    figure,
    served,
    settings_of,
    study,
)

UNDER = {
    "baseline": {1: 40.0, 2: 42.0, 3: 44.0},
    (0.1, 1): {1: 41.0, 2: 44.0, 3: 47.0},  # 44; differences 1, 2, 3
    (0.1, 2): {1: 42.0, 2: 42.0},  # 42; differences 2, 0; the third was not measured
    (0.6, 1): {1: 50.0, 2: 52.0, 3: 54.0},  # 52; differences 10, 10, 10
    (0.6, 2): {},
}
"""Accuracy under FGSM 0.05 by alpha, switch epoch and seed: another order than that of the metric."""

Point = dict[str, Any]


def point(epsilon: float, value: float | None, attack: str = "fgsm") -> Point:
    return {"attack": attack, "epsilon": epsilon, "value": value}


def attacked(
    store: Store, asked: Sequence[Cell], points: Callable[[Cell], Sequence[Point]]
) -> None:
    """Publishes a record of each cell's trial, attacked so."""
    store.trials.publish(
        [
            trial_row(
                cell,
                result(test_metric=figure(cell), robustness=tuple(points(cell)), finished_at=AT),
            )
            for cell in asked
        ]
    )


def by_hand(cell: Cell) -> list[Point]:
    if cell.role == "teacher":
        return [point(0.05, 10.0)]
    key = "baseline" if cell.role == "baseline" else (cell.alpha, cell.switch_epoch)
    own = UNDER[key]  # type: ignore[index]
    return [point(0.05, own[cell.seed])] if cell.seed in own else []


def evaluated(
    store: Store, cell: Cell, epsilon: float, value: float, split: str | None = None
) -> None:
    """Publishes what was measured after a training."""
    row = point(epsilon, value)
    about = {"evaluation_id": evaluation_id(cell.trial_id, row, split or "test"), "split": split}
    store.evaluations.publish([{"trial_id": cell.trial_id, "finished_at": AT, **about, **row}])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    store = Store(tmp_path)
    attacked(store, ask(store, study()), by_hand)
    with served(settings_of(tmp_path), FakeLauncher()) as found:
        yield found


def test_a_heatmap_of_accuracy_under_attack_by_hand(server: Served) -> None:
    detail = server.get("/api/studies/grid")
    assert detail["measures"] == [{"measure": "fgsm 0.05", "title": "FGSM 0.05"}]
    found = server.get("/api/studies/grid/heatmap", params={"measure": "fgsm 0.05"})
    assert found["under"] == detail["measures"][0]
    assert (found["metric"], found["higher_is_better"]) == ("accuracy", True)
    at = {(cell["x"], cell["y"]): cell for cell in found["cells"]}
    assert [at[place]["mean"] for place in ((0, 0), (1, 0), (0, 1))] == [44.0, 42.0, 52.0]
    assert [at[place]["delta"] for place in ((0, 0), (1, 0), (0, 1))] == [2.0, 1.0, 10.0]
    assert [at[place]["n"] for place in ((0, 0), (1, 0), (0, 1), (1, 1))] == [3, 2, 3, 0]
    assert (at[1, 1]["mean"], at[1, 1]["delta"], at[1, 1]["done"]) == (None, None, 3)
    assert found["baseline"]["value"]["mean"] == found["midpoint"] == 42.0
    # Distances from it: 0, 2, 10; four fifths of the way is 0.6 of the way from the second on.
    assert found["limit"] == pytest.approx(2 + 0.6 * 8)
    plain = server.get("/api/studies/grid/heatmap")
    assert plain["under"] is None
    assert plain["midpoint"] == pytest.approx(80.2)
    assert server.get("/api/studies/grid/heatmap?measure=metric")["cells"] == plain["cells"]


def test_the_table_of_cells_and_a_comparison_by_hand(server: Served) -> None:
    asked = {"measure": "fgsm 0.05", "filter": "role=student", "sort": "mean", "order": "desc"}
    found = server.get("/api/studies/grid/cells", params=asked)
    assert found["under"]["title"] == "FGSM 0.05"
    labels = [(cell["words"]["alpha"], cell["words"]["switch_epoch"]) for cell in found["cells"]]
    assert labels == [(0.6, 1), (0.1, 1), (0.1, 2), (0.6, 2)]
    second = found["cells"][1]
    # Values 41, 44, 47: deviation 3. Differences 1, 2, 3: deviation 1. t(2) = 4.302653.
    assert second["value"]["high"] == pytest.approx(44 + 4.302653 * 3 / math.sqrt(3), abs=1e-5)
    assert second["delta"]["low"] == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert (second["delta"]["n"], second["verdict"]) == (3, "cannot say")
    assert found["cells"][3]["value"] == {
        "n": 0, "mean": None, "deviation": None, "low": None, "high": None,
    }  # fmt: skip
    keys = [found["cells"][place]["key"] for place in (0, 1)]
    two = server.get("/api/studies/grid/compare", params={"cell": keys, "measure": "fgsm 0.05"})
    assert two["under"]["measure"] == "fgsm 0.05"
    assert two["cells"][0]["values"] == [50.0, 52.0, 54.0]
    (pair,) = two["differences"]
    assert (pair["n"], pair["difference"], pair["deviation"]) == (3, 8.0, 1.0)  # 9, 8, 7


def test_an_unknown_measure_is_refused_by_name(server: Served) -> None:
    for address in ("heatmap", "cells", "compare?cell=a&cell=b"):
        more = "&" if "?" in address else "?"
        for wrong in ("fgsm 0.7", "fgsm", "pgd 0.05", "validation fgsm 0.05", "accuracy", ""):
            refused = server.get(f"/api/studies/grid/{address}{more}measure={wrong}", 400)
            assert refused["detail"] == f"measure: {wrong!r} is not one of metric, fgsm 0.05"
    assert server.get("/api/studies/grid/cells?measure=fgsm%200.0500")["under"]
    long = server.get(f"/api/studies/grid/cells?measure={'a' * 101}", 422)
    assert "measure" in long["detail"]


def test_what_could_not_be_read_is_read_when_somebody_asks_again(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any) -> Any:
        raise StoreError("the object store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(stores.Shelf, "read_on", refuses)
        for _ in range(2):
            assert server.get("/api/studies/grid")["measures"] == []
    assert [one["measure"] for one in server.get("/api/studies/grid")["measures"]] == ["fgsm 0.05"]


def test_what_was_measured_later_counts_where_the_training_did_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    asked = ask(store, study())
    attacked(store, asked, by_hand)
    (first,) = [cell for cell in asked if (cell.alpha, cell.switch_epoch, cell.seed) == (0.1, 1, 1)]
    with served(settings_of(tmp_path), FakeLauncher()) as server:
        evaluated(store, first, 0.05, 99.0)  # what the training measured itself stays
        evaluated(store, first, 0.1, 20.0)
        evaluated(store, first, 0.2, 77.0, split="validation")
        server.look()
        assert server.get("/api/studies/grid/state")["evaluated"] == 3
        measures = [one["measure"] for one in server.get("/api/studies/grid")["measures"]]
        assert measures == ["fgsm 0.05", "fgsm 0.1"]
        params = {"filter": "role=student alpha=0.1 switch_epoch=1"}
        for measure, mean, n in (("fgsm 0.05", 44.0, 3), ("fgsm 0.1", 20.0, 1)):
            page = server.get("/api/studies/grid/cells", params=params | {"measure": measure})
            value = page["cells"][0]["value"]
            assert (value["mean"], value["n"]) == (mean, n)


def test_strengths_that_are_nearly_one_are_two(tmp_path: Path) -> None:
    store = Store(tmp_path)
    points = [point(0.1, 5.0), point(0.1 + 5e-11, 6.0)]
    attacked(store, ask(store, study()), lambda cell: points)
    moment, measures = Watch(store).moment, Measures(store)
    view = moment.view("grid")
    assert view is not None
    names = [one.measure for one in measures.of(moment, view)]
    assert names == ["fgsm 0.1", "fgsm 0.10000000005"]
    for name, value in zip(names, (5.0, 6.0), strict=True):
        assert set(measures.view(moment, view, name)[0].value) == {value}


def test_a_strength_may_be_asked_for_with_all_its_digits(tmp_path: Path) -> None:
    store = Store(tmp_path)
    attacked(store, ask(store, study()), lambda cell: [point(8 / 255, 5.0)])
    moment, measures = Watch(store).moment, Measures(store)
    view = moment.view("grid")
    assert view is not None
    (attack,) = measures.of(moment, view)
    for number in (attack.measure.split()[1], repr(8 / 255), "3.137254902e-2"):
        assert measures.view(moment, view, f"fgsm {number}")[1] == attack
    with pytest.raises(ProblemError, match=r"measure: 'fgsm 0\.0313725' is not one of"):
        measures.view(moment, view, "fgsm 0.0313725")


def test_other_studies_of_the_results_have_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    attacked(store, ask(store, study()), by_hand)
    attacked(
        store, ask(store, study(name="noisy", seeds=[7])),
        lambda cell: [point(0.3, 5.0, "input_noise-uniform"), point(0.1 + 0.2, 6.0, "pgd-20")],
    )  # fmt: skip
    with served(settings_of(tmp_path), FakeLauncher()) as server:
        assert server.get("/api/studies/noisy")["measures"] == [
            {"measure": "input_noise-uniform 0.3", "title": "input noise (uniform) 0.3"},
            {"measure": "pgd-20 0.3", "title": "PGD (20) 0.3"},
        ]
        page = server.get("/api/studies/noisy/cells?measure=pgd-20%200.3")
        assert {cell["value"]["mean"] for cell in page["cells"]} == {6.0}
        refused = server.get("/api/studies/grid/cells?measure=pgd-20%200.3", 400)
        assert refused["detail"] == "measure: 'pgd-20 0.3' is not one of metric, fgsm 0.05"
        assert server.get("/api/studies/thesis")["measures"] == []


def test_nothing_is_read_before_somebody_asks_and_no_file_twice(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.get("/api/studies")
    for address in ("state", "heatmap", "heatmap?measure=metric", "cells", "trials"):
        server.get(f"/api/studies/grid/{address}")
    assert server.service.web.measures._points is None
    store = Store(tmp_path)
    asked = ask(store, study(name="more", seeds=[8, 9]))
    opened: list[Path] = []
    open_file = stores._opened

    def counted(on: Any, path: Any) -> Any:
        opened.append(path)
        return open_file(on, path)

    watch, measures = Watch(store), Measures(store)
    view = watch.moment.view("grid")
    assert view is not None
    monkeypatch.setattr(stores, "_opened", counted)
    for _ in range(2):
        assert measures.of(watch.moment, view) == [Attack("fgsm", 0.05)]
        one, attack = measures.view(watch.moment, view, "fgsm 0.05")
        assert one is measures.view(watch.moment, view, "fgsm 0.05")[0]
        assert attack == Attack("fgsm", 0.05)
    assert len(opened) == 1
    attacked(store, asked, by_hand_or(3.0))
    watch._look()
    del opened[:]
    more = watch.moment.view("more")
    assert more is not None
    assert measures.of(watch.moment, more) == [Attack("fgsm", 0.05)]
    assert len(opened) == 1


def by_hand_or(value: float) -> Callable[[Cell], list[Point]]:
    return lambda cell: [point(0.05, value)]


@pytest.mark.parametrize("seed", range(2))
def test_statistics_are_those_of_the_analysis(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    of = study(
        seeds=list(range(1, 10)), datasets={"digits": {"student": "medium"}, "california_housing": {}},
        **{"grid.alpha": [0.1, 1.0], "grid.switch_epoch": [0, 1, 3]},
    )  # fmt: skip
    store = Store(tmp_path)
    rows = []
    for cell in ask(store, of):
        gain = 3.0 if cell.alpha == 0.1 else 0.0
        metric = "mse" if cell.dataset == "california_housing" else "accuracy"
        points = [
            point(epsilon, None if draw.random() < 0.05 else draw.gauss(40, 1) + gain)
            for epsilon in (0.05, 0.005)
            if draw.random() < 0.9
        ]
        own = result(
            test_metric=draw.gauss(50, 1), metric_name=metric, robustness=tuple(points),
            finished_at=AT,
        )  # fmt: skip
        rows.append(trial_row(cell, own))
    store.trials.publish(rows)
    moment, measures = Watch(store).moment, Measures(store)
    idle = moment.view("grid")
    assert idle is not None
    assert [one.measure for one in measures.of(moment, idle)] == ["fgsm 0.005", "fgsm 0.05"]
    table = analysis.robustness(Results(tmp_path).cells("grid"))
    for epsilon in (0.005, 0.05):
        view, attack = measures.view(moment, idle, f"fgsm {epsilon:g}")
        page = page_of_cells(view, 1, Page(limit=500), None, False, None, attack)
        theirs = {_key(row): row for row in table[table["epsilon"] == epsilon].to_dict("records")}
        ours = {_key(cell.words): cell for cell in page.cells if cell.value.n}
        assert ours.keys() == theirs.keys()
        for key, cell in ours.items():
            row = theirs[key]
            assert (cell.value.n, cell.value.mean) == (row["n"], pytest.approx(row["mean"]))
            assert cell.value.low == pytest.approx(row["ci_low"])
            if cell.words["role"] == "student":
                assert cell.delta is not None
                assert cell.delta.mean == pytest.approx(row["difference"])
                assert cell.delta.high == pytest.approx(row["difference_ci_high"])
                assert (cell.delta.n, cell.verdict) == (row["n_pairs"], row["verdict"])
        verdicts = {(cell.words["dataset"], cell.verdict) for cell in page.cells}
        # More is better of an accuracy under attack, and worse of an error.
        assert {("digits", "better"), ("california_housing", "worse")} <= verdicts


def _key(words: Any) -> tuple[str, ...]:
    names = ("dataset", "role", "model", "teacher", "alpha", "switch_epoch")
    values = (words.get(name) for name in names)
    return tuple("-" if pd.isna(v) or v is None else f"{v}".removesuffix(".0") for v in values)


def test_imported_results_have_theirs(tmp_path: Path) -> None:
    import_table(parquet(tmp_path, ROWS), "old", tmp_path / "r")
    store = Store(tmp_path / "r")
    moment = Watch(store).moment
    view = moment.view("old")
    assert view is not None
    measures = Measures(store)
    assert measures.of(moment, view) == [Attack("fgsm", 0.05)]
    under, attack = measures.view(moment, view, "fgsm 0.05")
    page = page_of_cells(under, 1, Page(), None, False, None, attack)
    by_role = {cell.words["role"]: cell for cell in page.cells}
    # Half of the metric: 30 and 31 of the baseline, 30.5 and 32 of the student, whose third failed.
    assert by_role["baseline"].value.mean == 30.5
    assert (by_role["student"].value.mean, by_role["student"].value.n) == (31.25, 2)
    assert by_role["student"].delta is not None
    assert by_role["student"].delta.mean == 0.75


def test_results_without_any_have_no_choice(tmp_path: Path) -> None:
    ask(Store(tmp_path), study())
    moment, measures = Watch(Store(tmp_path)).moment, Measures(Store(tmp_path))
    view = moment.view("grid")
    assert view is not None
    assert measures.of(moment, view) == []
    with pytest.raises(ProblemError, match=r"'fgsm 0\.05' is not one of metric$"):
        measures.view(moment, view, "fgsm 0.05")

"""Results directories joined: everything once, nothing chosen between records that contradict."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sweep import cli
from sweep.cells import demand
from sweep.errors import StoreError
from sweep.expand import Cell
from sweep.merge import Conflict, differing, merge
from sweep.records import cell_row, trial_row
from sweep.results import Results
from sweep.store import Store, to_parquet
from tests.sweep.test_results import point
from tests.sweep.tiny import result, state, tiny_study, weights

STUDY = tiny_study()
CELLS: tuple[Cell, ...] = tuple({c.trial_id: c for c in demand(STUDY, None).everything}.values())
A, B, C = (cell.trial_id for cell in CELLS[:3])


@pytest.fixture
def places(tmp_path: Path) -> tuple[Store, Store, Store]:
    """Two directories and one to merge into, which does not exist yet."""
    return Store(tmp_path / "one"), Store(tmp_path / "two"), Store(tmp_path / "into")


def put(store: Store, *numbers: int, **measured: Any) -> None:
    store.trials.publish([trial_row(CELLS[number], result(**measured)) for number in numbers])


def ids(store: Store) -> list[str]:
    rows, damaged = store.trials.read(["trial_id"])
    assert damaged == []
    return sorted(rows["trial_id"].to_pylist())


def files(store: Store) -> dict[str, bytes]:
    root = Path(str(store))
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_everything_is_joined_once(places: tuple[Store, Store, Store]) -> None:
    one, two, into = places
    put(one, 0, 1)
    put(two, 1, 2)
    for store, name in ((one, "e1"), (two, "e2")):
        store.attempts.publish([{"attempt_id": name, "trial_id": B}])
        store.attempts.publish([{"attempt_id": "both", "trial_id": B}])
        store.runs.publish([{"run_id": name, "study": STUDY.name}])
    one.evaluations.publish([{"evaluation_id": "v", "trial_id": A, "value": 1.0}])
    one.write_weights(A, weights("a"))
    two.write_weights(B, weights("b"))
    two.write_snapshot(C, state(3))
    one.write_cells(STUDY.name, [cell_row(c) for c in CELLS[:2]], STUDY.to_json())
    two.write_cells(STUDY.name, [cell_row(c) for c in CELLS[1:3]], STUDY.to_json())
    sources = {**files(one), **files(two)}
    found = merge([one, two], into)
    assert found.added == {
        "weights": 2, "snapshots": 1, "evaluations": 1, "attempts": 3, "runs": 2, "trials": 3,
        "cells": 3,
    }  # fmt: skip
    assert (found.equal, found.exit_status, found.conflicts, found.damaged) == (1, 0, [], [])
    assert ids(into) == sorted([A, B, C])
    assert into.attempts.read(["attempt_id"])[0]["attempt_id"].to_pylist() == ["both", "e1", "e2"]
    assert set(into.kept_weights()) == {A, B}
    assert into.read_weights(B) == two.read_weights(B)
    assert into.read_state(C) == two.read_state(C)
    assert Results(str(into)).counts(STUDY.name)["done"] == 3
    assert {**files(one), **files(two)} == sources, "sources are only read"
    again = merge([one, two], into)
    assert (again.added, again.equal, again.exit_status) == ({}, 3, 0)
    assert ids(into) == sorted([A, B, C])


def test_records_that_contradict_are_reported_and_none_is_taken(
    places: tuple[Store, Store, Store],
) -> None:
    one, two, into = places
    put(one, 0, 1)
    put(two, 0, test_metric=51.0, train_loss=(9.0, 0.5))
    one.write_weights(A, weights("a"))
    two.evaluations.publish([{"evaluation_id": "v", "trial_id": A, "value": 1.0}])
    for _ in range(2):
        found = merge([one, two], into)
        assert found.conflicts == [Conflict(A, ("test_metric", "train_loss"), (str(one), str(two)))]
        assert found.exit_status == 1
        assert ids(into) == [B]
        assert into.kept_weights() == {}
        assert into.evaluations.files() == []


def test_a_record_that_is_there_stays_beside_one_that_contradicts_it(
    places: tuple[Store, Store, Store],
) -> None:
    one, _, into = places
    put(into, 0)
    put(one, 0, test_metric=51.0)
    found = merge([one], into)
    assert found.conflicts == [Conflict(A, ("test_metric",), (str(into), str(one)))]
    assert into.trials.read(["test_metric"])[0].to_pylist() == [{"test_metric": 50.0}]


def test_records_of_other_numerics_classes_do_not_contradict_and_are_not_mixed(
    places: tuple[Store, Store, Store],
) -> None:
    one, two, into = places
    put(one, 0)
    put(two, 0, test_metric=51.0, numerics_class="another")
    two.write_weights(A, weights("of the other class"))
    two.evaluations.publish([{"evaluation_id": "v", "trial_id": A, "value": 1.0}])
    found = merge([one, two], into)
    assert (found.other_class, found.conflicts, found.exit_status) == ([A], [], 0)
    (row,) = into.trials.read(["test_metric", "numerics_class"])[0].to_pylist()
    assert row == {"test_metric": 50.0, "numerics_class": "test"}
    assert into.kept_weights() == {}
    assert into.evaluations.files() == []


def test_one_that_did_not_diverge_is_taken_before_one_that_did(
    places: tuple[Store, Store, Store],
) -> None:
    one, two, into = places
    put(one, 0, status="diverged", test_metric=None)
    put(two, 0, numerics_class="another")
    assert merge([one, two], into).other_class == [A]
    assert into.trials.read(["status"])[0].to_pylist() == [{"status": "done"}]


def test_times_and_code_differ_and_points_measured_at_one_epsilon_must_not(
    places: tuple[Store, Store, Store],
) -> None:
    one, two, into = places
    put(one, 0, wall_s=1.0, device_name="x", robustness=(point(0.05, 30.0),))
    put(two, 0, wall_s=2.0, device_name="y", robustness=(point(0.05, 30.0), point(0.1, 20.0)))
    found = merge([one, two], into)
    assert (found.conflicts, found.equal) == ([], 1)
    (row,) = Results(str(into)).trial_table().to_pylist()
    assert row["robustness"] == [point(0.05, 30.0), point(0.1, 20.0)]
    assert (row["wall_s"], row["device_name"]) == (1.0, "x")
    assert merge([one, two], into).added == {}
    rows = [trial_row(CELLS[0], result(robustness=(point(0.05, v),))) for v in (30.0, 29.0)]
    assert differing(*rows) == ["robustness"]
    zero = [trial_row(CELLS[0], result(zero_gradients_percent=share)) for share in (None, 2.0, 3.0)]
    assert differing(zero[0], zero[1]) == []
    assert differing(zero[1], zero[2]) == ["zero_gradients_percent"]
    nan = [trial_row(CELLS[0], result(test_metric=float("nan"))) for _ in range(2)]
    assert differing(*nan) == []


def test_points_of_validation_rows_are_merged_apart_from_those_of_test_rows(
    places: tuple[Store, Store, Store],
) -> None:
    one, two, into = places
    put(one, 0, validation_robustness=(point(0.05, 31.0),))
    put(two, 0, validation_robustness=(point(0.05, 31.0), point(0.1, 21.0)))
    found = merge([one, two], into)
    assert (found.conflicts, found.equal) == ([], 1)
    (row,) = Results(str(into)).trial_table().to_pylist()
    assert row["validation_robustness"] == [point(0.05, 31.0), point(0.1, 21.0)]
    assert row["robustness"] == [point(0.05, 30.0)]
    (later,) = into.evaluations.read()[0].to_pylist()
    assert (later["split"], later["value"]) == ("validation", 21.0)
    assert merge([one, two], into).added == {}
    rows = [
        trial_row(CELLS[0], result(validation_robustness=(point(0.05, v),))) for v in (30.0, 29.0)
    ]
    assert differing(*rows) == ["validation_robustness"]
    counts = [{"rows": 3, "corrected": n, "memorised": 0, "other": 3 - n} for n in (1, 2)]
    assert differing(*(trial_row(CELLS[0], result(perturbed=c)) for c in counts)) == ["perturbed"]


def test_evaluations_that_contradict_are_reported(places: tuple[Store, Store, Store]) -> None:
    one, two, into = places
    for store, value in ((one, 1.0), (two, 2.0)):
        put(store, 0)
        store.evaluations.publish(
            [{"evaluation_id": "v", "trial_id": A, "value": value, **point(0.2, value)}]
        )
    (conflict,) = merge([one, two], into).conflicts
    assert conflict == Conflict(f"{A} fgsm 0.2", ("value",), (str(one), str(two)))
    assert into.evaluations.files() == []


def test_damage_is_named_left_out_and_the_other_copy_taken(
    places: tuple[Store, Store, Store],
) -> None:
    one, two, into = places
    for store in (one, two):
        put(store, 0)
        store.write_weights(A, weights("a"))
    lost = one.trials.publish([trial_row(CELLS[1], result())])
    assert lost is not None
    harmed = [lost, one.layout.weights(A)]
    good = two.read_weights(A)
    for path in harmed:
        Path(path).write_bytes(Path(path).read_bytes()[:-1])
    found = merge([one, two], into)
    assert sorted(found.damaged) == sorted(map(str, harmed))
    assert found.exit_status == 1
    assert ids(into) == [A]
    assert into.read_weights(A) == good


def test_a_study_that_is_defined_otherwise_is_named_and_its_cells_are_joined(
    places: tuple[Store, Store, Store],
) -> None:
    one, two, into = places
    more = tiny_study(seeds=[1, 2, 3])
    rows = [cell_row(c) for c in demand(more, None).everything if c.role == "baseline"]
    one.write_cells("tiny", [cell_row(c) for c in CELLS if c.role == "baseline"], STUDY.to_json())
    two.write_cells("tiny", rows, more.to_json())
    found = merge([one, two], into)
    assert (found.studies, found.conflicts, found.added["cells"]) == (["tiny"], [], 3)
    cells = into.read_cells("tiny")
    assert cells is not None
    assert cells[1] == STUDY.to_json()
    # The same words, another trial.
    one.write_cells("same", [{"trial_id": "a", "seed": 1}], "{}")
    two.write_cells("same", [{"trial_id": "b", "seed": 1}], "{}")
    (conflict,) = merge([one, two], into).conflicts
    assert conflict == Conflict("same: 1", ("trial_id",), (str(one), str(two)))


def test_what_cannot_be_merged_is_refused(places: tuple[Store, Store, Store]) -> None:
    import hashlib

    import pyarrow as pa

    one, two, into = places
    with pytest.raises(StoreError, match="one' does not exist"):
        merge([one], into)
    put(one, 0)
    with pytest.raises(StoreError, match="cannot be merged into itself"):
        merge([one], Store(str(one)))
    content = to_parquet(pa.table({"trial_id": ["z"], "invented_later": [1]}))
    two.on.put(two.layout.trials / f"{hashlib.sha256(content).hexdigest()}.parquet", content)
    with pytest.raises(StoreError, match="written by a later version: columns invented_later"):
        merge([one, two], into)
    assert not into.is_there()
    with into.writing(), pytest.raises(StoreError, match="is being written by process"):
        merge([one], Store(str(into)))


def test_the_command(
    places: tuple[Store, Store, Store],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, two, into = map(str, places)
    put(places[0], 0, 1)
    put(places[1], 0, test_metric=51.0)

    def sweep(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["sweep", "merge", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out + err

    status, out = sweep(one, two, into, "--json")
    told = json.loads(out)
    assert (status, told["added"], len(told["conflicts"])) == (1, {"trials": 1}, 1)
    status, out = sweep(one, two, into)
    assert status == 1
    assert "nothing added" in out
    assert f"{A}: test_metric in {one} and {two}" in out
    assert sweep(one, into)[0] == 0
    status, out = sweep(into)
    assert (status, "needs one or more directories" in out) == (2, True)

"""Trials some at a time: the same rows as all at once, whatever their files are."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.records import evaluation_id
from sweep.results import Results
from sweep.store import Store
from tests.sweep.tiny import result


def published(store: Store, rows: list[tuple[str, str, float]]) -> None:
    store.trials.publish(
        [
            {"trial_id": key, "status": status, "test_metric": value,
             "robustness": list(result().robustness)}
            for key, status, value in rows
        ]
    )  # fmt: skip


Row = tuple[str, str, float]
row = st.tuples(st.sampled_from("abcdef"), st.sampled_from(["done", "diverged"]), st.floats(0, 100))


@settings(max_examples=30, deadline=None)
@given(
    files=st.lists(st.lists(row, min_size=1, max_size=5, unique_by=lambda r: r[0]), max_size=4),
    size=st.integers(1, 4),
)
def test_batches_are_the_rows_of_a_reading(
    files: list[list[Row]], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(tmp_path_factory.mktemp("results"))
    for rows in files:
        published(store, rows)
    columns = ["trial_id", "test_metric"]
    damaged: list[object] = []
    found = list(store.trials.batches(columns, damaged, size))  # type: ignore[arg-type]
    whole, _ = store.trials.read([*columns, "status"])
    assert all(0 < len(part) <= size for part in found)
    rows = [tuple(r.values()) for part in found for r in part.to_pylist()]
    assert len({key for key, _ in rows}) == len(rows)
    assert {key for key, _ in rows} == set(whole["trial_id"].to_pylist())
    done = {(k, v) for file in files for k, status, v in file if status == "done"}
    for key, value in rows:
        if any(k == key for k, _ in done):
            assert (key, value) in done  # what diverged gives way
    assert damaged == []


def test_evaluations_made_later_are_in_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    published(store, [("a", "done", 1.0), ("b", "done", 2.0)])
    point = {"attack": "pgd", "epsilon": 0.1, "value": 12.5}
    store.evaluations.publish(
        [{"evaluation_id": evaluation_id("b", point, "test"), "trial_id": "b", **point}]
    )
    results = Results(tmp_path / "results")
    found = pa.concat_tables(results.trial_batches(["robustness", "trial_id"]))
    assert found.sort_by("trial_id").equals(
        results.trial_table(["robustness", "trial_id"]).sort_by("trial_id")
    )
    points = {r["trial_id"]: len(r["robustness"]) for r in found.to_pylist()}
    assert points == {"a": 1, "b": 2}


def test_a_damaged_file_is_left_out_and_told_of(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    published(store, [("a", "done", 1.0)])
    published(store, [("b", "done", 2.0)])
    path = Path(store.trials.files()[0])
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.warns(UserWarning, match=f"damaged result files are left out: {path.name}"):
        rows = [r for part in Results(tmp_path / "results").trial_batches(["trial_id"])
                for r in part.to_pylist()]  # fmt: skip
    assert len(rows) == 1


def test_a_file_that_is_folded_while_it_is_read_loses_no_row(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    for position in range(6):
        published(store, [(f"t{position}", "done", 1.0)])
    reading = store.trials.batches(["trial_id"], [], 1)
    rows = [next(reading), next(reading)]
    store.trials.fold()
    rows += list(reading)
    keys = [r["trial_id"] for part in rows for r in part.to_pylist()]
    assert sorted(keys) == [f"t{position}" for position in range(6)]

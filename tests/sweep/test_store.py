"""What is published is read back, once, whatever happens in between."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep import store as store_module
from sweep.errors import StoreError
from sweep.files import Entry
from sweep.local_files import LocalFiles, write_atomically
from sweep.records import ATTEMPTS, CELLS, EVALUATIONS, TRIALS
from sweep.results import Results
from sweep.store import Shelf, Store, to_parquet

AT = datetime(2025, 6, 1, 12, 30, 15, 123456, tzinfo=UTC)
VERSION_1 = Path(__file__).parent / "data" / "v1"
VERSION_2 = Path(__file__).parent / "data" / "v2"
VERSION_3 = Path(__file__).parent / "data" / "v3"
VERSION_4 = Path(__file__).parent / "data" / "v4"


def full_row(trial_id: str = "a" * 24) -> dict[str, Any]:
    """A record with something in every column, and nulls inside nested ones."""
    values: dict[pa.DataType, Any] = {
        pa.string(): "é\n", pa.int64(): 2**62, pa.float64(): 0.1, TRIALS.field("finished_at").type: AT,
    }  # fmt: skip
    row = {field.name: values.get(field.type) for field in TRIALS}
    return row | {
        "trial_id": trial_id,
        "status": "done",
        "train_loss": [1.5, None, 1e-300],
        "train_loss_step": [100, 200, 300],
        "curve": [{"epoch": 1, "split": "test", "metric": 50.0, "loss": None}],
        "robustness": [
            {"attack": "fgsm", "epsilon": 0.005, "value": 70.0},
            {"attack": "fgsm", "epsilon": 0.05, "value": None},
        ],
        "per_class": [{"label": 0, "precision": None, "recall": 0.0, "f1": 0.0, "support": 3}],
        "confusion": [[1, 2], [0, 4]],
        "teacher_trial_ids": [],
        "validation_robustness": [{"attack": "pgd", "epsilon": 0.1, "value": None}],
        "perturbed": {"rows": 9, "corrected": 4, "memorised": None, "other": 2},
    }


def row(trial_id: str, **more: Any) -> dict[str, Any]:
    return {"trial_id": trial_id, "status": "done", **more}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def ids(store: Store) -> list[str]:
    rows, damaged = store.trials.read(["trial_id"])
    assert not damaged
    return sorted(rows["trial_id"].to_pylist())


def published(shelf: Shelf, *rows: dict[str, Any]) -> Path:
    path = shelf.publish(rows)
    assert path is not None
    return path


# Publishing and reading


def test_every_column_comes_back_with_nested_values_and_nulls(store: Store) -> None:
    full = full_row()
    assert set(full) == set(TRIALS.names)
    assert None not in full.values()
    empty = dict.fromkeys(TRIALS.names) | {"trial_id": "b" * 24}
    store.trials.publish([full, empty])
    for _ in range(2):
        rows, damaged = store.trials.read()
        assert rows.schema.equals(TRIALS)
        assert rows.sort_by("trial_id").to_pylist() == [full, empty]
        assert damaged == []
        with store.writing():
            pass  # folds


def test_the_name_of_a_file_is_the_hash_of_its_content(store: Store) -> None:
    path = published(store.trials, full_row())
    assert path.parent == store.layout.incoming
    with store.writing():
        pass
    (folded,) = store.layout.trials.iterdir()
    for file in (folded, published(store.attempts, {"attempt_id": "e", "trial_id": "a"})):
        assert file.name == f"{hashlib.sha256(file.read_bytes()).hexdigest()}.parquet"


def test_nothing_to_publish_writes_nothing(store: Store) -> None:
    assert store.trials.publish([]) is None
    assert not store.layout.root.exists()


def test_reading_creates_nothing(store: Store) -> None:
    rows, damaged = store.trials.read()
    assert (rows.num_rows, rows.schema.equals(TRIALS), damaged) == (0, True, [])
    assert store.read_cells("x") is None
    assert store.read_live() is None
    assert store.studies() == []
    assert not store.layout.root.exists()


def test_only_the_columns_asked_for_are_read_in_their_order(store: Store) -> None:
    store.trials.publish([row("a", seed=3), row("b", seed=4)])
    rows, _ = store.trials.read(["seed", "role"])
    assert rows.to_pydict() == {"seed": [3, 4], "role": [None, None]}


def test_a_trial_published_twice_is_one_row(store: Store) -> None:
    store.trials.publish([row("a", test_metric=1.0)])
    store.trials.publish([row("a", test_metric=1.0), row("b")])
    assert ids(store) == ["a", "b"]
    with store.writing():
        store.trials.publish([row("b"), row("b")])
    assert ids(store) == ["a", "b"]
    assert pq.read_table(store.layout.trials).num_rows == 2


def test_what_was_read_first_stays(store: Store) -> None:
    with store.writing():
        store.trials.publish([row("a", wall_s=1.0)])
    store.trials.publish([row("a", wall_s=2.0)])
    for _ in range(2):
        assert store.trials.read(["wall_s"])[0].to_pylist() == [{"wall_s": 1.0}]
        with store.writing():
            pass


def test_a_trial_that_diverged_gives_way_to_one_that_did_not(store: Store) -> None:
    with store.writing():
        store.trials.publish([row("a", status="diverged"), row("b", status="diverged")])
    store.trials.publish([row("a", test_metric=5.0)])
    for _ in range(2):
        rows, _ = store.trials.read(["trial_id", "test_metric"])
        assert rows.sort_by("trial_id").to_pydict() == {
            "trial_id": ["a", "b"], "test_metric": [5.0, None],
        }  # fmt: skip
        with store.writing():
            pass


@settings(max_examples=15, deadline=None)
@given(st.lists(st.none() | st.sets(st.sampled_from("abcdef"), min_size=1), max_size=8))
def test_any_sequence_of_publishing_and_folding_keeps_every_row_once(
    steps: list[set[str] | None],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        expected: set[str] = set()
        for step in steps:
            if step is None:
                store.trials.fold()
            else:
                store.trials.publish([row(trial_id) for trial_id in sorted(step)])
                expected |= step
            assert ids(store) == sorted(expected)
        store.trials.fold()
        assert ids(store) == sorted(expected)
        assert not list(store.layout.incoming.glob("*.parquet"))


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["done", "diverged", None]))),
        max_size=5,
    )
)
def test_of_rows_with_one_id_the_first_stays_that_did_not_diverge(
    files: list[list[tuple[str, str | None]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for number, file in enumerate(files):
            rows = [
                row(name, seed=1000 * number + i, status=status)
                for i, (name, status) in enumerate(file)
            ]
            store.trials.publish(rows)
        expected: dict[str, dict[str, Any]] = {}
        in_order = [
            found for path in store.trials.files() for found in pq.read_table(path).to_pylist()
        ]
        for found in sorted(in_order, key=lambda r: r["status"] == "diverged"):
            expected.setdefault(found["trial_id"], found)
        order = [found for found in in_order if found in expected.values()]
        assert store.trials.read()[0].to_pylist() == order
        scanned = store.trials.scan()[0].to_table()
        assert scanned.to_pylist() == order
        assert scanned.schema.equals(TRIALS)


def test_a_scan_holds_every_file_and_decodes_what_is_asked_for(store: Store) -> None:
    store.trials.publish([full_row("a" * 24)])
    with store.writing():
        pass
    store.trials.publish([full_row("b" * 24)])
    damaged = _flip(published(store.trials, full_row("c" * 24)))
    rows, found = store.trials.scan()
    assert found == [damaged]
    shutil.rmtree(store.layout.root)
    assert rows.to_table(columns=["seed"]).to_pylist() == [{"seed": 2**62}] * 2
    assert rows.to_table().to_pylist() == [full_row("a" * 24), full_row("b" * 24)]


def test_a_scan_of_nothing_has_the_columns(store: Store) -> None:
    rows, damaged = store.trials.scan()
    assert (rows.to_table().num_rows, rows.schema.equals(TRIALS), damaged) == (0, True, [])


# Folding


def test_folding_leaves_one_segment_sorted_by_id(store: Store) -> None:
    with store.writing():
        for trial_id in "cab":
            store.trials.publish([row(trial_id)])
    assert list(store.layout.incoming.iterdir()) == []
    (segment,) = store.layout.trials.iterdir()
    assert pq.read_table(segment)["trial_id"].to_pylist() == ["a", "b", "c"]
    with store.writing():
        store.trials.publish([row("d")])
    (segment,) = store.layout.trials.iterdir()
    assert pq.read_table(segment)["trial_id"].to_pylist() == ["a", "b", "c", "d"]


def test_attempts_are_folded_where_they_lie(store: Store) -> None:
    with store.writing():
        for attempt_id in "cab":
            store.attempts.publish([{"attempt_id": attempt_id, "trial_id": "t"}])
    assert len(list(store.layout.attempts.iterdir())) == 1
    assert store.attempts.read(["attempt_id"])[0]["attempt_id"].to_pylist() == ["a", "b", "c"]


def test_a_run_that_goes_on_leaves_few_files(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "GATHER_FILES", 4)
    names = [f"{position:02}" for position in range(20)]
    most = 0
    for count, name in enumerate(names, start=1):
        store.trials.publish([row(name)])
        store.trials.publish([row(name)])  # twice
        assert ids(store) == names[:count]
        most = max(most, len(list(store.layout.incoming.glob("*.parquet"))))
    assert most <= 4
    assert not store.layout.trials.exists()  # plain readers see what no run is at work on


def test_what_is_not_tiny_is_not_gathered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = published(store.trials, row("a"))
    monkeypatch.setattr(store_module, "GATHER_FILES", 2)
    monkeypatch.setattr(store_module, "GATHER_BYTES", first.stat().st_size)
    for name in "bcd":
        store.trials.publish([row(name)])
    assert len(list(store.layout.incoming.iterdir())) == 4


def test_damaged_files_and_those_of_a_later_version_are_not_gathered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = _flip(published(store.trials, row("a")))
    content = to_parquet(pa.table({"trial_id": ["z"], "status": ["done"], "invented_later": [1]}))
    later = store.layout.incoming / f"{hashlib.sha256(content).hexdigest()}.parquet"
    write_atomically(later, content)
    monkeypatch.setattr(store_module, "GATHER_FILES", 2)
    for name in "bc":
        store.trials.publish([row(name)])
    assert damaged.exists()
    assert later.read_bytes() == content
    rows, found = store.trials.read(["trial_id"])
    assert sorted(rows["trial_id"].to_pylist()) == ["b", "c", "z"]
    assert found == [damaged]


def test_a_large_segment_is_left_alone_and_a_large_record_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.writing():
        store.trials.publish([row("a")])
    (large,) = store.layout.trials.iterdir()
    monkeypatch.setattr(store_module, "SEGMENT_BYTES", large.stat().st_size)
    store.trials.publish([row("b")])
    store.trials.fold()
    assert pq.read_table(large)["trial_id"].to_pylist() == ["a"]
    assert len(list(store.layout.trials.iterdir())) == 2
    assert not list(store.layout.incoming.iterdir())
    assert ids(store) == ["a", "b"]


def test_an_interruption_between_publishing_a_segment_and_removing_its_parts_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.trials.publish([row("a")])
    store.trials.publish([row("b")])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _raise(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            store.trials.fold()
    assert len(list(store.layout.incoming.iterdir())) == 2
    assert len(list(store.layout.trials.iterdir())) == 1
    assert ids(store) == ["a", "b"]
    with store.writing():
        pass
    assert ids(store) == ["a", "b"]
    assert not list(store.layout.incoming.iterdir())
    assert len(list(store.layout.trials.iterdir())) == 1


def test_an_interruption_before_the_segment_is_published_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.trials.publish([row("a")])
    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "put", _raise(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            store.trials.fold()
    assert ids(store) == ["a"]


def test_a_damaged_segment_of_the_same_name_is_written_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.trials.publish([row("a")])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _raise(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            store.trials.fold()
    (segment,) = store.layout.trials.iterdir()
    segment.write_bytes(b"PAR1 damaged PAR1")
    store.trials.fold()
    assert ids(store) == ["a"]


def test_a_file_of_a_later_version_keeps_its_columns(store: Store) -> None:
    later = pa.table({"trial_id": ["z"], "status": ["done"], "invented_later": [1]})
    content = to_parquet(later)
    path = store.layout.incoming / f"{hashlib.sha256(content).hexdigest()}.parquet"
    write_atomically(path, content)
    with store.writing():
        store.trials.publish([row("a")])
    assert ids(store) == ["a", "z"]
    assert path.read_bytes() == content


def test_a_reader_whose_files_are_folded_away_reads_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.trials.publish([row("a")])
    store.trials.publish([row("b")])
    plain = Shelf.files
    folded = False

    def files(shelf: Shelf) -> list[Path]:
        nonlocal folded
        found = plain(shelf)
        if not folded:
            folded = True
            shelf.fold()
        return found

    monkeypatch.setattr(Shelf, "files", files)
    assert ids(store) == ["a", "b"]


@pytest.mark.parametrize("merge", [Shelf.fold, Shelf._gather])
@pytest.mark.parametrize("listing", [1, 2, 3, 4])
@pytest.mark.parametrize("shelf_name", ["trials", "attempts"])
def test_a_merge_while_folders_are_listed_hides_nothing(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    listing: int,
    shelf_name: str,
    merge: Callable[[Shelf], None],
) -> None:
    shelf: Shelf = getattr(store, shelf_name)
    for name in "ab":
        shelf.publish([{shelf.key: name, "trial_id": name}])
    monkeypatch.setattr(store_module, "GATHER_FILES", 2)
    plain = shelf.on.entries
    count = 0

    def entries(folder: Path) -> list[Entry]:
        nonlocal count
        count += 1
        if count == listing:
            monkeypatch.setattr(shelf.on, "entries", plain)
            before = set(shelf.files())
            merge(shelf)
            assert len(before) == 2
            assert len(set(shelf.files()) - before) == 1
        return plain(folder)

    monkeypatch.setattr(shelf.on, "entries", entries)
    rows, damaged = shelf.read([shelf.key])
    assert sorted(rows[shelf.key].to_pylist()) == ["a", "b"]
    assert damaged == []


# Damage


def _flip(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def _truncate(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-1])
    return path


def _empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _rename(path: Path) -> Path:
    return path.rename(path.with_name("0" * 64 + ".parquet"))


def _no_parquet(path: Path) -> Path:
    path.unlink()
    content = b"not Parquet, under a name that fits"
    other = path.with_name(f"{hashlib.sha256(content).hexdigest()}.parquet")
    other.write_bytes(content)
    return other


@pytest.mark.parametrize("harm", [_flip, _truncate, _empty, _rename, _no_parquet])
@pytest.mark.parametrize("folded", [False, True])
def test_a_damaged_file_is_left_out_reported_and_set_aside(
    store: Store, harm: Callable[[Path], Path], folded: bool
) -> None:
    bad = published(store.trials, row("a"))
    if folded:
        store.trials.fold()
        (bad,) = store.layout.trials.iterdir()
    store.trials.publish([row("b")])
    bad = harm(bad)
    rows, damaged = store.trials.read(["trial_id"])
    assert rows["trial_id"].to_pylist() == ["b"]
    assert damaged == [bad]
    with store.writing():
        pass
    assert bad.exists()  # folding neither reads nor removes it
    content = bad.read_bytes()
    assert store.set_aside_damaged() == [bad]
    assert not bad.exists()
    assert store.layout.set_aside(bad).read_bytes() == content
    assert ids(store) == ["b"]
    assert store.set_aside_damaged() == []


def test_every_single_flipped_byte_of_a_record_is_noticed(store: Store) -> None:
    path = published(store.trials, row("a"))
    content = path.read_bytes()
    for position in range(0, len(content), 97):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]
        )
        assert store.trials.read(["trial_id"])[1] == [path]


@pytest.mark.parametrize("harm", [_truncate, _empty])
def test_damaged_cells_are_named_and_make_room_for_new_ones(
    store: Store, harm: Callable[[Path], Path]
) -> None:
    store.write_cells("mine", [{"trial_id": "a"}], "{}")
    path = harm(store.layout.study("mine"))
    with pytest.raises(StoreError, match=r"mine\.parquet is damaged"):
        store.read_cells("mine")
    assert store.set_aside_damaged() == [path]
    assert store.read_cells("mine") is None
    store.write_cells("mine", [{"trial_id": "a"}], "{}")
    assert store.read_cells("mine") is not None


@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_cells_with_a_flipped_byte_are_refused_or_the_same(store: Store, mask: int) -> None:
    store.write_cells("mine", [{"trial_id": "a", "role": "student", "seed": 3}], '{"name": "mine"}')
    good = store.read_cells("mine")
    assert good is not None
    path = store.layout.study("mine")
    content = path.read_bytes()
    refused = 0
    for position in range(0, len(content), 23):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ mask]) + content[position + 1 :]
        )
        try:
            found = store.read_cells("mine")
        except StoreError:
            refused += 1
        else:
            assert found is not None
            assert found[0].to_pylist() == good[0].to_pylist()
            assert found[1] == good[1]
    assert refused > 0


def test_an_unreadable_file_is_not_taken_for_damaged(store: Store) -> None:
    path = store.layout.incoming / ("0" * 64 + ".parquet")
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match=f"cannot read .*{path.name}"):
        store.trials.read()
    with pytest.raises(StoreError, match=f"cannot read .*{path.name}"):
        store.set_aside_damaged()


def test_what_an_interrupted_writer_left_is_ignored_and_cleaned(store: Store) -> None:
    place = store.layout
    store.trials.publish([row("a")])
    left = [
        folder / ".tmp-0123"
        for folder in (
            place.incoming, place.trials, place.attempts, place.evaluations,
            place.attributions, place.weights("x").parent, place.snapshot("x").parent,
        )
    ]  # fmt: skip
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half a file")
    (weights := place.weights("x")).write_bytes(b"weights")
    assert ids(store) == ["a"]
    with store.writing():
        assert not any(path.exists() for path in left)
    assert weights.exists()
    assert ids(store) == ["a"]


# Writing


def test_a_second_writer_is_refused_with_the_name_of_the_first(store: Store) -> None:
    with (
        store.writing(),
        pytest.raises(StoreError, match=f"is being written by process {os.getpid()} on "),
        Store(store.layout.root).writing(),
    ):
        pytest.fail("two writers")
    with store.writing():
        pass


def test_a_writer_in_another_process_is_named_and_gone_when_it_dies(store: Store) -> None:
    code = """
import sys
from sweep.store import Store
with Store(sys.argv[1]).writing():
    print("ready", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(store.layout.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        with (
            pytest.raises(StoreError, match=f"process {other.pid} on "),
            store.writing(),
        ):
            pytest.fail("two writers")
        other.kill()
    with store.writing():
        pass


def test_the_lock_is_free_after_an_error(store: Store) -> None:
    store.trials.publish([row("a")])
    with pytest.raises(ValueError, match="acuracy"), store.writing():
        store.trials.publish([row("b", acuracy=1.0)])
    assert not list(store.layout.incoming.iterdir())  # folded all the same
    with store.writing():
        assert ids(store) == ["a"]


def test_readers_see_what_the_active_run_says_and_nothing_else(store: Store) -> None:
    with store.writing():
        assert store.read_live() == {}
        store.write_live({"done": 3})
        assert store.read_live() == {"done": 3}
    assert store.read_live() is None


def _raise(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_no_half_of_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.trials.publish([row("a")])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _raise(FULL))
        with pytest.raises(StoreError, match=r"cannot write .*\.parquet: No space left on device"):
            store.trials.publish([row("b")])
        with pytest.raises(StoreError, match=r"mine\.parquet: No space left on device"):
            store.write_cells("mine", [{"trial_id": "a"}], "{}")
        with pytest.raises(StoreError, match=r"x\.safetensors: No space left on device"):
            write_atomically(store.layout.weights("x"), b"weights")
        with pytest.raises(StoreError, match="No space left"):
            store.trials.fold()
    assert ids(store) == ["a"]
    assert [p.suffix for p in store.layout.root.rglob("*") if p.is_file()] == [".parquet"]


def test_a_full_disk_does_not_end_a_run_for_its_progress(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.writing():
        store.write_live({"done": 3})
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", _raise(FULL))
            store.write_live({"done": 4})
        assert store.read_live() == {"done": 3}


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory that cannot be written, also by root, who becomes another user."""
    root = os.geteuid() == 0
    tmp_path.chmod(0o555)
    if root:
        os.seteuid(65534)
    yield tmp_path
    if root:
        os.seteuid(0)
    tmp_path.chmod(0o755)


def test_a_read_only_directory_is_an_error_that_names_it(read_only: Path) -> None:
    store = Store(read_only / "results")
    with pytest.raises(StoreError, match=f"cannot write .*{read_only.name}.*: Permission denied"):
        store.trials.publish([row("a")])
    with (
        pytest.raises(StoreError, match=f"cannot write to .*{read_only.name}.*: Permission denied"),
        store.writing(),
    ):
        pytest.fail("written")


def test_a_results_directory_that_is_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("mine")
    store = Store(tmp_path / "results")
    with pytest.raises(StoreError, match="results"), store.writing():
        pytest.fail("written")
    with pytest.raises(StoreError, match="results"):
        store.trials.publish([row("a")])


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"first")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _raise(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


# Cells


def test_cells_and_their_study_come_back(store: Store) -> None:
    rows = [
        {"trial_id": "a", "role": "student", "teacher": "small", "alpha": 1.0, "switch_epoch": 0},
        {"trial_id": "a", "role": "baseline", "batch_size": None, "seed": 2**62},
    ]
    store.write_cells("my-study", rows, '{"name": "my-study", "title": "é"}')
    found = store.read_cells("my-study")
    assert found is not None
    table, text = found
    assert table.schema.equals(CELLS)
    assert table.to_pylist() == [dict.fromkeys(CELLS.names) | row for row in rows]
    assert text == '{"name": "my-study", "title": "é"}'
    assert store.studies() == ["my-study"]
    store.write_cells("my-study", rows[:1], "{}")
    again = store.read_cells("my-study")
    assert again is not None
    assert again[0].num_rows == 1


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp/x", "", "A"])
def test_a_study_cannot_be_written_outside(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a file name"):
        store.write_cells(name, [], "{}")
    assert not store.layout.root.exists()


# Earlier versions


def test_a_file_without_some_columns_is_read_with_nulls_and_folded(store: Store) -> None:
    names = [n for n in TRIALS.names if n not in ("peak_memory_bytes", "robustness", "curve")]
    content = to_parquet(pa.Table.from_pylist([full_row("a")], TRIALS).select(names))
    write_atomically(
        store.layout.trials / f"{hashlib.sha256(content).hexdigest()}.parquet", content
    )
    store.trials.publish([full_row("b")])
    gone = {"peak_memory_bytes": None, "robustness": None, "curve": None}
    for _ in range(2):
        rows, damaged = store.trials.read()
        assert damaged == []
        assert rows.schema.equals(TRIALS)
        assert rows.sort_by("trial_id").to_pylist() == [full_row("a") | gone, full_row("b")]
        with store.writing():
            pass
    assert len(list(store.layout.trials.iterdir())) == 1


def test_a_scan_gives_files_of_every_version_the_columns_of_this_one(tmp_path: Path) -> None:
    store = Store(shutil.copytree(VERSION_1, tmp_path / "results"))
    later = pa.table({"trial_id": ["z" * 24], "seed": [7], "invented_later": [1]})
    content = to_parquet(later)
    write_atomically(
        store.layout.incoming / f"{hashlib.sha256(content).hexdigest()}.parquet", content
    )
    scanned = store.trials.scan()[0].to_table()
    assert scanned.schema.equals(TRIALS)
    assert scanned.num_rows > 1
    assert scanned.to_pylist() == store.trials.read()[0].to_pylist()


@pytest.mark.parametrize("folded", [False, True])
def test_results_of_version_1_are_read(tmp_path: Path, folded: bool) -> None:
    store = Store(shutil.copytree(VERSION_1, tmp_path / "results"))
    if folded:
        with store.writing():
            store.trials.publish([row("a" * 24), row("e" * 24)])
    rows, damaged = store.trials.read()
    assert damaged == []
    baseline, student, diverged, *more = rows.sort_by("trial_id").to_pylist()
    assert len(more) == int(folded)
    assert baseline["trial_id"] == "a" * 24
    assert baseline["test_metric"] == 97.5
    assert baseline["teacher"] is None
    assert baseline["train_loss"] == [2.5, 1.25, 0.5]
    assert baseline["train_loss_step"] == [20, 40, 60]
    assert baseline["robustness"] == [{"attack": "fgsm", "epsilon": 0.05, "value": 61.5}]
    assert baseline["curve"] == [{"epoch": 2, "split": "test", "metric": 90.0, "loss": 0.5}]
    assert baseline["confusion"] == [[18, 18], [35, 0]]
    assert baseline["per_class"][1] == {
        "label": 1, "precision": None, "recall": 0.0, "f1": None, "support": 35,
    }  # fmt: skip
    assert baseline["finished_at"] == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert (student["teacher"], student["alpha"], student["switch_epoch"]) == ("small", 0.1, 3)
    assert (student["seed"], student["selected_on"]) == (2**62, "validation")
    assert student["teacher_trial_ids"] == ["c" * 24]
    assert (diverged["status"], diverged["diverged_epoch"]) == ("diverged", 1)
    assert diverged["test_metric"] is None
    (attempt,) = store.attempts.read()[0].to_pylist()
    assert (attempt["trial_id"], attempt["kind"]) == ("d" * 24, "diverged")
    (evaluation,) = store.evaluations.read()[0].to_pylist()
    assert (evaluation["epsilon"], evaluation["value"]) == (0.1, 30.5)
    cells = store.read_cells("old")
    assert cells is not None
    assert cells[0]["alpha"].to_pylist() == [None, 0.1, 1.0]
    assert cells[1] == '{"name": "old"}'


def test_results_of_version_2_are_read(tmp_path: Path) -> None:
    store = Store(shutil.copytree(VERSION_2, tmp_path / "results"))
    (trial,) = store.trials.read()[0].to_pylist()
    assert (trial["trial_id"], trial["test_metric"], trial["numerics_version"]) == (
        "b" * 24,
        95.5,
        2,
    )
    assert (trial["epochs_run"], trial["stopped_epoch"], trial["best_epoch"]) == (6, 6, 4)
    assert trial["lr_schedule"] == '{"kind":"step","factor":0.5,"milestones":[2]}'
    (attempt,) = store.attempts.read()[0].to_pylist()
    assert (attempt["status"], attempt["beside"], attempt["number"]) == (
        "retried",
        ["c" * 24],
        None,
    )
    (run,) = store.runs.read()[0].to_pylist()
    assert (run["epochs_alone"], run["epochs_trained"]) == (9, 6)
    assert store.evaluations.read(["value"])[0]["value"].to_pylist() == [20.0]
    cells = store.read_cells("second")
    assert cells is not None
    assert cells[1] == '{"name": "second"}'
    assert Results(store.layout.root).counts("second")["done"] == 1


def test_results_of_version_3_are_read(tmp_path: Path) -> None:
    store = Store(shutil.copytree(VERSION_3, tmp_path / "results"))
    (trial,) = store.trials.read()[0].to_pylist()
    assert (trial["trial_id"], trial["test_metric"], trial["numerics_version"]) == (
        "f" * 24, 93.0, 3,
    )  # fmt: skip
    assert trial["robustness"] == [{"attack": "fgsm", "epsilon": 0.05, "value": 40.0}]
    assert trial["zero_gradients_percent"] is None
    (attempt,) = store.attempts.read()[0].to_pylist()
    assert (attempt["status"], attempt["number"]) == ("done", 2)
    (run,) = store.runs.read()[0].to_pylist()
    assert (run["study"], run["held_back"]) == ("third", 0)
    (evaluation,) = store.evaluations.read()[0].to_pylist()
    assert (evaluation["value"], evaluation["zero_gradients_percent"]) == (10.0, None)
    results = Results(store.layout.root)
    assert results.counts("third")["done"] == 1
    (cell,) = results.cell_table("third").to_pylist()
    assert [(p["epsilon"], p["value"]) for p in cell["robustness"]] == [(0.05, 40.0), (0.2, 10.0)]


def test_results_of_version_4_are_read(tmp_path: Path) -> None:
    store = Store(shutil.copytree(VERSION_4, tmp_path / "results"))
    (trial,) = store.trials.read()[0].to_pylist()
    assert (trial["trial_id"], trial["test_metric"], trial["zero_gradients_percent"]) == (
        "d" * 24, 91.0, 1.5,
    )  # fmt: skip
    assert [(p["attack"], p["value"]) for p in trial["robustness"]] == [
        ("fgsm", 50.0), ("pgd-20", 35.0), ("weight_noise-relative", 80.0),
    ]  # fmt: skip
    assert (trial["validation_robustness"], trial["perturbed"]) == (None, None)
    (evaluation,) = store.evaluations.read()[0].to_pylist()
    assert (evaluation["attack"], evaluation["value"]) == ("input_noise", 70.0)
    (run,) = store.runs.read()[0].to_pylist()
    assert (run["study"], run["done"]) == ("fourth", 1)
    results = Results(store.layout.root)
    assert results.counts("fourth")["done"] == 1
    (cell,) = results.cell_table("fourth").to_pylist()
    assert len(cell["robustness"]) == 4


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2, VERSION_3, VERSION_4])
@pytest.mark.parametrize(
    ("folder", "schema"),
    [("trials", TRIALS), ("attempts", ATTEMPTS), ("evaluations", EVALUATIONS), ("studies", CELLS)],
)
def test_columns_are_only_ever_added(version: Path, folder: str, schema: pa.Schema) -> None:
    (path,) = (version / folder).glob("*.parquet")
    for field in pq.read_schema(path):
        assert schema.field(field.name).type == field.type


# Other tools


def test_pandas_polars_and_duckdb_read_trials_without_this_package(store: Store) -> None:
    with store.writing():
        store.trials.publish([full_row("a"), row("b", test_metric=50.0)])
        store.attempts.publish([{"attempt_id": "e", "trial_id": "a"}])
    folder = store.layout.trials

    frame = pd.read_parquet(folder).set_index("trial_id")
    assert frame.loc["b", "test_metric"] == 50.0
    assert list(frame.loc["a", "confusion"][1]) == [0, 4]
    assert frame.loc["a", "robustness"][0] == {"attack": "fgsm", "epsilon": 0.005, "value": 70.0}

    table = pl.read_parquet(folder / "*.parquet").sort("trial_id")
    assert table["test_metric"].to_list() == [0.1, 50.0]
    assert table["robustness"].to_list()[0][0]["value"] == 70.0
    assert table["finished_at"].to_list()[0] == AT

    found = duckdb.sql(
        "SELECT trial_id, point.epsilon, point.value FROM (SELECT trial_id, unnest(robustness) AS "
        f"point FROM '{folder}/*.parquet') ORDER BY point.epsilon"
    ).fetchall()
    assert found == [("a", 0.005, 70.0), ("a", 0.05, None)]

"""What nothing needs is found, and only that is removed."""

import json
import sys
from pathlib import Path

import pytest

from sweep import cli
from sweep.cells import demand
from sweep.errors import StoreError
from sweep.expand import Cell
from sweep.garbage import Kind, free, survey
from sweep.records import cell_row, trial_row
from sweep.store import Store
from sweep.study import Study
from tests.sweep.tiny import result, state, tiny_study, weights

STUDY = tiny_study()
CELLS = demand(STUDY, None).everything


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A study of which one trial is done and another was begun."""
    store = Store(tmp_path / "results")
    store.write_cells(STUDY.name, [cell_row(cell) for cell in CELLS], STUDY.to_json())
    store.trials.publish([trial_row(CELLS[0], result())])
    store.write_weights(CELLS[0].trial_id, weights("asked"))
    store.write_snapshot(CELLS[0].trial_id, state(3))
    store.write_checkpoint(CELLS[1].spec.shortened(2), state(2))
    return store


def found(store: Store) -> dict[str, Kind]:
    return {item.path.name: item.kind for item in survey(store).garbage}


def rubbish(store: Store) -> dict[str, Kind]:
    """Adds something of every kind."""
    store.write_weights("nobody", weights("x"))
    store.write_snapshot("nobody", state(1))
    finished = store.write_checkpoint(CELLS[0].spec.shortened(2), state(2))
    passed = store.write_checkpoint(CELLS[1].spec.shortened(1), state(1))
    place = store.layout
    for path in (place.incoming / ".tmp-1", place.damaged / "x", place.damaged / ".tmp-2"):
        store.on.put(path, b"rest")
    return {
        ".tmp-1": Kind.LEFTOVER, ".tmp-2": Kind.LEFTOVER, "x": Kind.DAMAGED,
        "nobody.safetensors": Kind.SNAPSHOT, finished.name: Kind.CHECKPOINT,
        passed.name: Kind.CHECKPOINT,
    }  # fmt: skip


def test_nothing_that_is_needed_is_found(store: Store) -> None:
    assert found(store) == {}
    assert survey(store).unclear == ()


def test_every_kind_is_found_and_freed_and_nothing_else(store: Store) -> None:
    root = Path(str(store))
    before = {path for path in root.rglob("*") if path.is_file()}
    expected = rubbish(store)
    size = len(weights("x")) + 76
    assert found(store) == expected
    (item,) = [item for item in survey(store).garbage if item.kind is Kind.WEIGHTS]
    assert item.size == Path(item.path).stat().st_size >= size - 8
    freed = free(store)
    assert {item.path.name: item.kind for item in freed.garbage} == expected
    assert len(freed.garbage) == 7
    after = {path for path in root.rglob("*") if path.is_file()} - {store.layout.lock}
    assert {path.parent.name for path in after ^ before} <= {"incoming", "trials"}  # folded
    assert found(store) == {}
    assert store.read_state(CELLS[1].spec.shortened(2).trial_id) == state(2)


def test_a_trial_that_failed_may_be_tried_again_from_its_checkpoint(store: Store) -> None:
    store.attempts.publish(
        [{"attempt_id": "e", "trial_id": CELLS[1].trial_id, "status": "failed", "kind": "bug"}]
    )
    assert found(store) == {}


def test_what_cannot_be_judged_is_kept(store: Store) -> None:
    rubbish(store)
    store.write_cells("other", [cell_row(CELLS[0])], '{"name": "of another version"}')
    assert Kind.CHECKPOINT not in found(store).values()
    (line,) = survey(store).unclear
    assert line.startswith("checkpoints are left alone: study other cannot be read")
    path = Path(store.layout.study("other"))
    path.write_bytes(b"damaged")
    assert set(found(store).values()) == {Kind.LEFTOVER, Kind.DAMAGED}
    assert "other.parquet is damaged" in survey(store).unclear[0]


def test_networks_of_a_later_grid_are_kept_while_it_is_not_known(tmp_path: Path) -> None:
    """A seed was added: which grid follows is open until its trials are done."""

    def study(*seeds: int) -> Study:
        then = [{"best": ["alpha"], "select_on": "test", "grid": {"ramp": ["linear"]}}]
        return tiny_study(seeds=list(seeds), then=then, **{"grid.switch_epoch": [3]})

    def ask(study: Study, store: Store) -> tuple[Cell, ...]:
        wanted = demand(study, store)
        store.write_cells(study.name, [cell_row(c) for c in wanted.everything], study.to_json())
        return wanted.everything

    store = Store(tmp_path)
    for cell in ask(study(1), store):
        store.trials.publish([trial_row(cell, result())])
    (later,) = [cell for cell in ask(study(1), store) if cell.parameters["ramp"] == "linear"]
    store.write_weights(later.trial_id, weights("later"))
    checkpoint = store.write_checkpoint(later.spec.shortened(2), state(2))
    assert found(store) == {}
    assert later.trial_id not in {cell.trial_id for cell in ask(study(1, 2), store)}
    assert found(store) == {}
    assert "networks and checkpoints are left alone" in survey(store).unclear[0]
    assert "another grid of ramp" in survey(store).unclear[0]
    assert store.on.exists(checkpoint)


def test_without_a_study_networks_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_weights("a", weights("a"))
    assert found(store) == {}
    assert "no study was run here" in survey(store).unclear[0]


def test_nothing_is_freed_while_a_run_is_at_work(store: Store) -> None:
    expected = rubbish(store)
    with store.writing():
        with pytest.raises(StoreError, match="is being written by process"):
            free(Store(str(store)))
        assert expected["x"] is Kind.DAMAGED
        assert store.on.exists(store.layout.damaged / "x")


def test_the_command(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = rubbish(store)

    def sweep(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["sweep", "gc", "--results", str(store), *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return capsys.readouterr().out

    told = json.loads(sweep("--json"))
    assert {Path(file["file"]).name: file["kind"] for file in told["files"]} == expected
    assert told["bytes"] == sum(file["bytes"] for file in told["files"]) > 0
    assert "7 files" in sweep()
    assert "can be freed with --delete" in sweep()
    assert "7 files" in sweep("--delete")
    assert "0 files, 0.0 MB can be freed" in sweep()

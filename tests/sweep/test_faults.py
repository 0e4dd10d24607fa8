"""Every call of the store to the disk fails once, or is the last: nothing published is lost.

Each piece of work is done on a simulated disk (`tests.sweep.disk`). It is counted how many calls it makes; then
it is done again for each of them and each thing that can go wrong there: no space, an error of the
disk, the end of the machine before the call, or in the middle of a write after none, one, half, or all but
one of its bytes. After an end the disk is opened again as a killed process leaves it, as a machine does
that lost everything it had not synced, and as one that lost some of it. Then what had been promised is
there, once, and nothing else that was not being written; and the same work, done again, succeeds.
"""

import copy
import errno
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sweep import store as store_module
from sweep.cells import demand
from sweep.errors import StoreError
from sweep.garbage import free
from sweep.local_files import LocalFiles
from sweep.merge import merge
from sweep.records import cell_row
from sweep.store import Store
from tests.sweep.disk import Crash, Fault, SimulatedDisk
from tests.sweep.tiny import state, tiny_study, weights

ROOT = Path("/results")
STUDY = tiny_study()
CELLS = demand(STUDY, None).everything
OTHER = Path("/other")
CHECKPOINTS = [CELLS[0].spec.shortened(epochs).trial_id for epochs in (1, 2)]
READS = {"read", "entries", "exists", "is_folder", "is_locked"}
TORN: tuple[Callable[[int], int], ...] = (
    lambda size: 0, lambda size: 1, lambda size: size // 2, lambda size: size - 1,
)  # fmt: skip


def opened(disk: SimulatedDisk, root: Path = ROOT) -> Store:
    return Store(root, on=LocalFiles(disk))


def attempt(name: str) -> dict[str, Any]:
    return {"attempt_id": name, "trial_id": name}


@dataclass
class Promised:
    """What a store has said is there, and what it may have been writing."""

    rows: set[str] = field(default_factory=set)
    written: dict[str, bytes] = field(default_factory=dict)
    cells: set[int] = field(default_factory=set)
    coming: set[str] = field(default_factory=set)


Work = Callable[[Store, Promised], None]


def publish(store: Store, promised: Promised) -> None:
    for name in ("n1", "n2"):
        promised.coming.add(name)
        store.attempts.publish([attempt(name)])
        promised.rows.add(name)


def record(store: Store, promised: Promised) -> None:
    promised.coming.add("n1")
    store.trials.publish([{"trial_id": "n1", "status": "done"}])
    promised.rows.add("n1")


def gather(store: Store, promised: Promised) -> None:
    publish(store, promised)  # the second is one too many


def fold(store: Store, promised: Promised) -> None:
    for shelf in store.shelves:
        shelf.fold()


def recovery(store: Store, promised: Promised) -> None:
    with store.writing():
        publish(store, promised)


def states(store: Store, promised: Promised) -> None:
    key = CELLS[0].trial_id
    for write, content in (
        (store.write_weights, weights("w")), (store.write_snapshot, state(7)),
    ):  # fmt: skip
        write(key, content)
    promised.written["weights"] = weights("w")
    promised.written["snapshot"] = state(7)


def checkpoint(store: Store, promised: Promised) -> None:
    store.write_checkpoint(CELLS[0].spec.shortened(2), state(2))
    store.remove_checkpoints({CELLS[0].spec.shortened(1).trial_id})


def write_cells(store: Store, promised: Promised) -> None:
    promised.cells.add(3)
    store.write_cells(STUDY.name, [cell_row(cell) for cell in CELLS[:3]], STUDY.to_json())
    promised.cells = {3}


def join(store: Store, promised: Promised) -> None:
    disk = store.on._files._disk  # type: ignore[attr-defined]
    promised.coming |= {"o1", "o2"}
    promised.cells.add(4)
    assert merge([opened(disk, OTHER)], store).exit_status == 0
    promised.rows |= {"o1", "o2"}
    promised.cells = {4}
    promised.written["other"] = weights("o")


def collect(store: Store, promised: Promised) -> None:
    free(store)


@dataclass(frozen=True)
class Scene:
    """A piece of work and what is there before it."""

    work: Work
    shelf: str = "attempts"
    gather_files: int = 100


SCENES = {
    "publish": Scene(publish),
    "a record": Scene(record, "trials"),
    "gather": Scene(gather, gather_files=3),
    "fold": Scene(fold),
    "fold records": Scene(fold, "trials"),
    "recovery": Scene(recovery),
    "weights and snapshots": Scene(states),
    "checkpoint": Scene(checkpoint),
    "cells": Scene(write_cells),
    "merge": Scene(join),
    "gc": Scene(collect),
}


def prepared(scene: Scene) -> tuple[SimulatedDisk, Promised]:
    """A disk on which a run was stopped: two small files, leftovers, networks, a checkpoint, cells."""
    disk = SimulatedDisk()
    store = opened(disk)
    for name in ("a", "b"):
        row = {"trial_id": name, "status": "done"} if scene.shelf == "trials" else attempt(name)
        getattr(store, scene.shelf).publish([row])
    store.write_weights("orphan", weights("orphan"))
    store.write_weights(CELLS[1].trial_id, weights("kept"))
    store.write_checkpoint(CELLS[0].spec.shortened(1), state(1))
    store.write_cells(STUDY.name, [cell_row(cell) for cell in CELLS[:2]], STUDY.to_json())
    other = opened(disk, OTHER)
    other.trials.publish([{"trial_id": "o1", "status": "done"}])
    other.trials.publish([{"trial_id": "o2", "status": "done"}])
    other.write_weights("o1", weights("o"))
    other.write_cells(STUDY.name, [cell_row(cell) for cell in CELLS[:4]], STUDY.to_json())
    disk.harm(ROOT / "attempts" / ".tmp-left", b"half a fi")
    disk.harm(ROOT / "weights" / ".tmp-left", b"half a fi")
    disk.restart()
    return disk, Promised(
        rows={"a", "b"}, cells={2}, written={"kept": weights("kept"), "checkpoint": state(1)}
    )


def check(disk: SimulatedDisk, promised: Promised, scene: Scene) -> None:
    store = opened(disk)
    found: list[str] = []
    for shelf in (store.trials, store.attempts):
        rows, damaged = shelf.read([shelf.key])
        assert damaged == []
        found += rows[shelf.key].to_pylist()
    assert len(found) == len(set(found)), "none is doubled"
    assert promised.rows <= set(found) <= promised.rows | promised.coming
    cells = store.read_cells(STUDY.name)
    assert cells is not None
    assert len(cells[0]) in promised.cells
    for what, read in (
        ("kept", lambda: store.read_weights(CELLS[1].trial_id)),
        ("weights", lambda: store.read_weights(CELLS[0].trial_id)),
        ("snapshot", lambda: store.read_state(CELLS[0].trial_id)),
        ("checkpoint", lambda: next(filter(None, map(store.read_state, CHECKPOINTS)), None)),
        ("other", lambda: store.read_weights("o1")),
    ):
        content = read()
        if what in promised.written and content is None:
            pytest.fail(f"{what} is lost")
    assert store.set_aside_damaged() == [], "nothing torn is seen"
    assert store.set_aside_damaged_weights(store.kept_weights()) == []


def faults(scene: Scene) -> Iterator[Fault]:
    """Everything that can go wrong, once for every call that the work makes."""
    disk, promised = prepared(scene)
    scene.work(opened(disk), promised)
    before = ""
    for number, call in enumerate(list(disk.calls)):
        if not {before, call} <= READS:  # else what is on the disk is as it was one call earlier
            yield Fault(number)
        before = call
        yield Fault(number, errno.EIO)
        if call not in READS:
            yield Fault(number, errno.ENOSPC)
        if call == "write":
            for torn in TORN:
                yield Fault(number, None, torn)
                yield Fault(number, errno.ENOSPC, torn)


SAMPLED = {"merge": 7, "recovery": 4, "gc": 4}
"""Scenes of many calls, of which `make test` tries every so many; `make test-all` tries all."""


@pytest.mark.parametrize(
    ("name", "every"),
    [
        *((name, SAMPLED.get(name, 1)) for name in SCENES),
        *(pytest.param(name, 1, marks=pytest.mark.slow) for name in SAMPLED),
    ],
)
def test_whatever_fails_wherever_nothing_is_lost_doubled_or_torn(
    name: str, every: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = SCENES[name]
    monkeypatch.setattr(store_module, "GATHER_FILES", scene.gather_files)
    before, promise = prepared(scene)
    chance = random.Random(name)
    undisturbed = copy.deepcopy(promise)
    scene.work(opened(before.copy()), undisturbed)
    count = reopened = ended = 0
    messages: list[str] = []
    for fault in itertools.islice(faults(scene), 0, None, every):
        disk, promised = before.copy(), copy.deepcopy(promise)
        disk.fault = fault
        try:
            scene.work(opened(disk), promised)
        except Crash:
            ended += 1
            ways: list[Callable[[SimulatedDisk], None]] = [
                SimulatedDisk.restart,
                SimulatedDisk.reopen,
                lambda d: d.reopen(chance),
            ]
        except StoreError as error:
            messages.append(str(error))
            ways = [SimulatedDisk.restart]
        else:
            ways = [SimulatedDisk.reopen]
        count += 1
        for way in ways:
            again = disk.copy()
            way(again)
            reopened += 1
            check(again, promised, scene)
            after = copy.deepcopy(promised)
            again.restart()
            with opened(again).writing():
                pass
            scene.work(opened(again), after)
            check(again, after, scene)
            assert after.rows == undisturbed.rows
    with capsys.disabled():
        print(f"\n  {name}: {count} faults, {ended} of them ends, {reopened} times opened again; "
              "nothing lost, doubled or torn")  # fmt: skip
    assert ended > 0
    assert len(messages) > 0
    assert all("/results" in text or "/other" in text for text in messages), "each names the place"


def test_a_run_counts_on_nothing_that_a_crash_could_still_take_back() -> None:
    disk = SimulatedDisk()
    opened(disk).trials.publish([{"trial_id": "a", "status": "done"}])
    opened(disk).attempts.publish([attempt("before")])
    dry = disk.copy()
    opened(dry).attempts.publish([attempt("killed")])
    last = max(number for number, call in enumerate(dry.calls) if call == "sync_folder")
    disk.restart()
    disk.fault = Fault(last)  # renamed, but its folder is not synced
    with pytest.raises(Crash):
        opened(disk).attempts.publish([attempt("killed")])
    disk.restart()
    lost = disk.copy()
    lost.reopen()
    assert len(opened(lost).attempts.read()[0]) == 1, "it was not promised yet"
    store = opened(disk)
    seen = store.attempts.read(["attempt_id"])[0]["attempt_id"].to_pylist()
    with store.writing():
        after = disk.copy()
        after.reopen()
        kept = opened(after).attempts.read(["attempt_id"])[0]["attempt_id"].to_pylist()
    assert sorted(kept) == sorted(seen) == ["before", "killed"]

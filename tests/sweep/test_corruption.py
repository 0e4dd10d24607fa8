"""Truncated and flipped result files of every kind: never a wrong answer, never a nameless error.

A wrong answer is a row, a cell, a network or a state that was not written. What may happen to a harmed file: it
is reported by its name and left out, or what it says is what was written.
"""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sweep.cells import demand
from sweep.errors import DamagedError
from sweep.expand import Cell
from sweep.local_files import LocalFiles
from sweep.records import cell_row, trial_row
from sweep.store import Store
from tests.sweep.disk import SimulatedDisk
from tests.sweep.tiny import result, tiny_study
from trials import weights
from trials.snapshot import Progress, Snapshot

STUDY = tiny_study()
CELLS: tuple[Cell, ...] = demand(STUDY, None).everything
KEY = CELLS[0].trial_id


class Harmed:
    """A store with one file of each kind, and what it answers while nothing is harmed."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk()
        self.store = Store(Path("/results"), on=LocalFiles(self.disk))
        store, draw = self.store, torch.Generator().manual_seed(1)
        tensors = {"a.weight": torch.randn(40, 30, generator=draw), "a.bias": torch.randn(40)}
        snapshot = Snapshot(
            2, tensors, {"0.step": torch.ones(3)}, Progress(8, (0.5, 0.25), (4, 8))
        ).to_bytes()
        store.trials.publish([trial_row(cell, result()) for cell in CELLS[:4]])
        store.trials.fold()
        store.trials.publish([trial_row(cell, result()) for cell in CELLS[4:6]])
        store.attempts.publish([{"attempt_id": "e", "trial_id": KEY, "message": "é" * 50}])
        store.evaluations.publish([{"evaluation_id": "v", "trial_id": KEY, "value": 0.5}])
        store.attributions.publish(
            [{"attribution_id": "s", "trial_id": KEY, "points": [{"row": 1, "share": 0.5}]}]
        )
        store.runs.publish([{"run_id": "r", "study": "tiny", "busy_s": 0.5}])
        store.write_cells(STUDY.name, [cell_row(cell) for cell in CELLS], STUDY.to_json())
        store.write_weights(KEY, weights.to_bytes(tensors))
        store.write_snapshot(KEY, snapshot)
        store.write_checkpoint(CELLS[1].spec.shortened(2), snapshot)
        self.files = [path for path in self.disk.files() if path.suffix != ""]
        self.contents = self.disk.files()
        self.good = {path: self.answer(path) for path in self.files}

    def answer(self, path: Path) -> Any:
        """What the store says of the content of a file; an error of damage names it."""
        store = self.store
        kind = path.parent.name
        if kind == "studies":
            cells = store.read_cells(STUDY.name)
            assert cells is not None
            return cells[0].to_pylist(), cells[1]
        if kind == "weights":
            return _tensors(store.read_weights(KEY))
        if kind == "snapshots":
            return _state(store.read_state(KEY))
        if kind == "checkpoints":
            return _state(store.read_state(CELLS[1].spec.shortened(2).trial_id))
        shelf = {"incoming": "trials"}.get(kind, kind)
        rows, damaged = getattr(store, shelf).read()
        if damaged:
            raise DamagedError(" ".join(map(str, damaged)))
        return rows.to_pylist()


def _tensors(content: bytes | None) -> Any:
    assert content is not None
    import safetensors.torch

    return {name: t.numpy().tobytes() for name, t in safetensors.torch.load(content).items()}


def _state(content: bytes | None) -> Any:
    if content is None:  # is not gone on from; set aside by the next run
        raise DamagedError("a state that is not whole")
    found = Snapshot.from_bytes(content)
    return found.epoch, found.progress, _tensors(content)


def flip(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncate(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.choice((0, 1, chance.randrange(len(content)), len(content) - 1))]


def blank(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    end = min(len(content), start + chance.choice((1, 16, 512)))
    return content[:start] + bytes(end - start) + content[end:]


HARMS: tuple[Callable[[bytes, random.Random], bytes], ...] = (flip, flip, truncate, blank)


def harmed_often(times: int) -> Counter[tuple[str, str]]:
    """Harms one file after the other and counts what happened, by kind of file."""
    harmed, chance = Harmed(), random.Random(20251124)
    counts: Counter[tuple[str, str]] = Counter()
    named = 0
    for number in range(times):
        path = harmed.files[number % len(harmed.files)]
        content = harmed.contents[path]
        changed = chance.choice(HARMS)(content, chance)
        harmed.disk.harm(path, changed)
        kind = path.parent.name
        try:
            found = harmed.answer(path)
        except DamagedError as error:
            named += path.name in str(error) or "not whole" in str(error)
            counts[kind, "reported"] += 1
        else:
            assert found == harmed.good[path], f"a wrong answer from {path} at case {number}"
            counts[kind, "as written"] += 1
            counts[kind, "unchanged"] += changed == content
        harmed.disk.harm(path, content)
        harmed.disk.calls.clear()
    assert named == sum(count for (_, what), count in counts.items() if what == "reported")
    return counts


def told(counts: Counter[tuple[str, str]]) -> str:
    kinds = sorted({kind for kind, _ in counts})
    lines = [
        f"{kind} {counts[kind, 'reported']} reported, {counts[kind, 'as written']} read as written"
        for kind in kinds
    ]
    total = sum(count for (_, what), count in counts.items() if what != "unchanged")
    return f"\n  {total} harmed files, 0 wrong answers: " + "; ".join(lines)


def check(counts: Counter[tuple[str, str]], times: int) -> None:
    kinds = {kind for kind, _ in counts}
    assert kinds == {
        "trials", "incoming", "attempts", "evaluations", "attributions", "runs", "studies",
        "weights", "snapshots", "checkpoints",
    }  # fmt: skip
    assert sum(n for (_, what), n in counts.items() if what != "unchanged") == times
    for kind in kinds - {
        "studies",
        "weights",
        "snapshots",
    }:  # named after the hash of all they hold
        assert counts[kind, "as written"] == counts[kind, "unchanged"]
    for kind in kinds:
        assert counts[kind, "reported"] > 0.8 * times / len(kinds)


def test_harmed_files_are_reported_or_read_as_they_were(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts = harmed_often(500)
    check(counts, 500)
    with capsys.disabled():
        print(told(counts))


@pytest.mark.slow
def test_ten_thousand_harmed_files_give_no_wrong_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts = harmed_often(10_000)
    check(counts, 10_000)
    with capsys.disabled():
        print(told(counts))

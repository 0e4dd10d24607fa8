"""A store against a dict: whatever is published, crashed, folded, harmed, merged and freed, in any order."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sweep import store as store_module
from sweep.garbage import free
from sweep.local_files import LocalFiles
from sweep.merge import merge
from sweep.store import Store
from tests.sweep.disk import Crash, Fault, SimulatedDisk
from tests.sweep.tiny import weights

NAMES = st.sampled_from("abcdefgh")
ROOT, OTHER = Path("/results"), Path("/other")


class StoreMachine(RuleBasedStateMachine):
    """Holds what must be there, and what a crash may have left or may have harmed.

    Attributes:
        rows: keys that were published, with their value.
        maybe: keys that were being published when it crashed.
        promised: keys that outlast a crash: their publication returned, or a writer saw them.
        networks: weights that were kept, by trial.
        gone: keys that were lost to damage; files that were merged and removed may come back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.disk = SimulatedDisk()
        self.rows: dict[str, int] = {}
        self.maybe: dict[str, int] = {}
        self.networks: dict[str, bytes] = {}
        self.gone: set[str] = set()
        self.promised: set[str] = set()
        self.store = self.opened()

    def opened(self, root: Path = ROOT) -> Store:
        return Store(root, on=LocalFiles(self.disk))

    @staticmethod
    def row(name: str) -> dict[str, Any]:
        return {"trial_id": name, "status": "done", "seed": ord(name), "numerics_class": "x"}

    @rule(names=st.sets(NAMES, min_size=1, max_size=3))
    def publish(self, names: set[str]) -> None:
        self.store.trials.publish([self.row(name) for name in sorted(names)])
        self.rows |= {name: ord(name) for name in names}
        self.promised |= names

    @rule(name=NAMES)
    def keep_weights(self, name: str) -> None:
        self.store.write_weights(name, weights(name))
        self.networks[name] = weights(name)

    @rule()
    def fold(self) -> None:
        self.store.trials.fold()

    @rule()
    def write_and_go(self) -> None:
        with self.store.writing():
            self.promised |= self.rows.keys()  # seen by a writer, so it counts on it
        assert not [p for p in self.disk.files() if p.name.startswith(".tmp")]

    @rule(
        names=st.sets(NAMES, min_size=1, max_size=3),
        at=st.integers(0, 30),
        torn=st.sampled_from([None, 0, 1, 50]),
        work=st.sampled_from(["publish", "keep", "fold", "write"]),
        lost=st.sampled_from(["nothing", "all", "some"]),
        seed=st.integers(0, 99),
    )
    def crash(
        self, names: set[str], at: int, torn: int | None, work: str, lost: str, seed: int
    ) -> None:
        cut = None if torn is None else (lambda size: min(size, torn))
        self.disk.fault = Fault(len(self.disk.calls) + at, None, cut)
        try:
            if work == "publish":
                self.maybe |= {name: ord(name) for name in names}
                self.publish(names)
            elif work == "keep":
                for name in sorted(names):
                    self.keep_weights(name)
            elif work == "fold":
                self.store.trials.fold()
            else:
                with self.store.writing():
                    self.publish(names)
        except Crash:
            if work == "write":
                self.maybe |= {name: ord(name) for name in names}
        if lost == "nothing":
            self.disk.restart()
        else:
            self.disk.reopen(random.Random(seed) if lost == "some" else None)
        self.store = self.opened()
        # What was removed may be there again, harmed files too, which a run sets aside.
        self.store.set_aside_damaged()
        self.store.set_aside_damaged_weights(self.store.kept_weights())
        found, there = self.found(), self.store.kept_weights()
        assert self.rows.keys() <= found.keys() <= self.rows.keys() | self.maybe.keys() | self.gone
        assert self.networks.keys() <= there.keys()
        self.rows, self.maybe = found, {}
        self.promised = set(found) if lost != "nothing" else self.promised & found.keys()
        self.networks = {name: weights(name) for name in there}

    @precondition(lambda self: self.rows)
    @rule(seed=st.integers(0, 99))
    def harm_a_record(self, seed: int) -> None:
        chance = random.Random(seed)
        path = chance.choice(self.store.trials.files())
        content = bytearray(self.disk.files()[Path(path)])
        content[chance.randrange(len(content))] ^= 1
        self.disk.harm(Path(path), bytes(content))
        _, damaged = self.store.trials.read()
        assert damaged == [path]
        if seed % 2:
            assert self.store.set_aside_damaged() == [path]
        else:  # goes on with the damaged file in its place
            self.store.set_aside(path)
        self.gone |= self.rows.keys()
        self.rows = {name: self.rows[name] for name in self.found()}
        self.promised &= self.rows.keys()

    @precondition(lambda self: self.networks)
    @rule(seed=st.integers(0, 99))
    def harm_weights(self, seed: int) -> None:
        chance = random.Random(seed)
        name = chance.choice(sorted(self.networks))
        path = Path(self.store.layout.weights(name))
        content = bytearray(self.disk.files()[path])
        content[chance.randrange(len(content))] ^= 4
        self.disk.harm(path, bytes(content))
        assert self.store.set_aside_damaged_weights(sorted(self.networks)) == [path]
        del self.networks[name]

    @rule(names=st.sets(NAMES, min_size=1, max_size=4), kept=NAMES)
    def merge_another(self, names: set[str], kept: str) -> None:
        for path in list(self.disk.files()):
            if path.parts[1] == OTHER.name:
                self.disk.remove(path)
        other = self.opened(OTHER)
        other.trials.publish([self.row(name) for name in sorted(names)])
        other.write_weights(kept, weights(kept))
        assert merge([other], self.store).exit_status == 0
        self.rows |= {name: ord(name) for name in names}
        self.promised |= self.rows.keys()
        if kept in names:
            self.networks[kept] = weights(kept)

    @rule()
    def free_what_nothing_needs(self) -> None:
        free(self.store)
        assert not [p for p in self.disk.files() if p.parent == ROOT / "damaged"]

    def found(self) -> dict[str, int]:
        rows, damaged = self.opened().trials.read(["trial_id", "seed"])
        assert damaged == []
        assert len(rows) == len(set(rows["trial_id"].to_pylist()))
        return dict(zip(rows["trial_id"].to_pylist(), rows["seed"].to_pylist(), strict=True))

    @invariant()
    def what_is_read_is_what_was_published(self) -> None:
        assert self.found() == self.rows
        scanned = self.opened().trials.scan()[0].to_table(columns=["trial_id"])
        assert sorted(scanned["trial_id"].to_pylist()) == sorted(self.rows)
        assert set(self.store.kept_weights()) == set(self.networks)
        for name in self.networks:
            content = self.store.read_weights(name)
            assert content is not None
            assert name.encode() in content

    @invariant()
    def nothing_that_was_promised_needs_luck(self) -> None:
        """Were the machine to end now, all would be there."""
        disk = self.disk.copy()
        disk.reopen()
        rows, _ = Store(ROOT, on=LocalFiles(disk)).trials.read(["trial_id"])
        assert set(rows["trial_id"].to_pylist()) >= self.promised


@pytest.fixture(autouse=True)
def _gather_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "GATHER_FILES", 3)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)

"""A run on a cluster of several numerics classes: each tree in one, and nothing is lost with a class."""

import json
import platform
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sweep import binding, run
from sweep.cells import demand
from sweep.execution.base import Failure, Finished, Inputs, WorkerSetup
from sweep.execution.local import LocalExecutor
from sweep.filters import parse
from sweep.plan import Plan, plan
from sweep.policy import Policy
from sweep.progress import Silent
from sweep.records import FailureKind
from sweep.run import run as train
from sweep.store import Store
from tests.sweep.tiny import FakeTraining, science, tiny_study
from trials.task import StageTask, TeachTask

STUDY: dict[str, Any] = {"grid.teacher": ["small", "large"], "grid.switch_epoch": [1, 2, 3]}


class Mixed(LocalExecutor):
    """Workers of several classes in one process; a class can go, with what it has."""

    def __init__(self, training: FakeTraining, classes: Mapping[str, int]) -> None:
        super().__init__(WorkerSetup(runner=training))
        self.given: list[tuple[str, str, bool]] = []
        self.there = dict(classes)
        self.of: dict[str, str] = {}
        self.dies: dict[str, int] = {}
        self.comes: dict[str, int] = {}
        self.held: dict[str, int] = defaultdict(int)
        self.taught: list[tuple[Any, str]] = []
        self.elsewhere: list[str] = []

    @property
    def classes(self) -> Mapping[str, int]:  # type: ignore[override]
        return dict(self.there)

    def free_in(self, numerics: str | None) -> int:
        assert numerics is not None
        busy = sum(self.of[task_id] == numerics for task_id, _, _ in self._queue)
        return self.there.get(numerics, 0) - busy

    def submit(
        self, task_id: str, task: Any, inputs: Inputs, timeout_s: Any = None, numerics: Any = None
    ) -> None:
        assert self.free_in(numerics) > 0
        assert task_id not in {one for one, _, _ in self._queue}
        self.of[task_id] = numerics
        for outputs in inputs.teachers:
            made_in = {where for product, where in self.taught if product is outputs}
            self.elsewhere += [task_id] * bool(made_in - {numerics})
        if isinstance(task, StageTask | TeachTask):
            self.given.append((task_id, numerics, isinstance(task, StageTask)))
        super().submit(task_id, task, inputs, timeout_s)

    def wait(self, timeout_s: float) -> list[Finished]:
        for numerics, after in list(self.dies.items()):
            if sum(one[1] == numerics for one in self.given) >= after:
                return self.lose(numerics)
        for numerics, after in list(self.comes.items()):
            if len(self.given) >= after:
                self.there[numerics] = self.comes.pop(numerics)
        ended = super().wait(timeout_s)
        self.taught += [(one.product, self.of[one.task_id]) for one in ended if one.product]
        return ended

    def lose(self, numerics: str) -> list[Finished]:
        del self.dies[numerics], self.there[numerics]
        now = datetime.now(UTC)
        lost = [task_id for task_id, _, _ in self._queue if self.of[task_id] == numerics]
        self._queue = type(self._queue)(one for one in self._queue if one[0] not in lost)
        why = Failure(FailureKind.WORKER_LOST, "its node is gone", "")
        where = platform.node(), "worker", now, now
        return [Finished(task_id, None, None, why, *where) for task_id in lost]


class Heard(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def undisturbed(tmp_path: Path) -> Store:
    store = Store(tmp_path / "undisturbed")
    executor = LocalExecutor(WorkerSetup(runner=FakeTraining()))
    with store.writing():
        assert train(demand(tiny_study(**STUDY), store), store, executor).exit_status == 0
    return store


def component_of(found: Plan) -> dict[str, str]:
    """The component of each stage, found by the binding's own test to be what belongs together."""
    bound = binding.Binding(found, {}, [], [], lambda stage: 1.0)
    return {key: bound.component(key) for key in found.stages}


def go(store: Store, executor: Mixed) -> tuple[Any, list[str], dict[str, str]]:
    heard = Heard()
    with store.writing():
        wanted = demand(tiny_study(**STUDY), store)
        components = component_of(plan([cell.spec for cell in wanted.todo.values()]))
        summary = train(
            wanted, store, executor, progress=heard,
            policy=replace(Policy(), pause_s={}),
        )  # fmt: skip
    return summary, heard.said, components


def test_each_component_is_trained_in_one_class(undisturbed: Store, tmp_path: Path) -> None:
    store = Store(tmp_path / "mixed")
    executor = Mixed(FakeTraining(), {"a": 3, "b": 2})
    summary, said, components = go(store, executor)
    assert summary.exit_status == 0
    found: dict[str, set[str]] = defaultdict(set)
    for key, numerics, is_stage in executor.given:
        if is_stage:
            found[components[key]].add(numerics)
    assert set(map(len, found.values())) == {1}
    assert set.union(*found.values()) == {"a", "b"}, "both are used"
    # Teachers are asked in the class of their students: there are two, one for each network.
    asked = {numerics for _, numerics, is_stage in executor.given if not is_stage}
    assert asked == {"a", "b"}
    assert any(line.startswith("numerics classes, each tree is trained in one: a") for line in said)
    assert science(store).equals(science(undisturbed))


@pytest.mark.parametrize("after", [1, 3, 6, 9])
def test_what_a_class_had_begun_is_started_again_elsewhere(
    undisturbed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(binding, "UNBEGUN_PATIENCE_S", 0.0)
    monkeypatch.setattr(binding, "BEGUN_PATIENCE_S", 0.1)
    store = Store(tmp_path / "mixed")
    training = FakeTraining()
    executor = Mixed(training, {"a": 2, "b": 2})
    executor.dies["b"] = after
    summary, said, _ = go(store, executor)
    assert (summary.exit_status, summary.failed) == (0, 0)
    assert any("begun on a class that is gone (b): they start again on a" in one for one in said)
    assert science(store).equals(science(undisturbed))
    assert not executor.elsewhere, "outputs of a teacher are those of the class that learns from it"
    # What was trained after the loss, of whatever was unfinished, was trained in a from the start of
    # its tree: each stage there goes on from one that a had trained.
    whole = plan([cell.spec for cell in demand(tiny_study(**STUDY), None).todo.values()])
    trained: dict[str, str] = {}
    for key, numerics, is_stage in executor.given:
        if is_stage:
            parent = whole.stages[key].parent
            assert parent is None or trained[parent] == numerics
            trained[key] = numerics


def test_a_class_that_comes_late_is_used(undisturbed: Store, tmp_path: Path) -> None:
    store = Store(tmp_path / "mixed")
    executor = Mixed(FakeTraining(), {"a": 1})
    executor.comes["late"] = 4
    summary, _, components = go(store, executor)
    assert summary.exit_status == 0
    assert {numerics for _, numerics, _ in executor.given} == {"a", "late"}
    found: dict[str, set[str]] = defaultdict(set)
    for key, numerics, is_stage in executor.given:
        if is_stage:
            found[components[key]].add(numerics)
    assert set(map(len, found.values())) == {1}
    assert science(store).equals(science(undisturbed))


def test_a_later_run_goes_on_in_the_class_of_the_earlier(
    undisturbed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teachers were trained in a class: their students are, too, though another has more workers."""
    name = "device test; capability x; torch 1; numpy 2"
    store = Store(tmp_path / "mixed")
    study = tiny_study(**STUDY)
    in_class = f"{name}; engine eager"
    real = run.trial_row
    monkeypatch.setattr(
        run, "trial_row", lambda cell, r: real(cell, replace(r, numerics_class=in_class))
    )
    with store.writing():
        only = parse(["role=teacher"])
        first = Mixed(FakeTraining(), {name: 1})
        assert train(demand(study, store, only), store, first).exit_status == 0
    executor = Mixed(FakeTraining(), {"other": 8, name: 1})
    summary, _, _ = go(store, executor)
    assert summary.exit_status == 0
    whole = plan([cell.spec for cell in demand(study, None).todo.values()])
    guided = {one[1] for one in executor.given if one[2] and whole.stages[one[0]].rules}
    assert guided == {name}
    assert {one[1] for one in executor.given} == {name, "other"}, "baselines learn from nobody"
    elsewhere = Store(tmp_path / "elsewhere")
    with elsewhere.writing():
        alone = Mixed(FakeTraining(), {name: 1})
        assert train(demand(study, elsewhere, only), elsewhere, alone).exit_status == 0
    summary, said, _ = go(elsewhere, Mixed(FakeTraining(), {"other": 8}))
    assert summary.exit_status == 0
    (line,) = (line for line in said if "begun on a class that is not here" in line)
    assert line.startswith("2 groups of trials that belong together")
    assert name in line


def begun_in(name: str, epochs: int) -> bytes:
    """A state after so many epochs of which all but its numerics classes is made up."""
    said = {"epoch": epochs, "progress": {"numerics": ["older; engine eager", name]}}
    about = {"epochs": str(epochs), "snapshot": json.dumps(said)}
    header = json.dumps({"__metadata__": about}).encode()
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize("name", ["one", "other"])
def test_a_training_goes_on_in_the_class_in_which_its_checkpoint_was_left(
    tmp_path: Path, name: str
) -> None:
    """A run that was killed left no record of it: else its trial would be of two classes."""
    store = Store(tmp_path / "mixed")
    wanted = demand(tiny_study(**STUDY), store)
    begun = [cell.spec for cell in wanted.todo.values() if cell.role == "baseline"]
    assert begun
    with store.writing():
        for spec in begun:
            store.write_checkpoint(spec.shortened(1), begun_in(f"{name}; engine lanes", 1))
    executor = Mixed(FakeTraining(), {"other": 2, "one": 2})
    summary, _, _ = go(store, executor)
    assert summary.exit_status == 0
    own = {spec.trial_id for spec in begun}
    assert {one[1] for one in executor.given if one[0] in own} == {name}
    assert {one[1] for one in executor.given} == {"one", "other"}

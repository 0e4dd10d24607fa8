"""What nodes of a cluster must have in common: code, libraries, data."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import data
from data import catalog
from data.npz import write_npz
from sweep.execution import devices, nodes
from sweep.execution.devices import Gauge
from sweep.execution.members import Members
from sweep.execution.nodes import Held, NodeFacts, differences, facts
from trials.engine import machine_of
from trials.identity import NUMERICS_VERSION

HERE = NodeFacts("here", {"code version": "1.0", "torch": "2.9.0", "Python": "3.11"})


def write(folder: Path, seed: int) -> Path:
    """A small dataset of the digits' kind."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    images = random.integers(0, 17, (40, 8, 8), dtype=np.uint8)
    labels = np.arange(40, dtype=np.int64) % 10
    path = folder / "own.npz"
    write_npz(path, data.RawArrays(images[:30], labels[:30], images[30:], labels[30:]))
    return path


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> data.DatasetEntry:
    """A dataset that nothing pins."""
    entry = data.DatasetEntry(
        name="own", task="classification", outputs=10, input_shape=(1, 8, 8),
        prepare="nowhere:nothing", source="own-source", pixel_max=16,
    )  # fmt: skip
    monkeypatch.setattr(catalog, "_ENTRIES", dict(catalog._ENTRIES))
    data.register(entry, replace=True)
    return entry


def test_versions_are_told_apart_but_for_the_kind_of_build() -> None:
    found = nodes.versions()
    assert found["numerics version"] == str(NUMERICS_VERSION)
    assert "+" not in found["torch"]
    assert len(found["source of trials, models and data"]) == 12
    other = NodeFacts("there", {**HERE.versions, "torch": "2.8.0", "Python": "3.12"})
    assert differences(HERE, HERE, "node-7") == []
    assert differences(HERE, other, "node-7") == [
        "node node-7 has torch 2.8.0, this machine has 2.9.0",
        "node node-7 has Python 3.12, this machine has 3.11",
    ]
    silent = NodeFacts("there", {})
    assert "has torch unknown, this machine has 2.9.0" in differences(HERE, silent, "n")[1]


def test_the_source_tells_of_a_change_without_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trials

    before = nodes.versions()["source of trials, models and data"]
    copy = tmp_path / "trials"
    copy.mkdir()
    for path in Path(trials.__path__[0]).glob("*.py"):
        (copy / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(trials, "__path__", [str(copy)])
    try:
        nodes._source.cache_clear()
        assert nodes.versions()["source of trials, models and data"] == before
        (copy / "losses.py").write_bytes((copy / "losses.py").read_bytes() + b"\n")
        nodes._source.cache_clear()
        assert nodes.versions()["source of trials, models and data"] != before
    finally:
        nodes._source.cache_clear()


def test_a_node_with_other_data_is_named_with_both_fingerprints(
    tmp_path: Path, own: data.DatasetEntry
) -> None:
    mine, same, other = (tmp_path / name for name in ("mine", "same", "other"))
    path = write(mine, seed=1)
    copied = write(same, seed=1)
    write(other, seed=2)
    here = facts(["own", "digits"], mine)
    assert here.datasets == {"own": Held((path.stat().st_size, path.stat().st_mtime_ns))}
    # The same file, by size and time, is not read; one copied at another time is, and is the same.
    os.utime(copied, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    asked = facts(["own", "digits"], same, [own], here.datasets)
    assert asked.datasets["own"].fingerprint is None
    os.utime(copied, ns=(0, 0))
    asked = facts(["own", "digits"], same, [own], here.datasets)
    assert asked.datasets["own"].fingerprint == data.verify("own", mine).fingerprint
    assert differences(here, asked, "node-2", mine) == []
    strange = facts(["own"], other, [own], here.datasets)
    (line,) = differences(here, strange, "node-2", mine)
    assert line == (
        f"node node-2: its dataset 'own' has fingerprint {data.verify('own', other).fingerprint}, "
        f"that of this machine {data.verify('own', mine).fingerprint}"
    )
    # A node needs none of its own.
    assert facts(["own"], tmp_path / "none", [own], here.datasets).datasets == {}


def test_a_node_with_damaged_data_is_named(tmp_path: Path, own: data.DatasetEntry) -> None:
    write(tmp_path / "mine", seed=1)
    here = facts(["own"], tmp_path / "mine")
    broken = write(tmp_path / "broken", seed=1)
    broken.write_bytes(broken.read_bytes()[:200])
    asked = facts(["own"], tmp_path / "broken", [own], here.datasets)
    (line,) = differences(here, asked, "node-2", tmp_path / "mine")
    assert line.startswith("node node-2: dataset 'own'")


def test_a_class_is_that_of_a_record_without_its_engine() -> None:
    import torch

    from trials.device import numerics_class

    whole = numerics_class(torch.device("cpu"), "lanes")
    assert str(whole) == f"{whole.machine}; engine lanes"
    assert machine_of(str(numerics_class(torch.device("cpu"), "eager"))) == whole.machine
    assert machine_of("test") == "test"
    # A training that was gone on with elsewhere is of the class that it ended in.
    assert machine_of("one; engine lanes, then two; torch 2; engine eager") == "two; torch 2"


class OneByOne:
    """Stands in for Ray: answers are values, or None for those that have not come."""

    class exceptions:  # noqa: N801
        class RayError(Exception): ...

        class GetTimeoutError(RayError): ...

    def __init__(self, alive: dict[str, bool]) -> None:
        self.there = alive

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": node, "Alive": alive, "NodeManagerHostname": "vm", "Resources": {}}
            for node, alive in self.there.items()
        ]

    def wait(self, answers: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        assert timeout == 0
        return [a for a in answers if a is not None], [a for a in answers if a is None]

    def get(self, answer: Any, timeout: float = 0) -> Any:
        assert timeout == 0
        if answer is None:
            raise self.exceptions.GetTimeoutError
        if isinstance(answer, Exception):
            raise answer
        return answer


class Agent:
    """Stands in for what reads the gauges of a node."""

    def __init__(self, says: list[Any]) -> None:
        self.says, self.asked = says, 0
        self.read = self

    def remote(self) -> Any:
        self.asked += 1
        return self.says[self.asked - 1]


def members(ray: OneByOne, answers: dict[str, Any]) -> Members:
    found = Members(ray, None, joined=True)  # type: ignore[arg-type]
    found._setup = type("Setup", (), {"data_dir": None})()
    found._here = HERE
    found._asked = {node: (answer, time.monotonic()) for node, answer in answers.items()}
    found._look_around()
    return found


def test_a_late_node_is_used_once_it_has_answered_well() -> None:
    ray = OneByOne({"a" * 12: True, "b" * 12: True, "c" * 12: True, "d" * 12: False})
    wrong = NodeFacts("vm", {**HERE.versions, "torch": "1.0"})
    lost = ray.exceptions.RayError("node died")
    found = members(
        ray, {"a" * 12: HERE, "b" * 12: None, "c" * 12: wrong, "d" * 12: lost}
    )  # fmt: skip
    assert found._hear(patient=True) == [
        "node vm (cccccccc) has torch 1.0, this machine has 2.9.0"
    ], "one that died before it could say is nobody's fault"
    assert [node["NodeID"] for node in found.usable] == ["a" * 12]
    assert set(found._asked) == {"b" * 12}
    found._asked["b" * 12] = HERE, time.monotonic()
    assert found._hear(patient=True) == []
    assert [node["NodeID"] for node in found.usable] == ["a" * 12, "b" * 12]


def test_gpus_of_one_name_are_told_apart_by_their_models() -> None:
    """Ray calls both A100; a node whose library says nothing is what Ray says."""
    models = {"a": ("NVIDIA A100-SXM4-40GB",) * 2, "b": ("NVIDIA A100-SXM4-80GB",), "c": ()}
    answers = {name * 12: replace(HERE, gpus=gpus) for name, gpus in models.items()}
    found = members(OneByOne(dict.fromkeys(answers, True)), answers)
    assert found._hear(patient=True) == []
    for one in found.usable:
        one["Resources"]["accelerator_type:A100"] = 1.0
    assert [found.gpu_kind(one) for one in found.usable] == [
        "NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB", "A100",
    ]  # fmt: skip


def test_a_node_says_what_its_gpus_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "gpu_names", lambda: ("NVIDIA L4",))
    assert facts([], None, known={}).gpus == ("NVIDIA L4",)


def test_a_node_that_does_not_answer_at_the_start_is_named() -> None:
    ray = OneByOne({"a" * 12: True, "b" * 12: True})
    found = members(ray, {"a" * 12: None, "b" * 12: ray.exceptions.RayError("x\nNo module")})
    assert found._hear(patient=False) == [
        "node vm (aaaaaaaa) did not answer within 120 s",
        "node vm (bbbbbbbb) cannot be used: No module",
    ]
    assert found.usable == []


def test_gauges_are_read_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "EVERY_S", 0.0)
    ray = OneByOne({"a" * 12: True})
    found = members(ray, {})
    first, second = ({"GPU 0": Gauge(number, 1, 2)} for number in (10.0, 20.0))
    lost = ray.exceptions.RayError("the node is gone")
    agent = Agent([first, None, second, lost])
    found._agents = {"node": agent}
    assert found.gauges() == {}, "asked, and not waited for"
    assert found.gauges() == {"node": first}
    assert (found.gauges(), agent.asked) == ({"node": first}, 2), "not asked twice at a time"
    found._reading["node"] = first
    assert (found.gauges(), agent.asked) == ({"node": first}, 3)
    monkeypatch.setattr(devices, "EVERY_S", 1e6)
    assert (found.gauges(), agent.asked) == ({"node": second}, 3), "nor more often than that"
    monkeypatch.setattr(devices, "EVERY_S", 0.0)
    assert (found.gauges(), agent.asked) == ({"node": second}, 4)
    assert found.gauges() == {}
    assert found._agents == {}
    again = found._agents["node"] = Agent([second, first])  # type: ignore[assignment]
    assert found.gauges() == {}, "what the lost one had begun is not waited for"
    assert found.gauges() == {"node": second}
    assert found._agents == {"node": again}

"""The nodes of a cluster that trials may run on: asked when they come, told apart, and watched.

A cluster that was started here is this machine, and is asked nothing. Of one that was joined, every
node says once what it is (`sweep.execution.nodes`): where one that is there at the start does not go
with this machine, nothing begins; one that comes later is left out, and a line is said.
"""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sweep.errors import SweepError
from sweep.execution import devices, nodes
from sweep.execution.base import WorkerSetup
from sweep.execution.devices import Gauge, read_gauges
from sweep.execution.nodes import NodeFacts
from sweep.execution.room import gpu_kind

ANSWER_S = 120.0
"""How long a node may take to say what it is."""

Node = dict[str, Any]
"""What Ray says of a node: `NodeID`, `Alive`, `Resources`, `NodeManagerHostname`."""


class GaugeAgent:
    """Reads the gauges of a node's GPUs, in a process of that node."""

    def read(self) -> dict[str, Gauge]:
        """What they show now."""
        return read_gauges()


class Members:
    """Who belongs to a cluster; looked at every few seconds, and never waited for but at the start."""

    def __init__(self, ray: Any, setup: WorkerSetup, joined: bool) -> None:
        """Starts knowing nobody.

        Args:
            ray: the module, connected.
            setup: what the workers will be given.
            joined: whether there may be other machines.
        """
        self._ray, self._setup, self._joined = ray, setup, joined
        self._asked: dict[str, tuple[Any, float]] = {}
        self._facts: dict[str, NodeFacts] = {}
        self._refused: set[str] = set()
        self._agents: dict[str, Any] = {}
        self._reading: dict[str, Any] = {}
        self._read_at: dict[str, float] = {}
        self._gauges: dict[str, dict[str, Gauge]] = {}
        self._here: NodeFacts | None = None
        self._known: list[Node] = []
        self.news: list[str] = []
        self.own_node = ""

    @property
    def joined(self) -> bool:
        """Whether there may be other machines."""
        return self._joined

    def start(self) -> None:
        """Asks every node that is there.

        Raises:
            SweepError: where one does not go with this machine, or does not answer.
        """
        self.own_node = str(self._ray.get_runtime_context().get_node_id())
        self._look_around()
        if not self._joined:
            return
        setup = self._setup
        self._here = nodes.facts(setup.datasets, setup.data_dir)
        self._ask_new()
        waiting = [answer for answer, _ in self._asked.values()]
        self._ray.wait(waiting, num_returns=len(waiting), timeout=ANSWER_S)
        problems = self._hear(patient=False)
        if problems:
            raise SweepError("the nodes of the cluster do not go together: " + "; ".join(problems))
        self._watch()

    def look(self) -> None:
        """Notes who has come and who has gone."""
        self._look_around()
        if self._joined:
            self._ask_new()
            self.news += [f"{line}: it is not used" for line in self._hear(patient=True)]
            self._watch()

    @property
    def alive(self) -> list[Node]:
        """The nodes that are there, whether they may be used or not."""
        return [node for node in self._known if node["Alive"]]

    @property
    def usable(self) -> list[Node]:
        """The nodes that are alive and may be used."""
        return [n for n in self.alive if not self._joined or n["NodeID"] in self._facts]

    def name(self, node_id: str) -> str:
        """A node's machine; with its id where several nodes are on one."""
        names = {node["NodeID"]: str(node.get("NodeManagerHostname", "")) for node in self._known}
        name = names.get(node_id, "unknown")
        alone = Counter(names.values())[name] == 1
        return name if alone else f"{name} ({node_id[:8]})"

    def gpu_kind(self, node: Mapping[str, Any]) -> str:
        """The kind of a node's GPUs: the models that it said it has, else what Ray calls them.

        Ray has one name for models that differ in memory alone.
        """
        known = self._facts.get(node["NodeID"])
        return ", ".join(sorted(set(known.gpus if known else ()))) or gpu_kind(node)

    def pinned(self, node_id: str) -> dict[str, Any]:
        """Options of an actor or task that is to be on a node; none where there is but one."""
        if not self._joined:
            return {}
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False)}

    def gauges(self) -> Mapping[str, Mapping[str, Gauge]]:
        """What GPUs showed last, by node id and device; asks for more without waiting."""
        for node_id, agent in list(self._agents.items()):
            answer = self._reading.get(node_id)
            if answer is not None and self._ray.wait([answer], timeout=0)[0]:
                del self._reading[node_id]
                try:
                    self._gauges[node_id] = self._ray.get(answer)
                except self._ray.exceptions.RayError:
                    del self._agents[node_id]
                    self._gauges.pop(node_id, None)
                    continue
            due = time.monotonic() - self._read_at.get(node_id, -math.inf) >= devices.EVERY_S
            if node_id not in self._reading and due:
                self._read_at[node_id] = time.monotonic()
                self._reading[node_id] = agent.read.remote()
        return self._gauges

    def stop(self) -> None:
        """Ends what watches."""
        for agent in self._agents.values():
            with contextlib.suppress(Exception):
                self._ray.kill(agent)
        self._agents = {}

    # Within

    def _look_around(self) -> None:
        self._known = self._ray.nodes()

    def _ask_new(self) -> None:
        setup = self._setup
        held = {} if self._here is None else self._here.datasets
        # A process of its own that ends with the answer: what it has imported is not kept.
        ask = self._ray.remote(num_cpus=0, max_calls=1, max_retries=2)(nodes.facts)
        for node in self._known:
            node_id = node["NodeID"]
            new = node_id not in self._asked and node_id not in self._facts
            if node["Alive"] and new and node_id not in self._refused:
                answer = ask.options(**self.pinned(node_id)).remote(
                    setup.datasets, setup.data_dir, setup.extensions, held
                )
                self._asked[node_id] = answer, time.monotonic()

    def _hear(self, patient: bool) -> list[str]:
        """Takes in the answers that are there.

        Args:
            patient: whether those that are not may still come.

        Returns:
            A line for each thing that speaks against a node.
        """
        assert self._here is not None
        problems = []
        for node_id, (answer, since) in list(self._asked.items()):
            late = not patient or time.monotonic() - since > ANSWER_S
            try:
                facts = self._ray.get(answer, timeout=0)
            except self._ray.exceptions.GetTimeoutError:
                if not late:
                    continue
                found = [f"node {self.name(node_id)} did not answer within {ANSWER_S:.0f} s"]
            except self._ray.exceptions.RayError as error:
                found = [f"node {self.name(node_id)} cannot be used: {_last_line(error)}"]
                if not self._is_alive(node_id):
                    found = []
            else:
                found = nodes.differences(
                    self._here, facts, self.name(node_id), self._setup.data_dir
                )
                if not found:
                    self._facts[node_id] = facts
            del self._asked[node_id]
            if found:
                self._refused.add(node_id)
            problems += found
        return problems

    def _is_alive(self, node_id: str) -> bool:
        return any(n["NodeID"] == node_id and n["Alive"] for n in self._ray.nodes())

    def _watch(self) -> None:
        """Has the gauges of GPUs read where there are some."""
        alive = {node["NodeID"] for node in self.usable}
        for node_id, facts in self._facts.items():
            if facts.gauged and node_id in alive and node_id not in self._agents:
                self._agents[node_id] = (
                    self._ray.remote(GaugeAgent)
                    .options(num_cpus=0, max_restarts=0, **self.pinned(node_id))
                    .remote()
                )
        for node_id in [n for n in self._agents if n not in alive]:
            del self._agents[node_id]
            self._gauges.pop(node_id, None)
            self._reading.pop(node_id, None)


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__

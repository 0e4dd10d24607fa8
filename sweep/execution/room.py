"""How many workers the nodes of a cluster have room for, and what each takes of its node.

GPUs of different kinds hold different numbers of trials, so each kind may have a share of its own.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_KIND = "accelerator_type:"
"""How Ray's resources name the kind of a node's GPUs."""

Node = Mapping[str, Any]
"""What Ray says of a node; here its `NodeID` and `Resources` matter."""


def gpu_count(node: Node) -> float:
    """How many GPUs a node has."""
    return float(node["Resources"].get("GPU", 0.0))


def gpu_kind(node: Node) -> str:
    """The kind of a node's GPUs as Ray names it, such as `H100`; empty where it does not."""
    names = (key.removeprefix(_KIND) for key in node["Resources"] if key.startswith(_KIND))
    return ", ".join(sorted(names))


@dataclass
class Room:
    """Room for workers.

    Attributes:
        share: of a GPU, that a worker takes; 0 where it takes a CPU and no GPU.
        by_kind: the share of those kinds of GPU that have one of their own.
        given_up: workers by node id that there is no room for after all, since memory ran out.
        kind_of: the kind of a node's GPUs.
    """

    share: float
    by_kind: Mapping[str, float] = field(default_factory=dict)
    given_up: Counter[str] = field(default_factory=Counter)
    kind_of: Callable[[Node], str] = gpu_kind

    @classmethod
    def of_measured(
        cls, at_a_time: Mapping[str, int], kind_of: Callable[[Node], str] = gpu_kind
    ) -> "Room":
        """Where trials were measured on each kind of GPU.

        Args:
            at_a_time: how many to run on one GPU, by kind; at least one. A kind that comes later takes
                the fewest.
            kind_of: the kind of a node's GPUs.
        """
        shares = {kind: 1 / count for kind, count in at_a_time.items()}
        return cls(max(shares.values()), shares, kind_of=kind_of)

    def share_on(self, node: Node) -> float:
        """Of a GPU, that a worker takes on a node."""
        return self.by_kind.get(self.kind_of(node), self.share) if self.share else 0.0

    def on(self, node: Node) -> int:
        """How many workers fit on a node."""
        device, each = ("GPU", self.share_on(node)) if self.share else ("CPU", 1.0)
        fitting = _fitting(node["Resources"].get(device, 0.0), each)
        return max(0, fitting - self.given_up[node["NodeID"]])

    def cpus_on(self, node: Node) -> float:
        """CPUs that a worker takes on a node: one, or less where there are more workers than these."""
        if not self.share:
            return 1.0
        # As Ray counts: in ten thousandths.
        part = float(node["Resources"].get("CPU", 0.0)) / max(1, self.on(node))
        return min(1.0, math.floor(1e4 * part) / 1e4)


def _fitting(available: float, each: float) -> int:
    """How many shares fit into whole devices: a share never spans two."""
    if each >= 1:
        return int(available / each + 1e-9)
    return int(available) * int(1 / each + 1e-9)

"""How many workers fit on nodes: with hand-counted machines."""

from typing import Any

import pytest

from sweep.execution.room import Room, gpu_kind


def node(name: str = "a", kind: str | None = None, **resources: float) -> dict[str, Any]:
    return {
        "NodeID": name,
        "Resources": resources | ({} if kind is None else {f"accelerator_type:{kind}": 1.0}),
    }


@pytest.mark.parametrize(
    ("share", "gpus", "expected"),
    [
        (0.25, 8.0, 32),
        (0.3, 2.0, 6),  # three on each: the tenth that is left of one holds none
        (1 / 3, 1.0, 3),
        (0.25, 0.5, 0),  # half a device is none
        (1.0, 3.0, 3),
        (2.0, 3.0, 1),
        (0.25, 0.0, 0),
    ],
)
def test_a_share_never_spans_two_devices(share: float, gpus: float, expected: int) -> None:
    assert Room(share).on(node(CPU=64.0, GPU=gpus)) == expected


def test_without_gpus_a_worker_takes_a_cpu_and_none_of_the_gpus_there_are() -> None:
    room, machine = Room(0.0), node(CPU=6.0, GPU=2.0, kind="H100")
    assert (room.on(machine), room.cpus_on(machine), room.share_on(machine)) == (6, 1.0, 0.0)


def test_workers_share_the_cpus_of_a_node_where_these_are_fewer() -> None:
    room = Room(0.25)
    assert room.cpus_on(node(CPU=64.0, GPU=8.0)) == 1.0  # 32 workers
    assert room.cpus_on(node(CPU=8.0, GPU=8.0)) == 0.25
    assert room.cpus_on(node(CPU=1.0, GPU=3.0)) == 0.0833  # a twelfth, as Ray counts, and not above
    room.given_up["a"] = 8
    assert room.on(node("a", CPU=6.0, GPU=8.0)) == 24
    assert room.cpus_on(node("a", CPU=6.0, GPU=8.0)) == 0.25
    assert room.on(node("b", CPU=6.0, GPU=8.0)) == 32


def test_each_kind_of_gpu_has_what_was_measured_and_others_the_fewest() -> None:
    room = Room.of_measured({"H100": 8, "T4": 2})
    assert room.on(node(GPU=2.0, kind="H100")) == 16
    assert room.on(node(GPU=2.0, kind="T4")) == 4
    assert room.on(node(GPU=2.0, kind="L4")) == 4, "it came later, and nobody knows it"
    assert room.share_on(node(GPU=2.0, kind="H100")) == 0.125
    assert Room.of_measured({"": 5}).on(node(GPU=2.0)) == 10


def test_kinds_may_be_told_apart_by_more_than_ray_says() -> None:
    """Of two sizes of memory that have one name, each holds what was measured on it."""
    models = {"a": "A100-40GB", "b": "A100-80GB"}
    room = Room.of_measured({"A100-40GB": 3, "A100-80GB": 6}, lambda one: models[one["NodeID"]])
    assert room.on(node("a", GPU=1.0, kind="A100")) == 3
    assert room.on(node("b", GPU=1.0, kind="A100")) == 6


def test_kinds_are_what_ray_names_them() -> None:
    assert gpu_kind(node(GPU=1.0)) == ""
    assert gpu_kind(node(GPU=1.0, kind="H100")) == "H100"
    assert gpu_kind({"Resources": {"accelerator_type:B": 1, "accelerator_type:A": 1}}) == "A, B"

"""Which engine a trial has: a function of the trial and the device."""

import subprocess
import sys
from dataclasses import replace

import pytest

from data import DataSpec
from tests.trials.specs import guided
from trials.engine import Engine, LaneGroup, engine_for, lane_group, plain_engine
from trials.spec import Recipe, Segment, TrialSpec, switched

HOUSES = DataSpec("california_housing")
STUDENT = TrialSpec(1, HOUSES, Recipe("student", None), (Segment(3),))
OTHERS = {
    "minibatches": replace(STUDENT, recipe=Recipe("student", 64)),
    "bfloat16": replace(STUDENT, recipe=Recipe("student", None, precision="bfloat16")),
    "convolutions": replace(STUDENT, data=DataSpec("digits")),
    "a function of one's own": replace(
        STUDENT, data=DataSpec("digits"), recipe=Recipe("plain", None)
    ),
}


def test_full_batches_of_dense_networks_are_for_lanes() -> None:
    assert lane_group(STUDENT) == LaneGroup(HOUSES, "student", "adam")
    assert engine_for("cuda", STUDENT) == "lanes"
    assert engine_for("cpu", STUDENT) == "eager"
    assert engine_for("cpu", STUDENT, "lanes") == "lanes"


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_not(name: str) -> None:
    spec = OTHERS[name]
    assert lane_group(spec) is None
    assert engine_for("cuda", spec) == engine_for("cuda", spec, "lanes") == "graph"
    assert engine_for("cpu", spec) == engine_for("cpu", spec, "lanes") == "eager"


@pytest.mark.parametrize("asked", ["eager", "graph"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_another_engine_can_be_asked_for(asked: Engine, device: str) -> None:
    assert engine_for(device, STUDENT, asked) == asked
    assert plain_engine(device) == ("graph" if device == "cuda" else "eager")


def test_a_group_is_who_sees_the_same_rows_with_such_a_network() -> None:
    group = lane_group(STUDENT)
    soft = guided(0.3, kind="mse")
    alike = [
        replace(STUDENT, seed=2),
        replace(STUDENT, schedule=switched(soft, 2, 9)),
        replace(STUDENT, recipe=Recipe("student", None, learning_rate=0.1, weight_decay=0.1)),
    ]
    assert all(lane_group(spec) == group for spec in alike)
    apart = [
        replace(STUDENT, data=DataSpec("california_housing", validation=0.1)),
        replace(STUDENT, recipe=Recipe("small", None)),
        replace(STUDENT, recipe=Recipe("student", None, "sgd")),
    ]
    assert all(lane_group(spec) not in (None, group) for spec in apart)


def test_a_scheduler_asks_without_torch() -> None:
    code = "import sys, trials.engine, sweep.execution.ray, sweep.run; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

"""How training steps are executed: a function of the trial and the device, never of what else runs.

Steps are launched one by one (`eager`), replayed as a CUDA graph (`graph`), or done for many
trials at a time as batched products (`lanes`): a small network trained alone leaves most of a GPU
idle. Free of torch, so that a scheduler can ask.
"""

from dataclasses import dataclass
from typing import Literal

import models
from data.spec import DataSpec
from models.home import Dense
from trials.spec import Optimizer, TrialSpec

Engine = Literal["eager", "graph", "lanes"]

LANES = 16
"""Trials side by side: that many are computed whether there are as many or not."""


@dataclass(frozen=True)
class LaneGroup:
    """Trials that can be trained side by side: all of them see these rows with such a network."""

    data: DataSpec
    model: str
    optimizer: Optimizer


def lane_group(spec: TrialSpec) -> LaneGroup | None:
    """The trials that a trial can be trained beside; None where it cannot be in a lane.

    A lane is for a network that its catalogue entry describes as dense layers, trained on all rows
    as one batch in float32.
    """
    recipe = spec.recipe
    dense = isinstance(models.get(spec.data.name, recipe.model).build, Dense)
    if not dense or recipe.batch_size is not None or recipe.precision != "float32":
        return None
    if not spec.is_plain or spec.start is not None or spec.data.classes is not None:
        return None
    return LaneGroup(spec.data, recipe.model, recipe.optimizer)


def machine_of(numerics_class: str) -> str:
    """A numerics class as results name it, without its engine, which differs from trial to trial.

    Of a training that was gone on with in another, the last.
    """
    last = numerics_class.rpartition(", then ")[2]
    return last.rpartition("; engine ")[0] or last


def plain_engine(device_type: str) -> Engine:
    """The engine of trials that are not in lanes: captured steps on a CUDA device, else eager."""
    return "graph" if device_type == "cuda" else "eager"


def engine_for(device_type: str, spec: TrialSpec, asked: Engine | None = None) -> Engine:
    """The engine of a trial.

    Args:
        device_type: `cpu` or `cuda`.
        spec: the trial.
        asked: for all trials; `lanes` are for those that can be in one. None takes lanes for
            these on a CUDA device alone: a CPU is busy with one trial.
    """
    if asked in ("eager", "graph"):
        return asked
    wanted = asked == "lanes" or device_type == "cuda"
    return "lanes" if wanted and lane_group(spec) is not None else plain_engine(device_type)

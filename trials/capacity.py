"""How many trials fit on a device at a time, from one that was measured there alone."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trials.spec import Segment, TrialSpec

if TYPE_CHECKING:
    from trials.stage import Workshop

HEADROOM = 0.9
"""Part of a device's memory that is planned for; the rest is for evaluation and fragments."""

AT_MOST = 16
"""More processes only wait for each other."""

STEPS = 50
"""Optimizer steps to measure, at least."""


@dataclass(frozen=True)
class Footprint:
    """What one trial takes of a device.

    Attributes:
        memory_bytes: of its process, with what the driver takes for it.
        total_bytes: of the device.
        busy: part of the time in which the device computed, 0 to 1.
    """

    memory_bytes: int
    total_bytes: int
    busy: float


def trials_at_a_time(footprints: Sequence[Footprint], cores: int) -> int:
    """How many trials to run on a device.

    As many as keep it computing all the time if none waits for another, and no more than its memory
    and the cores that feed it allow. The largest trial decides about memory, the least busy about
    the number that is worth while.

    Args:
        footprints: of one trial of each kind, measured alone; at least one.
        cores: for the processes of this device.

    Returns:
        1 or more.
    """
    fits = min(int(HEADROOM * f.total_bytes // max(1, f.memory_bytes)) for f in footprints)
    useful = max(math.ceil(1 / max(f.busy, 1 / AT_MOST)) for f in footprints)
    return max(1, min(fits, useful, cores, AT_MOST))


def footprint(spec: TrialSpec, workshop: "Workshop") -> Footprint:
    """Trains a little of a trial, without a teacher, on a device that nothing else uses.

    One in a lane takes what all lanes of its process do.

    Args:
        spec: which data, network and recipe.
        workshop: on a CUDA device.
    """
    import torch

    from trials.train import steps_per_epoch, train

    device = workshop.device
    loaded = workshop.dataset(spec.data)
    epochs = max(2, math.ceil(STEPS / steps_per_epoch(spec.recipe, len(loaded.train.y))))
    alone = replace(spec, schedule=(Segment(epochs),))
    engine = workshop.engine_of(alone)
    # Libraries set themselves up.
    train(alone.shortened(1), loaded, {}, device=device, engine=engine)
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        train(alone, loaded, {}, device=device, engine=engine)
        torch.cuda.synchronize(device)
    elapsed = time.perf_counter() - began
    computed = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
    free, total = torch.cuda.mem_get_info(device)
    return Footprint(total - free, total, min(1.0, computed / elapsed))

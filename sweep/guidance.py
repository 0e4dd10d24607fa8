"""The schedule of a guided student: from which epoch to which, and how alpha goes to 1 on the way.

While a student is guided, `alpha` is the weight of the hard loss. A ramp says for each guided epoch
which part of the way from the grid's alpha to 1 it has gone: `none` stays, `linear` and `cosine`
arrive with the epoch in which guidance ends, and a list of a study says it epoch by epoch.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from trials.spec import HARD, Guide, Objective, Schedule, Segment, SoftLoss, by_epoch, schedule

Ramp = Callable[[int, int], float] | None
"""The part of the way after so many of so many guided epochs; None for a constant alpha."""


def _linear(done: int, epochs: int) -> float:
    return done / epochs


def _cosine(done: int, epochs: int) -> float:
    return (1 - math.cos(math.pi * done / epochs)) / 2


RAMPS: Mapping[str, Ramp] = {"none": None, "linear": _linear, "cosine": _cosine}


def ramp(name: str | None, own: Mapping[str, Sequence[float]]) -> Ramp:
    """A ramp by name.

    Args:
        name: one of `RAMPS`, or one of a study's own; None for none.
        own: the part of the way for each guided epoch, by name; the last one stays.
    """
    if name is None or name in RAMPS:
        return RAMPS[name or "none"]
    parts = own[name]
    return lambda done, _: parts[min(done, len(parts) - 1)]


def schedule_of(
    *,
    alpha: float,
    soft_loss: SoftLoss,
    temperature: float,
    guides: tuple[Guide, ...],
    begin: int,
    end: int,
    epochs: int,
    ramp: Ramp = None,
) -> Schedule:
    """The objectives of a student over its epochs.

    Args:
        alpha: weight of the hard loss at the beginning of guidance.
        soft_loss: which.
        temperature: of the soft loss.
        guides: the teachers.
        begin: the first guided epoch.
        end: the first epoch after it that is not; past `epochs` it never ends.
        epochs: of the training.
        ramp: how alpha goes to 1.
    """

    def guided(alpha: float) -> Objective:
        return Objective(
            hard=alpha, soft=round(1 - alpha, 12), soft_loss=soft_loss, temperature=temperature,
            guides=guides,
        )  # fmt: skip

    last = min(end, epochs)
    first = min(begin, last)
    if ramp is None:
        middle = schedule([Segment(last - first, guided(alpha))])
    else:
        ways = (ramp(done, last - first) for done in range(last - first))
        middle = by_epoch(guided(round(alpha + (1 - alpha) * way, 12)) for way in ways)
    return schedule([Segment(first, HARD), *middle, Segment(epochs - last, HARD)])

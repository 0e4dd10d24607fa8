"""The learning rate of an epoch.

Every schedule but `plateau` is a function of the epoch in closed form, so it carries no state and
a training that goes on from a snapshot, or forks, has the rates it would have had in one piece.
"""

import math
from dataclasses import dataclass, replace

from trials.spec import LrSchedule, Recipe

SMALLEST_CUT = 1e-8
"""A plateau that would lower the rate by no more than this leaves it, as PyTorch's `eps`."""


@dataclass(frozen=True)
class PlateauState:
    """What reduce-on-plateau remembers between two epochs.

    Attributes:
        rate: the learning rate now, warm-up apart; None: still the recipe's.
        best: the best figure so far.
        bad_epochs: epochs without improvement since, or since the rate was lowered.
    """

    rate: float | None = None
    best: float | None = None
    bad_epochs: int = 0


def at_epoch(recipe: Recipe, epoch: int, plateau: PlateauState) -> float:
    """The learning rate of all steps of an epoch.

    Args:
        recipe: the rate at the start and the schedule.
        epoch: counts from 0.
        plateau: after the epochs before.
    """
    schedule, rate = recipe.lr_schedule, recipe.learning_rate
    factor = schedule.factor or 1.0
    if schedule.kind == "step":
        rate *= factor ** sum(milestone <= epoch for milestone in schedule.milestones)
    elif schedule.kind == "exponential":
        rate *= factor ** max(0, epoch - schedule.start_epoch)
    elif schedule.kind == "cosine" and schedule.horizon is not None:
        done = min(1.0, epoch / schedule.horizon)
        rate = schedule.minimum + (rate - schedule.minimum) * (1 + math.cos(math.pi * done)) / 2
    elif schedule.kind == "plateau" and plateau.rate is not None:
        rate = plateau.rate
    if epoch < schedule.warmup_epochs:
        rate *= (epoch + 1) / (schedule.warmup_epochs + 1)
    return rate


def after_epoch(
    recipe: Recipe, plateau: PlateauState, figure: float, higher_is_better: bool
) -> PlateauState:
    """What a plateau schedule remembers after one more epoch, the rate of the next included.

    The rule is that of `torch.optim.lr_scheduler.ReduceLROnPlateau` with `threshold_mode="rel"` and
    no cooldown: the rate is lowered after the epoch that is one more than `patience` in a row
    without improvement, and the count begins anew. (Keras' `ReduceLROnPlateau` lowers it an epoch
    earlier.) NaN, and a first figure that is not finite, are no improvement.

    Args:
        recipe: whose schedule is `plateau`.
        plateau: after the epochs before.
        figure: what the schedule monitors, after this epoch.
        higher_is_better: whether it is to grow.
    """
    schedule = recipe.lr_schedule
    if _improves(schedule, figure, plateau.best, higher_is_better):
        return replace(plateau, best=figure, bad_epochs=0)
    bad_epochs = plateau.bad_epochs + 1
    if schedule.patience is None or bad_epochs <= schedule.patience:
        return replace(plateau, bad_epochs=bad_epochs)
    before = recipe.learning_rate if plateau.rate is None else plateau.rate
    after = max(before * (schedule.factor or 1.0), schedule.minimum)
    rate = after if before - after > SMALLEST_CUT else before
    return replace(plateau, rate=rate, bad_epochs=0)


def _improves(
    schedule: LrSchedule, figure: float, best: float | None, higher_is_better: bool
) -> bool:
    if best is None:
        return math.isfinite(figure)
    if higher_is_better:
        return figure > best * (schedule.threshold + 1.0)
    return figure < best * (1.0 - schedule.threshold)

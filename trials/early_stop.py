"""When a training has not improved for so long that it ends."""

import math
from dataclasses import dataclass, replace

from trials.spec import EarlyStop


@dataclass(frozen=True)
class StopState:
    """What an early-stop rule remembers between two epochs.

    Epochs are numbers of epochs done, as in a curve: 1 is the end of the first.

    Attributes:
        best: the best figure so far.
        best_epoch: when it was; None before there is one.
        stopped_epoch: when the rule ended the training; None where it has not.
    """

    best: float | None = None
    best_epoch: int | None = None
    stopped_epoch: int | None = None


def after_epoch(
    rule: EarlyStop, state: StopState, epoch: int, figure: float, higher_is_better: bool
) -> StopState:
    """What a rule remembers after one more epoch, and whether it ends the training.

    As in `keras.callbacks.EarlyStopping` and Lightning's, the figure has to be better than the best
    so far by more than `min_delta`, and `patience` epochs in a row without that are the last. NaN,
    and a first figure that is not finite, are no improvement (Lightning would end at once).

    Args:
        rule: patience and the least difference.
        state: after the epochs before; the rule was applied to each.
        epoch: epochs done.
        figure: what the rule monitors, after this epoch.
        higher_is_better: whether it is to grow.
    """
    if _improves(rule, figure, state.best, higher_is_better):
        return replace(state, best=figure, best_epoch=epoch)
    if 0 < rule.patience <= epoch - (state.best_epoch or 0):
        return replace(state, stopped_epoch=epoch)
    return state


def _improves(rule: EarlyStop, figure: float, best: float | None, higher_is_better: bool) -> bool:
    if best is None:
        return math.isfinite(figure)
    if higher_is_better:
        return figure - rule.min_delta > best
    return figure + rule.min_delta < best

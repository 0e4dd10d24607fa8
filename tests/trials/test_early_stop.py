"""An early-stop rule ends a training when Keras and Lightning would."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trials.early_stop import StopState, after_epoch
from trials.spec import EarlyStop


def followed(rule: EarlyStop, seen: list[float], higher_is_better: bool = False) -> StopState:
    """What a rule says of a training with these figures, one an epoch, which it may cut short."""
    state = StopState()
    for epoch, figure in enumerate(seen, start=1):
        state = after_epoch(rule, state, epoch, figure, higher_is_better)
        if state.stopped_epoch is not None:
            break
    return state


def test_a_loss_that_never_moves_is_trained_for_patience_epochs_more() -> None:
    # The example of Keras' documentation: patience = 3, a constant loss, "only 4 epochs are run".
    assert followed(EarlyStop(3), [0.7] * 10) == StopState(0.7, 1, 4)


@pytest.mark.parametrize(
    ("rule", "seen", "higher", "best_epoch", "stopped_epoch"),
    [
        (EarlyStop(2), [3, 2, 1, 1, 1, 0], False, 3, 5),
        (EarlyStop(2), [3, 2, 1, 1, 0.9, 1, 1], False, 5, 7),
        (EarlyStop(2), [1, 2, 3, 3, 3], True, 3, 5),
        (EarlyStop(1), [50.0, 50.5, 50.5], True, 2, 3),
        # An improvement by min_delta or less does not count, and the best stays where it was.
        (EarlyStop(2, 0.5), [3, 2.5, 2.5], False, 1, 3),
        (EarlyStop(2, 0.5), [3, 2.75, 2.25], False, 3, None),
        (EarlyStop(2, 0.5), [50, 50.5, 50.5], True, 1, 3),
        (EarlyStop(2, 0.5), [50, 50.25, 50.75], True, 3, None),
        # NaN is no improvement, nor is it the best where it comes first.
        (EarlyStop(2), [1, math.nan, math.nan], False, 1, 3),
        (EarlyStop(2), [math.nan, math.nan, 1], False, None, 2),
        (EarlyStop(2), [math.inf, 5, 4], False, 3, None),
        # Without patience it never stops, and still knows the best.
        (EarlyStop(0, restore_best=True), [2, 1, 3, 3, 3, 3, 3], False, 2, None),
    ],
)
def test_by_hand(
    rule: EarlyStop,
    seen: list[float],
    higher: bool,
    best_epoch: int | None,
    stopped_epoch: int | None,
) -> None:
    found = followed(rule, seen, higher)
    assert (found.best_epoch, found.stopped_epoch) == (best_epoch, stopped_epoch)


@given(
    st.lists(st.integers(0, 8).map(float), min_size=1, max_size=30),
    st.integers(1, 5),
    st.sampled_from([0.0, 1.0]),
)
def test_it_stops_at_the_first_epoch_whose_last_ones_beat_no_earlier(
    seen: list[float], patience: int, min_delta: float
) -> None:
    """The definition, from the whole history instead of a state."""
    bests = [0]
    for epoch, figure in enumerate(seen):
        if figure < seen[bests[-1]] - min_delta:
            bests.append(epoch)
    gaps = zip(bests, [*bests[1:], len(seen)], strict=True)
    stops = [best + patience + 1 for best, following in gaps if following - best > patience]
    expected = stops[0] if stops else None
    found = followed(EarlyStop(patience, min_delta), seen)
    assert found.stopped_epoch == expected
    if expected is None:
        assert found.best_epoch == bests[-1] + 1
    mirrored = followed(EarlyStop(patience, min_delta), [-figure for figure in seen], True)
    assert mirrored.stopped_epoch == expected

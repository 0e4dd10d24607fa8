"""Our learning rates are those of PyTorch's schedulers, stepped once an epoch."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from trials.learning_rate import PlateauState, after_epoch, at_epoch
from trials.spec import LrSchedule, Recipe

EPOCHS = 40
BASE = 0.05


def recipe(schedule: LrSchedule) -> Recipe:
    return Recipe("student", 64, "sgd", BASE, lr_schedule=schedule)


def ours(schedule: LrSchedule, epochs: int = EPOCHS) -> list[float]:
    return [at_epoch(recipe(schedule), epoch, PlateauState()) for epoch in range(epochs)]


def optimizer() -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)


def theirs(
    make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], epochs: int = EPOCHS
) -> list[float]:
    steps = optimizer()
    scheduler = make(steps)
    rates = []
    for _ in range(epochs):
        rates.append(float(steps.param_groups[0]["lr"]))
        steps.step()
        scheduler.step()
    return rates


PAIRS: dict[str, tuple[LrSchedule, Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]]] = {
    "constant": (LrSchedule(), lambda o: lr_scheduler.LambdaLR(o, lambda _: 1.0)),
    "step": (
        LrSchedule("step", 0.1, (10,)),
        lambda o: lr_scheduler.MultiStepLR(o, [10], gamma=0.1),
    ),
    "several steps": (
        LrSchedule("step", 0.3, (1, 2, 17, 33)),
        lambda o: lr_scheduler.MultiStepLR(o, [1, 2, 17, 33], gamma=0.3),
    ),
    "exponential": (
        LrSchedule("exponential", 0.85),
        lambda o: lr_scheduler.ExponentialLR(o, gamma=0.85),
    ),
    "cosine": (
        LrSchedule("cosine", horizon=EPOCHS),
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=EPOCHS),
    ),
    "cosine to a minimum": (
        LrSchedule("cosine", horizon=EPOCHS, minimum=0.01),
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=EPOCHS, eta_min=0.01),
    ),
    "warm-up": (
        LrSchedule(warmup_epochs=4),
        lambda o: lr_scheduler.LinearLR(o, start_factor=1 / 5, total_iters=4),
    ),
    "warm-up before steps": (
        LrSchedule("step", 0.5, (2, 6), warmup_epochs=4),
        lambda o: lr_scheduler.LambdaLR(
            o, lambda e: min(1.0, (e + 1) / 5) * 0.5 ** ((e >= 2) + (e >= 6))
        ),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_rates_are_those_of_pytorch(name: str) -> None:
    schedule, make = PAIRS[name]
    assert ours(schedule) == pytest.approx(theirs(make), rel=1e-12)


def test_rates_by_hand() -> None:
    assert ours(LrSchedule(), 3) == [BASE] * 3  # to the bit: these trials existed before
    assert ours(LrSchedule("step", 0.1, (2, 3)), 5) == pytest.approx(
        [0.05, 0.05, 0.005, 0.0005, 0.0005]
    )
    assert ours(LrSchedule("exponential", 0.5, start_epoch=2), 5) == pytest.approx(
        [0.05, 0.05, 0.05, 0.025, 0.0125]
    )
    # A quarter of the way down half a cosine is (1 + sqrt(1/2)) / 2 of the rate.
    quarter = BASE * (1 + math.sqrt(0.5)) / 2
    found = ours(LrSchedule("cosine", horizon=4), 5)
    assert found == pytest.approx([0.05, quarter, 0.025, 0.05 - quarter, 0.0], abs=1e-17)
    assert ours(LrSchedule("exponential", 0.5, warmup_epochs=1), 3) == pytest.approx(
        [0.025, 0.025, 0.0125]
    )


def test_a_cosine_stays_at_its_minimum_past_its_horizon() -> None:
    assert ours(LrSchedule("cosine", horizon=3, minimum=0.01), 9)[3:] == [0.01] * 6


figures = st.lists(
    st.floats(0, 100) | st.sampled_from([0.0, 1.0, 1.0 - 1e-4, 1.0 + 1e-4, math.nan, math.inf]),
    max_size=40,
)


@given(
    figures,
    st.sampled_from(["min", "max"]),
    st.integers(0, 4),
    st.floats(0.05, 0.95),
    st.sampled_from([0.0, 1e-4, 0.1]),
    st.sampled_from([0.0, 1e-8, 1e-3, BASE]),
)
@example([1.0] * 40, "min", 0, 0.05, 1e-4, 0.0)  # down to where PyTorch ignores the change
@example([math.nan] * 9, "max", 1, 0.5, 1e-4, 0.0)
def test_a_plateau_lowers_the_rate_when_pytorch_does_and_to_the_same_bits(
    seen: list[float], mode: str, patience: int, factor: float, threshold: float, minimum: float
) -> None:
    schedule = LrSchedule(
        "plateau", factor, patience=patience, threshold=threshold, minimum=minimum
    )
    steps = optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(
        steps, mode, factor=factor, patience=patience, threshold=threshold, min_lr=minimum
    )  # type: ignore[arg-type]
    state = PlateauState()
    for epoch, figure in enumerate(seen):
        if mode == "max" and figure == math.inf:
            continue  # an accuracy is finite or NaN
        state = after_epoch(recipe(schedule), state, figure, mode == "max")
        scheduler.step(figure)
        assert at_epoch(recipe(schedule), epoch + 1, state) == steps.param_groups[0]["lr"]
        assert state.bad_epochs == scheduler.num_bad_epochs


def test_a_plateau_by_hand() -> None:
    schedule = LrSchedule("plateau", 0.2, patience=2, minimum=0.001)
    state, rates = PlateauState(), []
    # The best is 0.5; with the third epoch in a row above it the rate falls, then anew.
    for loss in (1.0, 0.5, 0.6, 0.5, 0.7, 0.6, 0.6, 0.6, 0.4, 0.5, 0.5, 0.5):
        state = after_epoch(recipe(schedule), state, loss, False)
        rates.append(at_epoch(recipe(schedule), 99, state))
    assert rates == pytest.approx([0.05] * 4 + [0.01] * 3 + [0.002] * 4 + [0.001])
    assert state.best == 0.4


def test_a_warm_up_is_a_part_of_the_rate_that_the_plateau_gives() -> None:
    schedule = LrSchedule("plateau", 0.2, patience=0, warmup_epochs=3)
    lowered = PlateauState(rate=0.01, best=1.0)
    assert at_epoch(recipe(schedule), 1, lowered) == pytest.approx(0.005)
    assert at_epoch(recipe(schedule), 3, lowered) == 0.01

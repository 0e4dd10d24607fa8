"""Expected gradients are Shapley values where they must be, and close to them elsewhere."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from trials.expected_gradients import completeness_error, expected_gradients

INPUT = torch.tensor([0.9, -0.4, 0.7, 0.2])
BACKGROUND = torch.tensor(
    [[0.0, 0.5, -0.3, 0.1], [0.4, -0.2, 0.6, -0.8], [-0.5, 0.1, 0.2, 0.9], [0.3, 0.3, -0.9, 0.0]]
)


class Columns(nn.Module):
    """Outputs as functions of the columns of the inputs."""

    def __init__(self, *functions: Callable[..., Tensor]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([function(*x.unbind(1)) for function in self.functions], dim=1)


def relu_network() -> nn.Module:
    """Two outputs of three units; every unit is on at some of the samples and off at others."""
    first, last = nn.Linear(4, 3), nn.Linear(3, 2)
    with torch.no_grad():
        first.weight.copy_(
            torch.tensor([[1.0, -0.5, 0.3, 0.8], [-0.7, 0.9, 1.1, 0.2], [0.4, 0.6, -1.2, -0.3]])
        )
        first.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
        last.weight.copy_(torch.tensor([[0.5, -1.0, 0.7], [1.2, 0.8, -0.6]]))
        last.bias.copy_(torch.tensor([0.0, 0.4]))
    return nn.Sequential(first, nn.ReLU(), last).eval()


def shapley(model: nn.Module, x: Tensor, background: Tensor, output: int) -> Tensor:
    """From the definition: every coalition, absent inputs taken from each background sample."""
    n = len(x)

    def worth(present: tuple[int, ...]) -> float:
        mixed = background.clone()
        mixed[:, list(present)] = x[list(present)]
        with torch.no_grad():
            return float(model(mixed)[:, output].double().mean())

    values = torch.zeros(n, dtype=torch.float64)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for present in itertools.combinations(others, size):
                values[i] += weight * (worth((*present, i)) - worth(present))
    return values


def test_a_linear_output_is_weights_times_distance_from_the_mean_without_sampling_error() -> None:
    model = nn.Linear(4, 2).eval()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[9.0, 9.0, 9.0, 9.0], [2.0, -1.0, 0.5, 4.0]]))
    found = expected_gradients(model, INPUT, BACKGROUND, 1, seed=1)
    # the background's means are 0.05, 0.175, -0.1 and 0.05
    expected = torch.tensor([2 * 0.85, -1 * -0.575, 0.5 * 0.8, 4 * 0.15], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_products_are_shared_out_as_shapley_does() -> None:
    def output(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return 3 * a + a * b - 2 * b * c * d + a * b * c * d

    model = Columns(output)
    exact = shapley(model, INPUT, BACKGROUND, 0)
    found = expected_gradients(model, INPUT, BACKGROUND, 0, seed=3, repeats=1000)
    torch.testing.assert_close(found, exact, atol=5e-3, rtol=0)
    # by hand, for one product and a background of zeros: each of three has a third
    alone = Columns(lambda a, b, c, d: a * b * c)
    third = expected_gradients(alone, INPUT, torch.zeros(1, 4), 0, seed=3, repeats=1000)
    assert third.tolist() == pytest.approx([-0.084] * 3 + [0.0], abs=5e-3)


def test_a_small_network_is_near_its_shapley_values_and_at_those_of_another_program() -> None:
    model = relu_network()
    found = expected_gradients(model, INPUT, BACKGROUND, 1, seed=5, repeats=1000)
    # GradientShap of captum 0.9.0 (stdevs 0, a million draws, its seed 0) on this very network
    reference = torch.tensor([0.8061, 0.3768, 0.6892, 0.1338], dtype=torch.float64)
    torch.testing.assert_close(found, reference, atol=6e-3, rtol=0)
    # near, not equal: a unit that is on for some coalitions alone is shared out differently
    exact = shapley(model, INPUT, BACKGROUND, 1)
    assert float((found - exact).abs().max()) < 0.2 * float(exact.abs().max())


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 1))
def test_values_add_up_to_the_difference_from_the_mean_of_the_background(
    seed: int, samples: int, output: int
) -> None:
    model, background = relu_network(), BACKGROUND.repeat(2, 1)[:samples]
    values = expected_gradients(
        model, INPUT, background, output, seed=seed, repeats=1000
    )  # 0.1 is five of its deviations
    with torch.no_grad():
        difference = float(model(INPUT[None])[0, output] - model(background)[:, output].mean())
    assert float(values.sum()) == pytest.approx(difference, abs=0.1)
    error, apart = completeness_error(model, INPUT, background, values, output)
    assert apart == pytest.approx(difference, abs=1e-5)
    assert error == pytest.approx(float(values.sum()) - difference, abs=1e-5)


def test_values_depend_on_seed_and_row_and_on_no_state() -> None:
    model = Columns(lambda a, b, c, d: a**2 * b + c * d**2)

    def values(**more: int) -> list[float]:
        torch.rand(3)
        return expected_gradients(model, INPUT, BACKGROUND, 0, **{"seed": 1, **more}).tolist()

    assert values() == values()
    assert values(row=1) != values()
    assert values(seed=2) != values()
    assert values(batch_size=3) == pytest.approx(values(), abs=1e-6)


def test_places_are_spread_over_strata() -> None:
    # d/dx of x^2 / 2 on a way from 0 to 1 is the place: its mean over 100 strata is 1/2 within
    # 1/(100 sqrt(1200)), which independent places miss by 1/sqrt(1200)
    square = Columns(lambda a: a**2 / 2)
    off = [
        float(expected_gradients(square, torch.ones(1), torch.zeros(100, 1), 0, seed=s)) - 0.5
        for s in range(20)
    ]
    assert max(map(abs, off)) < 5 / (100 * math.sqrt(1200))
    assert len(set(off)) == 20


@pytest.mark.parametrize(
    ("background", "repeats", "said"),
    [(BACKGROUND[:0], 1, "no background"), (BACKGROUND, 0, "repeats = 0")],
)
def test_nothing_to_compare_with_is_refused(background: Tensor, repeats: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        expected_gradients(relu_network(), INPUT, background, 0, seed=1, repeats=repeats)


def test_parameters_get_no_gradient() -> None:
    model = relu_network()
    expected_gradients(model, INPUT, BACKGROUND, 0, seed=1)
    assert all(parameter.grad is None for parameter in model.parameters())

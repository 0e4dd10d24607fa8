import pytest
import torch
from torch import Tensor, nn

from models.initialise import build
from trials.attacks import fgsm, input_gradient
from trials.losses import hard_loss
from trials.pgd import pgd


def linear(weight: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return layer


def student(samples: int = 60) -> tuple[nn.Module, Tensor, Tensor]:
    model = build("digits", "student", (1, 8, 8), 10, "he", 4).eval()
    g = torch.Generator().manual_seed(2)
    x = torch.rand(samples, 1, 8, 8, generator=g) * 2 - 1
    with torch.no_grad():
        return model, x, model(x).argmax(1)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.7])
def test_one_step_of_the_whole_size_is_fgsm(epsilon: float) -> None:
    model, x, y = student()
    x[0, 0, 0, 0] = 1.5  # outside the range of inputs: both bring it back
    gradient = input_gradient(model, x, y, "classification")[1]
    step = fgsm(x, gradient, epsilon, -1, 1)
    for known in (None, gradient):
        walk = pgd(
            model, x, y, "classification", epsilon, steps=1, step=1, low=-1, high=1, gradient=known
        )
        assert torch.equal(walk, step)


def test_a_logistic_model_against_its_closed_form() -> None:
    # The loss is log(1 + exp(-m)) with margin m = (w1 - w0) x; within epsilon it is largest at
    # x - epsilon sign(w1 - w0) for class 1, and at x + epsilon sign(w1 - w0) for class 0.
    weight = [[1.0, 4.0, -0.5], [3.0, -2.0, -0.25]]
    x, y = torch.tensor([[0.1, 0.2, -0.3], [0.4, -0.9, 0.95]]), torch.tensor([1, 0])
    signs = torch.tensor([[1.0, -1.0, 1.0]]) * torch.tensor([[-1.0], [1.0]])
    walk = pgd(
        linear(weight), x, y, "classification", 0.2, steps=10, step=0.25, low=-1, high=1
    )  # fmt: skip
    assert torch.allclose(walk, (x + 0.2 * signs).clamp(-1, 1), atol=1e-7)


def test_regression_against_its_closed_form() -> None:
    # Errors w x - y of 1 and -3: the first grows along sign(w), the second against it.
    x, y = torch.tensor([[1.0, 1.0], [0.0, 2.0]]), torch.tensor([[0.0], [1.0]])
    walk = pgd(linear([[2.0, -1.0]]), x, y, "regression", 0.5, steps=4, step=0.5, low=-9, high=9)
    assert walk.tolist() == [[1.5, 0.5], [-0.5, 2.5]]


class Ridge(nn.Module):
    """The error is sin(5 x): FGSM by 0.7 from 0.2 runs past the top at pi / 10."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(5 * x)


def test_small_steps_stay_at_a_top_that_one_step_runs_past() -> None:
    model, x, y = Ridge(), torch.tensor([[0.2]]), torch.zeros(1, 1)
    one = pgd(model, x, y, "regression", 0.7, steps=1, step=1, low=-9, high=9)
    many = pgd(model, x, y, "regression", 0.7, steps=25, step=0.02, low=-9, high=9)
    assert one.item() == pytest.approx(0.9)
    assert model(one).abs().item() == pytest.approx(abs(torch.sin(torch.tensor(4.5)).item()))
    assert many.item() == pytest.approx(torch.pi / 10, abs=0.7 * 0.02)


def test_a_walk_never_leaves_its_reach_and_raises_the_loss() -> None:
    model, x, y = student()
    g = torch.Generator().manual_seed(5)
    start = torch.rand(x.shape, generator=g) * 2 - 1
    for begins in (None, start):
        walk = pgd(
            model, x, y, "classification", 0.1, steps=10, step=0.25, low=-1, high=1, start=begins
        )
        assert (walk - x).abs().max() <= 0.1 + 1e-6
        assert walk.abs().max() <= 1
        with torch.no_grad():
            losses = [hard_loss("classification", model(at), y).mean() for at in (x, walk)]
        assert losses[1] > losses[0]


def test_a_random_start_is_where_the_walk_begins() -> None:
    # A flat loss moves nothing, so the walk ends where it began: at x + epsilon start, clipped.
    flat = linear([[0.0, 0.0]])
    x, y = torch.tensor([[0.5, 0.95]]), torch.zeros(1, 1)
    start = torch.tensor([[-1.0, 1.0]])
    walk = pgd(flat, x, y, "regression", 0.25, steps=3, step=1, low=-1, high=1, start=start)
    assert walk.tolist() == [[0.25, 1.0]]

import pytest
import torch
from torch import nn

from trials.attacks import fgsm, input_gradient, zero_gradients


def linear(weight: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return layer


def test_gradient_of_cross_entropy_by_hand() -> None:
    # d loss / d x = W^T (softmax(W x) - onehot(y)); at x = 0 the softmax is (1/2, 1/2).
    model = linear([[1.0, 4.0], [3.0, -2.0]])
    x, y = torch.zeros(2, 2), torch.tensor([0, 1])
    outputs, gradient = input_gradient(model, x, y, "classification")
    assert outputs.tolist() == [[0, 0], [0, 0]]
    assert gradient.tolist() == [[1.0, -3.0], [-1.0, 3.0]]


def test_gradient_of_squared_error_by_hand() -> None:
    # d (w x - y)^2 / d x = 2 (w x - y) w, the same in a batch of any size.
    model = linear([[2.0, -1.0]])
    x, y = torch.tensor([[1.0, 1.0], [0.0, 2.0]]), torch.tensor([[0.0], [1.0]])
    outputs, gradient = input_gradient(model, x, y, "regression")
    assert outputs.tolist() == [[1.0], [-2.0]]
    assert gradient.tolist() == [[4.0, -2.0], [-12.0, 6.0]]
    alone = input_gradient(model, x[1:], y[1:], "regression")[1]
    assert torch.equal(alone, gradient[1:])


def test_nothing_is_left_on_the_network_or_the_inputs() -> None:
    model = linear([[1.0, 4.0], [3.0, -2.0]])
    x = torch.zeros(1, 2)
    with torch.no_grad():
        outputs, gradient = input_gradient(model, x, torch.tensor([0]), "classification")
    assert model.weight.grad is None
    assert x.grad is None
    assert not x.requires_grad
    assert not outputs.requires_grad
    assert not gradient.requires_grad


def test_a_frozen_network_has_a_gradient_too() -> None:
    model = linear([[2.0, -1.0]]).requires_grad_(False)
    _, gradient = input_gradient(model, torch.ones(1, 2), torch.zeros(1, 1), "regression")
    assert gradient.tolist() == [[4.0, -2.0]]


def test_step_and_clipping() -> None:
    x = torch.tensor([0.0, 0.0, 0.0, 0.9, -0.9, 0.9])
    gradient = torch.tensor([3.0, -1e-30, 0.0, 1.0, -1.0, -1.0])
    assert fgsm(x, gradient, 0.25, -1.0, 1.0).tolist() == pytest.approx(
        [0.25, -0.25, 0.0, 1.0, -1.0, 0.65]
    )
    assert x[0].item() == 0.0


def test_only_samples_without_any_gradient_are_counted() -> None:
    gradient = torch.zeros(4, 1, 2, 2)
    gradient[1, 0, 1, 1] = 1e-45  # the smallest number above zero: it has a sign
    gradient[2] = -1.0
    assert zero_gradients(gradient).item() == 2
    assert zero_gradients(torch.tensor([[0.0], [-0.0], [2.0]])).item() == 2

import itertools
import math
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trials import terms
from trials.terms import anchor_distance, hessian_trace, noisy_inputs


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Distance to an anchor

GROWN = {
    "weight": torch.tensor([[1.0, 9.0], [2.0, 9.0], [9.0, 9.0]]),
    "bias": torch.tensor([9.0, 5.0, 7.0]),
    "other": torch.tensor([100.0]),
}
ANCHOR = {
    "weight": torch.tensor([[1.0], [-1.0]]),
    "bias": torch.tensor([1.0, 7.0]),
    "other": torch.tensor([0.0]),
}
BLOCKS = {"weight": (slice(0, 2), slice(0, 1)), "bias": (slice(1, 3),)}
"""Differences: 0 and 3 of the weights, 4 and 0 of the bias; `other` does not count."""


def leaves(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone().requires_grad_(True) for name, value in values.items()}


@pytest.mark.parametrize(
    ("kind", "distance", "slope"), [("squared", 25.0, 2.0), ("norm", 5.0, 0.2)]
)
def test_distance_to_an_anchor_by_hand(
    kind: terms.AnchorKind, distance: float, slope: float
) -> None:
    parameters, anchor = leaves(GROWN), leaves(ANCHOR)
    found = anchor_distance(parameters, anchor, BLOCKS, kind)
    assert found.item() == distance
    assert found.shape == ()
    found.backward()  # type: ignore[no-untyped-call]
    # 2 d, or d / |d|, and nothing outside of the blocks or for the anchor
    weight, bias = parameters["weight"].grad, parameters["bias"].grad
    assert weight is not None
    assert bias is not None
    assert weight.flatten().tolist() == pytest.approx([0, 0, 3 * slope, 0, 0, 0])
    assert bias.tolist() == pytest.approx([0, 4 * slope, 0])
    assert parameters["other"].grad is None
    assert all(value.grad is None for value in anchor.values())


@pytest.mark.parametrize("kind", ["squared", "norm"])
def test_at_the_anchor_the_gradient_is_zero(kind: terms.AnchorKind) -> None:
    parameters = leaves(ANCHOR)
    found = anchor_distance(parameters, ANCHOR, dict.fromkeys(ANCHOR, ()), kind)
    assert found.item() == 0
    found.backward()  # type: ignore[no-untyped-call]
    assert [p.grad.abs().sum().item() for p in parameters.values() if p.grad is not None] == [
        0.0
    ] * 3


@settings(deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8))
def test_a_norm_is_the_root_of_the_squared_distance(values: list[float]) -> None:
    at = {"w": torch.tensor(values, dtype=torch.float64)}
    origin = {"w": torch.zeros(len(values), dtype=torch.float64)}
    squared, norm = (anchor_distance(at, origin, {"w": ()}, k).item() for k in ("squared", "norm"))  # type: ignore[arg-type]
    assert squared == pytest.approx(sum(v * v for v in values), rel=1e-9)
    assert norm == pytest.approx(math.sqrt(squared), rel=1e-9)


@pytest.mark.parametrize(
    ("blocks", "kind", "message"),
    [
        ({"gone": ()}, "norm", "'gone' is no parameter of the network"),
        ({"bias": (slice(0, 1),)}, "norm", r"block of shape \(1,\) for an anchor of shape \(2,\)"),
        ({}, "norm", "must name at least one"),
        (BLOCKS, "cubed", "kind = 'cubed': must be squared or norm"),
    ],
)
def test_what_does_not_fit_an_anchor_is_refused(
    blocks: dict[str, tuple[slice, ...]], kind: terms.AnchorKind, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        anchor_distance(GROWN, ANCHOR, blocks, kind)
    with pytest.raises(ValueError, match="'more' is no parameter of the anchor"):
        anchor_distance({"more": torch.ones(1)}, ANCHOR, {"more": ()}, "norm")


# Noise on inputs


def test_noise_on_inputs_is_uniform_and_not_clipped() -> None:
    x = torch.ones(200, 50)
    found = noisy_inputs(x, 0.3, drawn(1)) - 1
    assert found.abs().max().item() == pytest.approx(0.3, abs=1e-3)
    assert found.mean().item() == pytest.approx(0, abs=0.009)  # 5 standard errors of 0.3 / sqrt(3)
    assert found.var().item() == pytest.approx(0.03, abs=0.002)
    assert torch.equal(x, torch.ones(200, 50))
    again = noisy_inputs(x, 0.3, drawn(1))
    assert torch.equal(again - 1, found)
    assert not torch.equal(noisy_inputs(x, 0.3, drawn(2)), again)
    assert torch.equal(noisy_inputs(x, 0.0, drawn(1)), x)


def test_noise_does_not_depend_on_the_place_in_memory() -> None:
    x = torch.zeros(2, 3, 4, 5)
    other = x.to(memory_format=torch.channels_last)
    assert torch.equal(noisy_inputs(x, 1, drawn()), noisy_inputs(other, 1, drawn()))


@pytest.mark.parametrize("amplitude", [-0.1, float("nan"), float("inf")])
def test_an_amplitude_that_is_none_is_refused(amplitude: float) -> None:
    with pytest.raises(ValueError, match="amplitude = "):
        noisy_inputs(torch.zeros(1), amplitude, drawn())


# Trace of the Hessian


@settings(deadline=None)
@given(st.integers(0, 2**31), st.lists(st.floats(-10, 10), min_size=2, max_size=6))
def test_a_diagonal_hessian_is_exact_whatever_the_draw(seed: int, curvatures: list[float]) -> None:
    a = torch.tensor(curvatures, dtype=torch.float64)
    x = torch.ones(len(a), dtype=torch.float64, requires_grad=True)
    y = torch.full((2,), 3.0, dtype=torch.float64, requires_grad=True)
    loss = (a * x.square()).sum() / 2 + 5 * y.square().sum() + x.sum() - 7
    for differentiable in (True, False):
        found = hessian_trace(loss, [x, y], drawn(seed), differentiable=differentiable)
        assert found.item() == pytest.approx(sum(curvatures) + 20)
        assert found.shape == ()


def test_what_is_beside_the_diagonal_comes_with_either_sign() -> None:
    # H = [[2, 3], [3, 4]]: v^T H v is 6 + 6 v1 v2.
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    loss = x[0].square() + 2 * x[1].square() + 3 * x[0] * x[1]
    found = [hessian_trace(loss, [x], drawn(seed)).item() for seed in range(40)]
    assert set(found) == {0.0, 12.0}
    generator = drawn(3)
    singles = [hessian_trace(loss, [x], generator).item() for _ in range(5)]
    assert hessian_trace(loss, [x], drawn(3), samples=5).item() == pytest.approx(sum(singles) / 5)


def over_all_signs(
    monkeypatch: pytest.MonkeyPatch, loss: Tensor, parameters: Sequence[Tensor]
) -> float:
    """The mean over every vector of +1 and -1, which is the trace itself."""
    sizes = [p.numel() for p in parameters]
    vectors = [
        part.view(p.shape)
        for signs in itertools.product([1.0, -1.0], repeat=sum(sizes))
        for part, p in zip(
            torch.tensor(signs, dtype=loss.dtype).split(sizes), parameters, strict=True
        )
    ]
    following = iter(vectors)
    monkeypatch.setattr(terms, "_signs", lambda like, generator: next(following))
    return hessian_trace(loss, parameters, drawn(), samples=2 ** sum(sizes)).item()


Activation = Callable[[Tensor], Tensor]
X = torch.tensor([[0.5, -1.0], [1.5, 0.3], [-0.7, 0.8]], dtype=torch.float64)
Y = torch.tensor([1, 0, 1])


def network_loss(activation: Activation, *parameters: Tensor) -> Tensor:
    """Cross-entropy of a network of 2, 2 and 2 units without the last bias: 10 parameters."""
    first, bias, last = parameters
    return F.cross_entropy(activation(X @ first.T + bias) @ last.T, Y)


def network() -> list[Tensor]:
    shapes, generator = ((2, 2), (2,), (2, 2)), drawn(5)
    return [
        torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(True)
        for shape in shapes
    ]


@pytest.mark.parametrize("activation", [torch.tanh, torch.relu])
def test_the_mean_over_all_signs_is_the_trace_of_the_full_hessian(
    monkeypatch: pytest.MonkeyPatch, activation: Activation
) -> None:
    parameters = network()

    def loss(*values: Tensor) -> Tensor:
        return network_loss(activation, *values)

    blocks = torch.autograd.functional.hessian(loss, tuple(parameters))  # type: ignore[no-untyped-call]
    exact = sum(
        blocks[i][i].reshape(p.numel(), p.numel()).trace().item() for i, p in enumerate(parameters)
    )
    assert abs(exact) > 0.01  # of ReLUs as well: the loss is curved in the outputs
    found = over_all_signs(monkeypatch, loss(*parameters), parameters)
    assert found == pytest.approx(exact, rel=1e-10)


def test_softmax_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # By the logits the Hessian of cross-entropy is diag(p) - p p^T: its trace is the sum of p (1 - p).
    logits = torch.tensor([math.log(1), math.log(2), math.log(5)], dtype=torch.float64)
    logits.requires_grad_(True)
    loss = F.cross_entropy(logits[None], torch.tensor([2]))
    exact = (1 * 7 + 2 * 6 + 5 * 3) / 64
    assert over_all_signs(monkeypatch, loss, [logits]) == pytest.approx(exact)


def test_the_gradient_of_the_trace_against_finite_differences() -> None:
    def trace(*parameters: Tensor) -> Tensor:
        loss = network_loss(torch.tanh, *parameters)
        return hessian_trace(loss, parameters, drawn(2), samples=2)

    assert torch.autograd.gradcheck(trace, tuple(network()))  # type: ignore[no-untyped-call]


def test_without_a_gradient_it_is_the_same_value_and_the_loss_stays_usable() -> None:
    parameters = network()
    loss = network_loss(torch.tanh, *parameters)
    with_graph = hessian_trace(loss, parameters, drawn(4), 3)
    value = hessian_trace(loss, parameters, drawn(4), 3, differentiable=False)
    assert with_graph.requires_grad
    assert not value.requires_grad
    assert value.item() == pytest.approx(with_graph.item(), rel=1e-12)
    (loss + value).backward()  # type: ignore[no-untyped-call]
    fresh = network()
    expected = torch.autograd.grad(network_loss(torch.tanh, *fresh), fresh)
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, gradient)


def test_minimising_the_trace_makes_a_loss_flat() -> None:
    # loss = x^2 y^2 / 2: an estimate is x^2 + y^2 + 4 x y v1 v2, of mean x^2 + y^2.
    x = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)
    for step in range(200):
        loss = x[0].square() * x[1].square() / 2
        (gradient,) = torch.autograd.grad(hessian_trace(loss, [x], drawn(step), 8), x)
        with torch.no_grad():
            x -= 0.05 * gradient
    assert x.abs().max().item() < 0.1


def test_what_is_not_curved_has_no_trace() -> None:
    x = torch.ones(3, requires_grad=True)
    unused = torch.ones(2, requires_grad=True)
    assert hessian_trace(3 * x.sum(), [x, unused], drawn()).item() == 0
    # A part that is linear beside one that is curved.
    loss = 3 * x.sum() + unused.square().sum()
    assert hessian_trace(loss, [x, unused], drawn()).item() == 4


def test_what_has_no_trace_is_refused() -> None:
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(ValueError, match="samples = 0"):
        hessian_trace(x.sum(), [x], drawn(), 0)
    with pytest.raises(ValueError, match="parameters: none"):
        hessian_trace(x.sum(), [], drawn())
    with pytest.raises(ValueError, match=r"loss of shape \(3,\)"):
        hessian_trace(x.square(), [x], drawn())

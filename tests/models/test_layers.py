import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from models.layers import Dropout, DropoutStream, attach_streams


def layer(p: float, key: int = 1) -> Dropout:
    made = Dropout(p)
    made.stream = DropoutStream(key)
    return made


def kept(p: float, shape: tuple[int, ...], key: int) -> Tensor:
    out: Tensor = layer(p, key)(torch.ones(shape))
    return out != 0


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("key", [0, 7, 2**127 + 1])
def test_fraction_kept(p: float, key: int) -> None:
    n = 400_000
    keep = 1 - round(p * 65536) / 65536
    sigma = math.sqrt(keep * (1 - keep) / n)
    assert abs(kept(p, (n,), key).double().mean().item() - keep) < 5 * sigma


def test_survivors_are_scaled_by_the_exact_inverse_of_what_is_kept() -> None:
    # 0.3 * 65536 = 19660.8: 19661 of 65536 values drop a unit.
    out = layer(0.3)(torch.full((1000,), 2.0))
    assert set(out.tolist()) == {0.0, torch.tensor(2 * 65536 / 45875).item()}


@pytest.mark.parametrize("p", [0.3, 0.75])
def test_expectation_is_the_input(p: float) -> None:
    dropout = layer(p)
    x = torch.linspace(-3, 3, 50)
    mean = torch.stack([dropout(x) for _ in range(20_000)]).double().mean(0)
    sigma = x.abs() * math.sqrt(p / (1 - p) / 20_000)
    assert ((mean - x).abs() <= 5 * sigma + 1e-6).all()


def test_units_are_independent_of_their_neighbours() -> None:
    # Four units share one draw of 64 bits.
    mask = kept(0.5, (100_000, 4), key=3).double()
    correlation = torch.corrcoef(mask.T) - torch.eye(4, dtype=torch.float64)
    assert correlation.abs().max().item() < 5 / math.sqrt(100_000)


def test_masks_are_a_function_of_the_key() -> None:
    assert torch.equal(kept(0.3, (64, 33), 5), kept(0.3, (64, 33), 5))
    assert not torch.equal(kept(0.3, (64, 33), 5), kept(0.3, (64, 33), 6))
    assert not torch.equal(kept(0.3, (64, 33), 5), kept(0.3, (64, 33), 5 + 2**64))


def test_reseeding_starts_again() -> None:
    dropout, x = layer(0.3, 5), torch.ones(64, 33)
    first, second = dropout(x), dropout(x)
    assert not torch.equal(first, second)
    assert dropout.stream is not None
    dropout.stream.reseed(5)
    assert torch.equal(dropout(x), first)


def test_torch_generator_is_not_touched() -> None:
    before = torch.random.get_rng_state()
    layer(0.3)(torch.ones(100))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradient_is_mask_times_scale_times_upstream(dtype: torch.dtype) -> None:
    x = torch.ones(40, 7, dtype=dtype, requires_grad=True)
    out = layer(0.5)(x)
    assert out.dtype == dtype
    upstream = torch.arange(280, dtype=dtype).view(40, 7)
    (gradient,) = torch.autograd.grad(out, x, upstream)
    assert torch.equal(gradient, (out.detach() != 0) * 2 * upstream)


# A dense layer, ReLU and dropout in one


def test_all_in_one_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, dropout = nn.Linear(2, 3), layer(0.5)
    with torch.no_grad():
        dense.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0], [1.0, 1.0]]))
        dense.bias.copy_(torch.tensor([0.5, 0.0, 0.0]))
    kept = torch.tensor([1, 1, 0], dtype=torch.int8)
    monkeypatch.setattr(DropoutStream, "keep", lambda *_: kept)
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    out = dropout.after(dense, x)
    # Units 1.5, -2 and 3; the second is negative, the third dropped, the first scaled by 2.
    assert out.tolist() == [[3.0, 0.0, 0.0]]
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert dense.weight.grad is not None
    assert dense.bias.grad is not None
    assert x.grad.tolist() == [[2.0, 0.0]]
    assert dense.weight.grad.tolist() == [[2.0, 4.0], [0.0, 0.0], [0.0, 0.0]]
    assert dense.bias.grad.tolist() == [2.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.05)],
)
def test_all_in_one_is_one_after_the_other(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(2)
    dense = nn.Linear(6, 33).to(dtype)
    x = torch.randn(50, 6, dtype=dtype, requires_grad=True)
    upstream = torch.randn(50, 33, dtype=dtype)
    inputs = [x, *dense.parameters()]
    one = layer(0.3).after(dense, x)
    other = layer(0.3)(torch.relu(dense(x)))
    assert one.dtype == dtype
    assert torch.equal(one == 0, other == 0)
    assert 0.55 < (one == 0).double().mean().item() < 0.75  # 1 - 0.5 * 0.7 of all units
    ours = torch.autograd.grad(one, inputs, upstream)
    theirs = torch.autograd.grad(other, inputs, upstream)
    for mine, reference in zip((one, *ours), (other, *theirs), strict=True):
        assert torch.allclose(mine, reference, rtol=tolerance, atol=tolerance * 10)


def test_all_in_one_has_the_gradient_of_finite_differences_wherever_its_output_goes() -> None:
    torch.manual_seed(3)
    dropout = layer(0.4)
    dense = nn.Linear(3, 4).double()

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        assert dropout.stream is not None
        dropout.stream.reseed(9)
        moved = nn.Linear(3, 4).double()
        del moved.weight, moved.bias
        moved.weight, moved.bias = weight, bias
        out = dropout.after(moved, x)
        return out.square() + out + out.sum(dim=1, keepdim=True)  # the gradient has several parts

    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (x, dense.weight, dense.bias))


def test_all_in_one_leaves_inputs_and_gradients_as_they_were() -> None:
    torch.manual_seed(4)
    dense = nn.Linear(3, 8)
    x = torch.randn(7, 3, requires_grad=True)
    upstream = torch.randn(7, 8)
    before = x.detach().clone(), upstream.clone(), dense.weight.detach().clone()
    torch.autograd.grad(layer(0.5).after(dense, x), x, upstream)
    after = x.detach(), upstream, dense.weight.detach()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_all_in_one_without_masks_of_ours() -> None:
    torch.manual_seed(5)
    dense, x = nn.Linear(3, 40), torch.randn(7, 3)
    rectified = torch.relu(dense(x))
    assert torch.equal(layer(0.5).eval().after(dense, x), rectified)
    assert torch.equal(layer(0.0).after(dense, x), rectified)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        found = Dropout(0.4).after(dense, x)
        torch.manual_seed(1)
        assert torch.equal(found, nn.functional.dropout(rectified, 0.4))


def test_two_layers_draw_different_masks_from_one_stream() -> None:
    network = nn.Sequential(Dropout(0.5), nn.Sequential(nn.Identity(), Dropout(0.5)))
    stream = DropoutStream(1)
    attach_streams(network, stream)
    first, second = (m for m in network.modules() if isinstance(m, Dropout))
    assert first.stream is stream
    assert second.stream is stream
    x = torch.ones(1000)
    assert not torch.equal(first(x), second(x))
    attach_streams(network, None)
    assert first.stream is None


def test_eval_mode_and_p_0_change_nothing() -> None:
    x = torch.randn(5, 3)
    assert layer(0.5).eval()(x) is x
    assert layer(0.0)(x) is x
    assert layer(0.9).state_dict() == {}


def test_without_a_stream_torch_draws() -> None:
    dropout, x = Dropout(0.4), torch.ones(100)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        found = dropout(x)
        torch.manual_seed(1)
        assert torch.equal(found, nn.functional.dropout(x, 0.4))


def test_a_copy_of_a_network_shares_one_copied_stream() -> None:
    network = nn.Sequential(Dropout(0.5), Dropout(0.5))
    attach_streams(network, DropoutStream(1))
    twin = copy.deepcopy(network)
    x = torch.ones(1000)
    assert torch.equal(network(x), twin(x))


@given(st.integers(0, 70), st.integers(0, 2**128 - 1))
def test_any_number_of_units(units: int, key: int) -> None:
    mask = DropoutStream(key).keep(units, 32768)
    assert mask.shape == (units,)
    assert set(mask.tolist()) <= {0, 1}


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, math.nan, math.inf])
def test_bad_probabilities_are_refused(p: float) -> None:
    with pytest.raises(ValueError, match=r"p = .*below 1"):
        Dropout(p)


def test_negative_key_is_refused() -> None:
    with pytest.raises(ValueError, match="key = -1"):
        DropoutStream(-1)

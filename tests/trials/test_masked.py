import pytest
import torch
from torch import nn

from trials.masked import masked


def test_outputs_are_masked_and_parameters_are_the_networks_own() -> None:
    model = nn.Linear(2, 3)
    mask = torch.tensor([0.0, 1.0, 1.0])
    wrapped = masked(model, mask)
    x = torch.tensor([[1.0, -2.0]])
    assert wrapped(x).tolist() == [[0.0, *model(x)[0, 1:].tolist()]]
    assert [p is q for p, q in zip(wrapped.parameters(), model.parameters(), strict=True)] == [
        True
    ] * 2
    wrapped(x).sum().backward()
    assert model.weight.grad is not None
    assert model.weight.grad.tolist() == [[0.0, 0.0], [1.0, -2.0], [1.0, -2.0]]
    assert set(wrapped.state_dict()) == {"model.weight", "model.bias"}


def test_without_a_mask_it_is_the_network_itself() -> None:
    model = nn.Linear(2, 3)
    assert masked(model, None) is model


@pytest.mark.parametrize("mask", [[0.0, 0.5, 1.0], [[0.0, 1.0, 1.0]], [2.0, 0.0, 1.0]])
def test_what_is_no_mask_is_refused(mask: list[float]) -> None:
    with pytest.raises(ValueError, match="must be one row of 0 and 1"):
        masked(nn.Linear(2, 3), torch.tensor(mask))


def test_a_mask_for_another_number_of_outputs_is_refused() -> None:
    wrapped = masked(nn.Linear(2, 3), torch.ones(1))
    with pytest.raises(ValueError, match=r"mask of 1 items for outputs \(4, 3\)"):
        wrapped(torch.zeros(4, 2))

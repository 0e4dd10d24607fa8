import pytest
import torch
from torch import Tensor, nn

from data.load import Split
from trials.label_correction import correction_of, label_correction


def said(*classes: int) -> Tensor:
    """Logits of three classes whose largest is the one given."""
    return torch.nn.functional.one_hot(torch.tensor(classes), 3).float() - 5


def test_rows_are_counted_by_what_is_said_of_them() -> None:
    given, true = torch.tensor([1, 1, 1, 2, 0]), torch.tensor([0, 0, 0, 0, 2])
    #               true, given, a third, true, given
    found = label_correction(said(0, 1, 2, 0, 0), given, true)
    assert found == {"rows": 5, "corrected": 2, "memorised": 2, "other": 1}


def test_a_label_that_was_drawn_anew_and_is_the_same_is_never_memorised() -> None:
    found = label_correction(said(1, 2), torch.tensor([1, 1]), torch.tensor([1, 1]))
    assert found == {"rows": 2, "corrected": 1, "memorised": 0, "other": 1}


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"outputs \(2, 3\), given \(2,\), true \(3,\)"):
        label_correction(said(1, 2), torch.zeros(2), torch.zeros(3))


class Echo(nn.Module):
    """Says the class that the input names; nothing of the kind while it trains."""

    def forward(self, x: Tensor) -> Tensor:
        return -said(*x.long().flatten().tolist()) if self.training else said(*x.long().flatten())


def test_only_the_perturbed_rows_are_asked_about_in_eval_mode() -> None:
    # Rows 4 and 1 were perturbed: the network says 2 of row 4, which is true, and 1 of row 1, as told.
    train = Split(torch.tensor([[0.0], [1.0], [0.0], [0.0], [2.0]]), torch.tensor([2, 1, 2, 2, 0]))
    model = Echo()
    rows, true = torch.tensor([4, 1]), torch.tensor([2, 0])
    found = correction_of(model, train, lambda x: x, rows, true)
    assert found == {"rows": 2, "corrected": 1, "memorised": 1, "other": 0}
    assert model.training
    none = correction_of(model, train, lambda x: x, rows[:0], true[:0])
    assert none == {"rows": 0, "corrected": 0, "memorised": 0, "other": 0}

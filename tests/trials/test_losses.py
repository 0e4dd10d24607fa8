import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn

from tests.trials.specs import OTHER_RULE, RULE, guided
from trials.losses import hard_loss, objective_loss, soft_loss
from trials.spec import Guide, Objective


def odds(*ratios: float) -> Tensor:
    """Two-class logits `(log ratio, 0)`: the first class has probability ratio / (ratio + 1)."""
    return torch.tensor([[math.log(ratio), 0.0] for ratio in ratios], dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def near(*values: float) -> object:
    return pytest.approx(list(values), rel=1e-12, abs=1e-15)


def test_hard_loss_of_a_classifier() -> None:
    # Student (3/4, 1/4): -log of the probability of the label.
    found = hard_loss("classification", odds(3, 3), torch.tensor([0, 1]))
    assert found.tolist() == near(math.log(4 / 3), math.log(4))


def test_hard_loss_of_a_regression() -> None:
    outputs, targets = torch.tensor([[1.0], [4.0]]), torch.tensor([[3.0], [4.5]])
    assert hard_loss("regression", outputs, targets).tolist() == [4.0, 0.25]
    two = hard_loss("regression", torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 5.0]]))
    assert two.tolist() == [5.0]  # the mean of 1 and 9


def test_divergence_by_hand() -> None:
    # Teacher (3/4, 1/4), student (1/2, 1/2).
    found = soft_loss("kl", odds(1, 3), odds(3, 3), 1.0)
    assert found.tolist() == near(0.75 * math.log(1.5) + 0.25 * math.log(0.5), 0.0)


def test_divergence_goes_from_teacher_to_student() -> None:
    # Teacher (1/2, 1/2), student (3/4, 1/4): the other way round is another number.
    expected = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)
    assert soft_loss("kl", odds(3), odds(1), 1.0).tolist() == near(expected)


def test_temperature_softens_both_and_its_square_scales() -> None:
    # At temperature 2, odds 9 become 3 and odds 16 become 4: teacher (3/4, 1/4), student (4/5, 1/5).
    divergence = 0.75 * math.log(0.75 / 0.8) + 0.25 * math.log(0.25 / 0.2)
    assert soft_loss("kl", odds(16), odds(9), 2.0).tolist() == near(4 * divergence)


def test_a_sure_teacher_gives_no_nan() -> None:
    student = torch.zeros(1, 2, requires_grad=True)
    found = soft_loss("kl", student, torch.tensor([[1e4, -1e4]]), 1.0)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert found.tolist() == [pytest.approx(math.log(2))]
    assert student.grad is not None
    assert student.grad.tolist() == [[-0.5, 0.5]]


def test_squared_error_to_the_teacher_knows_no_temperature() -> None:
    outputs, teacher = (
        torch.tensor([[1.0, 2.0], [0.0, 0.0]]),
        torch.tensor([[0.0, 5.0], [0.0, 2.0]]),
    )
    assert soft_loss("mse", outputs, teacher, 1.0).tolist() == [5.0, 2.0]
    assert soft_loss("mse", outputs, teacher, 4.0).tolist() == [5.0, 2.0]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_mean_is_batchmean_of_pytorch(temperature: float) -> None:
    student, teacher = random(7, 5, seed=1), random(7, 5, seed=2)
    expected = nn.KLDivLoss(reduction="batchmean")(
        F.log_softmax(student / temperature, 1), F.softmax(teacher / temperature, 1)
    )
    found = soft_loss("kl", student, teacher, temperature).mean()
    assert found.item() == pytest.approx(expected.item() * temperature**2, rel=1e-12)


def test_a_mixture_by_hand() -> None:
    # alpha 0.1: one tenth to the label, nine tenths to the teacher, not the other way round.
    found = objective_loss(
        guided(0.1), "classification", odds(1, 1), torch.tensor([0, 1]), [odds(3, 3)]
    )
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert found.tolist() == near(*[0.1 * math.log(2) + 0.9 * divergence] * 2)


def test_a_mixture_for_regression() -> None:
    found = objective_loss(
        guided(0.6, kind="mse"), "regression", torch.tensor([[1.0]], dtype=torch.float64),
        torch.tensor([[3.0]]), [torch.tensor([[2.0]])],
    )  # fmt: skip
    assert found.tolist() == near(0.6 * 4 + 0.4 * 1)


def test_alone_and_soft_only() -> None:
    labels = torch.tensor([0, 1])
    alone = hard_loss("classification", odds(3, 5), labels)
    found = objective_loss(Objective(), "classification", odds(3, 5), labels, [])
    assert torch.equal(found, alone)
    found = objective_loss(Objective(hard=0.25), "classification", odds(3, 5), labels, [])
    assert torch.equal(found, alone / 4)
    only_soft = Objective(0.0, 0.5, guides=(Guide(RULE),))
    found = objective_loss(only_soft, "classification", odds(1, 3), labels, [odds(3, 3)])
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert found.tolist() == near(divergence / 2, 0.0)


def two_teachers(weight: float, other: float) -> Objective:
    return Objective(0.0, 1.0, guides=(Guide(RULE, weight), Guide(OTHER_RULE, other)))


def test_several_teachers_count_by_their_weights() -> None:
    objective = two_teachers(1, 3)
    outputs_of = {RULE: odds(3), OTHER_RULE: odds(1 / 7)}  # (3/4, 1/4) and (1/8, 7/8)
    found = objective_loss(
        objective, "classification", odds(1), torch.tensor([0]),
        [outputs_of[rule] for rule in objective.rules],
    )  # fmt: skip
    first = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    second = 0.125 * math.log(0.25) + 0.875 * math.log(1.75)
    assert found.tolist() == near(0.25 * first + 0.75 * second)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_several_teachers_pull_towards_their_mixture(temperature: float) -> None:
    # sum_k w_k KL(p_k, q) and KL(sum_k w_k p_k, q) differ by a constant: same gradient.
    objective = Objective(
        0.0, 1.0, "kl", temperature, (Guide(RULE, 0.2), Guide(OTHER_RULE, 0.8))
    )  # fmt: skip
    outputs_of = {RULE: random(6, 4, seed=1), OTHER_RULE: random(6, 4, seed=2)}
    softened = {rule: F.softmax(o / temperature, 1) for rule, o in outputs_of.items()}
    mixture = 0.2 * softened[RULE] + 0.8 * softened[OTHER_RULE]
    student = random(6, 4, seed=3).requires_grad_()
    teachers = [outputs_of[rule] for rule in objective.rules]
    labels = torch.zeros(6, dtype=torch.int64)
    objective_loss(objective, "classification", student, labels, teachers).sum().backward()  # type: ignore[no-untyped-call]
    # d/dz T^2 KL(m, softmax(z / T)) = T (softmax(z / T) - m)
    expected = temperature * (F.softmax(student.detach() / temperature, 1) - mixture)
    assert student.grad is not None
    assert torch.allclose(student.grad, expected, rtol=0, atol=1e-12)


def test_equal_teachers_are_one() -> None:
    labels = torch.tensor([1, 0])
    one = objective_loss(guided(0.3), "classification", odds(2, 5), labels, [odds(3, 9)])
    two = objective_loss(
        guided(0.3, RULE, OTHER_RULE), "classification", odds(2, 5), labels, [odds(3, 9)] * 2
    )
    assert torch.allclose(one, two, rtol=1e-12, atol=0)


def test_a_teacher_too_few_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        objective_loss(
            guided(0.3, RULE, OTHER_RULE), "classification", odds(1), torch.tensor([0]), [odds(1)]
        )

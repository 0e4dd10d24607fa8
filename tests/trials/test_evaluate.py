import pytest
import torch
from torch import Tensor, nn

from data.load import Split
from models.initialise import build
from trials.evaluate import Evaluation, RobustnessPoint, evaluate, outputs


def same(x: Tensor) -> Tensor:
    return x


def scaled(x: Tensor) -> Tensor:
    return (x.float() / 255 - 0.5) / 0.5


class Sign(nn.Module):
    """Class 1 where the only input is above 0, class 0 below: logits (0, x)."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        return torch.cat([torch.zeros_like(x), self.slope * x], dim=1)


def values(evaluation: Evaluation) -> list[float]:
    return [point.value for point in evaluation.robustness]


def test_images_by_hand() -> None:
    # The attack moves class 1 down and class 0 up by epsilon. Sample 2 is wrong from the start:
    # an attack away from its class cannot make it right, and it must not count.
    x = torch.tensor([[0.3], [-0.05], [-0.2], [0.6], [-0.01]])
    y = torch.tensor([1, 0, 1, 1, 0])
    found = evaluate(
        Sign(), Split(x, y), task="classification", inputs=same, low=-1, high=1,
        epsilons=(0.02, 0.1, 0.5, 0.0),
    )  # fmt: skip
    assert found.metrics.metric == 80.0
    assert found.robustness == (
        RobustnessPoint("fgsm", 0.02, 60.0),  # sample 4 falls
        RobustnessPoint("fgsm", 0.1, 40.0),  # and sample 1
        RobustnessPoint("fgsm", 0.5, 20.0),  # and sample 0
        RobustnessPoint("fgsm", 0.0, 80.0),
    )


class Bump(nn.Module):
    """Class 1 between -1 and 1, class 0 outside: an attacked sample can land beyond the bump."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x), 1 - x.square()], dim=1)


def test_wrong_samples_that_an_attack_would_put_right_do_not_count() -> None:
    # Truth 0 at x = 0.5, taken for 1. The attack lowers x to -1.5, which would be right.
    split = Split(torch.tensor([[0.5], [1.5]]), torch.tensor([0, 0]))
    found = evaluate(
        Bump(), split, task="classification", inputs=same, low=-9, high=9, epsilons=(2.0,)
    )
    assert found.metrics.metric == 50.0
    # Sample 1 goes from 1.5 to -0.5 and is lost; sample 0 would be gained by it.
    assert values(found) == [0.0]


def test_attacks_are_clipped() -> None:
    # Unclipped, 0.3 falls to -0.2. Clipped to at least 0.1 it stays above 0.
    split = Split(torch.tensor([[0.3]]), torch.tensor([1]))
    for low, value in ((-1.0, 0.0), (0.1, 100.0)):
        found = evaluate(
            Sign(), split, task="classification", inputs=same, low=low, high=1, epsilons=(0.5,)
        )
        assert values(found) == [value]


def linear() -> nn.Linear:
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, -1.0]]))
    return model


REGRESSION = Split(torch.tensor([[1.0, 1.0], [0.0, 2.0]]), torch.tensor([[0.0], [1.0]]))


def test_regression_by_hand() -> None:
    # Outputs 1 and -2, errors 1 and -3, mse 5. Signs of the gradient: (+, -) and (-, +): the error
    # grows by 3 epsilon on both sides: ((1 + 1.5)^2 + (3 + 1.5)^2) / 2 = 13.25 at epsilon 0.5.
    found = evaluate(
        linear(), REGRESSION, task="regression", inputs=same, low=-9, high=9, epsilons=(0.5, 0)
    )
    assert found.metrics.metric == 5.0
    assert values(found) == [13.25, 5.0]


def test_regression_is_clipped_to_the_range_of_inputs() -> None:
    # Within [0, 2]: (1.5, 0.5) stays, (-0.5, 2.5) becomes (0, 2): errors 2.5 and -3.
    found = evaluate(
        linear(), REGRESSION, task="regression", inputs=same, low=0, high=2, epsilons=(0.5,)
    )
    assert values(found) == [(6.25 + 9) / 2]


def digits(samples: int) -> tuple[nn.Module, Split]:
    """An untrained student and images; the labels are its own answers, but for the first ten."""
    model = build("digits", "student", (1, 8, 8), 10, "he", 4)
    g = torch.Generator().manual_seed(2)
    x = torch.randint(0, 256, (samples, 1, 8, 8), generator=g, dtype=torch.uint8)
    y = outputs(model, Split(x, torch.zeros(samples)), scaled).argmax(1)
    y[:10] = (y[:10] + 1) % 10
    return model, Split(x, y)


def test_several_epsilons_are_the_same_as_one_at_a_time() -> None:
    model, split = digits(230)
    epsilons = (0.01, 0.05, 0.1)

    def run(*chosen: float) -> Evaluation:
        return evaluate(
            model, split, task="classification", inputs=scaled, low=-1, high=1, epsilons=chosen
        )

    together = run(*epsilons)
    alone = [run(epsilon) for epsilon in epsilons]
    assert values(together) == [values(one)[0] for one in alone]
    assert together.metrics.metric == pytest.approx(100 * 220 / 230)
    assert together.metrics.metric > values(together)[0] > values(together)[1] > values(together)[2]
    # Asking for an attack changes no bit of the figures without one.
    assert {run().metrics, together.metrics, *(one.metrics for one in alone)} == {run().metrics}
    assert run().robustness == ()


def test_regression_epsilons_one_at_a_time() -> None:
    model = build("california_housing", "student", (8,), 1, "he", 4)
    g = torch.Generator().manual_seed(2)
    split = Split(torch.randn(250, 8, generator=g), torch.randn(250, 1, generator=g))

    def run(*chosen: float) -> list[float]:
        return values(
            evaluate(model, split, task="regression", inputs=same, low=-2, high=2, epsilons=chosen)
        )

    assert run(0.005, 0.01, 0.05) == [*run(0.005), *run(0.01), *run(0.05)]


def test_batches_have_a_fixed_size_whatever_is_right() -> None:
    model = Sign()
    split = Split(torch.linspace(-1, 1, 250).view(-1, 1), torch.ones(250, dtype=torch.int64))
    evaluate(model, split, task="classification", inputs=same, low=-1, high=1, epsilons=(0.1,))
    assert model.batches == [100, 100, 100, 100, 50, 50]  # without and with the attack, in turn
    model.batches.clear()
    evaluate(model, split, task="classification", inputs=same, low=-1, high=1, batch_size=200)
    assert model.batches == [200, 50]


class Counting(nn.Linear):
    modes: tuple[bool, ...] = ()

    def forward(self, input: Tensor) -> Tensor:
        self.modes += (self.training,)
        return super().forward(input)


@pytest.mark.parametrize("epsilons", [(), (0.1,)])
def test_eval_mode_within_and_each_module_as_before_afterwards(epsilons: tuple[float, ...]) -> None:
    layer = Counting(2, 1)
    model = nn.Sequential(nn.BatchNorm1d(2).eval(), layer, nn.Dropout(0.5))
    evaluate(model, REGRESSION, task="regression", inputs=same, low=-9, high=9, epsilons=epsilons)
    assert set(layer.modes) == {False}
    assert [m.training for m in model.modules()] == [True, False, True, True]
    assert layer.weight.grad is None
    assert layer.weight.requires_grad


def test_mode_is_restored_when_the_network_fails() -> None:
    model = nn.Sequential(nn.Linear(5, 1))
    with pytest.raises(RuntimeError, match="shapes"):
        evaluate(model, REGRESSION, task="regression", inputs=same, low=-9, high=9)
    assert model.training


def test_outputs_of_a_teacher_can_guide_a_student() -> None:
    model, split = digits(150)
    found = outputs(model, split, scaled)
    assert found.shape == (150, 10)
    assert not found.requires_grad
    assert model.training
    with torch.no_grad():
        expected = model.eval()(scaled(split.x))
    assert torch.allclose(found, expected, atol=1e-5)
    student = torch.zeros(150, 10, requires_grad=True)
    (student * found).sum().backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert torch.equal(student.grad, found)


def test_stored_inputs_are_left_as_they_were() -> None:
    x = REGRESSION.x.clone()
    evaluate(linear(), REGRESSION, task="regression", inputs=same, low=-9, high=9, epsilons=(0.5,))
    assert torch.equal(REGRESSION.x, x)
    assert not REGRESSION.x.requires_grad


@pytest.mark.parametrize(
    ("low", "high", "epsilons", "message"),
    [
        (-1.0, 1.0, (-0.1,), r"epsilon = -0\.1"),
        (-1.0, 1.0, (float("nan"),), "epsilon = nan"),
        (1.0, -1.0, (0.1,), r"low = 1\.0, high = -1\.0"),
        (float("nan"), 1.0, (0.1,), "low = nan"),
    ],
)
def test_bad_attacks_are_refused(
    low: float, high: float, epsilons: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(
            linear(), REGRESSION, task="regression", inputs=same, low=low, high=high,
            epsilons=epsilons,
        )  # fmt: skip


def test_an_empty_split_is_refused() -> None:
    empty = Split(torch.zeros(0, 2), torch.zeros(0, 1))
    with pytest.raises(ValueError, match="no samples"):
        evaluate(linear(), empty, task="regression", inputs=same, low=-1, high=1)

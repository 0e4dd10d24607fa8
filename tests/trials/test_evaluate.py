import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from data.load import Split
from models.initialise import build
from trials import weight_noise
from trials.attack_settings import Attacks
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
        under=Attacks((0.02, 0.1, 0.5, 0.0)),
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
        Bump(), split, task="classification", inputs=same, low=-9, high=9, under=Attacks((2.0,))
    )
    assert found.metrics.metric == 50.0
    # Sample 1 goes from 1.5 to -0.5 and is lost; sample 0 would be gained by it.
    assert values(found) == [0.0]


def test_attacks_are_clipped() -> None:
    # Unclipped, 0.3 falls to -0.2. Clipped to at least 0.1 it stays above 0.
    split = Split(torch.tensor([[0.3]]), torch.tensor([1]))
    for low, value in ((-1.0, 0.0), (0.1, 100.0)):
        found = evaluate(
            Sign(),
            split,
            task="classification",
            inputs=same,
            low=low,
            high=1,
            under=Attacks((0.5,)),
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
        linear(),
        REGRESSION,
        task="regression",
        inputs=same,
        low=-9,
        high=9,
        under=Attacks((0.5, 0)),
    )
    assert found.metrics.metric == 5.0
    assert values(found) == [13.25, 5.0]


def test_regression_is_clipped_to_the_range_of_inputs() -> None:
    # Within [0, 2]: (1.5, 0.5) stays, (-0.5, 2.5) becomes (0, 2): errors 2.5 and -3.
    found = evaluate(
        linear(), REGRESSION, task="regression", inputs=same, low=0, high=2, under=Attacks((0.5,))
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
            model,
            split,
            task="classification",
            inputs=scaled,
            low=-1,
            high=1,
            under=Attacks(chosen),
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
            evaluate(
                model, split, task="regression", inputs=same, low=-2, high=2, under=Attacks(chosen)
            )
        )

    assert run(0.005, 0.01, 0.05) == [*run(0.005), *run(0.01), *run(0.05)]


def test_batches_have_a_fixed_size_whatever_is_right() -> None:
    model = Sign()
    split = Split(torch.linspace(-1, 1, 250).view(-1, 1), torch.ones(250, dtype=torch.int64))
    evaluate(
        model, split, task="classification", inputs=same, low=-1, high=1, under=Attacks((0.1,))
    )
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
    evaluate(
        model, REGRESSION, task="regression", inputs=same, low=-9, high=9, under=Attacks(epsilons)
    )
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
    evaluate(
        linear(), REGRESSION, task="regression", inputs=same, low=-9, high=9, under=Attacks((0.5,))
    )
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
            under=Attacks(epsilons),
        )  # fmt: skip


def test_an_empty_split_is_refused() -> None:
    empty = Split(torch.zeros(0, 2), torch.zeros(0, 1))
    with pytest.raises(ValueError, match="no samples"):
        evaluate(linear(), empty, task="regression", inputs=same, low=-1, high=1)


def crowd(rows: int = 4000) -> Split:
    """Targets that a linear network misses by noise of variance 1."""
    g = torch.Generator().manual_seed(3)
    x = torch.randn(rows, 2, generator=g)
    return Split(x, x @ torch.tensor([[2.0], [-1.0]]) + torch.randn(rows, 1, generator=g))


def measured(split: Split, under: Attacks, **changes: Any) -> Evaluation:
    given = {"task": "regression", "inputs": same, "low": -99, "high": 99, "seed": 7} | changes
    return evaluate(linear(), split, under=under, **given)


def test_noise_on_inputs_against_theory() -> None:
    # A linear network: mse = clean + epsilon^2 |w|^2, a third of that for uniform noise.
    split = crowd()
    clean = measured(split, Attacks()).metrics.metric
    for kind, variance in (("gaussian", 1.0), ("uniform", 1 / 3)):
        under = Attacks(input_noise=(0.0, 0.5, 1.0), input_noise_kind=kind, noise_repeats=20)  # type: ignore[arg-type]
        found = values(measured(split, under))
        assert found[0] == pytest.approx(clean, rel=1e-9)
        # 80,000 draws of a squared error of up to 6: a standard error of 0.03
        assert found[1] - clean == pytest.approx(0.25 * 5 * variance, abs=0.05)
        assert found[2] - clean == pytest.approx(5 * variance, abs=0.1)


def test_noise_on_weights_against_theory() -> None:
    # mse = clean + sigma^2 E|x|^2 in the mean over draws, with E|x|^2 = 2: each draw of two weights
    # adds sigma^2 times a chi-squared of 2 degrees, of deviation 2 sigma^2, and a cross term.
    split = crowd(500)
    clean = measured(split, Attacks()).metrics.metric
    under = Attacks(weight_noise=(0.0, 0.5), noise_repeats=400)
    zero, half = values(measured(split, under, batch_size=500))
    assert zero == pytest.approx(clean, rel=1e-9)
    assert half - clean == pytest.approx(0.25 * 2, abs=4 * 0.25 * 2 / 400**0.5)
    relative = Attacks(weight_noise=(0.5,), weight_noise_kind="relative", noise_repeats=400)
    # the root mean square of the weights is sqrt(5 / 2)
    (found,) = values(measured(split, relative, batch_size=500))
    assert found - clean == pytest.approx(2.5 * (half - clean), rel=1e-3, abs=0.05)


def test_noise_is_clipped_to_the_range_of_inputs() -> None:
    # Inputs of 0 in a range of [0, 0] stay, whatever the noise.
    split = Split(torch.zeros(5, 2), torch.ones(5, 1))
    assert values(measured(split, Attacks(input_noise=(9.0,)), low=0, high=0)) == [1.0]


def test_noise_is_that_of_the_seed_whatever_the_batches_and_what_else_is_asked() -> None:
    split = crowd(430)
    noise = {"input_noise": (0.3,), "weight_noise": (0.2,)}
    walk = {"pgd_epsilons": (0.2,), "pgd_random_start": True}
    alone = values(measured(split, Attacks(**noise)))  # type: ignore[arg-type]
    for batch_size in (7, 100, 430):
        found = measured(split, Attacks((0.1,), **noise, **walk), batch_size=batch_size)  # type: ignore[arg-type]
        assert values(found)[2:] == pytest.approx(alone, rel=1e-6)
    again = measured(split, Attacks((0.5,), **noise, **walk))  # type: ignore[arg-type]
    assert values(again)[2:] == alone
    other = values(measured(split, Attacks(**noise), seed=8))  # type: ignore[arg-type]
    assert all(a != b for a, b in zip(alone, other, strict=True))
    random = [
        values(measured(split, Attacks(**walk, pgd_steps=1, pgd_step_size=1e-6), seed=seed))  # type: ignore[arg-type]
        for seed in (7, 7, 8)
    ]
    assert random[0] == random[1] != random[2]


def test_every_sample_that_noise_leaves_correct_counts() -> None:
    # All inputs at 0: noise of any strength puts half of them on either side, and no aim is at work.
    split = Split(torch.zeros(3000, 1), torch.ones(3000, dtype=torch.int64))
    found = evaluate(
        Sign(), split, task="classification", inputs=same, low=-9, high=9,
        under=Attacks(input_noise=(0.5,), noise_repeats=5), seed=1,
    )  # fmt: skip
    assert found.metrics.metric == 0.0  # logits (0, 0): class 0
    assert values(found) == [pytest.approx(50, abs=2)]


def test_pgd_is_never_above_clean_and_at_one_step_it_is_fgsm() -> None:
    model, split = digits(230)
    epsilons = (0.0, 0.02, 0.1)

    def run(under: Attacks) -> Evaluation:
        return evaluate(
            model, split, task="classification", inputs=scaled, low=-1, high=1, under=under
        )

    single = run(Attacks(epsilons, epsilons, pgd_steps=1, pgd_step_size=1.0))
    assert values(single)[:3] == values(single)[3:]
    found = run(Attacks(epsilons, epsilons))
    clean = found.metrics.metric
    assert [p.attack for p in found.robustness] == ["fgsm"] * 3 + ["pgd"] * 3
    assert values(found)[:3] == values(single)[:3]
    assert values(found)[3] == clean
    assert clean > values(found)[4] > values(found)[5]
    # Ten steps are stronger than one at an epsilon at which the loss is not a plane any more.
    assert values(found)[5] < values(found)[2]


def test_zero_gradients_are_counted_where_gradients_are_followed() -> None:
    # A logit of 200 against 0: the softmax is 1 in float32, and so the gradient of class 1 is 0.
    split = Split(torch.tensor([[200.0], [0.3], [-0.2], [300.0]]), torch.tensor([1, 1, 1, 0]))
    for under in (Attacks((0.1,)), Attacks(pgd_epsilons=(0.1,))):
        found = evaluate(
            Sign(), split, task="classification", inputs=same, low=-999, high=999, under=under
        )
        assert found.zero_gradients_percent == 25.0
    under = Attacks(input_noise=(0.1,), weight_noise=(0.1,))
    found = evaluate(
        Sign(), split, task="classification", inputs=same, low=-999, high=999, under=under
    )
    assert found.zero_gradients_percent is None


def test_noise_leaves_weights_and_modes_as_they_were() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2).eval(), nn.Linear(2, 1), nn.Dropout(0.5))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    evaluate(
        model, REGRESSION, task="regression", inputs=same, low=-9, high=9,
        under=Attacks((0.1,), (0.1,), input_noise=(0.5,), weight_noise=(0.5,)),
    )  # fmt: skip
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert [m.training for m in model.modules()] == [True, False, True, True]
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


# Settings of FGSM


def test_where_all_samples_are_attacked_those_that_it_puts_right_count() -> None:
    # As above: at epsilon 2 sample 1 is lost and sample 0, wrong before, is gained.
    split = Split(torch.tensor([[0.5], [1.5]]), torch.tensor([0, 0]))
    found = evaluate(
        Bump(), split, task="classification", inputs=same, low=-9, high=9,
        under=Attacks((0.0, 2.0), pgd_epsilons=(2.0,), pgd_steps=1, pgd_step_size=1.0,
                      fgsm_samples="all"),
    )  # fmt: skip
    assert found.robustness == (
        RobustnessPoint("fgsm-all", 0.0, 50.0),
        RobustnessPoint("fgsm-all", 2.0, 50.0),
        RobustnessPoint("pgd-1-step1.0", 2.0, 0.0),  # PGD still attacks what is correct
    )


def test_an_attack_that_is_not_clipped_leaves_the_range_of_inputs() -> None:
    # 0.3 falls to -0.2, below the least input, and only FGSM may go there.
    split = Split(torch.tensor([[0.3]]), torch.tensor([1]))
    found = evaluate(
        Sign(), split, task="classification", inputs=same, low=0.1, high=1,
        under=Attacks((0.5,), (0.5,), fgsm_clip=False),
    )  # fmt: skip
    assert found.robustness[0] == RobustnessPoint("fgsm-unclipped", 0.5, 0.0)
    assert found.robustness[1] == RobustnessPoint("pgd", 0.5, 100.0)


def test_regression_attacks_all_samples_in_any_case() -> None:
    # By hand above: 13.25, and (6.25 + 9) / 2 within [0, 2].
    for clipped, value in ((True, (6.25 + 9) / 2), (False, 13.25)):
        under = Attacks((0.5,), fgsm_samples="all", fgsm_clip=clipped)
        found = evaluate(
            linear(), REGRESSION, task="regression", inputs=same, low=0, high=2, under=under
        )
        assert values(found) == [value]


# A range of inputs for each channel


def test_each_input_has_a_range_of_its_own() -> None:
    # (1, 1) becomes (1.5, 0.5), error 2.5; (0, 2) becomes (-0.5, 2.25), error -3.25 - 1.
    ends = {"low": torch.tensor([-9.0, -9.0]), "high": torch.tensor([9.0, 2.25])}
    under = Attacks((0.5,), (0.5,), pgd_steps=1, pgd_step_size=1.0)
    found = evaluate(
        linear(), REGRESSION, task="regression", inputs=same, under=under, **ends
    )  # fmt: skip
    assert values(found) == [(2.5**2 + 4.25**2) / 2] * 2


def test_a_range_per_channel_is_that_of_all_where_it_is_the_same() -> None:
    model, split = digits(130)
    under = Attacks((0.1,), (0.1,), pgd_random_start=True, input_noise=(0.3,), weight_noise=(0.1,))
    one, each, mixed = (
        evaluate(model, split, task="classification", inputs=scaled, low=low, high=1, under=under)
        for low in (-1.0, torch.full((1, 1, 1), -1.0), torch.tensor(-1.0, dtype=torch.float64))
    )
    assert one == each == mixed


def test_noise_on_inputs_stays_in_the_range_of_each() -> None:
    # The first input cannot move, so the error of 2 x0 - 1 x1 comes from the second alone.
    split = Split(torch.zeros(4000, 2), torch.zeros(4000, 1))
    under = Attacks(input_noise=(1.0,))
    high = torch.tensor([0.0, 99.0])
    (found,) = values(measured(split, under, low=-high, high=high))
    assert found == pytest.approx(1.0, abs=0.06)  # 20,000 squares of deviation sqrt(2)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (torch.zeros(3), 1.0, r"low of shape \(3,\): .* an input of shape \(2,\)"),
        (0.0, torch.ones(4, 1, 2), r"high of shape \(4, 1, 2\)"),
        (torch.tensor([0.0, 2.0]), torch.ones(2), "low must not be above high"),
        (torch.tensor([0.0, float("nan")]), 1.0, "low must not be above high"),
    ],
)
def test_a_range_that_does_not_fit_is_refused(
    low: Tensor | float, high: Tensor | float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        measured(REGRESSION, Attacks((0.1,)), low=low, high=high)


# Noise on weights for each batch


def test_weights_are_drawn_anew_for_each_batch_where_that_is_asked_for() -> None:
    # A weight of 0, inputs of 1 and targets of 0: the error of a sample is the square of the noise.
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    split = Split(torch.ones(900, 1), torch.zeros(900, 1))

    def run(**settings: Any) -> list[float]:
        under = Attacks(weight_noise=(1.0, 2.0), **settings)
        found = evaluate(
            model, split, task="regression", inputs=same, low=-9, high=9, under=under, seed=3,
            batch_size=3,
        )  # fmt: skip
        return values(found)

    batch = run(weight_noise_redraw="batch", noise_repeats=2)
    assert batch[0] == pytest.approx(1, abs=0.25)  # 600 squares of deviation sqrt(2): 0.06
    assert batch[1] == pytest.approx(4 * batch[0])  # strengths share their draws
    squares = [
        weight_noise.draw(model, "absolute", 3, repeat, number)["weight"].item() ** 2
        for repeat in range(2)
        for number in range(300)
    ]
    assert batch[0] == pytest.approx(sum(squares) / 600)
    one = weight_noise.draw(model, "absolute", 3, 0)["weight"].item() ** 2
    assert run(noise_repeats=1) == pytest.approx([one, 4 * one])


# Outputs that count


class Slopes(nn.Module):
    """Logits (x, 5 x, -2 x)."""

    def __init__(self) -> None:
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor([[1.0, 5.0, -2.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.slopes


def test_masked_outputs_are_zero_in_losses_predictions_and_attacks() -> None:
    # Without the second output: logits (0.3, 0, -0.6), so class 0. The attack lowers x: at -0.2
    # they are (-0.2, 0, 0.4), class 2. With it the loss would grow with x, where class 0 stays.
    split = Split(torch.tensor([[0.3]]), torch.tensor([0]))
    given: dict[str, Any] = {"task": "classification", "inputs": same, "low": -9, "high": 9}
    under = Attacks((0.5,), (0.5,), weight_noise=(0.0,))
    mask = torch.tensor([1, 0, 1])
    found = evaluate(Slopes(), split, under=under, mask=mask, **given)
    assert found.metrics.metric == 100.0
    exact = math.log(math.exp(0.3) + 1 + math.exp(-0.6)) - 0.3
    assert found.metrics.loss == pytest.approx(exact, rel=1e-6)
    assert values(found) == [0.0, 0.0, 100.0]
    assert evaluate(Slopes(), split, **given).metrics.metric == 0.0  # class 1
    # What is masked is 0, not gone: it is the prediction where all others are below.
    negative = Split(torch.tensor([[-0.3]]), torch.tensor([1]))
    only = torch.tensor([1, 0, 0])
    assert evaluate(Slopes(), negative, mask=only, **given).metrics.metric == 100.0


def test_a_mask_of_ones_changes_no_bit() -> None:
    model, split = digits(130)
    under = Attacks((0.1,), (0.1,), input_noise=(0.3,), weight_noise=(0.1,))
    plain, whole = (
        evaluate(
            model, split, task="classification", inputs=scaled, low=-1, high=1, under=under,
            mask=mask,
        )
        for mask in (None, torch.ones(10, dtype=torch.bool))
    )  # fmt: skip
    assert plain == whole
    assert model.training

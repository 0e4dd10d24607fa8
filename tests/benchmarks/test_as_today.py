"""The other side of the comparison does the same work: same networks, losses and attacks."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import data
import models.initialise
from data.load import Split
from models.layers import Dropout
from tests.benchmarks import as_today
from tests.benchmarks.grid import EPSILONS
from trials import evaluate, losses
from trials.attack_settings import Attacks

DATASETS = ("california_housing", "fashion_mnist", "digits")
CONFIG = {"regression": False, "low": -1.0, "high": 1.0}


def pair(dataset: str, role: str) -> tuple[nn.Module, nn.Module]:
    """Our network and the plain one, with the same weights, dropout turned into a factor."""
    about = data.get(dataset)
    ours = models.initialise.build(dataset, role, about.input_shape, about.outputs, "default", 3)
    plain = (as_today.student if role == "student" else as_today.teacher)(dataset)
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        theirs.data.copy_(mine.data)
    for network, kind in ((ours, Dropout), (plain, nn.Dropout)):
        for name, layer in list(network.named_modules()):
            if isinstance(layer, kind):
                parent, _, own = name.rpartition(".")
                setattr(network.get_submodule(parent), own, Factor(layer.p))
    return ours, plain


class Factor(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 - self.p)

    def after(self, dense: nn.Module, x: Tensor) -> Tensor:
        return self(torch.relu(dense(x)))


def batch(dataset: str, rows: int) -> tuple[Tensor, Tensor]:
    about = data.get(dataset)
    generator = torch.Generator().manual_seed(5)
    x = torch.rand((rows, *about.input_shape), generator=generator) * 2 - 1
    if about.task == "regression":
        return x, torch.randn((rows, about.outputs), generator=generator)
    return x, torch.randint(about.outputs, (rows,), generator=generator)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("role", ["student", "small"])
def test_plain_networks_compute_what_ours_do(dataset: str, role: str) -> None:
    ours, plain = pair(dataset, role)
    x, _ = batch(dataset, 6)
    torch.testing.assert_close(plain(x), ours(x))


@pytest.mark.parametrize("dataset", ["california_housing", "digits"])
def test_attacked_figures_are_those_of_our_evaluation(dataset: str) -> None:
    ours, plain = pair(dataset, "student")
    x, y = batch(dataset, 300)
    config = {**CONFIG, "regression": dataset == "california_housing"}
    expected = evaluate.evaluate(
        ours, Split(x, y), task=data.get(dataset).task, inputs=lambda stored: stored, low=-1.0,
        high=1.0, under=Attacks(EPSILONS),
    )  # fmt: skip
    loader = as_today.batches(config, x, y, 128, False)
    assert as_today.test(config, plain, loader) == pytest.approx(expected.metrics.metric)
    found = [as_today.test_under_fgsm(config, plain, loader, epsilon) for epsilon in EPSILONS]
    assert found == pytest.approx([point.value for point in expected.robustness])


@pytest.mark.parametrize("kind", ["kl", "mse"])
def test_losses_are_the_means_of_ours(kind: Any) -> None:
    config = {**CONFIG, "regression": kind == "mse"}
    out, guide = torch.randn(7, 4), torch.randn(7, 4)
    labels = torch.randn(7, 4) if kind == "mse" else torch.randint(4, (7,))
    task = "regression" if kind == "mse" else "classification"
    torch.testing.assert_close(
        as_today.soft_loss(config, out, guide), losses.soft_loss(kind, out, guide, 1.0).mean()
    )
    torch.testing.assert_close(
        as_today.hard_loss(config, out, labels), losses.hard_loss(task, out, labels).mean()
    )


def test_the_teacher_is_asked_while_the_epoch_is_below_the_switch() -> None:
    class Counting(nn.Module):
        asked = 0

        def forward(self, x: Tensor) -> Tensor:
            self.asked += 1
            return x[:, :1]

    config = {**CONFIG, "regression": True, "epochs": 5, "switch_epoch": 3, "alpha": 0.1}
    guide = Counting()
    x, y = batch("california_housing", 10)
    recorded = as_today.train(config, nn.Linear(8, 1), guide, [[x, y], [x, y]])
    assert (guide.asked, len(recorded)) == (3 * 2, 5 * 2)

"""The figures of a network on one split: metrics, and robustness to attacks.

Images: only samples that are classified correctly are attacked, and the value at an epsilon is the
percentage of all samples that is then still classified correctly. Regression: all samples are
attacked, and the value is the mean squared error (Kocián, 2025).

Batches have a fixed size, so that the figures depend on the weights and the data alone. Nothing
is read back from a device before the last batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data.catalog import Task
from data.load import Split
from trials import attacks, metrics

BATCH_SIZE = 100
"""Small enough for the caches of a CPU: the student of CIFAR-10 takes 1.7 times as long at 1000."""


@dataclass(frozen=True)
class RobustnessPoint:
    """How a network does under one attack of one strength.

    Attributes:
        attack: `fgsm`.
        epsilon: strength, in the space in which the network sees its inputs.
        value: accuracy in percent of all samples, or mean squared error.
    """

    attack: str
    epsilon: float
    value: float


@dataclass(frozen=True)
class Evaluation:
    """Figures of a network on one split.

    Attributes:
        metrics: without an attack.
        robustness: one point per epsilon, in the order asked for.
    """

    metrics: metrics.Metrics
    robustness: tuple[RobustnessPoint, ...] = ()


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    task: Task,
    inputs: Callable[[Tensor], Tensor],
    low: float,
    high: float,
    epsilons: Sequence[float] = (),
    batch_size: int = BATCH_SIZE,
) -> Evaluation:
    """Figures of a network, which is put into eval mode for the time being.

    Args:
        model: the network, on the device of the split.
        split: the samples.
        task: `classification` or `regression`.
        inputs: turns stored inputs into the floats that the network sees.
        low: least value of an input, to which attacks are clipped.
        high: greatest value of an input.
        epsilons: strengths of the FGSM attack; none, no attack.
        batch_size: samples of a forward pass.

    Raises:
        ValueError: an epsilon is negative or not finite, `low` is above `high`, or there are no
            samples.
    """
    attacks.require_epsilons(epsilons)
    if epsilons and not low <= high:
        raise ValueError(f"low = {low}, high = {high}: low must not be above high")
    if len(split.y) == 0:
        raise ValueError("no samples to evaluate; a split must have 1 or more")
    if not epsilons:
        return Evaluation(metrics.of(task, outputs(model, split, inputs, batch_size), split.y))
    clean: list[Tensor] = []
    attacked: list[Tensor] = []
    with _eval_mode(model):
        for stored, y in _batches(split, batch_size):
            x = inputs(stored)
            out, gradient = attacks.input_gradient(model, x, y, task)
            clean.append(out)
            with torch.inference_mode():
                scores = [
                    _score(task, out, model(attacks.fgsm(x, gradient, epsilon, low, high)), y)
                    for epsilon in epsilons
                ]
                attacked.append(torch.stack(scores))
    totals = torch.stack(attacked).sum(0).tolist()
    percent = 100 if task == "classification" else 1
    return Evaluation(
        metrics.of(task, torch.cat(clean), split.y),
        tuple(
            RobustnessPoint("fgsm", float(epsilon), percent * total / split.y.numel())
            for epsilon, total in zip(epsilons, totals, strict=True)
        ),
    )


def outputs(
    model: nn.Module,
    split: Split,
    inputs: Callable[[Tensor], Tensor],
    batch_size: int = BATCH_SIZE,
) -> Tensor:
    """What a network says about each sample, for example to guide a student.

    Args:
        model: the network, on the device of the split; in eval mode for the time being.
        split: the samples.
        inputs: turns stored inputs into the floats that the network sees.
        batch_size: samples of a forward pass.

    Returns:
        `(samples, outputs)`, without gradients, fit to take part in a loss.
    """
    with _eval_mode(model), torch.inference_mode():
        parts = [model(inputs(stored)) for stored, _ in _batches(split, batch_size)]
    return torch.cat(parts)  # outside inference mode: a tensor that autograd may save


def _batches(split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(split.x, batch_size), torch.split(split.y, batch_size), strict=True)


def _score(task: Task, clean: Tensor, attacked: Tensor, y: Tensor) -> Tensor:
    """What a batch adds to the total of one epsilon: correct samples, or squared error."""
    if task == "classification":
        # Attacking wrong ones too and not counting them is the same, at a fixed batch shape.
        return ((clean.argmax(1) == y) & (attacked.argmax(1) == y)).sum()
    return (attacked.double() - y.double()).square().sum()


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode within; afterwards each module trains or not as before."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training

"""The figures of a network on one split: metrics, and robustness to attacks and noise.

Under an attack on images only samples that are classified correctly are attacked, and the value at
an epsilon is the percentage of all samples that is then still classified correctly. Noise has no
aim, so under it every sample that is classified correctly counts. Regression: all samples, and the
value is the mean squared error (Kocián, 2025).

Batches have a fixed size, so that the figures depend on the weights, the data, the settings and the
seed of noise alone. Nothing is read back from a device before the last batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data.catalog import Task
from data.load import Split
from trials import attacks, metrics, weight_noise
from trials.attack_settings import NO_ATTACKS, Attacks
from trials.noise import row_noise
from trials.pgd import pgd

BATCH_SIZE = 100
"""Small enough for the caches of a CPU: the student of CIFAR-10 takes 1.7 times as long at 1000."""


@dataclass(frozen=True)
class RobustnessPoint:
    """How a network does under one attack of one strength.

    Attributes:
        attack: its name, see `trials.attack_settings.Attacks.names`.
        epsilon: strength, in the space in which the network sees its inputs, or of its weights.
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
        robustness: a point for each of `Attacks.points`, in their order.
        zero_gradients_percent: samples whose loss has a gradient of exactly zero by their input, in
            percent: no attack that follows gradients moves them. None where none was computed.
    """

    metrics: metrics.Metrics
    robustness: tuple[RobustnessPoint, ...] = ()
    zero_gradients_percent: float | None = None


@dataclass(frozen=True)
class _Samples:
    """What is asked about: a split as a network sees it, in batches."""

    split: Split
    task: Task
    inputs: Callable[[Tensor], Tensor]
    low: float
    high: float
    batch_size: int

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The place of a batch's first row, its inputs, its labels or targets."""
        first = 0
        for stored, y in _batches(self.split, self.batch_size):
            yield first, self.inputs(stored), y
            first += len(y)


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    task: Task,
    inputs: Callable[[Tensor], Tensor],
    low: float,
    high: float,
    under: Attacks = NO_ATTACKS,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> Evaluation:
    """Figures of a network, which is put into eval mode for the time being.

    Args:
        model: the network, on the device of the split.
        split: the samples.
        task: `classification` or `regression`.
        inputs: turns stored inputs into the floats that the network sees.
        low: least value of an input, to which attacked and noisy inputs are clipped.
        high: greatest value of an input.
        under: attacks and noise.
        seed: of the trial, from which noise and random starts are drawn.
        batch_size: samples of a forward pass.

    Raises:
        ValueError: `low` is above `high`, or there are no samples.
    """
    if under.points and not low <= high:
        raise ValueError(f"low = {low}, high = {high}: low must not be above high")
    if len(split.y) == 0:
        raise ValueError("no samples to evaluate; a split must have 1 or more")
    samples = _Samples(split, task, inputs, low, high, batch_size)
    totals: list[Tensor] = []
    if under.gradients:
        clean, totals = _under_gradients(model, samples, under, seed)
    else:
        clean = outputs(model, split, inputs, batch_size)
    if under.input_noise:
        totals.append(_under_input_noise(model, samples, under, seed))
    if under.weight_noise:
        totals.append(_under_weight_noise(model, samples, under, seed))
    found = metrics.of(task, clean, split.y)
    if not totals:
        return Evaluation(found)
    figures = torch.cat(totals).tolist()
    zero = 100 * figures.pop(0) / len(split.y) if under.gradients else None
    percent = 100 if task == "classification" else 1
    points = tuple(
        RobustnessPoint(attack, float(epsilon), percent * total / split.y.numel())
        for (attack, epsilon), total in zip(under.points, figures, strict=True)
    )
    return Evaluation(found, points, zero)


def _under_gradients(
    model: nn.Module, samples: _Samples, under: Attacks, seed: int
) -> tuple[Tensor, list[Tensor]]:
    """Clean outputs; and the number of zero gradients, the totals under FGSM, those under PGD."""
    task, low, high = samples.task, samples.low, samples.high
    clean: list[Tensor] = []
    zero: list[Tensor] = []
    stepped: list[Tensor] = []
    walked: list[Tensor] = []
    with _eval_mode(model):
        for first, x, y in samples:
            out, gradient = attacks.input_gradient(model, x, y, task)
            clean.append(out)
            zero.append(attacks.zero_gradients(gradient).double().view(1))
            # Attacking wrong ones too and not counting them is the same, at a fixed batch shape.
            right = out.argmax(1) == y if task == "classification" else None
            fgsm = [attacks.fgsm(x, gradient, e, low, high) for e in under.fgsm_epsilons]
            stepped.append(_scores(model, task, fgsm, y, right))
            start = None
            if under.pgd_random_start and under.pgd_epsilons:
                start = row_noise(x, first, "uniform", seed=seed, purpose="pgd_start")
            ends = [
                pgd(
                    model, x, y, task, epsilon, steps=under.pgd_steps, step=under.step,
                    low=low, high=high, start=start, gradient=gradient,
                )
                for epsilon in under.pgd_epsilons
            ]  # fmt: skip
            walked.append(_scores(model, task, ends, y, right))
    # Apart: the order in which a sum over batches is done depends on how many there are beside it.
    return torch.cat(clean), [torch.stack(part).sum(0) for part in (zero, stepped, walked)]


def _under_input_noise(model: nn.Module, samples: _Samples, under: Attacks, seed: int) -> Tensor:
    """The totals under noise on inputs, the mean of the repeats."""
    totals: list[Tensor] = []
    with _eval_mode(model), torch.inference_mode():
        for first, x, y in samples:
            for repeat in range(under.noise_repeats):
                noise = row_noise(
                    x, first, under.input_noise_kind, seed=seed, purpose="input_noise",
                    repeat=repeat,
                )  # fmt: skip
                noisy = [
                    x.add(noise, alpha=epsilon).clamp(samples.low, samples.high)
                    for epsilon in under.input_noise
                ]
                totals.append(_scores(model, samples.task, noisy, y))
    return torch.stack(totals).sum(0) / under.noise_repeats


def _under_weight_noise(model: nn.Module, samples: _Samples, under: Attacks, seed: int) -> Tensor:
    """The totals under noise on weights, the mean of the repeats."""
    totals: list[Tensor] = []
    with _eval_mode(model), torch.inference_mode():
        for repeat in range(under.noise_repeats):
            noise = weight_noise.draw(model, under.weight_noise_kind, seed, repeat)
            for epsilon in under.weight_noise:
                noisy = weight_noise.Moved(model, noise, epsilon)
                scores = [_scores(noisy, samples.task, [x], y) for _, x, y in samples]
                totals.append(torch.cat(scores).sum())
    return torch.stack(totals).view(under.noise_repeats, -1).mean(0)


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


def _scores(
    model: Callable[[Tensor], Tensor],
    task: Task,
    inputs: Sequence[Tensor],
    y: Tensor,
    counted: Tensor | None = None,
) -> Tensor:
    """What a batch adds to the totals: correct samples, or squared error, for each of its variants.

    Args:
        model: the network, or one like it.
        task: `classification` or `regression`.
        inputs: the batch under each strength.
        y: its labels or targets.
        counted: the samples that may count as correct; None for all.
    """
    scores: list[Tensor] = []
    with torch.inference_mode():
        for x in inputs:
            said = model(x)
            if task == "regression":
                scores.append((said.double() - y.double()).square().sum())
            else:
                correct = said.argmax(1) == y
                scores.append((correct if counted is None else correct & counted).sum().double())
    return torch.stack(scores) if scores else y.new_zeros(0, dtype=torch.float64)


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

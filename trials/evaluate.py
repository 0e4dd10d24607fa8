"""The figures of a network on one split: metrics, and robustness to attacks and noise.

Under an attack on images only samples that are classified correctly are attacked, and the value at
an epsilon is the percentage of all samples that is then still classified correctly. Where FGSM is
asked to attack all samples, a wrong one that it puts right counts as well, as it does under noise,
which has no aim. Regression: all samples, and the value is the mean squared error (Kocián, 2025).

Batches have a fixed size, so that the figures depend on the weights, the data, the settings and the
seed of noise alone. Nothing is read back from a device before the last batch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data.catalog import Task
from data.load import Split
from trials import attacks, metrics, weight_noise
from trials.attack_settings import NO_ATTACKS, Attacks
from trials.attacks import Bound
from trials.masked import masked
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


_Batch = tuple[int, Tensor, Tensor]
"""The place of its first row, its inputs, its labels or targets."""


@dataclass(frozen=True)
class _Samples:
    """What is asked about: a split as a network sees it, in batches."""

    split: Split
    task: Task
    inputs: Callable[[Tensor], Tensor]
    low: Bound
    high: Bound
    batch_size: int

    def __iter__(self) -> Iterator[_Batch]:
        """The batches, in the order of the rows."""
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
    low: Bound,
    high: Bound,
    under: Attacks = NO_ATTACKS,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    mask: Tensor | None = None,
) -> Evaluation:
    """Figures of a network, which is put into eval mode for the time being.

    Args:
        model: the network, on the device of the split.
        split: the samples.
        task: `classification` or `regression`.
        inputs: turns stored inputs into the floats that the network sees.
        low: least value of an input, to which attacked and noisy inputs are clipped: a number, or a
            tensor that broadcasts to a network input, such as `(channels, 1, 1)`.
        high: greatest value of an input, likewise.
        under: attacks and noise.
        seed: of the trial, from which noise and random starts are drawn.
        batch_size: samples of a forward pass.
        mask: `(outputs,)` of 0 and 1, by which the outputs are multiplied before anything is made
            of them, see `trials.masked`; None for all outputs.

    Raises:
        ValueError: `low` is above `high` or does not fit the inputs, the mask is none, or there are
            no samples.
    """
    if len(split.y) == 0:
        raise ValueError("no samples to evaluate; a split must have 1 or more")
    if under.points:
        _check_range(low, high, inputs(split.x[:1]))
    model = masked(model, mask)
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
    with eval_mode(model):
        for first, x, y in samples:
            out, gradient = attacks.input_gradient(model, x, y, task)
            clean.append(out)
            zero.append(attacks.zero_gradients(gradient).double().view(1))
            # Attacking wrong ones too and not counting them is the same, at a fixed batch shape.
            right = out.argmax(1) == y if task == "classification" else None
            ends_at = (low, high) if under.fgsm_clip else (None, None)
            fgsm = [attacks.fgsm(x, gradient, e, *ends_at) for e in under.fgsm_epsilons]
            counted = None if under.fgsm_samples == "all" else right
            stepped.append(_scores(model, task, fgsm, y, counted))
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
    with eval_mode(model), torch.inference_mode():
        for first, x, y in samples:
            for repeat in range(under.noise_repeats):
                noise = row_noise(
                    x, first, under.input_noise_kind, seed=seed, purpose="input_noise",
                    repeat=repeat,
                )  # fmt: skip
                noisy = [
                    attacks.clip(x.add(noise, alpha=epsilon), samples.low, samples.high)
                    for epsilon in under.input_noise
                ]
                totals.append(_scores(model, samples.task, noisy, y))
    return torch.stack(totals).sum(0) / under.noise_repeats


def _under_weight_noise(model: nn.Module, samples: _Samples, under: Attacks, seed: int) -> Tensor:
    """The totals under noise on weights, the mean of the repeats."""
    totals: list[Tensor] = []
    by_batch = under.weight_noise_redraw == "batch"
    with eval_mode(model), torch.inference_mode():
        for repeat in range(under.noise_repeats):
            groups: Iterable[Iterable[_Batch]] = (
                ([batch] for batch in samples) if by_batch else [samples]
            )
            for number, batches in enumerate(groups):
                noise = weight_noise.draw(
                    model, under.weight_noise_kind, seed, repeat, number if by_batch else None
                )
                for epsilon in under.weight_noise:
                    noisy = weight_noise.Moved(model, noise, epsilon)
                    scores = [_scores(noisy, samples.task, [x], y) for _, x, y in batches]
                    totals.append(torch.cat(scores).sum())
    # (repeats, draws of a repeat, strengths)
    drawn = torch.stack(totals).view(under.noise_repeats, -1, len(under.weight_noise))
    return drawn.sum(1).mean(0)


def _check_range(low: Bound, high: Bound, sample: Tensor) -> None:
    """Refuses ends that are in the wrong order or do not broadcast to a batch of one sample."""
    for key, end in (("low", low), ("high", high)):
        if isinstance(end, Tensor) and not _broadcasts(end, sample):
            raise ValueError(
                f"{key} of shape {tuple(end.shape)}: must be a number or broadcast to an input of "
                f"shape {tuple(sample.shape[1:])}"
            )
    if not bool(torch.as_tensor(low <= high).all()):
        raise ValueError(f"low = {low}, high = {high}: low must not be above high")


def _broadcasts(end: Tensor, sample: Tensor) -> bool:
    pairs = zip(reversed(end.shape), reversed(sample.shape), strict=False)
    return end.ndim <= sample.ndim and all(size in (1, whole) for size, whole in pairs)


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
    with eval_mode(model), torch.inference_mode():
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
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode within; afterwards each module trains or not as before."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training

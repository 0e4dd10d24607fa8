"""The figures of a finished network on one split, from its outputs and the truth.

Pure functions of tensors on any device; sums are taken in float64. A network that has diverged
gives NaN rather than an error.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor

from data.catalog import Task


@dataclass(frozen=True)
class ClassificationMetrics:
    """Figures of a classifier; tuples have one item per class.

    Attributes:
        accuracy_percent: correct samples of all, in percent.
        loss: mean cross-entropy.
        confusion: samples by `[true class][predicted class]`.
        precision: correct of those predicted to be of a class; 0 where none is.
        recall: correct of those of a class; 0 where there is none.
        f1: harmonic mean of precision and recall; 0 where both are.
        support: samples of a class.
    """

    metric_name: ClassVar[Literal["accuracy"]] = "accuracy"
    better_is: ClassVar[Literal["higher"]] = "higher"

    accuracy_percent: float
    loss: float
    confusion: tuple[tuple[int, ...], ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[int, ...]

    @property
    def metric(self) -> float:
        """The headline figure: accuracy in percent."""
        return self.accuracy_percent


@dataclass(frozen=True)
class RegressionMetrics:
    """Figures of a regression, in the units of the targets (standardised in the home study).

    Attributes:
        mse: mean squared error.
        mae: mean absolute error.
        r2: coefficient of determination, 1 - mse / variance of the targets; the mean over targets
            where there are several. Of constant targets: 1 if they are met exactly, else 0.
    """

    metric_name: ClassVar[Literal["mse"]] = "mse"
    better_is: ClassVar[Literal["lower"]] = "lower"

    mse: float
    mae: float
    r2: float

    @property
    def metric(self) -> float:
        """The headline figure: mean squared error."""
        return self.mse

    @property
    def loss(self) -> float:
        """What training minimises: mean squared error."""
        return self.mse


Metrics = ClassificationMetrics | RegressionMetrics


def classification(logits: Tensor, labels: Tensor) -> ClassificationMetrics:
    """Figures of a classifier.

    Args:
        logits: `(samples, classes)`.
        labels: `(samples,)`, integers from 0 up to, not including, `classes`.

    Raises:
        ValueError: no samples, other shapes, or a label out of range.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        raise ValueError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}: "
            "must be (samples, classes) and (samples,), of 1 or more samples"
        )
    samples, classes = logits.shape
    labels = labels.long()
    lowest, highest = torch.stack(torch.aminmax(labels)).tolist()
    if lowest < 0 or highest >= classes:
        raise ValueError(f"labels from {lowest} to {highest}: must be from 0 to {classes - 1}")
    cells = torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2)
    confusion: list[list[int]] = cells.view(classes, classes).tolist()
    hits = [row[c] for c, row in enumerate(confusion)]
    support = [sum(row) for row in confusion]
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    return ClassificationMetrics(
        accuracy_percent=100 * sum(hits) / samples,
        loss=F.cross_entropy(logits.double(), labels).item(),
        confusion=tuple(map(tuple, confusion)),
        precision=tuple(map(_ratio, hits, predicted)),
        recall=tuple(map(_ratio, hits, support)),
        f1=tuple(_ratio(2 * h, p + s) for h, p, s in zip(hits, predicted, support, strict=True)),
        support=tuple(support),
    )


def regression(outputs: Tensor, targets: Tensor) -> RegressionMetrics:
    """Figures of a regression.

    Args:
        outputs: `(samples, targets)`.
        targets: the same shape.

    Raises:
        ValueError: no samples, or other shapes.
    """
    if outputs.ndim != 2 or targets.shape != outputs.shape or outputs.numel() == 0:
        raise ValueError(
            f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)}: "
            "must both be (samples, targets), of 1 or more samples"
        )
    truth = targets.double()
    error = outputs.double() - truth
    residual = error.square().sum(0)
    total = (truth - truth.mean(0)).square().sum(0)
    constant = (residual == 0).double()
    r2 = torch.where(total > 0, 1 - residual / total, constant).mean()
    mse, mae, determination = torch.stack([error.square().mean(), error.abs().mean(), r2]).tolist()
    return RegressionMetrics(mse=mse, mae=mae, r2=determination)


def of(task: Task, outputs: Tensor, y: Tensor) -> Metrics:
    """Figures of a task.

    Args:
        task: `classification` or `regression`.
        outputs: `(samples, outputs)`.
        y: labels `(samples,)` or targets `(samples, outputs)`.

    Raises:
        ValueError: an unknown task, or tensors that do not fit.
    """
    if task == "classification":
        return classification(outputs, y)
    if task == "regression":
        return regression(outputs, y)
    raise ValueError(f"task = {task!r}: must be classification or regression")


def headline(task: Task, outputs: Tensor, y: Tensor) -> Tensor:
    """The metric and the loss of `of`, to the bit, where the outputs are: nothing is read back.

    Args:
        task: `classification` or `regression`.
        outputs: `(samples, outputs)`.
        y: labels `(samples,)` or targets `(samples, outputs)`.

    Returns:
        `(2,)`, float64.
    """
    if task == "classification":
        labels = y.long()
        hits = (outputs.argmax(1) == labels).sum()
        accuracy_percent = (100 * hits).double() / len(labels)
        return torch.stack([accuracy_percent, F.cross_entropy(outputs.double(), labels)])
    return (outputs.double() - y.double()).square().mean().expand(2)


def higher_is_better(task: Task) -> bool:
    """Whether the headline metric of a task is to grow; a loss never is."""
    kind = ClassificationMetrics if task == "classification" else RegressionMetrics
    return kind.better_is == "higher"


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0

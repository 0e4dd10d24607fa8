"""Losses per example; the caller reduces.

Hard: cross-entropy, or mean squared error to the label. Soft: KL divergence of softmax outputs
softened by a temperature, times the temperature squared (Hinton, Vinyals and Dean, 2015, section
2), or mean squared error to the teacher's outputs. With several teachers, the weighted mean.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor

from data.catalog import Task
from trials.spec import Objective, SoftLoss


def hard_loss(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss to the labels.

    Args:
        task: `classification` or `regression`.
        outputs: [n, classes] logits, or [n, targets] predictions.
        targets: [n] class indices, or [n, targets] values.

    Returns:
        [n] losses.
    """
    if task == "classification":
        return F.cross_entropy(outputs, targets, reduction="none")
    return (outputs - targets).square().mean(dim=1)


def soft_loss(kind: SoftLoss, outputs: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The loss to one teacher.

    Args:
        kind: `kl` or `mse`.
        outputs: [n, k] outputs of the student.
        teacher: [n, k] outputs of the teacher for the same inputs.
        temperature: of the KL divergence.

    Returns:
        [n] losses.
    """
    if kind == "mse":
        return (outputs - teacher).square().mean(dim=1)
    log_student = F.log_softmax(outputs / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=1)
    return divergence * temperature**2


def objective_loss(
    objective: Objective, task: Task, outputs: Tensor, targets: Tensor, teachers: Sequence[Tensor]
) -> Tensor:
    """The loss that an objective minimises.

    Args:
        objective: weights, temperature and teachers.
        task: `classification` or `regression`.
        outputs: [n, k] outputs of the student.
        targets: labels, see `hard_loss`.
        teachers: for each guide of the objective, in its order, [n, k] outputs.

    Returns:
        [n] losses.
    """
    if not objective.guides:
        loss = hard_loss(task, outputs, targets)
        return loss if objective.hard == 1 else objective.hard * loss
    soft = torch.zeros((), dtype=outputs.dtype, device=outputs.device)
    for guide, teacher in zip(objective.guides, teachers, strict=True):
        part = soft_loss(objective.soft_loss, outputs, teacher, objective.temperature)
        soft = part if len(objective.guides) == 1 else soft + guide.weight * part
    if objective.hard == 0:
        return objective.soft * soft
    return objective.hard * hard_loss(task, outputs, targets) + objective.soft * soft

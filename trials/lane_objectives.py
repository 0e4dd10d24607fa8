"""What each lane minimises: its own weights, temperature and teachers, in tensors of one shape.

The losses are those of `trials.losses`. Several teachers are one: the weighted mean of squared
errors, or of KL divergences, to several targets is the one to their mean, plus a part that the
student has no influence on and that is computed once.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor

from data.catalog import Task
from trials.engine import LANES
from trials.losses import hard_loss
from trials.spec import Objective


class LaneObjectives:
    """The objectives of all lanes, on the training rows."""

    def __init__(self, task: Task, y: Tensor, outputs: int) -> None:
        """Makes lanes that minimise nothing.

        Args:
            task: `classification` or `regression`.
            y: labels `[rows]` or targets `[rows, outputs]`, on the device.
            outputs: of the networks.
        """
        self._task, self._y, self._outputs = task, y, outputs
        self._hard, self._soft = (torch.zeros(LANES, 1, device=y.device) for _ in range(2))
        self._temperature = torch.ones(LANES, 1, 1, device=y.device)
        self._is_kl = torch.zeros(LANES, 1, 1, dtype=torch.bool, device=y.device)
        self._target = torch.zeros(LANES, len(y), outputs, device=y.device)
        self._spread = torch.zeros(LANES, len(y), device=y.device)

    def set(self, lane: int, objective: Objective, teachers: Sequence[Tensor]) -> None:
        """Gives a lane an objective.

        Args:
            lane: its number.
            objective: weights, temperature and guides.
            teachers: for each guide, `[rows, outputs]`.

        Raises:
            ValueError: outputs of another shape.
        """
        for outputs in teachers:
            if outputs.shape != self._target[lane].shape:
                raise ValueError(
                    f"teacher outputs {list(outputs.shape)}: must be {list(self._target[lane].shape)}"
                )
        is_kl = objective.soft_loss == "kl" and bool(objective.guides)
        if objective.guides:
            shares = [guide.weight for guide in objective.guides]
            make = _one_distribution if is_kl else _one_output
            target, spread = make(teachers, shares, objective.temperature)
            self._target[lane].copy_(target)
            self._spread[lane].copy_(spread)
        self._hard[lane] = objective.hard
        self._soft[lane] = objective.soft
        self._temperature[lane] = objective.temperature
        self._is_kl[lane] = is_kl

    def clear(self, lane: int) -> None:
        """Leaves a lane nothing to minimise."""
        self._hard[lane] = self._soft[lane] = 0.0
        self._temperature[lane] = 1.0
        self._is_kl[lane] = False

    def losses(self, outputs: Tensor, rows: slice) -> Tensor:
        """The loss of each lane for each of some rows.

        All parts are computed for every lane, whoever needs them, and chosen from afterwards: one
        that is not wanted must neither reach the sum, where it may not be finite, nor its gradient.

        Args:
            outputs: `[lanes, n, outputs]`, of the networks.
            rows: which training rows they are for.

        Returns:
            `[lanes, n]`.
        """
        y = self._y[rows]
        flat = outputs.reshape(-1, self._outputs)
        hard = hard_loss(self._task, flat, y.expand(LANES, *y.shape).flatten(0, 1))
        hard = self._hard * hard.view(LANES, -1)
        soft = self._soft * self._soft_losses(outputs, rows)
        guided = torch.where(self._hard > 0, hard + soft, soft)
        return torch.where(self._soft > 0, guided, hard)

    def _soft_losses(self, outputs: Tensor, rows: slice) -> Tensor:
        target, spread = self._target[:, rows], self._spread[:, rows]
        values = torch.where(self._is_kl, 0.0, target)
        squared = (outputs - values).square().mean(2) + spread
        if self._outputs == 1:  # one output is all there is to a distribution: no divergence
            return torch.where(self._is_kl[..., 0], torch.zeros_like(squared), squared)
        logarithms = torch.where(self._is_kl, target, 0.0)
        log_student = F.log_softmax(outputs / self._temperature, dim=2)
        divergence = F.kl_div(log_student, logarithms, reduction="none", log_target=True).sum(2)
        softened = (divergence + spread) * self._temperature[..., 0].square()
        return torch.where(self._is_kl[..., 0], softened, squared)


def _one_output(
    teachers: Sequence[Tensor], shares: Sequence[float], _temperature: float
) -> tuple[Tensor, Tensor]:
    """The mean of outputs, and the weighted mean of their squared distances to it."""
    if len(teachers) == 1:
        return teachers[0], torch.zeros_like(teachers[0][:, 0])
    pairs = list(zip(shares, teachers, strict=True))
    mean = torch.stack([share * outputs for share, outputs in pairs]).sum(0)
    apart = [share * (outputs - mean).square().mean(1) for share, outputs in pairs]
    return mean, torch.stack(apart).sum(0)


def _one_distribution(
    teachers: Sequence[Tensor], shares: Sequence[float], temperature: float
) -> tuple[Tensor, Tensor]:
    """Logarithms of the mean of softened distributions, and their mean divergence from it."""
    each = [F.log_softmax(outputs / temperature, dim=1) for outputs in teachers]
    if len(each) == 1:
        return each[0], torch.zeros_like(each[0][:, 0])
    pairs = list(zip(shares, each, strict=True))
    mean = torch.stack([logs.exp() * share for share, logs in pairs]).sum(0).log()
    apart = [
        share * F.kl_div(mean, logs, reduction="none", log_target=True).sum(1)
        for share, logs in pairs
    ]
    return mean, torch.stack(apart).sum(0)

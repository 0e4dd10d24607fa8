"""A dense network of every lane, as batched matrix products over stacked parameters.

Sizes are padded so that everything of a lane begins at a multiple of 64 bytes: matrix products of
a CPU round differently for other alignments, and a lane's result must not depend on its place. What
is padded is zero and stays so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from models.networks import MLP
from trials.engine import LANES

_MULTIPLE = 16
"""Numbers of float32 in 64 bytes."""


def padded(size: int) -> int:
    """The next multiple of what is aligned."""
    return -(-size // _MULTIPLE) * _MULTIPLE


@dataclass(frozen=True)
class Dropped:
    """Dropout after a layer.

    Attributes:
        units: of the layer.
        threshold: of 65536, see `models.layers.Dropout`.
        scale: of the units that are kept.
    """

    units: int
    threshold: int
    scale: float


class _PositiveAndKept(torch.autograd.Function):
    """Zeroes the units that are negative or dropped, in place; padding lies behind the units."""

    @staticmethod
    def forward(ctx: Any, units: Tensor, dropped: Tensor) -> Tensor:
        ctx.mark_dirty(units)
        torch.relu_(units)[..., : dropped.shape[-1]].masked_fill_(dropped, 0)
        ctx.save_for_backward(units)
        return units

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (units,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, units, 0), None


class StackedNetwork:
    """The parameters of a network in every lane, and their gradients.

    Attributes:
        values: `[lanes, width]`, all parameters of a lane, padded, one after the other.
        gradient: the same shape.
        dropouts: for each hidden layer, the dropout after it; None where there is none.
        outputs: of the network.
    """

    def __init__(self, like: nn.Module, device: torch.device) -> None:
        """Makes empty lanes for networks such as `like`.

        Raises:
            TypeError: where it is no sequence of dense layers.
        """
        if not isinstance(like, MLP):
            raise TypeError(f"{type(like).__name__} cannot be in a lane: must be an MLP")
        layers = like.layers()
        self.dropouts = [
            Dropped(dense.out_features, dropout.threshold, dropout.scale)
            if dropout is not None and dropout.threshold > 0
            else None
            for dense, dropout in layers[:-1]
        ]
        self.outputs = layers[-1][0].out_features
        self._shapes = {name: tuple(p.shape) for name, p in like.named_parameters()}
        whole = [tuple(map(padded, shape)) for shape in self._shapes.values()]
        ends = list(accumulate(torch.Size(shape).numel() for shape in whole))
        self._places = list(zip(whole, [0, *ends], ends, strict=False))
        self.values = torch.zeros(LANES, ends[-1], device=device)
        self.gradient = torch.zeros_like(self.values)
        self._leaves = [part.detach().requires_grad_() for part in self._padded(self.values)]

    def _padded(self, stacked: Tensor) -> list[Tensor]:
        return [stacked[:, first:end].view(LANES, *shape) for shape, first, end in self._places]

    def parts(self, stacked: Tensor) -> dict[str, Tensor]:
        """The part of each parameter in a tensor that is shaped as `values`.

        Returns:
            `[lanes, *shape]` by the parameter's name, in their order, on the same memory.
        """
        cut = zip(self._shapes.items(), self._padded(stacked), strict=True)
        return {
            name: part[(slice(None), *(slice(size) for size in shape))]
            for (name, shape), part in cut
        }

    def load(self, lane: int, state: Mapping[str, Tensor]) -> None:
        """Takes over the state of a network."""
        self.clear(lane)
        for name, part in self.parts(self.values).items():
            part[lane].copy_(state[name])

    def clear(self, lane: int) -> None:
        """Leaves nothing in a lane."""
        self.values[lane].zero_()

    def state(self, lane: int) -> dict[str, Tensor]:
        """The state of a lane's network, a copy."""
        return {name: part[lane].clone() for name, part in self.parts(self.values).items()}

    def __call__(self, x: Tensor, dropped: Sequence[Tensor | None]) -> Tensor:
        """What every lane's network says in training mode.

        Args:
            x: `[rows, inputs]`, padded, the same rows for every lane.
            dropped: for each hidden layer, the units to drop, `[lanes, rows, units]`, bool; None
                where it has no dropout.

        Returns:
            `[lanes, rows, outputs]`.
        """
        out = x.expand(LANES, *x.shape)
        pairs = list(zip(self._leaves[::2], self._leaves[1::2], strict=True))
        for (weight, bias), dropout, drop in zip(pairs[:-1], self.dropouts, dropped, strict=True):
            if dropout is None or drop is None:
                out = torch.relu_(_dense(out, weight, bias))
            else:
                # The scale goes through the weights, of which there are fewer than units.
                units = _dense(out, weight * dropout.scale, bias * dropout.scale)
                out = _PositiveAndKept.apply(units, drop)
        return _dense(out, *pairs[-1])[..., : self.outputs]

    def add_gradient(self, losses: Tensor) -> None:
        """Adds the gradient of each lane's loss by its own parameters.

        Args:
            losses: `[lanes]`.
        """
        found = torch.autograd.grad(losses, self._leaves, torch.ones_like(losses))
        torch._foreach_add_(self._padded(self.gradient), list(found))


def _dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))

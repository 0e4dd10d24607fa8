"""Dropout whose randomness is handed in, and that costs little on a CPU.

Masks come from the raw bits of one small generator (SFC64), four 16-bit numbers to a draw, instead
of one Bernoulli sample per unit from PyTorch's global generator. The generator is an explicit
stream that the caller reseeds, for example each epoch, so masks are a function of its key.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEVELS = 1 << 16
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def words_for(units: int) -> int:
    """Words of 64 bits that hold a number of 16 for each of some units."""
    return -(-units // 4)


class DropoutStream:
    """A stream of random bits that all dropout layers of a network draw from, in turn."""

    def __init__(self, key: int = 0) -> None:
        self.reseed(key)

    def reseed(self, key: int) -> None:
        """Starts the stream again; equal keys give equal bits.

        Args:
            key: a non-negative integer of any size; all of its bits count.

        Raises:
            ValueError: a negative key.
        """
        if key < 0:
            raise ValueError(f"key = {key}: must be 0 or more")
        self._bits = np.random.SFC64(np.random.SeedSequence(key))

    def raw(self, words: int) -> "NDArray[np.uint64]":
        """The next words of 64 random bits, shape `(words,)`."""
        return self._bits.random_raw(words)

    def keep(self, units: int, threshold: int) -> Tensor:
        """Which units to keep, each with probability `1 - threshold / 65536`.

        Returns:
            Zeros and ones, int8, shape `(units,)`.
        """
        kept = self.raw(words_for(units)).view(np.uint16)[:units] >= threshold
        return torch.from_numpy(kept.view(np.int8))


class _PositiveAndKept(torch.autograd.Function):
    """Zeroes the units of `(rows, units)` that are negative or not kept, in place."""

    @staticmethod
    def forward(ctx: Any, units: Tensor, kept: Tensor) -> Tensor:
        ctx.mark_dirty(units)
        # A pattern of bits times 0 or 1; numpy does it without a copy of the mask as wide as units.
        bits = torch.relu_(units).view(_INTEGERS[units.element_size()]).numpy()
        np.multiply(bits, kept.numpy(), out=bits)
        ctx.save_for_backward(units)
        return units

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (units,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, units, 0), None


class Dropout(nn.Module):
    """Zeroes units with probability `p` and scales the others up (Srivastava et al., 2014).

    Input and output have the same shape; in eval mode nothing changes. With a stream, on a CPU, `p`
    is rounded to a multiple of 1/65536 and the scale is the exact inverse of what is kept. Without
    one, and on other devices, this is PyTorch's dropout: the caller then seeds PyTorch's generator
    of that device.

    Attributes:
        p: probability that a unit is dropped.
        threshold: the same of 65536: a unit is dropped where a random number of 16 bits is below.
        scale: of the units that are kept.
        stream: where masks come from; shared between layers, not part of the state dict.
    """

    def __init__(self, p: float) -> None:
        """Makes the layer.

        Args:
            p: probability that a unit is dropped, at least 0, below 1.

        Raises:
            ValueError: `p` out of range.
        """
        super().__init__()
        if not (math.isfinite(p) and p >= 0 and round(p * _LEVELS) < _LEVELS):
            raise ValueError(f"p = {p}: must be at least 0 and below 1")
        self.p = p
        self.stream: DropoutStream | None = None
        self.threshold = round(p * _LEVELS)
        self.scale = _LEVELS / (_LEVELS - self.threshold)

    def forward(self, x: Tensor) -> Tensor:
        """Drops units of `x`, of any shape."""
        stream = self._stream_for(x)
        if stream is None:
            return F.dropout(x, self.p, self.training and self.threshold > 0)
        kept = stream.keep(x.numel(), self.threshold).view(x.shape)
        return x * kept.to(x.dtype).mul_(self.scale)

    def after(self, dense: nn.Linear, x: Tensor) -> Tensor:
        """A dense layer, ReLU and this dropout, up to rounding as one after the other.

        A full batch has far more units than a layer has weights, so on a CPU they are passed over
        as rarely as possible: the scale goes through the weights, since ReLU(s h) is s ReLU(h), and
        the output itself says where gradients go.

        Args:
            dense: the layer, with a bias.
            x: its inputs, `(rows, inputs)`.

        Returns:
            `(rows, units)`.
        """
        out: Tensor
        stream = self._stream_for(x)
        if stream is None:
            out = self(torch.relu_(dense(x)))
        else:
            units = F.linear(x, dense.weight * self.scale, dense.bias * self.scale)
            kept = stream.keep(units.numel(), self.threshold).view(units.shape)
            out = _PositiveAndKept.apply(units, kept)
        return out

    def _stream_for(self, x: Tensor) -> DropoutStream | None:
        """The stream where it is to be drawn from."""
        drops = self.training and self.threshold > 0
        return self.stream if drops and x.device.type == "cpu" else None

    def extra_repr(self) -> str:
        """The probability, for `repr`."""
        return f"p={self.p}"


def attach_streams(module: nn.Module, stream: DropoutStream | None) -> None:
    """Sets the one stream that all `Dropout` layers of a network draw from as they run."""
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.stream = stream

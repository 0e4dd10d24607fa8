"""A network of which only some outputs count: the others are 0, whatever it says.

A classifier that was built for all classes of a dataset may be trained and measured on some of them.
Its outputs are multiplied by a mask of 0 and 1 before anything is made of them, so a loss and an
argmax see zeros, not minus infinity: a masked class still takes part in a softmax, and it is the
prediction where all others are below 0.
"""

from torch import Tensor, nn


class Masked(nn.Module):
    """A network and the outputs of it that count; parameters are the network's own."""

    mask: Tensor

    def __init__(self, model: nn.Module, mask: Tensor) -> None:
        """Puts a mask on a network, which itself stays what it is.

        Args:
            model: `(batch, ...)` inputs to `(batch, outputs)`.
            mask: `(outputs,)` of 0 and 1, on the network's device.

        Raises:
            ValueError: the mask has another number of axes, or other values.
        """
        super().__init__()
        if mask.ndim != 1 or not bool(((mask == 0) | (mask == 1)).all()):
            raise ValueError(f"mask {mask.tolist()}: must be one row of 0 and 1, one per output")
        self.model = model
        self.register_buffer("mask", mask, persistent=False)
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """What the network says to inputs `(batch, ...)`, masked: `(batch, outputs)`.

        Raises:
            ValueError: the mask does not have an item for each output.
        """
        outputs: Tensor = self.model(x)
        if self.mask.shape != outputs.shape[1:]:
            raise ValueError(
                f"a mask of {len(self.mask)} items for outputs {tuple(outputs.shape)}: must have one "
                "for each output"
            )
        return outputs * self.mask.to(outputs.dtype)


def masked(model: nn.Module, mask: Tensor | None) -> nn.Module:
    """The network with a mask on its outputs; the network itself where there is none.

    Args:
        model: `(batch, ...)` inputs to `(batch, outputs)`.
        mask: see `Masked`; None for all outputs.

    Raises:
        ValueError: see `Masked`.
    """
    return model if mask is None else Masked(model, mask)

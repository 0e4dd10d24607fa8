"""Convolutions with stride 2 and leaky ReLU, as in Keras's example "Knowledge Distillation".

The example's strided convolutions pad an even side at its end alone; here, as is common in PyTorch,
one pixel is padded on every side. Its pooling pads at the end, and so does this one.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn

from models.chain import strided_chain

SLOPE = 0.2
"""Of leaky ReLU for negative numbers."""


class StridedConvNet(nn.Module):
    """3x3 convolutions with stride 2, then one dense layer.

    Leaky ReLU follows each convolution, and 2x2 max pooling with stride 1, which keeps the size,
    all but the last. Input `(batch, channels, height, width)`, output `(batch, outputs)`: logits.
    """

    def __init__(self, input_shape: Sequence[int], outputs: int, filters: Sequence[int]) -> None:
        """Makes the layers, `conv1, conv2, ..., fc1`, with PyTorch's default initialisation.

        Args:
            input_shape: `(channels, height, width)`.
            outputs: classes.
            filters: output channels of each convolution.

        Raises:
            ValueError: inputs that are no images.
        """
        super().__init__()
        self.chain = strided_chain(input_shape, outputs, filters)
        *convolutions, dense = self.chain.layers
        for layer in convolutions:
            convolution = nn.Conv2d(layer.inputs, layer.outputs, 3, stride=2, padding=1)
            self.add_module(layer.name, convolution)
        self.fc1 = nn.Linear(dense.inputs, outputs)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, outputs)` of images `(batch, channels, height, width)`."""
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.chain.of("conv"):
            x = F.leaky_relu(self.get_submodule(layer.name)(x), SLOPE)
            if layer.pool == "keep":
                # One row and one column at the end, never the largest.
                x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 2, stride=1)
        logits: Tensor = self.fc1(x.flatten(1))
        return logits

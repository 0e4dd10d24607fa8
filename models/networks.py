"""The two families of the home study: convolutional networks and multilayer perceptrons.

Layers are named `conv1, conv2, ..., fc1, fc2, ...`, which are the keys of the published weights.
Sizes come from `models.home`.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn

from models.chain import convolutional_chain, dense_chain
from models.layers import Dropout


class ConvNet(nn.Module):
    """Blocks of 3x3 convolutions with ReLU, each ended by 2x2 max pooling, then two dense layers.

    Input `(batch, channels, height, width)`, output `(batch, outputs)`: logits.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        outputs: int,
        blocks: Sequence[Sequence[int]],
        hidden: int,
        dropout: float,
    ) -> None:
        """Makes the layers with PyTorch's default initialisation.

        Args:
            input_shape: `(channels, height, width)`; both sides at least `2 ** len(blocks)`.
            outputs: classes.
            blocks: channels of the convolutions of each block.
            hidden: units of the first dense layer, whose outputs are dropped out.
            dropout: probability that a unit is dropped.

        Raises:
            ValueError: an input of another kind or too small.
        """
        super().__init__()
        least = 2 ** len(blocks)
        if len(input_shape) != 3 or min(input_shape[1:]) < least or input_shape[0] < 1:
            raise ValueError(
                f"input_shape = {tuple(input_shape)}: must be (channels, height, width) "
                f"with sides of at least {least}"
            )
        channels, height, width = input_shape
        self._blocks: list[list[str]] = []
        for block in blocks:
            self._blocks.append([])
            for size in block:
                name = f"conv{sum(map(len, self._blocks)) + 1}"
                self._blocks[-1].append(name)
                self.add_module(name, nn.Conv2d(channels, size, kernel_size=3, padding=1))
                channels = size
            height, width = height // 2, width // 2
        self.chain = convolutional_chain(input_shape, outputs, blocks, hidden)
        self.fc1 = nn.Linear(channels * height * width, hidden)
        self.dropout = Dropout(dropout)
        self.fc2 = nn.Linear(hidden, outputs)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, outputs)` of images `(batch, channels, height, width)`."""
        x = x.contiguous(memory_format=torch.channels_last)
        for *inner, last in self._blocks:
            for name in inner:
                x = torch.relu_(self.get_submodule(name)(x))
            # ReLU keeps order, so pooling first gives the same numbers on a quarter of the units.
            x = torch.relu_(F.max_pool2d(self.get_submodule(last)(x), 2))
        x = self.dropout(torch.relu_(self.fc1(x.flatten(1))))
        logits: Tensor = self.fc2(x)
        return logits


class MLP(nn.Module):
    """Dense layers with ReLU, dropout after the first few, and a dense output layer.

    Input `(batch, features)`, or `(batch, *input_shape)` where it is flattened; output
    `(batch, outputs)`.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        outputs: int,
        hidden: Sequence[int],
        dropouts: int,
        dropout: float,
        *,
        flatten: bool = False,
        rectify_outputs: bool = False,
    ) -> None:
        """Makes the layers with PyTorch's default initialisation.

        Args:
            input_shape: `(features,)`; any shape where it is flattened.
            outputs: numbers to predict.
            hidden: units of the hidden layers.
            dropouts: how many hidden layers, from the first on, are followed by dropout.
            dropout: probability that a unit is dropped.
            flatten: take inputs of any shape, such as images, as vectors.
            rectify_outputs: ReLU after the output layer too.

        Raises:
            ValueError: an input of another kind.
        """
        super().__init__()
        if (len(input_shape) != 1 and not flatten) or not input_shape or min(input_shape) < 1:
            allowed = "positive sizes" if flatten else "(features,)"
            raise ValueError(f"input_shape = {tuple(input_shape)}: must be {allowed}")
        self.chain = dense_chain(input_shape, outputs, hidden, rectify_outputs)
        sizes = [math.prod(input_shape), *hidden, outputs]
        for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
            self.add_module(f"fc{number}", nn.Linear(fan_in, fan_out))
            if number <= dropouts:
                self.add_module(f"dropout{number}", Dropout(dropout))
        self._depth = len(hidden) + 1
        self._dropouts = dropouts
        self._flatten = flatten
        self._rectify_outputs = rectify_outputs

    def layers(self) -> list[tuple[nn.Linear, Dropout | None]]:
        """Each dense layer, the last one included, with the dropout that follows its ReLU."""
        return [
            (
                getattr(self, f"fc{number}"),
                getattr(self, f"dropout{number}") if number <= self._dropouts else None,
            )
            for number in range(1, self._depth + 1)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Predictions `(batch, outputs)` of inputs `(batch, features)`, or of another shape."""
        if self._flatten:
            x = x.flatten(1)
        *hidden, (last, _) = self.layers()
        for dense, dropout in hidden:
            x = torch.relu_(dense(x)) if dropout is None else dropout.after(dense, x)
        prediction: Tensor = last(x)
        return torch.relu_(prediction) if self._rectify_outputs else prediction

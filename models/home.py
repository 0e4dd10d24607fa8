"""The networks of the home study, as data (Kocián, 2025).

Sizes are written down here; the shape of inputs and outputs comes with the dataset. A size is
callable, so it is the `build` of its catalogue entry, and imports torch only when called.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.catalog import ModelEntry
from models.chain import Chain, convolutional_chain, dense_chain

if TYPE_CHECKING:
    from torch import nn

DROPOUT = 0.3
"""Probability that a unit is dropped, wherever the home study drops units."""


@dataclass(frozen=True)
class Convolutional:
    """Sizes of a convolutional network with one hidden dense layer, which is followed by dropout.

    Attributes:
        blocks: channels of the convolutions; a 2x2 pooling ends each block.
        hidden: units of the dense layer.
    """

    blocks: tuple[tuple[int, ...], ...]
    hidden: int

    def __call__(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        """Builds the network."""
        from models.networks import ConvNet

        return ConvNet(input_shape, outputs, self.blocks, self.hidden, DROPOUT)

    def chain(self, input_shape: tuple[int, ...], outputs: int) -> Chain:
        """Its layers, without building them."""
        return convolutional_chain(input_shape, outputs, self.blocks, self.hidden)


@dataclass(frozen=True)
class Dense:
    """Sizes of a multilayer perceptron.

    Attributes:
        hidden: units of the hidden layers.
        dropouts: how many of them, from the first on, are followed by dropout.
    """

    hidden: tuple[int, ...]
    dropouts: int

    def __call__(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        """Builds the network."""
        from models.networks import MLP

        return MLP(input_shape, outputs, self.hidden, self.dropouts, DROPOUT)

    def chain(self, input_shape: tuple[int, ...], outputs: int) -> Chain:
        """Its layers, without building them."""
        return dense_chain(input_shape, outputs, self.hidden)


_GREY_28 = {
    "small": Convolutional(((2,),), 16),
    "medium": Convolutional(((4,),), 32),
    "large": Convolutional(((4, 16),), 64),
    "student": Convolutional(((32, 64), (128,)), 256),
}

SIZES: dict[str, dict[str, Convolutional] | dict[str, Dense]] = {
    "cifar10": {
        "small": Convolutional(((4,),), 16),
        "medium": Convolutional(((16,),), 64),
        "large": Convolutional(((16, 32),), 128),
        "student": Convolutional(((64, 128), (256,)), 512),
    },
    "fashion_mnist": _GREY_28,
    "mnist": _GREY_28,
    "california_housing": {
        "small": Dense((16,), dropouts=0),
        "medium": Dense((16, 32), dropouts=1),
        "large": Dense((32, 64, 32), dropouts=2),
        "student": Dense((64, 128, 64, 32), dropouts=3),
    },
    # Not in the thesis: the same idea at a size that trains in seconds on one core.
    "digits": {
        "small": Convolutional(((2,),), 8),
        "medium": Convolutional(((4,),), 16),
        "large": Convolutional(((4, 8),), 32),
        "student": Convolutional(((16, 32), (64,)), 128),
    },
}

ENTRIES: tuple[ModelEntry, ...] = tuple(
    ModelEntry(name, size, dataset)
    for dataset, sizes in SIZES.items()
    for name, size in sizes.items()
)

"""Networks that are one layer after the other, as data: what weight growth needs to know of them.

Sizes of the catalogue say which chain they build, and the networks that they build carry it, so
that a plan and a training decide alike, the plan without torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["conv", "dense"]
Activation = Literal["relu", "leaky_relu", "none"]
Pool = Literal["halve", "keep", "none"]


@dataclass(frozen=True)
class Layer:
    """A convolution or a dense layer, with what follows it.

    Attributes:
        name: its parameters are `NAME.weight` and `NAME.bias`.
        kind: convolutions are 3x3, padding 1.
        inputs: channels, or features.
        outputs: channels, or units.
        stride: of a convolution.
        pool: 2x2 max pooling after it: `halve` with stride 2, `keep` with stride 1 and padding.
        activation: after the layer.
    """

    name: str
    kind: Kind
    inputs: int
    outputs: int
    stride: int = 1
    pool: Pool = "none"
    activation: Activation = "relu"


@dataclass(frozen=True)
class Chain:
    """Convolutions, then dense layers on their flattened outputs; the last one is the output layer.

    Attributes:
        input_shape: of one input, without the batch axis.
        layers: from the input on.
        positions: pixels of a channel where it is flattened; 1 without convolutions.
    """

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    positions: int = 1

    def of(self, kind: Kind) -> tuple[Layer, ...]:
        """The layers of a kind."""
        return tuple(layer for layer in self.layers if layer.kind == kind)

    def __str__(self) -> str:
        """Its layers, for messages."""
        parts = []
        for layer in self.layers:
            parts.append(f"{layer.kind} {layer.outputs}")
            if layer.pool != "none":
                parts.append("pool")
        end = self.layers[-1].activation
        return ", ".join([*parts, *([end] if end != "none" else [])])


def dense_chain(
    input_shape: Sequence[int],
    outputs: int,
    hidden: Sequence[int],
    rectify_outputs: bool = False,
) -> Chain:
    """The chain of `models.networks.MLP`."""
    shape = tuple(input_shape)
    return Chain(shape, _dense(math.prod(shape), hidden, outputs, rectify_outputs))


def convolutional_chain(
    input_shape: Sequence[int], outputs: int, blocks: Sequence[Sequence[int]], hidden: int
) -> Chain:
    """The chain of `models.networks.ConvNet`.

    Raises:
        ValueError: inputs that are no images.
    """
    channels, height, width = _image(input_shape)
    layers: list[Layer] = []
    for block in blocks:
        for place, filters in enumerate(block, start=1):
            pool: Pool = "halve" if place == len(block) else "none"
            layers.append(_conv(len(layers) + 1, channels, filters, pool=pool))
            channels = filters
        height, width = height // 2, width // 2
    dense = _dense(channels * height * width, (hidden,), outputs, False)
    return Chain(tuple(input_shape), (*layers, *dense), height * width)


def strided_chain(input_shape: Sequence[int], outputs: int, filters: Sequence[int]) -> Chain:
    """The chain of `models.strided.StridedConvNet`.

    Raises:
        ValueError: inputs that are no images.
    """
    channels, height, width = _image(input_shape)
    layers: list[Layer] = []
    for number, size in enumerate(filters, start=1):
        pool: Pool = "keep" if number < len(filters) else "none"
        layers.append(_conv(number, channels, size, 2, pool, "leaky_relu"))
        channels = size
        height, width = -(-height // 2), -(-width // 2)
    dense = _dense(channels * height * width, (), outputs, False)
    return Chain(tuple(input_shape), (*layers, *dense), height * width)


def _image(input_shape: Sequence[int]) -> tuple[int, int, int]:
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(
            f"input_shape = {tuple(input_shape)}: must be (channels, height, width), all positive"
        )
    channels, height, width = input_shape
    return channels, height, width


def _conv(
    number: int,
    channels: int,
    filters: int,
    stride: int = 1,
    pool: Pool = "none",
    activation: Activation = "relu",
) -> Layer:
    return Layer(f"conv{number}", "conv", channels, filters, stride, pool, activation)


def _dense(
    features: int, hidden: Sequence[int], outputs: int, rectify_outputs: bool
) -> tuple[Layer, ...]:
    layers = []
    for number, units in enumerate([*hidden, outputs], start=1):
        is_last = number > len(hidden)
        activation: Activation = "none" if is_last and not rectify_outputs else "relu"
        layers.append(Layer(f"fc{number}", "dense", features, units, activation=activation))
        features = units
    return tuple(layers)

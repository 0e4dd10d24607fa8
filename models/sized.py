"""Networks that are named by their sizes, for any dataset.

A name is what a table of results shows and what a trial's identity holds, so a network has one
spelling: numbers without leading zeros, parts in a fixed order, nothing that says the default.
Free of torch until a network is built.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.catalog import Build, ModelFamily
from models.chain import Chain, dense_chain, strided_chain

if TYPE_CHECKING:
    from torch import nn

LARGEST = 65536
"""Units of a layer, at most; beyond, a name is a slip of the pen."""


@dataclass(frozen=True)
class Perceptron:
    """Sizes of a multilayer perceptron on flattened inputs, without dropout.

    Attributes:
        hidden: units of the hidden layers.
        rectify_outputs: ReLU after the output layer too.
    """

    hidden: tuple[int, ...]
    rectify_outputs: bool

    def __call__(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        """Builds the network."""
        from models.networks import MLP

        return MLP(
            input_shape, outputs, self.hidden, 0, 0.0,
            flatten=True, rectify_outputs=self.rectify_outputs,
        )  # fmt: skip

    def chain(self, input_shape: tuple[int, ...], outputs: int) -> Chain:
        """Its layers, without building them."""
        return dense_chain(input_shape, outputs, self.hidden, self.rectify_outputs)


@dataclass(frozen=True)
class Strided:
    """Sizes of a network of convolutions with stride 2.

    Attributes:
        filters: output channels of each convolution.
    """

    filters: tuple[int, ...]

    def __call__(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        """Builds the network."""
        from models.strided import StridedConvNet

        return StridedConvNet(input_shape, outputs, self.filters)

    def chain(self, input_shape: tuple[int, ...], outputs: int) -> Chain:
        """Its layers, without building them."""
        return strided_chain(input_shape, outputs, self.filters)


@dataclass(frozen=True)
class Vision:
    """A convolutional network of torchvision.

    Attributes:
        kind: its name without suffixes.
        small_stem: whether its first convolution is 3x3 with stride 1.
        dropout_percent: before the output layer; 0 is as torchvision has it.
    """

    kind: str
    small_stem: bool
    dropout_percent: int

    def __call__(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        """Builds the network."""
        from models.vision import convolutional

        return convolutional(
            self.kind, input_shape, outputs, self.small_stem, self.dropout_percent / 100
        )

    def body(self, input_shape: tuple[int, ...]) -> tuple[object, ...]:
        """What decides the shapes of all weights but the output layer's."""
        return (self.kind, self.small_stem, input_shape[0])


@dataclass(frozen=True)
class Transformer:
    """Sizes of a Vision Transformer.

    Attributes:
        kind: its name without suffixes.
        patch: side of a patch in pixels.
        width: of a token; the layers between are four times as wide.
        depth: number of blocks.
        heads: of attention.
        dropout_percent: before the output layer.
    """

    kind: str
    patch: int
    width: int
    depth: int
    heads: int
    dropout_percent: int

    def __call__(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        """Builds the network."""
        from models.vision import transformer

        return transformer(
            input_shape, outputs, patch=self.patch, width=self.width, depth=self.depth,
            heads=self.heads, dropout=self.dropout_percent / 100,
        )  # fmt: skip

    def body(self, input_shape: tuple[int, ...]) -> tuple[object, ...]:
        """What decides the shapes of all weights but the output layer's, and their meaning."""
        return (self.patch, self.width, self.depth, self.heads, *input_shape)


def _sizes(text: str, what: str) -> tuple[int, ...]:
    """The numbers of `-128-64`."""
    if not re.fullmatch(r"(-[1-9]\d*)+", text):
        raise ValueError(f"{what} must be whole numbers without leading zeros, after a '-' each")
    sizes = tuple(map(int, text[1:].split("-")))
    if max(sizes) > LARGEST:
        raise ValueError(f"{what} must be at most {LARGEST}")
    return sizes


def _perceptron(rest: str) -> Build:
    units = rest.removesuffix("-relu")
    return Perceptron(_sizes(units, "UNITS"), units != rest)


def _strided(rest: str) -> Build:
    return Strided(_sizes(rest, "FILTERS"))


def _dropout_percent(suffix: str) -> int:
    """The number of `-dropout20`, or 0 where there is nothing."""
    if not suffix:
        return 0
    found = re.fullmatch(r"-dropout([1-9]\d?)", suffix)
    if found is None:
        raise ValueError(f"{suffix!r} is no suffix of it, PERCENT being 1 to 99")
    return int(found[1])


@dataclass(frozen=True)
class _VisionNamed:
    """Reads what follows the name of a convolutional network of torchvision."""

    kind: str

    def __call__(self, rest: str) -> Build:
        suffix = rest.removeprefix("-3x3")
        return Vision(self.kind, suffix != rest, _dropout_percent(suffix))


def _vit_b16(rest: str) -> Build:
    return Transformer("vit-b16", 16, 768, 12, 12, _dropout_percent(rest))


def _vit(rest: str) -> Build:
    number = r"([1-9]\d*)"
    found = re.fullmatch(rf"(-p{number}-w{number}-d{number}-h{number})(|-dropout.*)", rest)
    if found is None:
        raise ValueError("sizes must be whole numbers without leading zeros, in this order")
    sizes, suffix = found[1], found[6]
    patch, width, depth, heads = (int(found[place]) for place in range(2, 6))
    if max(patch, width, depth, heads) > LARGEST:
        raise ValueError(f"sizes must be at most {LARGEST}")
    if width % heads:
        raise ValueError(f"HEADS = {heads} must divide WIDTH = {width}")
    kind = f"vit{sizes}"
    if (patch, width, depth, heads) == (16, 768, 12, 12):
        raise ValueError("this network is called vit-b16")
    return Transformer(kind, patch, width, depth, heads, _dropout_percent(suffix))


_STEM = "-3x3: first convolution 3x3 with stride 1"
_DROPOUT = "-dropoutPERCENT: dropout before the output layer"

FAMILIES: tuple[ModelFamily, ...] = (
    ModelFamily(
        "mlp",
        "mlp-UNITS[-UNITS...][-relu]",
        f"dense layers with ReLU on flattened inputs, UNITS 1 to {LARGEST}; -relu: ReLU after the "
        "output layer too",
        _perceptron,
    ),
    ModelFamily(
        "cnn",
        "cnn-FILTERS[-FILTERS...]",
        f"3x3 convolutions with stride 2 and leaky ReLU, then a dense layer, FILTERS 1 to {LARGEST}",
        _strided,
    ),
    *(
        ModelFamily(
            kind,
            f"{kind}[-3x3][-dropoutPERCENT]",
            f"{title} of torchvision; {_STEM}; {_DROPOUT}",
            _VisionNamed(kind),
        )
        for kind, title in (
            ("resnet18", "ResNet-18"),
            ("resnet50", "ResNet-50"),
            ("wide-resnet50-2", "Wide ResNet-50-2"),
            ("mobilenetv3-small", "MobileNetV3 Small"),
        )
    ),
    ModelFamily(
        "vit-b16",
        "vit-b16[-dropoutPERCENT]",
        f"ViT-B/16 of torchvision, for square images of whole 16x16 patches; {_DROPOUT}",
        _vit_b16,
    ),
    ModelFamily(
        "vit",
        "vit-pPATCH-wWIDTH-dDEPTH-hHEADS[-dropoutPERCENT]",
        "a Vision Transformer of other sizes; its inner dense layers have 4 WIDTH units, HEADS "
        f"divides WIDTH; {_DROPOUT}",
        _vit,
    ),
)

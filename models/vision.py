"""Large networks of torchvision, with an output layer of the dataset's size and our dropout.

ResNet (He et al., 2016), Wide ResNet (Zagoruyko and Komodakis, 2016), MobileNetV3 (Howard et al.,
2019), Vision Transformer (Dosovitskiy et al., 2021). Names of parameters are torchvision's, with
dropout before the output layer too, so that its weight files fit. A layer that is put in another's
place starts as PyTorch makes it; all others start as torchvision makes them.
"""

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812 (torch's own convention)
import torchvision.models
from torch import Tensor, nn

from models.layers import Dropout

BUILDERS = {
    "resnet18": torchvision.models.resnet18,
    "resnet50": torchvision.models.resnet50,
    "wide-resnet50-2": torchvision.models.wide_resnet50_2,
    "mobilenetv3-small": torchvision.models.mobilenet_v3_small,
    "vit-b16": torchvision.models.vit_b_16,
}


class DroppedLinear(nn.Linear):
    """Dropout, then a dense layer; named as the dense layer alone would be.

    Input `(rows, inputs)`, output `(rows, units)`.
    """

    def __init__(self, dense: nn.Linear, p: float) -> None:
        """Takes over the parameters of a dense layer.

        Args:
            dense: the layer, with a bias.
            p: probability that one of its inputs is dropped.
        """
        super().__init__(dense.in_features, dense.out_features)
        self.weight, self.bias = dense.weight, dense.bias
        self.dropout = Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        """Drops some of `x` and multiplies."""
        return F.linear(self.dropout(x), self.weight, self.bias)


def convolutional(
    kind: str, input_shape: Sequence[int], outputs: int, small_stem: bool, dropout: float
) -> nn.Module:
    """A ResNet or a MobileNetV3.

    Args:
        kind: a key of `BUILDERS`.
        input_shape: `(channels, height, width)`.
        outputs: classes.
        small_stem: the first convolution is 3x3 with stride 1 and padding 1, for small images;
            nothing else changes (a ResNet keeps its max pooling).
        dropout: probability that an input of the output layer is dropped. For MobileNetV3, which
            has a dropout of 0.2 there, 0 leaves that.

    Raises:
        ValueError: inputs that are no images.
    """
    channels, _, _ = _image(input_shape)
    network: nn.Module = BUILDERS[kind](num_classes=outputs)
    own_dropout = _replace_dropouts(network)
    stem = "conv1" if hasattr(network, "conv1") else "features.0.0"
    _replace_stem(network, stem, channels, small_stem)
    if dropout and own_dropout:
        network.set_submodule(own_dropout[-1], Dropout(dropout))
    elif dropout:
        _drop_before(network, "fc", dropout)
    return network


def transformer(
    input_shape: Sequence[int],
    outputs: int,
    *,
    patch: int,
    width: int,
    depth: int,
    heads: int,
    dropout: float,
) -> nn.Module:
    """A Vision Transformer for images of one size.

    Args:
        input_shape: `(channels, side, side)`.
        outputs: classes.
        patch: side of a patch in pixels.
        width: of a token; the layers between are four times as wide.
        depth: blocks of attention and dense layers.
        heads: of attention; divides `width`.
        dropout: probability that an input of the output layer is dropped.

    Raises:
        ValueError: inputs that are not square images of whole patches.
    """
    channels, side, other = _image(input_shape)
    if side != other or side % patch:
        raise ValueError(
            f"input_shape = {tuple(input_shape)}: must be (channels, side, side), the side a "
            f"multiple of {patch}"
        )
    network: nn.Module = torchvision.models.VisionTransformer(
        image_size=side,
        patch_size=patch,
        num_layers=depth,
        num_heads=heads,
        hidden_dim=width,
        mlp_dim=4 * width,
        num_classes=outputs,
    )
    _replace_dropouts(network)
    _replace_stem(network, "conv_proj", channels, False)
    if dropout:
        _drop_before(network, "heads.head", dropout)
    return network


def _image(input_shape: Sequence[int]) -> tuple[int, int, int]:
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(
            f"input_shape = {tuple(input_shape)}: must be (channels, height, width), all positive"
        )
    channels, height, width = input_shape
    return channels, height, width


def _replace_dropouts(network: nn.Module) -> list[str]:
    """Puts our dropout in the place of torchvision's that drops; returns where."""
    names = [n for n, m in network.named_modules() if isinstance(m, nn.Dropout) and m.p > 0]
    for name in names:
        network.set_submodule(name, Dropout(network.get_submodule(name).p))  # type: ignore[arg-type]
    return names


def _replace_stem(network: nn.Module, name: str, channels: int, small: bool) -> None:
    """Makes the first convolution one for these channels, and for small images."""
    was = network.get_submodule(name)
    assert isinstance(was, nn.Conv2d)
    if channels == was.in_channels and not small:
        return
    side, stride, padding = was.kernel_size[0], was.stride[0], was.padding[0]
    if small:
        side, stride, padding = 3, 1, 1
    has_bias = was.bias is not None
    stem = nn.Conv2d(channels, was.out_channels, side, stride, int(padding), bias=has_bias)
    network.set_submodule(name, stem)


def _drop_before(network: nn.Module, name: str, p: float) -> None:
    head = network.get_submodule(name)
    assert isinstance(head, nn.Linear)
    network.set_submodule(name, DroppedLinear(head, p))

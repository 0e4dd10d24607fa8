"""How the weights of a network start: a scheme, and a seed that is handed in.

`default` keeps what each layer of the network does by itself; the others set the weights of dense and
convolutional layers, and zero their biases unless they say otherwise. Layers of other kinds
(normalisation, the input projection of attention) are left as they were made.

- `he`: normal, variance 2 / fan_in (He et al., 2015, "Delving deep into rectifiers", eq. 10)
- `xavier`: uniform, variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010, eq. 16)
- `lecun`: normal, variance 1 / fan_in (LeCun et al., 1998, "Efficient BackProp", eq. 16)
- `normal`: normal, variance 1
- `uniform`: uniform within 1 / sqrt(fan_in), biases too (Glorot and Bengio, 2010, eq. 1)
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from models import catalog


def _he(weight: Tensor, generator: Generator) -> None:
    nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu", generator=generator)


def _xavier(weight: Tensor, generator: Generator) -> None:
    nn.init.xavier_uniform_(weight, generator=generator)


def _lecun(weight: Tensor, generator: Generator) -> None:
    fan_in = weight[0].numel()
    nn.init.normal_(weight, std=1 / math.sqrt(fan_in), generator=generator)


def _normal(weight: Tensor, generator: Generator) -> None:
    nn.init.normal_(weight, generator=generator)


def _uniform(weight: Tensor, generator: Generator) -> None:
    _uniform_for(weight, weight[0].numel(), generator)


def _uniform_for(values: Tensor, fan_in: int, generator: Generator) -> None:
    bound = 1 / math.sqrt(fan_in)
    nn.init.uniform_(values, -bound, bound, generator=generator)


SCHEMES: dict[str, Callable[[Tensor, Generator], None] | None] = {
    "default": None,
    "he": _he,
    "xavier": _xavier,
    "lecun": _lecun,
    "normal": _normal,
    "uniform": _uniform,
}
"""What each scheme does to one weight; None leaves the layer as PyTorch made it."""

_BIASES: dict[str, Callable[[Tensor, int, Generator], None]] = {"uniform": _uniform_for}
"""What a scheme does to a bias, given the layer's fan_in; those that are not here zero it."""


def build(
    dataset_name: str,
    model_name: str,
    input_shape: tuple[int, ...],
    outputs: int,
    init: str,
    seed: int,
) -> nn.Module:
    """Makes a network of the catalogue, on the CPU, with weights that depend on the seed alone.

    PyTorch's global generator is left as it was. PyTorch's CPU generator uses the low 32 bits of
    the seed.

    Args:
        dataset_name: dataset of the catalogue entry.
        model_name: its name.
        input_shape: shape of one input, without the batch axis.
        outputs: size of the last axis of the output.
        init: a key of `SCHEMES`.
        seed: from 0 up to, not including, 2 ** 63.

    Raises:
        UnknownModelError: no such network.
        ValueError: an unknown scheme, a seed out of range, or an input the network cannot take.
    """
    if init not in SCHEMES:
        raise ValueError(f"init = {init!r}: must be one of {', '.join(SCHEMES)}")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed = {seed}: must be at least 0 and below 2 ** 63")
    entry = catalog.get(dataset_name, model_name)
    # Not torch.manual_seed: that would seed the generators of all devices.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        module = entry.make(input_shape, outputs)
    scheme = SCHEMES[init]
    if scheme is not None:
        generator = Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in module.modules():
                if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
                    # Drawn in the order of the axes, whatever the weight's order in memory.
                    start = torch.empty_like(layer.weight, memory_format=torch.contiguous_format)
                    scheme(start, generator)
                    layer.weight.copy_(start)
                    if layer.bias is not None and init in _BIASES:
                        _BIASES[init](layer.bias, start[0].numel(), generator)
                    elif layer.bias is not None:
                        layer.bias.zero_()
    return module

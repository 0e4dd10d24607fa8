"""How a small trained network grows into a large one: the large one's first weights.

- `copy`: the same network; every weight and buffer is the source's.
- `zero-pad`: the source's weights in the corner of the target's, 0 elsewhere. A layer that the
  source does not have passes on what it gets: an identity on as many units as fit.
- `uniform-pad`: elsewhere uniform within 1 / sqrt(n), n being the layer's fan_in (as in Glorot and
  Bengio, 2010, eq. 1). A layer that the source does not have keeps the target's start.
- `net2net`: the target computes what the source does. Added units are copies of units drawn at
  random, whose outgoing weights are shared among the copies; added layers are identities (Chen,
  Goodfellow and Shlens, 2016, sections 2.2 and 2.3). No noise is added: copies of a unit part ways
  through dropout alone.

Padding aligns layers from the input on and the output layers (`models.alignment.by_position`).
Where no layer was added or narrowed and images reach the first dense layer in the same size, a
padded network with zeros computes what the source does too; but a unit padded with zeros on both
sides never learns anything.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor, nn

from models.alignment import GrowthError, check_chains, check_words, preserving
from models.chain import Chain, Layer
from models.head import head_name
from models.matching import common_block, common_values, layer_partners, output_layer, parameter_of


def grow(
    source: nn.Module, target: nn.Module, method: str, seed: int, head: str = "source"
) -> None:
    """Gives a network the weights that it starts with when it is grown from another.

    Args:
        source: the trained network; left as it is.
        target: the network to be, initialised; its weights are changed in place, all or none.
        method: one of `models.alignment.METHODS`.
        seed: of whatever is drawn; from 0 up to, not including, 2 ** 63.
        head: of `models.alignment.HEADS`: `new` leaves the target's output layer as it is.

    Raises:
        GrowthError: the source cannot be grown into the target by this method.
        ValueError: an unknown method or head, or a seed out of range.
    """
    check_words(method, head)
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed = {seed}: must be at least 0 and below 2 ** 63")
    generator = Generator().manual_seed(seed)
    with torch.no_grad():
        if method == "copy":
            values = _copied(source, target, head)
        elif method == "net2net":
            values = _same_function(source, target, head, generator)
        else:
            fill = _zeros if method == "zero-pad" else _uniform
            try:
                values = _padded(source, target, head, fill, method == "zero-pad", generator)
            except GrowthError as error:
                raise GrowthError(
                    f"growth = {method!r}: cannot grow {_words(source)} into {_words(target)}: "
                    f"{error}"
                ) from None
        state = target.state_dict()
        for name, value in values.items():
            state[name].copy_(value)


def _words(network: nn.Module) -> str:
    chain = getattr(network, "chain", None)
    return f"({chain})" if isinstance(chain, Chain) else type(network).__name__


def _copied(source: nn.Module, target: nn.Module, head: str) -> dict[str, Tensor]:
    small_chain, large_chain = (getattr(network, "chain", None) for network in (source, target))
    if isinstance(small_chain, Chain) and isinstance(large_chain, Chain):
        check_chains(small_chain, large_chain, "copy", head)
    # Only output layers may have different names.
    heads = head_name(source), head_name(target)
    small = {_canonical(key, heads[0]): value for key, value in source.state_dict().items()}
    names = {_canonical(key, heads[1]): key for key in target.state_dict()}
    large = target.state_dict()
    values: dict[str, Tensor] = {}
    for key in dict.fromkeys([*names, *small]):
        if head == "new" and key[0]:
            continue
        there = tuple(small[key].shape) if key in small else "nothing"
        here = tuple(large[names[key]].shape) if key in names else "nothing"
        if there != here:
            raise GrowthError(
                f"growth = 'copy': cannot copy {_words(source)} into {_words(target)}: "
                f"{names.get(key, key[1])}: the source has {there}, the target {here}"
            )
        values[names[key]] = small[key]
    return values


def _canonical(key: str, head: str) -> tuple[bool, str]:
    """Whether a key is of the output layer, and its name, without the layer's then."""
    layer, _, part = key.rpartition(".")
    return (True, part) if layer == head else (False, key)


Fill = Callable[[Tensor, int, Generator], Tensor]


def _zeros(like: Tensor, fan_in: int, generator: Generator) -> Tensor:  # noqa: ARG001
    return torch.zeros_like(like)


def _uniform(like: Tensor, fan_in: int, generator: Generator) -> Tensor:
    # Drawn in the order of the axes, whatever the weight's order in memory.
    start = torch.empty_like(like, memory_format=torch.contiguous_format)
    bound = 1 / math.sqrt(fan_in)
    return start.uniform_(-bound, bound, generator=generator)


def _padded(
    source: nn.Module,
    target: nn.Module,
    head: str,
    fill: Fill,
    identities: bool,
    generator: Generator,
) -> dict[str, Tensor]:
    small, large = dict(source.named_parameters()), dict(target.named_parameters())
    partners = layer_partners(small, large)
    if partners is None:
        raise GrowthError(
            "one of them is no chain of convolutions and dense layers; allowed is copy, into the "
            "same network"
        )
    blocks, parts = common_block(small, large, head), common_values(small, large, head)
    fixed = output_layer(large) if head == "new" else None
    values: dict[str, Tensor] = {}
    for name, like in large.items():
        layer, _, part = name.rpartition(".")
        weight = large[parameter_of(layer, "weight")]
        if layer == fixed:
            continue
        if partners[layer] is not None:
            values[name] = fill(like, weight[0].numel(), generator)
            if name in blocks:
                values[name][blocks[name]] = parts[name]
        elif identities:
            values[name] = torch.zeros_like(like)
            if part == "weight":
                units = torch.arange(min(like.shape[:2]))
                _centre(values[name])[units, units] = 1
    return values


def _centre(weight: Tensor) -> Tensor:
    """What a weight does with the input at a unit's own place, `(units, inputs)`, to write to."""
    return weight if weight.ndim == 2 else weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2]


def _same_function(
    source: nn.Module, target: nn.Module, head: str, generator: Generator
) -> dict[str, Tensor]:
    small, large = (getattr(network, "chain", None) for network in (source, target))
    if not (isinstance(small, Chain) and isinstance(large, Chain)):
        raise GrowthError(
            f"growth = 'net2net': cannot grow {_words(source)} into {_words(target)}: one of them "
            "does not say that it is a chain of convolutions and dense layers"
        )
    check_chains(small, large, "net2net", head)
    partners = preserving(small, large, head)
    weights = dict(source.named_parameters())
    sizes = {layer.name: layer for layer in small.layers}
    # Which unit of the source each unit of the target copies, in the layer that was done last.
    copied = torch.arange(large.layers[0].inputs)
    values: dict[str, Tensor] = {}
    for place, layer in enumerate(large.layers):
        if place and layer.kind == "dense" and large.layers[place - 1].kind == "conv":
            # A channel is flattened into its pixels.
            copied = (copied[:, None] * large.positions + torch.arange(large.positions)).flatten()
        partner = partners[layer.name]
        if place + 1 == len(large.layers):
            if head == "source" and partner is not None:
                outputs = torch.arange(layer.outputs)
                values.update(_widened(weights, partner, layer.name, copied, outputs))
        elif partner is not None:
            units = _copies(torch.arange(sizes[partner].outputs), layer.outputs, generator)
            values.update(_widened(weights, partner, layer.name, copied, units))
            copied = units
        else:
            weight = target.get_parameter(f"{layer.name}.weight")
            units = _copies(copied[: layer.outputs], layer.outputs, generator)
            values.update(_identity(layer, weight, copied, units))
            copied = units
    return values


def _copies(first: Tensor, number: int, generator: Generator) -> Tensor:
    """That many units: the first as given, the others drawn from the units that there are."""
    drawn = torch.randint(int(first.max()) + 1, (number - len(first),), generator=generator)
    return torch.cat([first, drawn])


def _widened(
    weights: Mapping[str, Tensor], partner: str, name: str, inputs: Tensor, units: Tensor
) -> dict[str, Tensor]:
    """A layer whose inputs and units are copies of the source's."""
    weight, bias = weights[f"{partner}.weight"], weights[f"{partner}.bias"]
    copies = torch.bincount(inputs, minlength=weight.shape[1])[inputs].to(weight.dtype)
    shared = weight[units][:, inputs] / copies.view(-1, *[1] * (weight.ndim - 2))
    return {f"{name}.weight": shared, f"{name}.bias": bias[units]}


def _identity(layer: Layer, like: Tensor, inputs: Tensor, units: Tensor) -> dict[str, Tensor]:
    """A layer that passes on its inputs, as often as it has units for them."""
    weight = torch.zeros_like(like)
    places = torch.arange(layer.outputs)
    kept = min(len(inputs), layer.outputs)
    # The first copies of all units come first, in order, so an added unit reads one of them.
    _centre(weight)[places, torch.cat([places[:kept], units[kept:]])] = 1
    return {f"{layer.name}.weight": weight, f"{layer.name}.bias": like.new_zeros(layer.outputs)}

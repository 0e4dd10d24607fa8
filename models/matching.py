"""Which block of each large weight holds a small network's: the corner where both have numbers."""

from collections.abc import Mapping
from typing import TypeAlias

from torch import Tensor

from models.alignment import GrowthError, by_position
from models.chain import Kind

Block: TypeAlias = "tuple[slice, ...]"
"""Where a weight lies in a larger one, and, since it begins at 0, what of it lies there."""


def common_block(
    source: Mapping[str, Tensor], target: Mapping[str, Tensor], head: str = "source"
) -> dict[str, Block]:
    """The block of each weight of the target that corresponds to a weight of the source.

    Networks of convolutions and dense layers alone are aligned by position
    (`models.alignment.by_position`), as for padding. Others must have the same parameters, up to
    the output layer.

    Args:
        source: parameters by name, as `named_parameters` gives them.
        target: likewise.
        head: of `models.alignment.HEADS`; `new` leaves out the output layer.

    Returns:
        Slices, one for each axis, by the target's name; weights that have nothing in common with
        the source are not there.

    Raises:
        GrowthError: networks that cannot be aligned.
    """
    return {
        name: _corner(name, source[partner], target[name])
        for name, partner in _partners(source, target, head).items()
    }


def common_values(
    source: Mapping[str, Tensor], target: Mapping[str, Tensor], head: str = "source"
) -> dict[str, Tensor]:
    """What the source has in each block of `common_block`, which see; on the source's memory.

    The penalty on a distance to the source is the sum over
    `target[name][block[name]] - values[name]`, squared.
    """
    return {
        name: source[partner][_corner(name, source[partner], target[name])]
        for name, partner in _partners(source, target, head).items()
    }


def layer_kinds(parameters: Mapping[str, Tensor]) -> dict[str, Kind] | None:
    """The layers of a network of convolutions and dense layers alone; None of any other.

    Args:
        parameters: by name, in order.
    """
    kinds: dict[str, Kind] = {}
    for key, tensor in parameters.items():
        layer, _, part = key.rpartition(".")
        if part == "weight" and tensor.ndim in (2, 4):
            kinds[layer] = "dense" if tensor.ndim == 2 else "conv"
        elif part != "bias" or tensor.ndim != 1 or layer not in kinds:
            return None
    return kinds


def layer_partners(
    source: Mapping[str, Tensor], target: Mapping[str, Tensor]
) -> dict[str, str | None] | None:
    """For each layer of the target the source's; None where one is no chain of layers.

    Raises:
        GrowthError: chains that cannot be aligned.
    """
    small, large = layer_kinds(source), layer_kinds(target)
    return None if small is None or large is None else by_position(small, large)


def output_layer(parameters: Mapping[str, Tensor]) -> str:
    """The name of the last dense layer.

    Raises:
        GrowthError: there is none.
    """
    dense = [k for k, t in parameters.items() if k.endswith("weight") and t.ndim == 2]
    if not dense:
        raise GrowthError(f"no dense layer among {', '.join(parameters) or 'no parameters'}")
    return dense[-1].rpartition(".")[0]


def parameter_of(layer: str, part: str) -> str:
    """The name of a layer's `weight` or `bias`; a network that is one layer calls it just that."""
    return f"{layer}.{part}" if layer else part


def _partners(
    source: Mapping[str, Tensor], target: Mapping[str, Tensor], head: str
) -> dict[str, str]:
    """For each parameter of the target that has one, the source's."""
    layers = layer_partners(source, target)
    heads = output_layer(source), output_layer(target)
    if layers is None:
        layers = _by_name(source, target, heads)
    found: dict[str, str] = {}
    for key in target:
        layer, _, part = key.rpartition(".")
        partner = layers.get(layer)
        if partner is None or (head == "new" and layer == heads[1]):
            continue
        if (name := parameter_of(partner, part)) in source:
            found[key] = name
    return found


def _by_name(
    source: Mapping[str, Tensor], target: Mapping[str, Tensor], heads: tuple[str, str]
) -> dict[str, str | None]:
    bodies = [
        {key: tuple(t.shape) for key, t in of.items() if key.rpartition(".")[0] != head}
        for of, head in zip((source, target), heads, strict=True)
    ]
    for key in dict.fromkeys([*bodies[1], *bodies[0]]):
        small, large = (body.get(key, "nothing") for body in bodies)
        if small != large:
            raise GrowthError(
                f"{key}: the source has {small}, the target {large}; networks that are more than "
                "a chain of convolutions and dense layers must have the same layers"
            )
    same: dict[str, str | None] = {key.rpartition(".")[0]: key.rpartition(".")[0] for key in target}
    return {**same, heads[1]: heads[0]}


def _corner(name: str, source: Tensor, target: Tensor) -> Block:
    if source.shape[2:] != target.shape[2:]:
        raise GrowthError(
            f"{name}: kernels of {list(source.shape[2:])} and {list(target.shape[2:])} differ"
        )
    return tuple(slice(min(a, b)) for a, b in zip(source.shape, target.shape, strict=True))

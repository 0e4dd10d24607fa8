"""Which layer of a small network each layer of a large one is grown from; decided without weights.

Two ways to align: by position, for padding, and so that the function stays the same, for net2net
(Chen, Goodfellow and Shlens, 2016, "Net2Net: accelerating learning via knowledge transfer"). Free of
torch, so that a study is checked before anything is trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, get_args

from models.catalog import ModelEntry
from models.chain import Chain, Kind, Layer, Pool

Method = Literal["copy", "zero-pad", "uniform-pad", "net2net"]
METHODS: tuple[Method, ...] = get_args(Method)
"""How a network is grown, see `models.growth`."""

Head = Literal["source", "new"]
HEADS: tuple[Head, ...] = get_args(Head)
"""Whether the output layer is grown from the source's, or stays as the target has it."""


class GrowthError(ValueError):
    """A network that cannot be grown into another; says why in terms of both."""


@dataclass(frozen=True)
class Site:
    """A network of the catalogue on a dataset.

    Attributes:
        entry: the network.
        input_shape: of one input of the dataset.
        outputs: of the network.
    """

    entry: ModelEntry
    input_shape: tuple[int, ...]
    outputs: int

    def chain(self) -> Chain | None:
        """Its layers, if the catalogue entry knows them.

        Raises:
            ValueError: an input that the network cannot take.
        """
        describe = getattr(self.entry.build, "chain", None)
        chain: Chain | None = describe and describe(self.input_shape, self.outputs)
        return chain

    def body(self) -> object:
        """What decides the shapes of a network that is no chain; None if its entry does not say."""
        describe = getattr(self.entry.build, "body", None)
        return describe and describe(self.input_shape)


def check(source: Site, target: Site, method: str, head: str = "source") -> None:
    """Whether one network can be grown into another, as far as the catalogue tells.

    Networks that are no chain of layers, such as a ResNet, can be copied only. Of a network that
    says nothing about its layers `models.growth.grow` finds out when it is built.

    Args:
        source: the trained network.
        target: the network to be.
        method: one of `METHODS`.
        head: one of `HEADS`.

    Raises:
        GrowthError: it cannot.
        ValueError: an unknown method or head, or an input that a network cannot take.
    """
    check_words(method, head)
    chains = source.chain(), target.chain()
    if chains[0] is not None and chains[1] is not None:
        check_chains(chains[0], chains[1], method, head)
        return
    names = f"{source.entry.name!r} into {target.entry.name!r}"
    small, large = (
        chain if chain is not None else site.body()
        for chain, site in zip(chains, (source, target), strict=True)
    )
    if small is None or large is None:
        return
    if method != "copy":
        raise GrowthError(
            f"growth = {method!r}: cannot grow {names}, since one of them is no chain of "
            "convolutions and dense layers; allowed is copy, into the same network"
        )
    if small != large:
        raise GrowthError(f"growth = 'copy': cannot copy {names}: their layers or inputs differ")
    if head == "source" and source.outputs != target.outputs:
        raise GrowthError(
            f"growth = 'copy': cannot copy {names}: outputs {source.outputs} and "
            f"{target.outputs} differ; allowed with head = 'new'"
        )


def check_words(method: str, head: str) -> None:
    """Raises a ValueError for an unknown method or head."""
    if method not in METHODS:
        raise ValueError(f"growth = {method!r}: must be one of {', '.join(METHODS)}")
    if head not in HEADS:
        raise ValueError(f"head = {head!r}: must be one of {', '.join(HEADS)}")


def check_chains(source: Chain, target: Chain, method: str, head: str) -> None:
    """Raises a GrowthError where a chain cannot be grown into another."""
    try:
        if method == "net2net":
            preserving(source, target, head)
        elif method == "copy":
            _require_equal(source, target, head)
        else:
            by_position(_kinds(source), _kinds(target))
    except GrowthError as error:
        raise GrowthError(
            f"growth = {method!r}: cannot grow ({source}) into ({target}): {error}"
        ) from None


def by_position(source: Mapping[str, Kind], target: Mapping[str, Kind]) -> dict[str, str | None]:
    """Aligns convolutions and hidden dense layers from the input on, and the output layers.

    Args:
        source: its layers in order, the last dense one being the output layer.
        target: likewise.

    Returns:
        For each layer of the target the source's, or None where the source has none for it.

    Raises:
        GrowthError: the source has more layers of a kind, or other kinds of layers.
    """
    found: dict[str, str | None] = {}
    for kind in ("conv", "dense"):
        small, large = ([n for n, k in of.items() if k == kind] for of in (source, target))
        if bool(small) != bool(large):
            raise GrowthError(f"only one of them has {_KINDS[kind]}")
        if len(small) > len(large):
            raise GrowthError(
                f"the source has {len(small)} {_KINDS[kind]}, the target only {len(large)}"
            )
        if kind == "dense" and small:
            found[large.pop()] = small.pop()
        found.update((name, small[i] if i < len(small) else None) for i, name in enumerate(large))
    return {name: found[name] for name in target}


def preserving(source: Chain, target: Chain, head: str) -> dict[str, str | None]:
    """Aligns so that the target can compute what the source does.

    Every layer of the source goes to one of the target that is at least as wide, in order; the
    others become identities of what they get.

    Args:
        source: the small network.
        target: the large network.
        head: of `HEADS`; with `new`, output layers may differ.

    Returns:
        For each layer of the target the source's, or None where it is an identity.

    Raises:
        GrowthError: it cannot compute that.
    """
    if head == "new":
        source, target = _like_head_of(target, source), target
    _refuse_other_functions(source, target)
    places = _align(source.layers, target.layers)
    if places is None:
        raise GrowthError(
            "the target's layers are too narrow, or its pooling too early, for what they would "
            "have to carry"
        )
    return {
        layer.name: None if place is None else source.layers[place].name
        for layer, place in zip(target.layers, places, strict=True)
    }


_KINDS: dict[Kind, str] = {"conv": "convolutions", "dense": "dense layers"}


def _kinds(chain: Chain) -> dict[str, Kind]:
    return {layer.name: layer.kind for layer in chain.layers}


def _require_equal(source: Chain, target: Chain, head: str) -> None:
    if head == "new":
        source = _like_head_of(target, source)
    if source != target:
        raise GrowthError("copy is for networks with the same layers and inputs")


def _like_head_of(target: Chain, source: Chain) -> Chain:
    """The source with an output layer of the target's size and activation."""
    last, like = source.layers[-1], target.layers[-1]
    last = replace(last, outputs=like.outputs, activation=like.activation)
    return replace(source, layers=(*source.layers[:-1], last))


def _refuse_other_functions(source: Chain, target: Chain) -> None:
    """The common reasons, in the words of both networks."""
    if source.input_shape != target.input_shape:
        raise GrowthError(f"inputs of shape {source.input_shape} and {target.input_shape} differ")
    by_position(_kinds(source), _kinds(target))
    if len(source.layers) < len(target.layers) and any(
        layer.activation == "leaky_relu" for layer in target.layers
    ):
        raise GrowthError(
            "the target has more layers, and leaky ReLU after an identity changes what it carries"
        )
    differences = (
        ("numbers of outputs", _outputs),
        ("activations after the output layer", _last_activation),
        ("strides", _strides),
        ("numbers of poolings", _poolings),
    )
    for what, of in differences:
        if of(source) != of(target):
            raise GrowthError(
                f"{what} {of(source)} and {of(target)} differ, so their functions would"
            )
    if len(source.layers) == 1 < len(target.layers):
        raise GrowthError("the source has no hidden layer whose outputs an identity could carry")
    if {layer.activation for layer in source.layers[:-1]} != {
        layer.activation for layer in target.layers[:-1]
    }:
        raise GrowthError("their activations differ")


def _outputs(chain: Chain) -> int:
    return chain.layers[-1].outputs


def _last_activation(chain: Chain) -> str:
    return chain.layers[-1].activation


def _strides(chain: Chain) -> list[int]:
    return sorted({layer.stride for layer in chain.of("conv")})


def _poolings(chain: Chain) -> int:
    return sum(layer.pool != "none" for layer in chain.layers)


def _align(source: tuple[Layer, ...], target: tuple[Layer, ...]) -> tuple[int | None, ...] | None:
    """For each layer of the target the place of the source's, the earliest that is possible."""

    @cache
    def rest(done: int, pooling: Pool, here: int) -> tuple[int | None, ...] | None:
        """Places from `here` on, when `done` layers have theirs and the last is yet to be pooled."""
        if here == len(target):
            return () if done == len(source) and pooling == "none" else None
        layer = target[here]
        options: list[tuple[int | None, Pool, bool]] = []
        if done < len(source):
            # Output layers go together: a last layer elsewhere leaves nothing for those behind it.
            fits = source[done].kind == layer.kind and pooling == "none"
            ends = (done + 1 == len(source)) == (here + 1 == len(target))
            options.append((done, source[done].pool, fits and ends))
        if done > 0:
            carried = source[done - 1]
            same = carried.kind == layer.kind and carried.activation == layer.activation == "relu"
            options.append((None, pooling, same and layer.stride == 1))
        for place, to_pool, possible in options:
            now = done + (place is not None)
            wide_enough = possible and layer.outputs >= source[now - 1].outputs
            if not wide_enough or layer.pool not in ("none", to_pool):
                continue
            after = rest(now, "none" if layer.pool == to_pool else to_pool, here + 1)
            if after is not None:
                return (place, *after)
        return None

    return rest(0, "none", 0)

"""The output layer of a network, and all the rest: what transfer learning replaces, and keeps."""

from torch import nn


def head_name(network: nn.Module) -> str:
    """The name of the output layer: the dense layer that was added last.

    Raises:
        ValueError: a network without dense layers.
    """
    dense: list[str] = [n for n, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    if not dense:
        raise ValueError(f"{type(network).__name__}: has no dense layer that could be its output")
    return dense[-1]


def head_parameters(network: nn.Module) -> list[str]:
    """Names of the output layer's parameters, as `named_parameters` gives them.

    Raises:
        ValueError: a network without dense layers.
    """
    head = network.get_submodule(head_name(network))
    own = {id(parameter) for parameter in head.parameters()}
    return [name for name, parameter in network.named_parameters() if id(parameter) in own]


def body_parameters(network: nn.Module) -> list[str]:
    """Names of all other parameters.

    Raises:
        ValueError: a network without dense layers.
    """
    head = set(head_parameters(network))
    return [name for name, _ in network.named_parameters() if name not in head]

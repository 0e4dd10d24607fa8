"""Weights on disk: safetensors files, written whole or not at all, read strictly.

Nothing is unpickled. A file must hold exactly the tensors of the network that reads it, by name,
shape and type, and every number must be finite.
"""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

import data
import models.initialise
from data.atomic import replacing


class WeightsError(ValueError):
    """Weights that cannot be kept or used; names the file, the key, what is there and expected."""


def to_bytes(state: Mapping[str, Tensor], source: str = "weights") -> bytes:
    """The content of a weights file; equal states give equal bytes.

    Args:
        state: tensors by name, on any device, as `module.state_dict()` gives them.
        source: what errors call the weights.

    Raises:
        WeightsError: a tensor holds NaN or an infinity.
    """
    # Copies, since safetensors refuses tensors that share memory or are not contiguous.
    copies = {
        key: tensor.detach().to("cpu", copy=True).contiguous() for key, tensor in state.items()
    }
    _require_finite(copies, source)
    content: bytes = safetensors.torch.save(copies)
    return content


def save(state: Mapping[str, Tensor], path: Path | str) -> None:
    """Writes weights; afterwards `path` holds all of them, or what it held before.

    Args:
        state: tensors by name, on any device, as `module.state_dict()` gives them.
        path: a file in a folder that exists.

    Raises:
        WeightsError: a tensor holds NaN or an infinity; nothing is written.
        OSError: the file cannot be written.
    """
    content = to_bytes(state, str(path))
    with replacing(Path(path)) as stream:
        stream.write(content)


def load(module: nn.Module, path: Path | str) -> None:
    """Reads a weights file into a network, which is left as it was if the file does not fit.

    Args:
        module: a network with the very names, shapes and types of the file.
        path: a safetensors file.

    Raises:
        WeightsError: the file is not safetensors, does not fit, or holds NaN or an infinity.
        FileNotFoundError: there is no such file.
    """
    load_bytes(module, Path(path).read_bytes(), str(path))


def restore(
    dataset: data.DataSpec, model: str, content: bytes, source: str = "weights"
) -> nn.Module:
    """A trained network of the catalogue, on the CPU.

    Args:
        dataset: what it was trained on, which says the shape of its inputs and outputs.
        model: its name.
        content: what `to_bytes` gave.
        source: what errors call the weights.

    Raises:
        WeightsError: see `load_bytes`.
        ValueError: no such dataset or network.
    """
    outputs = data.get(dataset.name).outputs
    network = models.initialise.build(
        dataset.name, model, dataset.input_shape, outputs, "default", 0
    )
    load_bytes(network, content, source)
    return network


def load_bytes(module: nn.Module, content: bytes, source: str = "weights") -> None:
    """Puts the content of a weights file into a network, which is left as it was if it does not fit.

    Args:
        module: a network with the very names, shapes and types of the content.
        content: what `to_bytes` gave.
        source: what errors call the weights.

    Raises:
        WeightsError: the content is not safetensors, does not fit, or holds NaN or an infinity.
    """
    try:
        state: dict[str, Tensor] = safetensors.torch.load(content)
    except (SafetensorError, KeyError) as error:
        raise WeightsError(f"{source}: not a safetensors file: {error}") from error
    expected = module.state_dict()
    for key, tensor in expected.items():
        if key not in state:
            raise WeightsError(
                f"{source}: key {key!r}: found only {', '.join(sorted(state)) or 'an empty file'}, "
                f"expected {_form(tensor)}"
            )
    for key, tensor in state.items():
        if key not in expected:
            raise WeightsError(
                f"{source}: key {key!r}: found {_form(tensor)}, "
                f"expected only {', '.join(sorted(expected))}"
            )
        if _form(tensor) != _form(expected[key]):
            raise WeightsError(
                f"{source}: key {key!r}: found {_form(tensor)}, expected {_form(expected[key])}"
            )
    _require_finite(state, source)
    module.load_state_dict(state, strict=True)


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _require_finite(state: Mapping[str, Tensor], source: str) -> None:
    for key, tensor in state.items():
        bad = int(tensor.numel() - torch.isfinite(tensor).sum())
        if bad:
            raise WeightsError(
                f"{source}: key {key!r}: found {bad} of {tensor.numel()} numbers NaN or infinite, "
                "expected finite numbers"
            )

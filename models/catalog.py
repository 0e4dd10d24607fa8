"""The catalogue: which network a (dataset, name) pair means.

An entry belongs to one dataset, or, with `dataset=None`, fits any. What an entry builds is part of
a trial's identity through its name and version: whoever changes a network raises the version.
Entries hold functions or `module:function` names and can be sent to a worker with cloudpickle.
"""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import nn

Build: TypeAlias = "Callable[[tuple[int, ...], int], nn.Module] | str"
"""Makes a network from `(input_shape, outputs)`, or says where to find such a function, as
`"module:function"`. The shape is that of one input, without the batch axis."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_LAZY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class UnknownModelError(ValueError):
    """No network of that name for that dataset."""


@dataclass(frozen=True)
class ModelEntry:
    """One network of the catalogue.

    Attributes:
        name: what studies call it: lower-case letters, digits, `_`, `-`; at most 64 characters.
        build: makes the network from `(input_shape, outputs)`, or `"module:function"`, which is
            imported when it is first needed.
        dataset: the dataset it is made for; None fits any.
        version: raised when the network changes; part of the identity of its trials.
    """

    name: str
    build: Build
    dataset: str | None = None
    version: int = 1

    def __post_init__(self) -> None:
        for key, value in (("name", self.name), ("dataset", self.dataset)):
            if key == "dataset" and value is None:
                continue
            if not isinstance(value, str) or not _NAME.fullmatch(value):
                raise ValueError(
                    f"{key} = {value!r}: must be 1 to 64 of a-z, 0-9, '_', '-', "
                    "starting with a letter or digit"
                )
        lazy = isinstance(self.build, str) and _LAZY.fullmatch(self.build)
        if not (lazy or callable(self.build)):
            raise ValueError(f"build = {self.build!r}: must be a function or 'module:function'")
        if isinstance(self.version, bool) or not isinstance(self.version, int) or self.version < 1:
            raise ValueError(f"version = {self.version!r}: must be an integer of 1 or more")

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        """Builds the network.

        Args:
            input_shape: shape of one input, `(channels, height, width)` or `(features,)`.
            outputs: size of the last axis of its output, shape `(batch, outputs)`.

        Raises:
            ImportError: the module of a `module:function` build cannot be imported.
            AttributeError: the module has no such function.
            ValueError: the network cannot take such inputs.
        """
        build = self.build
        if isinstance(build, str):
            module, function = build.split(":")
            build = getattr(importlib.import_module(module), function)
        network: nn.Module = build(input_shape, outputs)
        return network


_entries: dict[tuple[str | None, str], ModelEntry] = {}


def register(entry: ModelEntry, replace: bool = False) -> None:
    """Adds a network to the catalogue of this process.

    Registering an equal entry again changes nothing.

    Args:
        entry: the network.
        replace: take the place of another entry of this dataset and name.

    Raises:
        ValueError: another entry has this dataset and name, and `replace` is false.
    """
    key = (entry.dataset, entry.name)
    known = _entries.get(key)
    if known is not None and known != entry and not replace:
        where = "any dataset" if entry.dataset is None else f"dataset {entry.dataset!r}"
        raise ValueError(
            f"name = {entry.name!r}: another model of this name is registered for {where}; "
            "choose another name, or register with replace=True"
        )
    _entries[key] = entry


def get(dataset: str, name: str) -> ModelEntry:
    """The entry for a dataset: its own one of that name, else one that fits any dataset.

    Raises:
        UnknownModelError: there is neither; names the value and what is allowed.
    """
    entry = _entries.get((dataset, name)) or _entries.get((None, name))
    if entry is None:
        allowed = ", ".join(names(dataset)) or "none yet; add one with models.register"
        raise UnknownModelError(f"model = {name!r}: for dataset {dataset!r} allowed are: {allowed}")
    return entry


def names(dataset: str) -> tuple[str, ...]:
    """The names that `get` knows for a dataset, its own ones first, in order of registration."""
    own = [name for home, name in _entries if home == dataset]
    general = [name for home, name in _entries if home is None]
    return tuple(dict.fromkeys(own + general))


def entries() -> tuple[ModelEntry, ...]:
    """Every entry, in order of registration."""
    return tuple(_entries.values())

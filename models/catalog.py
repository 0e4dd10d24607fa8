"""The catalogue: which network a (dataset, name) pair means.

An entry belongs to one dataset, or, with `dataset=None`, fits any. A family makes entries that fit
any dataset from what follows its prefix in a name, such as the sizes in `mlp-128-64`. What an entry
builds is part of a trial's identity through its name and version: whoever changes a network raises
the version, and a family gives each of its networks one name only.
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


def _check_name(key: str, value: object) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(
            f"{key} = {value!r}: must be 1 to 64 of a-z, 0-9, '_', '-', "
            "starting with a letter or digit"
        )


def _check_version(version: object) -> None:
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"version = {version!r}: must be an integer of 1 or more")


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
            _check_name(key, value)
        lazy = isinstance(self.build, str) and _LAZY.fullmatch(self.build)
        if not (lazy or callable(self.build)):
            raise ValueError(f"build = {self.build!r}: must be a function or 'module:function'")
        _check_version(self.version)

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


@dataclass(frozen=True)
class ModelFamily:
    """Networks that are named by their sizes.

    Attributes:
        prefix: how the names begin; a `-` follows before anything else.
        pattern: the form of the names, for messages and documents, such as `mlp-UNITS[-UNITS...]`.
        description: one line on the networks and on what the name's parts may be.
        build: from what follows the prefix (empty, or with its leading `-`), the `build` of a
            network. It refuses with a ValueError that says why, and every network has one
            spelling.
        version: raised when the networks change; part of the identity of their trials.
    """

    prefix: str
    pattern: str
    description: str
    build: Callable[[str], Build]
    version: int = 1

    def __post_init__(self) -> None:
        _check_name("prefix", self.prefix)
        for key, value in (("pattern", self.pattern), ("description", self.description)):
            if not isinstance(value, str) or not value or "\n" in value:
                raise ValueError(f"{key} = {value!r}: must be one line of text")
        if not callable(self.build):
            raise ValueError(f"build = {self.build!r}: must be a function of the rest of a name")
        _check_version(self.version)

    def claims(self, name: str) -> bool:
        """Whether a name begins as those of the family do."""
        return name == self.prefix or name.startswith(f"{self.prefix}-")

    def has(self, name: str) -> bool:
        """Whether a name is that of a network of the family."""
        try:
            self.entry(name)
        except UnknownModelError:
            return False
        return True

    def entry(self, name: str) -> ModelEntry:
        """The network of a name that the family claims.

        Raises:
            UnknownModelError: no network of the family has this name; says why, and the pattern.
        """
        try:
            return ModelEntry(name, self.build(name[len(self.prefix) :]), version=self.version)
        except ValueError as error:
            raise UnknownModelError(
                f"model = {name!r}: {error}; allowed are {self.pattern} ({self.description})"
            ) from None


_entries: dict[tuple[str | None, str], ModelEntry] = {}
_families: dict[str, ModelFamily] = {}


def register(entry: ModelEntry | ModelFamily, replace: bool = False) -> None:
    """Adds a network, or a family of them, to the catalogue of this process.

    Registering an equal one again changes nothing.

    Args:
        entry: the network, or the family.
        replace: take the place of another entry of this dataset and name, or of another family of
            this prefix, and go before a family that has a network of this name.

    Raises:
        ValueError: another one has this dataset and name, or prefix, or a family has a network of
            this name, and `replace` is false.
    """
    if isinstance(entry, ModelFamily):
        known_family = _families.get(entry.prefix)
        if known_family is not None and known_family != entry and not replace:
            raise ValueError(
                f"prefix = {entry.prefix!r}: another family of this prefix is registered; "
                "choose another prefix, or register with replace=True"
            )
        _families[entry.prefix] = entry
        return
    key = (entry.dataset, entry.name)
    known = _entries.get(key)
    if known is not None and known != entry and not replace:
        where = "any dataset" if entry.dataset is None else f"dataset {entry.dataset!r}"
        raise ValueError(
            f"name = {entry.name!r}: another model of this name is registered for {where}; "
            "choose another name, or register with replace=True"
        )
    family = _family_of(entry.name)
    if known is None and family is not None and family.has(entry.name) and not replace:
        raise ValueError(
            f"name = {entry.name!r}: is a network of the family {family.pattern}; "
            "choose another name, or register with replace=True"
        )
    _entries[key] = entry


def get(dataset: str, name: str) -> ModelEntry:
    """The entry for a dataset: its own one of that name, one that fits any, or one of a family.

    Raises:
        UnknownModelError: there is none; names the value and what is allowed.
    """
    entry = _entries.get((dataset, name)) or _entries.get((None, name))
    if entry is None:
        family = _family_of(name)
        if family is not None:
            return family.entry(name)
        allowed = ", ".join(names(dataset)) or "none yet; add one with models.register"
        patterns = ", ".join(family.pattern for family in _families.values())
        by_size = f"networks named by size ({patterns}) and those of the catalogue"
        raise UnknownModelError(
            f"model = {name!r}: for dataset {dataset!r} allowed are "
            f"{by_size if patterns else 'those of the catalogue'}: {allowed}"
        )
    return entry


def _family_of(name: str) -> ModelFamily | None:
    """The family with the longest prefix that claims a name."""
    claiming = [f for f in _families.values() if isinstance(name, str) and f.claims(name)]
    return max(claiming, key=lambda family: len(family.prefix), default=None)


def names(dataset: str) -> tuple[str, ...]:
    """The names that `get` knows for a dataset, its own ones first, in order of registration."""
    own = [name for home, name in _entries if home == dataset]
    general = [name for home, name in _entries if home is None]
    return tuple(dict.fromkeys(own + general))


def entries() -> tuple[ModelEntry, ...]:
    """Every entry, in order of registration."""
    return tuple(_entries.values())


def families() -> tuple[ModelFamily, ...]:
    """Every family, in order of registration; each has a `pattern` and a `description`."""
    return tuple(_families.values())

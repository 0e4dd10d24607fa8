"""The networks, by name.

Importing this package loads no torch, so that planning works without it: entries know how to
build a network but import torch only when they do. `models.networks`, `models.layers` and
`models.initialise` need torch. A researcher adds networks with one call of `models.register`, which
takes one network or a family of networks that are named by their sizes.
"""

from models.catalog import (
    Build,
    ModelEntry,
    ModelFamily,
    UnknownModelError,
    entries,
    families,
    get,
    names,
    register,
)
from models.home import ENTRIES as _HOME_ENTRIES
from models.sized import FAMILIES as _FAMILIES

_SHIPPED: tuple[ModelEntry | ModelFamily, ...] = (*_HOME_ENTRIES, *_FAMILIES)

for _entry in _SHIPPED:
    register(_entry)


def registered() -> tuple[ModelEntry | ModelFamily, ...]:
    """What did not ship with the package; workers need to be told of it."""
    known: tuple[ModelEntry | ModelFamily, ...] = (*entries(), *families())
    return tuple(entry for entry in known if entry not in _SHIPPED)


__all__ = [
    "Build",
    "ModelEntry",
    "ModelFamily",
    "UnknownModelError",
    "families",
    "get",
    "names",
    "register",
    "registered",
]

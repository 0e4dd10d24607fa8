"""The networks, by name.

Importing this package loads no torch, so that planning works without it: entries know how to
build a network but import torch only when they do. `models.networks`, `models.layers` and
`models.initialise` need torch. A researcher adds networks with one call of `models.register`.
"""

from models.catalog import Build, ModelEntry, UnknownModelError, entries, get, names, register
from models.home import ENTRIES as _HOME_ENTRIES

for _entry in _HOME_ENTRIES:
    register(_entry)


def registered() -> tuple[ModelEntry, ...]:
    """The entries that did not ship with the package; workers need to be told of them."""
    return tuple(entry for entry in entries() if entry not in _HOME_ENTRIES)


__all__ = [
    "Build",
    "ModelEntry",
    "UnknownModelError",
    "get",
    "names",
    "register",
    "registered",
]

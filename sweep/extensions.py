"""A researcher's own datasets and networks, from installed packages.

A package names a function under the entry-point group `sweep.extensions`; it is called once, before
a study is read, and registers what it has with `data.register` and `models.register`.
"""

import functools
import importlib.metadata

from sweep.errors import SweepError

GROUP = "sweep.extensions"


@functools.cache
def load() -> tuple[str, ...]:
    """Calls the registration function of every installed extension, once per process.

    Returns:
        The names of the extensions.

    Raises:
        SweepError: naming the extension that failed, and why.
    """
    names = []
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            entry.load()()
        except Exception as error:
            raise SweepError(f"extension {entry.name!r} ({entry.value}): {error}") from error
        names.append(entry.name)
    return tuple(names)

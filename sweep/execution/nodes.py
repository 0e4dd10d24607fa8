"""What every node of a cluster must have in common with the machine of the run.

A result depends on its trial alone, whichever node it was trained on; so nodes run the same code with
the same libraries, and what they hold of a dataset is the same data. Each node is asked once, by one
task that imports no torch; what differs is refused before the first epoch. Networks are trained on
what the machine of the run has loaded: a node needs no data of its own.
"""

import functools
import hashlib
import importlib.metadata
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import data
from sweep.execution.devices import gpu_names, read_gauges
from sweep.records import code_version
from trials.identity import NUMERICS_VERSION

LIBRARIES = ("torch", "torchvision", "numpy", "scikit-learn")
"""What may change a result. Builds of one version for other devices (`2.9.0+cpu`) may stand beside
each other: their results are of other numerics classes."""


@dataclass(frozen=True)
class Held:
    """What a machine holds of a dataset.

    Attributes:
        file: what tells one file from another without reading it: its size and time; None where the
            dataset is no single file.
        fingerprint: of its content; None where it was not read.
        problem: why it cannot be read.
    """

    file: tuple[int, int] | None = None
    fingerprint: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class NodeFacts:
    """What a machine says of itself.

    Attributes:
        name: of the machine.
        versions: by what they are of.
        datasets: those it holds, of those it was asked about.
        gauged: whether its GPUs say how busy they are.
        gpus: the models of its GPUs, as far as they are known.
    """

    name: str
    versions: Mapping[str, str]
    datasets: Mapping[str, Held] = field(default_factory=dict)
    gauged: bool = False
    gpus: tuple[str, ...] = ()


def facts(
    names: Iterable[str],
    folder: Path | None,
    entries: Iterable[Any] = (),
    known: Mapping[str, Held] | None = None,
) -> NodeFacts:
    """What this machine is.

    Args:
        names: datasets that are needed.
        folder: where they lie.
        entries: datasets that are registered outside this package.
        known: what another machine holds; a file that is not one of these is read.
    """
    for entry in entries:
        if isinstance(entry, data.DatasetEntry):
            data.register(entry, replace=True)
    held = {}
    present = {status.name: status for status in data.describe(folder) if status.present}
    for name in names:
        if name in present and present[name].path is not None:
            file = _mark(present[name].path)
            same = known is None or (name in known and known[name].file == file is not None)
            held[name] = Held(file) if same else _read(name, folder, file)
    gauged = bool(known is not None and read_gauges())
    return NodeFacts(platform.node(), versions(), held, gauged, gpu_names())


def versions() -> dict[str, str]:
    """Of the code and of the libraries on this machine."""
    found = {
        "code version": code_version(),
        "numerics version": str(NUMERICS_VERSION),
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            found[library] = "none"
    return found | {"source of trials, models and data": _source()}


def differences(
    here: NodeFacts, there: NodeFacts, name: str, folder: Path | None = None
) -> list[str]:
    """Why a node cannot be used; empty where it can.

    Args:
        here: the machine of the run.
        there: the node.
        name: of the node, for the messages.
        folder: where the datasets of this machine lie.
    """
    found = [
        f"node {name} has {what} {there.versions.get(what, 'unknown')}, this machine has {version}"
        for what, version in here.versions.items()
        if there.versions.get(what) != version
    ]
    for dataset, held in there.datasets.items():
        if held.problem is not None:
            found.append(f"node {name}: {held.problem}")
        elif held.fingerprint is not None and dataset in here.datasets:
            ours = fingerprint(dataset, folder)
            if held.fingerprint != ours:
                found.append(
                    f"node {name}: its dataset {dataset!r} has fingerprint {held.fingerprint}, that "
                    f"of this machine {ours}"
                )
    return found


def fingerprint(dataset: str, folder: Path | None) -> str | None:
    """Of a dataset of this machine, which is read for it."""
    return data.verify(dataset, folder).fingerprint


def _mark(path: Path | None) -> tuple[int, int] | None:
    if path is None or not path.is_file():
        return None
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def _read(name: str, folder: Path | None, file: tuple[int, int] | None) -> Held:
    try:
        return Held(file, data.verify(name, folder).fingerprint)
    except data.DataError as error:
        return Held(file, problem=str(error))


@functools.cache
def _source() -> str:
    """A digest of the code that trains, which may change without its version."""
    import data as data_package
    import models
    import trials

    digest = hashlib.blake2b(digest_size=6)
    for package in (trials, models, data_package):
        for folder in map(Path, package.__path__):
            for path in sorted(folder.rglob("*.py")):
                digest.update(f"{package.__name__}/{path.relative_to(folder)}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()

"""What nothing in a results directory needs any more, and how much room it takes.

Whatever cannot be judged is kept: where the cells of a study cannot be read, or its definition is one that
this version does not understand, networks and checkpoints may be what it needs.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

import pyarrow as pa
import pyarrow.compute as pc

from sweep import extensions
from sweep.begun import begun_of
from sweep.cells import demand
from sweep.errors import DamagedError
from sweep.expand import expand
from sweep.files import Entry
from sweep.findings import known_to
from sweep.imported import Origin
from sweep.store import Store
from sweep.study import Study


class Kind(StrEnum):
    """Why nothing needs a file."""

    LEFTOVER = "leftover"
    DAMAGED = "damaged"
    CHECKPOINT = "checkpoint"
    WEIGHTS = "weights"
    SNAPSHOT = "snapshot"


MEANING = {
    Kind.LEFTOVER: "unfinished files of writers that were stopped",
    Kind.DAMAGED: "damaged files that were set aside",
    Kind.CHECKPOINT: "states that no training goes on from",
    Kind.WEIGHTS: "weights of trials that no study asks for",
    Kind.SNAPSHOT: "snapshots that no study asks for, or goes on from any more",
}


@dataclass(frozen=True)
class Garbage:
    """A file that nothing needs.

    Attributes:
        kind: why.
        path: where it lies.
        size: bytes.
    """

    kind: Kind
    path: PurePath
    size: int


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        garbage: what may go.
        unclear: why some kinds were not looked at, one line each.
    """

    garbage: tuple[Garbage, ...]
    unclear: tuple[str, ...]


def survey(store: Store) -> Survey:
    """Looks for what nothing needs; while a run is at work, also at what that run is writing."""
    found = [Garbage(Kind.LEFTOVER, *entry) for entry in store.leftovers()]
    leftovers = {item.path for item in found}
    found += [
        Garbage(Kind.DAMAGED, *entry)
        for entry in store.on.entries(store.layout.damaged)
        if entry.path not in leftovers
    ]
    unclear: list[str] = []
    asked = _asked(store, unclear)
    if asked is not None:
        snapshots = store.kept_snapshots()
        left = asked - _gone_on_from(store) if snapshots else asked
        for kind, entries, needed in (
            (Kind.WEIGHTS, store.kept_weights(), asked), (Kind.SNAPSHOT, snapshots, left),
        ):  # fmt: skip
            found += [Garbage(kind, *entry) for key, entry in entries.items() if key not in needed]
        found += [Garbage(Kind.CHECKPOINT, *entry) for entry in _checkpoints(store, unclear)]
    return Survey(tuple(found), tuple(unclear))


def free(store: Store) -> Survey:
    """Removes what nothing needs.

    Returns:
        What was removed.

    Raises:
        StoreError: where a run holds the directory, or it cannot be written.
    """
    before = store.leftovers()
    with store.writing():  # removes leftovers by itself
        found = survey(store)
        for item in found.garbage:
            store.on.remove(item.path)
    gone = tuple(Garbage(Kind.LEFTOVER, *entry) for entry in before)
    return Survey((*gone, *found.garbage), found.unclear)


def _asked(store: Store, unclear: list[str]) -> set[str] | None:
    """The trials that some study asks for; None where that is not known."""
    asked: set[str] = set()
    names = store.studies()
    for name in names:
        try:
            cells = store.read_cells(name)
        except DamagedError as error:
            unclear.append(f"networks and checkpoints are left alone: {error}")
            return None
        if cells is None:
            continue
        asked |= set(cells[0]["trial_id"].to_pylist())
        why = _pending(cells[1], store)
        if why is not None:
            unclear.append(f"networks and checkpoints are left alone: study {name}: {why}")
            return None
    if not names:
        unclear.append("networks and checkpoints are left alone: no study was run here")
        return None
    return asked


def _pending(record: str, store: Store) -> str | None:
    """What a study asks for that cannot be known now, although trials of it may be there; or None.

    A later grid or a search is open again where seeds were added, or where a record of the first grid
    was damaged.
    """
    if Origin.of(record) is not None:
        return None
    extensions.load()
    try:
        study = Study.model_validate(json.loads(record))
        begun = begun_of(study, store)
        if not (study.then or study.search or begun):
            return None
        return next(iter(expand(study, known_to(study, store), begun=begun).waiting), None)
    except DamagedError as error:
        return str(error)
    except ValueError:  # of another version: its cells are what is known
        return None


def _gone_on_from(store: Store) -> set[str]:
    """Rungs of searches that are at their end; their snapshots were for points that went on.

    Those that any study asks to keep are not among them.
    """
    rungs: set[str] = set()
    kept: set[str] = set()
    for name in store.studies():
        cells = store.read_cells(name)
        if cells is None or Origin.of(cells[1]) is not None:
            continue
        try:
            study = Study.model_validate(json.loads(cells[1]))
        except ValueError:  # of another version: it may want to keep them
            kept |= set(cells[0]["trial_id"].to_pylist())
            continue
        keeping = [n for n, one in study.datasets.items() if one.evaluation.keep == "snapshot"]
        of_these = pc.is_in(cells[0]["dataset"], value_set=pa.array(keeping, pa.string()))
        kept |= set(cells[0].filter(of_these)["trial_id"].to_pylist())
        begun = begun_of(study, store)
        if begun is not None:
            courses = expand(study, known_to(study, store), begun=begun).courses.values()
            rungs |= {key for course in courses for key in course.resumed}
    return rungs - kept


def _checkpoints(store: Store, unclear: list[str]) -> Iterator[Entry]:
    """States that no trial which is still to do goes on from."""
    there = [
        e for e in store.on.entries(store.layout.checkpoints) if e.path.suffix == ".safetensors"
    ]
    if not there:
        return
    extensions.load()
    needed: set[str] = set()
    for name in store.studies():
        cells = store.read_cells(name)
        if cells is not None and Origin.of(cells[1]) is not None:
            continue  # imported: nothing of it is trained
        try:
            study = Study.model_validate(json.loads(cells[1]) if cells else {})
            needed |= set(demand(study, store, retry=lambda _: True).kept)
        except ValueError as error:
            line = str(error).splitlines()[0]
            unclear.append(f"checkpoints are left alone: study {name} cannot be read: {line}")
            return
    at = store.checkpoints()
    paths = {path for key, (_, path) in at.items() if key in needed}
    yield from (entry for entry in there if entry.path not in paths)

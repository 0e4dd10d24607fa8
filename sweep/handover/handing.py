"""Hands a study over: everything of it that is new or has changed, one trial after the other."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import HandoverError, StoreError
from sweep.handover.source import handed_runs
from sweep.handover.targets import About, kind_of
from sweep.imported import Origin
from sweep.local_files import LocalFiles
from sweep.results import Results

LOCK = ".sweep-export.lock"
TELL_EVERY = 100


@dataclass(frozen=True)
class Handed:
    """How it went.

    Attributes:
        added: trials that were not there.
        changed: trials of which something else was there, or only a part.
        unchanged: trials that were there as they are.
        without_result: trials of the study that have not ended yet, or were never begun.
        dest: the folder.
    """

    added: int
    changed: int
    unchanged: int
    without_result: int
    dest: str


def hand_over(
    results: Results,
    study: str,
    to: str,
    dest: Path,
    tell: Callable[[int], None] = lambda _: None,
) -> Handed:
    """Writes the trials of a study into a folder, for another tool to read.

    Args:
        results: where they lie.
        study: its name.
        to: a key of `sweep.handover.targets.KINDS`.
        dest: the folder; made if it is not there, added to if it is.
        tell: told now and then how many trials were seen.

    Raises:
        HandoverError: for another kind of target, one that is not installed, or a folder that
            cannot be one.
        StoreError: where the study was never run there, or something else writes into the folder.
    """
    kind = kind_of(to)
    trials = len(set(results.asked_cells(study)["trial_id"].to_pylist()))
    folder = checked(results, dest)
    counts = {"added": 0, "changed": 0, "unchanged": 0}
    with (
        LocalFiles().lock(folder / LOCK),
        closing(kind.open(folder, _about(results, study))) as target,
    ):
        for number, run in enumerate(handed_runs(results, study), start=1):
            there = target.digest_of(run.trial_id)
            if there == run.digest:
                counts["unchanged"] += 1
            else:
                target.put(run)
                counts["added" if there is None else "changed"] += 1
            if number % TELL_EVERY == 0:
                tell(number)
    return Handed(**counts, without_result=trials - sum(counts.values()), dest=str(folder))


def _about(results: Results, study: str) -> About:
    text = results.study_text(study)
    origin = Origin.of(text)
    if origin is not None:
        return About(study, origin.title, str(origin))
    described = json.loads(text)
    return About(study, described.get("title") or "", described.get("question") or "")


def checked(results: Results, dest: Path) -> Path:
    """A folder to write into, made if it is not there.

    Raises:
        HandoverError: where it cannot be one, or is one of those the results lie in.
    """
    try:
        folder = dest.expanduser().resolve()
        if _holds_results(folder, results):
            raise HandoverError(
                f"{str(dest)!r} belongs to the results in {results.store}: give a folder of its own"
            )
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise HandoverError(f"{str(dest)!r} is a file: give a folder") from None
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, HandoverError):
            raise
        raise StoreError(f"cannot write to {str(dest)!r}: {error}") from error
    return folder


def _holds_results(folder: Path, results: Results) -> bool:
    layout = results.store.layout
    if not isinstance(layout.root, Path):
        return False  # they lie in an object store
    root = layout.root.resolve()
    own = [Path(place).resolve() for place in layout.folders if place != layout.root]
    return folder == root or any(place in (folder, *folder.parents) for place in own)

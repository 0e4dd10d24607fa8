"""Every path and file name of a results directory."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple

_SAFE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Checkpoint(NamedTuple):
    """What the name of a checkpoint says.

    Attributes:
        key: of the state: the id of a training up to there.
        epochs: done.
        digest: SHA-256 of the content.
    """

    key: str
    epochs: int
    digest: str


@dataclass(frozen=True)
class Layout:
    """Where everything lies below a results directory."""

    root: PurePath

    @property
    def incoming(self) -> PurePath:
        """Fresh records, small files."""
        return self.root / "incoming"

    @property
    def trials(self) -> PurePath:
        """Folded records; what other tools read."""
        return self.root / "trials"

    @property
    def attempts(self) -> PurePath:
        """One row per execution of a trial."""
        return self.root / "attempts"

    @property
    def evaluations(self) -> PurePath:
        """Evaluations made after the training."""
        return self.root / "evaluations"

    @property
    def attributions(self) -> PurePath:
        """Where networks look, found after the training."""
        return self.root / "attributions"

    @property
    def runs(self) -> PurePath:
        """One row per run."""
        return self.root / "runs"

    @property
    def checkpoints(self) -> PurePath:
        """States in the middle of a training, from which a stopped run goes on."""
        return self.root / "checkpoints"

    def checkpoint(self, key: str, epochs: int, digest: str) -> PurePath:
        """A state in the middle of a training; see `Checkpoint`."""
        return self.checkpoints / f"{_checked(key)}-{epochs}-{digest}.safetensors"

    @staticmethod
    def of_checkpoint(path: PurePath) -> Checkpoint | None:
        """What the name of a checkpoint says; None where it is the name of something else."""
        key, epochs, digest = (*path.stem.split("-"), "", "", "")[:3]
        if path.suffix != ".safetensors" or not epochs.isdecimal():
            return None
        return Checkpoint(key, int(epochs), digest)

    @property
    def damaged(self) -> PurePath:
        """Files whose content is not what their name says."""
        return self.root / "damaged"

    def set_aside(self, path: PurePath) -> PurePath:
        """Where a damaged file is moved to; the name says where it lay."""
        return self.damaged / f"{path.parent.name}-{path.name}"

    @property
    def folders(self) -> tuple[PurePath, ...]:
        """Every folder in which files are written, and the whole."""
        named = (self.cells, *(place("x").parent for place in (self.weights, self.snapshot)))
        return (
            self.root, self.incoming, self.trials, self.attempts, self.evaluations,
            self.attributions, self.runs, self.checkpoints, self.damaged, *named, self.report("x").parent,
            self.search("x").parent,
        )  # fmt: skip

    @property
    def lock(self) -> PurePath:
        """Held by the one run that writes; names it."""
        return self.root / ".lock"

    @property
    def live(self) -> PurePath:
        """What the active run is doing, for `sweep status`."""
        return self.root / ".live.json"

    @property
    def server(self) -> PurePath:
        """What `sweep serve` keeps: studies that were sent to it, and what it has started."""
        return self.root / ".server"

    @property
    def cells(self) -> PurePath:
        """The cells of all studies."""
        return self.root / "studies"

    def study(self, name: str) -> PurePath:
        """The cells of a study."""
        return self.cells / f"{_checked(name)}.parquet"

    def studies(self, paths: Iterable[PurePath]) -> list[str]:
        """Names of the studies whose cells are among some files."""
        found = (path.stem for path in paths if path.suffix == ".parquet")
        return sorted(name for name in found if _SAFE.fullmatch(name))

    def weights(self, trial_id: str) -> PurePath:
        """The trained weights of a trial."""
        return self.root / "weights" / f"{_checked(trial_id)}.safetensors"

    def snapshot(self, trial_id: str) -> PurePath:
        """The snapshot a trial can be continued from."""
        return self.root / "snapshots" / f"{_checked(trial_id)}.safetensors"

    def search(self, name: str) -> PurePath:
        """What was known when the search of a study began."""
        return self.root / "searches" / f"{_checked(name)}.json"

    def search_table(self, name: str) -> PurePath:
        """The points of the search of a study, for readers."""
        return self.root / "searches" / f"{_checked(name)}.parquet"

    def report(self, name: str) -> PurePath:
        """The report of a study."""
        return self.root / "reports" / f"{_checked(name)}.html"


def is_study_name(name: str) -> bool:
    """Whether results can be kept under a name."""
    return _SAFE.fullmatch(name) is not None


def _checked(name: str) -> str:
    if not _SAFE.fullmatch(name):
        raise ValueError(f"{name!r} cannot be part of a file name: must match {_SAFE.pattern}")
    return name

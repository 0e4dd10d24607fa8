"""Every path and file name of a results directory."""

import re
from dataclasses import dataclass
from pathlib import Path

_SAFE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Layout:
    """Where everything lies below a results directory."""

    root: Path

    @property
    def incoming(self) -> Path:
        """Fresh records, small files."""
        return self.root / "incoming"

    @property
    def trials(self) -> Path:
        """Folded records; what other tools read."""
        return self.root / "trials"

    @property
    def attempts(self) -> Path:
        """One row per execution of a trial."""
        return self.root / "attempts"

    @property
    def evaluations(self) -> Path:
        """Evaluations made after the training."""
        return self.root / "evaluations"

    @property
    def runs(self) -> Path:
        """One row per run."""
        return self.root / "runs"

    @property
    def checkpoints(self) -> Path:
        """States in the middle of a training, from which a stopped run goes on."""
        return self.root / "checkpoints"

    @property
    def damaged(self) -> Path:
        """Files whose content is not what their name says."""
        return self.root / "damaged"

    @property
    def lock(self) -> Path:
        """Held by the one run that writes; names it."""
        return self.root / ".lock"

    @property
    def live(self) -> Path:
        """What the active run is doing, for `sweep status`."""
        return self.root / ".live.json"

    def study(self, name: str) -> Path:
        """The cells of a study."""
        return self.root / "studies" / f"{_checked(name)}.parquet"

    def studies(self) -> list[str]:
        """Names of the studies whose cells are there."""
        found = (path.stem for path in (self.root / "studies").glob("*.parquet"))
        return sorted(name for name in found if _SAFE.fullmatch(name))

    def weights(self, trial_id: str) -> Path:
        """The trained weights of a trial."""
        return self.root / "weights" / f"{_checked(trial_id)}.safetensors"

    def snapshot(self, trial_id: str) -> Path:
        """The snapshot a trial can be continued from."""
        return self.root / "snapshots" / f"{_checked(trial_id)}.safetensors"

    def report(self, name: str) -> Path:
        """The report of a study."""
        return self.root / "reports" / f"{_checked(name)}.html"


def _checked(name: str) -> str:
    if not _SAFE.fullmatch(name):
        raise ValueError(f"{name!r} cannot be part of a file name: must match {_SAFE.pattern}")
    return name

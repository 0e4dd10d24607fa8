"""What results can be handed over to, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from sweep.errors import HandoverError
from sweep.handover.handed import HandedRun


@dataclass(frozen=True)
class About:
    """The study that is handed over.

    Attributes:
        name: of it.
        title: one line; may be empty.
        question: that it asks; may be empty.
    """

    name: str
    title: str = ""
    question: str = ""


class Target(Protocol):
    """Where the trials of one study are written. Used from one thread; held by one at a time."""

    def digest_of(self, trial_id: str) -> str | None:
        """`HandedRun.digest` of what is there of a trial; None where that is not whole."""
        ...

    def put(self, run: HandedRun) -> None:
        """Writes a trial, in place of what is there of it."""
        ...

    def close(self) -> None:
        """Finishes what concerns all trials."""
        ...


@dataclass(frozen=True)
class Kind:
    """A kind of target.

    Attributes:
        package: that it needs, as it is imported.
        extra: of this package, that installs it.
        open: makes one in a folder.
        look: a command that shows what is there, or sends it on, with `{dest}` and `{study}`.
    """

    package: str
    extra: str
    open: Callable[[Path, About], Target]
    look: str


def _mlflow(folder: Path, about: About) -> Target:
    from sweep.handover.mlflow_store import MlflowStore

    return MlflowStore(folder, about)


def _wandb(folder: Path, about: About) -> Target:
    from sweep.handover.wandb_offline import WandbOffline

    return WandbOffline(folder, about)


def _tensorboard(folder: Path, about: About) -> Target:
    from sweep.handover.tensorboard_events import TensorboardEvents

    return TensorboardEvents(folder, about)


KINDS: Mapping[str, Kind] = {
    "mlflow": Kind(
        "mlflow", "mlflow", _mlflow, "mlflow ui --backend-store-uri sqlite:///{dest}/mlflow.db"
    ),
    "wandb-offline": Kind("wandb", "wandb", _wandb, "wandb sync {dest}/{study}/wandb"),
    "tensorboard": Kind("tensorboard", "tensorboard", _tensorboard, "tensorboard --logdir {dest}"),
}


def kind_of(name: str) -> Kind:
    """A kind of target by its name.

    Raises:
        HandoverError: for another name, or where what it needs is not installed.
    """
    kind = KINDS.get(name)
    if kind is None:
        raise HandoverError(f"--to {name!r}: must be one of {', '.join(KINDS)}")
    if find_spec(kind.package) is None:
        raise HandoverError(
            f"--to {name} needs {kind.package}, which is not installed: "
            f"pip install 'distillation-sweep[{kind.extra}]'"
        )
    return kind

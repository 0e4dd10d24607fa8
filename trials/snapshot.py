"""Everything needed to go on from an epoch boundary.

Weights, optimizer state, what the learning-rate schedule and the early-stop rule remember, and the
record so far. There is no random state in it: randomness is a function of the epoch
(`trials.streams`). As bytes it is a safetensors file, which holds tensors and text and cannot run
code.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from trials import snapshot_header
from trials.early_stop import StopState
from trials.learning_rate import PlateauState


class SnapshotError(ValueError):
    """Bytes that are not a snapshot of ours."""


@dataclass(frozen=True)
class Progress:
    """What has been measured while training, from epoch 0 on.

    Attributes:
        steps: optimizer steps done.
        train_loss: recorded training losses.
        train_loss_step: for each of them, the number of steps done when it was recorded.
        curve: optional evaluations `{"epoch", "split", "metric", "loss"}` on the way.
        wall_s: seconds of training, evaluation excluded.
        diverged_epoch: the epoch in which the loss stopped being finite.
        numerics: the numerics classes it was trained in, in their order: one, unless a training was
            gone on with on another machine or with another engine.
    """

    steps: int = 0
    train_loss: tuple[float, ...] = ()
    train_loss_step: tuple[int, ...] = ()
    curve: tuple[dict[str, float | int | str], ...] = ()
    wall_s: float = 0.0
    diverged_epoch: int | None = None
    numerics: tuple[str, ...] = ()

    def trained_in(self, numerics: str) -> "Progress":
        """The same after training in a numerics class."""
        if numerics in self.numerics[-1:]:
            return self
        return dataclasses.replace(self, numerics=(*self.numerics, numerics))


@dataclass(frozen=True)
class Snapshot:
    """The state of a training after `epoch` epochs.

    Attributes:
        epoch: epochs done.
        model: the network's state, on the CPU.
        optimizer: tensors by `parameter index` and `name of the state`, on the CPU.
        progress: what has been measured so far.
        plateau: what reduce-on-plateau remembers.
        early_stop: what the early-stop rule remembers.
        best: the network's state after its best epoch, on the CPU, where the recipe restores it;
            otherwise empty.
    """

    epoch: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    progress: Progress = field(default_factory=Progress)
    plateau: PlateauState = field(default_factory=PlateauState)
    early_stop: StopState = field(default_factory=StopState)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def result(self) -> dict[str, Tensor]:
        """The state of the network that the training gives if it ends here."""
        return self.best or self.model

    def to_bytes(self) -> bytes:
        """The snapshot as the content of a safetensors file."""
        groups = {"model": self.model, "optimizer": self.optimizer, "best": self.best}
        tensors = {
            f"{group}/{name}": tensor.contiguous()
            for group, state in groups.items()
            for name, tensor in state.items()
        }
        header = {
            "epoch": self.epoch,
            "progress": dataclasses.asdict(self.progress),
            "plateau": dataclasses.asdict(self.plateau),
            "early_stop": dataclasses.asdict(self.early_stop),
        }
        return safetensors.torch.save(tensors, metadata={snapshot_header.KEY: json.dumps(header)})

    @classmethod
    def from_bytes(cls, content: bytes) -> "Snapshot":
        """Reads what `to_bytes` wrote.

        Raises:
            SnapshotError: where the bytes are damaged or something else.
        """
        try:
            tensors = safetensors.torch.load(content)
            header = snapshot_header.said_by(content)
            epoch, progress = header["epoch"], _progress(header["progress"])
            if type(epoch) is not int or epoch < 0:
                raise ValueError(f"epoch = {epoch!r}")
            # Snapshots of earlier versions have no schedules in them.
            plateau = PlateauState(**header.get("plateau", {}))
            early_stop = StopState(**header.get("early_stop", {}))
            model, optimizer = _under("model/", tensors), _under("optimizer/", tensors)
            best = _under("best/", tensors)
            if len(model) + len(optimizer) + len(best) < len(tensors):
                raise ValueError(f"tensors of something else among {', '.join(sorted(tensors))}")
        except (
            safetensors.SafetensorError, KeyError, ValueError, TypeError, AttributeError
        ) as error:  # fmt: skip
            raise SnapshotError(f"not a snapshot: {error!r}") from error
        return cls(epoch, model, optimizer, progress, plateau, early_stop, best)


def _progress(fields: dict[str, Any]) -> Progress:
    """JSON knows no tuples."""
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
    }
    return Progress(**values)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}

"""One training under way: where it starts, what it remembers between epochs, what it leaves.

Whoever does the steps, alone or side by side with others, tells it what came of each epoch.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

import models.initialise
from data.catalog import Task
from data.load import LoadedData
from models import growth, pretrained
from trials import early_stop, learning_rate, metrics
from trials.early_stop import StopState
from trials.evaluate import outputs
from trials.learning_rate import PlateauState
from trials.masked import masked
from trials.snapshot import Progress, Snapshot
from trials.spec import Monitor, Objective, TrialSpec
from trials.streams import stream_key

BLOCK_ROWS = 4128
"""Rows of a block of a full batch; its gradient is the sum of theirs, in their order."""

Observer = Callable[[int, nn.Module], dict[str, float | int | str]]
"""Called after an epoch with the number of epochs done; its answer is kept in the curve."""


@dataclass(frozen=True)
class Trained:
    """A network after its training, with the snapshot it can go on from.

    Where the recipe restores the best epoch, the network is that of the best epoch, and the
    snapshot that of the last.
    """

    model: nn.Module
    snapshot: Snapshot


@dataclass(frozen=True)
class Points:
    """What was measured in an epoch.

    Attributes:
        recorded: points of the training-loss curve.
        recorded_step: for each of them, the steps of the epoch done by then.
        steps: optimizer steps.
        finite: whether every loss was.
        figures: the mean training loss, and the figures of the validation split if it is watched.
    """

    recorded: list[float]
    recorded_step: list[int]
    steps: int
    finite: bool
    figures: dict[Monitor, float]


def build_model(
    spec: TrialSpec,
    loaded: LoadedData,
    networks: Mapping[str, nn.Module] | None = None,
    *,
    begins: bool = True,
) -> nn.Module:
    """The network of a trial before its first step, on the CPU.

    Args:
        spec: the trial.
        loaded: its data, which says the shape of inputs and outputs.
        networks: the networks that rules chose, by key; the one that it begins with among them.
        begins: False for a network whose weights a snapshot will replace.

    Raises:
        ValueError: where what it begins with does not fit.
    """
    model = models.initialise.build(
        spec.data.name,
        spec.recipe.model,
        loaded.input_shape,
        loaded.outputs,
        spec.recipe.init,
        stream_key(spec.seed, "init"),
    )
    if spec.start is None or not begins:
        return model
    if spec.start.source is not None:
        source = (networks or {})[spec.start.source.key].to("cpu")
        key = stream_key(spec.seed, "growth")
        growth.grow(source, model, spec.start.growth, key, head=spec.start.head)
    else:
        entry, location = models.get(spec.data.name, spec.recipe.model), str(spec.start.location)
        found = pretrained.identity(entry, location)
        if found != spec.start.pretrained:  # a file may have been replaced since it was planned
            raise pretrained.PretrainedError(
                f"pretrained = {location!r}: has other weights ({found}) than were asked for "
                f"({spec.start.pretrained}); put those back, or start the run again"
            )
        pretrained.load(model, entry, location, head="new")
    return model


def validation_figures(model: nn.Module, loaded: LoadedData) -> Tensor:
    """Metric and loss on the validation split, shape `(2,)`, not read back from the device.

    Raises:
        ValueError: where there is none.
    """
    watched = loaded.split("validation")
    said = outputs(masked(model, loaded.class_mask), watched, loaded.inputs)
    return metrics.headline(loaded.task, said, watched.y)


class Course:
    """The record of a training, and what decides how it goes on.

    Attributes:
        spec: the trial, or the stage, whose schedule ends where this training ends.
        epoch: epochs done.
        paused: whether it has gone on for as long as it was to.
    """

    def __init__(
        self,
        spec: TrialSpec,
        task: Task,
        start: Snapshot | None = None,
        *,
        observe_every: int = 0,
        observer: Observer | None = None,
        pause_after_s: float | None = None,
    ) -> None:
        """Starts, or goes on from a snapshot; see `trials.train.train`.

        Raises:
            ValueError: where the snapshot lies past the end of the schedule.
        """
        if start is not None and start.epoch > spec.epochs:
            raise ValueError(f"snapshot of epoch {start.epoch} is past the end, {spec.epochs}")
        self.spec = spec
        self.epoch = 0 if start is None else start.epoch
        self.paused = False
        self._task = task
        self._observe_every, self._observer = observe_every, observer
        self._pause_after_s = pause_after_s
        self._objectives = [s.objective for s in spec.schedule for _ in range(s.epochs)]
        progress = Progress() if start is None else start.progress
        self._losses, self._loss_steps = list(progress.train_loss), list(progress.train_loss_step)
        self._curve = list(progress.curve)
        self._steps, self._wall_s = progress.steps, progress.wall_s
        self._diverged_epoch, self._numerics = progress.diverged_epoch, progress.numerics
        self._plateau = PlateauState() if start is None else start.plateau
        self._stop = StopState() if start is None else start.early_stop
        self._best = {} if start is None else start.best
        self._entered = time.perf_counter()

    @property
    def goes_on(self) -> bool:
        """Whether there is another epoch to train now."""
        ended = self._diverged_epoch is not None or self._stop.stopped_epoch is not None
        return self.epoch < self.spec.epochs and not ended and not self.paused

    @property
    def objective(self) -> Objective:
        """Of the next epoch."""
        return self._objectives[self.epoch]

    @property
    def learning_rate(self) -> float:
        """Of all steps of the next epoch."""
        return learning_rate.at_epoch(self.spec.recipe, self.epoch, self._plateau)

    def end_epoch(self, points: Points, wall_s: float, model: Callable[[], nn.Module]) -> None:
        """Takes in an epoch.

        Args:
            points: what was measured.
            wall_s: seconds it took.
            model: the network as it is now, in training mode.
        """
        recipe = self.spec.recipe
        self._losses += points.recorded
        self._loss_steps += [self._steps + within for within in points.recorded_step]
        self._steps += points.steps
        self.epoch += 1
        self._wall_s += wall_s
        if not points.finite:
            self._diverged_epoch = self.epoch - 1
            return
        if recipe.watches_validation:
            metric, loss = (points.figures[f] for f in ("validation_metric", "validation_loss"))
            self._curve.append(
                {"epoch": self.epoch, "split": "validation", "metric": metric, "loss": loss}
            )
        elif self._observer and self._observe_every and self.epoch % self._observe_every == 0:
            observed = model()
            self._curve.append(self._observer(self.epoch, observed))
            observed.train()
        self._watch(points.figures)
        if recipe.early_stop.restore_best and self._stop.best_epoch == self.epoch:
            self._best = {k: t.detach().clone() for k, t in model().state_dict().items()}
        if self._pause_after_s is not None:
            self.paused = time.perf_counter() - self._entered >= self._pause_after_s

    def _watch(self, figures: Mapping[Monitor, float]) -> None:
        """What the schedule and the rule that watch a figure remember of this epoch."""
        recipe = self.spec.recipe
        for watcher, monitor in recipe.monitors.items():
            higher = monitor == "validation_metric" and metrics.higher_is_better(self._task)
            figure = figures[monitor]
            if watcher == "lr_schedule":
                self._plateau = learning_rate.after_epoch(recipe, self._plateau, figure, higher)
            else:
                rule = recipe.early_stop
                self._stop = early_stop.after_epoch(rule, self._stop, self.epoch, figure, higher)

    def leave(self, model: nn.Module, optimizer: dict[str, Tensor]) -> Trained:
        """What the training leaves where it is now.

        Args:
            model: the network after the last epoch; where another was best it becomes that.
            optimizer: its state, on the CPU.
        """
        progress = Progress(
            self._steps, tuple(self._losses), tuple(self._loss_steps), tuple(self._curve),
            self._wall_s, self._diverged_epoch, self._numerics,
        )  # fmt: skip
        snapshot = Snapshot(
            self.epoch, _on_cpu(model.state_dict()), optimizer, progress, self._plateau, self._stop,
            _on_cpu(self._best),
        )  # fmt: skip
        if self._best:
            model.load_state_dict(self._best)
        return Trained(model, snapshot)


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: t.detach().to("cpu", copy=True) for k, t in state.items()}

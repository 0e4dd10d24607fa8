"""The one training loop: minibatch or full batch, any schedule, from any epoch boundary.

A step splits its batch into row blocks that stay in the processor's cache and adds up their
gradients, so a full batch of 16,512 rows is trained as fast as its arithmetic allows; blocks have
a fixed size, which is part of the numerics. Losses, and the validation figures that a recipe
watches, are collected on the device and read once an epoch.
"""

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import models.initialise
from data.catalog import Task
from data.load import LoadedData
from models.layers import DropoutStream, attach_streams
from trials import early_stop, learning_rate, metrics
from trials.early_stop import StopState
from trials.engine import Engine, engine_for
from trials.evaluate import outputs as outputs_of
from trials.graph import GraphedStep, Step
from trials.learning_rate import PlateauState
from trials.losses import objective_loss
from trials.optimizers import Optimizer, build_optimizer
from trials.snapshot import Progress, Snapshot
from trials.spec import Monitor, Objective, Precision, Recipe, TrialSpec
from trials.streams import stream_key

BLOCK_ROWS = 4128
"""Rows of a block of a full batch; the gradient is their sum in this order."""

LOSS_WINDOW = 100
"""Minibatches whose mean is one point of the training-loss curve, as the home study records it."""

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


def build_model(spec: TrialSpec, loaded: LoadedData) -> nn.Module:
    """The network of a trial before its first step, on the CPU."""
    return models.initialise.build(
        spec.data.name,
        spec.recipe.model,
        loaded.input_shape,
        loaded.outputs,
        spec.recipe.init,
        stream_key(spec.seed, "init"),
    )


def steps_per_epoch(recipe: Recipe, rows: int) -> int:
    """Optimizer steps of one epoch; the last minibatch may be smaller than the others."""
    return 1 if recipe.batch_size is None else -(-rows // recipe.batch_size)


def train(
    spec: TrialSpec,
    loaded: LoadedData,
    teachers: Mapping[str, Tensor],
    *,
    start: Snapshot | None = None,
    device: torch.device | None = None,
    observe_every: int = 0,
    observer: Observer | None = None,
    pause_after_s: float | None = None,
    engine: Engine | None = None,
) -> Trained:
    """Trains from a snapshot (or from the beginning) to the end of the schedule, or an early stop.

    Args:
        spec: the trial, or the stage, whose schedule ends where this training ends.
        loaded: the trial's data; moved to the device if it is elsewhere.
        teachers: for each teacher rule's key, [training rows, k] outputs for the training rows.
        start: where to go on from; None starts at epoch 0.
        device: where to train; the CPU by default.
        observe_every: epochs between calls of the observer; 0 never calls it.
        observer: see `Observer`. A training that watches the validation split does not call it: it
            keeps the figures of every epoch in the curve.
        pause_after_s: seconds after which it ends at the next epoch boundary, before the end of
            the schedule; None for no limit. What goes on from its snapshot is the same training.
        engine: how steps are executed; None takes that of the device.

    Returns:
        The network and the snapshot at the end. Where the loss stopped being finite the training
        ends with that epoch, and `snapshot.progress.diverged_epoch` names it; where the early-stop
        rule ended it, `snapshot.early_stop.stopped_epoch` says when.

    Raises:
        ValueError: where the snapshot lies past the end of the schedule, or the recipe watches a
            validation split that the data does not have.
    """
    device = device or torch.device("cpu")
    loaded = loaded.to(device)
    model = build_model(spec, loaded).to(device)
    optimizer = build_optimizer(spec.recipe, model)
    stream = DropoutStream()
    attach_streams(model, stream)
    epoch = 0
    progress, plateau, stop, best = Progress(), PlateauState(), StopState(), {}
    if start is not None:
        if start.epoch > spec.epochs:
            raise ValueError(f"snapshot of epoch {start.epoch} is past the end, {spec.epochs}")
        model.load_state_dict(start.model)
        optimizer.load(start.optimizer)
        epoch, progress = start.epoch, start.progress
        plateau, stop, best = start.plateau, start.early_stop, start.best
    model.train()

    objectives = [s.objective for s in spec.schedule for _ in range(s.epochs)]
    losses, loss_steps = list(progress.train_loss), list(progress.train_loss_step)
    curve = list(progress.curve)
    steps, wall_s, diverged = progress.steps, progress.wall_s, progress.diverged_epoch
    recipe = spec.recipe
    blocked = recipe.batch_size is None and not _has_batch_statistics(model)
    window = min(LOSS_WINDOW, steps_per_epoch(recipe, len(loaded.train.y)))
    on_cpu = device.type == "cpu"
    rng_devices = [] if on_cpu else [device]
    # `torch.manual_seed` is for all devices; where none is in use that takes long, 0.1 ms.
    seed_generators = torch.default_generator.manual_seed if on_cpu else torch.manual_seed
    steps_of = _Steps(model, optimizer, loaded, recipe, blocked, engine or engine_for(device.type))
    entered = time.perf_counter()
    while epoch < spec.epochs and diverged is None and stop.stopped_epoch is None:
        began = time.perf_counter()
        objective = objectives[epoch]
        optimizer.learning_rate = learning_rate.at_epoch(recipe, epoch, plateau)
        stream.reseed(stream_key(spec.seed, "dropout", epoch))
        targets = [teachers[rule.key] for rule in objective.rules]
        with torch.random.fork_rng(devices=rng_devices):
            seed_generators(stream_key(spec.seed, "torch", epoch))
            points = _epoch(
                steps_of.under(objective, targets),
                model,
                loaded,
                batches=_batches(spec, epoch, len(loaded.train.y), device),
                window=window,
                validate=recipe.watches_validation,
            )
        losses += points.recorded
        loss_steps += [steps + within for within in points.recorded_step]
        steps += points.steps
        epoch += 1
        wall_s += time.perf_counter() - began
        if not points.finite:
            diverged = epoch - 1
            break
        if recipe.watches_validation:
            metric, loss = (points.figures[f] for f in ("validation_metric", "validation_loss"))
            curve.append({"epoch": epoch, "split": "validation", "metric": metric, "loss": loss})
        elif observer is not None and observe_every and epoch % observe_every == 0:
            curve.append(observer(epoch, model))
            model.train()
        plateau, stop = _watch(recipe, loaded.task, epoch, points.figures, plateau, stop)
        if recipe.early_stop.restore_best and stop.best_epoch == epoch:
            best = {k: t.detach().clone() for k, t in model.state_dict().items()}
        if pause_after_s is not None and time.perf_counter() - entered >= pause_after_s:
            break
    progress = Progress(
        steps, tuple(losses), tuple(loss_steps), tuple(curve), wall_s, diverged
    )  # fmt: skip
    snapshot = Snapshot(
        epoch, _on_cpu(model.state_dict()), optimizer.tensors(), progress, plateau, stop,
        _on_cpu(best),
    )  # fmt: skip
    if best:
        model.load_state_dict(best)
    return Trained(model, snapshot)


def _watch(
    recipe: Recipe,
    task: Task,
    epoch: int,
    figures: Mapping[Monitor, float],
    plateau: PlateauState,
    stop: StopState,
) -> tuple[PlateauState, StopState]:
    """What the schedule and the rule that watch a figure remember, `epoch` epochs being done."""
    for watcher, monitor in recipe.monitors.items():
        higher = monitor == "validation_metric" and metrics.higher_is_better(task)
        if watcher == "lr_schedule":
            plateau = learning_rate.after_epoch(recipe, plateau, figures[monitor], higher)
        else:
            rule = recipe.early_stop
            stop = early_stop.after_epoch(rule, stop, epoch, figures[monitor], higher)
    return plateau, stop


class _Steps:
    """The training step of a network under the objective and the learning rate of an epoch."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        loaded: LoadedData,
        recipe: Recipe,
        blocked: bool,
        engine: Engine,
    ) -> None:
        self._model, self._optimizer, self._loaded = model, optimizer, loaded
        self._recipe, self._blocked, self._engine = recipe, blocked, engine
        self._captured: tuple[tuple[str, float], Step] | None = None
        if engine == "graph":
            optimizer.prepare()

    def under(self, objective: Objective, teachers: Sequence[Tensor]) -> Step:
        """The step of an objective, with the outputs of its teachers."""
        step = functools.partial(self._step, objective, teachers)
        if self._engine == "eager":
            return step
        key = (objective.key, self._optimizer.learning_rate)
        if self._captured is None or self._captured[0] != key:
            device = self._loaded.train.y.device
            self._captured = key, GraphedStep(step, self._state, device)
        return self._captured[1]

    def _state(self) -> list[Tensor]:
        return [
            *self._model.parameters(), *self._model.buffers(), *self._optimizer.own_tensors()
        ]  # fmt: skip

    def _step(
        self, objective: Objective, teachers: Sequence[Tensor], rows: Tensor | None
    ) -> Tensor:
        x, y = self._loaded.train.x, self._loaded.train.y
        if rows is not None:
            x, y, teachers = x[rows], y[rows], [outputs[rows] for outputs in teachers]
        size = len(y)
        block = BLOCK_ROWS if self._blocked else size
        self._optimizer.zero_grad()
        loss = torch.zeros((), device=y.device)
        for first in range(0, size, block):
            part = slice(first, first + block)
            with _computing_in(self._recipe.precision, y.device):
                outputs = self._model(self._loaded.inputs(x[part])).float()
            each = objective_loss(
                objective, self._loaded.task, outputs, y[part], [t[part] for t in teachers]
            )
            share = each.sum() / size
            share.backward()  # type: ignore[no-untyped-call]
            loss = loss + share.detach()
        self._optimizer.step()
        return loss


@dataclass(frozen=True)
class _Points:
    recorded: list[float]
    recorded_step: list[int]
    steps: int
    finite: bool
    figures: dict[Monitor, float]


def _epoch(
    step: Step,
    model: nn.Module,
    loaded: LoadedData,
    *,
    batches: Iterator[Tensor | None],
    window: int,
    validate: bool,
) -> _Points:
    watched = loaded.split("validation") if validate else None
    means: list[Tensor] = []
    inside = total = torch.zeros((), device=loaded.train.y.device)
    steps = 0
    for rows in batches:
        loss = step(rows)
        steps += 1
        inside = inside + loss
        total = total + loss
        if steps % window == 0:
            means.append(inside / window)
            inside = torch.zeros_like(total)
    read = torch.stack([*means, total]).double()
    if watched is not None:
        said = outputs_of(model, watched, loaded.inputs)
        read = torch.cat([metrics.headline(loaded.task, said, watched.y), read])
    values: list[float] = read.tolist()  # the one time in an epoch that the device is waited for
    figures: dict[Monitor, float] = {"train_loss": values[-1] / steps}
    if watched is not None:
        figures["validation_metric"], figures["validation_loss"], *values = values
    return _Points(
        recorded=values[:-1],
        recorded_step=[window * (point + 1) for point in range(len(means))],
        steps=steps,
        finite=all(map(math.isfinite, values)),
        figures=figures,
    )


def _computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Autocast, which casts weights and inputs of matrix products and convolutions as they come."""
    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _batches(
    spec: TrialSpec, epoch: int, rows: int, device: torch.device
) -> Iterator[Tensor | None]:
    """Row indices of each minibatch; None stands for all rows in their own order."""
    size = spec.recipe.batch_size
    if size is None:
        yield None
        return
    generator = torch.Generator().manual_seed(stream_key(spec.seed, "order", epoch))
    order = torch.randperm(rows, generator=generator).to(device)
    yield from torch.split(order, size)


def _has_batch_statistics(model: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: t.detach().to("cpu", copy=True) for k, t in state.items()}

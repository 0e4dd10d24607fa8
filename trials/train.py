"""Training: minibatch or full batch, any schedule, from any epoch boundary.

A training remembers what its `trials.course.Course` does, here as in lanes (`trials.lanes`); here
it has its steps for itself. A step splits its batch into row blocks that stay in the processor's
cache and adds up their gradients, so a full batch of 16,512 rows is trained as fast as its
arithmetic allows; blocks have a fixed size, which is part of the numerics. Losses, and the
validation figures that a recipe watches, are collected on the device and read once an epoch.
"""

import math
import time
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from data.load import LoadedData
from models.layers import DropoutStream, attach_streams
from trials.course import (
    Course,
    Observer,
    Points,
    Trained,
    build_model,
    validation_figures,
)
from trials.engine import Engine, engine_for
from trials.graph import Step
from trials.lanes import train_alone
from trials.optimizers import build_optimizer
from trials.snapshot import Snapshot
from trials.spec import Monitor, Recipe, TrialSpec
from trials.steps import Steps, training_part
from trials.streams import stream_key

LOSS_WINDOW = 100
"""Minibatches whose mean is one point of the training-loss curve, as the home study records it."""


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
    networks: Mapping[str, nn.Module] | None = None,
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
        engine: how steps are executed, see `trials.engine.engine_for`.
        networks: for each rule's key, the network that it chose, where the training begins with its
            weights, stays near them, or asks it about images that are new in every epoch.

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
    course = Course(
        spec, loaded.task, start,
        observe_every=observe_every, observer=observer, pause_after_s=pause_after_s,
    )  # fmt: skip
    chosen = engine_for(device.type, spec, engine)
    if chosen == "lanes":
        return train_alone(course, loaded, teachers, start)
    networks = networks or {}
    model = build_model(spec, loaded, networks, begins=start is None).to(device)
    optimizer = build_optimizer(spec.recipe, model)
    stream = DropoutStream()
    attach_streams(model, stream)
    if start is not None:
        model.load_state_dict(start.model)
        optimizer.load(start.optimizer)
    model.train()

    recipe = spec.recipe
    blocked = recipe.batch_size is None and not _has_batch_statistics(model)
    window = min(LOSS_WINDOW, steps_per_epoch(recipe, len(loaded.train.y)))
    on_cpu = device.type == "cpu"
    rng_devices = [] if on_cpu else [device]
    # `torch.manual_seed` is for all devices; where none is in use that takes long, 0.1 ms.
    seed_generators = torch.default_generator.manual_seed if on_cpu else torch.manual_seed
    networks = {key: network.to(device).eval() for key, network in networks.items()}
    steps_of = Steps(spec, model, optimizer, loaded, teachers, networks, blocked, chosen)
    while course.goes_on:
        began = time.perf_counter()
        epoch, objective = course.epoch, course.objective
        optimizer.learning_rate = course.learning_rate
        stream.reseed(stream_key(spec.seed, "dropout", epoch))
        with training_part(model, objective.trains), torch.random.fork_rng(devices=rng_devices):
            seed_generators(stream_key(spec.seed, "torch", epoch))
            points = _epoch(
                steps_of.under(objective, epoch),
                model,
                loaded,
                batches=_batches(spec, epoch, len(loaded.train.y), device),
                window=window,
                validate=recipe.watches_validation,
            )
        course.end_epoch(points, time.perf_counter() - began, lambda: model)
    return course.leave(model, optimizer.tensors())


def _epoch(
    step: Step,
    model: nn.Module,
    loaded: LoadedData,
    *,
    batches: Iterator[Tensor | None],
    window: int,
    validate: bool,
) -> Points:
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
    if validate:
        read = torch.cat([validation_figures(model, loaded), read])
    values: list[float] = read.tolist()  # the one time in an epoch that the device is waited for
    figures: dict[Monitor, float] = {"train_loss": values[-1] / steps}
    if validate:
        figures["validation_metric"], figures["validation_loss"], *values = values
    return Points(
        recorded=values[:-1],
        recorded_step=[window * (point + 1) for point in range(len(means))],
        steps=steps,
        finite=all(map(math.isfinite, values)),
        figures=figures,
    )


def _batches(
    spec: TrialSpec, epoch: int, rows: int, device: torch.device
) -> Iterator[Tensor | None]:
    """Row indices of each minibatch; None stands for all rows in their own order."""
    size = spec.recipe.batch_size
    if size is None:
        yield None
        return
    if spec.recipe.shuffle:
        generator = torch.Generator().manual_seed(stream_key(spec.seed, "order", epoch))
        order = torch.randperm(rows, generator=generator).to(device)
    else:
        order = torch.arange(rows, device=device)
    yield from torch.split(order, size)


def _has_batch_statistics(model: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())

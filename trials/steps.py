"""One optimizer step: a minibatch, what is minimised on it, and how that is executed.

Hard and soft loss need rows, labels and the teachers' outputs for the rows. Everything else an
objective may ask for, noise, an anchor, curvature, images that are changed at random and teachers
that are asked about them, needs networks or draws of its own; such steps are launched one by one.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from data.augment import augment
from data.load import LoadedData
from models.head import body_parameters, head_name
from models.matching import Block, common_block, common_values
from trials.course import BLOCK_ROWS
from trials.engine import Engine
from trials.graph import GraphedStep, Step
from trials.losses import hard_loss, objective_loss
from trials.masked import masked
from trials.optimizers import Optimizer
from trials.spec import Objective, Precision, Trains, TrialSpec
from trials.streams import Purpose, stream_key
from trials.terms import anchor_distance, hessian_trace, noisy_inputs


@contextmanager
def training_part(model: nn.Module, part: Trains) -> Iterator[None]:
    """Training mode within, for all of a network or for its output layer alone.

    What is frozen is as in evaluation: its weights have no gradient, its dropout drops nothing and its
    batch statistics stay. Dropout within the output layer is not frozen.
    """
    model.train()
    if part == "all":
        yield
        return
    frozen = [model.get_parameter(name) for name in body_parameters(model)]
    model.eval()
    model.get_submodule(head_name(model)).train()  # with the dropout that some have within
    for weights in frozen:
        weights.requires_grad_(False)
    try:
        yield
    finally:
        for weights in frozen:
            weights.requires_grad_(True)
        model.train()


class Steps:
    """The training steps of a network, epoch by epoch."""

    def __init__(
        self,
        spec: TrialSpec,
        model: nn.Module,
        optimizer: Optimizer,
        loaded: LoadedData,
        teachers: Mapping[str, Tensor],
        networks: Mapping[str, nn.Module],
        blocked: bool,
        engine: Engine,
    ) -> None:
        """Gets ready to train.

        Args:
            spec: the training.
            model: the network, on the device of the data.
            optimizer: of its parameters.
            loaded: the data.
            teachers: for each rule's key, `[training rows, k]` outputs.
            networks: for each rule's key, a frozen network on the same device.
            blocked: whether a full batch is done in blocks of `trials.course.BLOCK_ROWS`.
            engine: `eager` or `graph`.
        """
        self._spec, self._model, self._optimizer, self._loaded = spec, model, optimizer, loaded
        self._says = masked(model, loaded.class_mask)
        self._teachers, self._networks = teachers, networks
        self._blocked, self._engine = blocked, engine
        self._captured: tuple[tuple[str, float], Step] | None = None
        self._anchors: dict[str, tuple[dict[str, Tensor], dict[str, Block]]] = {}
        if engine == "graph":
            optimizer.prepare()

    def under(self, objective: Objective, epoch: int) -> Step:
        """The step of an epoch.

        Args:
            objective: what is minimised.
            epoch: counts from 0; which draws are used.
        """
        if self._spec.recipe.augment.is_on or not objective.is_plain:
            return _Numbered(functools.partial(self._rich_step, objective, epoch))
        outputs = [self._teachers[rule.key] for rule in objective.guide_rules]
        step = functools.partial(self._step, objective, outputs)
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
            outputs = self._outputs(self._loaded.inputs(x[part]))
            each = objective_loss(
                objective, self._loaded.task, outputs, y[part], [t[part] for t in teachers]
            )
            share = each.sum() / size
            share.backward()  # type: ignore[no-untyped-call]
            loss = loss + share.detach()
        self._optimizer.step()
        return loss

    def _rich_step(
        self, objective: Objective, epoch: int, number: int, rows: Tensor | None
    ) -> Tensor:
        """A step that draws anew, or needs more than outputs; in one block."""
        spec, loaded, terms = self._spec, self._loaded, objective.terms
        x, y = loaded.train.x, loaded.train.y
        if rows is not None:
            x, y = x[rows], y[rows]
        inputs = loaded.inputs(x)
        if spec.recipe.augment.is_on:
            key = stream_key(spec.seed, "augment", epoch, number)
            inputs = augment(inputs, spec.recipe.augment, loaded.fill, key)
        self._optimizer.zero_grad()
        outputs = self._outputs(inputs)
        loss = torch.zeros((), device=y.device)
        if objective.hard or objective.soft:
            teachers = [self._said(rule.key, inputs, rows) for rule in objective.guide_rules]
            loss = objective_loss(objective, loaded.task, outputs, y, teachers).mean()
        if terms.noisy:
            generator = self._generator("noise", epoch, number)
            noisy = self._outputs(noisy_inputs(inputs, terms.amplitude, generator))
            loss = loss + terms.noisy * hard_loss(loaded.task, noisy, y).mean()
        if terms.anchor and terms.anchor_to is not None:
            loss = loss + terms.anchor * self._distance(terms.anchor_to.key, objective)
        if terms.curvature:
            trace = hessian_trace(
                hard_loss(loaded.task, outputs, y).mean(),
                [weights for weights in self._model.parameters() if weights.requires_grad],
                self._generator("curvature", epoch, number),
                differentiable=terms.curvature_gradient,
            )
            loss = loss + terms.curvature * trace
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss.detach()

    def _outputs(self, inputs: Tensor) -> Tensor:
        with _computing_in(self._spec.recipe.precision, inputs.device):
            outputs: Tensor = self._says(inputs)
        return outputs.float()

    def _said(self, rule: str, inputs: Tensor, rows: Tensor | None) -> Tensor:
        """What a teacher says about a batch: as it said it before, or now that images are new."""
        if not self._spec.recipe.augment.is_on:
            said = self._teachers[rule]
            return said if rows is None else said[rows]
        with torch.no_grad():
            outputs: Tensor = masked(self._networks[rule], self._loaded.class_mask)(inputs)
        return outputs

    def _distance(self, rule: str, objective: Objective) -> Tensor:
        """To the weights of a trained network, in the block that both have."""
        own = dict(self._model.named_parameters())
        if rule not in self._anchors:
            theirs = dict(self._networks[rule].named_parameters())
            self._anchors[rule] = common_values(theirs, own), common_block(theirs, own)
        return anchor_distance(own, *self._anchors[rule], objective.terms.anchor_distance)

    def _generator(self, purpose: Purpose, epoch: int, number: int) -> torch.Generator:
        generator = torch.Generator(self._loaded.train.y.device)
        return generator.manual_seed(stream_key(self._spec.seed, purpose, epoch, number))


class _Numbered:
    """Counts the steps of an epoch: each has draws of its own."""

    def __init__(self, step: Callable[[int, Tensor | None], Tensor]) -> None:
        self._step, self._number = step, 0

    def __call__(self, rows: Tensor | None) -> Tensor:
        loss = self._step(self._number, rows)
        self._number += 1
        return loss


def _computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Autocast, which casts weights and inputs of matrix products and convolutions as they come."""
    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()

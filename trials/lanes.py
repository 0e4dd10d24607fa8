"""Trainings side by side: a fixed number of lanes that step together, joined and left at any epoch.

A step is the same batched products whether one lane is taken or all are, and nothing passes from
one lane to another, so what a training gives depends neither on its lane nor on its neighbours,
not even on one that diverges. On a CUDA device the step is captured as a graph once: what differs
between lanes and epochs lies in tensors that it reads.
"""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn

from data.load import LoadedData
from models.layers import words_for
from trials.course import BLOCK_ROWS, Course, Points, Trained, build_model, validation_figures
from trials.engine import LANES
from trials.graph import GraphedStep
from trials.lane_bits import LaneBits
from trials.lane_objectives import LaneObjectives
from trials.snapshot import Snapshot
from trials.spec import Objective, TrialSpec
from trials.stacked import StackedNetwork, padded
from trials.stacked_optimizers import build_stacked
from trials.streams import stream_key


@dataclass
class Lane:
    """A training in a lane.

    Attributes:
        number: of the lane.
        course: the training.
        teachers: outputs for the training rows, by the key of the teacher's rule.
        shared_s: seconds of the device so far; steps are shared between the lanes that are taken.
        trained: what it left.
        error: what ended it instead.
    """

    number: int
    course: Course
    teachers: Mapping[str, Tensor]
    shared_s: float = 0.0
    trained: Trained | None = None
    error: Exception | None = None
    objective: Objective | None = None

    @property
    def ended(self) -> bool:
        """Whether it has left its lane."""
        return self.trained is not None or self.error is not None

    def result(self) -> Trained:
        """What it left.

        Raises:
            Exception: what ended it instead.
        """
        if self.error is not None:
            raise self.error
        if self.trained is None:
            raise RuntimeError("the training has not ended")
        return self.trained


@dataclass(frozen=True)
class _Block:
    """Rows of a block, and where in the words of a step the bits of each dropout begin."""

    rows: slice
    first_words: tuple[int, ...]


class Lanes:
    """Lanes for the trials of one group; see `trials.engine.lane_group`."""

    def __init__(self, like: TrialSpec, loaded: LoadedData) -> None:
        """Makes empty lanes.

        Args:
            like: any trial of the group.
            loaded: its data, on the device where to train.

        Raises:
            TypeError: where its network cannot be in a lane.
        """
        device = loaded.train.y.device
        self._loaded = loaded
        self._plain: nn.Module = build_model(like, loaded).to(device)
        self._network = StackedNetwork(self._plain, device)
        self._optimizer = build_stacked(like.recipe, self._network)
        x = loaded.inputs(loaded.train.x)
        self._x = F.pad(x, (0, padded(x.shape[1]) - x.shape[1]))
        self._objectives = LaneObjectives(loaded.task, loaded.train.y, self._network.outputs)
        self._blocks, words = self._divided(len(x))
        self._bits = LaneBits(words, device)
        self._taken: dict[int, Lane] = {}
        self._replay: Callable[[Tensor | None], Tensor] = self._step
        if device.type == "cuda":
            self._replay = GraphedStep(self._step, self._state, device)

    @property
    def free(self) -> int:
        """How many lanes are empty."""
        return LANES - len(self._taken)

    def join(
        self, course: Course, teachers: Mapping[str, Tensor], start: Snapshot | None = None
    ) -> Lane:
        """Puts a training into an empty lane, from where it leaves by itself.

        Args:
            course: the training.
            teachers: for each rule's key, outputs for the training rows, on the device.
            start: the snapshot that `course` goes on from.

        Raises:
            ValueError: where all lanes are taken.
        """
        number = next((n for n in range(LANES) if n not in self._taken), None)
        if number is None:
            raise ValueError(f"all {LANES} lanes are taken")
        model = build_model(course.spec, self._loaded)
        if start is not None:
            model.load_state_dict(start.model)
        self._network.load(number, model.state_dict())
        state = {} if start is None else start.optimizer
        self._optimizer.load(number, course.spec.recipe, state)
        lane = self._taken[number] = Lane(number, course, teachers)
        self._leave_if_done(lane)
        return lane

    def step(self) -> None:
        """Trains every taken lane for an epoch; those that have ended then leave.

        Raises:
            Exception: what went wrong in the products of all lanes, which ends each of them.
        """
        began = time.perf_counter()
        for lane in list(self._taken.values()):
            self._each(lane, self._prepare)
        together = list(self._taken.values())
        if not together:
            return
        try:
            self._optimizer.begin({lane.number: lane.course.learning_rate for lane in together})
            losses: list[float] = self._replay(None).double().tolist()
        except Exception as error:
            for lane in together:
                self._fail(lane, error)
            raise
        elapsed = time.perf_counter() - began
        for lane in together:
            lane.shared_s += elapsed / len(together)
            self._each(lane, lambda lane: self._end_epoch(lane, losses[lane.number], elapsed))

    def _each(self, lane: Lane, what: Callable[[Lane], None]) -> None:
        """Does something for one lane; what goes wrong ends that one alone."""
        try:
            what(lane)
        except Exception as error:
            self._fail(lane, error)

    def _prepare(self, lane: Lane) -> None:
        course, objective = lane.course, lane.course.objective
        if objective != lane.objective:
            found = [lane.teachers[rule.key] for rule in objective.guide_rules]
            self._objectives.set(lane.number, objective, found)
            lane.objective = objective
        self._bits.draw(lane.number, stream_key(course.spec.seed, "dropout", course.epoch))

    def _end_epoch(self, lane: Lane, loss: float, wall_s: float) -> None:
        points = Points([loss], [1], 1, math.isfinite(loss), {"train_loss": loss})
        began = time.perf_counter()
        if lane.course.spec.recipe.watches_validation:
            metric, validation = validation_figures(self._model(lane), self._loaded).tolist()
            points.figures["validation_metric"] = metric
            points.figures["validation_loss"] = validation
        watching = time.perf_counter() - began
        lane.shared_s += watching
        lane.course.end_epoch(points, wall_s + watching, lambda: self._model(lane))
        self._leave_if_done(lane)

    def _model(self, lane: Lane) -> nn.Module:
        """The network of a lane as it is now, good until it is asked for another."""
        self._plain.load_state_dict(self._network.state(lane.number))
        return self._plain.train()

    def _leave_if_done(self, lane: Lane) -> None:
        if not lane.course.goes_on:
            model = copy.deepcopy(self._model(lane))
            lane.trained = lane.course.leave(model, self._optimizer.tensors(lane.number))
            self._empty(lane)

    def _fail(self, lane: Lane, error: Exception) -> None:
        lane.error = error
        self._empty(lane)

    def _empty(self, lane: Lane) -> None:
        del self._taken[lane.number]
        # Products of zeros: numbers that are not finite, or hardly there, would only cost time.
        self._network.clear(lane.number)
        self._objectives.clear(lane.number)

    # The step, in which nothing depends on values

    def _divided(self, rows: int) -> tuple[list[_Block], int]:
        """The blocks of a step, and the words of random bits that it needs."""
        blocks, first = [], 0
        for start in range(0, rows, BLOCK_ROWS):
            part = slice(start, min(start + BLOCK_ROWS, rows))
            words = [
                words_for((part.stop - part.start) * dropout.units) if dropout else 0
                for dropout in self._network.dropouts
            ]
            *begins, first = accumulate(words, initial=first)
            blocks.append(_Block(part, tuple(begins)))
        return blocks, first

    def _step(self, _rows: Tensor | None) -> Tensor:
        network = self._network
        network.gradient.zero_()
        total = torch.zeros(LANES, device=self._x.device)
        for block in self._blocks:
            outputs = network(self._x[block.rows], self._dropped(block))
            each = self._objectives.losses(outputs, block.rows)
            share = each.sum(1) / len(self._x)
            network.add_gradient(share)
            total = total + share.detach()
        self._optimizer.step()
        return total

    def _dropped(self, block: _Block) -> list[Tensor | None]:
        rows = block.rows.stop - block.rows.start
        found: list[Tensor | None] = []
        for dropout, first in zip(self._network.dropouts, block.first_words, strict=True):
            if dropout is None:
                found.append(None)
                continue
            units = rows * dropout.units
            below = self._bits.below(first, words_for(units), units, dropout.threshold)
            found.append(below.view(LANES, rows, dropout.units))
        return found

    def _state(self) -> list[Tensor]:
        return [self._network.values, *self._optimizer.own_tensors()]


def train_alone(
    course: Course,
    loaded: LoadedData,
    teachers: Mapping[str, Tensor],
    start: Snapshot | None = None,
) -> Trained:
    """Trains in one lane of otherwise empty ones; the others are computed all the same.

    Args:
        course: the training.
        loaded: its data, on the device where to train.
        teachers: for each rule's key, outputs for the training rows.
        start: the snapshot that `course` goes on from.
    """
    lanes = Lanes(course.spec, loaded)
    lane = lanes.join(course, teachers, start)
    while not lane.ended:
        lanes.step()
    return lane.result()

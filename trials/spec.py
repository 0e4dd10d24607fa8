"""What a trial is: a seed, data, a recipe, and a schedule of objectives.

A schedule is a list of segments `(epochs, objective)`. Reversed distillation with
`switch_epoch = 5`, `alpha = 0.6` over 15 epochs is `[(5, 0.6 hard + 0.4 soft), (10, hard)]`; the
baseline is `[(15, hard)]`. Schedules are kept in canonical form (no empty segment, no two equal
neighbours, no teacher where the soft weight is 0), so trials that train alike are equal.

The trial id is a hash of everything that can change the training, and of nothing else.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, get_args

import data
import models
from data.augment import Augment
from models.alignment import Head
from models.alignment import Method as Growth
from trials.identity import NUMERICS_VERSION, digest, digest_of_form

SoftLoss = Literal["kl", "mse"]
Optimizer = Literal["adam", "sgd"]
Precision = Literal["float32", "bfloat16"]
LrKind = Literal["constant", "step", "exponential", "cosine", "plateau"]
Monitor = Literal["validation_loss", "validation_metric", "train_loss"]
SelectOn = Literal["test", "validation", "only"]
SelectBy = Literal["metric", "loss"]
Trains = Literal["all", "head"]
AnchorDistance = Literal["squared", "norm"]


def _require(condition: bool, key: str, value: object, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{key} = {value!r}: must be {allowed}")


def _is_count(value: object, least: int) -> bool:
    """Not 5.0 or True: they equal 5 and 1, but would have another id."""
    return type(value) is int and value >= least


@dataclass(frozen=True)
class TeacherRule:
    """How a teacher is chosen: the best of a pool of trials on a split.

    The rule, not its outcome, is part of a student's identity, so every id is known before
    anything is trained.

    Attributes:
        pool: ids of the candidate trials.
        select_on: the split on which they are compared; `only`: the pool is one trial, and nothing
            is compared.
        select_by: the headline metric of the task, or the loss.
    """

    pool: tuple[str, ...]
    select_on: SelectOn
    select_by: SelectBy = "metric"

    def __post_init__(self) -> None:
        _require(len(self.pool) > 0, "pool", self.pool, "at least one trial id")
        _require(
            self.select_on in get_args(SelectOn),
            "select_on", self.select_on, "test, validation, only",
        )  # fmt: skip
        _require(
            self.select_on != "only" or len(set(self.pool)) == 1,
            "pool", self.pool, "one trial where select_on is only",
        )  # fmt: skip
        _require(self.select_by in get_args(SelectBy), "select_by", self.select_by, "metric, loss")
        object.__setattr__(self, "pool", tuple(sorted(set(self.pool))))

    @classmethod
    def only(cls, trial_id: str) -> "TeacherRule":
        """The rule that takes one trial, whatever came of it."""
        return cls((trial_id,), "only")

    @cached_property
    def key(self) -> str:
        """A hash of the rule; equal rules choose the same teacher."""
        return digest([list(self.pool), self.select_on, self.select_by])


@dataclass(frozen=True)
class Guide:
    """One teacher of an objective and its share of the soft loss."""

    teacher: TeacherRule
    weight: float = 1.0

    def __post_init__(self) -> None:
        _require(math.isfinite(self.weight) and self.weight > 0, "weight", self.weight, "above 0")


@dataclass(frozen=True)
class Terms:
    """Further parts of what is minimised, each with its weight (Petrushina et al., 2024).

    Attributes:
        noisy: weight of the hard loss on inputs with uniform noise.
        amplitude: of that noise, up and down, in the space in which the network sees its inputs.
        anchor: weight of the distance to the weights of a trained network, over the block of each
            tensor that both have (`models.growth.common_block`).
        anchor_to: that network; needed where `anchor` is above 0.
        anchor_distance: `squared`: the sum of squared differences; `norm`: its square root.
        curvature: weight of the trace of the Hessian of the hard loss by the weights, estimated
            with one random vector a step (Hutchinson, 1990).
        curvature_gradient: whether the gradient flows through that estimate; without it the term
            is a number that changes no training.
    """

    noisy: float = 0.0
    amplitude: float = 0.0
    anchor: float = 0.0
    anchor_to: TeacherRule | None = None
    anchor_distance: AnchorDistance = "squared"
    curvature: float = 0.0
    curvature_gradient: bool = True

    def __post_init__(self) -> None:
        for key in ("noisy", "amplitude", "anchor", "curvature"):
            number = float(getattr(self, key))
            _require(math.isfinite(number) and number >= 0, key, number, "0 or more")
            object.__setattr__(self, key, number)
        _require(
            self.anchor_distance in get_args(AnchorDistance),
            "anchor_distance", self.anchor_distance, "squared, norm",
        )  # fmt: skip
        gradient = self.curvature_gradient
        _require(type(gradient) is bool, "curvature_gradient", gradient, "true or false")
        _require(
            self.anchor == 0 or self.anchor_to is not None,
            "anchor_to", None, "a trained network where anchor is above 0",
        )  # fmt: skip
        _require(
            self.noisy == 0 or self.amplitude > 0,
            "amplitude", self.amplitude, "above 0 where noisy is",
        )  # fmt: skip
        # What has no effect makes no difference.
        if self.noisy == 0:
            object.__setattr__(self, "amplitude", 0.0)
        if self.anchor == 0:
            object.__setattr__(self, "anchor_to", None)
            object.__setattr__(self, "anchor_distance", "squared")
        if self.curvature == 0:
            object.__setattr__(self, "curvature_gradient", True)

    @property
    def weight(self) -> float:
        """All weights together; 0 where nothing is added."""
        return self.noisy + self.anchor + self.curvature

    def __str__(self) -> str:
        """The parts that are there, such as `noisy=0.5 (amplitude 0.05), curvature=0.1`."""
        parts = []
        if self.anchor:
            kind = "" if self.anchor_distance == "squared" else f" ({self.anchor_distance})"
            parts.append(f"anchor={self.anchor:g}{kind}")
        if self.noisy:
            parts.append(f"noisy={self.noisy:g} (amplitude {self.amplitude:g})")
        if self.curvature:
            kind = "" if self.curvature_gradient else " (no gradient)"
            parts.append(f"curvature={self.curvature:g}{kind}")
        return ", ".join(parts)


NO_TERMS = Terms()


@dataclass(frozen=True)
class Objective:
    """What is minimised: `hard * hard_loss + soft * soft_loss`, and further terms.

    The hard loss compares with the labels (cross-entropy, or mean squared error); the soft loss
    with the outputs of one or several teachers, whose weights are normalised to sum to 1.

    Attributes:
        hard: weight of the hard loss; the field's alpha.
        soft: weight of the soft loss; 1 - alpha in the home study.
        soft_loss: `kl`: KL divergence of softened softmax outputs times temperature squared
            (Hinton, Vinyals and Dean, 2015); `mse`: mean squared error to the teacher's outputs.
        temperature: of the KL divergence.
        guides: the teachers.
        terms: what is added.
        trains: `head`: the output layer alone changes, and the rest of the network is as in
            evaluation; `all`: everything does.
    """

    hard: float = 1.0
    soft: float = 0.0
    soft_loss: SoftLoss = "kl"
    temperature: float = 1.0
    guides: tuple[Guide, ...] = ()
    terms: Terms = NO_TERMS
    trains: Trains = "all"

    def __post_init__(self) -> None:
        for key in ("hard", "soft"):
            weight = float(getattr(self, key))
            _require(math.isfinite(weight) and weight >= 0, key, weight, "a weight of 0 or more")
            object.__setattr__(self, key, weight)
        _require(self.hard + self.soft + self.terms.weight > 0, "hard + soft", 0, "above 0")
        _require(self.trains in get_args(Trains), "trains", self.trains, "all, head")
        _require(
            math.isfinite(self.temperature) and self.temperature > 0,
            "temperature", self.temperature, "above 0",
        )  # fmt: skip
        _require(self.soft_loss in get_args(SoftLoss), "soft_loss", self.soft_loss, "kl, mse")
        if self.soft == 0:
            object.__setattr__(self, "guides", ())
        _require(bool(self.guides) or self.soft == 0, "guides", (), "a teacher where soft > 0")
        if not self.guides or self.soft_loss == "mse":
            object.__setattr__(self, "temperature", 1.0)
        if not self.guides:
            object.__setattr__(self, "soft_loss", "kl")
        object.__setattr__(self, "temperature", float(self.temperature))
        # Exact, so that the order of the guides is irrelevant; weights that are normalised stay.
        total = math.fsum(guide.weight for guide in self.guides)
        total = 1.0 if math.isclose(total, 1.0, rel_tol=1e-12) else total
        ordered = sorted(
            (Guide(guide.teacher, guide.weight / total) for guide in self.guides),
            key=lambda guide: (guide.teacher.key, guide.weight),
        )
        object.__setattr__(self, "guides", tuple(ordered))

    @property
    def guide_rules(self) -> tuple[TeacherRule, ...]:
        """The rules of the teachers whose outputs it needs."""
        return tuple(guide.teacher for guide in self.guides)

    @property
    def anchor_rules(self) -> tuple[TeacherRule, ...]:
        """The rules of the networks whose weights it needs."""
        return () if self.terms.anchor_to is None else (self.terms.anchor_to,)

    @cached_property
    def rules(self) -> tuple[TeacherRule, ...]:
        """The rules of all teachers; kept, since trials share objectives, one for each epoch of a ramp."""
        return (*self.guide_rules, *self.anchor_rules)

    @property
    def is_plain(self) -> bool:
        """Whether hard and soft loss over all weights are all there is."""
        return self.terms == NO_TERMS and self.trains == "all"

    @cached_property
    def key(self) -> str:
        """A hash of the objective."""
        form: dict[str, object] = {
            "hard": self.hard,
            "soft": self.soft,
            "soft_loss": self.soft_loss if self.guides else None,
            "temperature": self.temperature,
            "guides": [[guide.teacher.key, guide.weight] for guide in self.guides],
        }
        if self.terms != NO_TERMS:
            anchor = self.terms.anchor_to
            form["terms"] = dataclasses.replace(self.terms, anchor=0.0, anchor_to=None)
            form["anchor"] = anchor and [
                self.terms.anchor, self.terms.anchor_distance, anchor.key
            ]  # fmt: skip
        if self.trains != "all":
            form["trains"] = self.trains
        return digest(form)


HARD = Objective()
"""The undistilled objective."""


@dataclass(frozen=True)
class Segment:
    """A number of epochs under one objective."""

    epochs: int
    objective: Objective = HARD

    def __post_init__(self) -> None:
        _require(_is_count(self.epochs, 0), "epochs", self.epochs, "an integer of 0 or more")


Schedule = tuple[Segment, ...]


def schedule(segments: Iterable[Segment]) -> Schedule:
    """The canonical form of a list of segments.

    Empty segments are dropped and equal neighbours merged, so that equal trainings are equal.
    """
    kept = tuple(segment for segment in segments if segment.epochs > 0)
    if all(one.objective != other.objective for one, other in itertools.pairwise(kept)):
        return kept
    return tuple(
        Segment(sum(segment.epochs for segment in group), objective)
        for objective, group in itertools.groupby(kept, key=lambda segment: segment.objective)
    )


def switched(guided: Objective, switch_epoch: int, epochs: int, then: Objective = HARD) -> Schedule:
    """The home study's schedule: guided while `epoch < switch_epoch`, then alone.

    Args:
        guided: the objective of the first part.
        switch_epoch: epochs count from 0; 0 is the baseline, `epochs` or more never switches.
        epochs: length of the whole training.
        then: the objective of the second part.
    """
    _require(switch_epoch >= 0, "switch_epoch", switch_epoch, "0 or more")
    first = min(switch_epoch, epochs)
    return schedule([Segment(first, guided), Segment(epochs - first, then)])


def by_epoch(objectives: Iterable[Objective]) -> Schedule:
    """A schedule with an objective for each epoch."""
    return schedule(Segment(1, objective) for objective in objectives)


def frozen_at_first(segments: Schedule, epochs: int) -> Schedule:
    """The same, with all but the output layer frozen in the first epochs.

    Args:
        segments: a schedule.
        epochs: how many; more than there are freeze all.
    """
    length = epoch_count(segments)
    first = (
        Segment(part.epochs, dataclasses.replace(part.objective, trains="head"))
        for part in cut(segments, 0, min(epochs, length))
    )
    return schedule([*first, *cut(segments, epochs, length)])


def epoch_count(segments: Schedule) -> int:
    """The length of a schedule in epochs."""
    return sum(segment.epochs for segment in segments)


def cut(segments: Schedule, start: int, stop: int) -> Schedule:
    """The part of a schedule from epoch `start` up to, not including, epoch `stop`."""

    def parts() -> Iterator[Segment]:
        begin = 0
        for segment in segments:
            end = begin + segment.epochs
            epochs = min(end, stop) - max(begin, start)
            if epochs > 0:
                whole = epochs == segment.epochs
                yield segment if whole else Segment(epochs, segment.objective)
            begin = end

    return schedule(parts())


_LR_KEYS: dict[str, tuple[LrKind, ...]] = {
    "factor": ("step", "exponential", "plateau"),
    "milestones": ("step",),
    "start_epoch": ("exponential",),
    "horizon": ("cosine",),
    "minimum": ("cosine", "plateau"),
    "patience": ("plateau",),
    "threshold": ("plateau",),
    "monitor": ("plateau",),
}
"""Which kinds of schedule use a key."""


@dataclass(frozen=True)
class LrSchedule:
    """How the learning rate changes from epoch to epoch; within an epoch it is constant.

    Epochs count from 0. Everything but `plateau` is a function of the epoch, and has the values of
    PyTorch's schedulers stepped once an epoch (`torch.optim.lr_scheduler.MultiStepLR`,
    `ExponentialLR`, `CosineAnnealingLR`, `ReduceLROnPlateau`); `trials.learning_rate` computes them.

    No schedule knows how long a trial is: a cosine has its horizon written down. So trials that
    differ in length alone share their beginning, and never by mistake.

    Attributes:
        kind: `constant`; `step`: times `factor` from each of `milestones` on; `exponential`: times
            `factor` after every epoch from `start_epoch` on; `cosine`: down to `minimum` along half
            a cosine of `horizon` epochs, and `minimum` from then on (Loshchilov and Hutter, 2017,
            without restarts); `plateau`: times `factor`, but not below `minimum`, when `monitor`
            has not improved for more than `patience` epochs.
        factor: above 0, below 1.
        milestones: epochs, ascending.
        start_epoch: the last epoch at the full rate.
        horizon: epochs.
        minimum: least rate.
        patience: epochs without improvement that are let pass.
        threshold: the least relative improvement that counts as one.
        monitor: what has to improve; the training loss is the mean over the epoch of what is
            minimised, so it jumps where the objective changes.
        warmup_epochs: epoch e < `warmup_epochs` has (e + 1) / (`warmup_epochs` + 1) of its rate
            (linear warm-up: Goyal et al., 2017, section 2.2).
    """

    kind: LrKind = "constant"
    factor: float | None = None
    milestones: tuple[int, ...] = ()
    start_epoch: int = 0
    horizon: int | None = None
    minimum: float = 0.0
    patience: int | None = None
    threshold: float = 1e-4
    monitor: Monitor = "validation_loss"
    warmup_epochs: int = 0

    def __post_init__(self) -> None:
        kinds = ", ".join(get_args(LrKind))
        _require(self.kind in get_args(LrKind), "kind", self.kind, kinds)
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for key, users in _LR_KEYS.items():
            value = getattr(self, key)
            if self.kind not in users:
                default = self.__dataclass_fields__[key].default
                _require(value == default, key, value, f"left out unless kind is {_any(users)}")
            elif value is None or value == ():
                raise ValueError(f"{key}: missing; kind = {self.kind!r} needs it")
        if self.factor is not None:
            object.__setattr__(self, "factor", float(self.factor))
            _require(0 < self.factor < 1, "factor", self.factor, "above 0 and below 1")
        ascending = all(a < b for a, b in itertools.pairwise(self.milestones))
        _require(
            ascending and all(_is_count(epoch, 1) for epoch in self.milestones),
            "milestones", list(self.milestones), "ascending integers of 1 or more",
        )  # fmt: skip
        for key, least in (("start_epoch", 0), ("horizon", 1), ("patience", 0)):
            value = getattr(self, key)
            allowed = f"an integer of {least} or more"
            _require(value is None or _is_count(value, least), key, value, allowed)
        _require(
            _is_count(self.warmup_epochs, 0),
            "warmup_epochs", self.warmup_epochs, "an integer of 0 or more",
        )  # fmt: skip
        for key in ("minimum", "threshold"):
            number = float(getattr(self, key))
            _require(math.isfinite(number) and number >= 0, key, number, "0 or more")
            object.__setattr__(self, key, number)
        _require(self.threshold < 1, "threshold", self.threshold, "below 1")
        _require_monitor(self.monitor)

    def __str__(self) -> str:
        """The kind with its settings, such as `step(factor=0.1, milestones=[10])`."""
        keys = [key for key, users in _LR_KEYS.items() if self.kind in users]
        keys += ["warmup_epochs"] * (self.warmup_epochs > 0)
        return f"{self.kind}({_settings(self, keys)})" if keys else self.kind


@dataclass(frozen=True)
class EarlyStop:
    """When a training ends before its schedule does, and with which weights.

    Looked at after every epoch, as `keras.callbacks.EarlyStopping` and Lightning's do, but for
    `patience = 0`, which here never stops. The test split is never looked at.

    Attributes:
        patience: the training ends after so many epochs in a row without improvement; 0: never.
        min_delta: an improvement by no more than this does not count; in units of `monitor`
            (percentage points of accuracy).
        monitor: what has to improve; see `LrSchedule` on the training loss.
        restore_best: whether the result of the training, early or not, is the network as it was
            after its best epoch (by `monitor` and `min_delta`), rather than after its last.
    """

    patience: int = 0
    min_delta: float = 0.0
    monitor: Monitor = "validation_loss"
    restore_best: bool = False

    def __post_init__(self) -> None:
        _require(_is_count(self.patience, 0), "patience", self.patience, "an integer of 0 or more")
        delta = float(self.min_delta)
        _require(math.isfinite(delta) and delta >= 0, "min_delta", delta, "0 or more")
        object.__setattr__(self, "min_delta", delta)
        _require_monitor(self.monitor)
        _require(
            type(self.restore_best) is bool, "restore_best", self.restore_best, "true or false"
        )
        if not self.watches:
            # Nothing is watched, so nothing of how it would be makes a difference.
            object.__setattr__(self, "min_delta", 0.0)
            object.__setattr__(self, "monitor", "validation_loss")

    @property
    def watches(self) -> bool:
        """Whether the rule has any effect."""
        return self.patience > 0 or self.restore_best

    def __str__(self) -> str:
        """All settings, such as `patience=10, min_delta=0.0, ...`."""
        return _settings(self, [field.name for field in dataclasses.fields(self)])


def _require_monitor(monitor: Monitor) -> None:
    _require(monitor in get_args(Monitor), "monitor", monitor, ", ".join(get_args(Monitor)))


def _any(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _settings(value: object, keys: Iterable[str]) -> str:
    pairs = ((key, getattr(value, key)) for key in keys)
    return ", ".join(f"{k}={list(v) if isinstance(v, tuple) else v}" for k, v in pairs)


NO_AUGMENT = Augment()


@dataclass(frozen=True)
class Recipe:
    """How a network is made and optimised.

    Attributes:
        model: name of the network, see `models.catalog`.
        batch_size: rows of a minibatch; None takes the whole training set as one batch.
        optimizer: `adam` (Kingma and Ba, 2015; betas 0.9, 0.999) or `sgd`.
        learning_rate: before `lr_schedule` changes it.
        weight_decay: L2 penalty, added to the gradient.
        momentum: of `sgd`.
        init: initialisation scheme, see `models.initialise`.
        precision: `bfloat16` computes the training's forward passes, and by it their backward
            passes, in bfloat16 where PyTorch's autocast does; weights, optimizer and losses stay in
            float32, and so do the teachers' outputs and all evaluations and attacks. It is for GPUs:
            a CPU needs more time for it (measured: 1.3 to 1.5 times as much).
        lr_schedule: how the learning rate changes.
        early_stop: when the training ends before its schedule.
        shuffle: whether minibatches are drawn anew every epoch; else they are those of the data's
            own order, each time.
        augment: how images are changed at random while training.
    """

    model: str
    batch_size: int | None
    optimizer: Optimizer = "adam"
    learning_rate: float = 0.001
    weight_decay: float = 0.0
    momentum: float = 0.0
    init: str = "default"
    precision: Precision = "float32"
    lr_schedule: LrSchedule = LrSchedule()
    early_stop: EarlyStop = EarlyStop()
    shuffle: bool = True
    augment: Augment = NO_AUGMENT

    def __post_init__(self) -> None:
        _require(
            self.batch_size is None or _is_count(self.batch_size, 1),
            "batch_size", self.batch_size, "an integer of 1 or more, or None for all rows",
        )  # fmt: skip
        _require(self.optimizer in get_args(Optimizer), "optimizer", self.optimizer, "adam, sgd")
        for key in ("learning_rate", "weight_decay", "momentum"):
            number = float(getattr(self, key))
            _require(math.isfinite(number) and number >= 0, key, number, "0 or more")
            object.__setattr__(self, key, number)
        _require(
            self.optimizer == "sgd" or self.momentum == 0,
            "momentum", self.momentum, "0 unless optimizer is sgd",
        )  # fmt: skip
        _require(type(self.shuffle) is bool, "shuffle", self.shuffle, "true or false")
        if self.batch_size is None:
            object.__setattr__(self, "shuffle", True)  # one batch has no order
        formats = ", ".join(get_args(Precision))
        _require(self.precision in get_args(Precision), "precision", self.precision, formats)
        _require(
            self.lr_schedule.minimum <= self.learning_rate,
            "lr_schedule.minimum", self.lr_schedule.minimum,
            f"at most learning_rate, {self.learning_rate}",
        )  # fmt: skip

    @property
    def monitors(self) -> dict[str, Monitor]:
        """What is watched after every epoch, by the field of the recipe that asks for it."""
        found: dict[str, Monitor] = {}
        if self.lr_schedule.kind == "plateau":
            found["lr_schedule"] = self.lr_schedule.monitor
        if self.early_stop.watches:
            found["early_stop"] = self.early_stop.monitor
        return found

    @property
    def watches_validation(self) -> bool:
        """Whether the training needs a validation split."""
        return any(monitor != "train_loss" for monitor in self.monitors.values())


@dataclass(frozen=True)
class Start:
    """Where a network's weights begin, if not at the initialisation alone.

    The network is initialised first, by the recipe; what the start brings then takes its place.
    Exactly one of `source` and `pretrained` is given.

    Attributes:
        source: the trained network that it begins with.
        growth: how a network of that size becomes one of this, see `models.growth`; `copy` for one
            of the same shape.
        head: `new` leaves the output layer as it was initialised.
        pretrained: the identity of published weights, see `models.pretrained`; their output layer is
            of no use.
        location: where those are: a name, or a local file. No part of what they are.
    """

    source: TeacherRule | None = None
    growth: Growth = "copy"
    head: Head = "source"
    pretrained: str | None = None
    location: str | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        _require(
            self.growth in get_args(Growth), "growth", self.growth, ", ".join(get_args(Growth))
        )
        _require(self.head in get_args(Head), "head", self.head, "source, new")
        given = [self.source is not None, self.pretrained is not None]
        _require(sum(given) == 1, "start", self, "either a source or pretrained weights")
        if self.pretrained is not None:
            object.__setattr__(self, "growth", "copy")
            object.__setattr__(self, "head", "new")

    @cached_property
    def key(self) -> str:
        """A hash of the start."""
        source = None if self.source is None else self.source.key
        return digest([source, self.growth, self.head, self.pretrained])


@dataclass(frozen=True)
class TrialSpec:
    """One point of a study: everything that can change the training, and nothing else.

    Attributes:
        seed: of the trial's own randomness.
        data: which rows.
        recipe: how the network is made and optimised.
        schedule: what is minimised, epoch by epoch, in canonical form.
        start: what the weights begin with; None for the initialisation alone.
    """

    seed: int
    data: data.DataSpec
    recipe: Recipe
    schedule: Schedule
    start: Start | None = None

    def __post_init__(self) -> None:
        _require(_is_count(self.seed, 0), "seed", self.seed, "an integer of 0 or more")
        canonical = schedule(self.schedule)
        if canonical != self.schedule:  # trials that share a schedule go on sharing it
            object.__setattr__(self, "schedule", canonical)
        for key, monitor in self.recipe.monitors.items():
            _require(
                monitor == "train_loss" or self.data.validation > 0,
                f"recipe.{key}.monitor", monitor, "train_loss unless data.validation is above 0",
            )  # fmt: skip

    @cached_property
    def epochs(self) -> int:
        """Epochs of the whole training; fewer are run where it ends early."""
        return epoch_count(self.schedule)

    @property
    def rules(self) -> tuple[TeacherRule, ...]:
        """Every rule of the start and the schedule, each once, in order of first use."""
        rules = (rule for part in self.schedule for rule in part.objective.rules)
        return tuple({rule.key: rule for rule in (*self.start_rules, *rules)}.values())

    @property
    def start_rules(self) -> tuple[TeacherRule, ...]:
        """The rule of the network that it begins with, if it begins with one."""
        source = None if self.start is None else self.start.source
        return () if source is None else (source,)

    @property
    def is_plain(self) -> bool:
        """Whether steps need nothing but rows, labels and the outputs of teachers for the rows."""
        return not self.recipe.augment.is_on and all(
            part.objective.is_plain for part in self.schedule
        )

    @cached_property
    def base(self) -> str:
        """A hash of all but the schedule: trials with equal bases can share work."""
        dataset = data.get(self.data.name)
        network = models.get(self.data.name, self.recipe.model)
        versions = (dataset.version, dataset.fingerprint, network.version)
        start = None if self.start is None else self.start.key
        return _base(self.seed, self.data, self.recipe, versions, start)

    @cached_property
    def trial_id(self) -> str:
        """The content hash of the trial."""
        return stage_key(self.base, self.schedule)

    def shortened(self, epochs: int) -> "TrialSpec":
        """The same trial stopped after a number of epochs."""
        return dataclasses.replace(self, schedule=cut(self.schedule, 0, epochs))


def stage_key(base: str, prefix: Schedule) -> str:
    """The key of the state that training reaches after a prefix of a schedule.

    A trial's id is the key of its whole schedule: the end of a stage and the trial that would
    end there are the same state.
    """
    return digest_of_form([base, [[part.epochs, part.objective.key] for part in prefix]])


@lru_cache(maxsize=65536)
def _base(
    seed: int,
    rows: data.DataSpec,
    recipe: Recipe,
    versions: tuple[int, str | None, int],
    start: str | None,
) -> str:
    """Cached by value: a grid has many trials and few bases."""
    dataset_version, fingerprint, network_version = versions
    form: dict[str, object] = {
        "numerics": NUMERICS_VERSION,
        "seed": seed,
        "data": rows,
        "dataset": [dataset_version, fingerprint],
        "recipe": recipe,
        "network": network_version,
    }
    return digest(form if start is None else form | {"start": start})

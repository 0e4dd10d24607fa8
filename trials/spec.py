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
from trials.identity import NUMERICS_VERSION, digest, digest_of_form

SoftLoss = Literal["kl", "mse"]
Optimizer = Literal["adam", "sgd"]
Precision = Literal["float32"]
SelectOn = Literal["test", "validation"]
SelectBy = Literal["metric", "loss"]


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
        select_on: the split on which they are compared.
        select_by: the headline metric of the task, or the loss.
    """

    pool: tuple[str, ...]
    select_on: SelectOn
    select_by: SelectBy = "metric"

    def __post_init__(self) -> None:
        _require(len(self.pool) > 0, "pool", self.pool, "at least one trial id")
        _require(
            self.select_on in get_args(SelectOn), "select_on", self.select_on, "test, validation"
        )
        _require(self.select_by in get_args(SelectBy), "select_by", self.select_by, "metric, loss")
        object.__setattr__(self, "pool", tuple(sorted(set(self.pool))))

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
class Objective:
    """What is minimised: `hard * hard_loss + soft * soft_loss`.

    The hard loss compares with the labels (cross-entropy, or mean squared error); the soft loss
    with the outputs of one or several teachers, whose weights are normalised to sum to 1.

    Attributes:
        hard: weight of the hard loss; the field's alpha.
        soft: weight of the soft loss; 1 - alpha in the home study.
        soft_loss: `kl`: KL divergence of softened softmax outputs times temperature squared
            (Hinton, Vinyals and Dean, 2015); `mse`: mean squared error to the teacher's outputs.
        temperature: of the KL divergence.
        guides: the teachers.
    """

    hard: float = 1.0
    soft: float = 0.0
    soft_loss: SoftLoss = "kl"
    temperature: float = 1.0
    guides: tuple[Guide, ...] = ()

    def __post_init__(self) -> None:
        for key in ("hard", "soft"):
            weight = float(getattr(self, key))
            _require(math.isfinite(weight) and weight >= 0, key, weight, "a weight of 0 or more")
            object.__setattr__(self, key, weight)
        _require(self.hard + self.soft > 0, "hard + soft", 0, "above 0")
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
    def rules(self) -> tuple[TeacherRule, ...]:
        """The rules of all teachers."""
        return tuple(guide.teacher for guide in self.guides)

    @cached_property
    def key(self) -> str:
        """A hash of the objective."""
        return digest(
            {
                "hard": self.hard,
                "soft": self.soft,
                "soft_loss": self.soft_loss if self.guides else None,
                "temperature": self.temperature,
                "guides": [[guide.teacher.key, guide.weight] for guide in self.guides],
            }
        )


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


@dataclass(frozen=True)
class Recipe:
    """How a network is made and optimised.

    Attributes:
        model: name of the network, see `models.catalog`.
        batch_size: rows of a minibatch; None takes the whole training set as one batch.
        optimizer: `adam` (Kingma and Ba, 2015; betas 0.9, 0.999) or `sgd`.
        learning_rate: constant over the training.
        weight_decay: L2 penalty, added to the gradient.
        momentum: of `sgd`.
        init: initialisation scheme, see `models.initialise`.
        precision: number format of the training.
    """

    model: str
    batch_size: int | None
    optimizer: Optimizer = "adam"
    learning_rate: float = 0.001
    weight_decay: float = 0.0
    momentum: float = 0.0
    init: str = "default"
    precision: Precision = "float32"

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
        _require(self.precision in get_args(Precision), "precision", self.precision, "float32")


@dataclass(frozen=True)
class TrialSpec:
    """One point of a study: everything that can change the training, and nothing else."""

    seed: int
    data: data.DataSpec
    recipe: Recipe
    schedule: Schedule

    def __post_init__(self) -> None:
        _require(_is_count(self.seed, 0), "seed", self.seed, "an integer of 0 or more")
        canonical = schedule(self.schedule)
        if canonical != self.schedule:  # trials that share a schedule go on sharing it
            object.__setattr__(self, "schedule", canonical)

    @cached_property
    def epochs(self) -> int:
        """Epochs of the whole training."""
        return epoch_count(self.schedule)

    @property
    def rules(self) -> tuple[TeacherRule, ...]:
        """Every teacher rule of the schedule, each once, in order of first use."""
        rules = (rule for part in self.schedule for rule in part.objective.rules)
        return tuple({rule.key: rule for rule in rules}.values())

    @cached_property
    def base(self) -> str:
        """A hash of all but the schedule: trials with equal bases can share work."""
        dataset = data.get(self.data.name)
        network = models.get(self.data.name, self.recipe.model)
        versions = (dataset.version, dataset.fingerprint, network.version)
        return _base(self.seed, self.data, self.recipe, versions)

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
    seed: int, rows: data.DataSpec, recipe: Recipe, versions: tuple[int, str | None, int]
) -> str:
    """Cached by value: a grid has many trials and few bases."""
    dataset_version, fingerprint, network_version = versions
    return digest(
        {
            "numerics": NUMERICS_VERSION,
            "seed": seed,
            "data": rows,
            "dataset": [dataset_version, fingerprint],
            "recipe": recipe,
            "network": network_version,
        }
    )

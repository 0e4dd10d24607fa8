"""A study: one TOML file that says what to train and measure. Data only; nothing in it is run.

Sections `[grid]`, `[recipe]`, `[split]`, `[teacher]` and `[evaluation]` hold for every dataset;
`[datasets.NAME]` names a dataset and may override any of them for it (`[datasets.NAME.recipe]`).
What is written is merged per dataset and validated as a whole before anything is trained.
"""

import dataclasses
import difflib
import functools
import itertools
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, time
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    Strict,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

import data
import data.augment as augmentation
import models
from models import alignment, pretrained
from sweep import extensions, guidance
from sweep.errors import StudyError
from sweep.follow import Search, Then
from sweep.presentation import (
    MAX_PUBLISHED,
    MAX_STATED,
    Published,
    StatedFigure,
    StatedTable,
    TableColumn,
    check_figures,
    check_published,
)
from sweep.section import (
    MAX_EPOCHS,
    MAX_NAME,
    Alpha,
    BatchSize,
    Corruption,
    Count,
    Epochs,
    Init,
    Name,
    Number,
    Optimizer,
    Positive,
    Scaling,
    Section,
    Seed,
    Strengths,
    Values,
    check_seeds,
    distinct,
    expand_range,
)
from sweep.starts import KNOWN, Start
from trials import spec
from trials.attack_settings import (
    MAX_REPEATS,
    MAX_STEPS,
    MAX_STRENGTH,
    NOISE_REPEATS,
    PGD_STEPS,
    STRENGTHS,
    Attacks,
    FgsmSamples,
    InputNoise,
    Redraw,
    WeightNoise,
)
from trials.spec import LrKind, Monitor, Precision

MAX_STUDY_BYTES = 1_000_000
MAX_CELLS = 1_000_000
MAX_DEPTH = 8
SECTIONS = ("grid", "recipe", "split", "teacher", "evaluation")

T = TypeVar("T")

_WINDOWS_DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")

_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){16}"""
)
"""A dotted key of more parts than any study has; tomllib takes time quadratic in their number."""


class Grid(Section):
    """The axes of a study; every combination is a cell."""

    teacher: Values[Name] = Field(
        (), description='teacher networks, by name; "small+large" are two at once, "small:3+large" '
        "with three times the weight for one"
    )  # fmt: skip
    student: Values[Name] = Field((), description="sweeps datasets.NAME.student")
    start: Values[Name] = Field(
        (), description="how students' weights begin: scratch, copy, zero-pad, uniform-pad, net2net "
        "(from the teacher's), or the name of a table [starts.NAME]"
    )  # fmt: skip
    alpha: Values[Alpha] = Field((), description="weight of the hard loss while guided, 0..1")
    switch_epoch: Annotated[
        Values[Annotated[Count, Field(ge=0, le=MAX_EPOCHS)]], BeforeValidator(expand_range)
    ] = Field((), description="guided while epoch < switch_epoch; list or {start, stop, step}")
    begin_epoch: Annotated[
        Values[Annotated[Count, Field(ge=0, le=MAX_EPOCHS)]], BeforeValidator(expand_range)
    ] = Field((), description="guided from this epoch on; absent: from the beginning")
    ramp: Values[Name] = Field(
        (), description="how alpha goes to 1 while guided: none, linear, cosine, or one of [ramps]"
    )  # fmt: skip
    temperature: Values[Positive] = Field((1.0,), description="softens both softmax outputs")
    past_end: Literal["refuse", "allow"] = Field(
        "refuse", description="whether a switch_epoch above the number of epochs is a mistake, or "
        "stands for never switching"
    )  # fmt: skip
    epochs: Values[Epochs] = Field(
        (), description="sweeps recipe.epochs for students and baselines"
    )
    batch_size: Values[BatchSize] = Field((), description="sweeps recipe.batch_size")
    learning_rate: Values[Positive] = Field((), description="sweeps recipe.learning_rate")
    weight_decay: Values[Annotated[Number, Field(ge=0)]] = Field(
        (), description="sweeps recipe.weight_decay"
    )
    init: Values[Init] = Field((), description="sweeps recipe.init")
    teacher_epochs: Values[Epochs] = Field((), description="sweeps teacher.recipe.epochs")
    train_fraction: Values[Positive] = Field((), description="sweeps split.train_fraction")
    label_noise: Values[Annotated[Number, Field(ge=0)]] = Field(
        (), description="sweeps split.label_noise"
    )
    target_noise: Values[Annotated[Number, Field(ge=0)]] = Field(
        (), description="sweeps split.target_noise"
    )
    corruption: Values[Corruption] = Field((), description="sweeps split.corruption")
    corruption_strength: Values[Annotated[Number, Field(ge=0)]] = Field(
        (), description="sweeps split.corruption_strength"
    )
    corruption_fraction: Values[Annotated[Number, Field(ge=0, le=1)]] = Field(
        (), description="sweeps split.corruption_fraction"
    )

    @model_validator(mode="before")
    @classmethod
    def _only_started(cls, given: Any) -> Any:
        """Students that only begin with a teacher's weights need no alpha and no switch epoch."""
        alone = isinstance(given, Mapping) and given.get("start")
        if alone and not given.get("alpha") and not given.get("switch_epoch"):
            return {**given, "alpha": [1.0], "switch_epoch": [0]}
        return given

    @model_validator(mode="after")
    def _values(self) -> "Grid":
        for key in type(self).model_fields:
            values = getattr(self, key)
            if isinstance(values, tuple):
                distinct(values, f"{key} =")
        axes = (len(self.teacher), len(self.alpha), len(self.switch_epoch), len(self.temperature))
        if any(axes[:3]) and not all(axes):
            empty = [
                key for key in ("teacher", "alpha", "switch_epoch", "temperature")
                if not getattr(self, key)
            ]  # fmt: skip
            raise ValueError(
                f"an empty grid: {', '.join(empty)} has no value; give each of teacher, alpha, "
                "switch_epoch at least one value (or none of them, for baselines only)"
            )
        return self


RECIPE_AXES = ("epochs", "batch_size", "learning_rate", "weight_decay", "init")
SPLIT_AXES = (
    "train_fraction", "label_noise", "target_noise", "corruption", "corruption_strength",
    "corruption_fraction",
)  # fmt: skip
"""Axes of the grid that sweep a key of the section of that name."""


def members(teacher: str) -> list[tuple[str, float]]:
    """The networks of a teacher as the grid names it, and their weights.

    Raises:
        ValueError: where a weight is no number above 0, or a name is given twice.
    """
    found: list[tuple[str, float]] = []
    for part in teacher.split("+"):
        name, colon, text = part.strip().partition(":")
        try:
            weight = float(text) if colon else 1.0
        except ValueError:
            weight = math.nan
        if not (math.isfinite(weight) and weight > 0) or not name:
            raise ValueError(
                f"{teacher!r}: must be a name, or several as small:2+large, with weights above 0"
            )
        found.append((name, weight))
    distinct([name for name, _ in found], "teacher")
    return found


class LrSchedule(Section):
    """How the learning rate changes; which keys a kind needs says `trials.spec.LrSchedule`."""

    kind: LrKind = Field(..., description="constant, step, exponential, cosine or plateau")
    factor: Number | None = Field(
        None, description="of step, exponential, plateau: what the rate is multiplied by, 0..1"
    )
    milestones: Annotated[Values[Count], BeforeValidator(expand_range)] = Field(
        (), description="of step: epochs from which on; list or {start, stop, step}"
    )
    start_epoch: Count = Field(
        0, description="of exponential: the last epoch at the full rate; epochs count from 0"
    )
    horizon: Count | None = Field(
        None, description="of cosine: epochs until the minimum; absent: the trial's own epochs"
    )
    minimum: Number = Field(0.0, description="of cosine, plateau: least rate")
    patience: Count | None = Field(
        None, description="of plateau: epochs without improvement that are let pass"
    )
    threshold: Number = Field(1e-4, description="of plateau: least relative improvement")
    monitor: Monitor = Field(
        "validation_loss",
        description="of plateau: validation_loss, validation_metric or train_loss",
    )
    warmup_epochs: Count = Field(
        0, description="of any kind: epoch e of the first n has (e + 1) / (n + 1) of its rate"
    )

    @model_validator(mode="after")
    def _settings(self) -> "LrSchedule":
        self.over(1)
        return self

    def over(self, epochs: int) -> spec.LrSchedule:
        """The schedule of a trial; a cosine whose horizon is left open ends with its epochs.

        Raises:
            ValueError: naming the key, the value and what is allowed.
        """
        left_open = self.kind == "cosine" and self.horizon is None
        horizon = epochs if left_open else self.horizon
        return spec.LrSchedule(**(self.model_dump() | {"horizon": horizon}))


class EarlyStop(Section):
    """When a training ends before its last epoch, and with which weights."""

    patience: Count = Field(
        0, description="the training ends after so many epochs without improvement; 0: never"
    )
    min_delta: Number = Field(
        0.0, description="an improvement by no more than this does not count, in units of monitor"
    )
    monitor: Monitor = Field(
        "validation_loss", description="validation_loss, validation_metric or train_loss"
    )
    restore_best: Annotated[bool, Strict()] = Field(
        False, description="whether the result is the network after its best epoch, not its last"
    )

    @model_validator(mode="after")
    def _settings(self) -> "EarlyStop":
        self.rule()
        return self

    def rule(self) -> spec.EarlyStop:
        """The rule of a trial.

        Raises:
            ValueError: naming the key, the value and what is allowed.
        """
        return spec.EarlyStop(**self.model_dump())


class Augment(Section):
    """How images are changed at random while training, anew in every epoch."""

    flip: Annotated[bool, Strict()] = Field(False, description="left and right, half of them")
    pad: Count = Field(
        0, description="black pixels around; a place of the image's own size is then cut out"
    )
    rotation: Number = Field(0.0, description="at most so many degrees, either way")

    @model_validator(mode="after")
    def _settings(self) -> "Augment":
        self.how()
        return self

    def how(self) -> augmentation.Augment:
        """What a trial does.

        Raises:
            ValueError: naming the key, the value and what is allowed.
        """
        return augmentation.Augment(**self.model_dump())


class Recipe(Section):
    """How networks are trained."""

    epochs: Epochs = Field(..., description="of a training")
    batch_size: BatchSize = Field(..., description='rows of a minibatch, or "full"')
    optimizer: Optimizer = Field("adam", description="adam or sgd")
    learning_rate: Positive = Field(0.001, description="before recipe.lr_schedule changes it")
    weight_decay: Annotated[Number, Field(ge=0)] = Field(0.0, description="L2 penalty")
    momentum: Annotated[Number, Field(ge=0, lt=1)] = Field(0.0, description="of sgd")
    init: Init = Field("default", description="initialisation; default: PyTorch's layer defaults")
    pretrained: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        None, description='what networks begin with: "imagenet", or a local file of weights; their '
        "output layer is new"
    )  # fmt: skip
    frozen_epochs: Annotated[Count, Field(ge=0)] = Field(
        0, description="epochs at the beginning in which only the output layer is trained"
    )
    soft_loss: Literal["auto", "kl", "mse"] = Field(
        "auto", description="distance to the teacher; auto: kl to classify, mse to regress"
    )
    shuffle: Annotated[bool, Strict()] = Field(
        True,
        description="whether minibatches are drawn anew every epoch, or follow the data's order",
    )
    precision: Precision = Field(
        "float32",
        description="of the training: float32, or bfloat16 with weights and losses in float32 (for "
        "GPUs; slower on a CPU)",
    )
    lr_schedule: LrSchedule = Field(
        LrSchedule(kind="constant"), description="see [recipe.lr_schedule]"
    )
    early_stop: EarlyStop = Field(EarlyStop(), description="see [recipe.early_stop]")
    augment: Augment = Field(Augment(), description="see [recipe.augment]")

    @model_validator(mode="after")
    def _momentum(self) -> "Recipe":
        if self.momentum and self.optimizer != "sgd":
            raise ValueError("momentum is only used by optimizer = 'sgd'; leave it out or 0")
        return self


_TABLES = frozenset(
    name for name, field in Recipe.model_fields.items() if isinstance(field.default, Section)
)
"""Keys of a recipe that are tables of their own."""


class Split(Section):
    """Which rows train and which select; the test rows of a dataset are fixed."""

    train_size: Annotated[Count, Field(ge=1, lt=2**63)] | None = Field(
        None, description="rows of a stratified subset of the training rows; absent: all"
    )
    validation: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0, description="fraction of the training rows that is set aside"
    )
    split_seed: Seed = Field(
        0, description="steers which rows are set aside, perturbed or corrupted, and how; not the "
        "trial's seed"
    )  # fmt: skip
    train_fraction: Annotated[Number, Field(gt=0, le=1)] | None = Field(
        None, description="the same as a part of the training rows that remain; absent: all"
    )
    classes: Values[Annotated[Count, Field(ge=0)]] | None = Field(
        None, description="of the labels: rows of others are left out of every split, and the "
        "network's outputs for them are masked to 0; absent: all"
    )  # fmt: skip
    scaling: Scaling = Field(
        "symmetric", description="of images: symmetric to -1..1, unit to 0..1, standard to mean 0 and "
        "deviation 1 of each channel over the training rows, imagenet with the mean and deviation that "
        "torchvision's weights were trained with"
    )  # fmt: skip
    image_size: Annotated[Count, Field(ge=1, le=4096)] | None = Field(
        None, description="side to which images are resized; absent: as they are"
    )
    label_noise: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0, description="part of the training rows whose label is replaced by another"
    )
    label_noise_part: Annotated[Number, Field(gt=0, le=1)] = Field(
        1.0, description="part of the training rows to which label noise is confined; its rate is "
        "of these"
    )  # fmt: skip
    target_noise: Annotated[Number, Field(ge=0)] = Field(
        0.0, description="of regression: deviation of Gaussian noise on training targets, "
        "standardised"
    )  # fmt: skip
    corruption: Corruption | None = Field(
        None, description="of images: blur, noise, center-black or quarter-black"
    )
    corruption_strength: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="deviation of the blur in pixels, of noise in parts of the range; side of the "
        "black square in parts of the image's"
    )  # fmt: skip
    corruption_fraction: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="part of the images that is corrupted"
    )
    corruption_on: Literal["train", "all"] | None = Field(
        None, description="which splits are corrupted: train or all"
    )

    def rows_of(self, name: str) -> data.DataSpec:
        """What a trial on a dataset uses of it.

        Raises:
            ValueError: naming the key, the value and what is allowed.
        """
        return data.DataSpec(
            name, **{key: value for key, value in self.model_dump().items() if value is not None}
        )


class Teacher(Section):
    """How teachers are trained and chosen."""

    select_on: Literal["test", "validation"] = Field(
        "validation", description="split on which the best teacher is chosen"
    )
    select_by: Literal["metric", "loss"] = Field("metric", description="what is compared")
    seeds: Values[Seed] | None = Field(
        None, description="seeds of the teachers; absent: those of the study"
    )
    match: Literal["best", "seed"] = Field(
        "best", description="best: one teacher for all students; seed: each student has the teacher "
        "of its own seed, and nothing is chosen"
    )  # fmt: skip
    recipe: dict[str, Any] = Field(
        default_factory=dict, description="overrides [recipe] for teachers"
    )
    split: dict[str, Any] = Field(
        default_factory=dict,
        description="overrides [split] for teachers, axes of the grid included",
    )

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if seeds is not None:
            check_seeds(seeds)
        return seeds


class Evaluation(Section):
    """What is measured and kept; never part of a trial's identity."""

    fgsm_epsilons: Strengths = Field(
        (), description="step sizes of the FGSM attack, in the space of the network's inputs"
    )
    pgd_epsilons: Strengths = Field(
        (), description="radii of the PGD attack; each costs pgd_steps times what an FGSM epsilon "
        "costs, and more: a backward pass each"
    )  # fmt: skip
    pgd_steps: Annotated[Count, Field(ge=1, le=MAX_STEPS)] = Field(
        PGD_STEPS, description="of PGD; 20 are recorded as attack pgd-20"
    )
    pgd_step_size: Annotated[Positive, Field(le=MAX_STRENGTH)] | None = Field(
        None, description="of a step of PGD, in units of epsilon; absent: 2.5 / pgd_steps"
    )
    pgd_random_start: Annotated[bool, Strict()] = Field(
        False, description="whether PGD starts at a random place within epsilon; recorded as "
        "pgd-random"
    )  # fmt: skip
    input_noise: Strengths = Field(
        (), description="strengths of noise on the inputs; each costs noise_repeats forward passes"
    )
    input_noise_kind: InputNoise = Field(
        "gaussian", description="gaussian: the strength is the standard deviation; uniform: from "
        "minus to plus the strength; recorded as input_noise-uniform"
    )  # fmt: skip
    weight_noise: Strengths = Field(
        (), description="strengths of Gaussian noise on the weights; each costs noise_repeats "
        "forward passes"
    )  # fmt: skip
    weight_noise_kind: WeightNoise = Field(
        "absolute", description="absolute: the strength is the standard deviation; relative: in "
        "units of each tensor's root mean square; recorded as weight_noise-relative"
    )  # fmt: skip
    noise_repeats: Annotated[Count, Field(ge=1, le=MAX_REPEATS)] = Field(
        NOISE_REPEATS, description="draws of either noise, of which the value is the mean; 20 are "
        "recorded as input_noise-mean20"
    )  # fmt: skip
    fgsm_samples: FgsmSamples = Field(
        "correct", description="correct: FGSM attacks what is classified correctly; all: every "
        "sample, and the value is the accuracy under attack; recorded as fgsm-all"
    )  # fmt: skip
    fgsm_clip: Annotated[bool, Strict()] = Field(
        True, description="whether FGSM stays in the range of inputs; false is recorded as "
        "fgsm-unclipped"
    )  # fmt: skip
    weight_noise_redraw: Redraw = Field(
        "repeat", description="repeat: one draw of noise on the weights for all samples; batch: a "
        "new one for each batch; recorded as weight_noise-batch"
    )  # fmt: skip
    validation: Annotated[bool, Strict()] = Field(
        False, description="also measure robustness on the validation rows"
    )
    every_epochs: Annotated[Count, Field(ge=0)] = Field(
        0, description="evaluate after every n epochs as well; 0: only at the end"
    )
    keep: Literal["none", "weights", "snapshot"] = Field(
        "none", description="what is kept of students and baselines; teachers' weights always are"
    )

    @field_validator(*STRENGTHS)
    @classmethod
    def _strengths(cls, strengths: tuple[float, ...]) -> tuple[float, ...]:
        distinct(strengths, "epsilon")
        return strengths

    @property
    def attacks(self) -> Attacks:
        """What networks are measured under."""
        return Attacks(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Attacks)})


class Expected(Section):
    """Settings that somebody expected to do best, before the study was run.

    The report says what was found of them. What is left out stands for every value.
    """

    dataset: Name | None = Field(None, description="one of the study's; absent: all")
    teacher: Name | None = Field(None, description="one of the grid's; absent: all")
    alpha: Values[Alpha] = Field((), description="some of the grid's; absent: all")
    switch_epoch: Annotated[
        Values[Annotated[Count, Field(ge=0, le=MAX_EPOCHS)]], BeforeValidator(expand_range)
    ] = Field((), description="some of the grid's; list or {start, stop, step}; absent: all")

    def check(self, datasets: Mapping[str, "DatasetStudy"]) -> None:
        """Checks that the study has such settings.

        Raises:
            ValueError: naming the key, the value and what is allowed.
        """
        if self.dataset is not None and self.dataset not in datasets:
            raise ValueError(
                f"expected.dataset = {self.dataset!r}: must be one of {', '.join(sorted(datasets))}"
            )
        grids = [d.grid for n, d in datasets.items() if self.dataset in (None, n)]
        wanted: tuple[tuple[str, Sequence[object]], ...] = (
            ("teacher", () if self.teacher is None else (self.teacher,)),
            ("alpha", self.alpha),
            ("switch_epoch", self.switch_epoch),
        )
        if not any(values for _, values in wanted):
            raise ValueError("expected: must name a teacher, alpha or switch_epoch")
        for key, values in wanted:
            allowed = sorted({value for grid in grids for value in getattr(grid, key)})
            for value in values:
                if value not in allowed:
                    listed = ", ".join(str(one) for one in allowed)
                    raise ValueError(f"expected.{key} = {value!r}: must be one of {listed}")


_SECTION_MODELS: dict[str, type[Section]] = {
    "grid": Grid,
    "recipe": Recipe,
    "split": Split,
    "teacher": Teacher,
    "evaluation": Evaluation,
}


class DatasetStudy(Section):
    """One dataset of a study, with all sections merged."""

    student: Name = Field("student", description="the network that is guided")
    baseline: Annotated[bool, Strict()] = Field(
        True, description="whether the student is also trained alone"
    )
    grid: Grid = Field(Grid(), description="see [grid]")
    recipe: Recipe = Field(..., description="see [recipe]")
    split: Split = Field(Split(), description="see [split]")
    teacher: Teacher = Field(Teacher(), description="see [teacher]")
    evaluation: Evaluation = Field(
        Evaluation(),
        description="see [evaluation]",
    )

    def teacher_recipe(self, epochs: int | None = None) -> Recipe:
        """The recipe of the teachers; with other epochs where these are swept."""
        own = self.teacher.recipe | ({} if epochs is None else {"epochs": epochs})
        return self.changed_recipe(self.recipe, own)

    def teacher_split(self, split: Split) -> Split:
        """The rows of the teachers of students on some rows."""
        return self.changed_split(split, self.teacher.split)

    def changed_recipe(self, recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
        """A recipe with other values for some keys."""
        return Recipe.model_validate(_merge(recipe.model_dump(), changes))

    def changed_split(self, split: Split, changes: Mapping[str, Any]) -> Split:
        """Rows with other values for some keys."""
        return Split.model_validate(_merge(split.model_dump(), changes))

    def changed_grid(self, changes: Mapping[str, Any]) -> Grid:
        """The grid with other values on some axes."""
        return Grid.model_validate(_merge(self.grid.model_dump(), changes))

    def a_split(self, **chosen: Any) -> Split:
        """Rows that the study asks for: the first value of every axis that sweeps them.

        Args:
            chosen: other values of some axes.
        """
        first = {axis: values[0] for axis in SPLIT_AXES if (values := getattr(self.grid, axis))}
        return self.split.model_copy(update=first | chosen)

    @property
    def students(self) -> tuple[str, ...]:
        """The networks that are guided."""
        return self.grid.student or (self.student,)


class Study(Section):
    """A whole study, validated."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = Field(
        ..., description="lower-case letters, digits, - and _; names files in the results"
    )
    title: str = Field("", max_length=200, description="one line")
    question: str = Field("", max_length=4000, description="what the study asks")
    seeds: Values[Seed] = Field(..., description="repeats of every point")
    datasets: dict[str, DatasetStudy] = Field(..., min_length=1, description="by dataset name")
    expected: tuple[Expected, ...] = Field(
        (), max_length=100, description="settings expected to do best, [[expected]]; see there"
    )
    published: tuple[Published, ...] = Field(
        (), max_length=MAX_PUBLISHED, description="published values, [[published]]; see there"
    )
    figures: tuple[StatedFigure, ...] = Field(
        (), max_length=MAX_STATED, description="figures of the report, [[figures]]; see there"
    )
    tables: tuple[StatedTable, ...] = Field(
        (), max_length=MAX_STATED, description="tables of the report, [[tables]]; see there"
    )

    starts: dict[str, Start] = Field(
        default_factory=dict, max_length=100, description="ways to begin, [starts.NAME]; see there"
    )
    ramps: dict[str, Values[Annotated[Number, Field(ge=0, le=1)]]] = Field(
        default_factory=dict, max_length=100, description="ramps of alpha by name: for each guided "
        "epoch, the part of the way from alpha to 1; the last stays"
    )  # fmt: skip
    then: tuple[Then, ...] = Field(
        (), max_length=10, description="later grids around the best of the one before, [[then]]"
    )
    search: dict[str, Search] = Field(
        default_factory=dict, max_length=10, description="searches, [search.NAME]; see there"
    )

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if _WINDOWS_DEVICE.fullmatch(name):
            raise ValueError("must be a name that Windows takes for a file, not for a device")
        return name

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        check_seeds(seeds)
        return seeds

    @model_validator(mode="after")
    def _expected(self) -> "Study":
        for expected in self.expected:
            expected.check(self.datasets)
        return self

    @model_validator(mode="after")
    def _stated(self) -> "Study":
        check_published(self.published, list(self.datasets))
        check_figures(self.figures)
        return self

    def to_json(self) -> str:
        """The whole study as text, for the record."""
        return self.model_dump_json()


def documented_keys() -> list[tuple[str, str, str]]:
    """Every key of a study file.

    Returns:
        For each: its dotted name, its default (empty where it must be given), what it means.
    """
    sections: tuple[tuple[str, type[BaseModel], frozenset[str]], ...] = (
        (
            "",
            Study,
            frozenset(
                {
                    "datasets",
                    "expected",
                    "published",
                    "figures",
                    "tables",
                    "starts",
                    "then",
                    "search",
                }
            ),
        ),
        *((f"{name}.", model, frozenset()) for name, model in _SECTION_MODELS.items()),
        ("starts.NAME.", Start, frozenset()),
        ("then.", Then, frozenset()),
        ("search.NAME.", Search, frozenset()),
        ("expected.", Expected, frozenset()),
        ("published.", Published, frozenset()),
        ("figures.", StatedFigure, frozenset()),
        ("tables.", StatedTable, frozenset({"measures"})),
        ("tables.measures.", TableColumn, frozenset()),
        ("datasets.NAME.", DatasetStudy, frozenset(SECTIONS)),
    )
    return [
        key
        for prefix, model, skipped in sections
        for name, field in model.model_fields.items()
        if name not in skipped
        for key in _documented(prefix + name, field)
    ]


def _documented(key: str, field: FieldInfo) -> list[tuple[str, str, str]]:
    """A key, or those of the table that it stands for."""
    if field.is_required():
        return [(key, "", field.description or "")]
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        return [
            (f"{key}.{name}", _shown_default(getattr(value, name)), inner.description or "")
            for name, inner in type(value).model_fields.items()
        ]
    return [(key, _shown_default(value), field.description or "")]


def _shown_default(value: object) -> str:
    if value is None:
        return "none"
    return json.dumps(value) if not isinstance(value, str) else f'"{value}"'


def builtin_names() -> list[str]:
    """The studies that ship inside the package."""
    folder = resources.files("sweep") / "studies"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def load_study(
    source: str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | Iterable[str] = ()
) -> Study:
    """Reads and validates a study.

    Args:
        source: a built-in name, a TOML file, or the content of one as a mapping.
        overrides: `{"recipe.epochs": 2}` or `["recipe.epochs=2"]`; see `apply_overrides`.

    Raises:
        StudyError: naming the key, the value and what is allowed.
    """
    extensions.load()
    raw = _plain(source if isinstance(source, Mapping) else _read(str(source)))
    apply_overrides(raw, overrides)
    return validate(raw)


def validate(raw: Mapping[str, Any]) -> Study:
    """Validates the content of a study file.

    Raises:
        StudyError: naming the key, the value and what is allowed.
    """
    _known_keys(raw)
    sections = {key: raw[key] for key in SECTIONS if key in raw}
    datasets = raw.get("datasets", {})
    merged = {
        name: _merge(sections, own if isinstance(own, Mapping) else {})
        for name, own in datasets.items()
    }
    for name in merged:
        _ask_catalog(lambda name=name: data.get(name), f"datasets.{name}")
    try:
        study = Study.model_validate(
            {key: value for key, value in raw.items() if key not in SECTIONS} | {"datasets": merged}
        )
    except ValidationError as error:
        raise StudyError(_describe(error, raw)) from None
    for name, dataset in study.datasets.items():
        _check_dataset(name, dataset)
        _check_starts(study, name, dataset)
        _check_later(study, name, dataset)
    cells = count_cells(study)
    if cells > MAX_CELLS:
        raise StudyError(f"the grid has {cells:,} cells; at most {MAX_CELLS:,} are allowed")
    if cells == 0:
        raise StudyError("an empty grid: no cell to train; give [grid] values or baseline = true")
    return study


def count_cells(study: Study) -> int:
    """The number of cells, without making them; at most so many where some depend on answers."""
    total = 0
    for dataset in study.datasets.values():
        grid = dataset.grid
        alone = _times(grid, (*RECIPE_AXES, *SPLIT_AXES)) * len(dataset.students)
        total += alone * len(study.seeds) * dataset.baseline
        total += _grid_cells(study, dataset, study.starts)
        for then in study.then:
            later = dataset.model_copy(update={"grid": dataset.changed_grid(then.grid)})
            total += _grid_cells(study, later, study.starts)
        for search in study.search.values():
            start = _with_weights(search, study.starts[search.start], search.high)
            one = {"": start}
            tried = dataset.model_copy(
                update={"grid": grid.model_copy(update={"start": ("",), "epochs": ()})}
            )
            last = dataset.model_copy(update={"grid": grid.model_copy(update={"start": ("",)})})
            total += search.trials * _grid_cells(study, tried, one)
            total += _grid_cells(study, last, one)
    return total


def _grid_cells(study: Study, dataset: DatasetStudy, starts: Mapping[str, Start]) -> int:
    """The cells of a grid, but for baselines: students, and what they need."""
    grid, seeds = dataset.grid, len(study.seeds)
    networks = {name for teacher in grid.teacher for name, _ in members(teacher)}
    splits = [axis for axis in SPLIT_AXES if axis not in dataset.teacher.split]
    teachers = len(networks) * _times(grid, (*splits, "teacher_epochs"))
    trainings = sum(
        _trainings(starts[name], dataset)
        for name in grid.start
        if name in starts and starts[name].training is not None and grid.teacher
    )
    students = _students(dataset, grid)
    return teachers * len(dataset.teacher.seeds or study.seeds) + (trainings + students) * seeds


def _students(dataset: DatasetStudy, grid: Grid) -> int:
    """The combinations of a grid."""
    guided = len(grid.teacher) * len(grid.alpha) * len(grid.switch_epoch) * len(grid.temperature)
    further = (*RECIPE_AXES, *SPLIT_AXES, "teacher_epochs", "start", "ramp", "begin_epoch")
    return guided * _times(grid, further) * len(dataset.students)


def _trainings(start: Start, dataset: DatasetStudy) -> int:
    """How many trainings of a seed there are for a way to begin."""
    fixed = {*(start.training or {}), *start.split, *(("init",) if start.init else ())}
    axes = [axis for axis in (*RECIPE_AXES, *SPLIT_AXES) if axis not in fixed]
    count = _times(dataset.grid, axes) * (1 if start.student else len(dataset.students))
    if start.needs_teacher:
        count *= len(dataset.grid.teacher) * _times(dataset.grid, ("teacher_epochs",))
    return count


def _times(grid: Grid, axes: Iterable[str]) -> int:
    return math.prod(max(1, len(getattr(grid, axis))) for axis in axes)


def apply_overrides(raw: dict[str, Any], overrides: Mapping[str, Any] | Iterable[str]) -> None:
    """Sets keys by dotted path, in place.

    `recipe.epochs=2` holds for every dataset, also where the study overrides that key for one;
    `datasets.cifar10.recipe.epochs=2` for one alone. A value is read as TOML; what is no TOML
    value is a string. With another `kind`, what the study says about the old one falls away.

    Raises:
        StudyError: for a text without `=` or a path through something that is no section.
    """
    if isinstance(overrides, str):
        overrides = [overrides]
    if isinstance(overrides, Mapping):
        pairs = list(overrides.items())
    else:
        pairs = [_parse_override(text) for text in overrides]
    for path, value in pairs:
        keys = path.split(".") if isinstance(path, str) else []
        if not keys or not all(keys):
            raise StudyError(f"override {path!r}: must be a dotted key, e.g. recipe.epochs")
        value = _plain(value, path, len(keys))
        datasets = raw.get("datasets")
        if keys[0] in SECTIONS and isinstance(datasets, Mapping):
            for dataset in datasets.values():
                _forget(dataset, keys[:-1] if _is_kind(keys) else keys)
        target = raw
        for position, key in enumerate(keys[:-1]):
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                section = ".".join(keys[: position + 1])
                raise StudyError(
                    f"{path} = {_show(value)}: {section} is not a section of the study"
                )
        if _is_kind(keys) and target.get("kind") != value:
            beside = {other for other, _ in pairs}
            section = ".".join(keys[:-1])
            for key in [key for key in target if f"{section}.{key}" not in beside]:
                del target[key]
        target[keys[-1]] = value


def _parse_override(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not path or not all(path.split(".")):
        raise StudyError(f"--set {text!r}: must be written key=value, e.g. recipe.epochs=2")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):  # ValueError: no TOML, or an integer of too many digits
        return path, value.strip()
    return path, parsed["value"] if len(parsed) == 1 else value.strip()


def _is_kind(keys: Sequence[str]) -> bool:
    """Whether a dotted key says of which kind a table is, and so which other keys it has."""
    return len(keys) > 1 and keys[-2] in _TABLES and keys[-1] == "kind"


def _forget(table: object, keys: Sequence[str]) -> None:
    for key in keys[:-1]:
        if not isinstance(table, dict) or key not in table:
            return
        table = table[key]
    if isinstance(table, dict):
        table.pop(keys[-1], None)


def _read(source: str) -> dict[str, Any]:
    if source in builtin_names():
        text = (resources.files("sweep") / "studies" / f"{source}.toml").read_text("utf-8")
        return tomllib.loads(text)
    path = Path(source)
    try:
        if not path.is_file():
            raise StudyError(_no_file(source, path))
        if path.stat().st_size > MAX_STUDY_BYTES:
            raise StudyError(f"study file {source!r} is larger than {MAX_STUDY_BYTES:,} bytes")
        text = path.read_bytes().decode("utf-8-sig")
        if _LONG_KEY.search(text):
            raise StudyError(f"study file {source!r} is nested more than {MAX_DEPTH} levels deep")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise StudyError(f"study file {source!r} is not UTF-8 text: {error}") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, StudyError):
            raise
        raise StudyError(f"study file {source!r} is not valid TOML: {error}") from None
    except OSError as error:
        raise StudyError(f"study file {source!r} cannot be read: {error.strerror}") from None


def _no_file(source: str, path: Path) -> str:
    if source and path.is_dir():
        return f"study {source!r} is a directory; {_allowed(source, builtin_names())}, or a file"
    if source and path.exists():
        return f"study {source!r} is not a regular file"
    if path.suffix == ".toml" or len(path.parts) > 1:
        return f"study file {source!r} does not exist"
    return f"unknown study {source!r}; {_allowed(source, builtin_names())}, or a file"


def _plain(value: Any, key: str = "", depth: int = 0) -> Any:
    """A copy in the types of TOML, of limited depth; anything else is refused by its key."""
    if depth > MAX_DEPTH:
        raise StudyError(f"{key}: the study is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        for name in map(str, value):
            if len(name) > MAX_NAME or not name.isprintable():
                where = f" in {key}" if key else ""
                raise StudyError(
                    f"unknown key {_show(name)}{where}: a key is at most {MAX_NAME} printable characters"
                )
        return {
            str(name): _plain(item, f"{key}.{name}" if key else str(name), depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item, key, depth + 1) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise StudyError(f"{key}: an integer of {value.bit_length()} bits; at most 64 are allowed")
    if value is not None and not isinstance(value, str | bool | int | float | date | time):
        raise StudyError(
            f"{key}: a value of type {type(value).__name__}; allowed are text, numbers, true and "
            "false, lists and sections"
        )
    return value


def _merge(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return dict(common) | {
        key: value if _stands_alone(value, common.get(key)) else _merge(common[key], value)
        for key, value in own.items()
    }


def _stands_alone(value: object, common: object) -> bool:
    """Whether a value replaces the common one whole; of tables a range does, and another kind."""
    if not isinstance(value, Mapping) or not isinstance(common, Mapping):
        return True
    other_kind = "kind" in value and common.get("kind", value["kind"]) != value["kind"]
    return other_kind or bool({"start", "stop"} & set(value))


def _allowed(value: str, names: Iterable[str]) -> str:
    names = sorted(names)
    close = difflib.get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"allowed: {', '.join(names)}{hint}"


_CHANGES: Mapping[tuple[type[Section], str], type[Section]] = {
    (Teacher, "recipe"): Recipe,
    (Teacher, "split"): Split,
    (Start, "training"): Recipe,
    (Start, "split"): Split,
}
"""Tables of changes to a section, by the section that has them."""


def _known_keys(raw: Mapping[str, Any]) -> None:
    """Refuses unknown keys with the nearest known one; pydantic would name them less well."""
    top = {*Study.model_fields, *SECTIONS}
    own = set(DatasetStudy.model_fields)

    def check(table: object, path: str, known: set[str]) -> None:
        if not isinstance(table, Mapping):
            raise StudyError(f"{path} = {_show(table)}: must be a section (a TOML table)")
        for key in table:
            if key not in known:
                name = f"{path}.{key}" if path else key
                raise StudyError(f"unknown key {name!r}; {_allowed(key, known)}")

    def check_section(table: object, path: str, model: type[Section]) -> None:
        check(table, path, set(model.model_fields))
        for key, value in table.items() if isinstance(table, Mapping) else ():
            field = model.model_fields[key]
            inner = _CHANGES.get((model, key)) or field.annotation
            absent = value is None and field.default is None
            if isinstance(inner, type) and issubclass(inner, Section) and not absent:
                check_section(value, f"{path}.{key}", inner)

    def check_sections(table: Mapping[str, Any], path: str) -> None:
        for section, model in _SECTION_MODELS.items():
            if section in table:
                check_section(table[section], f"{path}{section}", model)

    check(raw, "", top)
    check_sections(raw, "")
    if "datasets" not in raw or raw["datasets"] == {}:
        raise StudyError(f"datasets: missing; name at least one, {_allowed('', data.names())}")
    if not isinstance(raw["datasets"], Mapping):
        raise StudyError(
            f"datasets = {_show(raw['datasets'])}: must be a section for each dataset, such as "
            f"[datasets.digits]; {_allowed('', data.names())}"
        )
    for name, table in raw["datasets"].items():
        check(table, f"datasets.{name}", own)
        check_sections(table, f"datasets.{name}.")
    named: tuple[tuple[str, type[Section]], ...] = (("starts", Start), ("search", Search))
    for key, model in named:
        tables = raw.get(key, {})
        check(tables, key, set(tables) if isinstance(tables, Mapping) else set())
        for name, table in tables.items():
            check_section(table, f"{key}.{name}", model)
    later = raw.get("then", ())
    for number, table in enumerate(later if isinstance(later, list) else ()):
        check_section(table, f"then[{number}]", Then)


def _ask_catalog(ask: Any, key: str) -> Any:
    try:
        return ask()
    except ValueError as error:
        raise StudyError(f"{key}: {error}") from None


def _check_dataset(name: str, dataset: DatasetStudy) -> None:
    """Checks what needs more than one section."""
    key = f"datasets.{name}"
    grid, recipe = dataset.grid, dataset.recipe
    _check_splits(name, dataset)
    rows = dataset.a_split().rows_of(name)
    for student in dataset.students:
        where = f"{key}.grid.student" if grid.student else f"{key}.student"
        _check_network(rows, student, where, recipe.pretrained, f"{key}.recipe.pretrained")
    given = dataset.teacher.recipe.get("pretrained", recipe.pretrained)
    for teacher in grid.teacher:
        for member, _ in _ask_catalog(functools.partial(members, teacher), f"{key}.grid.teacher"):
            where = f"{key}.teacher.recipe.pretrained"
            _check_network(rows, member, f"{key}.grid.teacher", given, where)
    chosen = dataset.teacher.match == "best" and grid.teacher
    if dataset.teacher.select_on == "validation" and chosen and not dataset.split.validation:
        raise StudyError(
            f"{key}.teacher.select_on = 'validation': needs split.validation above 0 (a fraction "
            "of the training rows), or select_on = 'test', which chooses on the final figure's rows"
        )
    if dataset.evaluation.validation and not dataset.split.validation:
        raise StudyError(
            f"{key}.evaluation.validation = true: needs split.validation above 0 (a fraction of the "
            "training rows); or leave it false, and robustness is measured on the test rows alone"
        )
    task = data.get(name).task
    if recipe.soft_loss == "kl" and task == "regression":
        raise StudyError(f"{key}.recipe.soft_loss = 'kl': must be mse or auto for regression")
    for epochs in grid.epochs or (recipe.epochs,):
        late = [epoch for epoch in grid.switch_epoch if epoch > epochs]
        if late and grid.past_end == "refuse":
            raise StudyError(
                f"{key}.grid.switch_epoch = {late[0]}: past the end of {epochs} epochs; allowed: "
                f"0..{epochs} ({epochs} never switches; grid.past_end = 'allow' takes larger "
                "values to mean the same)"
            )
    for begin in grid.begin_epoch:
        never = [epoch for epoch in grid.switch_epoch if 0 < epoch <= begin]
        if never:
            raise StudyError(
                f"{key}.grid.begin_epoch = {begin}: must be below every switch_epoch, and one is "
                f"{never[0]}: nothing would be guided"
            )
    _check_recipe(f"{key}.recipe", recipe, grid.learning_rate or (recipe.learning_rate,), dataset)
    try:
        teachers = dataset.teacher_recipe()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([f"{key}.teacher.recipe", *map(str, first["loc"])])
        raise StudyError(_line(where, first, shows_value=bool(first["loc"]))) from None
    if grid.teacher:
        _check_recipe(f"{key}.teacher.recipe", teachers, (teachers.learning_rate,), dataset)


def _check_network(
    rows: data.DataSpec, name: str, key: str, weights: object, weights_key: str
) -> models.ModelEntry:
    """Checks that a network is known, takes such inputs, and can begin with such weights."""
    entry: models.ModelEntry = _ask_catalog(functools.partial(models.get, rows.name, name), key)
    _ask_catalog(functools.partial(entry.check, rows.input_shape), key)
    if isinstance(weights, str):
        check = functools.partial(pretrained.check, entry, rows.input_shape, weights)
        _ask_catalog(check, weights_key)
    return entry


def _check_growth(rows: data.DataSpec, teacher: str, student: str, start: Start, key: str) -> None:
    """Checks that a teacher's network can become, or be held against, a student's."""
    outputs = data.get(rows.name).outputs
    small, large = (
        alignment.Site(models.get(rows.name, name), rows.input_shape, outputs)
        for name in (teacher, student)
    )
    if start.growth != "none":
        growth = functools.partial(alignment.check, small, large, start.growth, start.head)
        _ask_catalog(growth, key)
    chains = small.chain(), large.chain()
    if start.training is not None and start.objective.anchor and None not in chains:
        padded = functools.partial(alignment.check, small, large, "uniform-pad")
        _ask_catalog(padded, f"{key}: objective.anchor: as where networks are padded")


def _check_splits(name: str, dataset: DatasetStudy) -> None:
    """Checks the rows of students and of teachers, for every value of an axis that sweeps them."""
    grid, key = dataset.grid, f"datasets.{name}"
    for axis in ("", *SPLIT_AXES):
        for value in getattr(grid, axis, ()) if axis else (None,):
            chosen = {axis: value} if axis else {}
            swept = dataset.split.model_copy(update=chosen)
            where = f"{key}.grid.{axis}" if axis else f"{key}.split"
            if not _is_allowed(swept, name):  # by itself; another axis may give what it lacks
                swept = dataset.a_split(**chosen)
            rows = _ask_catalog(functools.partial(swept.rows_of, name), where)
            if not grid.teacher:
                continue
            teachers = functools.partial(dataset.teacher_split, swept)
            own = _changed(teachers, f"{key}.teacher.split")
            other = _ask_catalog(functools.partial(own.rows_of, name), f"{key}.teacher.split")
            _require_same_inputs(
                rows, other, f"{key}.teacher.split", "they are shown the same inputs"
            )
            if own.classes != swept.classes and dataset.recipe.augment.how().is_on:
                raise StudyError(
                    f"{key}.teacher.split.classes: must be those of the students where "
                    "recipe.augment changes the images that teachers are asked about"
                )


def _is_allowed(split: Split, name: str) -> bool:
    try:
        split.rows_of(name)
    except ValueError:
        return False
    return True


def _changed(change: Callable[[], T], key: str) -> T:
    """A section with changes, or what is wrong with them."""
    try:
        return change()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([key, *map(str, first["loc"])])
        raise StudyError(_line(where, first, shows_value=bool(first["loc"]))) from None


def _check_starts(study: Study, name: str, dataset: DatasetStudy) -> None:
    """Checks the ways in which students' weights begin, and what is asked of them later."""
    grid, key = dataset.grid, f"datasets.{name}"
    known = {**KNOWN, **study.starts}
    for asked in grid.start:
        if asked not in known:
            raise StudyError(f"{key}.grid.start = {asked!r}; {_allowed(asked, known)}")
        _check_start(asked, known[asked], name, dataset, f"{key}.grid.start = {asked!r}")
    for asked in grid.ramp:
        if asked not in guidance.RAMPS and asked not in study.ramps:
            allowed = _allowed(asked, {**guidance.RAMPS, **study.ramps})
            raise StudyError(f"{key}.grid.ramp = {asked!r}; {allowed}")
    if dataset.teacher.match == "seed" and grid.teacher:
        missing = sorted(set(study.seeds) - set(dataset.teacher.seeds or study.seeds))
        if missing:
            raise StudyError(
                f"{key}.teacher.match = 'seed': needs a teacher of every seed of the study, and "
                f"teacher.seeds lacks {missing[0]}"
            )


def _check_start(asked: str, start: Start, name: str, dataset: DatasetStudy, where: str) -> None:
    """Checks that the students of a dataset can begin so.

    Args:
        asked: its name.
        start: what it is.
        name: of the dataset.
        dataset: the section.
        where: what asks for it, and the value.
    """
    grid, recipe = dataset.grid, dataset.recipe
    rows = dataset.a_split().rows_of(name)
    own = () if start.student is None else (start.student,)
    for student in own:
        weights = None if start.needs_teacher else recipe.pretrained
        weights_key = f"datasets.{name}.recipe.pretrained"
        _check_network(rows, student, f"starts.{asked}.student", weights, weights_key)
    if start.needs_teacher:
        several = [teacher for teacher in grid.teacher if len(members(teacher)) > 1]
        if several:
            raise StudyError(f"{where}: needs one teacher, and {several[0]!r} are several")
        for student, teacher in itertools.product(own or dataset.students, grid.teacher):
            _check_growth(rows, teacher, student, start, where)
    pretrained = recipe.pretrained
    if start.training is not None:
        key = f"starts.{asked}.training"
        changed = _changed(functools.partial(dataset.changed_recipe, recipe, start.training), key)
        _check_recipe(key, changed, (changed.learning_rate,), dataset)
        pretrained = changed.pretrained
        for student in own or dataset.students:
            _check_network(
                rows, student, f"starts.{asked}.student", pretrained, f"{key}.pretrained"
            )
        key = f"starts.{asked}.split"
        split = _changed(functools.partial(dataset.changed_split, dataset.split, start.split), key)
        other = _ask_catalog(functools.partial(split.rows_of, name), key)
        _require_same_inputs(rows, other, key, "they go on with its weights")
    if start.needs_teacher and pretrained:
        raise StudyError(
            f"{where}: the teacher's weights and recipe.pretrained cannot both be what a network "
            "begins with"
        )


def _require_same_inputs(rows: data.DataSpec, other: data.DataSpec, key: str, since: str) -> None:
    """Refuses other networks' inputs that students would not know.

    Args:
        rows: of the students.
        other: of the others.
        key: the section that says so.
        since: why they must be the same.
    """
    for same in ("scaling", "image_size"):
        if getattr(rows, same) != getattr(other, same):
            raise StudyError(
                f"{key}.{same} = {getattr(other, same)!r}: must be that of the students, "
                f"{getattr(rows, same)!r}; {since}"
            )


def _check_later(study: Study, name: str, dataset: DatasetStudy) -> None:
    """Checks the grids and searches that depend on answers."""
    for number, then in enumerate(study.then):
        key = f"then[{number}]"
        axes = sorted(set(Grid.model_fields) - {"past_end"})
        for axis in (*then.best, *then.grid):
            if axis not in axes:
                raise StudyError(f"{key}: unknown axis {axis!r}; {_allowed(axis, axes)}")
        swept = {axis for axis in axes if getattr(dataset.grid, axis)}
        swept |= {axis for earlier in study.then[:number] for axis in earlier.grid}
        for axis in then.best:
            if axis in ("student", "teacher"):
                raise StudyError(
                    f"{key}.best = {axis!r}: must be another axis; the best is found for each "
                    "student and teacher"
                )
            if axis not in swept and dataset.grid.teacher:
                allowed = _allowed(axis, swept - {"student", "teacher"})
                raise StudyError(
                    f"{key}.best = {axis!r}: must be an axis of the grid before; {allowed}"
                )
        later = _changed(functools.partial(dataset.changed_grid, then.grid), f"{key}.grid")
        changed = dataset.model_copy(update={"grid": later})
        _check_dataset(name, changed)
        _check_starts(study, name, changed)
        if then.select_on == "validation" and not dataset.split.validation:
            raise StudyError(
                f"{key}.select_on = 'validation': needs split.validation above 0, or select_on = "
                "'test', which chooses on the final figure's rows"
            )
    for asked, search in study.search.items():
        key = f"search.{asked}"
        if search.start not in study.starts:
            raise StudyError(
                f"{key}.start = {search.start!r}; {_allowed(search.start, study.starts)}"
            )
        if study.starts[search.start].training is None:
            raise StudyError(f"{key}.start = {search.start!r}: must be a start with a training")
        if asked in {**KNOWN, **study.starts}:
            raise StudyError(f"{key}: a start has this name; the search's own start needs another")
        tried = [start for start in study.starts if re.fullmatch(re.escape(asked) + r"-\d+", start)]
        if tried:
            raise StudyError(
                f"starts.{tried[0]}: must have another name; the suggestions of {key} are called so"
            )
        _check_searched(asked, search, study.starts[search.start], name, dataset)
        evaluation = dataset.evaluation
        points = [(attack, epsilon) for attack, epsilon in evaluation.attacks.points]
        if search.attack is not None and (search.attack, search.epsilon) not in points:
            there = ", ".join(f"{attack} {epsilon:g}" for attack, epsilon in points) or "none"
            raise StudyError(
                f"{key}.attack = {search.figure!r}: must be measured by [evaluation]; it measures {there}"
            )
        if search.select_on == "validation":
            if not dataset.split.validation:
                raise StudyError(
                    f"{key}.select_on = 'validation': needs split.validation above 0, or 'test'"
                )
            if search.attack is not None and not evaluation.validation:
                raise StudyError(
                    f"{key}.select_on = 'validation': needs evaluation.validation = true, so that "
                    "attacks are measured on these rows too"
                )
        unknown = sorted(set(search.seeds or ()) - set(study.seeds))
        if unknown:
            raise StudyError(f"{key}.seeds = {unknown[0]}: must be seeds of the study")


def _with_weights(search: Search, start: Start, weight: float) -> Start:
    """A start with one value for every weight that a search seeks."""
    objective = start.objective.model_copy(update=dict.fromkeys(search.weights, weight))
    return start.model_copy(update={"objective": objective})


def _check_searched(
    asked: str, search: Search, start: Start, name: str, dataset: DatasetStudy
) -> None:
    """Checks a start with all the weights that a search may give it."""
    key = f"search.{asked}"
    if "noisy" in search.weights and not start.objective.amplitude:
        raise StudyError(
            f"starts.{search.start}.objective.amplitude = 0.0: must be above 0 where {key} seeks "
            "the weight of noisy"
        )
    all_on = _with_weights(search, start, search.high)
    _check_start(search.start, all_on, name, dataset, f"{key}.start = {search.start!r}")
    epochs = search.epochs or max(dataset.grid.epochs or (dataset.recipe.epochs,))
    begin = max(dataset.grid.begin_epoch, default=0)
    if begin >= epochs:
        raise StudyError(f"{key}.epochs = {epochs}: must be above grid.begin_epoch, {begin}")


def _check_recipe(
    key: str, recipe: Recipe, learning_rates: Sequence[float], dataset: DatasetStudy
) -> None:
    """Checks what a recipe asks of the split and of the learning rates it is used with."""
    schedule, rule = recipe.lr_schedule.over(recipe.epochs), recipe.early_stop.rule()
    monitors: Mapping[str, Monitor] = {}
    for rate in learning_rates:
        try:
            monitors = spec.Recipe(
                "", None, learning_rate=rate, lr_schedule=schedule, early_stop=rule
            ).monitors
        except ValueError as error:
            raise StudyError(f"{key}.{error}") from None
    for table, monitor in monitors.items():
        if monitor != "train_loss" and not dataset.split.validation:
            raise StudyError(
                f"{key}.{table}.monitor = {monitor!r}: needs split.validation above 0 (a fraction "
                "of the training rows), or monitor = 'train_loss'; the test rows are never watched"
            )


def _show(value: object) -> str:
    text = json.dumps(value, default=str) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _message(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return (
        message.replace("a valid tuple", "a list, in square brackets")
        .replace("a valid string", "text in quotes")
        .replace("a valid boolean", "true or false")
        .replace("a valid integer", "a whole number")
    )


def _describe(error: ValidationError, raw: Mapping[str, Any]) -> str:
    """Each problem as `key = value: what is allowed`, under the key as the user wrote it."""
    lines: list[str] = []
    for problem in error.errors(include_url=False):
        if len(lines) == 20:
            break
        loc = [part for part in problem["loc"] if not _is_type_tag(part)]
        if len(loc) > 2 and loc[0] == "datasets" and loc[2] in SECTIONS:
            own = raw["datasets"].get(loc[1], {}).get(loc[2], {})
            if len(loc) == 3 or not isinstance(own, Mapping) or loc[3] not in own:
                loc = loc[2:] if loc[2] in raw else loc
        key = ""
        for part in loc:
            key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
        within = loc[2:] if loc[:1] == ["datasets"] else loc
        if problem["type"] == "missing":
            line = f"{key}: missing"
        elif problem["type"] == "string_pattern_mismatch" and key == "name":
            line = (
                f"name = {_show(problem['input'])}: must be lower-case letters, digits, - and _, "
                "starting with a letter or digit, at most 64 long"
            )
        else:
            whole_section = not within or (len(within) == 1 and within[0] in SECTIONS)
            line = _line(key, problem, shows_value=not whole_section)
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


def _line(key: str, problem: Any, shows_value: bool) -> str:
    """A problem in words; that of a table within a section begins with the key inside it."""
    if problem["loc"] and problem["loc"][-1] in _TABLES:
        return f"{key}.{_message(problem)}"
    if not key:  # of the whole study: the message names its keys
        return _message(problem)
    value = f" = {_show(problem['input'])}" if shows_value else ""
    return f"{key}{value}: {_message(problem)}"


def _is_type_tag(part: object) -> bool:
    """Pydantic names the branch of a union in the location; users did not write it."""
    return isinstance(part, str) and ("[" in part or part in {"int", "none", "constrained-int"})

"""How networks are trained: section `[recipe]`, with its tables."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, Strict, model_validator

import data.augment as augmentation
from sweep.section import (
    BatchSize,
    Count,
    Epochs,
    Init,
    Number,
    Optimizer,
    Positive,
    Section,
    Values,
    expand_range,
)
from trials import spec
from trials.spec import LrKind, Monitor, Precision


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


RECIPE_TABLES = frozenset(
    name for name, field in Recipe.model_fields.items() if isinstance(field.default, Section)
)
"""Keys of a recipe that are tables of their own."""

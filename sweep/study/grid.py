"""The axes of a study: section `[grid]`."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from sweep.section import (
    MAX_EPOCHS,
    Alpha,
    BatchSize,
    Corruption,
    Count,
    Epochs,
    Init,
    Name,
    Number,
    Positive,
    Section,
    Values,
    distinct,
    expand_range,
)


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

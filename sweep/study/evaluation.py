"""What is measured of trained networks, and what of them is kept: section `[evaluation]`."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field, Strict, field_validator

from sweep.section import Count, Positive, Section, Strengths, distinct
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

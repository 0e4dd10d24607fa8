"""Which attacks a network is measured under, how strong, and what each is called in a record.

A point of a record is an attack's name, a strength and a value. So the name says every setting
that is not the default: `pgd` has 10 steps, `pgd-20` has 20. Two points with one name and one
strength were measured in the same way and can be compared. What stands before the first `-` is the
family. Values only, free of torch.
"""

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

InputNoise = Literal["gaussian", "uniform"]
WeightNoise = Literal["absolute", "relative"]
FgsmSamples = Literal["correct", "all"]
Redraw = Literal["repeat", "batch"]

PGD_STEPS = 10
PGD_REACH = 2.5
"""All steps of PGD together, in units of epsilon: a walk may turn and still reach the border."""
NOISE_REPEATS = 5
MAX_STEPS = 1000
MAX_REPEATS = 1000
MAX_STRENGTH = 1e6
"""Far beyond any input; what is larger overflows in 32 bits, after all the training."""

STRENGTHS = ("fgsm_epsilons", "pgd_epsilons", "input_noise", "weight_noise")
"""The settings that ask for an attack; the others say how it is done."""
_CHOICES = (
    ("input_noise_kind", InputNoise),
    ("weight_noise_kind", WeightNoise),
    ("fgsm_samples", FgsmSamples),
    ("weight_noise_redraw", Redraw),
)


@dataclass(frozen=True)
class Attacks:
    """What a network is measured under. No part of a trial's identity.

    Strengths of FGSM, PGD and noise on inputs are in the space in which the network sees its inputs.

    Attributes:
        fgsm_epsilons: step sizes of the fast gradient sign method.
        pgd_epsilons: radii of projected gradient descent.
        pgd_steps: its steps; each is a forward and a backward pass.
        pgd_step_size: length of a step in units of epsilon; None is `PGD_REACH / pgd_steps`.
        pgd_random_start: whether it starts at a random place within epsilon, not at the sample.
        input_noise: strengths of noise on the inputs.
        input_noise_kind: `gaussian`, of which the strength is the standard deviation, or `uniform`
            between plus and minus the strength: then no sample leaves the reach of FGSM and PGD.
        weight_noise: strengths of Gaussian noise on all weights and biases.
        weight_noise_kind: `absolute`, the strength is the standard deviation, or `relative`, it is
            the standard deviation over the root mean square of the tensor.
        noise_repeats: draws of either noise, of which the value is the mean.
        fgsm_samples: which samples FGSM attacks. `correct`: those that are classified correctly, and
            the value is the percentage of all samples that still is. `all`: every sample, and the
            value is the accuracy under attack; the step may put a wrong one right. Regression
            attacks every sample in any case.
        fgsm_clip: whether FGSM stays in the range of inputs.
        weight_noise_redraw: when noise on weights is drawn: `repeat`, once for all samples, so that
            a draw is one network; `batch`, anew for each batch of the evaluation.

    Raises:
        ValueError: naming the setting, its value and what is allowed.
    """

    fgsm_epsilons: tuple[float, ...] = ()
    pgd_epsilons: tuple[float, ...] = ()
    pgd_steps: int = PGD_STEPS
    pgd_step_size: float | None = None
    pgd_random_start: bool = False
    input_noise: tuple[float, ...] = ()
    input_noise_kind: InputNoise = "gaussian"
    weight_noise: tuple[float, ...] = ()
    weight_noise_kind: WeightNoise = "absolute"
    noise_repeats: int = NOISE_REPEATS
    fgsm_samples: FgsmSamples = "correct"
    fgsm_clip: bool = True
    weight_noise_redraw: Redraw = "repeat"

    def __post_init__(self) -> None:
        """Checks every setting."""
        for key in STRENGTHS:
            for epsilon in getattr(self, key):
                if not 0 <= epsilon <= MAX_STRENGTH:
                    raise ValueError(
                        f"{key}: epsilon = {epsilon}: must be from 0 to {MAX_STRENGTH:,.0f}"
                    )
        for key, most in (("pgd_steps", MAX_STEPS), ("noise_repeats", MAX_REPEATS)):
            if not 1 <= getattr(self, key) <= most:
                raise ValueError(f"{key} = {getattr(self, key)}: must be from 1 to {most}")
        size = self.pgd_step_size
        if size is not None and not 0 < size <= MAX_STRENGTH:
            raise ValueError(
                f"pgd_step_size = {size}: must be above 0 and at most {MAX_STRENGTH:,.0f}"
            )
        for key, kinds in _CHOICES:
            if getattr(self, key) not in get_args(kinds):
                allowed = " or ".join(get_args(kinds))
                raise ValueError(f"{key} = {getattr(self, key)!r}: must be {allowed}")

    @property
    def step(self) -> float:
        """A step of PGD, in units of epsilon."""
        return PGD_REACH / self.pgd_steps if self.pgd_step_size is None else self.pgd_step_size

    @property
    def gradients(self) -> bool:
        """Whether an attack that follows the gradient is asked for."""
        return bool(self.fgsm_epsilons or self.pgd_epsilons)

    @property
    def names(self) -> dict[str, str]:
        """What each attack is called with these settings, by the setting that asks for it."""
        fgsm = ["fgsm"]
        if self.fgsm_samples == "all":
            fgsm.append("all")
        if not self.fgsm_clip:
            fgsm.append("unclipped")
        usual = PGD_REACH / self.pgd_steps
        pgd = ["pgd"]
        if self.pgd_steps != PGD_STEPS:
            pgd.append(str(self.pgd_steps))
        if self.step != usual:
            pgd.append(f"step{self.step!r}")
        if self.pgd_random_start:
            pgd.append("random")
        repeats = [] if self.noise_repeats == NOISE_REPEATS else [f"mean{self.noise_repeats}"]
        inputs: list[str] = [] if self.input_noise_kind == "gaussian" else [self.input_noise_kind]
        weights: list[str] = (
            [] if self.weight_noise_kind == "absolute" else [self.weight_noise_kind]
        )
        if self.weight_noise_redraw == "batch":
            weights.append("batch")
        return {
            "fgsm_epsilons": "-".join(fgsm),
            "pgd_epsilons": "-".join(pgd),
            "input_noise": "-".join(["input_noise", *inputs, *repeats]),
            "weight_noise": "-".join(["weight_noise", *weights, *repeats]),
        }

    @property
    def points(self) -> tuple[tuple[str, float], ...]:
        """Every attack's name and strength, in the order in which they are measured."""
        names = self.names
        return tuple((names[key], epsilon) for key in STRENGTHS for epsilon in getattr(self, key))

    def without(self, have: Container[tuple[str, float]]) -> "Attacks":
        """The same attacks at the strengths that are not there yet.

        Args:
            have: name and strength of what was measured.
        """
        names = self.names
        missing: dict[str, Any] = {
            key: tuple(e for e in getattr(self, key) if (names[key], e) not in have)
            for key in STRENGTHS
        }
        return replace(self, **missing)


NO_ATTACKS = Attacks()

"""How students' weights begin: tables `[starts.NAME]` of a study file."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, model_validator

from models.alignment import METHODS, Head
from sweep.section import Count, Init, Name, Number, Section
from trials.spec import AnchorDistance, TeacherRule, Terms

Weight = Annotated[Number, Field(ge=0)]


class StartObjective(Section):
    """What the training that comes before minimises: a weighted sum."""

    hard: Weight = Field(1.0, description="weight of the hard loss")
    noisy: Weight = Field(0.0, description="weight of the hard loss on inputs with uniform noise")
    amplitude: Weight = Field(0.05, description="of that noise, up and down")
    anchor: Weight = Field(
        0.0,
        description="weight of the distance to the teacher's weights, in the block that both have",
    )
    anchor_distance: AnchorDistance = Field(
        "squared", description="squared: the sum of squares; norm: its square root"
    )
    curvature: Weight = Field(
        0.0,
        description="weight of the trace of the Hessian of the hard loss (Hutchinson's estimate)",
    )
    curvature_gradient: Annotated[bool, Strict()] = Field(
        True,
        description="whether the gradient flows through that estimate; else it changes nothing",
    )

    @model_validator(mode="after")
    def _some(self) -> "StartObjective":
        if self.hard + self.noisy + self.anchor + self.curvature == 0:
            raise ValueError("hard, noisy, anchor and curvature are all 0: nothing is minimised")
        if self.noisy and not self.amplitude:
            raise ValueError("amplitude = 0: must be above 0 where noisy is")
        return self

    def terms(self, anchor_to: TeacherRule | None) -> Terms:
        """All but the hard loss.

        Args:
            anchor_to: whose weights to stay near.
        """
        return Terms(
            noisy=self.noisy,
            amplitude=self.amplitude,
            anchor=self.anchor,
            anchor_to=anchor_to,
            anchor_distance=self.anchor_distance,
            curvature=self.curvature,
            curvature_gradient=self.curvature_gradient,
        )


class Start(Section):
    """One way in which students' weights begin."""

    init: Init | None = Field(None, description="initialisation; absent: recipe.init")
    growth: Literal["none", "copy", "zero-pad", "uniform-pad", "net2net"] = Field(
        "none", description="how the teacher's network becomes the student's, see models.growth; "
        "none: the teacher's weights are not used"
    )  # fmt: skip
    head: Head = Field("source", description="new: the output layer is as it was initialised")
    student: Name | None = Field(None, description="another network instead of the student's")
    frozen_epochs: Annotated[Count, Field(ge=0)] | None = Field(
        None,
        description="epochs in which only the output layer is trained; absent: recipe.frozen_epochs",
    )
    training: dict[str, Any] | None = Field(
        None, description="a training that comes before, as changes to [recipe]; absent: none"
    )
    split: dict[str, Any] = Field(
        default_factory=dict, description="of that training, as changes to [split]"
    )
    objective: StartObjective = Field(StartObjective(), description="of that training")

    @model_validator(mode="after")
    def _together(self) -> "Start":
        if self.training is None:
            # Not by what was written: a study's own record writes everything.
            for key, given in (
                ("split", bool(self.split)),
                ("objective", self.objective != StartObjective()),
            ):
                if given:
                    raise ValueError(
                        f"{key} is of the training that comes before: give training too"
                    )
        if self.head == "new" and self.growth == "none":
            raise ValueError("head = 'new': of growth; without it the head is new in any case")
        return self

    @property
    def needs_teacher(self) -> bool:
        """Whether the teacher's weights take part."""
        return self.growth != "none" or (self.training is not None and self.objective.anchor > 0)


KNOWN: Mapping[str, Start] = {
    "scratch": Start(),
    **{name: Start(growth=name) for name in METHODS},
}
"""The ways that need no table."""

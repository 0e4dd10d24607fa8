"""The whole of a study file, as one frozen value."""

import re
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from sweep.follow import Search, Then
from sweep.presentation import (
    MAX_PUBLISHED,
    MAX_STATED,
    Published,
    StatedFigure,
    StatedTable,
    check_figures,
    check_published,
)
from sweep.section import Number, Section, Seeds, Values
from sweep.starts import Start
from sweep.study.dataset import DatasetStudy
from sweep.study.expected import Expected
from sweep.tune import Tune

_WINDOWS_DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")


class Study(Section):
    """A whole study, validated."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = Field(
        ..., description="lower-case letters, digits, - and _; names files in the results"
    )
    title: str = Field("", max_length=200, description="one line")
    question: str = Field("", max_length=4000, description="what the study asks")
    seeds: Seeds = Field(..., description="repeats of every point")
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
    tune: Tune | None = Field(None, description="what `sweep tune` searches, [tune]; see there")

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if _WINDOWS_DEVICE.fullmatch(name):
            raise ValueError("must be a name that Windows takes for a file, not for a device")
        return name

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

"""What a study file states of its own presentation: figures, tables, and what was published.

Data only, and never part of a trial's identity: they say which cells to show by column and value,
and which measure of them (`analysis.measure_names`). The report draws them; nothing is trained or
measured for them, so a measure that a study does not take is shown as not run.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Strict,
    field_validator,
    model_validator,
)

from analysis.measure_names import ATTACKS, MeasureName
from sweep.section import Name, Number, Section, Values, distinct
from sweep.words import CELL_COLUMNS, PARAMETER_COLUMNS

COLUMNS = (*(column for column in CELL_COLUMNS if column != "seed"), *PARAMETER_COLUMNS)
EPSILON = "epsilon"
MAX_TEXT = 500
MAX_STATED = 100
MAX_PUBLISHED = 1000
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def _column(name: str) -> str:
    if name not in COLUMNS:
        raise ValueError(f"{name!r} is no column of the cells; allowed: {', '.join(COLUMNS)}")
    return name


def _conditions(where: object) -> object:
    """`{start = "zero-pad", epochs = [10, 30]}`: columns, each with a value or a list of them."""
    if not isinstance(where, Mapping):
        raise ValueError('must be a table of columns and values, such as {role = "baseline"}')
    for column, wanted in where.items():
        _column(column)
        values = wanted if isinstance(wanted, list | tuple) else [wanted]
        if not values:
            raise ValueError(f"{column} = []: name at least one value")
        for value in values:
            if not isinstance(value, str | int | float):
                raise ValueError(f"{column} = {wanted!r}: must be text, a number, true or false")
        distinct(values, f"{column} =")
        if column == "role":
            allowed = ("teacher", "baseline", "student")
            for value in values:
                if value not in allowed:
                    raise ValueError(f"role = {value!r}: must be one of {', '.join(allowed)}")
    return dict(where)


def _measured(text: str) -> str:
    try:
        return MeasureName.parse(text).text
    except ValueError as error:
        raise ValueError(str(error).removeprefix("measure: ")) from None


Where = Annotated[dict[str, Any], BeforeValidator(_conditions)]
Column = Annotated[Name, AfterValidator(_column)]
Measure = Annotated[Name, AfterValidator(_measured)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Title = Annotated[str, Field(min_length=1, max_length=200)]


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Published(Section):
    """A value that a publication gives for cells of this study; the report says what was found."""

    where: Where = Field(
        {}, description="which cells: column = value or list of values; students unless it names a role"
    )  # fmt: skip
    measure: Measure = Field(
        ..., description="what was measured: accuracy, mse, an attack with its strength, ..."
    )
    value: Number = Field(..., description="as published; accuracies and shares in percent")
    deviation: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="as published, over seeds; absent: none was"
    )
    source: Text = Field("", description="where it stands: Table I")
    note: Text = Field("", description="which of several readings it is: accuracy after epoch 10")


class StatedFigure(Section):
    """A figure of the report, and of `sweep figure`: a measure over a column, with intervals."""

    title: Title = Field(..., description="its headline")
    name: str = Field(
        "", description="for sweep figure; absent: the title in lower case with dashes"
    )
    x: Name = Field(
        ..., description="a column; text makes bars; with an attack epsilon, its strength"
    )
    y: Annotated[Values[Measure], BeforeValidator(_one_or_more)] = Field(
        (), description="a measure, or several for a panel each; not with an attack"
    )
    attack: Name | None = Field(None, description="as results name it; absent: none")
    lines: Values[Column] = Field((), description="columns of which every combination is a line")
    where: Where = Field({}, description="which cells, as in [[published]]")
    baseline: Annotated[bool, Strict()] = Field(
        False, description="whether the baselines are drawn, dashed"
    )
    teacher: Annotated[bool, Strict()] = Field(
        False, description="whether the teachers' own figure is drawn, dotted"
    )

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if name and not _SLUG.fullmatch(name):
            raise ValueError("must be lower-case letters, digits and dashes, at most 64 long")
        return name

    @model_validator(mode="after")
    def _axes(self) -> "StatedFigure":
        if (self.x == EPSILON) != (self.attack is not None):
            raise ValueError("x = 'epsilon' needs an attack, and an attack needs x = 'epsilon'")
        if self.attack is None:
            if not self.y:
                raise ValueError("y is missing: name a measure, or an attack with x = 'epsilon'")
            _column(self.x)
        elif self.y:
            raise ValueError(f"y = {self.y[0]!r}: an attack is the measure itself; leave y out")
        elif self.attack.split("-")[0] not in ATTACKS:
            raise ValueError(
                f"attack = {self.attack!r}: must begin with one of {', '.join(ATTACKS)}, as results "
                "name it"
            )
        distinct(self.y, "y =")
        distinct(self.lines, "lines =")
        if self.x in self.lines:
            raise ValueError(f"lines = {self.x!r}: is the axis x already")
        return self

    @property
    def called(self) -> str:
        """Its name on the command line."""
        return self.name or figure_name(self.title)


class TableColumn(Section):
    """A column of a table."""

    measure: Measure = Field(..., description="see [[published]]")
    heading: Text = Field("", description="absent: the measure's own")
    where: Where = Field(
        {},
        description="which cells of the row; stands in place of the table's for the columns that it names",
    )


def _column_of(value: object) -> object:
    return {"measure": value} if isinstance(value, str) else value


class StatedTable(Section):
    """A table of the report: mean and deviation over seeds, a row per combination of columns."""

    title: Title = Field(..., description="its caption")
    rows: Values[Column] = Field(..., description="columns of which every combination is a row")
    measures: Annotated[
        Values[Annotated[TableColumn, BeforeValidator(_column_of)]], Field(max_length=20)
    ] = Field(
        ..., description='a column each: "accuracy", or {measure = "accuracy", heading = '
        '"after 10", where = {epochs = 10}}'
    )  # fmt: skip
    where: Where = Field({}, description="which cells, as in [[published]]")
    deviation: Literal["sample", "population"] = Field(
        "sample", description="over seeds; sample divides by n - 1, population by n"
    )

    @model_validator(mode="after")
    def _headings(self) -> "StatedTable":
        for key in ("rows", "measures"):
            if not getattr(self, key):
                raise ValueError(f"{key} = []: name at least one")
        distinct(self.rows, "rows =")
        distinct([one.heading or one.measure for one in self.measures], "measures: heading")
        return self


def figure_name(title: str) -> str:
    """The name of a figure on the command line, where its study gives none."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:64].strip("-") or "figure"


def check_published(published: Sequence[Published], datasets: Sequence[str]) -> None:
    """Checks that each value is of one dataset: datasets have no common mean.

    Raises:
        ValueError: naming the key, the value and what is allowed.
    """
    for number, one in enumerate(published):
        named = one.where.get("dataset", datasets[0] if len(datasets) == 1 else None)
        if named not in datasets:
            raise ValueError(
                f"published[{number}].where.dataset = {named!r}: must be one of "
                f"{', '.join(sorted(datasets))}"
            )


def check_figures(figures: Sequence[StatedFigure]) -> None:
    """Checks that each figure has a name of its own, that no other figure has either.

    Raises:
        ValueError: naming it.
    """
    from analysis import FIGURES

    for number, one in enumerate(figures):
        before = [other.called for other in figures[:number]]
        if one.called in FIGURES or one.called in before or one.called == "all":
            raise ValueError(
                f"figures[{number}].name = {one.called!r}: another figure has this name; give it "
                "one of its own"
            )

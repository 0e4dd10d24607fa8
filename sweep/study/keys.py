"""The keys of a study file: what each means, and that there are no others."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import data
from sweep.errors import StudyError
from sweep.follow import Search, Then
from sweep.presentation import Published, StatedFigure, StatedTable, TableColumn
from sweep.section import Section
from sweep.starts import Start
from sweep.study.complaints import one_of, shown_value
from sweep.study.dataset import SECTION_MODELS, SECTIONS, DatasetStudy, Teacher
from sweep.study.expected import Expected
from sweep.study.recipe import Recipe
from sweep.study.split import Split
from sweep.study.study import Study
from sweep.tune import Goal, Span, Tune


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
                    "tune",
                }
            ),
        ),
        *((f"{name}.", model, frozenset()) for name, model in SECTION_MODELS.items()),
        ("starts.NAME.", Start, frozenset()),
        ("then.", Then, frozenset()),
        ("search.NAME.", Search, frozenset()),
        ("tune.", Tune, frozenset({"objectives", "space"})),
        ("tune.space.KEY.", Span, frozenset()),
        ("tune.objectives.", Goal, frozenset()),
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


_CHANGES: Mapping[tuple[type[Section], str], type[Section]] = {
    (Teacher, "recipe"): Recipe,
    (Teacher, "split"): Split,
    (Start, "training"): Recipe,
    (Start, "split"): Split,
}
"""Tables of changes to a section, by the section that has them."""


def refuse_unknown_keys(raw: Mapping[str, Any]) -> None:
    """Refuses unknown keys with the nearest known one; pydantic would name them less well."""
    top = {*Study.model_fields, *SECTIONS}
    own = set(DatasetStudy.model_fields)

    def check(table: object, path: str, known: set[str]) -> None:
        if not isinstance(table, Mapping):
            raise StudyError(f"{path} = {shown_value(table)}: must be a section (a TOML table)")
        for key in table:
            if key not in known:
                name = f"{path}.{key}" if path else key
                raise StudyError(f"unknown key {name!r}; {one_of(key, known)}")

    def check_section(table: object, path: str, model: type[Section]) -> None:
        check(table, path, set(model.model_fields))
        for key, value in table.items() if isinstance(table, Mapping) else ():
            field = model.model_fields[key]
            inner = _CHANGES.get((model, key)) or field.annotation
            absent = value is None and field.default is None
            if isinstance(inner, type) and issubclass(inner, Section) and not absent:
                check_section(value, f"{path}.{key}", inner)

    def check_sections(table: Mapping[str, Any], path: str) -> None:
        for section, model in SECTION_MODELS.items():
            if section in table:
                check_section(table[section], f"{path}{section}", model)

    check(raw, "", top)
    check_sections(raw, "")
    if "datasets" not in raw or raw["datasets"] == {}:
        raise StudyError(f"datasets: missing; name at least one, {one_of('', data.names())}")
    if not isinstance(raw["datasets"], Mapping):
        raise StudyError(
            f"datasets = {shown_value(raw['datasets'])}: must be a section for each dataset, such as "
            f"[datasets.digits]; {one_of('', data.names())}"
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
    tune = raw.get("tune")
    if tune is not None:
        check(tune, "tune", set(Tune.model_fields))
        space, goals = tune.get("space"), tune.get("objectives")
        for key, span in space.items() if isinstance(space, Mapping) else ():
            if isinstance(span, Mapping):
                check_section(span, f"tune.space.{key}", Span)
        for number, goal in enumerate(goals if isinstance(goals, list) else ()):
            check_section(goal, f"tune.objectives[{number}]", Goal)
    later = raw.get("then", ())
    for number, table in enumerate(later if isinstance(later, list) else ()):
        check_section(table, f"then[{number}]", Then)

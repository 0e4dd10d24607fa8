"""A table as a value: written cells that know how they sort, and how numbers become such cells."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis import words
from analysis.cells import configuration_keys
from analysis.columns import KEY


@dataclass(frozen=True)
class Entry:
    """One written cell: its text, what it sorts by (None: by its text) and a style name."""

    text: str
    sort: float | None = None
    style: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        caption: What it shows.
        columns: Headings.
        rows: Entries, one per column each.
        numeric: Which columns hold numbers (aligned right).
        notes: Heading to an explanation, shown on hover.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    numeric: tuple[bool, ...]
    notes: dict[str, str] = field(default_factory=dict)


STYLE = {"better": "better", "worse": "worse", "cannot say": "faint", "same trial": "faint"}


def keys_shown(frame: pd.DataFrame, own: pd.DataFrame) -> tuple[list[str], list[str]]:
    """All keys, and those worth a column beside the teacher: alpha, switch epoch, what varies."""
    keys = configuration_keys(frame)
    students = own[own["role"] == "student"]
    shown = ["alpha", "switch_epoch"] if len(students) else []
    for key in keys:
        several = students if key in KEY else own
        if key in ("model", "temperature") or key not in KEY:
            shown += [key] if several[key].nunique(dropna=False) > 1 else []
    return keys, shown


def metric_of(frame: pd.DataFrame) -> str:
    """The name of the metric of a table of one dataset; "" where nothing is known."""
    names: Iterable[str] = frame["metric_name"].dropna()
    return next(iter(names), "")


def heading(column: str) -> str:
    """A column's name as it is printed."""
    return column.replace("_", " ")


def parameter(value: Any) -> Entry:
    """A swept parameter."""
    number = isinstance(value, (int, float)) and not pd.isna(value)
    return Entry(words.number(value), float(value) if number else None)


def difference_entry(value: float, metric: str, verdict: str = "") -> Entry:
    """A signed difference of a metric, in the colour of its verdict."""
    text = words.metric_difference(value, metric, False)
    return Entry(text, sort_key(value), STYLE.get(verdict, ""))


def interval_entry(low: float, high: float, metric: str, difference: bool = False) -> Entry:
    """An interval, sorted by its lower end."""
    return Entry(words.interval(low, high, metric, difference), sort_key(low))


def p_entry(value: float) -> Entry:
    """A p value."""
    return Entry(words.p_value(value), sort_key(value))


def verdict_entry(verdict: Any) -> Entry:
    """A verdict in its colour; a dash for null."""
    text = "" if pd.isna(verdict) else str(verdict)
    return Entry(text or "–", None, STYLE.get(text, ""))


def metric_entry(value: float, metric: str) -> Entry:
    """A figure of a metric, without its unit."""
    return Entry(words.metric_value(value, metric, unit=False), sort_key(value))


def spread_entry(value: float, metric: str) -> Entry:
    """A figure that has the metric's unit and no sign."""
    return Entry(words.metric_difference(value, metric, False).lstrip("+"), sort_key(value))


def sort_key(value: Any) -> float | None:
    """What a number sorts by; None where there is none."""
    return None if pd.isna(value) or math.isinf(value) else float(value)

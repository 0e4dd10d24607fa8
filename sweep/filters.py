"""Filters over cells: `dataset=cifar10 teacher=small|medium alpha<=0.6`."""

import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sweep.errors import FilterError
from sweep.expand import Cell
from sweep.words import CELL_COLUMNS, PARAMETER_COLUMNS

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_CONDITION = re.compile(r"(\w+)\s*(!=|<=|>=|=|<|>)\s*([^\s,=<>!]+)")
_KEYS = (*CELL_COLUMNS, *PARAMETER_COLUMNS, "trial_id")


@dataclass(frozen=True)
class Condition:
    """One comparison; of several values with `=`, any may match."""

    key: str
    operator: str
    values: tuple[str, ...]

    def holds(self, value: object) -> bool:
        """Whether a value satisfies the condition; an absent one always does.

        A batch size is never absent: None is the whole training set, larger than any number.
        """
        if value is None and self.key == "batch_size":
            value = math.inf
        if value is None:
            return True
        compare = _OPERATORS[self.operator]
        results = [compare(*_alike(value, text, self.key)) for text in self.values]
        return all(results) if self.operator == "!=" else any(results)


def parse(texts: Iterable[str]) -> list[Condition]:
    """Reads filters; conditions are separated by spaces or commas, and all must hold.

    Raises:
        FilterError: naming what cannot be read and what is allowed.
    """
    conditions = []
    for text in texts:
        rest = _CONDITION.sub("", text)
        if rest.strip(" ,\t") or not _CONDITION.search(text):
            raise FilterError(
                f"--only {text!r}: must be key=value with alternatives as a|b; comparisons "
                "= != < <= > >=; several conditions separated by spaces"
            )
        for key, sign, values in _CONDITION.findall(text):
            if key not in _KEYS:
                raise FilterError(f"--only {key!r}: unknown key; allowed: {', '.join(_KEYS)}")
            conditions.append(Condition(key, sign, tuple(values.split("|"))))
    return conditions


def check(cells: Iterable[Cell], conditions: Iterable[Condition]) -> None:
    """Refuses a condition that none of the values there satisfies.

    Cells without such a value would still match, so a misspelt teacher would run all baselines.

    Raises:
        FilterError: naming the condition and the values there are.
    """
    cells = list(cells)
    for condition in conditions:
        key = condition.key
        values = dict.fromkeys(_value(cell, key) for cell in cells)
        present = [value for value in values if value is not None or key == "batch_size"]
        if present and not any(condition.holds(value) for value in present):
            there = ", ".join("full" if value is None else str(value) for value in present[:20])
            raise FilterError(
                f"--only {key}{condition.operator}{'|'.join(condition.values)}: nothing in the "
                f"study matches; its values of {key}: {there}"
                + (f" and {len(present) - 20:,} more" if len(present) > 20 else "")
            )


def matches(cell: Cell, conditions: Iterable[Condition]) -> bool:
    """Whether a cell satisfies all conditions."""
    return all(condition.holds(_value(cell, condition.key)) for condition in conditions)


def _value(cell: Cell, key: str) -> object:
    return cell.trial_id if key == "trial_id" else cell.column(key)


def _alike(value: object, text: str, key: str) -> tuple[object, object]:
    """A value and the text it is compared with, as two things that can be compared."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        whole = key == "batch_size" and text == "full"
        try:
            return float(value), math.inf if whole else float(text)
        except ValueError:
            raise FilterError(f"--only {key}: {text!r} is not a number") from None
    return str(value), text

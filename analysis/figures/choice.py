"""Which part of a grid is drawn: what was asked for, and at most what a figure can hold.

Tables always have all of it.
"""

from collections.abc import Sequence
from typing import TypeVar

import pandas as pd

from analysis import words
from analysis.attacks import attacked
from analysis.columns import direction

T = TypeVar("T")
PANELS_AT_MOST = 12
LINES_AT_MOST = 16


def evenly(values: Sequence[T], at_most: int) -> list[T]:
    """At most so many of the values, evenly spread, first and last among them."""
    if len(values) <= at_most:
        return list(values)
    if at_most == 1:
        return [values[-1]]
    return [values[round(i * (len(values) - 1) / (at_most - 1))] for i in range(at_most)]


def of_dataset(frame: pd.DataFrame, dataset: str | None) -> pd.DataFrame:
    """The rows of a dataset; None will do where there is only one.

    Raises:
        ValueError: An unknown dataset, or several and none named.
    """
    names = sorted(frame["dataset"].unique())
    if dataset is None and len(names) != 1:
        raise ValueError(f"dataset: choose one of {', '.join(names)}")
    if dataset is not None and dataset not in names:
        raise ValueError(f"dataset: {dataset!r} is not one of {', '.join(names)}")
    return frame[frame["dataset"] == (dataset or names[0])]


def narrowed(
    students: pd.DataFrame,
    teacher: str | None = None,
    alpha: float | None = None,
    switch_epoch: int | None = None,
) -> pd.DataFrame:
    """The students with a teacher, alpha and switch epoch; None asks for all of a kind.

    Raises:
        ValueError: Nothing is left; names the key, the value and what there is.
    """
    asked = {"teacher": teacher, "alpha": alpha, "switch_epoch": switch_epoch}
    left = students
    for key, value in asked.items():
        if value is None:
            continue
        there = left[key].dropna()
        left = left[(left[key] == value).fillna(False).astype(bool)]
        if left.empty:
            names = words.by_size(there) if key == "teacher" else sorted(there.unique())
            allowed = ", ".join(words.number(name) for name in names) or "none"
            raise ValueError(f"{key}: {words.number(value)} is not one of {allowed}")
    return left


def best(points: pd.DataFrame, metric_name: str) -> tuple[str, float, int]:
    """Teacher, alpha and switch epoch of the best mean; the first of equals.

    Args:
        points: `teacher`, `alpha`, `switch_epoch` and `mean`, at least one row.
        metric_name: Says whether high or low is good.
    """
    row = points.iloc[int((points["mean"] * direction(metric_name)).to_numpy().argmax())]
    return str(row["teacher"]), float(row["alpha"]), int(row["switch_epoch"])


def attacks_of(cells: pd.DataFrame) -> list[str]:
    """The attacks under which students have results, in alphabetical order.

    Raises:
        ValueError: See `analysis.cells.tidy`.
    """
    long = attacked(cells)
    return sorted(long.loc[long["role"] == "student", "attack"].unique())


def not_attacked(cells: pd.DataFrame, attack: str) -> str:
    """Why there is no figure under an attack, and under which there would be one."""
    there = ", ".join(attacks_of(cells)) or "none"
    return f"attack: no student has a result under {attack!r}; there are results under {there}"

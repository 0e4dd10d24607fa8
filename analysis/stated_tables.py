"""A table that a study file states: a row per combination of columns, a measure per column."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import words
from analysis.cells import tidy
from analysis.conditions import met, several, subjects
from analysis.measure_names import MeasureName
from analysis.measures import measure, measure_title
from analysis.seed_means import over_seeds

DDOF = {"sample": 1, "population": 0}


def stated_table(
    cells: pd.DataFrame,
    table: Mapping[str, Any],
    published: Sequence[Mapping[str, Any]] = (),
) -> pd.DataFrame:
    """The numbers of a table that a study states.

    Args:
        cells: One row per requested cell.
        table: `rows`, the columns whose combinations make rows; `measures`, each a name or a
            `measure` with maybe a `heading` and a `where` of its own; and maybe `where`, and
            `deviation`, "sample" (n - 1, the default) or "population" (n).
        published: See `analysis.publications.published`; one stands in the entry whose cells are
            exactly its own.

    Returns:
        One row per entry, row by row of the table: `dataset` and the columns of `rows`, `heading`,
        `measure`, `metric_name`, `n` (seeds with a result), `n_asked`, `configurations` (of which
        a seed's value is the mean), `mean`, `deviation` and `published` (null without one). Rows come in
        the order of a list in `where`, then in that in which the study asks for them. Combinations that the study
        does not ask for under a measure's own `where` have no entry.

    Raises:
        ValueError: A column, measure or deviation that cannot be; see `analysis.cells.tidy`.
    """
    frame = tidy(cells)
    where = dict(table.get("where") or {})
    named = [str(column) for column in table["rows"]]
    for column in named:
        if column not in frame:
            raise ValueError(f"table: {column!r} is no column of the cells")
    deviation = table.get("deviation") or "sample"
    if deviation not in DDOF:
        raise ValueError(f"deviation: {deviation!r} is not one of {', '.join(DDOF)}")
    by = [*dict.fromkeys(["dataset", *named])]
    parts = []
    for position, column in enumerate(table["measures"]):
        one: Mapping[str, Any] = {"measure": column} if isinstance(column, str) else column
        own = subjects(frame, where | dict(one.get("where") or {}))
        if own.empty:
            continue
        name = MeasureName.parse(one["measure"]).text
        metric = next(iter(own["metric_name"].dropna()), "")
        rows = own.assign(value=measure(own, name))
        found = over_seeds(rows, by, "value", DDOF[deviation])
        found["published"] = _published(found, rows, by, name, published)
        found["position"] = position
        found["heading"] = one.get("heading") or measure_title(name, metric)
        found["measure"], found["metric_name"] = name, metric
        parts.append(found)
    columns = [
        *by, "heading", "measure", "metric_name", "n", "n_asked", "configurations", "mean",
        "deviation", "published",
    ]  # fmt: skip
    if not parts:
        return pd.DataFrame(columns=columns)
    every = pd.concat(parts, ignore_index=True)
    ranks = {
        f"rank {column}": _ranked(every[column], where.get(column, ()), frame[column])
        for column in by
    }
    every = every.assign(**ranks).sort_values([*ranks, "position"], kind="stable")
    return every[columns].reset_index(drop=True)


def _ranked(column: "pd.Series[Any]", wanted: Any, there: "pd.Series[Any]") -> list[int]:
    """Places of values: in the order they are asked for, then that of all there are; null first."""
    listed = list(several(wanted))
    others = [value for value in words.in_order(there.dropna()) if value not in listed]
    place = {value: number for number, value in enumerate([*listed, *others], 1)}
    return [0 if pd.isna(value) else place[value] for value in column]


def _published(
    entries: pd.DataFrame,
    rows: pd.DataFrame,
    by: Sequence[str],
    name: str,
    published: Sequence[Mapping[str, Any]],
) -> list[float]:
    """For each entry the value that was published of exactly its cells."""
    numbers = rows.groupby(list(by), dropna=False, sort=True, observed=True).ngroup().to_numpy()
    sizes = np.bincount(numbers, minlength=len(entries))
    values = np.full(len(entries), np.nan)
    for one in published:
        conditions = one.get("where") or {}
        if MeasureName.parse(one["measure"]).text != name or any(c not in rows for c in conditions):
            continue
        full = conditions if "role" in conditions else {"role": "student", **conditions}
        mine = np.unique(numbers[met(rows, full)], return_counts=True)
        if len(mine[0]) == 1 and sizes[mine[0][0]] == mine[1][0]:
            values[mine[0][0]] = float(one["value"])
    return values.tolist()

"""Values that a publication gives, beside what was found for the same settings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.cells import tidy
from analysis.conditions import described, subjects
from analysis.measure_names import MeasureName
from analysis.measures import measure
from analysis.seed_means import over_seeds

FOUND, NOT_RUN, NOT_ASKED = "found", "not run", "not asked for"


def published(cells: pd.DataFrame, published: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Each published value and what was found.

    Args:
        cells: One row per requested cell.
        published: Each `where` (column to value or list; students unless it names a role),
            `measure` (see `analysis.measures.measure`), `value` in its unit, and maybe `deviation`,
            `source` and `note`.

    Returns:
        One row per published value: `setting` (in words), `measure`, `metric_name`, `published`,
        `published_deviation`, `source`, `note`, `state` ("found"; "not run": asked for, without a
        result; "not asked for": the study has no such cell), `configurations` (how many the
        conditions leave: a seed's value is their mean), `n` (seeds with a result), `n_asked`,
        `mean`, `deviation` (ddof 1), `ci_low`, `ci_high` (95 % t interval of the mean),
        `difference` (mean - published) and `inside` (whether the published value lies in that
        interval; null without one).

    Raises:
        ValueError: See `analysis.cells.tidy`, `analysis.measures.measure` and
            `analysis.conditions.met`; or conditions that leave several datasets.
    """
    frame = tidy(cells)
    rows = [_met(frame, one) for one in published]
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = [
    "setting", "measure", "metric_name", "published", "published_deviation", "source", "note",
    "state", "configurations", "n", "n_asked", "mean", "deviation", "ci_low", "ci_high",
    "difference", "inside",
]  # fmt: skip


def _met(frame: pd.DataFrame, one: Mapping[str, Any]) -> dict[str, Any]:
    name, where = MeasureName.parse(one["measure"]), one.get("where") or {}
    own = subjects(frame, where)
    datasets = sorted(own["dataset"].unique())
    if len(datasets) > 1:
        raise ValueError(
            f"published: {described(where)} is asked of {', '.join(datasets)}; where must name one"
        )
    given = one.get("deviation")
    row: dict[str, Any] = {
        "setting": described(where),
        "measure": name.text,
        "metric_name": next(iter(own["metric_name"].dropna()), ""),
        "published": float(one["value"]),
        "published_deviation": np.nan if given is None else float(given),
        "source": one.get("source") or "",
        "note": one.get("note") or "",
        "state": NOT_ASKED,
        "configurations": 0,
        "n": 0,
        "n_asked": 0,
        "inside": None,
    }
    row |= dict.fromkeys(("mean", "deviation", "ci_low", "ci_high", "difference"), np.nan)
    if own.empty:
        return row
    found = over_seeds(own.assign(value=measure(own, name.text)), (), "value").iloc[0].to_dict()
    row |= {key: found[key] for key in ("mean", "deviation", "ci_low", "ci_high")}
    row |= {key: int(found[key]) for key in ("n", "n_asked", "configurations")}
    row["state"] = FOUND if row["n"] else NOT_RUN
    row["difference"] = row["mean"] - row["published"]
    if row["n"] > 1:
        row["inside"] = bool(row["ci_low"] <= row["published"] <= row["ci_high"])
    return row

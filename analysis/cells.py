"""One table in, one row per configuration out: what the seeds say about every cell.

A *configuration* is everything that was asked for except the seed. Datasets are never pooled: an
accuracy in percent and an MSE have no common mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.columns import GUIDANCE, KEY, OF_STUDENTS, REQUIRED, ROLES, START, is_result
from analysis.interquartile import interquartile_means
from analysis.intervals import t_interval

_OPTIONAL = ("teacher", "alpha", "switch_epoch", "temperature", "trial_id", "teacher_trial_id")
_TEXT = ("dataset", "role", "model", "teacher", "metric_name", "status")
# 0.1 + 0.2 and 0.3 are one alpha: parameters are compared to twelve significant digits.
_SIGNIFICANT = 12


def tidy(cells: pd.DataFrame) -> pd.DataFrame:
    """The table in one canonical form, whatever it was read with; doing it twice changes nothing.

    Parameters get one type each and floats twelve significant digits; teachers and baselines get
    null guidance; `done` says whether a usable result is there; a dataset's metric name is filled
    in for cells without a result; cells that ask for one trial twice are one row. Trainings that
    students begin with are left out.

    Args:
        cells: One row per requested cell (see `analysis.columns`).

    Raises:
        ValueError: A required column is missing, a role is unknown, a dataset has two metrics, or
            two different trials claim one configuration and seed.
    """
    missing = [column for column in REQUIRED if column not in cells.columns]
    if missing:
        raise ValueError(
            f"cells: missing columns {', '.join(missing)}; required are {', '.join(REQUIRED)}"
        )
    frame = cells[cells["role"] != START].reset_index(drop=True).copy()
    if "teacher_trial_id" not in frame and "teacher_trial_ids" in frame:
        frame["teacher_trial_id"] = frame["teacher_trial_ids"].map(_first)
    for column in _OPTIONAL:
        if column not in frame:
            frame[column] = None
    frame["test_metric"] = pd.to_numeric(frame["test_metric"]).astype("float64")
    if "status" not in frame:
        frame["status"] = np.where(frame["test_metric"].notna(), "done", "missing")
    for column in _TEXT:
        frame[column] = _text(frame[column])
    unknown = sorted(set(frame["role"].dropna().unique()) - set(ROLES))
    if unknown:
        raise ValueError(f"role: {', '.join(unknown)} is not one of {', '.join(ROLES)}")
    frame["seed"] = pd.to_numeric(frame["seed"]).astype("int64")
    frame["switch_epoch"] = pd.to_numeric(frame["switch_epoch"]).astype("Int64")
    for column in ("alpha", "temperature"):
        frame[column] = _significant(pd.to_numeric(frame[column]).astype("float64"))
    for column in parameters(frame):
        if pd.api.types.is_float_dtype(frame[column]):
            frame[column] = _significant(frame[column])
    for column in GUIDANCE:
        frame[column] = frame[column].where(frame["role"] == "student")
    frame["done"] = (frame["status"] == "done") & np.isfinite(frame["test_metric"])
    frame["metric_name"] = _metric_per_dataset(frame)
    return _once(frame)


def parameters(cells: pd.DataFrame) -> list[str]:
    """The further swept parameters of a table: plain values that are neither key nor result."""
    known = {*KEY, "seed", "done"}
    found = [str(c) for c in cells.columns if c not in known and not is_result(str(c))]
    return [column for column in found if not _holds_lists(cells[column])]


def configuration_keys(cells: pd.DataFrame) -> list[str]:
    """The columns that tell configurations apart: `KEY` and every further parameter that varies.

    A parameter varies where it takes several values within one dataset among teachers, or among
    baselines and students; one that only differs between datasets adds nothing.
    """
    groups = [cells["dataset"], cells["role"] == "teacher"]
    return [*KEY, *(c for c in parameters(cells) if _varies(cells[c], groups))]


def matching_keys(cells: pd.DataFrame) -> list[str]:
    """The columns on which a student and its baseline must agree (beside the seed).

    Dataset, model and every further parameter that varies among baselines and students, unless it
    plainly does not apply to baselines: null for all of them, and of students alone
    (`OF_STUDENTS`) or null for no student.

    Args:
        cells: A table in the form of `tidy`.
    """
    students = cells[cells["role"] == "student"]
    baselines = cells[cells["role"] == "baseline"]
    both = pd.concat([students, baselines])
    keys = ["dataset", "model"]
    for column in parameters(cells):
        left_out = students[column].isna().any() and column not in OF_STUDENTS
        applies = baselines[column].notna().any() or left_out
        if applies and _varies(both[column], [both["dataset"]]):
            keys.append(column)
    return keys


def summarise(cells: pd.DataFrame) -> pd.DataFrame:
    """What the seeds say about each configuration.

    Args:
        cells: One row per requested cell.

    Returns:
        One row per configuration, in key order: the keys, `metric_name`, `n` (seeds with a
        result), `n_missing` (asked for, no result), `mean`, `deviation` (ddof 1), `median`, `iqm`
        (see `analysis.interquartile`), `min`, `max`, and the 95 % t interval of the mean `ci_low`,
        `ci_high` (NaN for n < 2).

    Raises:
        ValueError: See `tidy`.
    """
    frame = tidy(cells)
    keys = configuration_keys(frame)
    frame["value"] = frame["test_metric"].where(frame["done"])
    groups = frame.groupby(keys, dropna=False, sort=True, observed=True)
    table = groups.agg(
        metric_name=("metric_name", "first"),
        n=("value", "count"),
        asked=("seed", "size"),
        mean=("value", "mean"),
        deviation=("value", "std"),
        median=("value", "median"),
        min=("value", "min"),
        max=("value", "max"),
    ).reset_index()
    middle = interquartile_means(frame["value"], groups.ngroup(), len(table))
    table.insert(list(table.columns).index("median") + 1, "iqm", middle)
    table["asked"] -= table["n"]
    table = table.rename(columns={"asked": "n_missing"})
    table["ci_low"], table["ci_high"] = t_interval(table["mean"], table["deviation"], table["n"])
    return table


@dataclass(frozen=True)
class Variant:
    """The cells of one dataset in which only teacher, alpha, switch epoch and seed vary.

    Attributes:
        dataset: The dataset's name.
        label: The parameters that tell it from other variants, "temperature 2"; "" if alone.
        values: The same as (column, value) pairs.
        cells: Its students that have an alpha and a switch epoch, their baselines, and all teachers
            of the dataset.
    """

    dataset: str
    label: str
    values: tuple[tuple[str, object], ...]
    cells: pd.DataFrame


def variants(cells: pd.DataFrame) -> list[Variant]:
    """Splits a table into parts that fit one figure each: by dataset, then by further parameters.

    Raises:
        ValueError: See `tidy`.
    """
    frame = tidy(cells)
    return [v for _, part in frame.groupby("dataset", sort=True) for v in _variants_of(part)]


def only_variant(cells: pd.DataFrame, dataset: str | None = None) -> Variant:
    """The one variant a figure is drawn from.

    Args:
        cells: One row per requested cell.
        dataset: Which dataset; may be left out where there is only one.

    Raises:
        ValueError: An unknown dataset, several datasets and none named, several variants, or no
            cell that has a place in a figure.
    """
    frame = tidy(cells)
    names = sorted(frame["dataset"].unique())
    if dataset is None and len(names) != 1:
        raise ValueError(f"dataset: choose one of {', '.join(names)}")
    if dataset is not None and dataset not in names:
        raise ValueError(f"dataset: {dataset!r} is not one of {', '.join(names)}")
    found = list(_variants_of(frame[frame["dataset"] == (dataset or names[0])]))
    if not found:
        raise ValueError("cells: no student has an alpha and a switch epoch")
    if len(found) > 1:
        labels = "; ".join(variant.label for variant in found[:10])
        raise ValueError(
            f"cells: {len(found)} variants ({labels}) do not fit one figure; "
            "pass the cells of one of analysis.variants(cells)"
        )
    return found[0]


def having(frame: pd.DataFrame, column: str, value: Any) -> pd.DataFrame:
    """The rows with a value in a column; null is a value, too."""
    same = frame[column].isna() if pd.isna(value) else frame[column] == value
    return frame[same.fillna(False).astype(bool)]


def _variants_of(part: pd.DataFrame) -> Iterator[Variant]:
    dataset = str(part["dataset"].iloc[0])
    # Results from elsewhere may know of no alpha or switch epoch: they have no place on any axis.
    placed = part["alpha"].notna() & part["switch_epoch"].notna()
    part = part[placed | (part["role"] != "student")]
    if part.empty:
        return
    students = part[part["role"] == "student"]
    # Without students the baselines are what varies.
    subjects = students if len(students) else part[part["role"] == "baseline"]
    columns = ["model", "temperature", *parameters(part)]
    columns = [c for c in columns if subjects[c].nunique(dropna=False) > 1]
    if not columns:
        yield Variant(dataset, "", (), part)
        return
    teachers = part[part["role"] == "teacher"]
    baselines = part[part["role"] == "baseline"]
    shared = [c for c in matching_keys(part) if c in columns]
    for key, group in subjects.groupby(columns, dropna=False, sort=True):
        values: tuple[tuple[str, Any], ...] = tuple(zip(columns, tuple(key), strict=True))
        own = baselines
        for column, value in values:
            if column in shared:
                own = having(own, column, value)
        pieces = [own, group, teachers] if len(students) else [group, teachers]
        label = ", ".join(f"{_spoken(c)} {_value(v)}" for c, v in values)
        yield Variant(dataset, label, values, pd.concat([p for p in pieces if len(p)]))


def _spoken(column: str) -> str:
    return column.replace("_", " ")


def _value(value: Any) -> str:
    if pd.isna(value):
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(column: "pd.Series[Any]") -> "pd.Series[Any]":
    if column.dtype == "str":
        return column
    return column.astype("object").where(column.notna(), None).astype("str")


def _significant(column: "pd.Series[Any]") -> "pd.Series[Any]":
    values = column.to_numpy(dtype="float64", na_value=np.nan)
    known = np.isfinite(values) & (values != 0)
    scale = np.ones_like(values)
    scale[known] = 10.0 ** (_SIGNIFICANT - 1 - np.floor(np.log10(np.abs(values[known]))))
    rounded = np.where(known, np.round(values * scale) / scale, values)
    return pd.Series(rounded, index=column.index, name=column.name)


def _first(values: object) -> str | None:
    listed = isinstance(values, (list, tuple, np.ndarray)) and len(values) > 0
    return str(values[0]) if listed else None  # type: ignore[index]


def _holds_lists(column: "pd.Series[Any]") -> bool:
    if column.dtype != object:
        return False
    first = next((value for value in column if value is not None), None)
    return isinstance(first, (list, tuple, dict, np.ndarray))


def _varies(column: "pd.Series[Any]", groups: list["pd.Series[Any]"]) -> bool:
    if column.nunique(dropna=False) <= 1:
        return False
    return bool((column.groupby(groups).nunique(dropna=False) > 1).any())


def _metric_per_dataset(frame: pd.DataFrame) -> "pd.Series[Any]":
    known = frame[["dataset", "metric_name"]].drop_duplicates().dropna()
    for dataset, names in known.groupby("dataset")["metric_name"]:
        if len(names) > 1:
            raise ValueError(f"metric_name: {dataset} has {', '.join(names)}; one is allowed")
    return frame["dataset"].map(dict(zip(known["dataset"], known["metric_name"], strict=True)))


def _once(frame: pd.DataFrame) -> pd.DataFrame:
    identity = [*KEY, *parameters(frame), "seed"]
    if not frame.duplicated(identity).any():
        return frame
    frame = frame.sort_values("done", ascending=False, kind="stable")
    repeated = frame[frame.duplicated(identity, keep=False) & frame["done"]]
    nameless = repeated["trial_id"].isna()
    several = repeated.groupby(identity, dropna=False)["trial_id"].nunique() > 1
    if several.any() or (nameless.any() and repeated[nameless].duplicated(identity).any()):
        row = repeated.iloc[0]
        asked = ", ".join(f"{c}={row[c]}" for c in identity if not pd.isna(row[c]))
        raise ValueError(
            f"cells: two trials for one configuration and seed ({asked}); "
            "a parameter column that tells them apart is missing"
        )
    return frame.drop_duplicates(identity).sort_index()

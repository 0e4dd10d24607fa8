"""Results from elsewhere as a table of cells: published tables, old spreadsheets, our own exports.

A plain table needs role, dataset, model, seed and test_metric; teacher, alpha, switch_epoch,
train_loss and any number of `ATTACK_EPSILON` columns (`fgsm_0.01`) are taken where they are there.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import tidy
from analysis.columns import direction

_NEEDED = ("role", "dataset", "model", "seed", "test_metric")
METRIC_OF = {
    "cifar10": "accuracy",
    "fashion_mnist": "accuracy",
    "mnist": "accuracy",
    "digits": "accuracy",
    "california_housing": "mse",
}
"""The metric of a known dataset, where a table does not name it."""

# Published curves: (points per epoch, steps between points, steps per epoch).
_PUBLISHED_CURVE = {
    "cifar10": (7, 100, 782),
    "fashion_mnist": (9, 100, 938),
    "california_housing": (1, 1, 1),
}
ATTACK_COLUMN = re.compile(
    r"(?P<attack>(fgsm|pgd|input_noise|weight_noise)[a-z0-9.-]*)_(?P<epsilon>\d+(\.\d*)?(e-?\d+)?)"
)
"""`ATTACK_EPSILON`, as our exports name a column of a plain table."""
_NESTED = ("train_loss", "train_loss_step", "robustness", "per_class", "confusion")


def read(path: Path | str, teachers_selected_on: Literal["test"] | None = None) -> pd.DataFrame:
    """Reads a Parquet or CSV file as a table of cells.

    Args:
        path: A plain table (see the module's text) or a file this package exported.
        teachers_selected_on: "test" states that, per dataset and teacher model, the teacher best
            on test (ties: lowest seed) guided all students, and records it so. Left alone where
            the file says itself which teacher was chosen.

    Returns:
        One row per trial in the form of `analysis.cells.tidy`, `status` "done" where there is a
        figure. Steps of the loss curve are filled in where the file has none and the curve has the
        length of the published recipe (a multiple of the points per epoch).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The ending is not .parquet or .csv, a needed column is missing, or the metric of
            a dataset is not known.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"reference: {path} does not exist")
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
    elif path.suffix == ".csv":
        frame = pd.read_csv(path)
    else:
        raise ValueError(f"reference: {path.name} must end in .parquet or .csv")
    return from_table(frame, teachers_selected_on)


def from_table(
    table: pd.DataFrame, teachers_selected_on: Literal["test"] | None = None
) -> pd.DataFrame:
    """A plain table as a table of cells; see `read`."""
    missing = [column for column in _NEEDED if column not in table.columns]
    if missing:
        raise ValueError(
            f"reference: missing columns {', '.join(missing)}; needed are {', '.join(_NEEDED)}"
        )
    frame = table.copy()
    for column in _NESTED:
        if column in frame and isinstance(frame[column].dtype, pd.StringDtype):
            frame[column] = _lists(frame[column])
    if "metric_name" not in frame:
        frame["metric_name"] = _metric_names(frame["dataset"])
    if "robustness" not in frame:
        frame["robustness"] = _nested_robustness(frame)
        frame = frame.drop(columns=[c for c in frame.columns if ATTACK_COLUMN.fullmatch(str(c))])
    if "trial_id" not in frame:
        frame["trial_id"] = [f"reference-{row}" for row in range(len(frame))]
    if "train_loss" in frame and "train_loss_step" not in frame:
        lengths = [_length(curve) for curve in frame["train_loss"]]
        steps, per_epoch = published_steps(frame["dataset"].tolist(), lengths)
        frame["train_loss_step"] = pd.Series(steps, index=frame.index, dtype="object")
        frame["steps_per_epoch"] = pd.Series(per_epoch, index=frame.index, dtype="float64")
    cells = tidy(frame)
    if teachers_selected_on == "test" and cells["teacher_trial_id"].isna().all():
        _choose_best_on_test(cells)
    return cells.drop(columns="done")


def _lists(texts: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column of JSON texts as lists."""
    try:
        found = texts.map(lambda text: json.loads(text) if isinstance(text, str) and text else None)
    except ValueError as error:
        raise ValueError(f"{texts.name}: is no JSON: {error}") from None
    return found.astype("object")


def _length(curve: object) -> int | None:
    if isinstance(curve, (list, tuple, np.ndarray)):
        return len(curve)
    if pd.isna(curve):  # type: ignore[call-overload]
        return None
    raise ValueError(f"train_loss: {curve!r} is no list of losses")


def _metric_names(datasets: "pd.Series[Any]") -> "pd.Series[Any]":
    unknown = sorted(set(datasets) - set(METRIC_OF))
    if unknown:
        raise ValueError(
            f"dataset: the metric of {', '.join(unknown)} is not known; add a column metric_name "
            "(accuracy or mse)"
        )
    return datasets.map(METRIC_OF)


def _nested_robustness(frame: pd.DataFrame) -> "pd.Series[Any]":
    found = [(c, ATTACK_COLUMN.fullmatch(str(c))) for c in frame.columns]
    columns = [(c, m["attack"], float(m["epsilon"])) for c, m in found if m is not None]
    values = frame[[column for column, _, _ in columns]].to_numpy(dtype=np.float64)
    nested = [
        [
            {"attack": attack, "epsilon": epsilon, "value": float(value)}
            for (_, attack, epsilon), value in zip(columns, row, strict=True)
            if not np.isnan(value)
        ]
        for row in values
    ]
    return pd.Series(nested, index=frame.index, dtype="object")


def published_steps(
    datasets: Sequence[str], lengths: Sequence[int | None]
) -> tuple[list["NDArray[np.int64] | None"], list[int | None]]:
    """Optimiser steps of loss curves that have the length of the published recipe.

    Args:
        datasets: Of each curve.
        lengths: Points of each curve; None where there is none.

    Returns:
        The steps of each curve and the steps of an epoch; None where the dataset is another, or
        the length is no multiple of the points per epoch.
    """
    known: dict[tuple[str, int], NDArray[np.int64]] = {}
    for dataset, length in set(zip(datasets, lengths, strict=True)):
        recipe = _PUBLISHED_CURVE.get(dataset)
        if recipe is not None and length is not None and length % recipe[0] == 0:
            point = np.arange(length)
            known[dataset, length] = (
                point // recipe[0] * recipe[2] + (point % recipe[0] + 1) * recipe[1]
            )
    found = [
        None if length is None else known.get((dataset, length))
        for dataset, length in zip(datasets, lengths, strict=True)
    ]
    per_epoch = [
        None if steps is None else _PUBLISHED_CURVE[dataset][2]
        for dataset, steps in zip(datasets, found, strict=True)
    ]
    return found, per_epoch


def _choose_best_on_test(cells: pd.DataFrame) -> None:
    teachers = cells[(cells["role"] == "teacher") & cells["done"]]
    chosen: dict[tuple[str, str], str] = {}
    for (dataset, model), part in teachers.groupby(["dataset", "model"]):
        rank = part["test_metric"] * direction(part["metric_name"].iloc[0])
        best = part[rank == rank.max()].sort_values("seed")
        chosen[str(dataset), str(model)] = best["trial_id"].iloc[0]
    guided = cells["role"] == "student"
    pairs = zip(cells["dataset"], cells["teacher"], strict=True)
    ids = pd.Series([chosen.get(pair) for pair in pairs], index=cells.index, dtype="object")
    cells["teacher_trial_id"] = ids.where(guided, None)
    cells["selected_on"] = ids.notna().map({True: "test", False: None}).where(guided, None)

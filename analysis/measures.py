"""One number of every trial, by its name: the metric, a figure under attack, a score over classes.

What a study's own figures and tables show is asked for by such names (`analysis.measure_names`).
Nothing is filled in: a trial that was not measured so, or never reached a level, has no number.
"""

from typing import Any

import numpy as np
import pandas as pd

from analysis import words
from analysis.columns import direction
from analysis.curves import evaluations
from analysis.measure_names import MeasureName, Unit

_LISTS = (list, tuple, np.ndarray)
_TITLES = {
    "validation_metric": "Validation",
    "test_loss": "Test loss",
    "validation_loss": "Validation loss",
    "mae": "Test MAE",
    "r2": "Test R²",
    "epochs_run": "Epochs trained",
    "precision": "Precision, mean over classes (%)",
    "recall": "Recall, mean over classes (%)",
    "f1": "F1, mean over classes (%)",
    "corrected": "Perturbed labels corrected (%)",
    "memorised": "Perturbed labels memorised (%)",
    "other": "Perturbed labels taken for a third class (%)",
}


def measure(cells: pd.DataFrame, name: str) -> "pd.Series[float]":
    """A measure of every cell.

    - `accuracy`, `mse`: the headline metric where it is that one; `test_metric`: whatever it is.
    - An attack and its strength: the value under attack, in the unit of the metric.
    - `precision`, `recall`, `f1`: the mean over classes, each counting alike, in percent.
    - `corrected`, `memorised`, `other`: of the training rows whose label was perturbed, the percent
      for which the network says the true label, the wrong one it was given, or another.
    - `epoch_at L`: the first epoch whose evaluation during training (on validation where there is
      one) is as good as L. Censored: null where L was never reached, so a mean is over those that
      reached it and has to say how many did.

    Args:
        cells: One row per requested cell.
        name: See `analysis.measure_names`.

    Returns:
        One number per row, with the index of `cells`; NaN without a finished trial, and where it
        was not measured.

    Raises:
        ValueError: An unknown name, or a table without `test_metric` and `metric_name`.
    """
    asked = MeasureName.parse(name)
    for column in ("test_metric", "metric_name"):
        if column not in cells:
            raise ValueError(f"cells: missing column {column}, which measure {name!r} needs")
    figures = _figures(cells, asked)
    values = pd.Series(np.asarray(figures, dtype=np.float64), index=cells.index, name=asked.text)
    return values.where(_done(cells) & np.isfinite(values))


def measure_title(name: str, metric_name: str) -> str:
    """A measure as it stands at an axis, with its unit.

    Raises:
        ValueError: See `measure`.
    """
    asked = MeasureName.parse(name)
    if asked.kind == "metric" or asked.name == "test_metric":
        return words.metric_title(metric_name or asked.name)
    metric = words.metric_title(metric_name).removeprefix("Test ")
    if asked.kind == "attack":
        where = "Validation" if asked.validation else "Test"
        return f"{where} {metric} under {words.attack_title(asked.name)} {asked.number:g}"
    if asked.kind == "epoch_at":
        return f"Epochs to {metric.removesuffix(' (%)')} {asked.number:g}"
    title = _TITLES[asked.name]
    return f"{title} {metric}" if asked.name == "validation_metric" else title


def written(value: float, unit: Unit) -> str:
    """A number of a measure: 77.68, 0.1972, 12.3 epochs as 12.3; a dash where there is none."""
    if unit == "epochs":
        return words.decimal(value, 1)
    return words.metric_value(value, "accuracy" if unit == "percent" else "", unit=False)


def written_difference(value: float, unit: Unit) -> str:
    """A signed difference of a measure; a dash where there is none."""
    if pd.isna(value):
        return "–"
    return words.signed(value, {"percent": 2, "epochs": 1, "number": 4}[unit])


def _done(cells: pd.DataFrame) -> "pd.Series[bool]":
    finite = pd.Series(np.isfinite(pd.to_numeric(cells["test_metric"]).astype("float64")))
    return finite & (cells["status"] == "done") if "status" in cells else finite


def _figures(cells: pd.DataFrame, asked: MeasureName) -> list[float]:
    if asked.kind == "metric":
        own = (cells["metric_name"] == asked.name).fillna(False)
        return list(pd.to_numeric(cells["test_metric"]).astype("float64").where(own))
    if asked.kind == "column":
        if asked.name not in cells:
            return [np.nan] * len(cells)
        return list(pd.to_numeric(cells[asked.name]).astype("float64"))
    if asked.kind == "attack":
        column = "validation_robustness" if asked.validation else "robustness"
        return [_under(points, asked) for points in _nested(cells, column)]
    if asked.kind == "classes":
        return [_mean_score(classes, asked.name) for classes in _nested(cells, "per_class")]
    if asked.kind == "labels":
        return [_share(counts, asked.name) for counts in _nested(cells, "perturbed")]
    return [
        _first_epoch(points, float(asked.number or 0), metric)
        for points, metric in zip(_nested(cells, "curve"), cells["metric_name"], strict=True)
    ]


def _nested(cells: pd.DataFrame, column: str) -> "list[Any]":
    return list(cells[column]) if column in cells else [None] * len(cells)


def _under(points: Any, asked: MeasureName) -> float:
    for point in points if isinstance(points, _LISTS) else ():
        if point["attack"] == asked.name and np.isclose(point["epsilon"], asked.number, 1e-9, 0):
            return np.nan if point["value"] is None else float(point["value"])
    return np.nan


def _mean_score(classes: Any, name: str) -> float:
    """A class that has no test row has no score: its zeros are not measured."""
    if not isinstance(classes, _LISTS):
        return np.nan
    scores = [row[name] for row in classes if row["support"] > 0 and row[name] is not None]
    return 100 * float(np.mean(scores)) if scores else np.nan


def _share(counts: Any, name: str) -> float:
    if not isinstance(counts, dict) or not counts.get("rows"):
        return np.nan
    return 100 * float(counts[name]) / float(counts["rows"])


def _first_epoch(points: Any, level: float, metric: Any) -> float:
    if not isinstance(points, _LISTS) or not len(points) or pd.isna(metric):
        return np.nan
    epochs, values = evaluations(points)
    good = np.flatnonzero((values - level) * direction(str(metric)) >= 0)
    return float(epochs[good[0]]) if len(good) else np.nan

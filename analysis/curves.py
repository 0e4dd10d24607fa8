"""Training-loss curves averaged over seeds on a common axis of optimiser steps.

Curves may have different lengths (early stops, budgets) and are never padded: every point of the
mean says over how many seeds it was taken.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import configuration_keys, tidy

Array = NDArray[np.float64]


def loss_curves(cells: pd.DataFrame, points: int | None = None) -> pd.DataFrame:
    """The mean training loss of every configuration.

    The recorded loss is the one that was minimised: the mixed loss while a teacher guides, the
    hard loss afterwards. Values that are not finite are left out and lower `n`.

    Args:
        cells: One row per requested cell, with `train_loss` and, where known, `train_loss_step`
            and `steps_per_epoch`.
        points: At most this many points per curve, evenly spaced with both ends; None for all.

    Returns:
        One row per configuration and point: the keys, `step` (optimiser steps done; without
        recorded steps the number of the point, from 1), `epoch` (steps / steps per epoch, NaN where
        that is unknown), `n`, `mean`, `deviation` (ddof 1).

    Raises:
        ValueError: See `analysis.cells.tidy`; or a curve and its steps differ in length.
    """
    frame = tidy(cells)
    keys = configuration_keys(frame)
    frame = with_losses(frame)
    curves = list(recorded(frame))
    scales = pd.to_numeric(frame["steps_per_epoch"]).to_numpy("float64", na_value=np.nan)
    number = frame.groupby(keys, dropna=False, sort=True, observed=True).ngroup().to_numpy()
    order = np.argsort(number, kind="stable")
    heads: list[int] = []
    lengths: list[int] = []
    columns: list[tuple[Array, Array, Array, Array, Array]] = []
    for rows in np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if len(order) else ():
        step, n, mean, deviation = _average([curves[row] for row in rows])
        if points is not None and len(step) > points:
            kept = np.unique(np.linspace(0, len(step) - 1, points).round().astype(int))
            step, n, mean, deviation = step[kept], n[kept], mean[kept], deviation[kept]
        per_epoch = np.unique(scales[rows][~np.isnan(scales[rows])])
        scale = float(per_epoch[0]) if len(per_epoch) == 1 else np.nan
        heads.append(int(rows[0]))
        lengths.append(len(step))
        columns.append((step, step / scale, n, mean, deviation))
    table = frame.iloc[np.repeat(np.array(heads, dtype=int), lengths)][keys].reset_index(drop=True)
    for position, name in enumerate(("step", "epoch", "n", "mean", "deviation")):
        parts = [column[position] for column in columns]
        table[name] = np.concatenate(parts) if parts else np.empty(0)
    return table.astype({"step": "int64", "n": "int64"})


def with_losses(frame: pd.DataFrame) -> pd.DataFrame:
    """The finished rows of a tidy table that have a loss curve, with all columns of one."""
    frame = frame.copy()
    for column in ("train_loss", "train_loss_step", "steps_per_epoch"):
        if column not in frame:
            frame[column] = None
    known = frame["train_loss"].map(lambda curve: curve is not None and np.size(curve) > 0)
    return frame[frame["done"] & known.astype(bool)]


def recorded(part: pd.DataFrame) -> Iterator[tuple[Array, Array]]:
    """Steps and losses of each row of `with_losses`, each (points,); only finite losses.

    Raises:
        ValueError: A curve and its steps differ in length.
    """
    for losses, steps in zip(part["train_loss"], part["train_loss_step"], strict=True):
        values = np.asarray(losses, dtype=np.float64)
        if steps is None or np.size(steps) == 0:
            at = np.arange(1, len(values) + 1, dtype=np.float64)
        else:
            at = np.asarray(steps, dtype=np.float64)
        if at.shape != values.shape:
            raise ValueError(
                f"train_loss_step: {at.size} steps for {values.size} losses; one per loss is needed"
            )
        finite = np.isfinite(values)
        yield at[finite], values[finite]


def evaluations(points: Sequence[Mapping[str, Any]]) -> tuple[Array, Array]:
    """Epochs and metrics of one trial's evaluations during training, each (points,).

    Of several splits validation is taken; of the others the first by name.

    Args:
        points: What the column `curve` holds of it, at least one.
    """
    splits = {point["split"] for point in points}
    split = "validation" if "validation" in splits else min(splits)
    kept = [
        (point["epoch"], point["metric"])
        for point in points
        if point["split"] == split and point["metric"] is not None
    ]
    at = np.array(kept, dtype=np.float64).reshape(-1, 2)
    return at[:, 0], at[:, 1]


def _average(curves: list[tuple[Array, Array]]) -> tuple[Array, Array, Array, Array]:
    steps = np.concatenate([step for step, _ in curves])
    values = np.concatenate([value for _, value in curves])
    at, point = np.unique(steps, return_inverse=True)
    n = np.bincount(point, minlength=len(at)).astype(np.float64)
    mean = np.bincount(point, weights=values, minlength=len(at)) / n
    squares = np.bincount(point, weights=(values - mean[point]) ** 2, minlength=len(at))
    deviation = np.sqrt(np.where(n > 1, squares, np.nan) / np.maximum(n - 1, 1))
    return at, n, mean, deviation

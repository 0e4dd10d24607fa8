"""Which rows are in which split: those of some classes, set aside, or chosen to train on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.canonical import Canonical
from data.catalog import DatasetEntry
from data.spec import DataSpec
from data.stratify import random_keys, stratified_order


def rows_of_splits(
    spec: DataSpec, entry: DatasetEntry, found: Canonical
) -> dict[str, NDArray[np.int64]]:
    """Chooses the rows of every split.

    Args:
        spec: Which.
        entry: The dataset.
        found: Its content.

    Returns:
        Ascending positions in the stored split that the rows come from: of ``"test"`` in its own,
        of ``"train"`` and, if asked for, ``"validation"`` in that for training.

    Raises:
        ValueError: There are fewer rows than asked for, or none of the classes.
    """
    labelled = entry.task == "classification"
    y_train, y_test = (found.y_train, found.y_test) if labelled else (None, None)
    test = rows_of_classes(spec, len(found.x_test), y_test)
    train = rows_of_classes(spec, len(found.x_train), y_train)
    for name, rows in (("training", train), ("test", test)):
        if len(rows) == 0:
            raise ValueError(
                f"classes = {spec.classes!r} is not allowed for dataset {spec.name!r}: no {name} "
                "row is of one of them"
            )
    return {"test": test, **choose_rows(spec, len(found.x_train), y_train)}


def choose_rows(
    spec: DataSpec, available: int, classes: NDArray[np.int64] | None
) -> dict[str, NDArray[np.int64]]:
    """Chooses the training and validation rows of a specification.

    Args:
        spec: How many rows, of which classes, and the seed.
        available: Rows of the canonical training split.
        classes: Class of each of them, ``[available]``, None for regression.

    Returns:
        Ascending row positions for ``"train"`` and, if asked for, ``"validation"``; disjoint.

    Raises:
        ValueError: There are fewer rows than asked for.
    """
    remaining = rows_of_classes(spec, available, classes)
    train_size, validation_size = spec.counts(len(remaining))
    chosen = {}
    for name, size in (("validation", validation_size), ("train", train_size)):
        if name == "validation" and size == 0:
            continue
        if size < len(remaining):
            keys = random_keys(available, spec.split_seed, name)[remaining]
            strata = None if classes is None else classes[remaining]
            order = remaining[stratified_order(keys, strata)]
            chosen[name], remaining = np.sort(order[:size]), np.sort(order[size:])
        else:
            chosen[name] = remaining
    return chosen


def rows_of_classes(
    spec: DataSpec, available: int, classes: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Returns the ascending positions of the rows of a split that a specification's classes leave.

    Args:
        spec: Which classes.
        available: Rows of the canonical split.
        classes: Class of each of them, ``[available]``, None for regression.
    """
    if spec.classes is None or classes is None:
        return np.arange(available)
    rows: NDArray[np.int64] = np.flatnonzero(np.isin(classes, spec.classes))
    return rows

"""Noise on labels: a part of the training rows gets the label of another class.

A smaller part's rows are among those of a larger, and a row's new label does not depend on how many
there are: figures over a sweep of noise differ by the added rows alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.random_numbers import below
from data.spec import DataSpec
from data.stratify import random_keys, stratified_order

Labels = NDArray[np.int64]


def noisy_rows(spec: DataSpec, positions: Labels, available: int, labels: Labels) -> Labels:
    """Chooses the training rows that get another label, stratified by class.

    Args:
        spec: Says how many, of which part of the rows.
        positions: Of the training rows in the dataset's stored split, ``[n]``.
        available: Rows of that stored split.
        labels: The true class of each training row, ``[n]``.

    Returns:
        Ascending numbers of rows, from 0 to n - 1.
    """
    part, noisy = spec.noisy_rows(len(labels))
    candidates = np.arange(len(labels))
    if part < len(labels):
        keys = random_keys(available, spec.split_seed, "label noise part")[positions]
        candidates = np.sort(stratified_order(keys, labels)[:part])
    keys = random_keys(available, spec.split_seed, "label noise")[positions[candidates]]
    return np.sort(candidates[stratified_order(keys, labels[candidates])[:noisy]])


def other_labels(spec: DataSpec, outputs: int, positions: Labels, labels: Labels) -> Labels:
    """Draws for each row one of the classes that it is not of, all equally likely.

    Args:
        spec: Its classes, where they are not all, and the seed.
        outputs: How many classes there are in all.
        positions: Of the rows in the dataset's stored split, ``[n]``.
        labels: The true class of each row, ``[n]``.

    Returns:
        A class for each row, ``[n]``, never its own.
    """
    classes = np.array(spec.classes or range(outputs), dtype=np.int64)
    rows = int(positions.max(initial=-1)) + 1
    drawn = below(rows, len(classes) - 1, spec.split_seed, "label noise class")[positions]
    # The classes are ascending: counting past a row's own leaves the others, in order.
    drawn += drawn >= np.searchsorted(classes, labels)
    return classes[drawn]

"""Seeded choice of rows, stratified by class and nested in size.

Rows are put in an order whose every prefix is a stratified sample, so a choice of m rows is the
first m, and a larger choice contains the smaller. Between classes the turns are those of the
highest-averages apportionment of Webster and Sainte-Lague: the (r+1)-th row of a class of n rows
comes at (2r + 1) / n. Within a class, and between classes at equal turns, the order is random.

The randomness comes from SHAKE-256, not from a generator of numpy, whose streams may change
between versions.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def random_keys(rows: int, seed: int, purpose: str) -> NDArray[np.uint64]:
    """Returns a random sort key for each row, a pure function of its arguments.

    Args:
        rows: How many keys; more rows extend the keys of fewer.
        seed: Any integer.
        purpose: Name of the stream; different purposes are independent.

    Returns:
        Keys, ``[rows]``.
    """
    stream = hashlib.shake_256(f"rows\0{purpose}\0{seed}".encode()).digest(8 * rows)
    return np.frombuffer(stream, dtype="<u8")


def stratified_order(
    keys: NDArray[np.uint64], labels: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Orders rows so that every prefix is a stratified random sample.

    Args:
        keys: Random sort keys, ``[n]``.
        labels: Class of each row, ``[n]``, from 0; None for a plain random order.

    Returns:
        Row positions, a permutation of ``0..n-1``.
    """
    shuffled: NDArray[np.int64] = np.argsort(keys, kind="stable")
    if labels is None:
        return shuffled
    classes: NDArray[Any] = labels[shuffled]
    sizes = np.bincount(classes)
    grouped = np.argsort(classes, kind="stable")
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(classes), dtype=np.int64)
    rank[grouped] = np.arange(len(classes)) - starts[classes[grouped]]
    turns = (2 * rank + 1) / sizes[classes]
    return shuffled[np.argsort(turns, kind="stable")]

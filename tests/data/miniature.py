"""Datasets of the catalogue in miniature: a few made-up rows of the real shapes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

import data
from data.catalog import DatasetEntry, RawArrays
from data.npz import write_npz
from data.store import prepared_path


def unpinned(name: str) -> DatasetEntry:
    """The entry of a dataset, without what pins it to its real rows."""
    return replace(data.get(name), fingerprint=None, train_rows=None, test_rows=None)


@contextmanager
def registered(entries: Iterable[DatasetEntry]) -> Iterator[None]:
    """Registers entries for the time being, in place of those of the same names."""
    entries = list(entries)
    before = [data.get(entry.name) for entry in entries]
    for entry in entries:
        data.register(entry, replace=True)
    try:
        yield
    finally:
        for entry in before:
            data.register(entry, replace=True)


def write(entries: Iterable[DatasetEntry], folder: Path, train_images: int | None = None) -> None:
    """Writes made-up rows of every dataset into a data directory, see `rows_of`."""
    for entry in entries:
        write_npz(prepared_path(entry, folder), rows_of(entry, train_images))


def rows_of(entry: DatasetEntry, train_images: int | None = None) -> RawArrays:
    """Rows from which something can be learned; the same for the same entry.

    Args:
        entry: says what they look like.
        train_images: rows to train on, where they are images; None for few, which are no multiple
            of 8. A table takes two of the row blocks that a full batch is made of, and its test
            rows two batches of an evaluation.
    """
    rng = np.random.default_rng(7)
    if not entry.is_image:
        x = rng.normal(size=(4_300, *entry.input_shape)) * 3 + 1
        y = np.sin(x @ rng.normal(size=(x.shape[1], entry.outputs))) + rng.normal(
            size=(len(x), entry.outputs), scale=0.1
        )
        return RawArrays(x[:4_150], y[:4_150], x[4_150:], y[4_150:])
    channels, height, width = entry.input_shape
    train, test = (10, 6) if height * width > 500 else (74, 40)
    train = train_images or train
    prototypes = rng.integers(0, entry.pixel_max + 1, size=(entry.outputs, height, width, channels))
    labels = np.arange(train + test) % min(entry.outputs, max(3, train // 7))
    noise = rng.integers(0, entry.pixel_max + 1, size=(len(labels), height, width, channels))
    images = ((3 * prototypes[labels] + noise) // 4).astype(np.uint8)
    if channels == 1:
        images = images[..., 0]
    return RawArrays(images[:train], labels[:train], images[train:], labels[train:])

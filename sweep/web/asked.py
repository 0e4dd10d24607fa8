"""What a study asks for, numbered once: it changes only when the study does.

Cells are rows, configurations are what was asked for except the seed. A configuration has a key of
its own, a hash of its words, so that a link to it holds across restarts and between studies.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sweep.imported import Origin
from sweep.query.configurations import WORDS, numbered
from sweep.records import tuples

KEY_LENGTH = 16
SPOKEN = ("teacher", "alpha", "switch_epoch")
"""Words that are always said of a student."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Configuration:
    """All that was asked for except the seed.

    Attributes:
        key: names it in links.
        words: what was asked, by the column's name; null where it does not apply.
        label: the words that tell it from others, for people.
    """

    key: str
    words: Mapping[str, Any]
    label: str


@dataclass(frozen=True, eq=False)
class Asked:
    """The requested cells of a study.

    Attributes:
        name: of the study.
        text: the study as JSON, as it was run last.
        origin: where its results were imported from; None where it was run.
        cells: the columns of `sweep.records.CELLS`, one row for each configuration and seed.
        configurations: in the order of their numbers.
        number: the configuration of each cell, shape (cells,).
        baseline: the baseline of each configuration, -1 where there is none, shape (configurations,).
        partner: the cell of the baseline with the seed of each cell, -1 where there is none, shape
            (cells,).
        trial_ids: each trial once.
        trial: the number of each cell's trial in `trial_ids`, shape (cells,).
        first: the first cell of each trial, shape (trials,).
        varying: words that take more than one value among students, baselines or teachers of a
            dataset; the role and the dataset where there are several.
    """

    name: str
    text: str
    origin: Origin | None
    cells: pa.Table
    configurations: tuple[Configuration, ...]
    number: Numbers
    baseline: Numbers
    partner: Numbers
    trial_ids: tuple[str, ...]
    trial: Numbers
    first: Numbers
    varying: tuple[str, ...]

    @property
    def seeds(self) -> Numbers:
        """The seed of each cell, shape (cells,)."""
        seeds: Numbers = self.cells["seed"].to_numpy()
        return seeds

    def number_of(self, key: str) -> int | None:
        """The number of a configuration; None for a key that the study does not have."""
        keys = (position for position, one in enumerate(self.configurations) if one.key == key)
        return next(keys, None)


def asked(name: str, cells: pa.Table, text: str) -> Asked:
    """Numbers the requested cells of a study.

    Args:
        name: of the study.
        cells: see `sweep.store.Store.read_cells`.
        text: the study as JSON.
    """
    number, table = _numbered(name, cells)
    seeds = cells["seed"].to_numpy()
    both = np.stack([number, seeds]) if len(cells) else np.zeros((2, 0), np.int64)
    _, once = np.unique(both, axis=1, return_index=True)
    if len(once) < len(cells):  # two spellings of one value ask for the same cell twice
        cells = cells.take(pa.array(np.sort(once)))
        number, table = _numbered(name, cells)
        seeds = cells["seed"].to_numpy()
    baseline = table["baseline"].fill_null(-1).to_numpy().astype(np.int64)
    words = [name for name in WORDS if name != "study"]
    rows = [dict(zip(words, row, strict=True)) for row in tuples(table.select(words))]
    varying = _varying(rows, words)
    several = _several_students(rows)
    coded = cells["trial_id"].combine_chunks().dictionary_encode()
    trial = coded.indices.to_numpy().astype(np.int64)
    first = np.unique(trial, return_index=True)[1]
    return Asked(
        name=name,
        text=text,
        origin=Origin.of(text),
        cells=cells,
        configurations=tuple(
            Configuration(_key(row), row, label(row, varying, several)) for row in rows
        ),
        number=number,
        baseline=baseline,
        partner=_partners(number, seeds, baseline),
        trial_ids=tuple(coded.dictionary.to_pylist()),
        trial=trial,
        first=first,
        varying=varying,
    )


def label(words: Mapping[str, Any], varying: Sequence[str], several: bool = False) -> str:
    """A configuration in a few words: "teacher small, alpha 0.1, switch 3".

    Args:
        words: what was asked, by the column's name.
        varying: words that tell configurations apart.
        several: whether students are of several models, so that theirs is said.
    """
    role = words["role"]
    said = [f"teacher {words['teacher']}"] if role == "student" and words["teacher"] else [role]
    if role != "student":
        said[0] = f"{role} {words['model']}"
    skipped = {"role", "dataset", "teacher", "model"}
    if role == "student" and several:
        said.append(f"model {words['model']}")
    shown = [word for word in (*SPOKEN, *varying) if word not in skipped]
    for word in dict.fromkeys(shown):
        value = words[word]
        if value is not None:
            name = "switch" if word == "switch_epoch" else word.replace("_", " ")
            said.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    if "dataset" in varying:
        said.insert(0, words["dataset"])
    return ", ".join(said)


def _numbered(name: str, cells: pa.Table) -> tuple[Numbers, pa.Table]:
    with_study = cells.append_column("study", pa.repeat(name, len(cells)))
    number, table = numbered(with_study)
    return number.to_numpy().astype(np.int64), table


def _varying(rows: Sequence[Mapping[str, Any]], words: Sequence[str]) -> tuple[str, ...]:
    """Words that tell configurations of one dataset and role apart; and of these, those there are."""
    values: dict[tuple[Any, ...], set[Any]] = {}
    for row in rows:
        for word in words:
            group = () if word in ("role", "dataset") else (row["dataset"], row["role"])
            values.setdefault((word, *group), set()).add(row[word])
    found = {word for (word, *_), some in values.items() if len(some) > 1}
    return tuple(word for word in words if word in found)


def _several_students(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the students of some dataset are of several models."""
    students = {(row["dataset"], row["model"]) for row in rows if row["role"] == "student"}
    return len(students) > len({dataset for dataset, _ in students})


def _key(words: Mapping[str, Any]) -> str:
    known = {word: value for word, value in words.items() if value is not None}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]


def _partners(number: Numbers, seeds: Numbers, baseline: Numbers) -> Numbers:
    """For each cell the one of its baseline with the same seed; -1 where there is none."""
    if not len(number):
        return np.zeros(0, np.int64)
    _, code = np.unique(seeds, return_inverse=True)
    many = int(code.max()) + 1
    place = number * many + code
    order = np.argsort(place)
    wanted = baseline[number] * many + code
    at = np.searchsorted(place[order], wanted).clip(max=len(order) - 1)
    found = order[at]
    return np.where((baseline[number] >= 0) & (place[found] == wanted), found, -1)

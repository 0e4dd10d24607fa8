"""What was known when the search of a study began, which its suggestions depend on.

Kept beside the results, since trials of the search itself come to lie there: with them taken for known, a
search that goes on would suggest something else than one that was not interrupted.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from sweep import follow
from sweep.findings import known_to
from sweep.records import tuples
from sweep.searching import frozen
from sweep.store import Store
from sweep.study import Study
from sweep.study.check_tune import space_of
from sweep.suggest import Space, Value, Values
from sweep.tune import definition
from trials.identity import digest

COLUMN_OF = {"student": "model"}
"""Columns of cells whose name is not that of the key."""
NOT_SOUGHT = ("hard", "noisy", "amplitude", "anchor", "curvature", "start")
"""Keys by which no cell says what it is: the name of a start is another in every study."""


@dataclass(frozen=True)
class Begun:
    """A search that has begun.

    Attributes:
        definition: of what, as a hash.
        known: by dataset, the points whose trials were done by then.
        closed: by dataset, points after which no new one is begun, where time was up.
    """

    definition: str
    known: Mapping[str, tuple[Values, ...]]
    closed: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        known = {name: [dict(values) for values in points] for name, points in self.known.items()}
        return {"definition": self.definition, "known": known, "closed": dict(self.closed)}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Begun":
        """From what was kept."""
        known = {name: tuple(points) for name, points in kept["known"].items()}
        return cls(kept["definition"], known, kept["closed"])


def definition_of(study: Study) -> str:
    """A hash of everything that decides which points are suggested, but for figures."""
    assert study.tune is not None
    parts = {
        "tune": definition(study.tune),
        "seeds": list(study.seeds[: study.tune.repeats]),
        "datasets": {
            name: one.model_dump(mode="json", exclude={"evaluation"})
            for name, one in study.datasets.items()
        },
        "starts": {name: one.model_dump(mode="json") for name, one in study.starts.items()},
        "ramps": {name: list(values) for name, values in study.ramps.items()},
    }
    return digest(parts)


def begun_of(study: Study, store: Store | None) -> Begun | None:
    """The search of a study as it was begun; None where none was, or another one."""
    if study.tune is None or store is None:
        return None
    kept = store.read_search(study.name)
    if kept is None or kept["definition"] != definition_of(study):
        return None
    return Begun.of(kept)


def begin(study: Study, store: Store) -> Begun:
    """Goes on with the search of a study, or begins one and keeps what is known by now."""
    begun = begun_of(study, store)
    if begun is None:
        known = {name: tuple(_known(study, store, name)) for name in study.datasets}
        begun = Begun(definition_of(study), known)
    begun = replace(begun, closed={})
    store.write_search(study.name, begun.to_json())
    return begun


def _known(study: Study, store: Store, name: str) -> Iterator[Values]:
    """The points of the space whose trials are done, in the order of their values.

    Cells of any study are looked at for values that lie in the space; whether they are the same trials
    is told by their ids.
    """
    from sweep.expand import problem

    tune = study.tune
    assert tune is not None
    space = space_of(tune)
    seen = _settings(store, name, space)
    if not seen:
        return
    findings = known_to(study, store)
    asked = problem(study, name)
    for number, values in enumerate(seen, start=1):
        ids = [c.trial_id for c in asked.trainings(number, values, asked.search_seeds)]
        scores = (follow.mean_score(ids, findings, g.select_on, g.figure) for g in tune.objectives)
        if None not in list(scores):
            yield values


def _settings(store: Store, dataset: str, space: Space) -> list[Values]:
    """Points of the space that any student of a dataset was asked for with, without repeats."""
    columns = [COLUMN_OF.get(key, key) for key, _ in space]
    if any(key in NOT_SOUGHT for key, _ in space):
        return []
    found: dict[tuple[tuple[str, Value], ...], Values] = {}
    for study in store.studies():
        cells = store.read_cells(study)
        if cells is None or any(column not in cells[0].column_names for column in columns):
            continue
        for row in _distinct(cells[0], dataset, columns):
            held = [domain.holds(value) for (_, domain), value in zip(space, row, strict=True)]
            values = {
                key: one for (key, _), one in zip(space, held, strict=True) if one is not None
            }
            if len(values) == len(space):
                found.setdefault(frozen(values), values)
    return [found[key] for key in sorted(found, key=_order)]


def _distinct(cells: pa.Table, dataset: str, columns: list[str]) -> list[tuple[Any, ...]]:
    words = ["role", "dataset", *columns]
    rows = tuples(cells.select(list(dict.fromkeys(words))))
    places = [list(dict.fromkeys(words)).index(column) for column in columns]
    students = (row for row in rows if row[:2] == ("student", dataset))
    return list(dict.fromkeys(tuple(row[place] for place in places) for row in students))


def _order(values: tuple[tuple[str, Value], ...]) -> tuple[Any, ...]:
    return tuple(itertools.chain.from_iterable((isinstance(v, str), v) for _, v in values))

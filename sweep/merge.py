"""Joins results directories: every record once, and never a choice between two that contradict.

A trial's id says what was trained, so records of one id and one numerics class must say the same. Where
they do not, none is taken: the trial counts as missing, unless the directory that is merged into holds it,
which is left as it is. Records of another numerics class are as good as each other: the first
directory that holds one gives it. Networks and later evaluations come from directories that hold
the record that is kept.

What is there already is passed over, so a merge that was interrupted is simply done again. Networks
come before the records that promise them.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.errors import DamagedError, StoreError
from sweep.files import Entry
from sweep.imported import Origin
from sweep.records import ATTRIBUTIONS, CELLS, EVALUATIONS, ROBUSTNESS_OF, evaluation_id, tuples
from sweep.results import ZERO
from sweep.store import Shelf, Store, to_parquet

MEASURED = (
    "status", "metric_name", "test_metric", "test_loss", "validation_metric", "validation_loss",
    "mae", "r2", "train_loss", "train_loss_step", "steps_per_epoch", "per_class", "confusion",
    "epochs_run", "diverged_epoch", "stopped_epoch", "best_epoch", "teacher_trial_ids", "perturbed",
)  # fmt: skip
"""Columns that are the same for a trial in one numerics class."""

POINTS = {"curve": ("epoch", "split"), "robustness": ("attack", "epsilon"),
          "validation_robustness": ("attack", "epsilon")}  # fmt: skip
"""Columns of points, and what names a point: how many are measured is not part of a trial's identity,
what is measured at one is the same."""

ROWS = 500


@dataclass(frozen=True)
class Conflict:
    """Two records that cannot both be right.

    Attributes:
        what: the id of a trial or an evaluation, or the words of a cell.
        columns: in which they differ.
        where: the directories that hold them.
    """

    what: str
    columns: tuple[str, ...]
    where: tuple[str, ...]


@dataclass
class MergeSummary:
    """What a merge did.

    Attributes:
        added: how many of each kind were not there before.
        equal: trials that several directories hold alike.
        other_class: trials that were measured in several numerics classes, of which one record is kept.
        conflicts: what contradicts; see the module.
        studies: names of studies that are not defined alike everywhere; their cells are joined, but
            for those of imported results, where that is a conflict.
        damaged: files that could not be used.
        active: directories that a run is writing to; to be merged again when it is done.
    """

    added: dict[str, int] = field(default_factory=dict)
    equal: int = 0
    other_class: list[str] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    studies: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    active: list[str] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """0 where everything was joined, 1 where something contradicts or is damaged."""
        return 1 if self.conflicts or self.damaged else 0


def merge(sources: Sequence[Store], into: Store) -> MergeSummary:
    """Joins results directories into one, which may be new.

    Args:
        sources: are only read.
        into: is held for writing meanwhile.

    Raises:
        StoreError: where one does not exist, is the one that is merged into, or is of a later
            version, whose columns would be lost; or where one cannot be read or written.
    """
    for source in sources:
        if not source.is_there():
            raise StoreError(f"results directory {str(source)!r} does not exist")
        if str(source) == str(into):
            raise StoreError(f"{source} cannot be merged into itself")
        unknown = set().union(*(shelf.unknown_columns() for shelf in source.shelves))
        if unknown:
            raise StoreError(
                f"{source} was written by a later version: columns {', '.join(sorted(unknown))}"
            )
    with into.writing():
        return _Merge([into, *sources]).go()


class _Merge:
    def __init__(self, places: Sequence[Store]) -> None:
        self._places, self._into = places, places[0]
        self._summary = MergeSummary()
        self._tables: list[pa.Table] = []
        self._from: dict[str, int] = {}
        self._agree: dict[str, list[int]] = {}
        self._points: dict[str, dict[str, Any]] = {}

    def go(self) -> MergeSummary:
        found = self._summary
        self._damaged(self._into, self._into.set_aside_damaged())
        found.active += [str(place) for place in self._places[1:] if place.read_live() is not None]
        for place in self._places:
            self._tables.append(self._read(place, "trials"))
        self._choose()
        self._states("weights", Store.kept_weights, Store.read_weights, Store.write_weights)
        self._states("snapshots", Store.kept_snapshots, Store.read_state, Store.write_snapshot)
        self._evaluations()
        self._attributions()
        for name in ("attempts", "runs"):
            self._history(name)
        self._trials()
        self._cells()
        self._searches()
        return found

    def _count(self, what: str, number: int) -> None:
        self._summary.added[what] = self._summary.added.get(what, 0) + number

    def _damaged(self, place: Store, paths: Iterable[Any]) -> None:
        self._summary.damaged += [place.on.shown(path) for path in paths]

    def _read(self, place: Store, shelf: str) -> pa.Table:
        rows, damaged = _shelf(place, shelf).read()
        self._damaged(place, damaged)
        return rows

    # Trials

    def _choose(self) -> None:
        """For every trial, the directory that gives its record, and those that say the same."""
        holders: dict[str, list[int]] = defaultdict(list)
        for number, rows in enumerate(self._tables):
            for trial_id in rows["trial_id"].to_pylist():
                holders[trial_id].append(number)
        several = {trial_id for trial_id, held in holders.items() if len(held) > 1}
        rows = [
            {row["trial_id"]: row for row in _having(table, several).to_pylist()}
            for table in self._tables
        ]
        for trial_id, held in holders.items():
            if trial_id not in several:
                self._from[trial_id], self._agree[trial_id] = held[0], held
                continue
            records = {number: rows[number][trial_id] for number in held}
            self._choose_one(trial_id, records)

    def _choose_one(self, trial_id: str, records: Mapping[int, Mapping[str, Any]]) -> None:
        classes: dict[Any, list[int]] = defaultdict(list)
        for number, record in records.items():
            classes[record["numerics_class"]].append(number)
        for alike in classes.values():
            columns = {
                column
                for number in alike[1:]
                for column in differing(records[alike[0]], records[number])
            }
            if columns:
                where = tuple(str(self._places[number]) for number in alike)
                self._summary.conflicts.append(Conflict(trial_id, tuple(sorted(columns)), where))
                if 0 in records:
                    self._from[trial_id], self._agree[trial_id] = 0, [0]
                return
        if len(classes) > 1:
            self._summary.other_class.append(trial_id)
        order = sorted(
            records, key=lambda number: (records[number]["status"] == "diverged", number)
        )
        kept = records[order[0]]
        agree = sorted(classes[kept["numerics_class"]])
        self._summary.equal += len(agree) > 1
        self._from[trial_id], self._agree[trial_id] = order[0], agree
        self._more_points(trial_id, kept, [records[number] for number in agree])

    def _more_points(
        self, trial_id: str, kept: Mapping[str, Any], others: Sequence[Mapping[str, Any]]
    ) -> None:
        """Points of robustness that the record that is kept lacks."""
        more = {
            evaluation_id(trial_id, point, split): {
                **point, "trial_id": trial_id, "split": split,
                ZERO: other[ZERO] if split == "test" else None,
                **{name: other[name] for name in ("numerics_class", "code_version", "finished_at")},
            }
            for split, column in ROBUSTNESS_OF.items()
            for other in others
            for key, point in _points(other, column).items()
            if key not in _points(kept, column)
        }  # fmt: skip
        if more:
            self._points[trial_id] = more

    def _trials(self) -> None:
        for number, table in enumerate(self._tables[1:], start=1):
            wanted = {trial_id for trial_id, where in self._from.items() if where == number}
            self._publish("trials", _having(table, wanted))

    # What belongs to trials

    def _states(
        self,
        what: str,
        kept: Callable[[Store], Mapping[str, Entry]],
        read: Callable[[Store, str], bytes | None],
        write: Callable[[Store, str, bytes], None],
    ) -> None:
        """Copies networks that directories with the record that is kept hold."""
        there = set(kept(self._into))
        for number, place in enumerate(self._places[1:], start=1):
            for trial_id, entry in kept(place).items():
                if trial_id in there or number not in self._agree.get(trial_id, ()):
                    continue
                try:
                    content = read(place, trial_id)
                except DamagedError:
                    content = None
                if content is None:
                    self._damaged(place, [entry.path])
                    continue
                write(self._into, trial_id, content)
                self._count(what, 1)
                there.add(trial_id)

    def _evaluations(self) -> None:
        def told(row: Mapping[str, Any]) -> str:
            return f"{row['trial_id']} {row['attack']} {row['epsilon']:g}"

        seen, new = self._measured_later("evaluations", "value", told)
        for points in self._points.values():
            for key, point in points.items():
                if key not in seen:
                    new[key] = {"evaluation_id": key, **point}
        self._publish("evaluations", pa.Table.from_pylist(list(new.values()), EVALUATIONS))

    def _attributions(self) -> None:
        def told(row: Mapping[str, Any]) -> str:
            return f"{row['trial_id']} {row['method']} {row['segmentation']}"

        _, new = self._measured_later("attributions", "points", told)
        self._publish("attributions", pa.Table.from_pylist(list(new.values()), ATTRIBUTIONS))

    def _measured_later(
        self, name: str, column: str, told: Callable[[Mapping[str, Any]], str]
    ) -> tuple[set[str], dict[str, Mapping[str, Any]]]:
        """What was measured of trials after their training.

        Args:
            name: of the table.
            column: must be the same in one numerics class.
            told: a row in words, for a conflict.

        Returns:
            The keys that any directory holds, and the rows that are missing where all goes.
        """
        shelf = _shelf(self._into, name)
        seen: dict[str, tuple[int, Mapping[str, Any]]] = {}
        new: dict[str, Mapping[str, Any]] = {}
        for number, place in enumerate(self._places):
            for row in self._read(place, name).to_pylist():
                if number and number not in self._agree.get(row["trial_id"], ()):
                    continue
                key = row[shelf.key]
                if key not in seen:
                    seen[key] = (number, row)
                    if number:
                        new[key] = row
                    continue
                other, first = seen[key]
                same_class = row["numerics_class"] == first["numerics_class"]
                if same_class and _text(row[column]) != _text(first[column]):
                    where = (str(self._places[other]), str(place))
                    self._summary.conflicts.append(Conflict(told(row), (column,), where))
                    new.pop(key, None)
        return set(seen), new

    def _history(self, name: str) -> None:
        """Attempts and runs happened where they happened: all are kept."""
        shelf = _shelf(self._into, name)
        seen = set(self._read(self._into, name)[shelf.key].to_pylist())
        for place in self._places[1:]:
            rows = self._read(place, name)
            new = set(rows[shelf.key].to_pylist()) - seen
            self._publish(name, _having(rows, new, shelf.key))
            seen |= new

    def _publish(self, name: str, rows: pa.Table) -> None:
        shelf = _shelf(self._into, name)
        for start in range(0, len(rows), ROWS):
            shelf.add(rows.slice(start, ROWS))
        if len(rows):
            self._count(name, len(rows))

    # Studies

    def _cells(self) -> None:
        for name in sorted({name for place in self._places for name in place.studies()}):
            parts = []
            for place in self._places:
                try:
                    found = place.read_cells(name)
                except DamagedError:
                    self._damaged(place, [place.layout.study(name)])
                    continue
                if found is not None:
                    parts.append((place, *found))
            if parts:
                self._join(name, parts)

    def _searches(self) -> None:
        """A search goes on where it was begun: with what the first directory that has it knew then.

        Trials that others hold are found by its suggestions all the same.
        """
        for name in self._into.studies():
            for place in self._places:
                try:
                    began = place.read_search(name)
                except DamagedError:
                    self._damaged(place, [place.layout.search(name)])
                    continue
                if began is None:
                    continue
                if place is not self._into:
                    self._into.write_search(name, began)
                    table = place.read_search_table(name)
                    if table is not None:
                        self._into.write_search_table(name, to_parquet(table))
                    self._count("searches", 1)
                break

    def _join(self, name: str, parts: Sequence[tuple[Store, pa.Table, str]]) -> None:
        origins = [Origin.of(text) for _, _, text in parts]
        alike = {None if origin is None else origin.content for origin in origins}
        if any(origins) and len(alike) > 1:
            # Of a table that is imported nothing is mixed with anything else.
            where = tuple(str(place) for place, _, _ in parts)
            self._summary.conflicts.append(Conflict(f"study {name}", ("imported",), where))
            parts, origins = parts[:1], origins[:1]
        asked: dict[tuple[Any, ...], tuple[Store, str]] = {}
        tables = []
        for place, cells, _ in parts:
            new = []
            for words, trial_id in _words(cells):
                holder, known = asked.setdefault(words, (place, trial_id))
                new.append(holder is place)
                if known != trial_id:
                    what = f"{name}: {' '.join(str(word) for word in words if word is not None)}"
                    where = (str(holder), str(place))
                    self._summary.conflicts.append(Conflict(what, ("trial_id",), where))
            tables.append(cells.filter(pa.array(new, pa.bool_())))
        if not any(origins) and len({text for _, _, text in parts}) > 1:
            self._summary.studies.append(name)
        first, before, text = parts[0]
        joined = pa.concat_tables(tables)
        held = len(before) if first is self._into else 0
        if len(joined) > held:
            self._into.put_cells(name, joined, text)
            self._count("cells", len(joined) - held)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The columns in which two records of a trial contradict each other."""
    found = [name for name in MEASURED if _text(one[name]) != _text(other[name])]
    for column in POINTS:
        ours, theirs = _points(one, column), _points(other, column)
        if any(_text(ours[key]) != _text(theirs[key]) for key in ours.keys() & theirs.keys()):
            found.append(column)
    zero = [record["zero_gradients_percent"] for record in (one, other)]
    if None not in zero and zero[0] != zero[1]:
        found.append("zero_gradients_percent")
    return found


def _points(record: Mapping[str, Any], column: str) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    names = POINTS[column]
    return {tuple(point[name] for name in names): point for point in record[column] or ()}


def _text(value: Any) -> str:
    """A value to compare, in which what is not a number equals itself."""
    return json.dumps(value, default=str)


def _having(rows: pa.Table, ids: set[str], key: str = "trial_id") -> pa.Table:
    return rows.filter(pc.is_in(rows[key], value_set=pa.array(sorted(ids), pa.string())))


def _words(cells: pa.Table) -> Iterator[tuple[tuple[Any, ...], str]]:
    names = [name for name in CELLS.names if name != "trial_id"]
    return zip(tuples(cells.select(names)), cells["trial_id"].to_pylist(), strict=True)


def _shelf(place: Store, name: str) -> Shelf:
    shelf: Shelf = getattr(place, name)
    return shelf

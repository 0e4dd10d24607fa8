"""Makes a plain table of old results readable as results, beside those that are trained here.

Nothing is mixed in silence: an imported trial has an id of its own kind, a hash of all that its row
says, and its record says which file it came from. The same row is one trial, however often it is
imported. Everything is checked before anything is written; records come before the study that asks
for them, so an import that was interrupted is simply done again.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.columns import direction
from analysis.reference import published_steps
from sweep import plain
from sweep.errors import DamagedError, StoreError, TableError
from sweep.imported import PREFIX, Origin, origin_of
from sweep.layout import is_study_name
from sweep.plain import CURVES, MEASURES, WORDS, Plain
from sweep.records import CELLS, TRIALS, tuples
from sweep.store import Store
from trials.identity import digest

NUMERICS_CLASS = "imported"
BATCH_BYTES = 64 * 1024 * 1024
MAX_LINE = 1000


@dataclass(frozen=True)
class ImportSummary:
    """What an import did.

    Attributes:
        study: its name.
        rows: in the table.
        results: rows with a result.
        added: trials that were not there before.
        left_out: columns that were not taken.
        changed: whether anything was written.
    """

    study: str
    rows: int
    results: int
    added: int
    left_out: tuple[str, ...]
    changed: bool


def import_table(
    path: Path | str,
    study: str,
    results: Path | str = "results",
    *,
    teachers_selected_on: Literal["test"] | None = None,
    title: str | None = None,
    note: str | None = None,
    drop: Iterable[str] = (),
) -> ImportSummary:
    """Imports a table under the name of a study.

    Args:
        path: see `sweep.plain.read`.
        study: lower-case letters, digits, - and _.
        results: the results directory; made where there is none.
        teachers_selected_on: "test" states that, per dataset and teacher model, the teacher best
            on test (ties: lowest seed) guided all students, and records it so.
        title: one line for reports; None keeps that of an earlier import.
        note: what else is to be said of these results; likewise.
        drop: columns to leave out.

    Raises:
        TableError: for anything that is wrong with the table or the names; nothing is written then.
        StoreError: where the results directory cannot be written, or another run holds it.
    """
    if not is_study_name(study):
        raise TableError(
            f"--study {study!r}: must be 1 to 64 lower-case letters, digits, - and _, and begin "
            "with a letter or digit"
        )
    for option, text in (("--title", title), ("--note", note)):
        if text is not None and (len(text) > MAX_LINE or not text.isprintable()):
            raise TableError(f"{option}: must be at most {MAX_LINE:,} printable characters")
    table = plain.read(Path(path), drop)
    trials = _trials(table, teachers_selected_on)
    store = Store(results)
    before = _earlier(store, study)
    origin = Origin(
        file=table.file,
        sha256=table.sha256,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=len(trials),
        results=len(trials) - trials["test_metric"].null_count,
        title=title or "",
        note=note or "",
        teachers_selected_on=teachers_selected_on,
        left_out=table.left_out,
    )
    cells = trials.select(CELLS.names).cast(CELLS)
    if before is not None:
        known, asked = before
        if not asked.equals(cells):
            raise TableError(
                f"--study {study!r}: there are results of that name in {store}, {known}, of other "
                "content than this table; import it under another name"
            )
        origin = replace(
            known,
            title=known.title if title is None else title,
            note=known.note if note is None else note,
        )
    records = trials.filter(pc.is_valid(trials["test_metric"]))
    new = records.filter(pc.invert(_known(store, records)))
    changed = bool(len(new)) or before is None or before[0] != origin
    if changed:
        with store.writing():
            if _earlier(store, study) != before:
                raise StoreError(f"study {study!r} has just been imported by another; try again")
            for batch in _batches(new):
                store.trials.add(batch)
            store.put_cells(study, cells, origin.text(study))
    return ImportSummary(
        study, len(trials), len(records), len(new), table.left_out, changed
    )  # fmt: skip


def _earlier(store: Store, study: str) -> tuple[Origin, pa.Table] | None:
    """What was imported under the name; None where nothing was, or its file is damaged."""
    if study not in store.studies():
        return None
    try:
        origin, found = origin_of(store, study), store.read_cells(study)
    except DamagedError:
        return None
    if origin is None or found is None:
        raise TableError(
            f"--study {study!r}: a study of that name was run in {store}; its results and imported "
            "ones are not mixed; import the table under another name"
        )
    return origin, found[0].replace_schema_metadata(CELLS.metadata)


def _known(store: Store, records: pa.Table) -> pa.ChunkedArray:
    held, _ = store.trials.read(["trial_id"])
    return pc.is_in(records["trial_id"], value_set=held["trial_id"])


def _batches(rows: pa.Table) -> Iterable[pa.Table]:
    if not len(rows):
        return
    size = max(1, int(len(rows) * BATCH_BYTES / max(1, rows.nbytes)))
    for start in range(0, len(rows), size):
        yield rows.slice(start, size)


def _trials(table: Plain, teachers_selected_on: str | None) -> pa.Table:
    """The records, also of rows without a result, which have an id and no figures."""
    rows = _with_steps(table.rows)
    content = _contents(rows)
    ids = [f"{PREFIX}{digest(own)}" for own in content]
    if teachers_selected_on is not None:
        chosen = _best_on_test(rows, ids)
        for row, teacher in chosen.items():
            own = {**content[row], "selected_on": "test", "teacher_trial_ids": [teacher]}
            ids[row] = f"{PREFIX}{digest(own)}"
        guided = pa.array([row in chosen for row in range(len(rows))])
        split = pc.if_else(guided, "test", rows["selected_on"])
        rows = rows.set_column(rows.schema.get_field_index("selected_on"), "selected_on", split)
        teachers = [[chosen[row]] if row in chosen else None for row in range(len(rows))]
        rows = rows.append_column("teacher_trial_ids", pa.array(teachers, pa.list_(pa.string())))
    said: dict[str, Any] = {
        "trial_id": pa.array(ids, pa.string()),
        "status": pa.repeat("done", len(rows)),
        "code_version": pa.repeat(
            f"imported from {table.file} (SHA-256 {table.sha256[:12]})", len(rows)
        ),
        "numerics_class": pa.repeat(NUMERICS_CLASS, len(rows)),
        "device_name": pa.repeat(NUMERICS_CLASS, len(rows)),
    }
    columns = [
        said[field.name] if field.name in said
        else rows[field.name].cast(field.type) if field.name in rows.column_names
        else pa.nulls(len(rows), field.type)
        for field in TRIALS
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=TRIALS)


def _with_steps(rows: pa.Table) -> pa.Table:
    """Fills in the steps of curves that have the length of a published recipe."""
    if rows["train_loss_step"].null_count < len(rows):
        return rows
    lengths = pc.list_value_length(rows["train_loss"]).to_pylist()
    steps, per_epoch = published_steps(rows["dataset"].to_pylist(), lengths)
    given = rows["steps_per_epoch"]
    filled = pc.coalesce(given, pa.array(per_epoch, pa.int64()))
    for name, column in (
        ("train_loss_step", _lists_of(steps)),
        ("steps_per_epoch", filled),
    ):
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows


def _lists_of(steps: list["np.ndarray[Any, Any] | None"]) -> pa.Array:
    """Arrays as a list column; of the few that differ each is converted once."""
    distinct = {id(own): own for own in steps if own is not None}
    place = {key: position for position, key in enumerate(distinct)}
    values = pa.array([own.tolist() for own in distinct.values()], pa.list_(pa.int64()))
    take = pa.array([None if own is None else place[id(own)] for own in steps], pa.int64())
    return values.take(take)


def _contents(rows: pa.Table) -> list[dict[str, Any]]:
    """All that each row says; of a curve, a hash."""
    names = [*WORDS, *MEASURES, "robustness"]
    curves = [_hashes(rows[name].combine_chunks()) for name in CURVES]
    scalars = tuples(rows.select(names))
    return [
        {key: value for key, value in zip(names, values, strict=True) if value is not None}
        | {key: value for key, value in zip(CURVES, own, strict=True) if value is not None}
        for values, *own in zip(scalars, *curves, strict=True)
    ]


def _hashes(lists: pa.Array) -> list[str | None]:
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks)
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype("<f8")
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(lengths)
    return [
        hashlib.sha256(flat[end - length : end].tobytes()).hexdigest() if length else None
        for end, length in zip(ends, lengths, strict=True)
    ]


def _best_on_test(rows: pa.Table, ids: list[str]) -> dict[int, str]:
    """For each student's row, the id of the best of its teachers."""
    names = ["role", "dataset", "model", "teacher", "seed", "metric_name", "test_metric"]
    found = list(tuples(rows.select(names)))
    best: dict[tuple[str, str], tuple[float, int, str]] = {}
    for (role, dataset, model, _, seed, metric, value), trial_id in zip(found, ids, strict=True):
        if role == "teacher" and value is not None:
            rank = (-value * direction(metric), seed, trial_id)
            best[dataset, model] = min(rank, best.get((dataset, model), rank))
    for row, (role, dataset, _, teacher, *_) in enumerate(found, start=1):
        if role == "student" and (dataset, teacher) not in best:
            raise TableError(
                f"row {row}, column teacher: {teacher!r}; the table holds no teacher {teacher!r} of "
                f"{dataset} with a result, so none can have been selected on test"
            )
    return {
        row: best[dataset, teacher][2]
        for row, (role, dataset, _, teacher, *_) in enumerate(found)
        if role == "student"
    }

"""One trial whole: its record, its curves and its attempts.

A curve of more than `MAX_POINTS` points is thinned: it is cut into equal parts, and of each the
least and the greatest value stay, in their order, so that no peak is lost; the first and the last
point stay as well.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweep.records import TRIALS
from sweep.store import GROUP_ROWS, Store
from sweep.web.models import AttemptLine, Curve, Robustness, TrialDetail, TrialUse
from sweep.web.problems import ProblemError
from sweep.web.view import STATUSES, sign_of
from sweep.web.watch import Moment

MAX_POINTS = 2_000
MAX_USES = 50
APART = ("train_loss", "train_loss_step", "curve", "robustness", "validation_robustness")
"""Columns that are no plain part of a record."""


def trial(store: Store, moment: Moment, trial_id: str) -> TrialDetail:
    """A trial with all that is known of it.

    Args:
        store: where its record lies.
        moment: which trials there are.
        trial_id: the whole id.

    Raises:
        ProblemError: where no study asks for it and nothing was tried.
    """
    row = _row(moment.trials.rows, trial_id)
    attempts = _attempts(moment, trial_id)
    uses, statuses = _uses(moment, trial_id)
    record = _record(store, moment, trial_id) if row is not None else {}
    if row is None and not attempts and not uses:
        raise ProblemError(404, "there is no such trial")
    found = record.get("status")
    status = "done" if found == "done" else (statuses or ["failed" if attempts else "missing"])[0]
    plain = {name: value for name, value in record.items() if name not in APART}
    return TrialDetail(
        trial_id=trial_id,
        status=status,
        metric=record.get("metric_name"),
        higher_is_better=sign_of(record.get("metric_name")) > 0,
        record={name: value for name, value in plain.items() if value is not None},
        curves=_curves(record),
        robustness=_robustness(record, moment, trial_id),
        attempts=attempts,
        uses=uses,
        teachers=list(record.get("teacher_trial_ids") or ()),
        weights_kept=store.on.exists(store.layout.weights(trial_id)),
    )


def thinned(
    x: Sequence[float], y: Sequence[float | None]
) -> tuple[list[float], list[float | None]]:
    """At most `MAX_POINTS` points of a curve; see the top."""
    if len(y) <= MAX_POINTS:
        return list(x), list(y)
    values = np.array([np.nan if value is None else value for value in y], dtype=np.float64)
    kept = {0, len(values) - 1}
    edges = np.linspace(0, len(values), (MAX_POINTS - 2) // 2 + 1).astype(np.int64)
    for begin, end in pairwise(edges.tolist()):
        part = values[begin:end]
        if np.isfinite(part).any():
            kept |= {begin + int(np.nanargmin(part)), begin + int(np.nanargmax(part))}
    order = sorted(kept)
    return [x[place] for place in order], [y[place] for place in order]


def _row(trials: pa.Table, trial_id: str) -> int | None:
    place = pc.index(trials["trial_id"], trial_id).as_py()
    return None if place < 0 else place


def _record(store: Store, moment: Moment, trial_id: str) -> dict[str, Any]:
    """The row of a trial, from the file that holds it."""
    done = moment.trials.rows["status"][_row(moment.trials.rows, trial_id) or 0].as_py() == "done"
    for path, part in moment.trials.parts.items():
        place = _row(part, trial_id)
        row = None if place is None else _read_row(store, path, trial_id, place)
        if row is not None and (row["status"] == "done" or not done):
            return row
    for path in store.trials.files():  # what it was in has been folded since
        row = _read_row(store, path, trial_id, None)
        if row is not None and (row["status"] == "done" or not done):
            return row
    raise ProblemError(503, "the results are changing; ask again", {"Retry-After": "1"})


def _read_row(
    store: Store, path: PurePath, trial_id: str, place: int | None
) -> dict[str, Any] | None:
    """A row of a file, of which only the group that holds it is decoded.

    Args:
        store: where it lies.
        path: of the file.
        trial_id: whose row.
        place: its position in the file; None looks for it.
    """
    source: Any = path
    if not isinstance(path, Path):
        content = store.on.read(path)
        if content is None:
            return None
        source = pa.BufferReader(content)
    try:
        file = pq.ParquetFile(source, memory_map=True, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return None
    with file:
        if place is None:
            place = _row(file.read(columns=["trial_id"], use_threads=False), trial_id)
            if place is None:
                return None
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if place < rows:
                found = _row_of(file, group, place)
                return found if found["trial_id"] == trial_id else None
            place -= rows
    return None


def _row_of(file: pq.ParquetFile, group: int, place: int) -> dict[str, Any]:
    """A row of a group; of a large one, as earlier versions wrote, no more than a column is held."""
    there = set(file.schema_arrow.names)
    names = [name for name in TRIALS.names if name in there]
    if file.metadata.row_group(group).num_rows <= GROUP_ROWS:
        rows = file.read_row_group(group, columns=names, use_threads=False)
        found: dict[str, Any] = rows.slice(place, 1).to_pylist()[0]
        return found
    columns = (file.read_row_group(group, columns=[name], use_threads=False) for name in names)
    return {name: column[name][place].as_py() for name, column in zip(names, columns, strict=True)}


def _attempts(moment: Moment, trial_id: str) -> list[AttemptLine]:
    attempts = moment.attempts.rows
    own = attempts.filter(pc.equal(attempts["trial_id"], trial_id)).to_pylist()
    own.sort(key=lambda row: (row["number"] or 0, row["started_at"]))
    return [AttemptLine(**{k: v for k, v in row.items() if k != "trial_id"}) for row in own]


def _uses(moment: Moment, trial_id: str) -> tuple[list[TrialUse], list[Any]]:
    """The studies that ask for a trial, and what it is in each."""
    uses: list[TrialUse] = []
    statuses: list[Any] = []
    for name, asked in moment.studies.items():
        where = np.flatnonzero(
            pc.equal(asked.cells["trial_id"], trial_id).to_numpy(zero_copy_only=False)
        )
        view = moment.view(name) if len(where) else None
        if view is None:
            continue
        statuses.append(STATUSES[view.status[where[0]]])
        for row in where[: MAX_USES - len(uses)]:
            one = asked.configurations[asked.number[row]]
            partner = int(asked.partner[row])
            base = asked.trial_ids[asked.trial[partner]] if partner >= 0 else None
            uses.append(
                TrialUse(
                    study=name,
                    cell=one.key,
                    label=one.label,
                    seed=int(asked.seeds[row]),
                    words={word: value for word, value in one.words.items() if value is not None},
                    baseline_trial=base,
                )
            )
    return uses, statuses


def _curves(record: dict[str, Any]) -> list[Curve]:
    found = []
    losses = record.get("train_loss")
    if losses:
        steps = record.get("train_loss_step") or range(1, len(losses) + 1)
        per_epoch = record.get("steps_per_epoch")
        x = [step / per_epoch for step in steps] if per_epoch else list(steps)
        found.append(_curve("train_loss", "epoch" if per_epoch else "step", x, losses))
    points = record.get("curve") or ()
    for split in dict.fromkeys(point["split"] for point in points):
        own = [point for point in points if point["split"] == split]
        for figure in ("metric", "loss"):
            values = [point[figure] for point in own]
            if any(value is not None for value in values):
                epochs = [float(point["epoch"]) for point in own]
                found.append(_curve(f"{split}_{figure}", "epoch", epochs, values))
    return found


def _curve(name: str, title: str, x: Sequence[float], y: Sequence[float | None]) -> Curve:
    few_x, few_y = thinned(x, y)
    return Curve(name=name, x_title=title, x=few_x, y=few_y, points=len(y))


def _robustness(record: dict[str, Any], moment: Moment, trial_id: str) -> list[Robustness]:
    """What the training measured, and what was measured later where it did not."""
    found: dict[tuple[str, str, float], float | None] = {}
    for split, column in (("test", "robustness"), ("validation", "validation_robustness")):
        for point in record.get(column) or ():
            found[split, point["attack"], point["epsilon"]] = point["value"]
    later = moment.points.rows
    for point in later.filter(pc.equal(later["trial_id"], trial_id)).to_pylist():
        key = (point["split"] or "test", point["attack"], point["epsilon"])
        found.setdefault(key, point["value"])
    return [
        Robustness(split=split, attack=attack, epsilon=epsilon, value=found[split, attack, epsilon])
        for split, attack, epsilon in sorted(found)
    ]

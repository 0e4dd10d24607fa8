"""Pages of a study's cells with their trials."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweep.filters import parse as parse_filter
from sweep.web.models import TrialLine, Trials
from sweep.web.paging import Column, Page, sort_column
from sweep.web.problems import ProblemError
from sweep.web.view import STATUSES, Floats, View
from sweep.web.watch import Moment

MEASURED = ("test_metric", "test_loss", "epochs_run", "wall_s", "device_name", "finished_at")
SORTED_BY = ("seed", "status", "cell", "delta", *MEASURED)


def trials(
    moment: Moment, view: View, page: Page, *, cell: str | None = None, status: str | None = None,
    sort: str | None = None, descending: bool = False, filter: str | None = None,
) -> Trials:  # fmt: skip
    """A page of cells with their trials.

    Args:
        moment: what is known of trials.
        view: of the study at that moment.
        page: which of them.
        cell: the key of a configuration; None for all.
        status: one of `STATUSES`; None for all.
        sort: one of `SORTED_BY`; None for the order of the study.
        descending: largest first; what is not known is last either way.
        filter: conditions as `sweep run --only` takes them.

    Raises:
        ProblemError: for a configuration that the study does not have.
        FilterError: for a filter that cannot be read.
    """
    asked = view.asked
    rows = np.arange(len(view.status))
    if cell is not None:
        number = asked.number_of(cell)
        if number is None:
            raise ProblemError(404, "this study has no such cell")
        rows = rows[asked.number == number]
    if status is not None:
        rows = rows[view.status[rows] == STATUSES.index(status)]
    for condition in parse_filter([filter]) if filter else ():
        if condition.key in ("seed", "trial_id"):
            column = asked.cells[condition.key].to_pylist()
            holds = np.array([condition.holds(column[row]) for row in rows], dtype=bool)
        else:
            own = [condition.holds(one.words.get(condition.key)) for one in asked.configurations]
            holds = np.array(own, dtype=bool)[asked.number[rows]]
        rows = rows[holds]
    if sort is not None:
        rows = rows[sort_column(_column(moment, view, sort), descending, rows)]
    shown = rows[page.offset : page.offset + page.limit]
    return Trials(
        version=moment.version,
        total=len(rows),
        offset=page.offset,
        limit=page.limit,
        columns=list(asked.varying),
        trials=_lines(moment, view, shown.tolist()),
    )


def _column(moment: Moment, view: View, name: str) -> Column:
    """A column of all cells, as `sort_column` takes it."""
    if name == "seed":
        return view.asked.seeds
    if name == "status":
        return view.status
    if name == "cell":
        return view.asked.number
    if name == "test_metric":
        return view.value
    if name == "delta":
        return _deltas(view)
    column = moment.trials.rows[name]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    taken = column.take(pa.array(view.row, mask=view.row < 0))
    if pa.types.is_integer(taken.type) or pa.types.is_floating(taken.type):
        numbers: Floats = taken.cast(pa.float64(), safe=False).to_numpy()
        return numbers
    values: list[Any] = taken.to_pylist()
    return values


def _deltas(view: View) -> Floats:
    partner = view.asked.partner
    deltas: Floats = view.value - np.where(partner >= 0, view.value[partner], np.nan)
    return deltas


def _lines(moment: Moment, view: View, rows: list[int]) -> list[TrialLine]:
    asked = view.asked
    trial_rows = [int(view.row[row]) for row in rows]
    known = pa.array([row if row >= 0 else None for row in trial_rows], pa.int64())
    measured = moment.trials.rows.select(MEASURED).take(known).to_pylist() if rows else []
    ids = [asked.trial_ids[asked.trial[row]] for row in rows]
    attempts = _attempts(moment, ids)
    deltas = _deltas(view)
    found = []
    for row, trial_id, figures in zip(rows, ids, measured, strict=True):
        one = asked.configurations[asked.number[row]]
        status: Any = STATUSES[view.status[row]]
        words = {word: one.words[word] for word in asked.varying}
        found.append(
            TrialLine(
                trial_id=trial_id,
                cell=one.key,
                label=one.label,
                seed=int(asked.seeds[row]),
                status=status,
                words={"role": one.words["role"], "dataset": one.words["dataset"], **words},
                metric=view.metric.get(one.words["dataset"]),
                **(figures | {"test_metric": float(view.value[row])}),
                delta=float(deltas[row]),
                failure=_failure(moment, trial_id, status),
                attempts=attempts[trial_id],
            )
        )
    return found


def _failure(moment: Moment, trial_id: str, status: str) -> str | None:
    """Why a trial has no result."""
    if status != "failed":
        return None
    return moment.failures.get(trial_id, "diverged")


def _attempts(moment: Moment, ids: Sequence[str]) -> Counter[str]:
    column = moment.attempts.rows["trial_id"]
    own = column.filter(pc.is_in(column, value_set=pa.array(list(ids), pa.string())))
    return Counter(own.to_pylist())

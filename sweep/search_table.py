"""The points of a search as a table: one row for each point, length, seed and objective."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sweep.follow import Findings
from sweep.searching import BLOCKED, Course
from sweep.tune import Goal, Tune

if TYPE_CHECKING:
    from sweep.expand import Cell

SEARCH = pa.schema(
    [
        pa.field("dataset", pa.string()),
        pa.field("point", pa.int64()),
        pa.field("known", pa.bool_()),
        pa.field("state", pa.string()),
        pa.field("parameters", pa.string()),
        pa.field("phase", pa.string()),
        pa.field("epochs", pa.int64()),
        pa.field("seed", pa.int64()),
        pa.field("trial_id", pa.string()),
        pa.field("objective", pa.string()),
        pa.field("higher_is_better", pa.bool_()),
        pa.field("value", pa.float64()),
        pa.field("asked_trials", pa.int64()),
        pa.field("asked_epochs", pa.int64()),
    ]
)
"""Parameters are JSON; the phase is `search` or `final`; a trial that failed, or never is for want of what it
needs, has no value; what was asked is the whole of the search up to there, what was known before it left out."""


def search_table(tune: Tune, courses: Mapping[str, Course], findings: Findings) -> pa.Table:
    """The trials of a search that are done, or never will be.

    Args:
        tune: its settings.
        courses: by dataset.
        findings: trials that are done.
    """
    rows = [
        row
        for dataset, course in courses.items()
        for row in _rows(dataset, course, tune.objectives, findings)
    ]
    return pa.Table.from_pylist(rows, SEARCH)


def _rows(
    dataset: str, course: Course, goals: Sequence[Goal], findings: Findings
) -> Iterator[dict[str, Any]]:
    ended = (findings.get(cell.trial_id) for cell in course.cells)
    higher = next((one.higher_is_better for one in ended if one and not one.failed), True)
    for point in course.points:
        own = {
            "dataset": dataset,
            "point": point.number,
            "known": point.known,
            "state": str(point.state),
            "parameters": json.dumps(dict(point.values)),
        }
        for step in point.steps:
            about = {
                "phase": "search", "epochs": step.epochs, "asked_trials": step.trials,
                "asked_epochs": step.trained,
            }  # fmt: skip
            rows = _figures(step.cells, goals, findings, higher, step.scores is not None)
            yield from ({**own, **about, **row} for row in rows)
        final = course.finals.get(point.number, ())
        about = {"phase": "final", "epochs": point.steps[-1].epochs}
        rows = _figures(final, goals, findings, higher, course.waiting is None)
        yield from ({**own, **about, **row} for row in rows)


def _figures(
    cells: Sequence["Cell"], goals: Sequence[Goal], findings: Findings, higher: bool, ended: bool
) -> Iterator[dict[str, Any]]:
    """One row for each cell and objective.

    Args:
        cells: of a point.
        goals: the objectives.
        findings: trials that are done.
        higher: whether the metric is to grow.
        ended: whether cells without a finding never have one.
    """
    for cell in cells:
        finding = findings.get(cell.trial_id, BLOCKED if ended else None)
        if finding is None:
            continue
        for goal in goals:
            value = finding.figures.get((goal.select_on, goal.figure), math.nan)
            yield {
                "seed": cell.seed,
                "trial_id": cell.trial_id,
                "objective": goal.name,
                "higher_is_better": goal.figure != "loss" and higher,
                "value": value if math.isfinite(value) else None,
            }

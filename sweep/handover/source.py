"""Reads the trials of a study one after the other, to be handed over.

Curves of 100,000 trials do not fit in memory, so records are read a few at a time; what is known of
all trials at once is small: their words, and the attempts at them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.failures import last_failures
from sweep.handover.handed import HandedRun, Tries, handed_run
from sweep.records import CELLS, TRIALS
from sweep.results import Results

UNREAD = ("per_class", "confusion", "perturbed", "schedule")
"""Columns that no tracker has a place for, and that take long to read."""

TRIED = (
    "trial_id", "status", "kind", "message", "code_version", "started_at", "finished_at", "number",
)  # fmt: skip

_RANK = {"teacher": 0, "start": 1, "baseline": 2, "student": 3}
"""Of several cells that are one trial, the one whose words its record would have comes first."""


def handed_runs(results: Results, study: str) -> Iterator[HandedRun]:
    """The trials of a study that have ended: done, diverged, or failed for good.

    Args:
        results: where they lie.
        study: its name.

    Raises:
        StoreError: where the study was never run there.
    """
    cells = results.asked_cells(study)
    ids = pc.unique(cells["trial_id"])
    varying = [name for name in CELLS.names if pc.count_distinct(cells[name]).as_py() > 1]
    tries = _tries(results, ids)
    columns = [name for name in TRIALS.names if name not in UNREAD]
    recorded: set[str] = set()
    for batch in results.trial_batches(columns):
        for record in batch.filter(pc.is_in(batch["trial_id"], value_set=ids)).to_pylist():
            if record["test_metric"] is None and record["status"] == "done":
                continue  # imported from a row without a result
            recorded.add(record["trial_id"])
            yield handed_run(study, record, tries.get(record["trial_id"]), varying)
    failed = set(last_failures(results.store)) - recorded
    for trial_id, words in _words(cells, failed).items():
        yield handed_run(study, words, tries.get(trial_id), varying)


def _tries(results: Results, ids: pa.Array) -> dict[str, Tries]:
    attempts, _ = results.store.attempts.read(TRIED)
    own: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in attempts.filter(pc.is_in(attempts["trial_id"], value_set=ids)).to_pylist():
        own[row["trial_id"]].append(row)
    return {trial_id: Tries.of(rows) for trial_id, rows in own.items()}


def _words(cells: pa.Table, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """The words of trials that have no record, by trial."""
    found: dict[str, dict[str, Any]] = {}
    chosen = cells.filter(pc.is_in(cells["trial_id"], value_set=pa.array(wanted, pa.string())))
    for row in chosen.to_pylist():
        held = found.setdefault(row["trial_id"], row)
        if _RANK.get(row["role"], 9) < _RANK.get(held["role"], 9):
            found[row["trial_id"]] = row
    return found

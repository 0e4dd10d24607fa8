"""What is known of the trials that have ended, for the grids and searches that depend on it."""

from collections.abc import Iterable, Mapping
from typing import Any

from sweep.failures import last_failures
from sweep.follow import Finding, Findings
from sweep.records import FailureKind, tuples
from sweep.store import Store
from sweep.study import Study

_COLUMNS = (
    "trial_id", "status", "metric_name", "test_metric", "test_loss", "validation_metric",
    "validation_loss", "robustness", "validation_robustness",
)  # fmt: skip
_LATER = ("trial_id", "split", "attack", "epsilon", "value")


def known_to(study: Study, store: Store) -> Findings:
    """What a study depends on of the trials that a store holds; nothing where it has one grid.

    A search by `[tune]` takes a trial that failed for good as one that diverged: no point stops the
    others. One whose worker was lost says nothing of its point, and is waited for.
    """
    if study.tune is not None:
        failed = last_failures(store)
        lost = FailureKind.WORKER_LOST
        bad = {
            trial_id: Finding(True, True, {}, failed=True)
            for trial_id, kind in failed.items()
            if kind != lost
        }
        return {**bad, **findings(store)}
    return findings(store) if study.then or study.search else {}


def findings(store: Store) -> dict[str, Finding]:
    """The figures of every trial that a store holds, by its id.

    A point that was measured after the training counts where the training did not measure it.
    """
    rows, _ = store.trials.read(list(_COLUMNS))
    found: dict[str, Finding] = {}
    for trial_id, status, metric, *figures in tuples(rows.select(list(_COLUMNS))):
        known: dict[tuple[str, str], float | None] = {}
        if status == "done":
            (
                known["test", "metric"], known["test", "loss"],
                known["validation", "metric"], known["validation", "loss"],
            ) = figures[:4]  # fmt: skip
            for split, points in zip(("test", "validation"), figures[4:], strict=True):
                known |= _points(split, points or ())
        there = {key: value for key, value in known.items() if value is not None}
        found[trial_id] = Finding(metric == "accuracy", status == "diverged", there)
    later, _ = store.evaluations.read(list(_LATER))
    for trial_id, split, attack, epsilon, value in tuples(later.select(list(_LATER))):
        if trial_id in found and value is not None:
            point = {"attack": attack, "epsilon": epsilon, "value": value}
            more = _points(split or "test", (point,))
            own = found[trial_id]
            found[trial_id] = Finding(own.higher_is_better, own.diverged, {**more, **own.figures})
    return found


def _points(split: str, points: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    return {(split, f"{p['attack']} {p['epsilon']:g}"): p["value"] for p in points}

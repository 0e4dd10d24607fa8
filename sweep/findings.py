"""What is known of the trials that have ended, for the grids and searches that depend on it."""

from sweep.follow import Finding
from sweep.records import tuples
from sweep.store import Store

_COLUMNS = (
    "trial_id", "status", "metric_name", "test_metric", "test_loss", "validation_metric",
    "validation_loss", "robustness", "validation_robustness",
)  # fmt: skip


def findings(store: Store) -> dict[str, Finding]:
    """The figures of every trial that a store holds, by its id."""
    rows, _ = store.trials.read(list(_COLUMNS))
    found = {}
    for trial_id, status, metric, *figures in tuples(rows.select(list(_COLUMNS))):
        known: dict[tuple[str, str], float | None] = {}
        if status == "done":
            (
                known["test", "metric"], known["test", "loss"],
                known["validation", "metric"], known["validation", "loss"],
            ) = figures[:4]  # fmt: skip
            for split, points in zip(("test", "validation"), figures[4:], strict=True):
                for point in points or ():
                    known[split, f"{point['attack']} {point['epsilon']:g}"] = point["value"]
        there = {key: value for key, value in known.items() if value is not None}
        found[trial_id] = Finding(metric == "accuracy", there)
    return found

"""Which trials failed for good, from the attempts at them."""

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from sweep.store import Store

ATTEMPT_COLUMNS = ("trial_id", "status", "kind", "finished_at", "number")


def last_failures(store: Store) -> dict[str, str]:
    """For each trial whose last attempt failed for good, why.

    One that was about to be tried again when its run ended counts as missing.
    """
    attempts, _ = store.attempts.read(ATTEMPT_COLUMNS)
    return last_failures_of(attempts)


def last_failures_of(attempts: pa.Table) -> dict[str, str]:
    """The same, of attempts that were read.

    Args:
        attempts: at least `ATTEMPT_COLUMNS` of all.
    """
    ever = attempts.filter(pc.equal(attempts["status"], "failed"))["trial_id"].unique()
    if not len(ever):
        return {}
    attempts = attempts.select(ATTEMPT_COLUMNS)
    attempts = attempts.filter(pc.is_in(attempts["trial_id"], value_set=ever))
    last: dict[str, tuple[tuple[int, datetime], str, str]] = {}
    for row in attempts.to_pylist():
        # Attempts of earlier versions have no number.
        entry = ((row["number"] or 0, row["finished_at"]), row["status"], row["kind"])
        if row["trial_id"] not in last or entry[0] >= last[row["trial_id"]][0]:
            last[row["trial_id"]] = entry
    return {trial_id: kind for trial_id, (_, status, kind) in last.items() if status == "failed"}

"""Failed attempts of a study, grouped by what they have in common."""

import re
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.web.models import FailureGroup, Failures
from sweep.web.view import FAILED, View
from sweep.web.watch import Moment

MAX_GROUPS, MAX_IDS, MAX_HEADLINE, MAX_TRACEBACK = 100, 100, 200, 20_000
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+(?:\.\d+)?")


def failures(moment: Moment, view: View) -> Failures:
    """What failed of a study; attempts that were tried again as well.

    Headlines that differ in numbers alone (a size, an address) are one group.
    """
    ids = pa.array(view.asked.trial_ids, pa.string())
    attempts = moment.attempts.rows
    failed = attempts.filter(
        pc.and_(pc.is_valid(attempts["kind"]), pc.is_in(attempts["trial_id"], value_set=ids))
    )
    first = view.asked.first[view.status[view.asked.first] == FAILED]
    still = {view.asked.trial_ids[view.asked.trial[row]] for row in first}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in failed.to_pylist():
        line = headline(row["message"], row["traceback"])
        groups.setdefault((row["kind"], _NUMBER.sub("#", line)), []).append(row)
    order = sorted(groups.items(), key=lambda item: -len(item[1]))
    return Failures(
        version=moment.version,
        study=view.asked.name,
        kinds=dict(Counter(failed["kind"].to_pylist()).most_common()),
        groups=[_group(kind, rows, still) for (kind, _), rows in order[:MAX_GROUPS]],
    )


def headline(message: str | None, traceback: str | None) -> str:
    """One line that says what went wrong."""
    for text, which in ((message, 0), (traceback, -1)):
        lines = (text or "").strip().splitlines()
        if lines:
            return lines[which].strip()[:MAX_HEADLINE]
    return "no message"


def _group(kind: str, rows: list[dict[str, Any]], still: set[str]) -> FailureGroup:
    last = max(rows, key=lambda row: (row["finished_at"] is not None, row["finished_at"]))
    ids = dict.fromkeys(row["trial_id"] for row in rows)
    own = [trial_id for trial_id in ids if trial_id in still]
    with_text = last if last["traceback"] else next((r for r in rows if r["traceback"]), last)
    return FailureGroup(
        kind=kind,
        headline=headline(last["message"], last["traceback"]),
        attempts=len(rows),
        retried=sum(row["status"] == "retried" for row in rows),
        trials=len(ids),
        still_failed=len(own),
        nodes=sorted({row["node"] for row in rows if row["node"]})[:20],
        last_at=last["finished_at"],
        traceback=(with_text["traceback"] or "")[-MAX_TRACEBACK:] or None,
        trial_ids=[*own, *(one for one in ids if one not in still)][:MAX_IDS],
    )

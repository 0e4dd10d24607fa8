"""What is missing, what failed, and what the runs cost."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis import words
from analysis.cells import configuration_keys, tidy
from analysis.columns import KEY
from analysis.runs import run_totals
from analysis.tables.entries import Entry, Table, sort_key


def unfinished(cells: pd.DataFrame, attempts: pd.DataFrame | None, at_most: int = 200) -> Table:
    """Cells without a result and, where an attempt says so, why; at most so many rows."""
    frame = tidy(cells)
    own = frame[~frame["done"]].sort_values(["status", "dataset", "role"], kind="stable")
    why = _reasons(attempts)
    extra = [key for key in configuration_keys(frame) if key not in KEY]
    rows = []
    for row in own.head(at_most).to_dict("records"):
        kind, message = why.get(row["trial_id"], ("", ""))
        status = str(row["status"]) if row["status"] != "done" else "no finite figure"
        rows.append(
            (
                Entry(status, None, "bad"),
                Entry(words.dataset_title(str(row["dataset"]))),
                Entry(words.configuration(row, extra)),
                Entry(str(row["seed"]), row["seed"]),
                Entry(kind or "–"),
                Entry(message or "–"),
                Entry(words.number(row["trial_id"])[:12]),
            )
        )
    caption = "Requested cells without a result"
    if len(own) > at_most:
        caption += f" (the first {at_most} of {len(own):,})"
    return Table(
        caption=caption,
        columns=("status", "dataset", "configuration", "seed", "kind", "reason", "trial"),
        rows=tuple(rows),
        numeric=(False, False, False, True, False, False, False),
    )


def failed_attempts(attempts: pd.DataFrame | None) -> Table | None:
    """Attempts that failed, by kind: for good, or to be tried again; None where none did."""
    if attempts is None or not {"trial_id", "kind", "status", "node"} <= set(attempts.columns):
        return None
    failed = attempts[attempts["kind"].notna()]
    if failed.empty:
        return None
    rows = []
    for kind, group in failed.groupby("kind", sort=True):
        again = int((group["status"] == "retried").sum())
        nodes = ", ".join(sorted(set(group["node"].dropna()))) or "–"
        rows.append(
            (
                Entry(str(kind)),
                Entry(str(len(group) - again), len(group) - again),
                Entry(str(again), again),
                Entry(str(group["trial_id"].nunique()), int(group["trial_id"].nunique())),
                Entry(nodes),
            )
        )
    return Table(
        caption="Attempts that failed, by what went wrong",
        columns=("kind", "for good", "tried again", "trials", "nodes"),
        rows=tuple(rows),
        numeric=(False, True, True, True, False),
    )


def runs(frame: pd.DataFrame | None, at_most: int = 100) -> Table | None:
    """The runs of a study, the last one first; None without any."""
    if frame is None or frame.empty:
        return None
    rows = []
    for row in frame.sort_values("finished_at", ascending=False).head(at_most).to_dict("records"):
        totals = run_totals(pd.DataFrame([row]))
        used = None if totals is None else totals.utilisation
        factor = row["epochs_alone"] / row["epochs_trained"] if row["epochs_trained"] else math.nan
        failed = row["diverged"] + row["failed"] + row["blocked"]
        rows.append(
            (
                Entry(str(row["finished_at"])[:19]),
                Entry(f"{row['done']:,}", row["done"]),
                Entry(f"{failed:,}", failed, "bad" if failed else ""),
                Entry(f"{row['epochs_trained']:,}", row["epochs_trained"]),
                Entry(f"{row['epochs_alone']:,}", row["epochs_alone"]),
                Entry("–" if math.isnan(factor) else f"{factor:.2f}", sort_key(factor)),
                Entry(str(row["slots"]), row["slots"]),
                Entry("–" if used is None else f"{used:.0%}", used),
                Entry(words.duration(row["elapsed_s"]), row["elapsed_s"]),
                Entry(f"{row['peak_snapshot_bytes'] / 1e6:,.1f}", row["peak_snapshot_bytes"]),
            )
        )
    caption = "Runs of this study"
    if len(frame) > at_most:
        caption += f" (the last {at_most} of {len(frame):,})"
    return Table(
        caption=caption,
        columns=("finished", "trained", "failed", "epochs trained", "epochs alone", "saved ×",
                 "workers", "in use", "time", "snapshots, MB"),
        rows=tuple(rows),
        numeric=(False, *[True] * 9),
        notes={
            "failed": "Diverged, failed or blocked",
            "epochs alone": "What the trials that ended in this run would have trained one by one",
            "saved ×": "Epochs alone divided by epochs trained",
            "in use": "Part of the workers' time that they had something to do",
            "snapshots, MB": "Most that snapshots waiting to be gone on from took at a time",
        },
    )  # fmt: skip


def _reasons(attempts: pd.DataFrame | None) -> dict[str, tuple[str, str]]:
    """Trial id to (kind, last line of the message) of its last attempt that says anything."""
    if attempts is None or attempts.empty or "trial_id" not in attempts:
        return {}
    ordered = attempts
    for column in ("finished_at", "started_at"):
        if column in attempts:
            ordered = attempts.sort_values(column, kind="stable")
            break
    found: dict[str, tuple[str, str]] = {}
    for row in ordered.to_dict("records"):
        kind = _first(row, ("kind", "failure_kind", "failure"))
        message = _first(row, ("message", "error", "traceback"))
        if kind or message:
            lines = message.strip().splitlines()
            found[str(row["trial_id"])] = (kind, lines[-1][:300] if lines else "")
    return found


def _first(row: dict[Any, Any], names: Sequence[str]) -> str:
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value:
            return value
    return ""

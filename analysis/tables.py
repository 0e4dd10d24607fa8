"""The report's tables as values: columns and rows of written cells that know how they sort."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis import words
from analysis.attacks import robustness, robustness_averages
from analysis.cells import configuration_keys, summarise, tidy
from analysis.columns import KEY, direction
from analysis.pairs import paired
from analysis.runs import run_totals
from analysis.teachers import teacher_table


@dataclass(frozen=True)
class Entry:
    """One written cell: its text, what it sorts by (None: by its text) and a style name."""

    text: str
    sort: float | None = None
    style: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        caption: What it shows.
        columns: Headings.
        rows: Entries, one per column each.
        numeric: Which columns hold numbers (aligned right).
        notes: Heading to an explanation, shown on hover.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    numeric: tuple[bool, ...]
    notes: dict[str, str] = field(default_factory=dict)


def configurations(cells: pd.DataFrame, dataset: str) -> Table | None:
    """Every student configuration with its statistics, the baseline first; None without any."""
    frame = tidy(cells)
    own = frame[frame["dataset"] == dataset]
    keys, shown = _keys(frame, own[own["role"] != "teacher"])
    table = summarise(own[own["role"] != "teacher"])
    if table.empty:
        return None
    pairs = paired(own).rename(columns={c: f"{c}_pair" for c in ("ci_low", "ci_high")})
    columns = ["n_pairs", "unpaired_seeds", "difference", "ci_low_pair", "ci_high_pair"]
    keys = [key for key in keys if key in table and key in pairs]
    table = table.merge(pairs[[*keys, *columns, "p", "p_wilcoxon", "verdict"]], on=keys, how="left")
    metric = _metric(own)
    sign = direction(metric) if metric else 1
    table = table.assign(first=table["role"] == "baseline", gain=table["mean"] * sign)
    table = table.sort_values(["first", "gain"], ascending=False, kind="stable")
    rows = []
    for row in table.to_dict("records"):
        asked = row["n"] + row["n_missing"]
        count = f"{row['n']} of {asked}" if row["n_missing"] else str(row["n"])
        unpaired = row["unpaired_seeds"]
        verdict = "" if pd.isna(row["verdict"]) else str(row["verdict"])
        rows.append(
            (
                Entry("baseline" if row["role"] == "baseline" else words.number(row["teacher"])),
                *(_parameter(row[key]) for key in shown),
                Entry(count, row["n"], "bad" if row["n_missing"] else ""),
                _metric_entry(row["mean"], metric),
                Entry(words.interval(row["ci_low"], row["ci_high"], metric), _sort(row["ci_low"])),
                Entry(
                    words.metric_difference(row["difference"], metric, False),
                    _sort(row["difference"]),
                    _STYLE.get(verdict, ""),
                ),
                Entry(
                    words.interval(row["ci_low_pair"], row["ci_high_pair"], metric, True),
                    _sort(row["ci_low_pair"]),
                ),
                Entry(verdict or "–", None, _STYLE.get(verdict, "")),
                Entry(words.p_value(row["p"]), _sort(row["p"])),
                Entry(words.p_value(row["p_wilcoxon"]), _sort(row["p_wilcoxon"])),
                _spread_entry(row["deviation"], metric),
                _metric_entry(row["median"], metric),
                _metric_entry(row["min"], metric),
                _metric_entry(row["max"], metric),
                Entry(
                    "–" if pd.isna(unpaired) else str(int(unpaired)),
                    _sort(unpaired),
                    "bad" if not pd.isna(unpaired) and unpaired > 0 else "",
                ),
            )
        )
    headings = (
        "teacher",
        *(_heading(key) for key in shown),
        "n",
        "mean",
        "95 % interval",
        "difference",
        "its 95 % interval",
        "verdict",
        "p (t)",
        "p (Wilcoxon)",
        "deviation",
        "median",
        "min",
        "max",
        "unpaired",
    )
    return Table(
        caption=f"Every configuration, best mean first ({words.metric_title(metric)})",
        columns=headings,
        rows=tuple(rows),
        numeric=tuple(heading not in ("teacher", "verdict") for heading in headings),
        notes={
            "n": "seeds with a result",
            "deviation": "sample standard deviation over seeds",
            "difference": "mean over seeds of student minus baseline of the same seed",
            "p (t)": "paired t test, not corrected for the number of configurations",
            "p (Wilcoxon)": "exact signed-rank test, not corrected",
            "unpaired": "seeds with a result for the student or the baseline only",
            "verdict": "whether the interval of the difference excludes zero",
        },
    )


def attacks_summary(cells: pd.DataFrame, dataset: str) -> Table | None:
    """Averages over all configurations per attack and epsilon; None where nothing was attacked."""
    table = robustness_averages(cells)
    table = table[table["dataset"] == dataset]
    if table.empty:
        return None
    metric = str(table["metric_name"].iloc[0])
    rows = [
        (
            Entry(str(row["attack"]).upper()),
            Entry(words.number(row["epsilon"]), row["epsilon"]),
            Entry(str(row["configurations"]), row["configurations"]),
            _metric_entry(row["students"], metric),
            Entry(
                words.interval(row["students_min"], row["students_max"], metric),
                _sort(row["students_min"]),
            ),
            _metric_entry(row["baseline"], metric),
            Entry(
                words.interval(row["baseline_ci_low"], row["baseline_ci_high"], metric),
                _sort(row["baseline_ci_low"]),
            ),
            Entry(
                words.metric_difference(row["difference"], metric, False), _sort(row["difference"])
            ),
        )
        for row in table.to_dict("records")
    ]
    return Table(
        caption=f"Under attack: mean over all student configurations ({words.metric_title(metric)})",
        columns=(
            "attack",
            "epsilon",
            "configurations",
            "students' mean",
            "their range",
            "baseline",
            "95 % interval",
            "difference",
        ),
        rows=tuple(rows),
        numeric=(False, *(True,) * 7),
    )


def attacks_full(cells: pd.DataFrame, dataset: str) -> Table | None:
    """Every configuration under every attack and epsilon; None where nothing was attacked."""
    frame = tidy(cells)
    own = frame[frame["dataset"] == dataset]
    table = robustness(own)
    table = table[table["role"] != "teacher"]
    if table.empty:
        return None
    metric = str(table["metric_name"].iloc[0])
    keys, shown = _keys(frame, own[own["role"] != "teacher"])
    keys = [key for key in keys if key in table]
    pairs = table[["attack", "epsilon"]].drop_duplicates().sort_values(["attack", "epsilon"])
    points = [(str(attack), float(e)) for attack, e in pairs.itertuples(index=False)]
    one_attack = table["attack"].nunique() == 1
    columns = ["teacher", *(_heading(key) for key in shown)]
    for attack, epsilon in points:
        name = f"epsilon {epsilon:g}" if one_attack else f"{attack} {epsilon:g}"
        columns += [name, "± deviation", "n", "difference"]
    rows = []
    parts: dict[int, list[dict[Any, Any]]] = defaultdict(list)
    numbers = table.groupby(keys, dropna=False, sort=True).ngroup()
    for number, record in zip(numbers, table.to_dict("records"), strict=True):
        parts[number].append(record)
    for _, part in sorted(parts.items()):
        head = part[0]
        teacher = "baseline" if head["role"] == "baseline" else words.number(head["teacher"])
        entries = [Entry(teacher), *(_parameter(head[key]) for key in shown)]
        found = {(r["attack"], r["epsilon"]): r for r in part}
        for point in points:
            row = found.get(point)
            if row is None:
                entries += [Entry("–")] * 4
                continue
            verdict = "" if pd.isna(row["verdict"]) else str(row["verdict"])
            entries += [
                _metric_entry(row["mean"], metric),
                _spread_entry(row["deviation"], metric),
                Entry(str(row["n"]), row["n"]),
                Entry(
                    words.metric_difference(row["difference"], metric, False),
                    _sort(row["difference"]),
                    _STYLE.get(verdict, ""),
                ),
            ]
        rows.append(tuple(entries))
    return Table(
        caption=f"Every configuration under attack ({words.metric_title(metric)})",
        columns=tuple(columns),
        rows=tuple(rows),
        numeric=(False, *(True,) * (len(columns) - 1)),
        notes={"difference": "paired difference to the baseline of the same seeds"},
    )


def teachers(cells: pd.DataFrame, dataset: str) -> Table | None:
    """Every teacher and which one was chosen; None without teachers."""
    table = teacher_table(cells)
    table = table[table["dataset"] == dataset]
    if table.empty:
        return None
    metric = _metric(table)
    order = {model: i for i, model in enumerate(words.by_size(table["model"]))}
    table = table.assign(place=table["model"].map(order))
    table = table.sort_values(["place", "chosen", "seed"], ascending=[True, False, True])
    validated = bool(table["validation_metric"].notna().any())
    fixed = {"dataset", "model", "seed", "trial_id", "status", "metric_name", "test_metric"}
    fixed |= {"validation_metric", "students", "chosen", "selected_on", "place"}
    extra = [str(c) for c in table.columns if c not in fixed and table[c].nunique(False) > 1]
    rows = []
    for row in table.to_dict("records"):
        entries = [
            Entry(str(row["model"]), float(row["place"])),
            *(_parameter(row[c]) for c in extra),
            Entry(str(row["seed"]), row["seed"]),
            _metric_entry(row["test_metric"], metric),
        ]
        if validated:
            entries.append(_metric_entry(row["validation_metric"], metric))
        chosen = f"chosen on {row['selected_on']}" if row["chosen"] else ""
        if row["chosen"] and pd.isna(row["selected_on"]):
            chosen = "chosen (split not recorded)"
        entries += [
            Entry(str(row["status"]), None, "" if row["status"] == "done" else "bad"),
            Entry(chosen, None, "chosen" if chosen else ""),
            Entry(f"{row['students']:,}", row["students"]),
        ]
        rows.append(tuple(entries))
    columns = ["teacher", *(_heading(c) for c in extra), "seed", "test"]
    columns += ["validation"] if validated else []
    numbers = len(columns) - 1
    return Table(
        caption=f"Teachers ({words.metric_title(metric)})",
        columns=(*columns, "status", "choice", "cells guided"),
        rows=tuple(rows),
        numeric=(False, *(True,) * numbers, False, False, True),
    )


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
                Entry("–" if math.isnan(factor) else f"{factor:.2f}", _sort(factor)),
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


_STYLE = {"better": "better", "worse": "worse", "cannot say": "faint", "same trial": "faint"}


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


def _keys(frame: pd.DataFrame, own: pd.DataFrame) -> tuple[list[str], list[str]]:
    """All keys, and those worth a column beside the teacher: alpha, switch epoch, what varies."""
    keys = configuration_keys(frame)
    students = own[own["role"] == "student"]
    shown = ["alpha", "switch_epoch"] if len(students) else []
    for key in keys:
        several = students if key in KEY else own
        if key in ("model", "temperature") or key not in KEY:
            shown += [key] if several[key].nunique(dropna=False) > 1 else []
    return keys, shown


def _metric(frame: pd.DataFrame) -> str:
    names: Iterable[str] = frame["metric_name"].dropna()
    return next(iter(names), "")


def _heading(column: str) -> str:
    return column.replace("_", " ")


def _parameter(value: Any) -> Entry:
    number = isinstance(value, (int, float)) and not pd.isna(value)
    return Entry(words.number(value), float(value) if number else None)


def _metric_entry(value: float, metric: str) -> Entry:
    return Entry(words.metric_value(value, metric, unit=False), _sort(value))


def _spread_entry(value: float, metric: str) -> Entry:
    return Entry(words.metric_difference(value, metric, False).lstrip("+"), _sort(value))


def _sort(value: Any) -> float | None:
    return None if pd.isna(value) or math.isinf(value) else float(value)

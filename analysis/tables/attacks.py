"""Under attack: averages, and every configuration."""

from collections import defaultdict
from typing import Any

import pandas as pd

from analysis import words
from analysis.attacks import robustness, robustness_averages
from analysis.cells import tidy
from analysis.tables.entries import (
    STYLE,
    Entry,
    Table,
    heading,
    keys_shown,
    metric_entry,
    parameter,
    sort_key,
    spread_entry,
)  # fmt: skip


def attacks_summary(cells: pd.DataFrame, dataset: str) -> Table | None:
    """Averages over all configurations per attack and epsilon; None where nothing was attacked."""
    table = robustness_averages(cells)
    table = table[table["dataset"] == dataset]
    if table.empty:
        return None
    metric = str(table["metric_name"].iloc[0])
    rows = [
        (
            Entry(words.attack_title(row["attack"])),
            Entry(words.number(row["epsilon"]), row["epsilon"]),
            Entry(str(row["configurations"]), row["configurations"]),
            metric_entry(row["students"], metric),
            Entry(
                words.interval(row["students_min"], row["students_max"], metric),
                sort_key(row["students_min"]),
            ),
            metric_entry(row["baseline"], metric),
            Entry(
                words.interval(row["baseline_ci_low"], row["baseline_ci_high"], metric),
                sort_key(row["baseline_ci_low"]),
            ),
            Entry(
                words.metric_difference(row["difference"], metric, False),
                sort_key(row["difference"]),
            ),
            spread_entry(row["students_drop"], metric),
            spread_entry(row["baseline_drop"], metric),
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
            "students' drop",
            "baseline's drop",
        ),
        rows=tuple(rows),
        numeric=(False, *(True,) * 9),
        notes={"students' drop": "how much worse than without an attack", "difference": "of means"},
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
    keys, shown = keys_shown(frame, own[own["role"] != "teacher"])
    keys = [key for key in keys if key in table]
    pairs = table[["attack", "epsilon"]].drop_duplicates().sort_values(["attack", "epsilon"])
    points = [(str(attack), float(e)) for attack, e in pairs.itertuples(index=False)]
    one_attack = table["attack"].nunique() == 1
    columns = ["teacher", *(heading(key) for key in shown)]
    for attack, epsilon in points:
        name = f"epsilon {epsilon:g}" if one_attack else f"{words.attack_title(attack)} {epsilon:g}"
        columns += [name, "± deviation", "n", "difference"]
    rows = []
    parts: dict[int, list[dict[Any, Any]]] = defaultdict(list)
    numbers = table.groupby(keys, dropna=False, sort=True).ngroup()
    for number, record in zip(numbers, table.to_dict("records"), strict=True):
        parts[number].append(record)
    for _, part in sorted(parts.items()):
        head = part[0]
        teacher = "baseline" if head["role"] == "baseline" else words.number(head["teacher"])
        entries = [Entry(teacher), *(parameter(head[key]) for key in shown)]
        found = {(r["attack"], r["epsilon"]): r for r in part}
        for point in points:
            row = found.get(point)
            if row is None:
                entries += [Entry("–")] * 4
                continue
            verdict = "" if pd.isna(row["verdict"]) else str(row["verdict"])
            entries += [
                metric_entry(row["mean"], metric),
                spread_entry(row["deviation"], metric),
                Entry(str(row["n"]), row["n"]),
                Entry(
                    words.metric_difference(row["difference"], metric, False),
                    sort_key(row["difference"]),
                    STYLE.get(verdict, ""),
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

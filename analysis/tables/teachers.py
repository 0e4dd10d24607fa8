"""Every teacher, and which one was chosen."""

import pandas as pd

from analysis import words
from analysis.tables.entries import Entry, Table, heading, metric_entry, metric_of, parameter
from analysis.teachers import teacher_table


def teachers(cells: pd.DataFrame, dataset: str) -> Table | None:
    """Every teacher and which one was chosen; None without teachers."""
    table = teacher_table(cells)
    table = table[table["dataset"] == dataset]
    if table.empty:
        return None
    metric = metric_of(table)
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
            *(parameter(row[c]) for c in extra),
            Entry(str(row["seed"]), row["seed"]),
            metric_entry(row["test_metric"], metric),
        ]
        if validated:
            entries.append(metric_entry(row["validation_metric"], metric))
        chosen = f"chosen on {row['selected_on']}" if row["chosen"] else ""
        if row["chosen"] and pd.isna(row["selected_on"]):
            chosen = "chosen (split not recorded)"
        entries += [
            Entry(str(row["status"]), None, "" if row["status"] == "done" else "bad"),
            Entry(chosen, None, "chosen" if chosen else ""),
            Entry(f"{row['students']:,}", row["students"]),
        ]
        rows.append(tuple(entries))
    columns = ["teacher", *(heading(c) for c in extra), "seed", "test"]
    columns += ["validation"] if validated else []
    numbers = len(columns) - 1
    return Table(
        caption=f"Teachers ({words.metric_title(metric)})",
        columns=(*columns, "status", "choice", "cells guided"),
        rows=tuple(rows),
        numeric=(False, *(True,) * numbers, False, False, True),
    )

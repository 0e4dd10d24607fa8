"""Scores over classes, and the error of each class."""

import pandas as pd

from analysis import words
from analysis.cells import summarise
from analysis.columns import direction
from analysis.measure_names import CLASS_SCORES
from analysis.measures import written, written_difference
from analysis.tables.entries import (
    Entry,
    Table,
    heading,
    keys_shown,
    metric_of,
    parameter,
    sort_key,
)


def class_scores(scores: pd.DataFrame, own: pd.DataFrame) -> Table | None:
    """Precision, recall and F1 of every configuration, the baseline first; None without any.

    Args:
        scores: The dataset's rows of a table of `analysis.classes.class_scores`.
        own: The cells of the dataset, tidy.
    """
    subjects = own[own["role"] != "teacher"]
    table = scores[scores["role"] != "teacher"]
    if table.empty:
        return None
    keys, shown = keys_shown(own, subjects)
    means = summarise(subjects)
    on = [key for key in keys if key in means and key in table]
    table = table.merge(means[[*on, "mean"]], on=on, how="left")
    metric = metric_of(own)
    table["gain"] = table["mean"] * (direction(metric) if metric else 1)
    table = table.assign(first=table["role"] == "baseline")
    table = table.sort_values(["first", "gain"], ascending=False, kind="stable")
    rows = [
        (
            Entry("baseline" if row["role"] == "baseline" else words.number(row["teacher"])),
            *(parameter(row[key]) for key in shown),
            Entry(str(row["n"]), row["n"], "bad" if row["n"] < row["n_asked"] else ""),
            *(_score(row[name], row[f"{name}_deviation"]) for name in CLASS_SCORES),
        )
        for row in table.to_dict("records")
    ]
    columns = ("teacher", *(heading(key) for key in shown), "n", *CLASS_SCORES)
    return Table(
        caption="Precision, recall and F1 in percent, means over classes that count alike "
        "(± sample deviation over seeds)",
        columns=columns,
        rows=tuple(rows),
        numeric=tuple(name != "teacher" for name in columns),
    )


def error_reduction(table: pd.DataFrame, student: str) -> Table | None:
    """The error of each class, of the baseline and of one student; None without any.

    Args:
        table: The student's rows of a table of `analysis.classes.error_reduction`.
        student: The student in words.
    """
    if table.empty:
        return None
    rows = [
        (
            Entry(str(row["label"]), row["label"]),
            *(
                Entry(written(row[name], "percent"), sort_key(row[name]))
                for name in ("baseline_error", "student_error")
            ),
            Entry(written_difference(row["difference"], "percent"), sort_key(row["difference"])),
            Entry(
                "–"
                if pd.isna(row["ci_low"])
                else f"{written_difference(row['ci_low'], 'percent')} to "
                f"{written_difference(row['ci_high'], 'percent')}",
                sort_key(row["ci_low"]),
            ),
            Entry(written_difference(row["reduction"], "percent"), sort_key(row["reduction"])),
            Entry(str(row["n_pairs"]), row["n_pairs"]),
        )
        for row in table.to_dict("records")
    ]
    columns = ("class", "baseline's error", "student's error", "difference", "95 % interval",
               "error reduction", "n")  # fmt: skip
    return Table(
        caption=f"Error of each class in percent: baseline and the best student ({student})",
        columns=columns,
        rows=tuple(rows),
        numeric=(True,) * len(columns),
        notes={
            "difference": "student less baseline of the same seed, in points",
            "error reduction": "how much of the baseline's error is gone, in percent of it; "
            "negative where the student errs more",
        },
    )


def _score(mean: float, deviation: float) -> Entry:
    text = written(mean, "percent")
    if not pd.isna(deviation):
        text += f" ± {written(deviation, 'percent')}"
    return Entry(text, sort_key(mean))

"""The contrasts behind an answer, and what became of what was expected."""

import pandas as pd

from analysis import words
from analysis.questions import Answer
from analysis.tables.entries import (
    Entry,
    Table,
    difference_entry,
    interval_entry,
    p_entry,
    verdict_entry,
)

_NOTES = {
    "difference": "mean over seeds of the difference within a seed",
    "n": "seeds with a result for every configuration",
    "p": "paired t test",
    "p (Holm)": "corrected for all rows of this table",
}


def contrasts(answer: Answer) -> Table:
    """Every contrast behind an answer."""
    rows = [
        (
            Entry(words.dataset_title(row["dataset"])),
            Entry(row["contrast"]),
            Entry(words.metric_difference(row["difference"], row["metric_name"])),
            interval_entry(row["ci_low"], row["ci_high"], row["metric_name"], True),
            Entry(str(row["n"]), row["n"]),
            p_entry(row["p"]),
            p_entry(row["p_holm"]),
            verdict_entry(row["verdict"]),
        )
        for row in answer.contrasts.to_dict("records")
    ]
    return Table(
        caption=answer.question,
        columns=("dataset", "contrast", "difference", "95 % interval", "n", "p", "p (Holm)",
                 "verdict"),
        rows=tuple(rows),
        numeric=(False, False, True, True, True, True, True, False),
        notes=_NOTES,
    )  # fmt: skip


def expected(found: pd.DataFrame) -> Table | None:
    """What was expected against what was found; None where nothing was expected.

    Args:
        found: A table of `analysis.expectations.expected_settings`.
    """
    if found.empty:
        return None
    rows = [
        (
            Entry(words.dataset_title(row["dataset"])),
            Entry(row["expected"]),
            Entry(f"{row['configurations']} of {row['configurations'] + row['others']}",
                  row["configurations"]),
            difference_entry(row["difference"], row["metric_name"], row["verdict"]),
            interval_entry(row["ci_low"], row["ci_high"], row["metric_name"], True),
            Entry(str(row["n"]), row["n"]),
            p_entry(row["p_holm"]),
            verdict_entry(row["verdict"]),
            Entry("–" if pd.isna(row["best"]) else row["best"]),
            Entry("–" if pd.isna(row["best"]) else "yes" if row["best_expected"] else "no"),
        )
        for row in found.to_dict("records")
    ]  # fmt: skip
    return Table(
        caption="What was expected to do best",
        columns=("dataset", "expected", "configurations", "against the others", "95 % interval",
                 "n", "p (Holm)", "verdict", "best found", "expected?"),
        rows=tuple(rows),
        numeric=(False, False, True, True, True, True, True, False, False, False),
        notes={
            "against the others": "mean of the expected less the mean of the other configurations "
            "of the same dataset and teacher, paired over seeds",
            "p (Holm)": "corrected for all rows of this table",
        },
    )  # fmt: skip

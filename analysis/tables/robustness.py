"""Robustness beyond accuracy, and whether the attacked figures can be believed."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis import words
from analysis.intervals import SIGNIFICANCE
from analysis.pairs import MIN_PAIRS
from analysis.tables.entries import (
    Entry,
    Table,
    difference_entry,
    heading,
    interval_entry,
    keys_shown,
    metric_of,
    p_entry,
    parameter,
    sort_key,
)

BEST_AT_MOST = 5


def checks(warnings: pd.DataFrame) -> Table | None:
    """What speaks against taking the attacked figures at their word; None where nothing does.

    Args:
        warnings: A table of `analysis.attack_checks.attack_warnings`, of one dataset.
    """
    if warnings.empty:
        return None
    style = {"error": "bad", "warning": "bad"}
    rows = [
        (
            Entry(str(row["severity"]), None, style.get(row["severity"], "")),
            Entry(words.listed(words.attack_title(a) for a in str(row["attack"]).split(", "))),
            Entry(str(row["check"])),
            Entry(f"{row['trials']:,} of {row['of']:,}", row["trials"]),
            Entry(str(row["message"]), None, "long"),
        )
        for row in warnings.to_dict("records")
    ]
    return Table(
        caption="Can the attacked figures be believed?",
        columns=("severity", "attack", "check", "trials", "what it means"),
        rows=tuple(rows),
        numeric=(False, False, False, True, False),
    )


def equal_accuracy(table: pd.DataFrame, own: pd.DataFrame) -> Table | None:
    """The most robust students among those as good as the baseline without an attack.

    Args:
        table: A table of `analysis.equal_accuracy.robustness_at_equal_accuracy`, of one dataset.
        own: The dataset's cells, tidy.
    """
    equal = table[table["equal_accuracy"]]
    if equal.empty:
        return None
    _, shown = keys_shown(own, own)
    metric = metric_of(own)
    groups = equal.groupby(["attack", "epsilon"], sort=True)
    rows = [
        (
            Entry(words.attack_title(row["attack"])),
            Entry(words.number(row["epsilon"]), row["epsilon"]),
            Entry(words.number(row["teacher"])),
            *(parameter(row[key]) for key in shown),
            difference_entry(row["clean_difference"], metric),
            difference_entry(row["gain"], metric, _verdict(row)),
            interval_entry(row["gain_ci_low"], row["gain_ci_high"], metric, True),
            p_entry(row["p_holm"]),
            difference_entry(row["adjusted_gain"], metric),
            interval_entry(row["adjusted_ci_low"], row["adjusted_ci_high"], metric, True),
            Entry(str(int(row["n_pairs"])), sort_key(row["n_pairs"])),
        )
        for _, part in groups
        for row in part.nlargest(BEST_AT_MOST, "gain").to_dict("records")
    ]
    columns = ["attack", "epsilon", "teacher", *(heading(key) for key in shown), "clean"]
    columns += ["gain", "its 95 % interval", "p (Holm)", "adjusted gain", "95 % interval", "n"]
    sizes = groups.size()
    every = table.groupby(["attack", "epsilon"]).size()
    return Table(
        caption="More robust at equal clean figures: the best of "
        f"{words.counted(int(sizes.max()), 'configuration')} that equal the baseline "
        f"(of {every.max()})",
        columns=tuple(columns),
        rows=tuple(rows),
        numeric=tuple(column not in ("attack", "teacher") for column in columns),
        notes={
            "clean": "difference to the baseline without an attack; its 90 % interval lies within the "
            f"tolerance of {words.metric_difference(table['tolerance'].iloc[0], metric).lstrip('+')}",
            "gain": "how much better than the baseline of the same seeds under attack",
            "p (Holm)": "corrected for all configurations, attacks and strengths of equal clean figures",
            "adjusted gain": "the gain that is left at an equal clean figure (analysis of covariance)",
        },
    )


def _verdict(row: Mapping[Any, Any]) -> str:
    if row["n_pairs"] < MIN_PAIRS or not row["p_holm"] < SIGNIFICANCE:
        return ""
    return "better" if row["gain"] > 0 else "worse"

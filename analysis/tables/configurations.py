"""Every configuration with its statistics."""

import pandas as pd

from analysis import words
from analysis.cells import summarise
from analysis.columns import direction
from analysis.tables.entries import (
    Entry,
    Table,
    difference_entry,
    heading,
    interval_entry,
    keys_shown,
    metric_entry,
    metric_of,
    p_entry,
    parameter,
    sort_key,
    spread_entry,
    verdict_entry,
)


def configurations(own: pd.DataFrame, pairs: pd.DataFrame) -> Table | None:
    """Every student configuration with its statistics, the baseline first; None without any.

    Args:
        own: The cells of one dataset, tidy.
        pairs: A table of `analysis.pairs.paired` of the whole study, whose tests are one family.
    """
    subjects = own[own["role"] != "teacher"]
    if subjects.empty:
        return None
    keys, shown = keys_shown(own, subjects)
    table = summarise(subjects)
    pairs = pairs.rename(columns={c: f"{c}_pair" for c in ("ci_low", "ci_high")})
    columns = ["unpaired_seeds", "difference", "ci_low_pair", "ci_high_pair", "p", "p_wilcoxon"]
    columns += ["p_holm", "p_bh", "effect", "p_improvement", "verdict"]
    keys = [key for key in keys if key in table and key in pairs]
    table = table.merge(pairs[[*keys, *columns]], on=keys, how="left")
    metric = metric_of(own)
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
                *(parameter(row[key]) for key in shown),
                Entry(count, row["n"], "bad" if row["n_missing"] else ""),
                metric_entry(row["mean"], metric),
                interval_entry(row["ci_low"], row["ci_high"], metric),
                difference_entry(row["difference"], metric, verdict),
                interval_entry(row["ci_low_pair"], row["ci_high_pair"], metric, True),
                verdict_entry(row["verdict"]),
                p_entry(row["p_holm"]),
                p_entry(row["p_bh"]),
                p_entry(row["p"]),
                p_entry(row["p_wilcoxon"]),
                Entry(words.decimal(row["effect"], 2), sort_key(row["effect"])),
                Entry(words.decimal(row["p_improvement"], 2), sort_key(row["p_improvement"])),
                spread_entry(row["deviation"], metric),
                metric_entry(row["median"], metric),
                metric_entry(row["iqm"], metric),
                metric_entry(row["min"], metric),
                metric_entry(row["max"], metric),
                Entry(
                    "–" if pd.isna(unpaired) else str(int(unpaired)),
                    sort_key(unpaired),
                    "bad" if not pd.isna(unpaired) and unpaired > 0 else "",
                ),
            )
        )
    headings = (
        "teacher",
        *(heading(key) for key in shown),
        "n",
        "mean",
        "95 % interval",
        "difference",
        "its 95 % interval",
        "verdict",
        "p (Holm)",
        "p (BH)",
        "p (t)",
        "p (Wilcoxon)",
        "d",
        "P(better)",
        "deviation",
        "median",
        "IQM",
        "min",
        "max",
        "unpaired",
    )
    return Table(
        caption=f"Every configuration, best mean first ({words.metric_title(metric)})",
        columns=headings,
        rows=tuple(rows),
        numeric=tuple(name not in ("teacher", "verdict") for name in headings),
        notes={
            "n": "seeds with a result",
            "deviation": "sample standard deviation over seeds",
            "difference": "mean over seeds of student minus baseline of the same seed",
            "verdict": "whether there is a difference, at 5 % after Holm for the whole study",
            "p (Holm)": "paired t test, corrected for all configurations of the study",
            "p (BH)": "the same after Benjamini and Hochberg: bounds the share of false findings",
            "p (t)": "paired t test, not corrected",
            "p (Wilcoxon)": "exact signed-rank test, not corrected",
            "d": "mean difference in standard deviations of the differences",
            "P(better)": "share of seeds in which the student is better; ties count half",
            "IQM": "mean of the middle half of the seeds",
            "unpaired": "seeds with a result for the student or the baseline only",
        },
    )

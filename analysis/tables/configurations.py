"""Every configuration with its statistics."""

import pandas as pd

from analysis import words
from analysis.cells import summarise, tidy
from analysis.columns import direction
from analysis.pairs import paired
from analysis.tables.entries import (
    STYLE,
    Entry,
    Table,
    heading,
    keys_shown,
    metric_entry,
    metric_of,
    parameter,
    sort_key,
    spread_entry,
)  # fmt: skip


def configurations(cells: pd.DataFrame, dataset: str) -> Table | None:
    """Every student configuration with its statistics, the baseline first; None without any."""
    frame = tidy(cells)
    own = frame[frame["dataset"] == dataset]
    keys, shown = keys_shown(frame, own[own["role"] != "teacher"])
    table = summarise(own[own["role"] != "teacher"])
    if table.empty:
        return None
    pairs = paired(own).rename(columns={c: f"{c}_pair" for c in ("ci_low", "ci_high")})
    columns = ["n_pairs", "unpaired_seeds", "difference", "ci_low_pair", "ci_high_pair"]
    keys = [key for key in keys if key in table and key in pairs]
    table = table.merge(pairs[[*keys, *columns, "p", "p_wilcoxon", "verdict"]], on=keys, how="left")
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
                Entry(
                    words.interval(row["ci_low"], row["ci_high"], metric), sort_key(row["ci_low"])
                ),
                Entry(
                    words.metric_difference(row["difference"], metric, False),
                    sort_key(row["difference"]),
                    STYLE.get(verdict, ""),
                ),
                Entry(
                    words.interval(row["ci_low_pair"], row["ci_high_pair"], metric, True),
                    sort_key(row["ci_low_pair"]),
                ),
                Entry(verdict or "–", None, STYLE.get(verdict, "")),
                Entry(words.p_value(row["p"]), sort_key(row["p"])),
                Entry(words.p_value(row["p_wilcoxon"]), sort_key(row["p_wilcoxon"])),
                spread_entry(row["deviation"], metric),
                metric_entry(row["median"], metric),
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

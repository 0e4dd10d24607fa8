"""How sure the best configuration is, whether guidance makes results vary, and what explains them."""

import pandas as pd

from analysis import words
from analysis.pairs import MIN_PAIRS
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

WINNERS_AT_MOST = 12


def winners(shares: pd.DataFrame, pairs: pd.DataFrame, own: pd.DataFrame) -> Table | None:
    """The configurations that win most often when seeds are drawn anew.

    None for fewer than two, or where the best has fewer than `MIN_PAIRS` seeds.

    Args:
        shares: A table of `analysis.best.win_shares`, of one dataset.
        pairs: A table of `analysis.pairs.paired`.
        own: The dataset's cells, tidy.
    """
    if len(shares) < 2 or shares.loc[shares["best"], "n"].max() < MIN_PAIRS:
        return None
    keys, shown = keys_shown(own, own)
    keys = [key for key in keys if key in shares and key in pairs]
    columns = ["difference", "ci_low", "ci_high", "p_holm", "verdict"]
    table = shares.head(WINNERS_AT_MOST).merge(pairs[[*keys, *columns]], on=keys, how="left")
    metric = metric_of(own)
    rows = [
        (
            Entry(words.number(row["teacher"])),
            *(parameter(row[key]) for key in shown),
            Entry(words.percent(row["win_share"], 1), row["win_share"]),
            Entry("yes" if row["in_set_95"] else "no"),
            Entry(str(row["n"]), row["n"]),
            metric_entry(row["mean"], metric),
            difference_entry(row["difference"], metric, str(row["verdict"])),
            interval_entry(row["ci_low"], row["ci_high"], metric, True),
            p_entry(row["p_holm"]),
        )
        for row in table.to_dict("records")
    ]
    columns = ["teacher", *(heading(key) for key in shown), "wins", "in the set", "n"]
    columns += ["mean", "difference", "its 95 % interval", "p (Holm)"]
    return Table(
        caption=f"Would it win again? ({len(rows)} of {len(shares)} configurations)",
        columns=tuple(columns),
        rows=tuple(rows),
        numeric=tuple(column not in ("teacher", "in the set") for column in columns),
        notes={
            "wins": "share of resamples of the seeds in which it has the best mean",
            "in the set": "whether it is in the smallest set that holds 95 % of the wins",
            "difference": "to the baseline of the same seeds, not corrected for having been picked",
        },
    )


def spread(table: pd.DataFrame, own: pd.DataFrame, at_most: int = 10) -> Table | None:
    """The configurations whose spread over seeds differs most from the baseline's.

    Args:
        table: A table of `analysis.seed_spread.stability`, of one dataset.
        own: The dataset's cells, tidy.
        at_most: Rows.
    """
    table = table[table["p"].notna()].sort_values("p", kind="stable")
    if table.empty:
        return None
    _, shown = keys_shown(own, own)
    metric = metric_of(own)
    rows = [
        (
            Entry(words.number(row["teacher"])),
            *(parameter(row[key]) for key in shown),
            Entry(str(row["n"]), row["n"]),
            spread_entry(row["deviation"], metric),
            spread_entry(row["deviation_baseline"], metric),
            Entry(words.decimal(row["ratio"], 2), sort_key(row["ratio"])),
            p_entry(row["p"]),
            p_entry(row["p_holm"]),
            verdict_entry(row["verdict"]),
        )
        for row in table.head(at_most).to_dict("records")
    ]
    columns = ["teacher", *(heading(key) for key in shown), "n", "deviation"]
    columns += ["baseline's", "ratio", "p", "p (Holm)", "verdict"]
    return Table(
        caption=f"Spread over seeds: the clearest {len(rows)} of {len(table)}",
        columns=tuple(columns),
        rows=tuple(rows),
        numeric=tuple(column not in ("teacher", "verdict") for column in columns),
        notes={"p": "Brown and Forsythe's test", "p (Holm)": "for all configurations of the study"},
    )


def effects(table: pd.DataFrame) -> Table | None:
    """How much of the variance each factor explains.

    Args:
        table: A table of `analysis.effects.factor_effects`, of one dataset.
    """
    if table.empty:
        return None
    rows = [
        (
            Entry(str(row["term"]).replace("_", " ")),
            Entry(words.percent(row["eta2"], 1), sort_key(row["eta2"])),
            Entry(words.percent(row["omega2"], 1), sort_key(row["omega2"])),
            Entry(words.percent(row["omega2_partial"], 1), sort_key(row["omega2_partial"])),
            Entry(f"{row['df']:,.0f}", row["df"]),
            Entry(words.decimal(row["f"], 1), sort_key(row["f"])),
            p_entry(row["p"]),
        )
        for row in table.to_dict("records")
    ]
    first = table.iloc[0]
    caption = f"What explains the variance of {words.counted(int(first['n_trials']), 'student')}"
    if first["n_left_out"]:
        cells = words.counted(int(first["n_left_out"]), "cell")
        caption += f"; {cells} left out, without a result or another cell's trial"
    if not first["balanced"]:
        caption += "; unbalanced, so shares do not add up to all"
    return Table(
        caption=caption,
        columns=("term", "η²", "ω²", "partial ω²", "df", "F", "p"),
        rows=tuple(rows),
        numeric=(False, *(True,) * 6),
        notes={
            "η²": "share of the sum of squares",
            "ω²": "share of the variance, without what noise alone would give",
            "partial ω²": "of what this term and the noise leave together",
        },
    )

"""The points of a search as a table of the report."""

import pandas as pd

from analysis import words
from analysis.search import Choice
from analysis.tables.entries import Entry, Table, sort_key

FURTHER = "further seeds"


def search(points: pd.DataFrame, choice: Choice | None) -> Table:
    """The points of one dataset, the chosen ones first.

    Args:
        points: what `analysis.search.search_points` says of it.
        choice: which one to take, where that is known.
    """
    chosen = () if choice is None else choice.points
    alike = () if choice is None else choice.alike
    rows = []
    for _, own in points.groupby("point", sort=False):
        first = own.iloc[0]
        number = int(first["point"])
        role = "chosen" if number in chosen else "as good" if number in alike else ""
        row = [
            Entry(str(number), number),
            Entry(role, None, "better" if role == "chosen" else ""),
            Entry(str(first["parameters"])),
            Entry("known before" if first["known"] else str(first["state"])),
            Entry(words.number(first["epochs"]), float(first["epochs"])),
        ]
        for _, one in own.iterrows():
            row += [
                Entry(f"{one['mean']:.5g}" if one["n"] else "–", sort_key(one["mean"])),
                Entry(_interval(one), sort_key(one["ci_low"])),
                Entry(str(one["n"]), float(one["n"])),
                Entry(
                    f"{one['fresh_mean']:.5g}" if one["fresh_n"] else "–",
                    sort_key(one["fresh_mean"]),
                ),
            ]
        asked = first["asked_trials"]
        row += [
            Entry(f"{first['spent_epochs']:,}", float(first["spent_epochs"])),
            Entry("–" if pd.isna(asked) else f"{asked:,.0f}", sort_key(asked)),
        ]
        rows.append((number not in chosen, role != "as good", number, tuple(row)))
    names = list(dict.fromkeys(points["objective"]))
    several = [f"{name}: " if len(names) > 1 else "" for name in names]
    middle = [f"{s}{c}" for s in several for c in ("mean", "95 % interval", "seeds", FURTHER)]
    columns = (
        "point", "choice", "parameters", "came to", "epochs", *middle, "epochs spent", "trials asked",
    )  # fmt: skip
    return Table(
        f"Points of the search, by {words.listed(names)}",
        columns,
        tuple(row for *_, row in sorted(rows, key=lambda one: one[:3])),
        (True, False, False, False, True, *[True] * len(middle), True, True),
        {
            "trials asked": "trials the search had asked for when the point came to its end",
            **{
                f"{s}{FURTHER}": "mean over the seeds that had no part in the search, by which finalists "
                "are judged"
                for s in several
            },
        },
    )


def _interval(one: "pd.Series") -> str:
    if pd.isna(one["ci_low"]):
        return "–"
    return f"{one['ci_low']:.5g} to {one['ci_high']:.5g}"

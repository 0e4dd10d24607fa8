"""How fast students learn, in one line per measure."""

import pandas as pd

from analysis import words
from analysis.convergence import AREA, JUDGED
from analysis.tables.entries import Entry, Table, sort_key


def convergence(table: pd.DataFrame) -> Table | None:
    """Each measure: the baseline, the range of the students, and how they came out.

    Args:
        table: A table of `analysis.convergence.convergence_table`, of one dataset.
    """
    rows = []
    for _, part in table.groupby(["measure", "level"], dropna=False, sort=False):
        measure, level = str(part["measure"].iloc[0]), float(part["level"].iloc[0])
        students = part[(part["role"] == "student") & part["mean"].notna()]
        if students.empty:
            continue
        bases = part[(part["role"] == "baseline") & part["mean"].notna()]
        # Over all of its training, a baseline's area is beside none of the students'.
        alike = len(bases) == 1 and measure != AREA
        base = bases.iloc[0] if alike else None
        verdicts = students["verdict"].value_counts() if measure in JUDGED else None
        reached = students[["n_reached", "n"]].sum()
        rows.append(
            (
                Entry(measure),
                Entry(_short(level), sort_key(level)),
                Entry("–" if base is None else _short(base["mean"]),
                      None if base is None else sort_key(base["mean"])),
                Entry("–" if base is None else _interval(base["ci_low"], base["ci_high"]),
                      None if base is None else sort_key(base["ci_low"])),
                Entry(_short(students["mean"].median()), sort_key(students["mean"].median())),
                Entry(_interval(students["mean"].min(), students["mean"].max()),
                      sort_key(students["mean"].min())),
                Entry(_share(reached) if not pd.isna(level) else "–"),
                *(_count(verdicts, verdict) for verdict in ("better", "worse", "cannot say")),
            )
        )  # fmt: skip
    if not rows:
        return None
    columns = ("measure", "level", "baseline", "95 % interval", "students' median", "their range",
               "reached", "better", "worse", "cannot say")  # fmt: skip
    return Table(
        caption="Against the baseline, over the same epochs",
        columns=columns,
        rows=tuple(rows),
        numeric=(False, *(True,) * 9),
        notes={
            "baseline": "none for the loss after the switch: each configuration is compared with the "
            "baseline after its own switch",
            "level": "what the baseline's mean has at 25, 50 and 75 % of its training",
            "students' median": "median over configurations of their means over seeds",
            "reached": "trials that were seen to reach the level after their switch",
            "better": "configurations that are better than the baseline of the same seeds over the "
            "same epochs, corrected after Holm for all configurations",
        },
    )


def _count(verdicts: "pd.Series[int] | None", verdict: str) -> Entry:
    if verdicts is None:
        return Entry("–")
    return Entry(str(verdicts.get(verdict, 0)), verdicts.get(verdict, 0))


def _short(value: float) -> str:
    return "–" if pd.isna(value) else words.number(float(f"{value:.4g}"))


def _interval(low: float, high: float) -> str:
    return "–" if pd.isna(low) else f"{_short(low)} to {_short(high)}"


def _share(reached: "pd.Series[int]") -> str:
    return f"{reached['n_reached']:,.0f} of {reached['n']:,.0f}"

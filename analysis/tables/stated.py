"""What a study file states, as tables: its own tables, the numbers of its figures, what was published."""

from typing import Any

import pandas as pd

from analysis import words
from analysis.figures.stated import EPSILON, StatedNumbers
from analysis.measure_names import MeasureName, Unit
from analysis.measures import written, written_difference
from analysis.publications import FOUND
from analysis.tables.entries import Entry, Table, heading, parameter, sort_key


def published(found: pd.DataFrame) -> Table | None:
    """Published values and what was found; None where nothing was published.

    Args:
        found: A table of `analysis.publications.published`.
    """
    if found.empty:
        return None
    noted = bool((found["note"] != "").any())
    sourced = bool((found["source"] != "").any())
    rows = []
    for row in found.to_dict("records"):
        unit = MeasureName.parse(row["measure"]).unit(row["metric_name"])
        ran = row["state"] == FOUND
        inside = "–" if row["inside"] is None else "yes" if row["inside"] else "no"
        rows.append(
            (
                Entry(row["setting"]),
                Entry(row["measure"]),
                _spread(row["published"], row["published_deviation"], unit),
                _spread(row["mean"], row["deviation"], unit) if ran else
                Entry(row["state"], None, "faint"),
                Entry(_count(row), row["n"], "bad" if ran and row["n"] < row["n_asked"] else ""),
                Entry(written_difference(row["difference"], unit), sort_key(row["difference"])),
                _interval(row["ci_low"], row["ci_high"], unit),
                Entry(inside, None, "faint" if inside == "–" else ""),
                *([Entry(row["source"])] if sourced else []),
                *([Entry(row["note"], None, "long")] if noted else []),
            )
        )  # fmt: skip
    columns = ("setting", "measure", "published", "found", "n", "difference",
               "95 % interval of the mean", "published inside?",
               *(["source"] if sourced else []), *(["which"] if noted else []))  # fmt: skip
    return Table(
        caption="Published and found",
        columns=columns,
        rows=tuple(rows),
        numeric=tuple(2 <= i <= 6 for i in range(len(columns))),
        notes={
            "published": "as it was published, ± the published deviation where there is one",
            "found": "mean ± sample deviation over seeds; a seed's value is the mean of the "
            "configurations that the setting leaves",
            "difference": "found less published",
            "published inside?": "whether the published value lies in the 95 % t interval of our "
            "mean, which says nothing of the published value's own uncertainty",
        },
    )


def stated(found: pd.DataFrame, caption: str, deviation: str = "sample") -> Table | None:
    """A table that a study states; None where the study asks for none of its cells.

    Args:
        found: A table of `analysis.stated_tables.stated_table`.
        caption: What it shows.
        deviation: Whose: "sample" or "population".
    """
    if found.empty:
        return None
    keys = list(found.columns[: list(found.columns).index("heading")])
    keys = [c for c in keys if c != "dataset" or found["dataset"].nunique() > 1 or len(keys) == 1]
    headings = list(dict.fromkeys(found["heading"]))
    published = {h for h, part in found.groupby("heading") if part["published"].notna().any()}
    usual = int(found["n_asked"].max())
    rows = []
    for key, part in found.groupby(["dataset", *keys] if "dataset" not in keys else keys,
                                   dropna=False, sort=False):  # fmt: skip
        values = key if len(key) == len(keys) else key[1:]
        entries = [_key(column, value) for column, value in zip(keys, values, strict=True)]
        by_heading = {row["heading"]: row for row in part.to_dict("records")}
        for name in headings:
            row = by_heading.get(name)
            entries.append(Entry("–") if row is None else _entry(row, usual))
            if name in published:
                value = None if row is None else sort_key(row["published"])
                unit = _unit(by_heading.get(name))
                entries.append(Entry("–" if value is None else written(value, unit), value))
        rows.append(tuple(entries))
    columns = [heading(column) for column in keys]
    for name in headings:
        columns += [name, f"{name}, published"] if name in published else [name]
    seeds = words.counted(usual, "seed")
    return Table(
        caption=f"{caption} (mean ± {deviation} deviation over {seeds}; where fewer have a result, "
        "n says how many)",
        columns=tuple(columns),
        rows=tuple(rows),
        numeric=tuple(i >= len(keys) for i in range(len(columns))),
    )


def stated_points(numbers: StatedNumbers) -> Table:
    """The numbers of a figure that a study states."""
    several = len({panel.dataset for panel in numbers.panels}) > 1
    rows: list[tuple[Entry, ...]] = []
    for panel in numbers.panels:
        text = panel.measure if numbers.x != EPSILON else f"{panel.measure} 0"
        unit = MeasureName.parse(text).unit(panel.metric_name)
        first = [Entry(words.dataset_title(panel.dataset))] if several else []
        first.append(Entry(panel.y_title))
        bases = panel.baselines
        every = pd.concat(
            [
                panel.points,
                bases.assign(line=bases["named"]) if "named" in bases else bases,
                panel.teachers.assign(
                    line=panel.teachers["line"].map("the {} teacher itself".format)
                ),
            ]
        )
        for row in every.to_dict("records"):
            counted = "" if pd.isna(row["n"]) else _count(row)
            rows.append(
                (
                    *first,
                    Entry(str(row["line"])),
                    Entry("any") if pd.isna(row["x"]) else parameter(row["x"]),
                    Entry(written(row["mean"], unit), sort_key(row["mean"])),
                    _interval(row["ci_low"], row["ci_high"], unit),
                    Entry(counted or "–", sort_key(row["n"])),
                )
            )
    columns = [*(["dataset"] if several else []), "measure", "line", heading(numbers.x), "mean",
               "95 % interval", "n"]  # fmt: skip
    return Table(
        caption=numbers.title,
        columns=tuple(columns),
        rows=tuple(rows),
        numeric=tuple(i >= len(columns) - 4 for i in range(len(columns))),
    )


def _key(column: str, value: Any) -> Entry:
    if column == "dataset":
        return Entry(words.dataset_title(str(value)))
    return parameter(value.item() if hasattr(value, "item") else value)


def _unit(row: dict[Any, Any] | None) -> Unit:
    return "number" if row is None else MeasureName.parse(row["measure"]).unit(row["metric_name"])


def _entry(row: dict[Any, Any], usual: int) -> Entry:
    if not row["n"]:
        return Entry("no result", None, "faint")
    spread = _spread(row["mean"], row["deviation"], _unit(row))
    if row["n"] == row["n_asked"] == usual:
        return spread
    fewer = row["n"] < row["n_asked"]
    return Entry(f"{spread.text} (n = {_count(row)})", spread.sort, "bad" if fewer else "")


def _count(row: dict[Any, Any]) -> str:
    n, asked = int(row["n"]), int(row["n_asked"])
    return f"{n} of {asked}" if n < asked else str(n)


def _spread(mean: float, deviation: float, unit: Unit) -> Entry:
    text = written(mean, unit)
    if not pd.isna(deviation):
        text += f" ± {written(deviation, unit)}"
    return Entry(text, sort_key(mean))


def _interval(low: float, high: float, unit: Unit) -> Entry:
    if pd.isna(low) or pd.isna(high):
        return Entry("–")
    return Entry(f"{written(low, unit)} to {written(high, unit)}", sort_key(low))

"""Where networks look, in numbers."""

from typing import Any

import pandas as pd

from analysis import words
from analysis.attribution import Way
from analysis.tables.entries import (
    Entry,
    Table,
    heading,
    keys_shown,
    p_entry,
    parameter,
    sort_key,
)

_STYLE = {"cannot say": "faint", "same trial": "faint"}


def attribution(table: pd.DataFrame, own: pd.DataFrame, way: Way) -> Table | None:
    """Every configuration that was asked in one way, baselines first; None where none was.

    Args:
        table: The dataset's rows of `analysis.attribution.attribution_table`.
        own: The cells of the dataset, tidy.
        way: Which way.
    """
    rows = table
    for name, value in vars(way).items():
        rows = rows[rows[name] == value]
    if rows.empty:
        return None
    _, shown = keys_shown(own, own[own["role"] != "teacher"])
    order = rows["role"].map({"baseline": 0, "student": 1, "teacher": 2})
    rows = rows.assign(order=order).sort_values("order", kind="stable")
    columns = ("who", *(heading(key) for key in shown), "share on object", "baseline's", "difference",
               "d", "p (images)", "p (images, Holm)", "p (seeds)", "p (seeds, Holm)", "verdict",
               "per pixel on", "per pixel beside", "images", "seeds")  # fmt: skip
    return Table(
        caption="Where networks look: share of absolute SHAP values on the object",
        columns=columns,
        rows=tuple(
            (
                Entry(_who(row)),
                *(parameter(row[key]) for key in shown),
                Entry(words.percent(row["share"], 1), sort_key(row["share"])),
                Entry(words.percent(row["share_baseline"], 1), sort_key(row["share_baseline"])),
                Entry(_points(row["difference"]), sort_key(row["difference"])),
                Entry(words.decimal(row["effect"], 2), sort_key(row["effect"])),
                *(
                    p_entry(row[name])
                    for name in ("p_images", "p_images_holm", "p_seeds", "p_seeds_holm")
                ),
                _verdict(row["verdict"]),
                *(
                    Entry(words.number(row[name]), sort_key(row[name]))
                    for name in ("foreground", "background")
                ),
                Entry(str(row["n_images"]), row["n_images"]),
                Entry(str(row["n_seeds"]), row["n_seeds"]),
            )
            for row in rows.to_dict("records")
        ),
        numeric=tuple(name not in ("who", "verdict") for name in columns),
        notes={
            "difference": "student less baseline of the same seed and image, in points",
            "d": "mean of the images' differences over their deviation",
            "p (images)": "signed-rank test over images, each the mean of its seeds: these networks",
            "p (seeds)": "signed-rank test over seeds, each the mean of its images: trainings",
            "verdict": "by the test over seeds, after Holm; fewer than six cannot say",
            "per pixel on": "mean absolute SHAP value of a pixel of the object, in units of the logit",
            "per pixel beside": "the same of all other pixels",
        },
    )


def _who(row: dict[object, object]) -> str:
    if row["role"] == "student":
        return f"{words.number(row['teacher'])} teacher's student"
    return "baseline" if row["role"] == "baseline" else f"{row['model']} teacher"


def _points(difference: float) -> str:
    return "–" if pd.isna(difference) else words.signed(100 * difference, 1)


def _verdict(verdict: Any) -> Entry:
    text = "" if pd.isna(verdict) else str(verdict)
    return Entry(text or "–", None, _STYLE.get(text, ""))

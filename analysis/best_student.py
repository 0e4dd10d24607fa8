"""The student configuration with the best mean, and the baselines it is compared with."""

from dataclasses import dataclass

import pandas as pd

from analysis import words
from analysis.cells import configuration_keys, having, matching_keys, summarise
from analysis.columns import KEY, direction


@dataclass(frozen=True)
class BestStudent:
    """The finished cells of the best student of one dataset, and of its baselines.

    Attributes:
        label: The configuration in words.
        students: One row per seed.
        baselines: One row per seed; none where there is no baseline like it.
    """

    label: str
    students: pd.DataFrame
    baselines: pd.DataFrame


def best_student(own: pd.DataFrame) -> BestStudent | None:
    """The best mean among those with at least two seeds, if there are any; None without students.

    Args:
        own: The cells of one dataset, in the form of `analysis.cells.tidy`.
    """
    keys = configuration_keys(own)
    table = summarise(own)
    table = table[(table["role"] == "student") & (table["n"] > 0)]
    if table.empty:
        return None
    ranked = table[table["n"] >= 2] if (table["n"] >= 2).any() else table
    sign = direction(str(ranked["metric_name"].iloc[0]))
    best = ranked.iloc[int((ranked["mean"] * sign).to_numpy().argmax())]
    done = own[own["done"]]
    students, baselines = done, done[done["role"] == "baseline"]
    for key in keys:
        students = having(students, key, best[key])
    for key in matching_keys(own):
        baselines = having(baselines, key, best[key])
    extra = [k for k in keys if k not in KEY or k in ("model", "temperature")]
    extra = [k for k in extra if table[k].nunique(dropna=False) > 1]
    return BestStudent(words.configuration(best.to_dict(), extra), students, baselines)

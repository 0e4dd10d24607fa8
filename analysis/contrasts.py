"""Parts of a grid against each other, seed by seed.

A part (all configurations with alpha 0.9, say) has one value per seed: the mean over its
configurations. Two parts are compared by the differences of these values within a seed, so that what
a seed brings to both falls out, and n is the number of seeds, never of trials.

A mean over other configurations for each seed would not be a fair one. So configurations that lack
most seeds are left out, then seeds that lack any of the rest; both are counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.cells import configuration_keys, having, matching_keys
from analysis.intervals import SIGNIFICANCE, holm, t_interval, t_p_value
from analysis.pairs import MIN_PAIRS


@dataclass(frozen=True)
class Grid:
    """One dataset's students as a full table.

    Attributes:
        configurations: One row per configuration: its parameters, `epochs` among them if known.
        values: Metric less the baseline's of the same seed, shape (configurations, seeds).
        metric: The metric itself, same shape.
        seeds: Column order.
        configurations_left_out: Those without a result for most seeds.
        seeds_left_out: Those without a result for some other configuration, or for the baseline.
    """

    configurations: pd.DataFrame
    values: NDArray[np.float64]
    metric: NDArray[np.float64]
    seeds: tuple[int, ...]
    configurations_left_out: int
    seeds_left_out: int

    def where(self, **levels: object) -> NDArray[np.bool_]:
        """Which configurations have these values."""
        kept = self.configurations.reset_index(drop=True)
        for column, value in levels.items():
            kept = having(kept, column, value)
        chosen = np.zeros(len(self.configurations), dtype=bool)
        chosen[kept.index] = True
        return chosen

    def levels(self, column: str) -> list[Any]:
        """The values of a parameter, in order."""
        return sorted(self.configurations[column].dropna().unique())

    def by_seed(self, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Mean difference to the baseline over the chosen configurations, shape (seeds,)."""
        return np.asarray(self.values[chosen].mean(axis=0), dtype=np.float64)


def full_grid(students: pd.DataFrame, keys: Sequence[str]) -> Grid:
    """The part of a grid that has a result for every configuration and seed.

    Args:
        students: One row per configuration and seed: `keys`, `seed`, `value` and `baseline`, NaN
            where there is no result.
        keys: The columns that tell configurations apart.
    """
    by = list(keys)
    number = students.groupby(by, dropna=False, sort=True, observed=True).ngroup().to_numpy()
    seeds, column = np.unique(students["seed"].to_numpy(), return_inverse=True)
    shape = (int(number.max(initial=-1)) + 1, len(seeds))
    value, base = np.full(shape, np.nan), np.full(shape, np.nan)
    value[number, column] = students["value"].to_numpy(dtype=np.float64)
    base[number, column] = students["baseline"].to_numpy(dtype=np.float64)
    known = np.isfinite(value) & np.isfinite(base)
    enough = known.mean(axis=1) >= 0.5 if shape[1] else np.zeros(shape[0], dtype=bool)
    whole = known[enough].all(axis=0) if enough.any() else np.zeros(shape[1], dtype=bool)
    first = np.unique(number, return_index=True)[1]
    return Grid(
        configurations=students.iloc[first][by][enough].reset_index(drop=True),
        values=(value - base)[np.ix_(enough, whole)],
        metric=value[np.ix_(enough, whole)],
        seeds=tuple(int(seed) for seed in seeds[whole]),
        configurations_left_out=int((~enough).sum()),
        seeds_left_out=int((~whole).sum()),
    )


def guided_grids(frame: pd.DataFrame) -> dict[str, Grid]:
    """The full grid of students of each dataset, without those that are the baseline's trial.

    Args:
        frame: A table in the form of `analysis.cells.tidy`.

    Returns:
        Dataset to grid; without datasets that have nothing in common to all seeds.
    """
    keys, match = configuration_keys(frame), matching_keys(frame)
    # Whether a switch is the end of training depends on it, also where it does not vary.
    keys += ["epochs"] if "epochs" in frame and "epochs" not in keys else []
    frame = frame.assign(value=frame["test_metric"].where(frame["done"]))
    base = frame.loc[frame["role"] == "baseline", [*match, "seed", "value", "trial_id"]]
    base = base.drop_duplicates([*match, "seed"]).rename(columns={"value": "baseline"})
    students = frame[frame["role"] == "student"].merge(
        base, on=[*match, "seed"], how="left", suffixes=("", "_baseline")
    )
    same = (students["trial_id"] == students["trial_id_baseline"]).fillna(False).astype(bool)
    grids = {str(name): full_grid(part, keys) for name, part in students[~same].groupby("dataset")}
    return {name: grid for name, grid in grids.items() if grid.values.size}


def contrasts(by_seed: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    """Mean differences over seeds.

    Args:
        by_seed: What is compared, and its differences, shape (seeds,).

    Returns:
        One row each: `contrast`, `n`, `difference` (mean), `deviation` (ddof 1), `ci_low`,
        `ci_high` (95 % t) and `p` (t); NaN where there are too few.
    """
    numbers = [np.asarray(values, dtype=np.float64) for values in by_seed.values()]
    n = np.array([len(values) for values in numbers], dtype=int)
    mean = np.array([values.mean() if len(values) else np.nan for values in numbers])
    spread = np.array([values.std(ddof=1) if len(values) > 1 else np.nan for values in numbers])
    low, high = t_interval(mean, spread, n)
    return pd.DataFrame(
        {
            "contrast": list(by_seed),
            "n": n,
            "difference": mean,
            "deviation": spread,
            "ci_low": low,
            "ci_high": high,
            "p": t_p_value(mean, spread, n),
        }
    )


def judged(table: pd.DataFrame, signs: ArrayLike) -> pd.DataFrame:
    """Contrasts as one family of tests.

    Args:
        table: Contrasts, of any number of calls to `contrasts`.
        signs: +1 where more is better, -1 where less is, per row.

    Returns:
        The table with `p_holm` (NaN below `MIN_PAIRS` seeds: no test) and `verdict`: "better" or
        "worse" where p_holm < 0.05, "no clear difference" where it is not, else "cannot say".
    """
    p = holm(table["p"].where(table["n"] >= MIN_PAIRS).to_numpy())
    gain = table["difference"].to_numpy() * np.asarray(signs)
    verdict = np.select(
        [np.isnan(p), (p < SIGNIFICANCE) & (gain > 0), (p < SIGNIFICANCE) & (gain < 0)],
        ["cannot say", "better", "worse"],
        default="no clear difference",
    )
    return table.assign(p_holm=p, verdict=verdict)

"""What came of an adaptive search: its points, which one to take, and how it went.

The input has a row per point, length, seed and objective (`sweep tune` keeps it in `searches/NAME.parquet`):
`dataset`, `point`, `known`, `state`, `parameters` (JSON), `phase` (`search` or `final`), `epochs`, `seed`,
`objective`, `higher_is_better`, `value` (missing where the trial failed), `asked_trials`, `asked_epochs`.

A point that led in the search was lucky in its seeds, more so the more points there were. So finalists are
judged by seeds that had no part in the search, where there are two or more. The best mean over these is
taken; against each other finalist stands the paired t test over the same seeds, corrected after Holm
(1979): those that it does not tell apart are as good a choice. With several objectives nothing is chosen:
the front is shown, by the same means (Pareto).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.intervals import SIGNIFICANCE, holm, t_interval, t_p_value
from analysis.pareto import front_ranks

FULL = "full length"


@dataclass(frozen=True)
class Rival:
    """A finalist against the chosen one.

    Attributes:
        point: its number.
        difference: the chosen one's mean less its own, over the same seeds, positive where it is worse.
        low, high: 95 % t interval of that.
        p: of the paired t test, after Holm; NaN with fewer than two seeds.
    """

    point: int
    difference: float
    low: float
    high: float
    p: float

    @property
    def told_apart(self) -> bool:
        """Whether it is worse, beyond what seeds alone may do."""
        return bool(self.p < SIGNIFICANCE)


@dataclass(frozen=True)
class Choice:
    """Which point of a dataset's search to take, and why.

    Attributes:
        dataset: its name.
        objectives: names.
        seeds: that it was judged by.
        fresh: whether none of these had a part in the search.
        points: the chosen point; with several objectives those of the front.
        rivals: the other finalists; with several objectives none.
    """

    dataset: str
    objectives: tuple[str, ...]
    seeds: int
    fresh: bool
    points: tuple[int, ...]
    rivals: tuple[Rival, ...] = ()

    @property
    def alike(self) -> tuple[int, ...]:
        """Finalists that are not told apart from the chosen one."""
        return tuple(rival.point for rival in self.rivals if not rival.told_apart)

    def sentences(self) -> Iterator[str]:
        """Why, in words."""
        seeds = f"{self.seeds} seed{'s' if self.seeds != 1 else ''}"
        of = f"{seeds} that had no part in the search" if self.fresh else f"all {seeds}"
        if len(self.objectives) > 1:
            front = ", ".join(map(str, self.points))
            yield f"No finalist is better in everything than point {front}, by the means of {of}."
        else:
            yield f"Point {self.points[0]} has the best mean of the finalists over {of}."
            if self.alike:
                rest = ", ".join(map(str, self.alike))
                yield (
                    f"Not told apart from it (paired t test, Holm): point {rest}; each is as good a "
                    "choice."
                )
            elif self.rivals:
                yield "Every other finalist is worse (paired t test, Holm, 5 %)."
        if not self.fresh:
            yield "These seeds chose the finalists too, so their means look better than they are."


def search_points(table: pd.DataFrame) -> pd.DataFrame:
    """The points of a search, each by its greatest length.

    Args:
        table: see the module.

    Returns:
        One row per dataset, point and objective: `known`, `state`, `parameters` (text), `epochs`, `n`,
        `mean`, `ci_low`, `ci_high` over all its seeds of that length; `fresh_n`, `fresh_mean` over those
        that had no part in the search; `failed`, how many have no value; `spent_epochs`: the epochs of all its
        seeds, of a point that was known those of its further ones; `asked_trials`, `asked_epochs` after its last step of the search.
    """
    keys = ["dataset", "point", "objective"]
    longest = table.groupby(keys, sort=False)["epochs"].transform("max")
    last = table[table["epochs"] == longest]
    rows = []
    for (dataset, point, objective), own in last.groupby(keys, sort=False):
        of_search = own[own["phase"] == "search"]
        each = own.drop_duplicates("seed")
        values = each["value"].dropna().astype(float)
        fresh = each.loc[~each["seed"].isin(of_search["seed"]), "value"].dropna().astype(float)
        spread = float(values.std()) if len(values) > 1 else np.nan
        mean = float(values.mean()) if len(values) else np.nan
        low, high = t_interval(mean, spread, len(values))
        first = own.iloc[0]
        rows.append(
            {
                "dataset": dataset, "point": point, "objective": objective,
                "higher_is_better": bool(own["higher_is_better"].all()),
                "known": bool(first["known"]), "state": first["state"],
                "parameters": _words(first["parameters"]), "epochs": int(first["epochs"]),
                "n": len(values), "mean": mean, "ci_low": float(low), "ci_high": float(high),
                "fresh_n": len(fresh), "fresh_mean": float(fresh.mean()) if len(fresh) else np.nan,
                "failed": int(each["value"].isna().sum()),
                "spent_epochs": int(first["epochs"]) * int((each["phase"] == "final").sum() if first["known"] else len(each)),
                "asked_trials": of_search["asked_trials"].max(),
                "asked_epochs": of_search["asked_epochs"].max(),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _words(parameters: str) -> str:
    """The values of a point as they are read."""
    values = json.loads(parameters)
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values.items()
    )


def search_choices(table: pd.DataFrame) -> list[Choice]:
    """The choice for each dataset whose finalists are trained; see the module."""
    return [
        choice
        for dataset, own in table.groupby("dataset", sort=False)
        if (choice := _choice(str(dataset), own)) is not None
    ]


def _choice(dataset: str, own: pd.DataFrame) -> Choice | None:
    final = own[own["phase"] == "final"]
    if final.empty:
        return None
    names = tuple(dict.fromkeys(own["objective"]))
    sign = np.where(final["higher_is_better"], 1.0, -1.0)
    scores = final.assign(score=(final["value"].astype(float) * sign).fillna(-np.inf))
    wide = scores.pivot_table(
        index="seed", columns=["objective", "point"], values="score", aggfunc="first"
    ).dropna()
    wide = wide[~np.isneginf(wide).all(axis=1)]  # a seed that failed for all tells nothing of them
    of_search = set(own.loc[own["phase"] == "search", "seed"])
    fresh = wide[~wide.index.isin(of_search)]
    is_fresh = len(fresh) >= 2
    judged = fresh if is_fresh else wide
    points = [int(point) for point in judged[names[0]].columns]
    means = np.array([[judged[name][point].mean() for name in names] for point in points])
    if not len(judged) or not np.isfinite(means).any():
        return None
    if len(names) > 1:
        front = front_ranks(means) == 0
        chosen = tuple(p for p, on_front in zip(points, front, strict=True) if on_front)
        return Choice(dataset, names, len(judged), is_fresh, chosen)
    best = points[int(means[:, 0].argmax())]
    return Choice(dataset, names, len(judged), is_fresh, (best,), _rivals(judged[names[0]], best))


def _rivals(judged: pd.DataFrame, best: int) -> tuple[Rival, ...]:
    """The other finalists against the best.

    Args:
        judged: scores, seeds by points.
        best: the chosen point.
    """
    scores = dict(zip(map(int, judged.columns.tolist()), judged.to_numpy(float).T, strict=True))
    others = [point for point in scores if point != best]
    if not others:
        return ()
    differences = np.stack([scores[best] - scores[point] for point in others])
    n = differences.shape[1]
    means = differences.mean(1)
    finite = np.isfinite(means)
    spread = np.full(len(others), np.nan)
    if n > 1:
        spread[finite] = differences[finite].std(1, ddof=1)
    # One that failed on a seed is worse, whatever the others say.
    raw = np.where(finite, t_p_value(np.where(finite, means, 0.0), spread, n), 0.0)
    low, high = t_interval(means, spread, n)
    corrected = holm(raw)
    return tuple(
        Rival(point, float(means[i]), float(low[i]), float(high[i]), float(corrected[i]))
        for i, point in enumerate(others)
    )


def search_history(table: pd.DataFrame) -> pd.DataFrame:
    """How the search went: points of full length, in the order in which they came to it.

    Returns:
        One row per dataset, objective and such point: `asked_trials`, `asked_epochs` by then, `mean`
        over the seeds of the search, `best`: the best of these so far, `known`.
    """
    own = table[(table["phase"] == "search") & (table["state"] == FULL)]
    keys = ["dataset", "objective", "point"]
    own = own[own["epochs"] == own.groupby(keys)["epochs"].transform("max")]
    means = (
        own.groupby(keys, sort=False)
        .agg(
            asked_trials=("asked_trials", "max"), asked_epochs=("asked_epochs", "max"),
            mean=("value", "mean"), known=("known", "first"),
            higher_is_better=("higher_is_better", "all"), parameters=("parameters", "first"),
        )
        .reset_index()
        .sort_values(["dataset", "objective", "asked_trials", "point"], kind="stable")
    )  # fmt: skip
    best = [
        group["mean"].cummax() if group["higher_is_better"].all() else group["mean"].cummin()
        for _, group in means.groupby(["dataset", "objective"], sort=False)
    ]
    means["best"] = pd.concat(best) if best else pd.Series(dtype=float)
    means["parameters"] = means["parameters"].map(_words)
    return means.reset_index(drop=True)

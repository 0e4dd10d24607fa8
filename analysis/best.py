"""The best configuration of a dataset, how sure that is, and what picking it cost in honesty.

The configuration with the best mean of many is partly good and partly lucky. Two questions follow.
Would it win again with other seeds? Seeds are drawn anew with replacement, for all configurations
jointly since they share them, and the winners are counted (the bootstrap of a ranking: Hall and
Miller 2009, "Using the bootstrap to quantify the authority of an empirical ranking"). How much of
its lead is luck, the winner's curse? In every resample the winner is picked as it was in the study,
and how much better it looks there than in the full sample is averaged (the bootstrap estimate of
optimism, Efron 1983). Both are estimates over seeds; they say nothing about other data or networks.

The estimate of luck is a low one: where all candidates are equally good it sees about 0.7 (the root
of a half) of it, since means of resamples scatter around means that have scattered already. What is
left after it may still be flattering.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import configuration_keys, tidy
from analysis.columns import direction
from analysis.intervals import LEVEL, Array
from analysis.pairs import paired

RESAMPLES = 5000
OFTEN = 0.05
"""A configuration that wins at least this share of resamples is a serious candidate."""


def best_configurations(
    cells: pd.DataFrame,
    resamples: int = RESAMPLES,
    seed: int = 0,
    pairs: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The student configuration with the best mean, per dataset, with its uncertainty.

    Candidates are the student configurations with at least two seeds (with one, if none has more).
    A resample draws as many seeds as there are; a candidate's mean is taken over those of them it
    has, and one that has none cannot win. Ties share a win.

    Args:
        cells: One row per requested cell.
        resamples: How often seeds are drawn anew.
        seed: Of the random draws. Every dataset starts from it, so an answer does not depend on
            the other datasets of the table.
        pairs: What `analysis.pairs.paired` says of the cells, where it is known already.

    Returns:
        One row per dataset that has candidates: the keys of the best configuration (`role` is
        "student"), `metric_name`, `n` (its seeds) and `mean`;

        - `candidates`; `seeds`: how many are drawn from; `incomplete`: candidates that lack one;
        - `win_share`: share of resamples that it wins; `winners_often`: candidates that win at
          least 5 %; `winners_95`: size of the smallest set that holds 95 % of the wins;
        - `n_pairs`, `difference` to the baseline of the same seeds, `ci_low`, `ci_high`, `p_holm`,
          `verdict`: as in `analysis.pairs.paired`, for the whole table as the family;
        - `optimism`: by how much picking it flatters its mean, in the metric's unit and positive
          whichever direction is better; `difference_corrected`: the difference without it.

    Raises:
        ValueError: See `analysis.pairs.paired`; or `resamples` is below 1.
    """
    frame = tidy(cells)
    keys = configuration_keys(frame)
    contests = _contests(frame, keys, resamples, seed)
    rows = []
    for contest in contests:
        best = contest.best
        shares = contest.win_shares
        rows.append(
            {
                **contest.candidates.iloc[best].to_dict(),
                "metric_name": contest.metric_name,
                "n": int(contest.n[best]),
                "mean": contest.means[best],
                "candidates": len(shares),
                "seeds": contest.seeds,
                "incomplete": int((contest.n < contest.seeds).sum()),
                "win_share": shares[best],
                "winners_often": int((shares >= OFTEN).sum()),
                "winners_95": int(contest.in_set.sum()),
                "optimism": contest.optimism,
            }
        )
    columns = [*keys, "metric_name", "n", "mean", "candidates", "seeds", "incomplete"]
    columns += ["win_share", "winners_often", "winners_95", "optimism"]
    table = pd.DataFrame(rows, columns=columns).astype({k: frame[k].dtype for k in keys})
    of_pairs = ["n_pairs", "difference", "ci_low", "ci_high", "p_holm", "verdict"]
    pairs = paired(frame) if pairs is None else pairs
    table = table.merge(pairs[[*keys, *of_pairs]], on=keys, how="left")
    signs = np.array([direction(name) for name in table["metric_name"]], dtype=np.float64)
    table["difference_corrected"] = table["difference"] - signs * table["optimism"]
    return table


def win_shares(cells: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """How often each student configuration is the best one when seeds are drawn anew.

    Args:
        cells: One row per requested cell.
        resamples: As for `best_configurations`.
        seed: As for `best_configurations`; equal arguments give equal draws.

    Returns:
        One row per candidate (see `best_configurations`), per dataset the most frequent winner
        first: the keys, `metric_name`, `n`, `mean`, `win_share` (they sum to 1 per dataset), `often`
        (wins at least 5 % of resamples), `in_set_95` (belongs to the smallest set that holds 95 %
        of the wins) and `best` (has the best mean in the full sample).

    Raises:
        ValueError: See `best_configurations`.
    """
    frame = tidy(cells)
    keys = configuration_keys(frame)
    parts = []
    for contest in _contests(frame, keys, resamples, seed):
        shares = contest.win_shares
        part = contest.candidates.assign(
            metric_name=contest.metric_name,
            n=contest.n,
            mean=contest.means,
            win_share=shares,
            often=shares >= OFTEN,
            in_set_95=contest.in_set,
            best=np.arange(len(shares)) == contest.best,
        )
        parts.append(part.iloc[_by_wins(shares)])
    if not parts:
        columns = ["metric_name", "n", "mean", "win_share", "often", "in_set_95", "best"]
        return pd.DataFrame(columns=[*keys, *columns])
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class _Contest:
    """What resampling gave for the candidates of one dataset; arrays have shape (candidates,)."""

    metric_name: str
    candidates: pd.DataFrame
    seeds: int
    n: NDArray[np.int64]
    means: Array
    best: int
    win_shares: Array
    in_set: NDArray[np.bool_]
    optimism: float


def _contests(frame: pd.DataFrame, keys: list[str], resamples: int, seed: int) -> list[_Contest]:
    if resamples < 1:
        raise ValueError(f"resamples: {resamples} is below 1")
    students = frame[(frame["role"] == "student") & frame["done"]]
    return [
        _contest(part, keys, resamples, np.random.default_rng(seed))
        for _, part in students.groupby("dataset", sort=True)
    ]


def _contest(
    part: pd.DataFrame, keys: list[str], resamples: int, generator: np.random.Generator
) -> _Contest:
    number = part.groupby(keys, dropna=False, sort=True, observed=True).ngroup()
    candidates = part[keys].assign(number=number).drop_duplicates("number").sort_values("number")
    seeds, place = np.unique(part["seed"], return_inverse=True)
    values = np.full((len(seeds), len(candidates)), np.nan)
    values[place, number] = part["test_metric"]
    n = (~np.isnan(values)).sum(axis=0)
    kept = n >= min(2, n.max())
    candidates, values, n = candidates[kept].drop(columns="number"), values[:, kept], n[kept]
    metric = str(part["metric_name"].iloc[0])
    sign = direction(metric)
    # Around the overall mean sums lose no digits, and a candidate without a drawn seed is NaN.
    centre = float(np.nanmean(values))
    known = np.nan_to_num(values - centre)
    there = (~np.isnan(values)).astype(np.float64)
    means = known.sum(axis=0) / n
    best = int(np.argmax(sign * means))
    drawn = generator.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=resamples)
    wins, optimism = np.zeros(len(n)), 0.0
    # In blocks, so that memory does not grow with the number of resamples.
    for block in np.array_split(drawn.astype(np.float64), max(1, resamples * len(n) // 2_000_000)):
        with np.errstate(invalid="ignore"):
            resampled = (block @ known) / (block @ there)
        gains = np.where(np.isnan(resampled), -np.inf, sign * resampled)
        top = gains.max(axis=1, keepdims=True)
        # Sums in another order differ in the last digits: equal values must still tie.
        won = gains >= top - 1e-12 * max(1.0, float(np.abs(known).max()))
        part_won = won / won.sum(axis=1, keepdims=True)
        wins += part_won.sum(axis=0)
        optimism += float((part_won * (np.where(won, gains, 0.0) - sign * means)).sum())
    shares = wins / resamples
    return _Contest(
        metric_name=metric,
        candidates=candidates,
        seeds=len(seeds),
        n=n,
        means=means + centre,
        best=best,
        win_shares=shares,
        in_set=_smallest_set(shares),
        optimism=optimism / resamples,
    )


def _by_wins(shares: Array) -> NDArray[np.int64]:
    return np.argsort(-shares, kind="stable")


def _smallest_set(shares: Array) -> NDArray[np.bool_]:
    order = _by_wins(shares)
    before = np.cumsum(shares[order]) - shares[order]
    held = np.zeros(len(shares), dtype=bool)
    # A rounding error must not add a member to a set that holds the level exactly.
    held[order[before < LEVEL - 1e-9]] = True
    return held

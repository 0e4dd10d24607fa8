"""Analysis of variance with crossed categorical factors, balanced or not: type II sums of squares.

The sum of squares of a term is what it adds to a model of all terms that do not contain it (Yates
1934; "type II" after SAS). On a balanced grid these are the textbook's sums of squares and add up to
the total. On an unbalanced one every trial is used, no main effect is blamed for its interactions,
and the sums need not add up. Degrees of freedom are differences of the models' ranks, so that cells
without any trial cost the degrees of freedom that cannot be estimated, and nothing else.

Only counts and sums per pair of levels are needed, never a matrix with a row per trial.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.intervals import Array

Term = tuple[str, ...]
RESIDUAL = "residual"
# Of a Gram matrix scaled to at most one on its diagonal; eigenvalues below are zero but for rounding.
_RANK_TOLERANCE = 1e-9


def interactions(factors: Sequence[str], at_most: int | None = None) -> list[Term]:
    """All terms of some factors: each one, each pair, and so on up to `at_most` together."""
    order = len(factors) if at_most is None else min(at_most, len(factors))
    return [term for size in range(1, order + 1) for term in combinations(factors, size)]


def type_two(
    values: "pd.Series[float]", factors: pd.DataFrame, terms: Sequence[Term]
) -> pd.DataFrame:
    """The table of an analysis of variance.

    Args:
        values: What is explained, shape (trials,), without NaN.
        factors: One categorical column per factor, shape (trials, factors); null is a level.
        terms: Sets of factors. The model is the sum of all terms and a constant.

    Returns:
        One row per term and one for the residual, in order: `term` (factors joined by " × "),
        `sum_squares`, `df`, `mean_square`, `f` and `p` (against the residual), and shares of the
        variance:

        - `eta2`: sum of squares / total sum of squares (around the mean);
        - `eta2_partial`: sum of squares / (sum of squares + residual's);
        - `omega2`: (SS - df MSR) / (total + MSR), with MSR the residual mean square: the same share
          in the population, without what chance alone adds (Hays 1963); it may be slightly negative;
        - `omega2_partial`: (SS - df MSR) / (SS + (trials - df) MSR) (Olejnik and Algina 2003).

        For the residual `eta2` only. NaN where there is no residual or nothing varies; a term that
        cannot be told from others has df 0.
    """
    from scipy.special import fdtrc

    gram = _Gram(values, factors, terms)
    whole, rank = gram.explained(terms)
    n = len(values)
    total = float(((values - values.mean()) ** 2).sum())
    rows: list[dict[str, Any]] = []
    for term in terms:
        others = [t for t in terms if not set(term) <= set(t)]
        without, rank_without = gram.explained(others)
        with_term, rank_with = gram.explained([*others, term])
        df = rank_with - rank_without
        name = " × ".join(term)
        rows.append(
            {"term": name, "sum_squares": max(0.0, with_term - without) * (df > 0), "df": df}
        )
    # What is left of a perfect fit is rounding.
    left = total - whole if total - whole > 1e-12 * total else 0.0
    rows.append({"term": RESIDUAL, "sum_squares": left, "df": n - rank})
    table = pd.DataFrame(rows)
    squares, freedom = table["sum_squares"], table["df"]
    table["mean_square"] = squares / freedom.where(freedom > 0)
    noise = float(table["mean_square"].iloc[-1])
    is_term = table["term"].ne(RESIDUAL) & (freedom > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        table["f"] = (table["mean_square"] / noise).where(is_term & (noise > 0))
        table["eta2"] = squares / (total or np.nan)
        table["eta2_partial"] = (squares / (squares + left)).where(is_term)
        net = squares - freedom * noise
        table["omega2"] = (net / ((total + noise) or np.nan)).where(is_term)
        table["omega2_partial"] = (net / (squares + (n - freedom) * noise)).where(is_term)
    p = fdtrc(freedom.clip(lower=1), max(n - rank, 1), table["f"].fillna(1.0))
    table.insert(5, "p", np.where(table["f"].notna(), p, np.nan))
    return table


class _Gram:
    """Inner products of the indicator columns of all terms, with each other and with the values."""

    def __init__(
        self, values: "pd.Series[float]", factors: pd.DataFrame, terms: Sequence[Term]
    ) -> None:
        centred = (values - values.mean()).to_numpy()
        self._codes: dict[Term, NDArray[np.int64]] = {}
        self._sums: dict[Term, Array] = {}
        self._counts: dict[Term, Array] = {}
        self._blocks: dict[tuple[Term, Term], Array] = {}
        for term in ((), *terms):
            if term:
                grouped = factors.groupby(list(term), dropna=False, sort=True, observed=True)
                codes = grouped.ngroup().to_numpy()
            else:
                codes = np.zeros(len(values), dtype=np.int64)
            self._codes[term] = codes.astype(np.int64)
            self._counts[term] = np.bincount(codes).astype(np.float64)
            self._sums[term] = np.bincount(codes, weights=centred).astype(np.float64)

    def explained(self, terms: Sequence[Term]) -> tuple[float, int]:
        """Sum of squares (around the mean) and rank, constant counted, of a model of some terms."""
        # Indicators of a term add up to those of every term it contains, the constant included.
        top = [t for t in terms if not any(set(t) < set(other) for other in terms)] or [()]
        # Those of one term never overlap, so its own block is diagonal: the largest is eliminated by
        # division, and only what it leaves of the others has to be decomposed.
        largest = max(top, key=lambda t: len(self._counts[t]))
        rest = [t for t in top if t != largest]
        counts, sums = self._counts[largest], self._sums[largest]
        explained, rank = float((sums**2 / counts).sum()), len(counts)
        if not rest:
            return explained, rank
        scale = np.concatenate([1 / np.sqrt(self._counts[t]) for t in rest])
        across = np.vstack([self._block(t, largest) for t in rest])
        gram = np.block([[self._block(a, b) for b in rest] for a in rest])
        gram -= (across / counts) @ across.T
        left = np.concatenate([self._sums[t] for t in rest]) - (across / counts) @ sums
        eigenvalues, vectors = np.linalg.eigh(gram * scale[:, None] * scale)
        kept = eigenvalues > _RANK_TOLERANCE
        along = vectors[:, kept].T @ (left * scale)
        return explained + float((along**2 / eigenvalues[kept]).sum()), rank + int(kept.sum())

    def _block(self, a: Term, b: Term) -> Array:
        if (a, b) not in self._blocks:
            shape = len(self._counts[a]), len(self._counts[b])
            pairs = self._codes[a] * shape[1] + self._codes[b]
            block = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)
            self._blocks[a, b] = block.astype(np.float64)
            self._blocks[b, a] = self._blocks[a, b].T
        return self._blocks[a, b]

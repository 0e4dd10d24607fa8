"""How much of the variance of the results each factor explains, alone and with others.

One student trial is one observation. Teacher, alpha and switch epoch are crossed with all their
interactions; every further parameter that varies is a factor with its interactions in pairs; the seed
is a crossed factor without interactions, since it recurs in every configuration. What seed and
configuration do together is the residual, against which F is taken. A dataset is analysed by itself;
datasets of one metric may be taken together (`dataset_effects`), accuracy and MSE never.
"""

from collections.abc import Iterable

import pandas as pd

from analysis.anova import Term, interactions, type_two
from analysis.cells import configuration_keys, tidy

GUIDANCE_FACTORS = ("teacher", "alpha", "switch_epoch")
_OTHER = ("dataset", "role", *GUIDANCE_FACTORS)
COLUMNS = (
    "metric_name", "term", "sum_squares", "df", "mean_square", "f", "p", "eta2", "eta2_partial",
    "omega2", "omega2_partial", "n_trials", "n_left_out", "balanced",
)  # fmt: skip


def factor_effects(cells: pd.DataFrame) -> pd.DataFrame:
    """The analysis of variance of the students of every dataset.

    All finished trials are used, also of an unbalanced grid (see `analysis.anova`). A trial that
    several cells asked for (switch epoch 15 and 16 of 15 epochs) is one observation, and one that is
    the baseline (alpha 1, switch epoch 0) has no guidance to be explained by; such cells are left
    out, and counted with those that have no result.

    Args:
        cells: One row per requested cell.

    Returns:
        Per dataset with students one row per term that varies ("teacher", "teacher × alpha", ...,
        "seed") and one for the "residual": `dataset`, `metric_name`, `term`, `sum_squares` (of the
        metric's unit squared), `df`, `mean_square`, `f`, `p`, `eta2`, `eta2_partial`, `omega2`,
        `omega2_partial` (formulas: `analysis.anova.type_two`), and for the whole analysis
        `n_trials` used, `n_left_out` of the requested student cells, and `balanced`: every
        combination of levels occurs equally often, so that the sums of squares add up to the total.

    Raises:
        ValueError: See `analysis.cells.tidy`.
    """
    students = _students(tidy(cells))
    parts = []
    for dataset, part in students.groupby("dataset", sort=True):
        guidance = _varying(part, GUIDANCE_FACTORS)
        further = _further(part)
        terms = _terms(guidance, further, _varying(part, ["seed"]))
        parts.append(_analyse(part, terms).assign(dataset=dataset))
    return _joined(parts, "dataset")


def dataset_effects(cells: pd.DataFrame) -> pd.DataFrame:
    """The same with the dataset as a factor, for metrics that several datasets share.

    The dataset interacts with all guidance factors and with the seed: one seed does not draw the
    same on two datasets.

    Args:
        cells: One row per requested cell.

    Returns:
        As `factor_effects`, per metric with at least two datasets, and with `datasets` (their
        names, joined by ", ") in place of `dataset`. Empty where there is no such metric.

    Raises:
        ValueError: See `analysis.cells.tidy`.
    """
    students = _students(tidy(cells))
    parts = []
    for _, part in students.groupby("metric_name", sort=True):
        finished = part[part["used"]]
        if finished["dataset"].nunique() < 2:
            continue
        guidance = _varying(part, ("dataset", *GUIDANCE_FACTORS))
        seed = _varying(part, ["seed"])
        terms = _terms(guidance, _further(part), seed)
        terms += [("dataset", "seed") for _ in seed]
        names = ", ".join(sorted(finished["dataset"].unique()))
        parts.append(_analyse(part, terms).assign(datasets=names))
    return _joined(parts, "datasets")


def _students(frame: pd.DataFrame) -> pd.DataFrame:
    """The student cells, with `used`: whether a cell is an observation."""
    known = frame[frame["role"] != "teacher"].sort_values(
        "role", key=lambda role: role != "baseline", kind="stable"
    )
    again = known["trial_id"].notna() & known.duplicated(["dataset", "trial_id"])
    used = known["done"] & ~again
    return known.assign(used=used)[known["role"] == "student"].sort_index()


def _varying(part: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    used = part[part["used"]]
    return [column for column in columns if used[column].nunique(dropna=False) > 1]


def _further(part: pd.DataFrame) -> list[str]:
    """Further parameters that vary within a dataset; between datasets they are part of it."""
    asked = part.drop(columns="used")
    keys = [key for key in configuration_keys(asked) if key not in _OTHER]
    within = part[part["used"]].groupby("dataset")[keys].nunique(dropna=False) > 1
    return [key for key in keys if within[key].any()]


def _terms(guidance: list[str], further: list[str], seed: list[str]) -> list[Term]:
    terms = interactions(guidance)
    pairs = interactions([*guidance, *further], at_most=2)
    terms += [term for term in pairs if term not in terms]
    return [*sorted(terms, key=len), *((column,) for column in seed)]


def _analyse(part: pd.DataFrame, terms: list[Term]) -> pd.DataFrame:
    used = part[part["used"]]
    factors = list(dict.fromkeys(name for term in terms for name in term))
    table = type_two(used["test_metric"], used[factors], terms)
    return table.assign(
        metric_name=part["metric_name"].iloc[0],
        n_trials=len(used),
        n_left_out=len(part) - len(used),
        balanced=_balanced(used[factors]),
    )


def _balanced(factors: pd.DataFrame) -> bool:
    if factors.shape[1] == 0:
        return True
    counts = factors.groupby(list(factors), dropna=False, observed=True).size()
    combinations = 1
    for column in factors:
        combinations *= factors[column].nunique(dropna=False)
    return len(counts) == combinations and counts.nunique() == 1


def _joined(parts: list[pd.DataFrame], what: str) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=[what, *COLUMNS])
    return pd.concat(parts, ignore_index=True)[[what, *COLUMNS]]

"""Our results beside other people's, configuration by configuration.

The two sides are treated as independent samples (Welch's t), since equal seeds on other hardware
or software do not give equal random numbers. Two questions are asked of every configuration. Is there
a difference? All those tests are one family, corrected after Holm. And is any difference too small to
matter? Two one-sided tests against a margin (Schuirmann 1987), since not having found a difference is
not proof that there is none. The verdict on a configuration rests on its own equivalence test: at most
5 % of those that really differ by the margin or more are taken for reproduced. What stands after
Holm, for who wants to say it of all at once, is a further column.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from analysis import words
from analysis.cells import configuration_keys, tidy
from analysis.columns import KEY
from analysis.equivalence import negligible
from analysis.intervals import SIGNIFICANCE, equivalence, holm, welch

VERDICTS = ("reproduced", "differs", "cannot say")
_MATCH = ("dataset", "role", "model", "teacher", "alpha", "switch_epoch")


def compare(
    ours: pd.DataFrame,
    reference: pd.DataFrame,
    reference_only: bool = False,
    margin: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Compares two tables of cells.

    Configurations are matched on dataset, role, model, teacher, alpha and switch epoch, and on
    every further varying parameter that both tables have; one that only one table has makes a row
    per value, each against the same partner.

    Args:
        ours: One row per requested cell.
        reference: The same, for example from `analysis.reference.read`.
        reference_only: Also list configurations that only the reference has.
        margin: The largest difference that does not matter, by metric name and in its unit. For a
            metric that is not named: 0.5 points of accuracy; of any other, per dataset, 2 % of the
            mean of the reference's baseline (of all its finished trials where it has none).

    Returns:
        One row per configuration: the keys, `metric_name`, `n_ours`, `mean_ours`, `deviation_ours`,
        `n_reference`, `mean_reference`, `deviation_reference`, `seeds_common`, `difference` (ours -
        reference) with its 95 % Welch interval `ci_low`, `ci_high`; `p` (Welch: no difference),
        `p_holm`, `differs` (p_holm < 0.05); `margin`, `p_equivalent` (a difference as large as the
        margin; the larger of the two one-sided p), `p_equivalent_holm`; and `verdict`: "reproduced"
        where p_equivalent < 0.05, also where a difference was found that is smaller than the margin,
        "differs" where one was found and may be larger, "cannot say" where neither holds or a side
        has fewer than two seeds. Holm's corrections are over all rows with a test.

    Raises:
        ValueError: See `analysis.cells.tidy`; a dataset whose metric is not the same in both; a margin for
            a metric that no dataset here has, or one that is not above zero.
    """
    left, right = tidy(ours), tidy(reference)
    _same_metric(left, right)
    margins = _margins(left, right, margin or {})
    left_keys, right_keys = configuration_keys(left), configuration_keys(right)
    extra = [k for k in dict.fromkeys([*left_keys, *right_keys]) if k not in KEY]
    optional = [k for k in ("temperature", *extra) if _says(left, k) and _says(right, k)]
    on = [*_MATCH, *optional]
    only_left = [k for k in ("temperature", *extra) if k not in on and _varies(left, k, left_keys)]
    only_right = [
        k for k in ("temperature", *extra) if k not in on and _varies(right, k, right_keys)
    ]
    a = _moments(left, [*on, *only_left])
    b = _moments(right, [*on, *only_right])
    how: Literal["outer", "left"] = "outer" if reference_only else "left"
    table = a.merge(b, on=on, how=how, suffixes=("_ours", "_reference"))
    for side in ("ours", "reference"):
        table[f"n_{side}"] = table[f"n_{side}"].fillna(0).astype(int)
    names = [table.pop(f"metric_name_{side}") for side in ("ours", "reference")]
    seeds = [table.pop(f"seeds_{side}") for side in ("ours", "reference")]
    table.insert(len(on) + len(only_left), "metric_name", names[0].fillna(names[1]))
    table["seeds_common"] = [_overlap(x, y) for x, y in zip(*seeds, strict=True)]
    table["difference"] = table["mean_ours"] - table["mean_reference"]
    ours_and_theirs = (
        table["mean_ours"],
        table["deviation_ours"],
        table["n_ours"],
        table["mean_reference"],
        table["deviation_reference"],
        table["n_reference"],
    )
    table["ci_low"], table["ci_high"], table["p"] = welch(*ours_and_theirs)
    table["p_holm"] = holm(table["p"])
    table["differs"] = table["p_holm"] < SIGNIFICANCE
    table["margin"] = table["dataset"].map(margins).astype("float64")
    table["p_equivalent"] = equivalence(*ours_and_theirs, table["margin"])
    table["p_equivalent_holm"] = holm(table["p_equivalent"])
    table["verdict"] = np.select(
        [table["p_equivalent"] < SIGNIFICANCE, table["differs"]],
        ["reproduced", "differs"],
        default="cannot say",
    )
    return table.sort_values([*on, *only_left, *only_right], ignore_index=True)


def describe_comparison(table: pd.DataFrame) -> str:
    """A table of `compare` in one paragraph of plain words."""
    compared = table[table["p"].notna()]
    tested = len(compared)
    if tested == 0:
        return (
            f"None of the {len(table)} configurations could be compared: a test needs at least two "
            "seeds on both sides."
        )
    within = words.listed(
        f"{words.metric_difference(margin, metric).lstrip('+')} on {words.dataset_title(dataset)}"
        for dataset, metric, margin in compared.drop_duplicates("dataset")[
            ["dataset", "metric_name", "margin"]
        ].to_numpy()
    )
    reproduced, differing, unsure = (compared[compared["verdict"] == word] for word in VERDICTS)
    stand = words.none_or(int((table["p_equivalent_holm"] < SIGNIFICANCE).sum()))
    counted = (
        f"Of {words.counted(len(table), 'configuration')} {words.none_or(len(reproduced))} "
        f"{_be(len(reproduced))} reproduced, {words.none_or(len(differing))} "
        f"{'differs' if len(differing) == 1 else 'differ'}, and for "
        f"{words.none_or(len(table) - len(reproduced) - len(differing))} the seeds do not suffice "
        "to say."
    )
    meaning = (
        f"Reproduced means shown to lie within {within} of the reference (two one-sided Welch "
        f"tests, 5 % level per configuration; {stand} of them also after "
        f"Holm's correction for {words.counted(tested, 'test')}); differs, that a difference was "
        "found (Welch's t, 5 % level, corrected after Holm) and not shown to lie within."
    )
    parts = [counted, meaning]
    inside = int((table["differs"] & (table["verdict"] == "reproduced")).sum())
    if inside:
        parts.append(
            f"In {inside} of the reproduced a difference was found that is smaller than the margin."
        )
    if len(differing):
        worst = differing.sort_values("p", kind="stable").iloc[0]
        interval = words.interval(worst["ci_low"], worst["ci_high"], worst["metric_name"], True)
        parts.append(
            f"The clearest difference is {words.dataset_title(worst['dataset'])}, "
            f"{words.configuration(worst.to_dict())}: "
            f"{words.metric_value(worst['mean_ours'], worst['metric_name'])} here against "
            f"{words.metric_value(worst['mean_reference'], worst['metric_name'])} (difference "
            f"{words.metric_difference(worst['difference'], worst['metric_name'])}, 95 % interval "
            f"{interval})."
        )
    allowances = [
        words.metric_difference(
            part[["ci_low", "ci_high"]].abs().max(axis=1).median(), str(metric)
        ).lstrip("+")
        for metric, part in unsure.groupby("metric_name", sort=True)
    ]
    if allowances:
        parts.append(
            "Where the seeds do not suffice, the 95 % intervals still allow differences of up to "
            f"{words.listed(allowances)} in the median."
        )
    if tested < len(table):
        parts.append(
            f"For {len(table) - tested} there is no test at all, for want of two seeds on both sides."
        )
    return " ".join(parts)


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _margins(
    left: pd.DataFrame, right: pd.DataFrame, asked: Mapping[str, float]
) -> dict[str, float]:
    """The margin of every dataset, in its metric's unit; NaN where the reference gives none."""
    both = pd.concat([left[["dataset", "metric_name"]], right[["dataset", "metric_name"]]])
    metrics = both.dropna().drop_duplicates("dataset").set_index("dataset")["metric_name"]
    for name, value in asked.items():
        if name not in set(metrics):
            known = ", ".join(sorted(set(metrics)))
            raise ValueError(f"margin: {name!r} is not a metric of these results ({known})")
        if not 0 < value < np.inf:
            raise ValueError(f"margin: {name} = {value:g}; it must be above zero and finite")
    done = right[right["done"]]
    scale = done.groupby("dataset")["test_metric"].mean()
    scale.update(done[done["role"] == "baseline"].groupby("dataset")["test_metric"].mean())
    usual = negligible(metrics, scale.reindex(metrics.index))
    margins = metrics.map(dict(asked)).astype("float64").fillna(usual)
    return {str(dataset): float(margin) for dataset, margin in margins.items()}


def _same_metric(left: pd.DataFrame, right: pd.DataFrame) -> None:
    a, b = (side.groupby("dataset")["metric_name"].first().dropna() for side in (left, right))
    for dataset in sorted(set(a.index) & set(b.index)):
        if a[dataset] != b[dataset]:
            raise ValueError(
                f"metric_name: {dataset} has {a[dataset]} here and {b[dataset]} in the reference"
            )


def _says(frame: pd.DataFrame, column: str) -> bool:
    return column in frame and bool(frame[column].notna().any())


def _varies(frame: pd.DataFrame, column: str, keys: list[str]) -> bool:
    if column not in frame or column not in keys:
        return False
    students = frame.loc[frame["role"] == "student"] if column in KEY else frame
    return bool((students.groupby("dataset")[column].nunique(dropna=False) > 1).any())


def _moments(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    frame = frame.assign(value=frame["test_metric"].where(frame["done"]))
    groups = frame.groupby(keys, dropna=False, sort=True, observed=True)
    table = groups.agg(
        metric_name=("metric_name", "first"),
        n=("value", "count"),
        mean=("value", "mean"),
        deviation=("value", "std"),
    )
    done = frame["seed"].where(frame["done"])
    by_key = done.groupby([frame[k] for k in keys], dropna=False, sort=True, observed=True)
    seeds = [frozenset(part.dropna()) for _, part in by_key]
    table["seeds"] = pd.Series(seeds, index=table.index, dtype="object")
    return table.reset_index()


def _overlap(ours: object, reference: object) -> int:
    if isinstance(ours, frozenset) and isinstance(reference, frozenset):
        return len(ours & reference)
    return 0

"""Our results beside other people's, configuration by configuration.

The two sides are treated as independent samples (Welch's t), since equal seeds on other hardware
or software do not give equal random numbers. All tests of one comparison are one family, corrected
after Holm. "agrees" means that no difference was found, which is not proof that there is none: the
interval says how large a difference the data still allow.
"""

from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.cells import configuration_keys, tidy
from analysis.columns import KEY
from analysis.intervals import holm, welch

VERDICTS = ("agrees", "differs", "cannot say")
_MATCH = ("dataset", "role", "model", "teacher", "alpha", "switch_epoch")
SIGNIFICANCE = 0.05


def compare(
    ours: pd.DataFrame, reference: pd.DataFrame, reference_only: bool = False
) -> pd.DataFrame:
    """Compares two tables of cells.

    Configurations are matched on dataset, role, model, teacher, alpha and switch epoch, and on
    every further varying parameter that both tables have; one that only one table has makes a row
    per value, each against the same partner.

    Args:
        ours: One row per requested cell.
        reference: The same, for example from `analysis.reference.read`.
        reference_only: Also list configurations that only the reference has.

    Returns:
        One row per configuration: the keys, `metric_name`, `n_ours`, `mean_ours`, `deviation_ours`,
        `n_reference`, `mean_reference`, `deviation_reference`, `seeds_common`, `difference` (ours -
        reference) with its 95 % Welch interval `ci_low`, `ci_high`, `p` (Welch), `p_holm`
        (corrected over all rows with a test), and `verdict`: "differs" where p_holm < 0.05,
        "agrees" where it is not (no difference found; not proof of equality), "cannot say" where
        either side has fewer than two seeds.

    Raises:
        ValueError: See `analysis.cells.tidy`; or a dataset whose metric is not the same in both.
    """
    left, right = tidy(ours), tidy(reference)
    _same_metric(left, right)
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
    table["ci_low"], table["ci_high"], table["p"] = welch(
        table["mean_ours"],
        table["deviation_ours"],
        table["n_ours"],
        table["mean_reference"],
        table["deviation_reference"],
        table["n_reference"],
    )
    table["p_holm"] = holm(table["p"])
    table["verdict"] = np.select(
        [table["p_holm"].isna(), table["p_holm"] < SIGNIFICANCE],
        ["cannot say", "differs"],
        default="agrees",
    )
    return table.sort_values([*on, *only_left, *only_right], ignore_index=True)


def describe_comparison(table: pd.DataFrame) -> str:
    """A table of `compare` in one paragraph of plain words."""
    counts = {verdict: int((table["verdict"] == verdict).sum()) for verdict in VERDICTS}
    tested = counts["agrees"] + counts["differs"]
    if tested == 0:
        return (
            f"None of the {len(table)} configurations could be compared: a test needs at least two "
            "seeds on both sides."
        )
    counted = (
        f"Of {len(table)} configurations {tested} could be tested. In {counts['agrees']} of them no "
        f"difference to the reference was found, {counts['differs']} differ (Welch's t, 5 % level, "
        f"corrected after Holm for {tested} tests)."
    )
    parts = [counted]
    differing = table[table["verdict"] == "differs"]
    if len(differing):
        worst = differing.sort_values("p", kind="stable").iloc[0]
        parts.append(
            f"The clearest difference is {_name(worst)}: {worst['mean_ours']:.4g} here against "
            f"{worst['mean_reference']:.4g} (difference {worst['difference']:+.3g}, 95 % interval "
            f"{worst['ci_low']:+.3g} to {worst['ci_high']:+.3g})."
        )
    agreeing = table[table["verdict"] == "agrees"]
    if len(agreeing):
        allowances = []
        for metric, part in agreeing.groupby("metric_name", sort=True):
            allowed = part[["ci_low", "ci_high"]].abs().max(axis=1)
            unit = "points of accuracy" if metric == "accuracy" else str(metric).upper()
            allowances.append(
                f"{allowed.median():.2g} {unit} in a typical configuration and {allowed.max():.2g} "
                "in the least certain one"
            )
        parts.append(
            "No difference found is not proof that there is none: the intervals still allow up to "
            f"{', and up to '.join(allowances)}."
        )
    if counts["cannot say"]:
        parts.append(
            f"For {counts['cannot say']} nothing can be said, for want of two seeds on both sides."
        )
    return " ".join(parts)


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


def _name(row: "pd.Series[Any]") -> str:
    parts = [f"{row['dataset']} {row['role']}"]
    if row["role"] == "teacher":
        parts.append(str(row["model"]))
    if row["role"] == "student":
        parts.append(f"({row['teacher']} teacher, alpha {row['alpha']:g}, switch epoch")
        parts.append(f"{row['switch_epoch']})")
    return " ".join(parts)

"""Can these attacked figures be believed? Checks that a reader of the adversarial literature makes.

An attack that fails makes a network look robust. It shows: more strength does less harm, several
steps do less than one, blind noise does more than a gradient, many gradients are zero (Carlini et
al., 2019, section 5; Athalye, Carlini and Wagner, 2018, section 3). None of it proves that an attack
was good.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis import words
from analysis.attacks import attacked, signs
from analysis.cells import parameters, tidy
from analysis.columns import KEY

SEVERITIES = ("error", "warning", "note")
AIMED = ("fgsm", "pgd")
"""Attacks that follow the gradient; blind noise may happen to help."""
UNCLIPPED = "unclipped"
"""The setting in an attack's name that lets it leave the range of inputs."""
COLUMNS = ("severity", "dataset", "attack", "check", "trials", "of", "largest", "message")

NOISE_POINTS = 0.5
"""Points of accuracy that are not told from noise: a standard error over 10,000 test samples."""
NOISE_SHARE = 0.01
"""The same for every other metric, as a part of the value."""
ZERO_PERCENT = 5.0
"""Share of test samples without a gradient above which attacks that follow it are in doubt."""


def attack_warnings(cells: pd.DataFrame) -> pd.DataFrame:
    """What speaks against taking the attacked figures at their word.

    A trial that several cells ask for counts once. A difference counts from `NOISE_POINTS` of
    accuracy, of another metric from `NOISE_SHARE` of the value.

    Args:
        cells: One row per requested cell.

    Returns:
        One row per finding, the severest first, empty where nothing was attacked: `severity` ("error":
        the attack did not do its work; "warning": look before you trust it; "note": what the figures
        are), `dataset`, `attack`, `check`, `trials` (how many show it), `of` (how many were looked
        at), `largest` (of the differences, in the unit of the metric, or percent of samples; null
        where the check has none) and `message`, a sentence.

    Raises:
        ValueError: See `analysis.attacks.attacked`.
    """
    frame = tidy(cells)
    long = _trials(attacked(frame), [*KEY, *parameters(frame), "seed"])
    found = [
        finding
        for dataset, part in long.groupby("dataset", sort=True)
        for check in (_rises, _beats_clean, _no_effect, _walks, _blind, _only_fgsm)
        for finding in check(str(dataset), part)
    ]
    found += _zero_gradients(frame, long)
    rank = {severity: place for place, severity in enumerate(SEVERITIES)}
    found.sort(key=lambda row: (rank[row["severity"]], row["dataset"]))
    return pd.DataFrame(found, columns=list(COLUMNS))


def _trials(long: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Each trial once, numbered in `trial`; `quality` is the value with more being better."""
    again = long.duplicated(["trial_id", "attack", "epsilon"]) & long["trial_id"].notna()
    long = long[~again].copy()
    long["trial"] = long.groupby(keys, dropna=False).ngroup()
    long["family"] = long["attack"].map(words.attack_family)
    long["quality"] = long["value"] * signs(long["metric_name"])
    long["noise"] = (NOISE_SHARE * long["value"].abs()).mask(
        long["metric_name"] == "accuracy", NOISE_POINTS
    )
    return long


def _finding(
    severity: str, dataset: str, attack: str, check: str, shown: "pd.Series[Any]", of: int,
    metric_name: str, says: str,
) -> dict[str, Any]:  # fmt: skip
    """A row about the trials whose largest difference is in `shown`."""
    largest = float(shown.max())
    size = words.metric_difference(largest, metric_name).lstrip("+")
    message = (
        f"{words.attack_title(attack)}: {len(shown):,} of {of:,} trials {says}, by up to {size}"
    )
    return {
        "severity": severity, "dataset": dataset, "attack": attack, "check": check,
        "trials": len(shown), "of": of, "largest": largest, "message": message,
    }  # fmt: skip


def _beyond(rows: pd.DataFrame, column: str) -> "pd.Series[Any]":
    """The largest value of a column per trial, where it is beyond noise."""
    return rows.loc[rows[column] > rows["noise"]].groupby("trial")[column].max()


def _rises(dataset: str, part: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for attack, rows in part.groupby("attack", sort=True):
        rows = rows.sort_values(["trial", "epsilon"])
        rows["rise"] = rows.groupby("trial")["quality"].diff()
        shown = _beyond(rows, "rise")
        of = int((rows.groupby("trial")["epsilon"].count() > 1).sum())
        if len(shown):
            severity = {"pgd": "error", "fgsm": "warning"}.get(rows["family"].iloc[0], "note")
            yield _finding(
                severity, dataset, str(attack), "better at a larger epsilon", shown, of,
                rows["metric_name"].iloc[0],
                "do better at a larger epsilon than at the next smaller one",
            )  # fmt: skip


def _beats_clean(dataset: str, part: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for attack, rows in part.groupby("attack", sort=True):
        shown = _beyond(rows.assign(gain=-rows["drop"]), "gain")
        if len(shown):
            severity = "error" if rows["family"].iloc[0] in AIMED else "note"
            yield _finding(
                severity, dataset, str(attack), "better than clean", shown,
                rows["trial"].nunique(), rows["metric_name"].iloc[0],
                "do better than without it",
            )  # fmt: skip


def _no_effect(dataset: str, part: pd.DataFrame) -> Iterator[dict[str, Any]]:
    aimed = part[(part["epsilon"] > 0) & part["family"].isin(AIMED)]
    for attack, rows in aimed.groupby("attack", sort=True):
        largest = rows.groupby("trial")["drop"].max()
        shown = int((largest <= 0).sum())
        if shown:
            yield {
                "severity": "warning", "dataset": dataset, "attack": attack, "check": "no effect",
                "trials": shown, "of": len(largest), "largest": np.nan,
                "message": f"{words.attack_title(str(attack))}: {shown:,} of {len(largest):,} trials lose nothing at any "
                "epsilon",
            }  # fmt: skip


def _walks(dataset: str, part: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Several steps must do at least the harm of one that stays in the range of inputs, as they do."""
    clipped = ~part["attack"].map(lambda attack: UNCLIPPED in attack.split("-"))
    stepped = part[(part["family"] == "fgsm") & clipped]
    single = stepped.groupby(["trial", "epsilon"], as_index=False)["quality"].min()
    for attack, rows in part[part["family"] == "pgd"].groupby("attack", sort=True):
        both = rows.merge(single, on=["trial", "epsilon"], suffixes=("", "_fgsm"))
        shown = _beyond(both.assign(weaker=both["quality"] - both["quality_fgsm"]), "weaker")
        if len(shown):
            yield _finding(
                "error", dataset, str(attack), "weaker than FGSM", shown, both["trial"].nunique(),
                rows["metric_name"].iloc[0], "do better than under FGSM of the same epsilon",
            )  # fmt: skip


def _blind(dataset: str, part: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Noise of no aim must not do more harm than the strongest attack of the same epsilon."""
    aimed = part[part["family"].isin(AIMED)]
    strongest = aimed.groupby(["trial", "epsilon"], as_index=False)["quality"].min()
    for attack, rows in part[part["family"] == "input_noise"].groupby("attack", sort=True):
        both = rows.merge(strongest, on=["trial", "epsilon"], suffixes=("", "_aimed"))
        shown = _beyond(both.assign(stronger=both["quality_aimed"] - both["quality"]), "stronger")
        if len(shown):
            # Gaussian noise goes further than epsilon in a third of all entries, uniform never.
            severity = "error" if "uniform" in str(attack) else "warning"
            yield _finding(
                severity, dataset, str(attack), "noise is stronger than the attack", shown,
                both["trial"].nunique(), rows["metric_name"].iloc[0],
                "do worse under noise than under the strongest attack of the same epsilon",
            )  # fmt: skip


def _only_fgsm(dataset: str, part: pd.DataFrame) -> Iterator[dict[str, Any]]:
    single = part[part["family"] == "fgsm"]
    walked = part.loc[part["family"] == "pgd", "trial"].unique()
    shown = single.loc[~single["trial"].isin(walked), "trial"].nunique()
    if shown:
        of = single["trial"].nunique()
        yield {
            "severity": "note", "dataset": dataset, "attack": "fgsm", "check": "only FGSM",
            "trials": shown, "of": of, "largest": np.nan,
            "message": f"FGSM: {shown:,} of {of:,} trials were attacked with a single "
            "step only; the values are upper bounds of robustness, a stronger attack finds less",
        }  # fmt: skip


def _zero_gradients(frame: pd.DataFrame, long: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Of the trials that were attacked along their gradient."""
    if "zero_gradients_percent" not in frame:
        frame["zero_gradients_percent"] = np.nan
    zero = frame.loc[frame["done"], ["dataset", "trial_id", "zero_gradients_percent"]]
    zero = zero.drop_duplicates("trial_id")
    aimed = long[long["family"].isin(AIMED)]
    trials = aimed[["dataset", "trial_id"]].drop_duplicates().merge(zero, how="left")
    for dataset, part in trials.groupby("dataset", sort=True):
        share = part["zero_gradients_percent"].astype("float64")
        of, unknown = len(part), int(share.isna().sum())
        shown = share[share > ZERO_PERCENT]
        among = f"of {of:,} trials"
        row = {"dataset": dataset, "attack": "fgsm, pgd", "of": of}
        if len(shown):
            yield row | {
                "severity": "warning", "check": "zero gradients", "trials": len(shown),
                "largest": float(shown.max()),
                "message": f"in {len(shown):,} {among} more than {ZERO_PERCENT:g} % of the test "
                f"samples, up to {shown.max():.1f} %, have a gradient of exactly zero: no attack that "
                "follows it moves them",
            }  # fmt: skip
        if unknown:
            yield row | {
                "severity": "note", "check": "zero gradients unknown", "trials": unknown,
                "largest": np.nan,
                "message": f"for {unknown:,} {among} it was not recorded how many gradients are zero",
            }  # fmt: skip

"""What a study found, per dataset: first as numbers, then in plain words made from them.

The words are careful where the numbers are: "better" and "worse" are corrected for looking at many
configurations, the intervals beside them are not, and the best of many was picked for its luck, too.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import words
from analysis.best import best_configurations
from analysis.cells import configuration_keys, summarise, tidy
from analysis.columns import KEY, direction
from analysis.figures.baseline import Baseline, baseline_of
from analysis.intervals import LEVEL, SIGNIFICANCE
from analysis.pairs import MIN_PAIRS, VERDICTS, paired


@dataclass(frozen=True)
class Standing:
    """One configuration: its mean with a 95 % interval, and its paired difference likewise.

    `n` counts seeds, `n_pairs` seeds that the baseline has too; NaN stands for what is not known.
    """

    label: str
    mean: float
    ci_low: float
    ci_high: float
    n: int
    difference: float
    difference_ci_low: float
    difference_ci_high: float
    n_pairs: int
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class Certainty:
    """How sure it is that the best configuration is the best (see `analysis.best`).

    `win_share` is the share of resamples of the seeds that it wins, `winners_95` how many
    configurations hold 95 % of the wins, `optimism` by how much picking it flatters its mean, and
    `difference_corrected` its difference to the baseline without that.
    """

    win_share: float
    winners_95: int
    optimism: float
    difference_corrected: float


@dataclass(frozen=True)
class Findings:
    """What was found on one dataset.

    Attributes:
        dataset: Name of the dataset.
        metric_name: Name of its metric; "" where nothing is finished.
        baseline: The baseline; None without a result or where there are several.
        best: The student configuration with the best mean (among those with at least two seeds, if
            there are any); None without students.
        worst: The one with the worst mean.
        counts: Student configurations by verdict (see `analysis.pairs.VERDICTS`).
        counts_uncorrected: The same before the correction for many configurations.
        counts_bh: Better and worse where one in twenty of the findings may be false (Benjamini and
            Hochberg).
        certainty: Of the best configuration; None where there is no other, or it has fewer than
            `MIN_PAIRS` seeds: resamples of so few are hardly ever anything but the sample.
        configurations: Student configurations with a result.
        seeds: Smallest and largest number of seeds behind a student configuration's mean.
        unfinished: Cells that were asked for and have no result.
    """

    dataset: str
    metric_name: str
    baseline: Baseline | None
    best: Standing | None
    worst: Standing | None
    counts: dict[str, int]
    counts_uncorrected: dict[str, int]
    counts_bh: dict[str, int]
    certainty: Certainty | None
    configurations: int
    seeds: tuple[int, int]
    unfinished: int

    @property
    def tested(self) -> int:
        """Configurations with enough pairs for a verdict."""
        return sum(self.counts[v] for v in ("better", "worse", "no clear difference"))

    def sentences(self) -> list[str]:
        """The findings in plain words, most important first."""
        said = [self._best_sentence()]
        if self.certainty is not None:
            said.append(self._certainty_sentence(self.certainty))
        if self.tested:
            said += [self._count_sentence(), self._chance_sentence()]
        if self.counts["cannot say"]:
            said.append(
                f"For {words.counted(self.counts['cannot say'], 'configuration')} nothing can be "
                f"said yet: fewer than {MIN_PAIRS} seeds are finished for both it and the baseline."
            )
        if self.counts["same trial"]:
            same = words.counted(self.counts["same trial"], "configuration")
            are = "is" if self.counts["same trial"] == 1 else "are"
            said.append(
                f"{same} (alpha 1 or switch epoch 0) {are} the baseline by definition and not "
                "counted."
            )
        if self.unfinished:
            cells = words.counted(self.unfinished, "requested cell")
            have, them = ("has", "it") if self.unfinished == 1 else ("have", "them")
            said.append(f"{cells} of this dataset {have} no result; all numbers here lack {them}.")
        return said

    def _best_sentence(self) -> str:
        metric = self.metric_name
        if self.best is None:
            if self.baseline is None:
                return "No student and no baseline is finished."
            base = self.baseline
            around = _around(base.ci_low, base.ci_high, metric)
            mean = words.metric_value(base.mean, metric)
            return (
                f"The baseline reaches {mean}{around} over {words.counted(base.n, 'seed')}; "
                "no student is finished."
            )
        best = self.best
        text = (
            f"Best: {best.label} with {words.metric_value(best.mean, metric)}"
            f"{_around(best.ci_low, best.ci_high, metric)} over {words.counted(best.n, 'seed')}"
        )
        if best.n_pairs == 0:
            return f"{text}; there is no baseline of the same seeds to compare it with."
        text += f", {words.metric_difference(best.difference, metric)} against the baseline"
        if self.baseline is not None:
            text += f"'s {words.metric_value(self.baseline.mean, metric)}"
        text += _around(best.difference_ci_low, best.difference_ci_high, metric, True)
        if best.verdict == "no clear difference":
            text += (
                ": no clear difference once it is seen as one of all configurations of the study "
                f"(p = {words.p_value(best.p_holm)} after Holm)"
            )
        return f"{text}."

    def _count_sentence(self) -> str:
        better, worse, unclear = (
            words.none_or(self.counts[v]) for v in ("better", "worse", "no clear difference")
        )
        return (
            f"Of {words.counted(self.tested, 'configuration')} {better} came out better and {worse} "
            "worse than the baseline of the same seeds (paired t test, 5 % level, corrected after "
            f"Holm for all configurations of the study); {unclear} "
            f"{'shows' if unclear in ('1', 'none') else 'show'} no clear difference."
        )

    def _chance_sentence(self) -> str:
        better, worse = (words.none_or(self.counts_bh[v]) for v in ("better", "worse"))
        text = (
            f"If one in twenty of the findings may be false (Benjamini and Hochberg), {better} "
            f"count as better and {worse} as worse"
        )
        better, worse = (words.none_or(self.counts_uncorrected[v]) for v in ("better", "worse"))
        text += f"; without any correction {better} and {worse}"
        if self.tested >= 20:
            expected = round(self.tested * (1 - LEVEL))
            text += f", of which chance alone would give about {expected}"
        return f"{text}."

    def _certainty_sentence(self, certainty: Certainty) -> str:
        text = (
            f"With other seeds it would be the best again in {words.percent(certainty.win_share)} of cases; "
            f"{words.counted(certainty.winners_95, 'configuration')} "
            f"{'holds' if certainty.winners_95 == 1 else 'hold'} 95 % of the wins. Picking the best "
            f"of {self.configurations} flatters it by about "
            f"{words.metric_difference(certainty.optimism, self.metric_name).lstrip('+')}"
        )
        if not pd.isna(certainty.difference_corrected):
            corrected = words.metric_difference(certainty.difference_corrected, self.metric_name)
            text += f": without that the difference is {corrected}"
        return f"{text}."


def study_findings(cells: pd.DataFrame, pairs: pd.DataFrame | None = None) -> list[Findings]:
    """The findings of a study, one per dataset, by name.

    Args:
        cells: One row per requested cell.
        pairs: What `analysis.pairs.paired` says of them, where it is known already.

    Raises:
        ValueError: See `analysis.pairs.paired`.
    """
    frame = tidy(cells)
    keys = configuration_keys(frame)
    summary = summarise(frame)
    pairs = paired(frame) if pairs is None else pairs
    certain = best_configurations(frame, pairs=pairs)
    return [
        _of_dataset(
            str(dataset),
            summary[summary["dataset"] == dataset],
            pairs[pairs["dataset"] == dataset],
            keys,
            _certainty(certain, str(dataset)),
            int((~part["done"]).sum()),
        )
        for dataset, part in frame.groupby("dataset", sort=True)
    ]


def _of_dataset(
    dataset: str,
    summary: pd.DataFrame,
    pairs: pd.DataFrame,
    keys: list[str],
    certainty: Certainty | None,
    unfinished: int,
) -> Findings:
    verdicts = ["verdict", "verdict_uncorrected"]
    columns = [*keys, "n_pairs", "difference", "ci_low", "ci_high", "p_holm", "p_bh", *verdicts]
    students = summary[(summary["role"] == "student") & (summary["n"] > 0)].merge(
        pairs[columns], on=keys, how="left", suffixes=("", "_difference")
    )
    metrics = summary["metric_name"].dropna()
    metric = str(metrics.iloc[0]) if len(metrics) else ""
    best = worst = None
    if len(students):
        ranked = students[students["n"] >= 2] if (students["n"] >= 2).any() else students
        order = (ranked["mean"] * direction(metric)).to_numpy()
        own = ["model", "temperature", *(k for k in keys if k not in KEY)]
        extra = [k for k in own if students[k].nunique(dropna=False) > 1]
        best = _standing(ranked.iloc[int(order.argmax())], extra)
        worst = _standing(ranked.iloc[int(order.argmin())], extra)
    counts, counts_uncorrected = (_counts(students[column]) for column in verdicts)
    return Findings(
        dataset=dataset,
        metric_name=metric,
        baseline=baseline_of(summary),
        best=best,
        worst=worst,
        counts=counts,
        counts_uncorrected=counts_uncorrected,
        counts_bh=_counts_bh(students, metric),
        certainty=certainty,
        configurations=len(students),
        seeds=(int(students["n"].min()), int(students["n"].max())) if len(students) else (0, 0),
        unfinished=unfinished,
    )


def _counts(verdicts: "pd.Series[Any]") -> dict[str, int]:
    return {verdict: int((verdicts == verdict).sum()) for verdict in VERDICTS}


def _counts_bh(students: pd.DataFrame, metric: str) -> dict[str, int]:
    found = students[(students["p_bh"] < SIGNIFICANCE) & (students["n_pairs"] >= MIN_PAIRS)]
    gain = found["difference"] * (direction(metric) if metric else 1)
    return {"better": int((gain > 0).sum()), "worse": int((gain < 0).sum())}


def _certainty(table: pd.DataFrame, dataset: str) -> Certainty | None:
    rows = table[(table["dataset"] == dataset) & (table["candidates"] >= 2)]
    rows = rows[rows["n"] >= MIN_PAIRS]
    if rows.empty:
        return None
    row = rows.iloc[0]
    return Certainty(
        win_share=float(row["win_share"]),
        winners_95=int(row["winners_95"]),
        optimism=float(row["optimism"]),
        difference_corrected=float(row["difference_corrected"]),
    )


def _standing(row: "pd.Series[float]", extra: list[str]) -> Standing:
    return Standing(
        label=words.configuration(row.to_dict(), extra),
        mean=float(row["mean"]),
        ci_low=float(row["ci_low"]),
        ci_high=float(row["ci_high"]),
        n=int(row["n"]),
        difference=float(row["difference"]),
        difference_ci_low=float(row["ci_low_difference"]),
        difference_ci_high=float(row["ci_high_difference"]),
        n_pairs=int(row["n_pairs"]),
        p_holm=float(row["p_holm"]),
        verdict=str(row["verdict"]),
    )


def _around(low: float, high: float, metric_name: str, difference: bool = False) -> str:
    text = words.interval(low, high, metric_name, difference)
    return "" if text == "–" else f" (95 % interval {text})"

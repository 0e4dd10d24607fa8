"""Where networks look: the share of their SHAP values that lies on the object, against the baseline.

Student and baseline of one seed are asked about the same images, against the same background, so
what is compared is the difference per image and seed. Images of one network are not independent of
each other as evidence about guidance, nor are seeds of one image, so there are two tests and neither
takes all pairs for a sample: over images, each averaged over seeds, which asks whether these very
networks differ on images like these; and over seeds, each averaged over images, which asks whether
trainings like these do. The verdict is that of the seeds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import configuration_keys, matching_keys, tidy
from analysis.intervals import SIGNIFICANCE, holm
from analysis.pairs import MIN_PAIRS
from analysis.signed_rank import signed_rank_p

COLUMN = "attributions"
WAY = ("method", "explains", "segmentation", "images", "background_images", "repeats")
"""What tells ways of asking apart; only answers of one way are compared."""

VERDICTS = ("more on the object", "less on the object", "no clear difference", "cannot say",
            "same trial")  # fmt: skip

EXACT_AT_MOST = 300
"""Pairs up to which the signed-rank test is exact; of more, the normal distribution is near enough,
and counting takes the third power of their number."""

_SAID = {
    "border-otsu": "found without any network: what differs in colour from the image's border (Otsu's "
    "threshold), its largest part, holes filled; where an image is not one object before a calm ground, "
    "that is not its object",
}
_EXPLAINED = {"label": "of the true class", "predicted": "of the predicted class"}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Way:
    """How networks were asked; see `WAY`."""

    method: str
    explains: str
    segmentation: str
    images: int
    background_images: int
    repeats: int

    def sentences(self) -> str:
        """The same in words, the segmentation above all."""
        masks = f"given by a file ({self.segmentation})"
        drawn = "" if self.repeats == 1 else f", {self.repeats} gradients for each pair"
        return (
            f"SHAP values (expected gradients) of the logit {_EXPLAINED[self.explains]}, for "
            f"{self.images:,} test images against {self.background_images:,} training images{drawn}; "
            "a pixel's value is the sum of the absolute values of its channels. Objects are "
            f"{_SAID.get(self.segmentation, masks)}."
        )


def attribution_ways(cells: pd.DataFrame) -> list[Way]:
    """The ways in which the networks of a table were asked, that of most trials first.

    Args:
        cells: One row per requested cell; see `attribution_table`.
    """
    long = _asked(tidy(cells))
    counts = long.groupby(list(WAY), sort=True)["trial_id"].nunique().reset_index(name="trials")
    counts = counts.sort_values(["trials", "images"], ascending=False, kind="stable")
    rows = counts[list(WAY)].to_dict("records")
    return [Way(**{str(name): value for name, value in row.items()}) for row in rows]


def attribution_table(cells: pd.DataFrame) -> pd.DataFrame:
    """Where the networks of every configuration look, and the paired difference to the baseline.

    Args:
        cells: One row per requested cell, with `attributions`: a list with an entry for each way
            of asking, that has the fields of `WAY` and arrays `row`, `share`, `foreground`,
            `background`, an item for each image.

    Returns:
        One row per configuration and way of asking: the keys, `WAY` and

        - `n_seeds`, `n_images`, `n_pairs` of images and seeds with a share; for students those that
          the baseline has as well, or, where there is none, all, and no pairs;
        - `share`: mean share of the absolute values on the object; `share_baseline`; `difference` of
          the two, each over the pairs;
        - `foreground`, `background`: mean absolute value per pixel on the object and beside it, in
          the logit's unit;
        - `effect`: mean of the differences per image, each averaged over seeds, over their deviation
          (Cohen's d for pairs; NaN without spread);
        - `p_images`, `p_seeds`: two-sided signed-rank tests of the differences per image and per
          seed (see the module); `p_images_holm`, `p_seeds_holm`: after Holm, all students that were
          asked in one way being one family;
        - `verdict`: by `p_seeds_holm`; "cannot say" below `analysis.pairs.MIN_PAIRS` seeds.

        Of baselines and teachers all but the counts and means are null.

    Raises:
        ValueError: See `analysis.cells.tidy`.
    """
    frame = tidy(cells)
    keys, match = configuration_keys(frame), matching_keys(frame)
    long = _asked(frame)
    shared = [*match, *WAY, "seed"]
    bases = long.loc[long["role"] == "baseline", [*shared, "trial_id", COLUMN]]
    rows = long.merge(
        bases.drop_duplicates(shared), on=shared, how="left", suffixes=("", "_baseline")
    )
    found = [
        dict(zip((*keys, *WAY), key, strict=True)) | _row(part)
        for key, part in rows.groupby([*keys, *WAY], dropna=False, sort=True, observed=True)
    ]
    table = pd.DataFrame(found, columns=[*keys, *WAY, *_FIGURES, "same_trial"])
    family = table.groupby(list(WAY), sort=False).ngroup().to_numpy()
    counts = [name for name in _FIGURES if name.startswith("n_")]
    measured = [name for name in _FIGURES if name not in counts]
    table = table.astype(dict.fromkeys(counts, "int64") | dict.fromkeys(measured, "float64"))
    for name in ("p_images", "p_seeds"):
        table[f"{name}_holm"] = np.nan
        for number in np.unique(family):
            own = family == number
            table.loc[own, f"{name}_holm"] = holm(table.loc[own, name].to_numpy())
    student = table["role"] == "student"
    sure = table["p_seeds_holm"] < SIGNIFICANCE
    table["verdict"] = np.select(
        [
            ~student, table["same_trial"].astype(bool),
            (table["n_seeds"] < MIN_PAIRS) | (table["n_pairs"] == 0),
            sure & (table["difference"] > 0), sure,
        ],
        ["", "same trial", "cannot say", "more on the object", "less on the object"],
        default="no clear difference",
    )  # fmt: skip
    table["verdict"] = table["verdict"].where(student)
    return table.drop(columns="same_trial")


_FIGURES = ("n_seeds", "n_images", "n_pairs", "share", "share_baseline", "difference", "foreground",
            "background", "effect", "p_images", "p_seeds")  # fmt: skip


def image_shares(entries: "pd.Series[Any]") -> "pd.Series[float]":
    """The share on the object of each image, averaged over trials.

    Args:
        entries: Of several trials and one way of asking, as `attributions` lists them.

    Returns:
        Shares by image, ascending; images without one are left out.
    """
    parts = [pd.Series(e["share"], index=e["row"], dtype="float64") for e in entries]
    joined = pd.concat(parts) if parts else pd.Series(dtype="float64")
    return joined.dropna().groupby(level=0).mean()


def entries_of(cells: pd.DataFrame, way: Way) -> pd.DataFrame:
    """The finished cells whose networks were asked in one way, each with its one entry.

    Args:
        cells: See `attribution_table`.
        way: Which.
    """
    long = _asked(tidy(cells))
    same = np.logical_and.reduce([long[name] == getattr(way, name) for name in WAY])
    return long[same].reset_index(drop=True)


def _asked(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per finished cell and way of asking, with the columns of `WAY` and the entry."""
    if COLUMN not in frame:
        return frame.iloc[:0].assign(**dict.fromkeys([*WAY, COLUMN]))
    there = frame[COLUMN].map(lambda entries: isinstance(entries, (list, np.ndarray)))
    long = frame[frame["done"] & there].explode(COLUMN, ignore_index=True)
    for name in WAY:
        long[name] = [entry[name] for entry in long[COLUMN]]
    return long


def _row(part: pd.DataFrame) -> dict[str, Any]:
    """The figures of one configuration, asked in one way."""
    student = part["role"].iloc[0] == "student"
    paired = student and bool(part[f"{COLUMN}_baseline"].notna().any())
    both = part[part[f"{COLUMN}_baseline"].notna()] if paired else part
    same = paired and bool((both["trial_id"] == both["trial_id_baseline"]).all())
    pairs = pd.concat(list(_pairs(both, paired)), ignore_index=True)
    found: dict[str, Any] = {
        "n_seeds": pairs["seed"].nunique(),
        "n_images": pairs["row"].nunique(),
        "n_pairs": len(pairs),
        "share": pairs["own"].mean(),
        "foreground": _mean(part, "foreground"),
        "background": _mean(part, "background"),
        "same_trial": same,
    }
    if not paired:
        return found | {"n_pairs": 0} if student else found
    away = pairs["own"] - pairs["other"]
    by_image = away.groupby(pairs["row"]).mean().to_numpy()
    by_seed = away.groupby(pairs["seed"]).mean().to_numpy()
    spread = float(np.std(by_image, ddof=1)) if len(by_image) > 1 else np.nan
    return found | {
        "share_baseline": pairs["other"].mean(),
        "difference": away.mean(),
        "effect": float(by_image.mean()) / spread if spread > 0 else np.nan,
        "p_images": np.nan if same else _p(by_image),
        "p_seeds": np.nan if same else _p(by_seed),
    }


def _pairs(both: pd.DataFrame, paired: bool) -> Iterator[pd.DataFrame]:
    """For each seed the images with a share: `row`, `seed`, `own`, and where paired `other`."""
    for seed, entry, base in zip(
        both["seed"], both[COLUMN], both[f"{COLUMN}_baseline"], strict=True
    ):
        own = _shares(entry, "own")
        if paired:
            own = own.merge(_shares(base, "other"), on="row")
        yield own.assign(seed=seed)


def _shares(entry: Mapping[str, Any], name: str) -> pd.DataFrame:
    shares = np.asarray(entry["share"], dtype=np.float64)
    return pd.DataFrame({"row": np.asarray(entry["row"]), name: shares}).dropna()


def _mean(part: pd.DataFrame, field: str) -> float:
    values = np.concatenate([np.asarray(entry[field], np.float64) for entry in part[COLUMN]])
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def _p(differences: Array) -> float:
    """Wilcoxon's signed-rank test, two-sided; see `EXACT_AT_MOST`."""
    if len(differences) <= EXACT_AT_MOST:
        return signed_rank_p(differences)
    if not differences.any():
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences, method="approx").pvalue)

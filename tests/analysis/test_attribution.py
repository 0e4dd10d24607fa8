"""Where networks look: the paired comparison and the figure, by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import tables
from analysis.attribution import (
    EXACT_AT_MOST,
    Way,
    attribution_table,
    attribution_ways,
    image_shares,
)
from analysis.figures.attribution import attribution_numbers, attribution_violins, draw
from analysis.report import ReportInfo, render_report
from analysis.signed_rank import signed_rank_p
from tests.analysis.tables import cell, grid, table

SEEDS = (1, 2, 3, 4, 5, 6, 7)
NAN = float("nan")


def entry(shares: Sequence[float], rows: Sequence[int] = (4, 9), **more: Any) -> dict[str, Any]:
    """How a network looks at images; 2.0 per pixel on the object and 1.0 beside."""
    return {
        "method": "expected-gradients", "explains": "label", "segmentation": "border-otsu",
        "images": 200, "background_images": 100, "repeats": 1, "background_used": 100,
        "completeness_error": 0.01,
        "row": np.array(rows), "share": np.array(shares, dtype=float),
        "foreground": np.full(len(rows), 2.0), "background": np.full(len(rows), 1.0),
    } | more  # fmt: skip


def looking(role: str, seed: int, *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return cell(role, seed, 80.0, attributions=list(entries) or None, **more)


def study() -> pd.DataFrame:
    """Seven seeds, two images. The baseline has 0.5 and 0.6 in all. Students of switch 2 have
    0.02 more on the first image and 0.01, 0.02, ... 0.07 more on the second; those of switch 3 as
    much more as less; alpha 1 is the baseline's trial.
    """
    rows = []
    for seed in SEEDS:
        base = looking("baseline", seed, entry([0.5, 0.6]))
        sign = (-1) ** seed
        rows += [
            base,
            looking("student", seed, entry([0.52, 0.6 + 0.01 * seed])),
            looking("student", seed, entry([0.5 + 0.1 * sign, 0.6]), switch_epoch=3),
            looking("student", seed, entry([0.5, 0.6]), alpha=1.0, trial_id=base["trial_id"]),
        ]
    return table(rows)


def rows_of(found: pd.DataFrame) -> dict[Any, dict[str, Any]]:
    return {
        ("baseline" if row["role"] == "baseline" else (row["alpha"], row["switch_epoch"])): row
        for row in found.to_dict("records")
    }


def test_the_paired_comparison_by_hand() -> None:
    found = rows_of(attribution_table(study()))
    assert found["baseline"]["share"] == pytest.approx(0.55)
    assert (found["baseline"]["n_seeds"], found["baseline"]["n_images"]) == (7, 2)
    assert found["baseline"]["verdict"] is None or pd.isna(found["baseline"]["verdict"])
    more = found[0.1, 2]
    assert (more["n_seeds"], more["n_images"], more["n_pairs"]) == (7, 2, 14)
    # images differ by 0.02 and, over seeds, 0.04; mean 0.03, deviation 0.01 * sqrt(2)
    assert more["difference"] == pytest.approx(0.03)
    assert more["effect"] == pytest.approx(0.03 / (0.01 * np.sqrt(2)))
    assert more["share"] == pytest.approx(0.58)
    assert more["share_baseline"] == pytest.approx(0.55)
    assert (more["foreground"], more["background"]) == (2.0, 1.0)
    # all of two images and all of seven seeds on one side: 2 / 2^2 and 2 / 2^7
    assert (more["p_images"], more["p_seeds"]) == (0.5, 2 / 128)
    # the family is switch 2 and 3: alpha 1 is no test
    assert more["p_seeds_holm"] == pytest.approx(2 * 2 / 128)
    assert more["verdict"] == "more on the object"
    assert found[0.1, 3]["verdict"] == "no clear difference"
    assert found[0.1, 3]["difference"] == pytest.approx(-0.1 / 14)
    same = found[1.0, 2]
    assert same["verdict"] == "same trial"
    assert np.isnan(same["p_seeds"])
    assert np.isnan(same["p_seeds_holm"])


def test_less_is_told_from_more_and_few_seeds_cannot_say() -> None:
    cells = study()
    moved = (cells["switch_epoch"] == 2).fillna(False) & (cells["alpha"] == 0.1)
    low = [
        [entry([0.1, 0.1])] if here else own
        for here, own in zip(moved, cells["attributions"], strict=True)
    ]
    less = cells.assign(attributions=low)
    assert rows_of(attribution_table(less))[0.1, 2]["verdict"] == "less on the object"
    few = rows_of(attribution_table(less[less["seed"] <= 5]))
    assert few[0.1, 2]["verdict"] == "cannot say"
    assert few[0.1, 2]["p_seeds"] == 2 / 32


def test_images_without_a_share_and_seeds_on_one_side_are_no_pairs() -> None:
    cells = table(
        [
            looking("baseline", 1, entry([0.5, NAN, 0.4], (1, 2, 3))),
            looking("baseline", 2, entry([0.5, 0.5], (1, 2))),
            looking("baseline", 3),
            looking("student", 1, entry([0.6, 0.9, 0.6], (1, 2, 5))),
            looking("student", 2, entry([NAN, 0.7], (1, 2))),
            looking("student", 3, entry([0.9, 0.9], (1, 2))),
        ]
    )
    row = rows_of(attribution_table(cells))[0.1, 2]
    # left: image 1 of seed 1 (+0.1) and image 2 of seed 2 (+0.2)
    assert (row["n_seeds"], row["n_images"], row["n_pairs"]) == (2, 2, 2)
    assert row["difference"] == pytest.approx(0.15)


def test_ways_of_asking_are_never_mixed() -> None:
    masks = {"segmentation": "masks-0123456789abcdef"}
    cells = table(
        [
            looking("baseline", 1, entry([0.5, 0.5]), entry([0.1, 0.1], **masks)),
            looking("baseline", 2, entry([0.5, 0.5])),
            looking("student", 1, entry([0.7, 0.7]), entry([0.2, 0.2], **masks)),
        ]
    )
    found = attribution_table(cells)
    students = found[found["role"] == "student"].set_index("segmentation")["difference"]
    assert students.to_dict() == pytest.approx({"border-otsu": 0.2, masks["segmentation"]: 0.1})
    first, second = attribution_ways(cells)
    assert (first.segmentation, second.segmentation) == ("border-otsu", masks["segmentation"])
    assert "what differs in colour from the image's border" in first.sentences()
    assert "Objects are given by a file (masks-0123456789abcdef)." in second.sentences()
    assert "of the logit of the true class, for 200 test images" in first.sentences()


def test_students_without_a_baseline_have_shares_and_no_difference() -> None:
    cells = table([looking("student", seed, entry([0.7, 0.5])) for seed in SEEDS])
    (row,) = attribution_table(cells).to_dict("records")
    assert (row["share"], row["n_pairs"], row["verdict"]) == (pytest.approx(0.6), 0, "cannot say")
    assert np.isnan(row["difference"])


def test_where_nobody_was_asked_there_is_nothing() -> None:
    cells = table([cell("baseline", 1, 80.0), cell("student", 1, 81.0)])
    for frame in (cells, cells.assign(attributions=None)):
        assert attribution_ways(frame) == []
        assert attribution_table(frame).empty
        assert attribution_numbers(frame) is None
        with pytest.raises(ValueError, match="was asked where it looks"):
            attribution_violins(frame)


def test_the_test_of_many_images_agrees_with_the_exact_one() -> None:
    rng = np.random.default_rng(3)
    for images in (EXACT_AT_MOST, EXACT_AT_MOST + 1):
        base, rows = rng.uniform(0.3, 0.6, images), range(images)
        moved = base + rng.normal(0.006, 0.05, images)
        cells = table(
            [looking("baseline", 1, entry(base, rows)), looking("student", 1, entry(moved, rows))]
        )
        p = rows_of(attribution_table(cells))[0.1, 2]["p_images"]
        exact = signed_rank_p(moved - base)
        assert 1e-6 < p < 0.9
        assert (p == exact) == (images == EXACT_AT_MOST)
        assert p == pytest.approx(exact, rel=0.05)  # its tails are a little thinner


def test_shares_of_images_are_means_over_trials() -> None:
    entries = pd.Series([entry([0.2, 0.4], (9, 4)), entry([0.4, NAN], (9, 4))])
    assert image_shares(entries).to_dict() == pytest.approx({4: 0.4, 9: 0.3})


# The figure


def test_violins_by_hand() -> None:
    numbers = attribution_numbers(study())
    assert numbers is not None
    shown = {violin.label: violin for violin in numbers.violins}
    assert list(shown) == [
        "baseline", "small teacher, alpha 0.1, switch 2", "small teacher, alpha 0.1, switch 3",
    ]  # fmt: skip
    assert shown["baseline"].shares == pytest.approx((50, 60))
    assert list(shown.values())[1].shares == pytest.approx((52, 64))
    assert list(shown.values())[1].seeds == 7
    assert numbers.title == (
        "Digits: values on the object, baseline 55.0 %; of 2 students 1 clearly more and none "
        "clearly less"
    )
    assert "Objects are found without any network" in numbers.note
    figure = draw(numbers)
    assert [trace.type for trace in figure.data] == ["violin"] * 3
    assert list(figure.data[1].y) == pytest.approx([52, 64])
    assert figure.layout.title.text == numbers.title


def test_violins_are_narrowed_and_thinned_out() -> None:
    numbers = attribution_numbers(study(), switch_epoch=3)
    assert numbers is not None
    assert [violin.role for violin in numbers.violins] == ["baseline", "student"]
    with pytest.raises(ValueError, match="switch_epoch: 9 is not one of 2, 3"):
        attribution_numbers(study(), switch_epoch=9)
    rows = [looking("baseline", 1, entry([0.5, 0.6]))]
    rows += [looking("student", 1, entry([0.6, 0.6]), switch_epoch=e) for e in range(1, 12)]
    numbers = attribution_numbers(table(rows))
    assert numbers is not None
    assert (len(numbers.violins), numbers.left_out) == (8, 4)
    assert "4 configurations not drawn; the table has all." in numbers.note
    assert numbers.title == (
        "Digits: values on the object, baseline 55.0 %, students 60.0 %; too few seeds to say more"
    )


# The table and the report


def test_the_table_has_baselines_first() -> None:
    cells = study()
    way = attribution_ways(cells)[0]
    made = tables.attribution(attribution_table(cells), cells, way)
    assert made is not None
    at = {name: position for position, name in enumerate(made.columns)}
    first, second = made.rows[:2]
    assert first[0].text == "baseline"
    assert second[at["share on object"]].text == "58.0 %"
    assert second[at["difference"]].text == "+3.0"
    assert second[at["p (seeds)"]].text == "0.016"
    assert second[at["verdict"]].text == "more on the object"
    other = Way("expected-gradients", "label", "masks-0", 1, 1, 1)
    assert tables.attribution(attribution_table(cells), cells, other) is None


def test_the_report_says_which_objects_were_taken() -> None:
    page = render_report(study(), None, ReportInfo("s"))
    assert page.count("Where do networks look?") == 1
    assert "found without any network" in page
    assert 'id="f0-looks"' in page
    without = render_report(grid(), None, ReportInfo("s"))
    assert "Where do networks look?" not in without
    assert "Where networks look" not in without

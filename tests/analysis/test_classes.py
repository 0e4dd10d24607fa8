"""Class by class: scores, errors, confusion matrices, and what became of wrong labels."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import tables
from analysis.best_student import best_student
from analysis.cells import tidy
from analysis.classes import class_scores, error_reduction
from analysis.confusions import mean_confusion
from analysis.figures.confusion import confusion_numbers, draw
from analysis.figures.label_correction import label_correction_numbers
from analysis.report import ReportInfo, render_report
from tests.analysis.tables import cell, grid, table
from tests.analysis.test_report import Page


def _classified(role: str, seed: int, counts: list[list[int]], **more: Any) -> dict[str, Any]:
    """A cell with all that follows from its confusion matrix."""
    hits = [row[c] for c, row in enumerate(counts)]
    support = [sum(row) for row in counts]
    named = [sum(column) for column in zip(*counts, strict=True)]
    classes = []
    for label, (hit, rows, said) in enumerate(zip(hits, support, named, strict=True)):
        precision, recall = hit / said if said else 0.0, hit / rows if rows else 0.0
        f1 = 2 * hit / (rows + said) if rows + said else 0.0
        classes.append({"label": label, "precision": precision, "recall": recall, "f1": f1,
                        "support": rows})  # fmt: skip
    accuracy = 100 * sum(hits) / sum(support)
    return cell(role, seed, accuracy, confusion=counts, per_class=classes, **more)


def study() -> pd.DataFrame:
    """Two seeds; class 0 has ten rows, class 1 twenty, class 2 none."""
    return table(
        [
            _classified("baseline", 1, [[8, 2, 0], [5, 15, 0], [0, 0, 0]]),
            _classified("baseline", 2, [[6, 4, 0], [5, 15, 0], [0, 0, 0]]),
            _classified("student", 1, [[9, 1, 0], [5, 14, 1], [0, 0, 0]]),
            _classified("student", 2, [[9, 1, 0], [1, 19, 0], [0, 0, 0]]),
            _classified("student", 1, [[5, 5, 0], [9, 11, 0], [0, 0, 0]], switch_epoch=3),
            _classified("student", 2, [[5, 5, 0], [9, 11, 0], [0, 0, 0]], switch_epoch=3),
        ]
    )


def test_scores_by_hand():
    scores = class_scores(study())
    base = scores[scores["role"] == "baseline"].iloc[0]
    # recall of seed 1: (0.8 + 0.75) / 2, of seed 2: (0.6 + 0.75) / 2; the empty class has none
    assert base["recall"] == pytest.approx(100 * (0.775 + 0.675) / 2)
    assert base["recall_deviation"] == pytest.approx(100 * 0.1 / math.sqrt(2))
    # precision of seed 1: (8/13 + 15/17) / 2, of seed 2: (6/11 + 15/19) / 2
    first, second = (8 / 13 + 15 / 17) / 2, (6 / 11 + 15 / 19) / 2
    assert base["precision"] == pytest.approx(50 * (first + second))
    # F1 of seed 1: 16/23 and 30/37, of seed 2: 12/21 and 30/39
    assert base["f1"] == pytest.approx(25 * (16 / 23 + 30 / 37 + 12 / 21 + 30 / 39))
    assert base["n"] == 2
    own = tidy(study())
    shown = tables.class_scores(scores, own)
    assert shown is not None
    assert [row[0].text for row in shown.rows] == ["baseline", "small", "small"]
    assert [row[2].text for row in shown.rows] == ["–", "2", "3"]  # best mean first
    assert shown.rows[0][5].text == "72.50 ± 7.07"
    assert class_scores(grid()).empty


def test_error_reduction_by_hand():
    found = error_reduction(study())
    best = found[found["switch_epoch"] == 2].set_index("label")
    assert list(best.index) == [0, 1]
    # class 0: 20 and 40 % to 10 and 10 %; class 1: 25 and 25 % to 30 and 5 %
    assert best["baseline_error"].tolist() == pytest.approx([30, 25])
    assert best["student_error"].tolist() == pytest.approx([10, 17.5])
    assert best["reduction"].tolist() == pytest.approx([100 * 20 / 30, 30])
    assert best["difference"].tolist() == pytest.approx([-20, -7.5])
    # differences -10, -30: t(1) at 97.5 % is 12.7062, deviation sqrt(200)
    assert best["ci_high"][0] == pytest.approx(-20 + 12.7062 * 10, abs=1e-3)
    worse = found[found["switch_epoch"] == 3].set_index("label")
    assert worse["reduction"].tolist() == pytest.approx(
        [100 * (30 - 50) / 30, 100 * (25 - 45) / 25]
    )
    shown = tables.error_reduction(found[found["switch_epoch"] == 2], "it")
    assert shown is not None
    assert [entry.text for entry in shown.rows[1]][:4] == ["1", "25.00", "17.50", "−7.50"]
    assert error_reduction(grid()).empty


def test_no_error_leaves_nothing_to_reduce():
    rows = [
        _classified("baseline", 1, [[4, 0], [1, 3]]),
        _classified("student", 1, [[3, 1], [0, 4]]),
    ]
    found = error_reduction(table(rows))
    assert math.isnan(found["reduction"][0])
    assert found["difference"][0] == pytest.approx(25)
    assert found["reduction"][1] == pytest.approx(100)


def test_the_best_student_has_its_own_baseline():
    frame = study()
    long = frame.assign(epochs=30, trial_id=frame["trial_id"] + "-30")
    long["test_metric"] = long["test_metric"] - 1
    best = best_student(tidy(pd.concat([frame.assign(epochs=10), long], ignore_index=True)))
    assert best is not None
    assert best.label == "small teacher, alpha 0.1, switch 2, epochs 10"
    assert best.students["epochs"].tolist() == best.baselines["epochs"].tolist() == [10, 10]
    assert len(best.students) == len(best.baselines) == 2
    assert best_student(tidy(frame[frame["role"] == "baseline"])) is None


def test_confusion_by_hand():
    numbers = confusion_numbers(study())
    assert numbers is not None
    assert numbers.baseline_shares[:2].tolist() == [[70, 30, 0], [25, 75, 0]]
    assert np.isnan(numbers.baseline_shares[2]).all()
    assert numbers.student_shares[:2].tolist() == [[90, 10, 0], [15, 82.5, 2.5]]
    assert numbers.change[:2].tolist() == [[20, -20, 0], [-10, 7.5, 2.5]]
    assert numbers.seeds == (2, 2)
    assert numbers.title == (
        "Digits: of 2 classes the best student (small teacher, alpha 0.1, switch 2) gets 2 right "
        "more often than the baseline and none less often"
    )
    drawn = draw(numbers)
    assert drawn.data[2].text[0] == ["+20.0", "−20.0", ""]
    # better is the same colour on the diagonal and beside it
    assert drawn.data[2].z[:2].tolist() == [[20, 20, 0], [10, 7.5, -2.5]]
    assert [trace.z.shape for trace in drawn.data] == [(3, 3)] * 3
    assert confusion_numbers(grid()) is None
    with pytest.raises(ValueError, match="no student and baseline with a confusion matrix"):
        analysis.confusion_heatmaps(grid())
    with pytest.raises(ValueError, match="dataset: 'mnist' is not one of digits"):
        analysis.confusion_heatmaps(study(), dataset="mnist")


def test_matrices_of_two_sizes_have_no_mean():
    rows = tidy(table([_classified("baseline", 1, [[1, 0], [0, 1]]),
                       _classified("baseline", 2, [[1, 0, 0], [0, 1, 0], [0, 0, 1]])]))  # fmt: skip
    with pytest.raises(ValueError, match=r"matrices of sizes \(2, 2\) and \(3, 3\)"):
        mean_confusion(rows)


def _tracked(role: str, seed: int, corrected: int, **more: Any) -> dict[str, Any]:
    counts = {"rows": 20, "corrected": corrected, "memorised": 18 - corrected, "other": 2}
    return cell(role, seed, 80.0, perturbed=counts, **more)


def test_label_correction_over_alpha_by_hand():
    rows = [_tracked("baseline", seed, 8 + seed) for seed in (0, 2)]
    for alpha, corrected in ((0.1, 14), (0.9, 10)):
        rows += [_tracked("student", seed, corrected + seed, alpha=alpha) for seed in (0, 2)]
    numbers = label_correction_numbers(table(rows))
    assert numbers is not None
    assert (numbers.x, [panel.measure for panel in numbers.panels]) == (
        "alpha", ["corrected", "memorised"]
    )  # fmt: skip
    corrected, memorised = numbers.panels
    # 14 and 16 of 20, 10 and 12 of 20; memorised 4 and 2, 8 and 6
    assert dict(zip(corrected.points["x"], corrected.points["mean"], strict=True)) == {
        0.1: 75,
        0.9: 55,
    }
    assert dict(zip(memorised.points["x"], memorised.points["mean"], strict=True)) == {
        0.1: 15,
        0.9: 35,
    }
    assert corrected.baselines["mean"].tolist() == [45]
    assert label_correction_numbers(grid()) is None
    with pytest.raises(ValueError, match="no finished trial tracked perturbed labels"):
        analysis.label_correction(grid())


def test_label_correction_of_one_setting_is_bars():
    rows = [_tracked("baseline", seed, 8) for seed in (1, 2)]
    rows += [_tracked("student", seed, 12) for seed in (1, 2)]
    numbers = label_correction_numbers(table(rows))
    assert numbers is not None
    assert numbers.categories == ("baseline", "student")
    points = numbers.panels[0].points
    assert dict(zip(points["x"], points["mean"], strict=True)) == {"baseline": 40, "student": 60}


def test_the_report_shows_classes_and_labels_where_they_are():
    few = {"teachers": ("small",), "alphas": (0.1, 0.9), "epochs": (1,)}
    page = Page(render_report(grid(**few, by_class=True), None, ReportInfo(study="s")))
    assert {"f0-confusion", "f0-labels"} <= page.ids
    for text in (
        "Class by class",
        "error reduction",
        "Precision, recall and F1",
        "Perturbed labels",
    ):
        assert text in page.text
    bare = Page(render_report(grid(**few), None, ReportInfo(study="s")))
    assert not {"f0-confusion", "f0-labels"} & bare.ids
    assert "Class by class" not in bare.text

"""Figures and tables that a study file states."""

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import tables
from analysis.figures.stated import draw, stated_numbers
from analysis.report import ReportInfo, render_report
from analysis.stated_tables import stated_table
from tests.analysis.tables import cell, table
from tests.analysis.test_report import Page

SEEDS = (1, 2, 3)
FIGURE = {"title": "Accuracy: over alpha", "x": "alpha", "y": ["accuracy"], "lines": ["start"],
          "where": {"epochs": 10}, "baseline": True, "teacher": True}  # fmt: skip


def study() -> pd.DataFrame:
    """Two starts, alphas 0.1 and 0.9, 10 and 30 epochs; three seeds at -1, 0, +1 around a mean.

    Means: 80 + 10 alpha, +2 for uniform-pad, +5 for 30 epochs. Baselines 70 and 75, teachers 60
    (seed 1, chosen), 62, 64. Under attack 10 less at 0.01, 30 less at 0.05.
    """
    rows = []

    def add(role, seed, mean, **more):
        value = mean + (seed - 2)
        points = [{"attack": "fgsm-all", "epsilon": e, "value": value - d}
                  for e, d in ((0.01, 10.0), (0.05, 30.0))]  # fmt: skip
        rows.append(cell(role, seed, value, robustness=points, **more))

    for seed in SEEDS:
        rows.append(cell("teacher", seed, 58.0 + 2 * seed, epochs=10, start=None))
        for epochs in (10, 30):
            longer = 5.0 * (epochs == 30)
            trial = f"baseline-{epochs}-{seed}"
            add("baseline", seed, 70.0 + longer, epochs=epochs, start=None, trial_id=trial)
            for start, more in (("zero-pad", 0.0), ("uniform-pad", 2.0)):
                for alpha in (0.1, 0.9):
                    add("student", seed, 80.0 + 10 * alpha + longer + more, epochs=epochs,
                        start=start, alpha=alpha, teacher_trial_id="digits-teacher-small-None-None-None-1",
                        trial_id=f"student-{epochs}-{start}-{alpha}-{seed}")  # fmt: skip
    return table(rows)


def _points(panel, label):
    part = panel.points[panel.points["line"] == label]
    return dict(zip(part["x"], part["mean"], strict=True))


def test_a_figure_by_hand():
    numbers = stated_numbers(study(), FIGURE)
    assert numbers is not None
    assert [line.label for line in numbers.lines] == ["zero-pad", "uniform-pad"]
    (panel,) = numbers.panels
    assert _points(panel, "zero-pad") == pytest.approx({0.1: 81, 0.9: 89})
    assert _points(panel, "uniform-pad") == pytest.approx({0.1: 83, 0.9: 91})
    first = panel.points.iloc[0]
    # deviation 1 over three seeds
    assert first["ci_high"] - first["mean"] == pytest.approx(4.302653 / np.sqrt(3), abs=1e-5)
    (base,) = panel.baselines.to_dict("records")
    assert base["mean"] == 70  # of 10 epochs, as the figure's own cells
    (teacher,) = panel.teachers.to_dict("records")
    assert (teacher["line"], teacher["mean"]) == ("small", 60)  # the chosen one, not the mean 62
    assert numbers.averaged == ()
    assert panel.y_title == "Test accuracy (%)"


def test_what_a_point_is_averaged_over_is_said():
    numbers = stated_numbers(study(), {**FIGURE, "where": {}, "lines": []})
    assert numbers is not None
    assert numbers.averaged == ("epochs", "start")
    assert "Of each seed the mean over epochs and start." in numbers.note
    assert _points(numbers.panels[0], "student") == pytest.approx({0.1: 84.5, 0.9: 92.5})
    # both baselines' mean, as both epochs are shown
    assert numbers.panels[0].baselines["mean"].tolist() == [72.5]


def test_baselines_run_over_a_parameter_of_their_own():
    figure = {"title": "T", "x": "epochs", "y": "accuracy", "lines": ["alpha"], "baseline": True}
    numbers = stated_numbers(study(), figure)
    assert numbers is not None
    bases = numbers.panels[0].baselines
    assert dict(zip(bases["x"], bases["mean"], strict=True)) == {10: 70.0, 30: 75.0}
    assert [line.label for line in numbers.lines] == ["alpha 0.1", "alpha 0.9"]


def test_under_attack_a_trial_is_a_line_from_the_clean_figure_on():
    figure = {"title": "T", "x": "epsilon", "attack": "fgsm-all", "lines": ["alpha"],
              "where": {"epochs": 10, "start": "zero-pad"}, "baseline": True}  # fmt: skip
    given = [
        {"where": {**figure["where"], "alpha": 0.9}, "measure": "fgsm-all 0.05", "value": 58.5}
    ]
    numbers = stated_numbers(study(), figure, given)
    assert numbers is not None
    (panel,) = numbers.panels
    assert _points(panel, "alpha 0.1") == pytest.approx({0: 81, 0.01: 71, 0.05: 51})
    assert dict(zip(panel.baselines["x"], panel.baselines["mean"], strict=True)) == pytest.approx(
        {0: 70, 0.01: 60, 0.05: 40}
    )
    assert panel.published[["line", "x", "value"]].to_numpy().tolist() == [
        ["alpha 0.9", 0.05, 58.5]
    ]
    assert stated_numbers(study(), {**figure, "attack": "pgd"}) is None


def test_text_makes_bars_in_the_order_that_is_asked_for():
    figure = {"title": "T", "x": "start", "y": "accuracy", "lines": ["epochs"],
              "where": {"start": ["uniform-pad", "zero-pad"], "alpha": 0.9}, "baseline": True}  # fmt: skip
    numbers = stated_numbers(study(), figure)
    assert numbers is not None
    assert numbers.categories == ("uniform-pad", "zero-pad")
    assert _points(numbers.panels[0], "epochs 30") == pytest.approx(
        {"zero-pad": 94, "uniform-pad": 96}
    )
    assert dict(
        zip(numbers.panels[0].baselines["named"], numbers.panels[0].baselines["mean"], strict=True)
    ) == {"baseline, epochs 10": 70, "baseline, epochs 30": 75}
    drawn = draw(numbers)
    assert [trace.type for trace in drawn.data].count("bar") == 2
    assert drawn.layout.xaxis.categoryarray == ("uniform-pad", "zero-pad")


def test_a_published_value_stands_where_its_cells_are_a_whole_point():
    where = {"epochs": 10, "start": "zero-pad"}
    given = [
        {"where": {**where, "alpha": 0.1}, "measure": "accuracy", "value": 80.5},
        {"where": where, "measure": "accuracy", "value": 1.0},  # two points
        {"where": {"start": "zero-pad", "alpha": 0.9}, "measure": "f1", "value": 2.0},
        {"where": {"role": "baseline"}, "measure": "accuracy", "value": 3.0},
    ]
    numbers = stated_numbers(study(), FIGURE, given)
    assert numbers is not None
    assert numbers.panels[0].published.to_numpy().tolist() == [["zero-pad", 0.1, 80.5, "published"]]
    whole = stated_numbers(study(), {**FIGURE, "where": {}, "lines": []}, given)
    assert whole is not None
    assert whole.panels[0].published.empty  # half of what the point is averaged over


def test_a_panel_for_each_measure_and_dataset():
    both = pd.concat([study(), study().assign(dataset="mnist")], ignore_index=True)
    both["trial_id"] += both["dataset"]
    numbers = stated_numbers(both, {**FIGURE, "y": ["accuracy", "fgsm-all 0.05"]})
    assert numbers is not None
    assert [(panel.dataset, panel.measure) for panel in numbers.panels] == [
        ("digits", "accuracy"), ("mnist", "accuracy"),
        ("digits", "fgsm-all 0.05"), ("mnist", "fgsm-all 0.05"),
    ]  # fmt: skip
    for narrow in (False, True):
        drawn = draw(numbers, narrow)
        assert len({trace.xaxis for trace in drawn.data}) == 4
        named = [trace.name for trace in drawn.data if trace.showlegend is not False]
        assert len(named) == len(set(named))


def test_figures_that_cannot_be_are_refused():
    for wrong, message in (
        ({"x": "epsilon"}, "x = 'epsilon' and an attack go together"),
        ({"attack": "fgsm"}, "x = 'epsilon' and an attack go together"),
        ({"x": "alfa"}, "'alfa' is no column"),
        ({"lines": ["starts"]}, "'starts' is no column"),
        ({"where": {"strat": 1}}, "'strat' is no column"),
        ({"y": "acc"}, "'acc' is not one of"),
    ):
        with pytest.raises(ValueError, match=message):
            stated_numbers(study(), {**FIGURE, **wrong})
    with pytest.raises(ValueError, match="figure 'Accuracy: over alpha': no cell"):
        analysis.stated_figure(study(), {**FIGURE, "where": {"epochs": 11}})


TABLE = {
    "title": "After 10 and 30 epochs",
    "rows": ["start"],
    "measures": [
        {"measure": "accuracy", "heading": "after 10", "where": {"epochs": 10}},
        {"measure": "accuracy", "heading": "after 30", "where": {"epochs": 30}},
        {"measure": "fgsm-all 0.05", "where": {"epochs": 10}},
    ],
    "where": {"alpha": 0.9},
}


def test_a_table_by_hand():
    frame = study()
    gone = (frame["start"] == "zero-pad") & (frame["epochs"] == 30) & (frame["seed"] == 3)
    frame.loc[gone, ["status", "test_metric"]] = ["failed", None]
    given = [{"where": {"start": "zero-pad", "alpha": 0.9, "epochs": 10}, "measure": "accuracy",
              "value": 88.8}]  # fmt: skip
    found = stated_table(frame, TABLE, given)
    assert found["mean"].tolist() == pytest.approx([89, 93.5, 59, 91, 96, 61])
    assert found["n"].tolist() == [3, 2, 3, 3, 3, 3]
    assert found["deviation"].tolist() == pytest.approx([1, np.sqrt(0.5), 1, 1, 1, 1])
    shown = tables.stated(found, TABLE["title"])
    assert shown is not None
    assert shown.columns == (
        "start", "after 10", "after 10, published", "after 30",
        "Test accuracy (%) under FGSM (all) 0.05",
    )  # fmt: skip
    assert [[entry.text for entry in row] for row in shown.rows] == [
        ["zero-pad", "89.00 ± 1.00", "88.80", "93.50 ± 0.71 (n = 2 of 3)", "59.00 ± 1.00"],
        ["uniform-pad", "91.00 ± 1.00", "–", "96.00 ± 1.00", "61.00 ± 1.00"],
    ]
    assert shown.rows[0][3].sort == pytest.approx(93.5)


def test_rows_come_as_asked_for_and_deviation_may_be_the_populations():
    where = {"alpha": 0.9, "start": ["uniform-pad", "zero-pad"]}
    found = stated_table(study(), {**TABLE, "where": where, "deviation": "population"})
    assert found["start"].drop_duplicates().tolist() == ["uniform-pad", "zero-pad"]
    assert found["deviation"].tolist() == pytest.approx([np.sqrt(2 / 3)] * 6)
    with pytest.raises(ValueError, match="deviation: 'half' is not one of sample, population"):
        stated_table(study(), {**TABLE, "deviation": "half"})
    with pytest.raises(ValueError, match="table: 'starts' is no column"):
        stated_table(study(), {**TABLE, "rows": ["starts"]})


def test_baselines_and_students_share_a_table():
    wanted = {"rows": ["role", "epochs"], "measures": ["accuracy"],
              "where": {"role": ["baseline", "student"], "start": ["none", "zero-pad"]}}  # fmt: skip
    found = stated_table(study(), {"title": "T", **wanted})
    assert list(zip(found["role"], found["epochs"], found["mean"], strict=True)) == [
        ("baseline", 10, 70.0), ("baseline", 30, 75.0),
        ("student", 10, pytest.approx(85.0)), ("student", 30, pytest.approx(90.0)),
    ]  # fmt: skip
    assert found["configurations"].tolist() == [1, 1, 2, 2]
    shown = tables.stated(found, "T")
    assert shown is not None
    assert [row[1].sort for row in shown.rows] == [10.0, 30.0, 10.0, 30.0]  # as numbers
    assert tables.stated(stated_table(study(), {**TABLE, "where": {"alpha": 0.7}}), "T") is None


def test_the_report_shows_what_is_stated():
    given = ({"where": {"start": "zero-pad", "alpha": 0.9, "epochs": 10}, "measure": "accuracy",
              "value": 88.8, "source": "Table <I>"},)  # fmt: skip
    later = {**TABLE, "title": "Never run", "where": {"alpha": 0.7}}
    info = ReportInfo(study="s", published=given, figures=(FIGURE,), tables=(TABLE, later))
    page = Page(render_report(study(), None, info))
    assert {"stated", "stated0"} <= page.ids
    for text in ("Accuracy: over alpha", "After 10 and 30 epochs", "Published and found",
                 "88.80", "Table <I>", "Nothing to show yet: Never run.",
                 "Hollow marks are published values."):  # fmt: skip
        assert text in page.text, text
    few = study()[lambda cells: cells["epochs"] == 10]
    assert "stated" not in Page(render_report(few, None, ReportInfo(study="s"))).ids


def test_networks_come_by_size():
    rows = [
        cell("student", seed, 80.0 + seed, teacher=teacher, alpha=alpha)
        for teacher in ("large", "medium", "small")
        for alpha in (0.1, 0.9)
        for seed in SEEDS
    ]
    figure = {"title": "T", "x": "teacher", "y": "accuracy", "lines": ["alpha"]}
    numbers = stated_numbers(table(rows), figure)
    assert numbers is not None
    assert numbers.categories == ("small", "medium", "large")
    figure = {"title": "T", "x": "alpha", "y": "accuracy", "lines": ["teacher"]}
    numbers = stated_numbers(table(rows), figure)
    assert numbers is not None
    assert [line.label for line in numbers.lines] == [
        "small teacher", "medium teacher", "large teacher"
    ]  # fmt: skip
    found = stated_table(table(rows), {"rows": ["teacher"], "measures": ["accuracy"]})
    assert found["teacher"].tolist() == ["small", "medium", "large"]


def test_a_level_that_some_never_reach_says_how_many_did():
    def curve(reached):
        return [{"epoch": e, "split": "test", "metric": 95.0 if e >= reached else 50.0, "loss": 1.0}
                for e in (1, 2, 3, 4)]  # fmt: skip

    rows = [cell("student", seed, 80.0, curve=curve(at)) for seed, at in ((1, 2), (2, 4), (3, 9))]
    wanted = {"title": "T", "rows": ["teacher"], "measures": ["epoch_at 90"]}
    found = stated_table(table(rows), wanted)
    assert found[["n", "n_asked", "mean"]].to_numpy().tolist() == [[2, 3, 3.0]]
    shown = tables.stated(found, "T")
    assert shown is not None
    assert shown.rows[0][1].text == "3.0 ± 1.4 (n = 2 of 3)"
    numbers = stated_numbers(table(rows), {"title": "T", "x": "alpha", "y": "epoch_at 90"})
    assert numbers is not None
    assert "of the seeds that reached it" in numbers.note


def test_intervals_of_two_seeds_do_not_flatten_a_figure():
    rows = [
        cell("student", seed, value + seed / 10, alpha=alpha)
        for alpha, value in ((0.1, 80.0), (0.9, 84.0))
        for seed in (1, 2)
    ]
    figure = {"title": "T", "x": "alpha", "y": "accuracy"}
    numbers = stated_numbers(table(rows), figure)
    assert numbers is not None
    # means 80.15 and 84.15, room of a twentieth on either side; the intervals are 1.3 wide
    assert draw(numbers).layout.yaxis.range == pytest.approx((79.95, 84.35))
    whole = stated_numbers(study(), FIGURE)
    assert whole is not None
    assert draw(whole).layout.yaxis.range is None


def test_teachers_may_differ_along_the_axis_and_have_names_of_their_own():
    rows = [cell("teacher", seed, 60.0 + seed, trial_id=f"t{seed}") for seed in SEEDS]
    rows += [
        cell(
            "student",
            seed,
            80.0,
            epochs=epochs,
            teacher="small+large",
            teacher_trial_id=f"t{chosen}",
        )
        for epochs, chosen in ((10, 1), (30, 3))
        for seed in SEEDS
    ]
    frame = table([{"epochs": 10, **row} for row in rows])
    figure = {"title": "T", "x": "epochs", "y": "accuracy", "teacher": True}
    numbers = stated_numbers(frame, figure)
    assert numbers is not None
    assert numbers.panels[0].teachers.to_numpy().tolist() == [
        ["small+large", 10, 61.0], ["small+large", 30, 63.0]
    ]  # fmt: skip
    bare = stated_numbers(frame.assign(teacher_trial_id=None), figure)
    assert bare is not None
    assert bare.panels[0].teachers.empty  # nobody knows who taught
    named = frame.assign(
        teacher_trial_id=None, teacher=frame["teacher"].replace("small+large", "small")
    )
    known = stated_numbers(named, figure)
    assert known is not None
    assert known.panels[0].teachers["mean"].tolist() == [62.0]

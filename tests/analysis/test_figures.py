import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import analysis
from analysis.figures import fgsm, heatmap, losses, seeds, switch_epoch, teachers
from analysis.figures.choice import evenly
from tests.analysis.tables import SEEDS, cell, grid, small_study, table

MODULES = {
    "switch": (switch_epoch.switch_epoch_numbers, switch_epoch.draw),
    "heatmap": (heatmap.heatmap_numbers, heatmap.draw),
    "seeds": (seeds.seed_numbers, seeds.draw),
    "losses": (losses.loss_numbers, losses.draw),
    "teachers": (teachers.teacher_numbers, teachers.draw),
    "fgsm": (fgsm.fgsm_numbers, fgsm.draw),
}
STUDIES = {
    "full": grid(),
    "mse": grid("california_housing", "mse"),
    "one seed": grid(seeds=(1,)),
    "one alpha": grid(alphas=(0.5,)),
    "one switch": grid(epochs=(2,), teachers=("small",)),
    "many alphas": grid(alphas=tuple(round(0.05 * i, 2) for i in range(1, 15)), seeds=(1, 2)),
    "no baseline": grid()[lambda f: f["role"] != "baseline"],
    "holes": grid().assign(
        status=lambda f: ["failed" if i % 3 else "done" for i in range(len(f))],
        test_metric=lambda f: [np.nan if i % 3 else v for i, v in enumerate(f["test_metric"])],
    ),
}


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("module", MODULES)
def test_every_figure_draws_every_shape_of_study(module, study):
    compute, draw = MODULES[module]
    numbers = compute(STUDIES[study])
    assert numbers is not None
    wide, narrow = draw(numbers), draw(numbers, narrow=True)
    assert isinstance(wide, go.Figure)
    assert len(wide.data) > 0
    assert str(wide.layout.title.text).startswith(("Digits: ", "California Housing: "))
    # A page switches layouts and keeps the traces: both drawings need the same axes.
    assert [trace.yaxis for trace in wide.data if "yaxis" in trace] == [
        trace.yaxis for trace in narrow.data if "yaxis" in trace
    ]


@pytest.mark.parametrize("module", [m for m in MODULES if m != "teachers"])
def test_without_students_there_is_no_figure(module):
    frame = grid()
    assert MODULES[module][0](frame[frame["role"] != "student"]) is None


def test_asking_for_a_figure_without_numbers_is_an_error():
    frame = grid()[lambda f: f["role"] == "baseline"]
    for function in (analysis.guidance_heatmaps, analysis.seed_boxplots, analysis.fgsm_summary):
        with pytest.raises(ValueError, match="no student"):
            function(frame)
    with pytest.raises(ValueError, match="no teacher is finished"):
        analysis.teacher_boxplots(frame)


def test_switch_epoch_numbers_by_hand():
    numbers = switch_epoch.switch_epoch_numbers(small_study())
    assert numbers is not None
    assert numbers.points["mean"].tolist() == [82.0, 79.5]
    assert numbers.points["n"].tolist() == [3, 2]
    assert numbers.baseline is not None
    assert numbers.baseline.mean == 80.0
    assert "1 of 2 means are better than the baseline's 80.00 %" in numbers.title


def test_a_disastrous_cell_does_not_flatten_the_others():
    rows = [cell("baseline", s, 80.0 + s / 10) for s in (1, 2, 3)]
    rows += [
        cell("student", s, (10.0 if e == 9 else 80.0) + s / 10 + e / 10, switch_epoch=e)
        for e in range(1, 10)
        for s in (1, 2, 3)
    ]
    numbers = switch_epoch.switch_epoch_numbers(table(rows))
    assert numbers is not None
    assert numbers.shown[0] > 70
    drawn = switch_epoch.draw(numbers)
    texts = [note.text for note in drawn.layout.annotations]
    assert "↓ alpha 0.1: 11.10 at 9" in texts


def test_heatmap_midpoint_is_the_baseline(published):
    numbers = heatmap.heatmap_numbers(published, "cifar10")
    assert numbers is not None
    assert round(numbers.midpoint, 2) == 76.93
    assert numbers.means["small"].shape == (3, 15)
    drawn = heatmap.draw(numbers).layout.coloraxis
    assert drawn.cmid == numbers.midpoint
    assert drawn.cmax - drawn.cmid == pytest.approx(drawn.cmid - drawn.cmin)
    row, column = numbers.alphas.index(0.9), numbers.switch_epochs.index(15)
    assert round(numbers.means["small"][row, column] - numbers.midpoint, 2) == 0.75
    # After Holm's correction, 135 configurations in this figure.
    assert numbers.verdicts["small"][row, column] == "no clear difference"


def test_better_has_one_colour_whatever_the_metric():
    high = heatmap.heatmap_numbers(grid())
    low = heatmap.heatmap_numbers(grid("california_housing", "mse"))
    assert high is not None
    assert low is not None
    best_accuracy = heatmap.draw(high).layout.coloraxis.colorscale[-1][1]
    best_mse = heatmap.draw(low).layout.coloraxis.colorscale[0][1]
    assert best_accuracy == best_mse


def test_a_missing_heatmap_cell_is_a_hole():
    frame = grid()
    gone = (frame["alpha"] == 0.9) & (frame["switch_epoch"] == 2) & (frame["teacher"] == "large")
    frame.loc[gone, ["status", "test_metric"]] = ["missing", np.nan]
    numbers = heatmap.heatmap_numbers(frame)
    assert numbers is not None
    assert np.isnan(numbers.means["large"][1, 1])
    assert np.isfinite(numbers.means["small"]).all()
    drawn = heatmap.draw(numbers)
    # Small comes first.
    assert drawn.data[1].text[1][1] == ""


def test_seed_numbers_hold_every_seed(published):
    numbers = seeds.seed_numbers(published, "california_housing")
    assert numbers is not None
    assert len(numbers.values) == 2025
    assert len(numbers.baseline_values) == 15
    assert len(numbers.panels) == 9


def test_the_chosen_teacher_is_marked(published):
    numbers = teachers.teacher_numbers(published, "cifar10")
    assert numbers is not None
    chosen = numbers.values[numbers.values["chosen"]]
    assert dict(zip(chosen["model"], chosen["seed"], strict=True)) == {
        "small": 10106,
        "medium": 12578,
        "large": 10106,
    }
    assert "chosen on the test split" in numbers.title


def test_loss_numbers_are_thinned(published):
    numbers = losses.loss_numbers(published, "california_housing")
    assert numbers is not None
    assert numbers.unit == "epoch"
    sizes = numbers.students.groupby(["teacher", "alpha", "switch_epoch"]).size()
    assert (sizes == 200).all()
    assert len(sizes) == 135


def test_fgsm_averages_by_hand():
    numbers = fgsm.fgsm_numbers(grid())
    assert numbers is not None
    assert numbers.epsilons == (0.0, 0.01, 0.05)
    frame = grid()
    students = frame[(frame["role"] == "student") & (frame["teacher"] == "small")]
    clean = students.groupby(["alpha", "switch_epoch"])["test_metric"].mean().mean()
    averages = numbers.averages.set_index(["epsilon", "teacher"])["mean"]
    assert averages[0.0, "small"] == pytest.approx(clean)
    assert averages[0.05, "small"] == pytest.approx(clean * 0.8)


def test_evenly_keeps_the_ends():
    assert evenly(range(100), 3) == [0, 50, 99]
    assert evenly([1, 2], 3) == [1, 2]
    assert evenly([1, 2, 3], 1) == [3]


def test_several_datasets_need_a_name():
    frame = pd.concat([grid(seeds=SEEDS[:1]), grid("mnist", seeds=SEEDS[:1])])
    with pytest.raises(ValueError, match="digits, mnist"):
        analysis.teacher_boxplots(frame)
    assert len(analysis.metric_over_switch_epoch(frame, dataset="mnist").data) > 0

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import analysis
from analysis.figures import (
    attack_boxplots,
    attack_lines,
    convergence,
    fgsm,
    heatmap,
    losses,
    seeds,
    style,
    summary_lines,
    switch_epoch,
    teacher_losses,
    teachers,
    tradeoff,
)
from analysis.figures.choice import best, evenly, narrowed
from tests.analysis.tables import SEEDS, cell, grid, small_study, table

MODULES = {
    "switch": (switch_epoch.switch_epoch_numbers, switch_epoch.draw),
    "heatmap": (heatmap.heatmap_numbers, heatmap.draw),
    "seeds": (seeds.seed_numbers, seeds.draw),
    "losses": (losses.loss_numbers, losses.draw),
    "teachers": (teachers.teacher_numbers, teachers.draw),
    "fgsm": (fgsm.fgsm_numbers, fgsm.draw),
}
MORE = {
    "summary": (switch_epoch.switch_epoch_numbers, summary_lines.draw),
    "attack lines": (fgsm.fgsm_numbers, attack_lines.draw),
    "attack boxes": (attack_boxplots.attack_box_numbers, attack_boxplots.draw),
    "tradeoff": (tradeoff.tradeoff_numbers, tradeoff.draw),
    "teacher losses": (teacher_losses.teacher_loss_numbers, teacher_losses.draw),
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


@pytest.mark.parametrize(
    ("module", "study"),
    [
        *((module, study) for module in MODULES for study in STUDIES),
        *((module, s) for module in MORE for s in ("mse", "one switch", "no baseline", "holes")),
    ],
)
def test_every_figure_draws_every_shape_of_study(module, study):
    compute, draw = (MODULES | MORE)[module]
    numbers = compute(STUDIES[study])
    assert numbers is not None
    wide, narrow = draw(numbers), draw(numbers, narrow=True)
    assert isinstance(wide, go.Figure)
    assert len(wide.data) > 0
    assert str(wide.layout.title.text).startswith(("Digits", "California Housing"))
    # A page switches layouts and keeps the traces: both drawings need the same axes.
    assert [trace.yaxis for trace in wide.data if "yaxis" in trace] == [
        trace.yaxis for trace in narrow.data if "yaxis" in trace
    ]


@pytest.mark.parametrize(
    "module", [m for m in MODULES | MORE if m not in ("teachers", "teacher losses")]
)
def test_without_students_there_is_no_figure(module):
    frame = grid()
    assert (MODULES | MORE)[module][0](frame[frame["role"] != "student"]) is None


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


def test_one_teacher_and_alpha_is_one_panel():
    numbers = seeds.seed_numbers(grid(), teacher="large", alpha=0.9)
    assert numbers is not None
    assert numbers.panels == (("large", 0.9),)
    assert set(numbers.values["teacher"]) == {"large"}
    means = numbers.values.groupby("switch_epoch")["value"].mean()
    assert f"best mean {means.max():.2f} % at switch {means.idxmax()}" in numbers.title
    curves = losses.loss_numbers(grid(), teacher="large", alpha=0.9)
    assert curves is not None
    assert curves.panels == (("large", 0.9),)
    # One panel has room to be higher.
    assert seeds.draw(numbers).layout.height > style.SINGLE_PX


def test_what_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"teacher: tiny is not one of small, large"):
        analysis.seed_boxplots(grid(), teacher="tiny")
    with pytest.raises(ValueError, match=r"alpha: 0.5 is not one of 0.1, 0.9"):
        analysis.training_losses(grid(), alpha=0.5)
    with pytest.raises(ValueError, match=r"switch_epoch: 9 is not one of 1, 2, 3"):
        analysis.attack_boxplots(grid(), switch_epoch=9)
    with pytest.raises(ValueError, match=r"under 'pgd'; there are results under fgsm"):
        analysis.attack_lines(grid(), attack="pgd")


def test_narrowed_compares_as_parameters_are_compared():
    frame = grid()[lambda f: f["role"] == "student"]
    assert len(narrowed(frame, "small", 0.1, 2)) == len(SEEDS)
    assert len(narrowed(frame)) == len(frame)


def test_best_knows_whether_high_is_good():
    points = pd.DataFrame(
        {"teacher": ["a", "b"], "alpha": [0.1, 0.9], "switch_epoch": [1, 2], "mean": [0.3, 0.2]}
    )
    assert best(points, "accuracy") == ("a", 0.1, 1)
    assert best(points, "mse") == ("b", 0.9, 2)


def test_nine_lines_are_told_apart_without_colour():
    drawn = analysis.summary_lines(grid(teachers=("small", "medium", "large")))
    looks = {
        (t.name.split(",")[0], t.line.dash, t.marker.symbol) for t in drawn.data if t.marker.symbol
    }
    assert len(looks) == 3
    assert len({dash for _, dash, _ in looks}) == 3
    assert len({symbol for _, _, symbol in looks}) == 3
    # Intervals stand beside each other: no two lines share a place.
    at = [tuple(t.x) for t in drawn.data if t.marker.symbol]
    assert len(set(at)) == len(at) == 6


def test_the_teachers_that_guided_are_drawn_apart(published):
    chosen = {
        "cifar10": {"small": (10106,), "medium": (12578,), "large": (10106,)},
        "california_housing": {"small": (1483,), "medium": (9945,), "large": (2324,)},
    }
    for dataset, seeds_of in chosen.items():
        numbers = teacher_losses.teacher_loss_numbers(published, dataset)
        assert numbers is not None
        assert numbers.chosen == seeds_of
        assert numbers.models == ("small", "medium", "large", "student")
        assert numbers.seeds.groupby(["model", "seed"]).size().le(150).all()
        assert len(numbers.seeds.groupby(["model", "seed"])) == 60


def test_teacher_losses_by_hand():
    rows = [
        cell("teacher", seed, 80.0, train_loss=[first, 1.0], trial_id=f"t{seed}")
        for seed, first in ((1, 4.0), (2, 2.0))
    ]
    rows.append(cell("student", 1, 80.0, teacher_trial_id="t2"))
    numbers = teacher_losses.teacher_loss_numbers(table(rows))
    assert numbers is not None
    assert numbers.means["mean"].tolist() == [3.0, 1.0]
    assert numbers.means["at"].tolist() == [1.0, 2.0]
    assert numbers.chosen == {"small": (2,)}
    grey = teacher_losses.draw(numbers).data[0]
    # Both seeds are one line with a gap between them.
    assert np.isnan(grey.y).tolist() == [False, False, True, False, False, True]


def test_attack_boxes_hold_every_seed_and_the_baseline():
    frame = grid()
    numbers = attack_boxplots.attack_box_numbers(frame, teacher="small", alpha=0.9, switch_epoch=2)
    assert numbers is not None
    assert numbers.epsilons == (0.0, 0.01, 0.05)
    assert (numbers.values["switch_epoch"] == 2).all()
    assert len(numbers.values) == len(numbers.baseline_values) == 3 * len(SEEDS)
    own = frame[(frame["teacher"] == "small") & (frame["alpha"] == 0.9)]
    clean = own[own["switch_epoch"] == 2]["test_metric"]
    attacked = numbers.values[numbers.values["epsilon"] == 0.05]["value"]
    assert sorted(attacked) == pytest.approx(sorted(clean * 0.8))
    base = frame[frame["role"] == "baseline"]["test_metric"]
    assert numbers.baselines[0.05].mean == pytest.approx(base.mean() * 0.8)
    gap = (clean.mean() - base.mean()) * 0.8
    assert f"{gap:+.2f}".replace("-", "−") + " points at epsilon 0.05" in numbers.title


def test_the_thesis_cell_under_fgsm(published):
    numbers = attack_boxplots.attack_box_numbers(published, "cifar10", "medium", 0.6, 15)
    assert numbers is not None
    assert numbers.epsilons == (0.0, 0.005, 0.01, 0.05)
    # More robust where the attack is weak and at equal clean accuracy; much less at 0.05.
    assert "+3.16 points at epsilon 0.005, +4.25 points at epsilon 0.01" in numbers.title
    assert "−6.16 points at epsilon 0.05" in numbers.title
    left_open = attack_boxplots.attack_box_numbers(published, "cifar10")
    assert left_open is not None
    assert (left_open.teacher, left_open.alpha) == ("small", 0.9)
    assert len(left_open.switch_epochs) == 15


def test_any_attack_can_be_drawn():
    frame = grid()
    frame["robustness"] = [
        [{**point, "attack": "input_noise"} for point in points] for points in frame["robustness"]
    ]
    for function in (
        analysis.fgsm_summary,
        analysis.attack_lines,
        analysis.attack_boxplots,
        analysis.robustness_tradeoff,
    ):
        assert "under input noise" in function(frame, attack="input_noise").layout.title.text


def test_tradeoff_counts_what_is_better_on_both_sides():
    def row(role, seed, clean, attacked, **more):
        points = [{"attack": "fgsm", "epsilon": 0.01, "value": attacked}]
        return cell(role, seed, clean, robustness=points, **more)

    rows = [row("baseline", s, 80.0 + s, 40.0 + s) for s in (0, 1)]
    for epoch, clean, attacked in ((1, 81.0, 41.0), (2, 81.0, 39.0), (3, 79.0, 45.0)):
        rows += [row("student", s, clean + s, attacked + s, switch_epoch=epoch) for s in (0, 1)]
    numbers = tradeoff.tradeoff_numbers(table(rows))
    assert numbers is not None
    assert "of 3 configurations: 1 at epsilon 0.01" in numbers.title
    assert numbers.clean is not None
    assert (numbers.clean.mean, numbers.baselines[0.01].mean) == (80.5, 40.5)
    points = numbers.points.set_index("switch_epoch")
    assert points["mean_clean"].tolist() == [81.5, 81.5, 79.5]
    assert points["mean"].tolist() == [41.5, 39.5, 45.5]


def test_what_is_far_out_is_counted(published):
    numbers = tradeoff.tradeoff_numbers(published, "cifar10")
    assert numbers is not None
    # 59.90, 71.92 and 73.67 %: beyond three box lengths of the other 132 means.
    assert numbers.left_out == 3
    assert "3 far out are not drawn" in numbers.title


def test_the_heatmap_tells_corrected_from_uncorrected():
    found = analysis.paired(grid())
    # a study of 90 further tests, in which one cell here is clear and another would be by itself
    other = pd.concat([found.assign(dataset="other")] * 8, ignore_index=True)[:90]
    study = pd.concat([found, other], ignore_index=True).assign(
        verdict=lambda t: np.where(t.index == 0, "better", "no clear difference"),
        verdict_uncorrected=lambda t: np.where(t.index < 2, "better", "no clear difference"),
    )
    numbers = heatmap.heatmap_numbers(grid(), pairs=study)
    assert numbers is not None
    assert "1 better and none worse than the baseline (paired, corrected for 102 comparisons)" in (
        numbers.title
    )
    marks = "".join(
        str(text)[-1] for row in heatmap.draw(numbers).data for t in row.text for text in t
    )
    assert marks.count(heatmap.FULL_MARK) == 1
    assert marks.count(heatmap.RING_MARK) == 1


def test_convergence_draws_what_can_be_compared():
    rows = []
    for seed in range(6):
        curve = {"train_loss_step": [5, 10, 15, 20], "steps_per_epoch": 10}
        rows.append(cell("baseline", seed, 80.0, train_loss=[4.0, 3.0, 2.0, 1.0], **curve))
        rows.append(
            cell("student", seed, 80.0, train_loss=[9.0, 9.0, 3.0, 2.0], switch_epoch=1, **curve)
        )
    numbers = convergence.convergence_numbers(table(rows))
    assert numbers is not None
    assert "of 1 of 1" not in numbers.title
    assert "of none of 1 configuration is lower" in numbers.title
    points = numbers.points.set_index("measure")["mean"]
    assert points["loss after the switch"] == pytest.approx(1.0)
    # Two points on either side: 2.5 - 9 against 1.5 - 3.5.
    assert points["jump at the switch"] == pytest.approx(-6.5 + 2.0)
    # 75 % of two epochs is epoch 1.5, loss 2: the student is there half an epoch later.
    assert points["epochs to loss"] == pytest.approx(0.5)
    assert numbers.levels == {"epochs to loss": 2.0}
    drawn = convergence.draw(numbers)
    assert [note.text for note in drawn.layout.annotations] == [
        "small: loss after the switch",
        "small: epochs to loss 2",
        "small: jump at the switch",
    ]


def test_convergence_says_what_is_censored(published):
    numbers = convergence.convergence_numbers(published, "cifar10")
    assert numbers is not None
    assert numbers.measures == ("loss after the switch", "epochs to loss", "jump at the switch")
    drawn = (numbers.points["measure"] == "epochs to loss").sum()
    # Switch 15 leaves no hard part: 126 of 135 configurations have one.
    assert drawn + numbers.censored["epochs to loss"] == 126
    assert 0 < drawn < 126


def test_a_legend_has_room_for_all_its_names():
    many = grid(teachers=("small", "medium", "large"), alphas=(0.1, 0.6, 0.9))
    few = grid(teachers=("small",), alphas=(0.1,))
    tall = analysis.summary_lines(many, narrow=True).layout
    low = analysis.summary_lines(few, narrow=True).layout
    # On a phone every name has a line of its own: eight more of them.
    assert tall.height - low.height == tall.margin.b - low.margin.b == 8 * 19


def test_a_short_range_of_losses_has_ticks_too():
    assert losses.log_ticks(pd.Series([0.1, 1.0])) == [0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
    within = [tick for tick in losses.log_ticks(pd.Series([1.4, 2.3])) if 1.4 <= tick <= 2.3]
    assert within == [1.5, 2.0]


def test_a_heatmap_of_few_seeds_says_so_and_leaves_the_baseline_itself_out():
    numbers = heatmap.heatmap_numbers(grid(seeds=range(5)))
    assert numbers is not None
    assert numbers.title.endswith("too few seeds to tell any from the baseline")
    cells = grid(teachers=("small",), epochs=(0, 1), seeds=range(6))
    base = cells[cells["role"] == "baseline"].set_index("seed")
    never = (cells["role"] == "student") & (cells["switch_epoch"] == 0)
    for column in ("trial_id", "test_metric"):
        cells.loc[never, column] = cells.loc[never, "seed"].map(base[column])
    numbers = heatmap.heatmap_numbers(cells)
    assert numbers is not None
    assert "of 2 configurations" in numbers.title
    numbers = heatmap.heatmap_numbers(cells[never | (cells["role"] == "baseline")])
    assert numbers is not None
    assert numbers.title.endswith("all of them are the baseline")


def test_convergence_of_few_seeds_claims_nothing():
    numbers = convergence.convergence_numbers(grid(seeds=range(5)))
    assert numbers is not None
    assert "how fast students learn" in numbers.title

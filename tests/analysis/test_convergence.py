import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import convergence as measures
from analysis.cells import tidy
from analysis.convergence import convergence_table, trial_convergence
from analysis.tables.convergence import convergence as convergence_rows
from tests.analysis.tables import cell, grid, table

SEEDS = range(1, 7)
"""As few as can give a verdict."""
STEPS = [5, 10, 15, 20, 25, 30, 35, 40]
BASELINE = [8.0, 7.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.5]
STUDENT = [4.0, 4.0, 3.0, 3.0, 6.0, 3.0, 1.5, 1.0]
"""Four epochs of ten steps, two points each; the student's first two epochs are mixed loss."""


def learned(role: str, seed: int, losses: list[float], **more: object) -> dict:
    curve = {"train_loss": losses, "train_loss_step": STEPS[: len(losses)], "steps_per_epoch": 10}
    return cell(role, seed, 80.0, **{**curve, **more})


def study(student: list[float] = STUDENT, **more: object) -> pd.DataFrame:
    rows = [learned("baseline", seed, BASELINE) for seed in SEEDS]
    return table([*rows, *(learned("student", seed, student, **more) for seed in SEEDS)])


def found(frame: pd.DataFrame, measure: str, role: str = "student", **more: object) -> pd.DataFrame:
    return of(convergence_table(frame, **more), measure, role)


def of(result: pd.DataFrame, measure: str, role: str = "student") -> pd.DataFrame:
    return result[(result["role"] == role) & (result["measure"] == measure)]


@pytest.fixture(scope="module")
def small() -> pd.DataFrame:
    return convergence_table(study())


@pytest.fixture(scope="module")
def measured(published: pd.DataFrame) -> pd.DataFrame:
    return analysis.convergence_table(published)


def test_levels_are_the_baselines_at_a_quarter_half_and_three_quarters(small):
    base = of(small, measures.EPOCHS_TO_LOSS, "baseline")
    # Four epochs: the last points at or before epochs 1, 2 and 3.
    assert base["level"].tolist() == [7.0, 4.0, 2.0]
    assert base["mean"].tolist() == [1.0, 2.0, 3.0]
    assert base["level_rule"].iloc[1] == "baseline at 50% of its epochs"


def test_epochs_to_a_level_count_in_the_hard_part_alone(small):
    rows = of(small, measures.EPOCHS_TO_LOSS)
    # 6 <= 7 at the first hard point: passed before, at a time nobody saw.
    assert rows["n_before"].tolist() == [6, 0, 0]
    assert rows["n_reached"].tolist() == [0, 6, 6]
    assert rows["mean"].tolist() == pytest.approx([np.nan, 3.0, 3.5], nan_ok=True)
    assert rows["median"].tolist() == pytest.approx([np.nan, 3.0, 3.5], nan_ok=True)
    assert rows["difference"].tolist() == pytest.approx([np.nan, 1.0, 0.5], nan_ok=True)
    assert rows["verdict"].tolist() == ["cannot say", "worse", "worse"]


def test_a_level_that_is_never_reached_is_counted_not_filled_in():
    rows = found(study(), measures.EPOCHS_TO_LOSS, loss_levels=(0.1, 0.75))
    assert rows["level_rule"].tolist() == ["given", "given"]
    assert rows["n_never"].tolist() == [6, 6]
    assert rows["mean"].isna().all()
    assert rows["verdict"].tolist() == ["cannot say", "cannot say"]
    base = found(study(), measures.EPOCHS_TO_LOSS, "baseline", loss_levels=(0.1, 0.75))
    assert base["n_never"].tolist() == [6, 0]
    assert base["mean"].tolist() == pytest.approx([np.nan, 4.0], nan_ok=True)


def test_a_median_takes_never_as_infinite_and_before_as_earliest():
    hard = {
        38: [9, 9, 9, 5],
        1483: [9, 9, 5, 5],
        2056: [5, 5, 5, 5],
        7: [9, 9, 9, 9],
        9: [9, 5, 5, 5],
    }
    rows = [learned("baseline", seed, BASELINE) for seed in hard]
    rows += [learned("student", seed, [1.0] * 4 + end) for seed, end in hard.items()]
    row = found(table(rows), measures.EPOCHS_TO_LOSS, loss_levels=(6.0,)).iloc[0]
    counts = row[["n", "n_reached", "n_before", "n_never"]]
    assert counts.tolist() == [5, 3, 1, 1]
    # Before, 3.0, 3.5, 4.0, never; the mean is over those that were seen.
    assert row["median"] == 3.5
    assert row["mean"] == pytest.approx((3.0 + 3.5 + 4.0) / 3)
    assert row["n_pairs"] == 3
    assert row["verdict"] == "cannot say"


def test_area_is_over_the_same_epochs_on_both_sides(small):
    assert of(small, measures.AREA, "baseline")["mean"].iloc[0] == pytest.approx(26.25 * 0.5 / 3.5)
    row = of(small, measures.AREA).iloc[0]
    assert row["mean"] == pytest.approx(4.0 / 1.5)
    # The baseline from epoch 2.5 to 4: 3, 2, 1, 0.5.
    assert row["difference"] == pytest.approx(4.0 / 1.5 - 2.375 / 1.5)
    assert row["verdict"] == "worse"
    whole = of(small, measures.RECORDED_AREA).iloc[0]
    assert whole["mean"] == pytest.approx((sum(STUDENT[1:-1]) + 2.5) * 0.5 / 3.5)
    assert np.isnan(whole["difference"])
    assert pd.isna(whole["verdict"])


def test_the_jump_is_between_three_points_on_either_side(small):
    row = of(small, measures.JUMP).iloc[0]
    assert row["mean"] == pytest.approx(3.5 - 10 / 3)
    # The baseline falls there without a switch: 2 - 16 / 3.
    assert row["difference"] == pytest.approx(3.5)
    assert pd.isna(row["verdict"])
    assert of(small, measures.JUMP, "baseline")["n"].tolist() == [0]


def test_the_staircase_is_the_fall_between_epochs_beyond_the_trend(small):
    # Falls 2, 1, 1 at the boundaries; slopes 0.2, 0.2, 0.2, 0.1 a step over five steps.
    base = of(small, measures.STAIRCASE, "baseline").iloc[0]
    assert base["mean"] == pytest.approx(((2 - 1) + (1 - 1) + (1 - 0.75)) / 3)
    row = of(small, measures.STAIRCASE).iloc[0]
    # One boundary lies within the hard part: 3 to 1.5, slopes 0.6 and 0.1.
    assert row["mean"] == pytest.approx(1.5 - 1.75)
    assert row["difference"] == pytest.approx(-0.25 - 0.25)


def test_a_student_guided_to_the_end_has_nothing_to_compare():
    frame = study(switch_epoch=4)
    for measure in (measures.AREA, measures.JUMP, measures.STAIRCASE, measures.EPOCHS_TO_LOSS):
        rows = found(frame, measure)
        assert rows["n"].eq(0).all()
        assert rows["mean"].isna().all()
    assert found(frame, measures.RECORDED_AREA)["n"].tolist() == [6]


def test_a_student_that_is_a_baseline_is_compared_from_the_start():
    frame = study(BASELINE, alpha=1.0)
    row = found(frame, measures.AREA).iloc[0]
    assert row["difference"] == 0
    assert found(frame, measures.JUMP)["n"].tolist() == [0]


def test_one_point_an_epoch_has_no_staircase():
    frame = study().assign(steps_per_epoch=5)
    assert found(frame, measures.STAIRCASE, "baseline")["n"].tolist() == [0]


def test_curves_without_steps_per_epoch_are_counted_as_missing():
    rows = [learned("baseline", seed, BASELINE) for seed in SEEDS]
    rows[0]["steps_per_epoch"] = None
    base = found(table(rows), measures.AREA, "baseline").iloc[0]
    assert (base["n"], base["seeds"]) == (5, 6)


def test_without_curves_the_table_is_empty():
    frame = table([cell("baseline", 1, 80.0, train_loss=None)])
    assert convergence_table(frame).empty
    assert trial_convergence(frame).empty


def evaluated(role: str, seed: int, values: list[float], **more: object) -> dict:
    points = [
        {
            "epoch": epoch,
            "split": split,
            "metric": value if split == "validation" else 0.0,
            "loss": 1.0,
        }
        for epoch, value in enumerate(values, 1)
        for split in ("test", "validation")
    ]
    return cell(role, seed, 80.0, train_loss=None, curve=points, **more)


def test_evaluations_while_training_are_compared_from_the_first_epoch():
    rows = [evaluated("baseline", seed, [50.0, 60.0, 70.0, 80.0]) for seed in SEEDS]
    rows += [evaluated("student", seed, [62.0, 70.0, 75.0, 76.0]) for seed in SEEDS]
    frame = table(rows)
    student = found(frame, measures.EPOCHS_TO_METRIC)
    assert student["level"].tolist() == [50.0, 60.0, 70.0]
    assert student["mean"].tolist() == [1.0, 1.0, 2.0]
    assert student["difference"].tolist() == [0.0, -1.0, -1.0]
    assert student["verdict"].tolist() == ["no clear difference", "better", "better"]
    area = found(frame, measures.METRIC_AREA).iloc[0]
    assert area["mean"] == pytest.approx((31 + 70 + 75 + 38) / 3)
    assert area["difference"] == pytest.approx((214 - 195) / 3)
    assert area["verdict"] == "better"
    assert area["metric_name"] == "accuracy"


def test_a_low_metric_is_reached_from_above():
    kind = {"metric_name": "mse", "dataset": "california_housing"}
    frame = table([evaluated("baseline", s, [0.9, 0.5, 0.3, 0.2], **kind) for s in SEEDS])
    rows = found(frame, measures.EPOCHS_TO_METRIC, "baseline", metric_levels=(0.5, 0.1))
    assert rows["n_reached"].tolist() == [6, 0]
    assert rows["mean"].tolist() == pytest.approx([2.0, np.nan], nan_ok=True)


def test_trials_say_which_state_a_level_is_in():
    trials = trial_convergence(study())
    own = trials[(trials["role"] == "student") & (trials["seed"] == 1)]
    levels = own[own["measure"] == measures.EPOCHS_TO_LOSS].set_index("level")
    assert levels["state"].to_dict() == {7.0: "before", 4.0: "reached", 2.0: "reached"}
    # Baselines are measured once, however many students they are paired with.
    base = trials[(trials["role"] == "baseline") & (trials["measure"] == measures.AREA)]
    assert len(base) == 6


def test_datasets_have_levels_of_their_own():
    other = study([2 * loss for loss in STUDENT], dataset="mnist")
    other.loc[other["role"] == "baseline", "dataset"] = "mnist"
    rows = convergence_table(pd.concat([study(), other]))
    levels = rows[rows["measure"] == measures.EPOCHS_TO_LOSS].groupby("dataset")["level"].unique()
    assert levels["digits"].tolist() == levels["mnist"].tolist() == [7.0, 4.0, 2.0]
    mnist = rows[(rows["dataset"] == "mnist") & (rows["measure"] == measures.AREA)]
    assert mnist.set_index("role")["mean"]["student"] == pytest.approx(8.0 / 1.5)


def _hard_part(row, switch):
    """Epochs and losses of a curve after the switch, and the losses before it."""
    epochs = np.asarray(row["train_loss_step"]) / row["steps_per_epoch"]
    losses = np.asarray(row["train_loss"])
    return epochs[epochs > switch], losses[epochs > switch], losses[epochs <= switch]


def _area(row, switch, _):
    epochs, losses, _ = _hard_part(row, switch)
    return np.trapezoid(losses, epochs) / (epochs[-1] - epochs[0])


def _jump(row, switch, _):
    _, after, before = _hard_part(row, switch)
    return after[:3].mean() - before[-3:].mean()


def _epochs_to(row, switch, level):
    epochs, losses, _ = _hard_part(row, switch if row["role"] == "student" else 0)
    return epochs[losses <= level][0]


@pytest.mark.parametrize(
    ("dataset", "switch", "level"), [("cifar10", 7, 0.1), ("california_housing", 800, 0.2)]
)
def test_published_curves_against_a_loop_and_scipy(published, dataset, switch, level):
    from scipy import stats

    frame = tidy(published)
    chosen = (frame["teacher"] == "medium") & (frame["alpha"] == 0.6)
    chosen &= frame["switch_epoch"] == switch
    frame = frame[(frame["dataset"] == dataset) & (chosen | (frame["role"] == "baseline"))]
    for measure, by_hand in (
        (measures.AREA, _area),
        (measures.JUMP, _jump),
        (measures.EPOCHS_TO_LOSS, _epochs_to),
    ):
        values = {
            role: np.array([
                by_hand(row, switch, level)
                for row in rows.sort_values("seed").to_dict("records")
            ])
            for role, rows in frame.groupby("role")
        }  # fmt: skip
        row = found(frame, measure, loss_levels=(level,)).iloc[0]
        assert row["n_pairs"] == 15
        assert row["mean"] == pytest.approx(values["student"].mean())
        assert row["difference"] == pytest.approx((values["student"] - values["baseline"]).mean())
        test = stats.ttest_rel(values["student"], values["baseline"])
        assert row["p"] == pytest.approx(test.pvalue, rel=1e-6, abs=1e-12)
        low, high = test.confidence_interval()
        assert (row["difference_ci_low"], row["difference_ci_high"]) == pytest.approx((low, high))


def test_verdicts_are_corrected_for_the_number_of_configurations(measured):
    from statsmodels.stats.multitest import multipletests

    rows = of(measured[measured["dataset"] == "cifar10"], measures.AREA)
    tested = rows[rows["p"].notna()]
    # 126 configurations have epochs after their switch.
    assert len(tested) == 126
    expected = multipletests(tested["p"], method="holm")[1]
    assert tested["p_holm"].to_numpy() == pytest.approx(expected)
    clear = rows["verdict"].isin(["better", "worse"])
    assert clear.sum() == (expected < 0.05).sum()
    before = rows["verdict_uncorrected"].isin(["better", "worse"])
    excluded = (rows["difference_ci_low"] > 0) | (rows["difference_ci_high"] < 0)
    assert before.tolist() == excluded.tolist()
    assert before[clear].all()
    assert before.sum() > clear.sum()


def test_published_studies_are_measured_whole(measured):
    rows = measured
    # 270 students' configurations and two baselines; three levels, area, recorded area, jump and staircase.
    assert len(rows) == 272 * 7
    # CIFAR-10 falls in steps where samples are seen again; a full batch has no steps to fall by.
    stairs = rows[(rows["role"] == "baseline") & (rows["measure"] == measures.STAIRCASE)]
    assert stairs.set_index("dataset")["n"].to_dict() == {"cifar10": 15, "california_housing": 0}
    assert stairs.set_index("dataset").loc["cifar10", "ci_low"] > 0


def test_every_shape_of_study_is_measured():
    for frame in (grid(seeds=(1,)), grid()[lambda f: f["role"] != "baseline"]):
        rows = convergence_table(frame)
        assert set(rows["role"]) <= {"student", "baseline"}
        assert (
            rows["verdict"]
            .isin(["better", "worse", "no clear difference", "cannot say", "same trial"])
            .sum()
            == (rows["measure"].isin(measures.JUDGED) & (rows["role"] == "student")).sum()
        )


def test_the_table_puts_beside_each_other_only_what_compares(small):
    shown = convergence_rows(small)
    assert shown is not None
    rows = {row[0].text: dict(zip(shown.columns, row, strict=True)) for row in shown.rows}
    # The baseline's own area is over all four epochs, the students' over the last two.
    assert rows[measures.AREA]["baseline"].text == "–"
    assert rows[measures.AREA]["worse"].text == "1"
    assert rows[measures.JUMP]["cannot say"].text == "–"
    assert rows[measures.EPOCHS_TO_LOSS]["baseline"].text != "–"


def test_a_parameter_may_have_any_name():
    cells = grid(teachers=("small",), alphas=(0.1,))
    plain = convergence_table(cells)
    for name in ("start", "ramp"):
        known = cells.assign(**{name: np.where(cells["role"] == "student", "zero-pad", None)})
        assert convergence_table(known)["mean"].equals(plain["mean"]), name
        other = cells.assign(**{name: "copy"}, trial_id=cells["trial_id"] + "-copy")
        both = pd.concat([known, other[other["role"] == "student"]], ignore_index=True)
        table = convergence_table(both)
        students = table[table["role"] == "student"]
        assert set(students[name]) == {"zero-pad", "copy"}
        wanted = plain[plain["role"] == "student"]["n_pairs"].to_numpy()
        for _, part in students.groupby(name):
            np.testing.assert_array_equal(part["n_pairs"].to_numpy(), wanted)

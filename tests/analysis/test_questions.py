import numpy as np
import pandas as pd
import pytest

from analysis.questions import Answer, answers
from tests.analysis.tables import cell, table

SEEDS = (1, 2, 3, 4, 5, 6, 7)
JITTER = dict(zip(SEEDS, (-0.3, 0.1, 0.2, -0.1, 0.3, 0.0, -0.2), strict=True))


def study(dataset: str = "digits", metric: str = "accuracy", scale: float = 1.0) -> pd.DataFrame:
    """Effects that are known: per seed, a configuration adds what `effect` says, exactly.

    The baseline is 80; jitter falls out of every paired difference but for a hundredth of it.
    """
    rows = [cell("baseline", s, 80 + JITTER[s], dataset=dataset, metric_name=metric) for s in SEEDS]
    for teacher, from_teacher in (("small", 0.0), ("large", 1.0)):
        for alpha, from_alpha in ((0.1, -2.0), (0.9, 0.0)):
            for epoch in (1, 2, 3):
                gain = scale * (from_teacher + from_alpha + 0.5 * (epoch - 1))
                for s in SEEDS:
                    value = 80 + JITTER[s] + gain + 0.01 * JITTER[s] * epoch
                    rows.append(
                        cell("student", s, value, dataset=dataset, metric_name=metric,
                             teacher=teacher, alpha=alpha, switch_epoch=epoch)
                    )  # fmt: skip
    return table(rows)


def by_key(cells: pd.DataFrame) -> dict[str, Answer]:
    return {answer.key: answer for answer in answers(cells)}


def differences(answer: Answer) -> dict[str, float]:
    return dict(zip(answer.contrasts["contrast"], answer.contrasts["difference"], strict=True))


def test_known_effects_are_found():
    found = by_key(study())
    assert list(found) == ["guidance", "switching", "both_losses", "task", "teacher", "alpha"]
    # mean of teacher (0.5), alpha (-1) and switch (0.5) effects
    assert differences(found["guidance"]) == pytest.approx(
        {"all configurations against the baseline": 0.0}, abs=1e-9
    )
    assert differences(found["switching"]) == pytest.approx(
        dict.fromkeys(
            ["last against first switch epoch", "small teacher, alpha 0.1",
             "small teacher, alpha 0.9", "large teacher, alpha 0.1", "large teacher, alpha 0.9"],
            1.0,
        )
    )  # fmt: skip
    assert differences(found["both_losses"]) == pytest.approx(
        {
            "switch 3 against the baseline": 0.5,
            "switch 3, alpha 0.1 against the baseline": -0.5,
            "switch 3, alpha 0.9 against the baseline": 1.5,
        }
    )
    assert differences(found["teacher"]) == pytest.approx(
        {"large teacher against small teacher": 1}
    )
    assert differences(found["alpha"]) == pytest.approx({"alpha 0.9 against alpha 0.1": 2})
    assert set(found["teacher"].contrasts["verdict"]) == {"better"}
    assert set(found["both_losses"].contrasts["verdict"]) == {"better", "worse"}
    assert "the trained teacher" not in found["alpha"].remark
    assert "these teachers" in found["teacher"].remark


def test_answers_in_words():
    found = by_key(study())
    leads = {key: answer.said[0].lead for key, answer in found.items()}
    assert leads == {
        "guidance": "over the whole grid, guidance changed nothing clearly",
        "switching": "the longer the teacher guides, the better",
        "both_losses": "both losses to the end are better, on average, than the hard loss alone; "
        "worse with alpha 0.1",
        "task": "in this classification the error did not change clearly",
        "teacher": "large teacher did best",
        "alpha": "alpha 0.9 did best",
    }
    assert str(found["teacher"].said[0]) == (
        "Digits: large teacher did best. "
        "Large teacher against small teacher +1.00 points (+1.00 to +1.00)."
    )
    assert (
        found["switching"]
        .said[0]
        .detail.endswith("of 4 parts of the grid 4 better and none worse.")
    )


def test_levels_that_do_not_differ_share_the_lead():
    cells = study()
    twin = cells[cells["teacher"] == "large"].assign(teacher="medium")
    twin["trial_id"] += "-twin"
    noise = twin["seed"].map({1: 0.1, 2: -0.1, 3: 0.2, 4: -0.2, 5: 0.1, 6: -0.1, 7: 0.0})
    twin["test_metric"] += noise
    both = by_key(pd.concat([cells, twin]))["teacher"].said[0].lead
    assert (
        both == "large teacher and medium teacher did best, not clearly different from each other"
    )
    even = pd.concat([cells[cells["teacher"] != "small"], twin])
    assert by_key(even)["teacher"].said[0].lead == "there is no clear difference"


def test_a_lower_error_is_better():
    verdicts = by_key(study(metric="mse"))["alpha"].contrasts["verdict"]
    assert verdicts.tolist() == ["worse"]


def test_tasks_are_compared_by_their_relative_error():
    both = pd.concat([study("cifar10", scale=2.0), study("california_housing", "mse", scale=2.0)])
    # raise every student by one, so that the mean gain is 1 in both
    both["test_metric"] += np.where(both["role"] == "student", 1.0, 0.0)
    rows = by_key(both)["task"].contrasts.set_index("dataset")
    # accuracy 80 + 1: the error of 20 falls by 5 %; an MSE of 80 + 1 grows by 1.25 %
    assert rows.loc["cifar10", "difference"] == pytest.approx(-5, abs=0.01)
    assert rows.loc["california_housing", "difference"] == pytest.approx(1.25, abs=0.01)
    assert rows["verdict"].to_dict() == {"cifar10": "better", "california_housing": "worse"}
    assert by_key(study())["task"].remark.startswith("There are only results of classification")


def test_few_seeds_cannot_say():
    cells = study()
    found = by_key(cells[cells["seed"] <= 5])
    for answer in found.values():
        assert set(answer.contrasts["verdict"]) == {"cannot say"}
        assert all(said.lead.startswith("cannot say with 5 seeds") for said in answer.said)


def test_what_is_left_out_is_said():
    cells = study()
    lost = (cells["role"] == "student") & (cells["seed"] == 7) & (cells["switch_epoch"] == 2)
    cells.loc[lost, ["test_metric", "status"]] = [None, "failed"]
    remark = by_key(cells)["guidance"].remark
    assert remark == "digits: left out for want of results 0 configurations and 1 seed.".replace(
        "digits", "Digits"
    )


def test_configurations_that_are_the_baseline_count_for_nothing():
    cells = study()
    same = cells[cells["alpha"] == 0.9].assign(alpha=1.0)
    base = cells[cells["role"] == "baseline"].set_index("seed")
    same["test_metric"] = same["seed"].map(base["test_metric"])
    same["trial_id"] = same["seed"].map(base["trial_id"])
    with_them = by_key(pd.concat([cells, same]))
    assert differences(with_them["guidance"]) == differences(by_key(cells)["guidance"])
    assert list(differences(with_them["alpha"])) == ["alpha 0.9 against alpha 0.1"]


def test_no_students_no_answers():
    cells = study()
    assert answers(cells[cells["role"] == "baseline"]) == ()
    one = cells[(cells["role"] == "baseline") | (cells["switch_epoch"] == 2)]
    assert [a.key for a in answers(one)] == ["guidance", "both_losses", "task", "teacher", "alpha"]


def test_published_contrasts(published):
    found = by_key(published)
    cifar = published[published["dataset"] == "cifar10"]
    seed_means = cifar[cifar["role"] == "student"].groupby("seed")["test_metric"].mean()
    base = cifar[cifar["role"] == "baseline"].set_index("seed")["test_metric"]
    expected = (seed_means - base).mean()
    row = found["guidance"].contrasts.set_index("dataset").loc["cifar10"]
    assert row["difference"] == pytest.approx(expected)
    assert row["n"] == 15
    last = found["both_losses"].contrasts.query("dataset == 'cifar10'").set_index("contrast")
    assert last.loc["switch 15, alpha 0.9 against the baseline", "verdict"] == "better"
    assert last.loc["switch 15, alpha 0.1 against the baseline", "verdict"] == "worse"


def test_guided_to_the_end_is_where_training_ends():
    longer = study().assign(epochs=5)
    assert "both_losses" not in by_key(longer)
    answer = by_key(pd.concat([longer, study("mnist").assign(epochs=3)], ignore_index=True))
    found = answer["both_losses"].contrasts
    assert set(found["dataset"]) == {"mnist"}
    assert found["contrast"].iloc[0] == "switch 3 against the baseline"


def test_the_soft_loss_alone_is_not_both():
    cells = study()
    cells.loc[cells["alpha"] == 0.1, "alpha"] = 0.0
    found = differences(by_key(cells)["both_losses"])
    # Alpha 0.9, both teachers: 1.5 on average, and a seed's jitter falls out of the mean.
    assert found == {"switch 3 against the baseline": pytest.approx(1.5)}


def test_students_without_alpha_and_switch_epoch_are_asked_what_they_can_answer():
    cells = study()
    plain = cells["teacher"] == "large"
    cells.loc[plain, ["alpha", "switch_epoch"]] = None
    cells = cells.drop_duplicates(["role", "teacher", "alpha", "switch_epoch", "seed"])
    found = by_key(cells)
    assert found["guidance"].contrasts["n"].tolist() == [7]
    assert differences(found["switching"]) == pytest.approx(
        {
            "last against first switch epoch": 1.0,
            "small teacher, alpha 0.1": 1.0,
            "small teacher, alpha 0.9": 1.0,
        }
    )
    none = cells[cells["alpha"].isna()]
    assert set(by_key(none)) == {"guidance", "task"}


def test_the_error_of_an_explained_share_is_what_is_not_explained():
    cells = study(metric="r2")
    cells["test_metric"] = np.where(cells["role"] == "baseline", 0.8, 0.7)
    # From 0.2 to 0.3 of the variance is not explained.
    assert by_key(cells)["task"].contrasts["difference"].tolist() == pytest.approx([50.0])

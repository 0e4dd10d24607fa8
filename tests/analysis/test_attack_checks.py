from typing import Any

import pandas as pd
import pytest

from analysis import attack_warnings
from tests.analysis.tables import SEEDS, cell, grid, table


def study(
    *values: tuple[str, float, float], metric: str = "accuracy", clean: float = 80.0, **more: Any
) -> pd.DataFrame:
    """Three trials; the first has these points, the others a harmless FGSM."""
    rows = []
    for seed in SEEDS:
        points = values if seed == SEEDS[0] else (("fgsm", 0.01, clean * 0.9),)
        nested = [{"attack": a, "epsilon": e, "value": v} for a, e, v in points]
        rows.append(
            cell("baseline", seed, clean, metric_name=metric, robustness=nested,
                 zero_gradients_percent=0.5) | more
        )  # fmt: skip
    return table(rows)


def found(cells: pd.DataFrame) -> set[tuple[str, str, str, int, int]]:
    columns = ["severity", "attack", "check", "trials", "of"]
    rows = attack_warnings(cells)
    assert list(rows)[-1] == "message"
    assert all(len(sentence) > 30 for sentence in rows["message"])
    return set(rows[columns].itertuples(index=False, name=None))


ONLY = ("note", "fgsm", "only FGSM", 3, 3)
TWO = ("note", "fgsm", "only FGSM", 2, 3)


def test_an_attack_that_does_its_work_is_only_a_note():
    assert found(study(("fgsm", 0.01, 60.0), ("fgsm", 0.05, 20.0))) == {ONLY}
    assert found(study(("fgsm", 0.01, 60.0), ("pgd", 0.01, 59.0))) == {TWO}


def test_more_strength_must_do_more_harm():
    for attack, severity in (("fgsm", "warning"), ("pgd-20", "error"), ("input_noise", "note")):
        cells = study((attack, 0.05, 61.0), (attack, 0.01, 60.0), (attack, 0.02, 60.2))
        finding = (severity, attack, "better at a larger epsilon", 1)
        of = 1  # the others have one epsilon, or none of this attack
        assert (*finding, of) in found(cells)
    # Half a point of accuracy is not told from noise.
    assert found(study(("fgsm", 0.01, 60.0), ("fgsm", 0.05, 60.5))) == {ONLY}
    (row,) = attack_warnings(
        study(("fgsm", 0.01, 60.0), ("fgsm", 0.05, 61.0), ("pgd", 0.01, 60.0))
    ).query("severity == 'warning'").to_dict("records")  # fmt: skip
    assert row["largest"] == pytest.approx(1.0)
    assert row["message"] == (
        "FGSM: 1 of 1 trials do better at a larger epsilon than at the next smaller one, by up to "
        "1.00 points"
    )


def test_several_steps_must_do_the_harm_of_one():
    cells = study(("fgsm", 0.01, 60.0), ("pgd", 0.01, 61.0), ("pgd", 0.05, 40.0))
    assert ("error", "pgd", "weaker than FGSM", 1, 1) in found(cells)
    weaker = study(("fgsm", 0.01, 60.0), ("pgd", 0.01, 60.4))
    assert not any(row[0] == "error" for row in found(weaker))


def test_several_steps_are_not_held_against_a_step_that_leaves_the_range_of_inputs():
    for attack, error in (
        ("fgsm-all", True),
        ("fgsm-unclipped", False),
        ("fgsm-all-unclipped", False),
    ):
        cells = study((attack, 0.01, 60.0), ("pgd-20", 0.01, 61.0))
        finding = ("error", "pgd-20", "weaker than FGSM", 1, 1)
        assert (finding in found(cells)) == error
    # Of several clipped ones the strongest counts.
    both = study(("fgsm", 0.01, 60.0), ("fgsm-all", 0.01, 62.0), ("pgd", 0.01, 61.0))
    assert ("error", "pgd", "weaker than FGSM", 1, 1) in found(both)


def test_an_attack_is_known_by_its_family_whatever_its_settings():
    cells = study(("fgsm-all-unclipped", 0.01, 60.0), ("fgsm-all-unclipped", 0.05, 90.0))
    rows = found(cells)
    assert ("warning", "fgsm-all-unclipped", "better at a larger epsilon", 1, 1) in rows
    assert ("error", "fgsm-all-unclipped", "better than clean", 1, 1) in rows
    assert ONLY in rows
    noise = study(("weight_noise-batch-mean1", 0.1, 60.0), ("weight_noise-batch-mean1", 0.2, 61.0))
    assert ("note", "weight_noise-batch-mean1", "better at a larger epsilon", 1, 1) in found(noise)


def test_errors_are_better_where_they_are_smaller():
    # MSE 0.2 clean; 1 % of the value is not told from noise.
    cells = study(
        ("fgsm", 0.01, 0.30), ("fgsm", 0.05, 0.29), ("pgd", 0.01, 0.28), ("pgd", 0.05, 0.31),
        metric="mse", clean=0.2,
    )  # fmt: skip
    rows = found(cells)
    assert ("warning", "fgsm", "better at a larger epsilon", 1, 1) in rows
    assert ("error", "pgd", "weaker than FGSM", 1, 1) in rows
    assert not any(row[2] == "better at a larger epsilon" and row[1] == "pgd" for row in rows)
    # The others' 0.18 under FGSM is better than 0.2 clean, and never worse at all.
    assert ("error", "fgsm", "better than clean", 2, 3) in rows
    assert ("warning", "fgsm", "no effect", 2, 3) in rows


def test_noise_must_not_do_more_harm_than_an_attack():
    for kind, severity in (("input_noise", "warning"), ("input_noise-uniform-mean20", "error")):
        cells = study(("fgsm", 0.05, 60.0), ("pgd", 0.05, 50.0), (kind, 0.05, 55.0))
        assert not any(row[2].startswith("noise") for row in found(cells))
        cells = study(("fgsm", 0.05, 60.0), ("pgd", 0.05, 50.0), (kind, 0.05, 49.0))
        assert (severity, kind, "noise is stronger than the attack", 1, 1) in found(cells)
    cells = study(("fgsm", 0.05, 60.0), ("weight_noise", 0.05, 10.0))
    assert not any(row[2].startswith("noise") for row in found(cells)), "another space"


def test_an_attack_without_effect_is_told_of():
    cells = study(("fgsm", 0.0, 80.0), ("fgsm", 0.01, 80.0), ("fgsm", 0.05, 80.0))
    assert ("warning", "fgsm", "no effect", 1, 3) in found(cells)
    assert found(study(("fgsm", 0.0, 80.0), ("fgsm", 0.01, 80.0), ("fgsm", 0.05, 79.9))) == {ONLY}


def test_noise_may_happen_to_help():
    cells = study(("fgsm", 0.01, 60.0), ("weight_noise", 0.1, 81.0))
    assert found(cells) == {ONLY, ("note", "weight_noise", "better than clean", 1, 1)}


def test_zero_gradients_are_in_doubt_above_five_percent():
    point = ("fgsm", 0.01, 60.0)
    assert found(study(point, zero_gradients_percent=5.0)) == {ONLY}
    doubted = ("warning", "fgsm, pgd", "zero gradients", 3, 3)
    assert found(study(point, zero_gradients_percent=12.5)) == {ONLY, doubted}
    rows = attack_warnings(study(point, zero_gradients_percent=12.5))
    assert rows["severity"].tolist() == ["warning", "note"]
    assert rows["largest"].tolist()[0] == 12.5
    unknown = ("note", "fgsm, pgd", "zero gradients unknown", 3, 3)
    assert found(study(point, zero_gradients_percent=None)) == {ONLY, unknown}
    older = study(point).drop(columns="zero_gradients_percent")
    assert found(older) == {ONLY, unknown}


def test_a_trial_that_two_cells_ask_for_counts_once():
    cells = study(("fgsm", 0.01, 60.0))
    twin = cells.assign(role="student", teacher="small", alpha=1.0, switch_epoch=0, temperature=1.0)
    both = pd.concat([cells, twin.astype(cells.dtypes)])
    assert found(both) == {ONLY}


def test_without_attacks_there_is_nothing_to_warn_of():
    rows = attack_warnings(grid(attacked=False))
    assert rows.empty
    assert list(rows) == [
        "severity", "dataset", "attack", "check", "trials", "of", "largest", "message",
    ]  # fmt: skip


def test_published_figures_are_upper_bounds_and_nothing_worse(published):
    rows = attack_warnings(published)
    assert set(rows["severity"]) == {"note"}
    trials = 135 * 15 + 15  # teachers' robustness was not published
    assert rows["check"].tolist() == ["only FGSM", "zero gradients unknown"] * 2
    assert rows["trials"].tolist() == rows["of"].tolist() == [trials] * 4

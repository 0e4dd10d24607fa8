from typing import Any

import pytest

from trials.attack_settings import Attacks


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["fgsm", "pgd", "input_noise", "weight_noise"]),
        ({"pgd_steps": 20}, ["fgsm", "pgd-20", "input_noise", "weight_noise"]),
        ({"pgd_step_size": 0.25}, ["fgsm", "pgd", "input_noise", "weight_noise"]),  # 2.5 / 10
        ({"pgd_step_size": 0.1}, ["fgsm", "pgd-step0.1", "input_noise", "weight_noise"]),
        (
            {"pgd_steps": 40, "pgd_step_size": 0.5, "pgd_random_start": True},
            ["fgsm", "pgd-40-step0.5-random", "input_noise", "weight_noise"],
        ),
        (
            {"input_noise_kind": "uniform", "weight_noise_kind": "relative"},
            ["fgsm", "pgd", "input_noise-uniform", "weight_noise-relative"],
        ),
        (
            {"noise_repeats": 20, "weight_noise_kind": "relative"},
            ["fgsm", "pgd", "input_noise-mean20", "weight_noise-relative-mean20"],
        ),
        ({"fgsm_samples": "all"}, ["fgsm-all", "pgd", "input_noise", "weight_noise"]),
        ({"fgsm_clip": False}, ["fgsm-unclipped", "pgd", "input_noise", "weight_noise"]),
        (
            {"fgsm_samples": "all", "fgsm_clip": False},
            ["fgsm-all-unclipped", "pgd", "input_noise", "weight_noise"],
        ),
        (
            {"weight_noise_redraw": "batch", "noise_repeats": 1},
            ["fgsm", "pgd", "input_noise-mean1", "weight_noise-batch-mean1"],
        ),
        (
            {"weight_noise_redraw": "batch", "weight_noise_kind": "relative"},
            ["fgsm", "pgd", "input_noise", "weight_noise-relative-batch"],
        ),
    ],
)
def test_a_name_says_what_is_not_the_default(settings: dict[str, Any], names: list[str]) -> None:
    assert list(Attacks(**settings).names.values()) == names


def test_a_step_is_a_quarter_of_epsilon_at_ten_steps() -> None:
    assert Attacks().step == 0.25
    assert Attacks(pgd_steps=1).step == 2.5
    assert Attacks(pgd_steps=100, pgd_step_size=1).step == 1


def test_points_are_in_the_order_asked_for() -> None:
    asked = Attacks((0.05, 0.01), pgd_epsilons=(0.3,), weight_noise=(0.1,), pgd_steps=5)
    expected = (("fgsm", 0.05), ("fgsm", 0.01), ("pgd-5", 0.3), ("weight_noise", 0.1))
    assert asked.points == expected


def test_only_what_was_measured_in_the_same_way_is_there_already() -> None:
    asked = Attacks((0.05, 0.01), pgd_epsilons=(0.05,), pgd_steps=20, input_noise=(0.05,))
    have = {("fgsm", 0.05), ("pgd", 0.05), ("input_noise", 0.05)}
    left = asked.without(have)
    assert left.points == (("fgsm", 0.01), ("pgd-20", 0.05))
    assert left.pgd_steps == 20
    assert left.without(set(left.points)).points == ()


def test_gradients_are_for_fgsm_and_pgd() -> None:
    assert Attacks((0.1,)).gradients
    assert Attacks(pgd_epsilons=(0.1,)).gradients
    assert not Attacks(input_noise=(0.1,), weight_noise=(0.1,)).gradients


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fgsm_epsilons": (0.1, -0.1)}, r"fgsm_epsilons: epsilon = -0\.1"),
        ({"pgd_epsilons": (float("nan"),)}, "pgd_epsilons: epsilon = nan"),
        ({"input_noise": (float("inf"),)}, "input_noise: epsilon = inf"),
        ({"weight_noise": (-1.0,)}, r"weight_noise: epsilon = -1\.0"),
        ({"pgd_steps": 0}, "pgd_steps = 0: must be from 1 to 1000"),
        ({"noise_repeats": 1001}, "noise_repeats = 1001: must be from 1 to 1000"),
        (
            {"fgsm_epsilons": (1e39,)},
            r"fgsm_epsilons: epsilon = 1e\+39: must be from 0 to 1,000,000",
        ),
        ({"pgd_step_size": 0.0}, r"pgd_step_size = 0\.0: must be above 0 and at most 1,000,000"),
        ({"pgd_step_size": 1e39}, "must be above 0 and at most 1,000,000"),
        ({"input_noise_kind": "pink"}, "input_noise_kind = 'pink': must be gaussian or uniform"),
        ({"weight_noise_kind": "big"}, "weight_noise_kind = 'big': must be absolute or relative"),
        ({"fgsm_samples": "wrong"}, "fgsm_samples = 'wrong': must be correct or all"),
        (
            {"weight_noise_redraw": "never"},
            "weight_noise_redraw = 'never': must be repeat or batch",
        ),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Attacks(**settings)


def test_strengths_of_zero_are_allowed() -> None:
    assert len(Attacks((0.0,), (0.0,), input_noise=(0.0,), weight_noise=(0.0,)).points) == 4

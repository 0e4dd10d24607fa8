import pytest

from analysis import words
from analysis.columns import is_result
from analysis.reference import ATTACK_COLUMN


@pytest.mark.parametrize(
    ("attack", "title", "family"),
    [
        ("fgsm", "FGSM", "fgsm"),
        ("fgsm-all", "FGSM (all)", "fgsm"),
        ("fgsm-unclipped", "FGSM (unclipped)", "fgsm"),
        ("fgsm-all-unclipped", "FGSM (all, unclipped)", "fgsm"),
        ("pgd-40-step0.5-random", "PGD (40, step0.5, random)", "pgd"),
        ("pgd-step1e-05-random", "PGD (step1e-05, random)", "pgd"),
        ("weight_noise-batch-mean1", "weight noise (batch, mean1)", "weight_noise"),
        ("input_noise", "input noise", "input_noise"),
    ],
)
def test_an_attack_is_printed_with_its_settings(attack: str, title: str, family: str):
    assert words.attack_title(attack) == title
    assert words.attack_family(attack) == family


@pytest.mark.parametrize(
    "attack", ["fgsm", "fgsm-all-unclipped", "pgd-20", "weight_noise-relative-batch-mean1"]
)
def test_a_column_of_an_attack_is_a_result_and_is_read_back(attack: str):
    column = f"{attack}_0.05"
    assert is_result(column)
    match = ATTACK_COLUMN.fullmatch(column)
    assert match is not None
    assert (match["attack"], match["epsilon"]) == (attack, "0.05")


def test_what_is_measured_beside_the_test_split_is_a_result():
    assert is_result("validation_robustness")
    assert is_result("perturbed")
    assert not is_result("validation")


def test_values_come_in_the_order_that_is_meant():
    assert words.in_order(["zero-pad", "copy", "zero-pad"]) == ["zero-pad", "copy"]
    assert words.in_order(["large", "small"]) == ["small", "large"]
    assert words.in_order(["large", "small", "mlp-8"]) == ["large", "small", "mlp-8"]
    assert words.in_order([0.9, 0.1, 0.9]) == [0.1, 0.9]

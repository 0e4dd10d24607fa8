"""Do intervals cover and corrected tests keep their level? Simulated, whole arrays at a time."""

import numpy as np
import pytest
from scipy import stats

from analysis.intervals import SIGNIFICANCE, benjamini_hochberg, holm, t_interval, t_p_value

STUDIES = 2000
# Draws of noise, and its true mean.
NOISE = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0),
    "exponential": (lambda rng, size: rng.exponential(size=size), 1.0),
    "lognormal": (lambda rng, size: rng.lognormal(size=size), np.exp(0.5)),
}
# Measured with 20,000 studies, as the text of `analysis.intervals` states them.
COVERAGE = {
    ("normal", 3): (0.950, 0.755),
    ("normal", 5): (0.952, 0.845),
    ("normal", 15): (0.951, 0.919),
    ("exponential", 3): (0.885, 0.699),
    ("exponential", 5): (0.884, 0.788),
    ("exponential", 15): (0.908, 0.886),
    ("lognormal", 3): (0.837, 0.635),
    ("lognormal", 5): (0.816, 0.716),
    ("lognormal", 15): (0.850, 0.833),
}


def t_coverage(values: np.ndarray, mean: float) -> float:
    """Share of samples, shape (studies, seeds), whose t interval holds the true mean."""
    n = np.full(len(values), values.shape[1])
    low, high = t_interval(values.mean(axis=1), values.std(axis=1, ddof=1), n)
    return float(((low <= mean) & (mean <= high)).mean())


def bootstrap_coverage(values: np.ndarray, mean: float, rng: np.random.Generator) -> float:
    """The same for the percentile interval of 1,000 resamples, drawn alike for all studies."""
    n = values.shape[1]
    weights = rng.multinomial(n, np.full(n, 1 / n), size=1000) / n
    low, high = np.quantile(values @ weights.T, [0.025, 0.975], axis=1)
    return float(((low <= mean) & (mean <= high)).mean())


@pytest.mark.parametrize(("noise", "n"), COVERAGE)
def test_coverage_is_as_stated(noise, n):
    draw, mean = NOISE[noise]
    rng = np.random.default_rng(n)
    values = draw(rng, (STUDIES, n))
    t, bootstrap = t_coverage(values, mean), bootstrap_coverage(values, mean, rng)
    stated_t, stated_bootstrap = COVERAGE[noise, n]
    assert t == pytest.approx(stated_t, abs=0.03)
    assert bootstrap == pytest.approx(stated_bootstrap, abs=0.04)
    assert t > bootstrap
    if (noise, n) == ("normal", 15):
        assert 0.93 <= t <= 0.97


@pytest.mark.parametrize("n", [3, 5, 15])
@pytest.mark.parametrize("noise", NOISE)
def test_skewness_cancels_in_paired_differences(noise, n):
    draw, _ = NOISE[noise]
    rng = np.random.default_rng(n)
    differences = draw(rng, (STUDIES, n)) - draw(rng, (STUDIES, n))
    assert t_coverage(differences, 0.0) >= 0.935


def paired_p(students: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """The p values of studies: students (studies, configurations, seeds), baseline (studies, seeds)."""
    differences = students - baseline[:, None, :]
    n = np.full(differences.shape[:2], differences.shape[2])
    return t_p_value(differences.mean(axis=2), differences.std(axis=2, ddof=1), n)


@pytest.mark.parametrize("noise", ["normal", "lognormal"])
@pytest.mark.parametrize(("configurations", "n"), [(27, 15), (135, 15), (135, 6)])
def test_without_an_effect_at_most_one_study_in_twenty_finds_one(configurations, n, noise):
    # All configurations are compared with one baseline, so the tests depend on each other.
    draw, _ = NOISE[noise]
    rng = np.random.default_rng(configurations + n)
    studies = 2000
    p = paired_p(draw(rng, (studies, configurations, n)), draw(rng, (studies, n)))
    found = np.array([(holm(own) < SIGNIFICANCE).any() for own in p]).mean()
    three_errors = 3 * np.sqrt(0.05 * 0.95 / studies)
    assert found <= 0.05 + three_errors
    if noise == "normal":
        # What the correction is for: without it most studies find something.
        assert (p < SIGNIFICANCE).any(axis=1).mean() > 0.4
        assert found > 0.005


def test_false_discoveries_stay_below_five_percent_of_the_findings():
    rng = np.random.default_rng(3)
    studies, configurations, n, real = 400, 60, 15, 30
    students = rng.normal(size=(studies, configurations, n))
    students[:, :real] += 1.5
    found = np.array(
        [
            benjamini_hochberg(p) < SIGNIFICANCE
            for p in paired_p(students, rng.normal(size=(studies, n)))
        ]
    )
    false = found[:, real:].sum(axis=1) / np.maximum(found.sum(axis=1), 1)
    assert false.mean() <= 0.05 * (configurations - real) / configurations + 0.015
    assert found[:, :real].mean() > 0.7


def test_power_of_one_real_effect_is_that_of_the_formula():
    # One of 135 configurations is better by 1.5 deviations of its differences; 15 seeds. Holm's
    # first step asks for 0.05 / 135, and the t statistic is then noncentral with 1.5 * sqrt(15).
    rng = np.random.default_rng(4)
    studies, configurations, n, effect = 1500, 135, 15, 1.5
    differences = rng.normal(size=(studies, configurations, n))
    differences[:, 0] += effect
    p = paired_p(differences, np.zeros((studies, n)))
    found = np.array([holm(own)[0] < SIGNIFICANCE for own in p]).mean()
    limit = stats.t.isf(0.05 / configurations / 2, n - 1)
    expected = stats.nct.sf(limit, n - 1, effect * np.sqrt(n))
    assert found == pytest.approx(expected, abs=0.04)
    assert expected > 0.7

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import data
from data.known_function import friedman_1, known_function
from data.load import load


@given(st.lists(st.floats(0, 1), min_size=10, max_size=10))
def test_it_is_the_function_of_scikit_learn(x: list[float]) -> None:
    # make_friedman1 says: 10 * sin(pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2
    # + 10 * X[:, 3] + 5 * X[:, 4].
    a, b, c, d, e = x[:5]
    expected = 10 * math.sin(math.pi * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e
    assert friedman_1(x) == pytest.approx(expected, abs=6e-7)


def test_values_by_hand() -> None:
    assert friedman_1([0.5, 1.0, 0.5, 0.0, 0.0]) == 10  # sin(pi / 2)
    assert friedman_1([0.0, 0.3, 0.0, 0.1, 0.2, 9.0]) == 7  # 20 / 4 + 1 + 1
    assert friedman_1([1.0, 1 / 6, 1.0, 1.0, 1.0]) == 25  # 5 + 5 + 10 + 5


def test_the_rows(tmp_path: Path) -> None:
    rows = known_function(tmp_path)
    assert (rows.x_train.shape, rows.x_test.shape) == ((2_000, 10), (1_000, 10))
    x = np.concatenate([rows.x_train, rows.x_test])
    # Deviation of a column's mean sqrt(1 / 12 / 3,000) = 0.0053; of a correlation 0.018.
    assert np.abs(x.mean(axis=0) - 0.5).max() < 4 * 0.0053
    assert np.abs(np.corrcoef(x.T) - np.eye(10)).max() < 4.5 * 0.0183
    y = np.concatenate([rows.y_train, rows.y_test])
    # E sin(pi x1 x2) = (Euler's constant + ln pi - Ci(pi)) / pi = 0.5247, so the mean is
    # 5.247 + 20 / 12 + 5 + 2.5 = 14.413; the deviation is near 4.9.
    assert abs(y.mean() - 14.413) < 4 * 4.9 / math.sqrt(3_000)


def test_it_is_pinned_and_needs_no_file(tmp_path: Path) -> None:
    assert data.verify("known_function", tmp_path).rows == (2_000, 1_000)
    assert data.get("known_function").fingerprint is not None
    loaded = load(data.DataSpec("known_function", validation=0.1), tmp_path)
    assert (len(loaded.train), len(loaded.split("validation")), len(loaded.test)) == (
        1800,
        200,
        1000,
    )

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.standardise import Standardiser


def test_mean_and_population_deviation() -> None:
    # 2, 4, 4, 4, 5, 5, 7, 9 has mean 5 and population deviation 2.
    values = np.array([[2.0], [4], [4], [4], [5], [5], [7], [9]])
    fitted = Standardiser.fit(values)
    assert (fitted.mean.tolist(), fitted.deviation.tolist()) == ([5.0], [2.0])
    out = fitted(np.array([[9.0], [5.0], [0.0]]))
    assert out.dtype == np.float32
    assert out.tolist() == [[2.0], [0.0], [-2.5]]


def test_constant_columns_become_zero() -> None:
    # The sum of three 0.1 is not three times 0.1 in floating point.
    values = np.array([[0.1, 7.0], [0.1, 7.0], [0.1, 7.0]])
    fitted = Standardiser.fit(values)
    assert fitted.deviation.tolist() == [1.0, 1.0]
    assert fitted(values).tolist() == [[0.0, 0.0]] * 3


@given(st.permutations(range(9)))
def test_row_order_does_not_change_a_bit(order: list[int]) -> None:
    values = np.array([[1e16, 0.1], [1.0, 0.2], [-1e16, 0.3]] * 3) * np.arange(1, 10)[:, None]
    one, other = Standardiser.fit(values), Standardiser.fit(values[order])
    assert one.mean.tobytes() == other.mean.tobytes()
    assert one.deviation.tobytes() == other.deviation.tobytes()

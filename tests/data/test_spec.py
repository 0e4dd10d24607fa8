import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import DatasetEntry, DataSpec, UnknownDatasetError, register
from tests.data.conftest import toy_prepare


def test_counts_without_data() -> None:
    assert DataSpec("cifar10").rows() == (50_000, 0, 10_000)
    assert DataSpec("cifar10", validation=0.1).rows() == (45_000, 5_000, 10_000)
    assert DataSpec("fashion_mnist", train_size=600, validation=0.25).rows() == (
        600,
        15_000,
        10_000,
    )
    # 1437 / 10 = 143.7 rounds to 144.
    assert DataSpec("digits", validation=0.1).rows() == (1_293, 144, 360)


def test_counts_are_unknown_when_the_catalog_does_not_say() -> None:
    register(
        DatasetEntry(
            name="unknown-size",
            task="classification",
            outputs=3,
            input_shape=(1, 2, 2),
            prepare=toy_prepare,
        )
    )
    spec = DataSpec("unknown-size", train_size=10**6, validation=0.5)
    assert spec.rows() is None
    with pytest.raises(
        ValueError, match=r"train_size = 1000000 .* 'unknown-size': at most 6 \(12 "
    ):
        spec.counts(12)


def test_unknown_dataset() -> None:
    with pytest.raises(UnknownDatasetError, match="dataset 'imagenet' is not known: allowed are"):
        DataSpec("imagenet")


@pytest.mark.parametrize("value", [0, -5, 10.0, True, "10", math.nan, 50_001])
def test_bad_train_size(value: object) -> None:
    with pytest.raises(ValueError, match="is not allowed") as caught:
        DataSpec("cifar10", train_size=value)  # type: ignore[arg-type]
    assert f"train_size = {value!r}" in str(caught.value)


@pytest.mark.parametrize("value", [-0.1, 1, 1.0, math.nan, math.inf, True, "0.1", None, 1e-9])
def test_bad_validation(value: object) -> None:
    with pytest.raises(ValueError, match="is not allowed") as caught:
        DataSpec("cifar10", validation=value)  # type: ignore[arg-type]
    assert f"validation = {value!r}" in str(caught.value)


def test_validation_must_leave_rows_to_train_on() -> None:
    with pytest.raises(ValueError, match="sets aside 1437, and at least one row"):
        DataSpec("digits", validation=0.9999)
    with pytest.raises(ValueError, match=r"at most 45000 \(50000 training rows, 5000 of them"):
        DataSpec("cifar10", train_size=45_001, validation=0.1)


@pytest.mark.parametrize("value", [-1, 2**63, 1.5, False, "0", None])
def test_bad_split_seed(value: object) -> None:
    with pytest.raises(ValueError, match="is not allowed") as caught:
        DataSpec("cifar10", split_seed=value)  # type: ignore[arg-type]
    assert f"split_seed = {value!r}" in str(caught.value)


def test_no_validation_has_one_form() -> None:
    for zero in (0, 0.0, -0.0):
        spec = DataSpec("digits", validation=zero)
        assert repr(spec.validation) == "0.0"
        assert spec == DataSpec("digits")
    assert pickle.loads(pickle.dumps(DataSpec("digits", 7))) == DataSpec("digits", train_size=7)


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 5000))
def test_counts_add_up(validation: float, available: int) -> None:
    spec = DataSpec("digits", validation=0.5)
    object.__setattr__(spec, "validation", validation)  # past the check for the digits' own count
    try:
        train, held_out = spec.counts(available)
    except ValueError:
        assert round(validation * available) in (0, available) or available == 1
    else:
        assert train + held_out == available
        assert abs(held_out - validation * available) <= 0.5


def test_equal_choices_of_rows_are_equal_specs() -> None:
    assert DataSpec("digits", train_size=1437) == DataSpec("digits")
    assert DataSpec("digits", split_seed=7) == DataSpec("digits")
    with_validation = DataSpec("digits", validation=0.1)
    assert DataSpec("digits", train_size=with_validation.counts(1437)[0], validation=0.1) == (
        with_validation
    )
    assert DataSpec("digits", train_size=100, split_seed=7) != DataSpec("digits", train_size=100)

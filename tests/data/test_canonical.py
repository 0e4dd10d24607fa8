from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import DatasetEntry, DatasetFileError, FingerprintMismatchError, RawArrays
from data.canonical import canonical
from tests.data.conftest import table_prepare, toy_arrays

IMAGES = DatasetEntry(
    name="images", task="classification", outputs=3, input_shape=(1, 2, 2), prepare=lambda _: None
)
TABLE = DatasetEntry(
    name="table", task="regression", outputs=1, input_shape=(2,), prepare=lambda _: None
)


@given(st.permutations(range(12)), st.permutations(range(6)))
def test_row_order_does_not_matter(train: list[int], test: list[int]) -> None:
    raw = toy_arrays()
    shuffled = RawArrays(raw.x_train[train], raw.y_train[train], raw.x_test[test], raw.y_test[test])
    one, other = canonical(IMAGES, raw, "a"), canonical(IMAGES, shuffled, "b")
    assert one.fingerprint == other.fingerprint
    for key in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key))


def test_rows_are_kept_whole() -> None:
    found = canonical(IMAGES, toy_arrays(), "a")
    # Row i of the source starts with pixel 4i and has class i modulo 3.
    first = found.x_train[:, 0, 0].astype(int)
    assert sorted(first) == list(range(0, 48, 4))
    np.testing.assert_array_equal(found.y_train, first // 4 % 3)
    assert list(first) != sorted(first)


def test_number_format_and_layout_do_not_matter() -> None:
    raw = toy_arrays()
    other = RawArrays(
        np.asfortranarray(raw.x_train)[..., None],
        raw.y_train.astype(np.uint8)[:, None],
        raw.x_test,
        raw.y_test.astype(">i4"),
    )
    assert canonical(IMAGES, raw, "a").fingerprint == canonical(IMAGES, other, "a").fingerprint
    flat = table_prepare(None)  # type: ignore[arg-type]
    column = replace(flat, y_train=flat.y_train[:, None].astype(np.float32))
    assert canonical(TABLE, flat, "a").fingerprint == canonical(TABLE, column, "a").fingerprint


@given(st.integers(0, 11), st.integers(0, 3), st.integers(0, 7))
def test_one_flipped_bit_is_refused(row: int, pixel: int, bit: int) -> None:
    raw = toy_arrays()
    pinned = replace(IMAGES, fingerprint=canonical(IMAGES, raw, "a").fingerprint)
    assert canonical(pinned, raw, "a").fingerprint == pinned.fingerprint
    x = raw.x_train.copy()
    x.reshape(12, 4)[row, pixel] ^= 1 << bit
    with pytest.raises(FingerprintMismatchError) as caught:
        canonical(pinned, replace(raw, x_train=x), "/somewhere/images.npz")
    for said in ("'images'", "/somewhere/images.npz", f"expected fingerprint {pinned.fingerprint}"):
        assert said in str(caught.value)


def test_changed_labels_swapped_pairs_and_moved_rows_change_the_fingerprint() -> None:
    raw = toy_arrays()
    label = raw.y_train.copy()
    label[0] = 1
    swapped = raw.y_train.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    moved = RawArrays(raw.x_train[:11], raw.y_train[:11], raw.x_test, raw.y_test)
    found = {
        canonical(IMAGES, changed, "a").fingerprint
        for changed in (raw, replace(raw, y_train=label), replace(raw, y_train=swapped), moved)
    }
    assert len(found) == 4


WRONG = [
    ({"x_train": np.zeros((12, 3, 2), np.uint8)}, "x_train has shape (12, 3, 2), expected (rows, "),
    ({"x_test": np.zeros((6, 2, 2), np.float32)}, "x_test has type float32, expected uint8"),
    ({"x_test": np.zeros((5, 2, 2), np.uint8)}, "x_test has 5 rows, but y_test has 6"),
    ({"y_train": np.zeros((12, 2), np.int64)}, "y_train has shape (12, 2), expected (rows,)"),
    ({"y_train": np.zeros(12)}, "y_train has type float64, expected integers"),
    ({"y_train": np.array([3] + [0] * 11)}, "y_train holds the label 3, expected 0 to 2"),
    ({"y_test": np.array([-1] * 6)}, "y_test holds the label -1, expected 0 to 2"),
    ({"y_test": np.array([2**63] * 6, np.uint64)}, f"holds the label {2**63}, expected 0 to 2"),
    ({"y_train": np.ones(12, np.int64)}, "y_train holds a single class, 1, expected at least two"),
    ({"y_train": np.array(["a"] * 12)}, "y_train has type <U1, expected integers"),
    (
        {"x_test": np.zeros((0, 2, 2), np.uint8), "y_test": np.zeros(0, np.int64)},
        "x_test has no rows",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_images_are_refused(changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DatasetFileError) as caught:
        canonical(IMAGES, replace(toy_arrays(), **changes), "images.npz")
    assert message in str(caught.value)
    assert "dataset 'images': images.npz: " in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": np.array([[1.0, 2.0], [3.0, np.nan]])}, "x_test holds NaN or infinity, first"),
        ({"y_train": np.array([1, 2, np.inf, 3])}, "y_train holds NaN or infinity, first in row 2"),
        ({"x_train": np.zeros((4, 3))}, "x_train has shape (4, 3), expected (rows, 2)"),
        ({"x_train": np.zeros((4, 2), complex)}, "x_train has type complex128, expected floats"),
        ({"y_test": np.zeros((2, 2))}, "y_test has shape (2, 2), expected (rows, 1)"),
    ],
)
def test_wrong_tables_are_refused(changes: dict[str, np.ndarray], message: str) -> None:
    raw = table_prepare(None)  # type: ignore[arg-type]
    with pytest.raises(DatasetFileError) as caught:
        canonical(TABLE, replace(raw, **changes), "table.npz")
    assert message in str(caught.value)


def test_row_counts_and_pixel_range_of_the_entry_are_enforced() -> None:
    with pytest.raises(DatasetFileError, match="x_train has 12 rows, expected 13"):
        canonical(replace(IMAGES, train_rows=13), toy_arrays(), "a")
    with pytest.raises(DatasetFileError, match="x_train holds the value 47, expected 0 to 16"):
        canonical(replace(IMAGES, pixel_max=16), toy_arrays(), "a")

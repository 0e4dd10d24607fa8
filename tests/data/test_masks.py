"""Files of masks are read as they were written, or refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import DatasetFileError, DataSpec
from data.masks import Masks, read_masks, require_fit


def write(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "masks.npz"
    np.savez(path, **arrays)
    return path


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))
def test_packed_masks_come_back(seed: int, images: int, height: int, width: int) -> None:
    masks = np.random.default_rng(seed).random((images, height, width)) < 0.5
    found = Masks.of(masks)
    assert found.shape == masks.shape
    assert len(found.packed) == -(-masks.size // 8)
    np.testing.assert_array_equal(found.unpacked(), masks)


def test_equal_masks_have_one_name_and_others_another(tmp_path: Path) -> None:
    masks = np.eye(4, dtype=bool).reshape(1, 4, 4)
    one, two = read_masks(write(tmp_path, masks=masks)), Masks.of(masks)
    assert one == two
    assert one.name == f"masks-{one.digest[:16]}"
    for other in (~masks, masks.reshape(1, 2, 8), masks.reshape(2, 2, 4)):
        assert Masks.of(other).name != one.name


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"mask": np.ones((1, 8, 8), bool)}, "lacks masks"),
        ({"masks": np.ones((1, 8, 8), np.uint8)}, r"uint8 of shape \(1, 8, 8\): must be bool"),
        ({"masks": np.ones((8, 8), bool)}, r"shape \(8, 8\)"),
        ({"masks": np.zeros((1, 8, 8), bool)}, "False everywhere"),
        ({"masks": np.array([{}])}, "cannot be read"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(DatasetFileError, match=said):
        read_masks(write(tmp_path, **arrays))


def test_a_damaged_or_absent_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, masks=np.ones((9, 8, 8), bool))
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DatasetFileError, match="cannot be read"):
        read_masks(path)
    with pytest.raises(FileNotFoundError):
        read_masks(tmp_path / "none.npz")


def test_masks_must_be_those_of_the_test_rows() -> None:
    digits = DataSpec("digits")
    rows = digits.rows()
    assert rows is not None
    fits = Masks.of(np.ones((rows[2], 8, 8), bool))
    require_fit(fits, digits)
    require_fit(fits, DataSpec("digits", train_size=100, image_size=16))
    for shape in ((rows[2] - 1, 8, 8), (rows[2], 16, 16)):
        with pytest.raises(ValueError, match=rf"must be \({rows[2]}, 8, 8\)"):
            require_fit(Masks.of(np.ones(shape, bool)), digits)
    with pytest.raises(ValueError, match=r"must be \(5, 8, 8\)"):
        require_fit(fits, digits, test_rows=5)

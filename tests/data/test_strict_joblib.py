"""A joblib file is looked at before it is loaded; none of these runs code."""

import os
from pathlib import Path

import joblib
import numpy as np
import pytest

import data
from data.load import load
from data.strict_joblib import require_plain_array


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_an_array_of_numbers_passes(tmp_path: Path) -> None:
    joblib.dump(np.arange(12.0).reshape(3, 4), tmp_path / "a.pkz", compress=6)
    require_plain_array(tmp_path / "a.pkz")


@pytest.mark.parametrize("wrapped", [False, True])
def test_code_is_refused_and_not_run(tmp_path: Path, wrapped: bool) -> None:
    mark = tmp_path / "ran"
    evil: object = Evil(mark)
    if wrapped:  # in an array of objects, which joblib would unpickle by itself
        array = np.empty(1, dtype=object)
        array[0] = evil
        evil = array
    path = tmp_path / "cal_housing_py3.pkz"
    joblib.dump(evil, path, compress=6)
    with pytest.raises(ValueError, match=r"refers to|array of objects"):
        require_plain_array(path)
    with pytest.raises(data.DatasetFileError, match="cal_housing_py3"):
        load(data.DataSpec("california_housing"), tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x78\x9c", b"\x80\x04."])
def test_what_is_no_compressed_joblib_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cal_housing_py3.pkz"
    path.write_bytes(content)
    with pytest.raises(data.DatasetFileError, match="cal_housing_py3"):
        load(data.DataSpec("california_housing"), tmp_path)


def test_something_else_than_an_array_is_refused(tmp_path: Path) -> None:
    joblib.dump([1, 2], tmp_path / "a.pkz", compress=6)
    with pytest.raises(ValueError, match="holds a list"):
        require_plain_array(tmp_path / "a.pkz")


def test_the_real_file_passes(data_dir: Path) -> None:
    require_plain_array(data_dir / "cal_housing_py3.pkz")

"""Prepared datasets on disk: one uncompressed ``.npz`` of four arrays.

Files are read without pickle and written aside, synced and renamed, so a reader sees a whole file
or none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.atomic import replacing
from data.catalog import RawArrays
from data.errors import DatasetFileError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path) -> RawArrays:
    """Reads a prepared dataset.

    Args:
        path: An ``.npz`` file with `ARRAYS`.

    Returns:
        The arrays as they are in the file.

    Raises:
        DatasetFileError: The file is truncated or damaged, holds pickled objects, or lacks an
            array.
        OSError: The file cannot be opened.
    """
    with path.open("rb") as stream:
        # A damaged archive fails in many ways (zip, zlib, header, size); all mean the same here.
        try:
            content = np.load(stream, allow_pickle=False)
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise DatasetFileError(f"{path} is not an .npz archive")
            with content:
                missing = [key for key in ARRAYS if key not in content]
                if missing:
                    raise DatasetFileError(
                        f"{path} lacks {', '.join(missing)}: expected are {', '.join(ARRAYS)}"
                    )
                arrays = RawArrays(*(content[key] for key in ARRAYS))
        except DatasetFileError:
            raise
        except Exception as error:
            raise DatasetFileError(
                f"{path} cannot be read, it is truncated, damaged or not a plain .npz archive: "
                f"{type(error).__name__}: {error}"
            ) from error
    return arrays


def write_npz(path: Path, arrays: RawArrays) -> None:
    """Writes a prepared dataset atomically.

    Args:
        path: The file to write or replace; its directory exists.
        arrays: What to write.

    Raises:
        OSError: The directory cannot be written.
    """
    with replacing(path) as stream:
        np.savez(stream, **{key: getattr(arrays, key) for key in ARRAYS})

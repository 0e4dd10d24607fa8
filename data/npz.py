"""Prepared datasets on disk: one uncompressed ``.npz`` of four arrays; and other arrays in such files.

Files are read without pickle and written aside, synced and renamed, so a reader sees a whole file
or none.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

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
    return RawArrays(*read_arrays(path, ARRAYS))


def read_arrays(path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    """Reads arrays of a file by name; others in it are left alone.

    Args:
        path: An ``.npz`` file.
        names: The arrays.

    Returns:
        Them, in this order, as they are in the file.

    Raises:
        DatasetFileError: The file is truncated or damaged, holds pickled objects, or lacks one.
        OSError: The file cannot be opened.
    """
    with path.open("rb") as stream:
        # A damaged archive fails in many ways (zip, zlib, header, size); all mean the same here.
        try:
            _require_sizes(stream, path, names)
            content = np.load(stream, allow_pickle=False)
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise DatasetFileError(f"{path} is not an .npz archive")
            with content:
                missing = [key for key in names if key not in content]
                if missing:
                    raise DatasetFileError(
                        f"{path} lacks {', '.join(missing)}: expected are {', '.join(names)}"
                    )
                return [content[key] for key in names]
        except DatasetFileError:
            raise
        except Exception as error:
            raise DatasetFileError(
                f"{path} cannot be read, it is truncated, damaged or not a plain .npz archive: "
                f"{type(error).__name__}: {error}"
            ) from error


def _require_sizes(stream: IO[bytes], path: Path, names: Sequence[str]) -> None:
    """Refuses an archive that would unpack to more than it should, before anything is unpacked.

    An array is allocated as its header says, and a few kilobytes can unpack to terabytes.

    Raises:
        DatasetFileError: A header speaks of more than there is, or all of it does not fit in memory.
    """
    if not zipfile.is_zipfile(stream):
        stream.seek(0)
        return  # not an archive, as is said in words by who reads it
    total = 0
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            total += member.file_size
            if member.filename.removesuffix(".npy") not in names:
                continue
            with archive.open(member) as content:
                version = np.lib.format.read_magic(content)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(content)
                held = member.file_size - content.tell()
            said = math.prod(shape) * dtype.itemsize
            if not dtype.hasobject and said != held:
                raise DatasetFileError(
                    f"{path} cannot be read, it is damaged: {member.filename} holds {held:,} bytes, but "
                    f"its header says {shape} of {dtype}, which are {said:,}"
                )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if total > memory:
        raise DatasetFileError(
            f"{path} cannot be read, it unpacks to {total:,} bytes, and this machine has "
            f"{memory:,} bytes of memory"
        )
    stream.seek(0)


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

"""Files that are there whole or not at all: temporary name, fsync, rename, fsync of the folder."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TEMPORARY = ".tmp-"
"""How the names of unfinished files begin; one that an interrupted writer left may be removed."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Gives a stream to write to; the file is in place when the block ends without an error.

    Args:
        path: the file to make or replace; its folder exists. After an error it is as it was.

    Raises:
        OSError: where it cannot be written.
    """
    temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

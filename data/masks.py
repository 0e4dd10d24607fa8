"""Foreground masks of test images, made by people or by other programs: read, checked, handed on.

A file is an ``.npz`` with one array ``masks``, bool ``[n, H, W]``, True on the object, in the size
in which images are stored, for the test rows that are used, in canonical order. What goes to a worker
holds a bit for each pixel.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data import catalog
from data.errors import DatasetFileError
from data.npz import read_arrays
from data.segment import Mask
from data.spec import DataSpec

KEY = "masks"


@dataclass(frozen=True)
class Masks:
    """The masks of a file.

    Attributes:
        shape: ``(n, H, W)``.
        digest: SHA-256 of the shape and the masks, 64 hexadecimal digits: equal for equal masks,
            whatever their file is called.
        packed: The masks, eight pixels to a byte.
    """

    shape: tuple[int, int, int]
    digest: str
    packed: bytes = field(repr=False)

    @classmethod
    def of(cls, masks: Mask) -> Masks:
        """Packs masks, ``[n, H, W]``."""
        images, height, width = masks.shape
        packed = np.packbits(masks).tobytes()
        about = f"{images} {height} {width}\n".encode()
        digest = hashlib.sha256(about + packed).hexdigest()
        return cls((images, height, width), digest, packed)

    @property
    def name(self) -> str:
        """What results call them."""
        return f"masks-{self.digest[:16]}"

    def unpacked(self) -> Mask:
        """Returns the masks, bool ``[n, H, W]``."""
        count = int(np.prod(self.shape))
        bits = np.unpackbits(np.frombuffer(self.packed, np.uint8), count=count)
        return bits.reshape(self.shape).astype(bool)


def read_masks(path: Path) -> Masks:
    """Reads a file of masks.

    Args:
        path: See the module.

    Raises:
        DatasetFileError: It is no such file.
        OSError: It cannot be opened.
    """
    (found,) = read_arrays(path, (KEY,))
    if found.dtype != np.bool_ or found.ndim != 3:
        raise DatasetFileError(
            f"{path}: {KEY} is {found.dtype} of shape {found.shape}: must be bool of shape "
            "(test rows, height, width)"
        )
    if not found.any():
        raise DatasetFileError(f"{path}: {KEY} is False everywhere: must be True on the object")
    return Masks.of(found)


def require_fit(masks: Masks, spec: DataSpec, test_rows: int | None = None) -> None:
    """Checks that masks are those of some data.

    Args:
        masks: Of all test rows.
        spec: The data.
        test_rows: How many there are, None for what the catalog knows, if it knows.

    Raises:
        ValueError: There are more or fewer masks than rows, or of another size than the images.
    """
    rows = spec.rows()
    known = test_rows if test_rows is not None or rows is None else rows[2]
    shape = catalog.get(spec.name).input_shape[1:]
    if masks.shape[1:] != shape or known not in (None, masks.shape[0]):
        expected = f"{'n' if known is None else known}, {', '.join(map(str, shape))}"
        raise ValueError(
            f"masks of shape {masks.shape} do not fit dataset {spec.name!r}: must be ({expected}), "
            "one for each test row that is used, in canonical order, as large as its stored images"
        )

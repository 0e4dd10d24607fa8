"""The object of an image, found without any network: what differs in colour from the border.

Pixels are compared with the median colour of the image's border, which objects seldom fill; the
threshold between near and far is Otsu's (1979), the largest connected part of what is far is the
object, and holes in it are part of it. Pixels are connected with their eight neighbours in the
foreground and with four in the background, so that one never crosses the other.

This is a rule for pictures of one object before a calm ground. Where that is not so it finds
something else, and masks made by people are better (`data.masks`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

NAME = "border-otsu"
"""What results call this rule; another rule needs another name."""

_FOUR = ((-1, 0), (1, 0), (0, -1), (0, 1))
_EIGHT = (*_FOUR, (-1, -1), (-1, 1), (1, -1), (1, 1))


def foreground(images: NDArray[Any]) -> Mask:
    """Finds the object of every image.

    Args:
        images: Stored images, ``[n, C, H, W]``.

    Returns:
        bool ``[n, H, W]``, True on the object; nothing is, where all pixels have one colour.

    Raises:
        ValueError: The images have another number of axes.
    """
    if images.ndim != 4:
        raise ValueError(f"images of shape {images.shape}: must be (n, channels, height, width)")
    far = border_distance(images)
    masks = np.stack([one > otsu_threshold(one) for one in far]) if len(far) else far > 0
    return filled(largest_part(masks))


def border_distance(images: NDArray[Any]) -> NDArray[np.float64]:
    """Returns how far each pixel's colour is from the border's, Euclidean, ``[n, H, W]``.

    Args:
        images: ``[n, C, H, W]``.
    """
    pixels = images.astype(np.float64)
    edge = np.ones(pixels.shape[2:], dtype=bool)
    edge[1:-1, 1:-1] = False
    colour = np.median(pixels[:, :, edge], axis=2)[:, :, None, None]
    distance: NDArray[np.float64] = np.sqrt(((pixels - colour) ** 2).sum(axis=1))
    return distance


def otsu_threshold(values: NDArray[np.float64]) -> float:
    """Returns the value that parts some best into low and high (Otsu 1979, equation 18).

    The variance between both classes is greatest; of equal ones the first is taken. It is looked for
    among the values themselves, not among the bins of a histogram.

    Args:
        values: Of any shape, not empty.

    Returns:
        The largest of the low ones: high is what is above. The maximum where all are equal.
    """
    levels, counts = np.unique(values, return_counts=True)
    if len(levels) == 1:
        return float(levels[0])
    low = np.cumsum(counts)[:-1]
    sums = np.cumsum(levels * counts)
    high = values.size - low
    apart = sums[:-1] / low - (sums[-1] - sums[:-1]) / high
    return float(levels[int(np.argmax(low * high * apart**2))])


def largest_part(masks: Mask) -> Mask:
    """Keeps the largest connected part of every mask; of equal ones that with the first pixel.

    Args:
        masks: ``[n, H, W]``.
    """
    parts = _parts(masks, _EIGHT)
    kept = np.zeros_like(masks)
    for number, own in enumerate(parts):
        names, sizes = np.unique(own[masks[number]], return_counts=True)
        if len(names):
            kept[number] = masks[number] & (own == names[int(np.argmax(sizes))])
    return kept


def filled(masks: Mask) -> Mask:
    """Adds to every mask what it encloses: ground that is not connected with the image's border.

    Args:
        masks: ``[n, H, W]``.
    """
    ground = np.pad(~masks, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    parts = _parts(ground, _FOUR)
    outside = parts == parts[:, :1, :1]  # the frame is one part with all ground that reaches it
    framed: Mask = ~(ground & outside)
    return framed[:, 1:-1, 1:-1]


def _parts(masks: Mask, neighbours: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    """The connected part of each True pixel, by the place of its first pixel, ``[n, H, W]``.

    False pixels keep a number of their own. Every pixel takes the least number around it, and then
    that of the pixel it points to, which halves the way each time.
    """
    images, height, width = masks.shape
    own = np.arange(masks.size).reshape(masks.shape)
    beyond = masks.size  # above every number, beyond the edges and on False pixels
    names = own
    while True:
        framed = np.pad(
            np.where(masks, names, beyond), ((0, 0), (1, 1), (1, 1)), constant_values=beyond
        )
        least = names
        for down, right in neighbours:
            rows, columns = slice(1 + down, 1 + down + height), slice(1 + right, 1 + right + width)
            least = np.minimum(least, framed[:, rows, columns])
        least = np.where(masks, least, own)
        jumped = least.ravel()[least]
        if np.array_equal(jumped, names):
            return names.reshape(images, height, width)
        names = jumped

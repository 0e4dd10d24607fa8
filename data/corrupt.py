"""Corruptions of stored images: blur, noise, a black square in the middle or in a corner.

They are functions of one row's pixels and of the key of its draws, so an image is corrupted alike
in whichever subset it is used. All arithmetic is element by element, without a matrix product or a
library's generator: the same bytes on every machine.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from data.random_numbers import below, coarse_normals
from data.spec import DataSpec, share_of
from data.stratify import random_keys, stratified_order

Pixels = NDArray[np.uint8]

_CHUNK = 256  # images; their floats fit the caches of a CPU
_BLUR_REACH = 4.0  # deviations, as scipy.ndimage.gaussian_filter; what is beyond weighs 6e-5


def corrupt(
    images: Pixels,
    spec: DataSpec,
    positions: NDArray[np.int64],
    available: int,
    labels: NDArray[np.int64] | None,
    split: str,
    pixel_max: int,
) -> Pixels:
    """Corrupts a part of the images of a split.

    Args:
        images: The rows of the split, ``[n, H, W]`` or ``[n, H, W, C]``; left as they are.
        spec: Which corruption, how strong, and of what part.
        positions: Of these rows in the dataset's stored split, ``[n]``.
        available: Rows of that stored split.
        labels: Class of each row, ``[n]``, by which the part is stratified; None for regression.
        split: ``"train"`` or ``"test"``: the stored split.
        pixel_max: Value of a white pixel.

    Returns:
        A copy with corrupted rows, uint8, of the same shape.
    """
    keys = random_keys(available, spec.split_seed, f"corrupted {split}")[positions]
    order = stratified_order(keys, labels)
    rows = np.sort(order[: share_of(spec.corruption_fraction, len(images))])
    corrupted = images.copy()
    strength = spec.corruption_strength or 0.0
    if spec.corruption == "blur":
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            corrupted[part] = blurred(images[part], strength)
    elif spec.corruption == "noise":
        for row in rows.tolist():
            purpose = f"pixels {split} {positions[row]}"
            numbers = coarse_normals(images[row].size, spec.split_seed, purpose)
            corrupted[row] = noisy(images[row], numbers * np.float32(strength), pixel_max)
    elif spec.corruption == "center-black":
        height, width = images.shape[1:3]
        tall, wide = share_of(strength, height), share_of(strength, width)
        top, left = (height - tall) // 2, (width - wide) // 2
        corrupted[rows, top : top + tall, left : left + wide] = 0
    elif spec.corruption == "quarter-black":
        corners = below(available, 4, spec.split_seed, f"corner {split}")[positions[rows]]
        for corner in range(4):
            blacken_corner(corrupted, rows[corners == corner], corner, strength)
    return corrupted


def blurred(images: Pixels, deviation: float) -> Pixels:
    """Blurs images with a Gaussian; beyond the edge lies what is on the edge.

    Args:
        images: ``[n, H, W]`` or ``[n, H, W, C]``.
        deviation: Of the Gaussian, in pixels; it is cut off at 4 deviations.

    Returns:
        uint8, rounded once, of the same shape.
    """
    reach = math.ceil(_BLUR_REACH * deviation)
    distances = [offset / deviation for offset in range(-reach, reach + 1)]
    bell = [math.exp(-0.5 * distance * distance) for distance in distances]
    total = math.fsum(bell)
    found = images.astype(np.float32)
    for axis in (1, 2):
        places = np.arange(found.shape[axis])
        # Offsets beyond the far edge all fall on the edge: their weights are added up first.
        far = len(places) - 1
        weights = np.zeros(2 * far + 1)
        for offset, weight in zip(range(-reach, reach + 1), bell, strict=True):
            weights[max(-far, min(far, offset)) + far] += weight / total
        result = np.zeros_like(found)
        for offset in range(-far, far + 1):
            share = np.float32(weights[offset + far])
            if share:
                result += share * found.take(np.clip(places + offset, 0, far), axis=axis)
        found = result
    # The weights add up to 1 but for their rounding.
    rounded: Pixels = np.rint(found).clip(0, 255).astype(np.uint8)
    return rounded


def noisy(image: Pixels, noise: NDArray[np.float32], pixel_max: int) -> Pixels:
    """Adds noise to the pixels of an image.

    Args:
        image: Of any shape.
        noise: For each pixel in turn, in units of the pixel range, ``[pixels]``.
        pixel_max: The pixel range; results are cut off at 0 and here.

    Returns:
        uint8, rounded once, of the same shape.
    """
    found = image + noise.reshape(image.shape) * np.float32(pixel_max)
    return np.rint(found).clip(0, pixel_max).astype(np.uint8)


def blacken_corner(images: Pixels, rows: NDArray[np.int64], corner: int, part: float) -> None:
    """Puts a black square into one corner of some images, in place.

    Args:
        images: ``[n, H, W]`` or ``[n, H, W, C]``.
        rows: Which of them.
        corner: 0 top left, 1 top right, 2 bottom left, 3 bottom right.
        part: Side of the square, as a part of the image's.
    """
    height, width = images.shape[1:3]
    tall, wide = share_of(part, height), share_of(part, width)
    top = 0 if corner < 2 else height - tall
    left = 0 if corner % 2 == 0 else width - wide
    images[rows, top : top + tall, left : left + wide] = 0

"""Random changes of training images: flips, shifts and turns, drawn anew for every batch.

An image is padded with black, flipped, rotated, and cropped to its size again. All of it moves whole
pixels (a rotation takes the nearest), so it is one look-up: for each pixel of the result, where it
came from. A flip alone therefore changes no bit of any pixel, and nothing is interpolated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_PAD = 1024


@dataclass(frozen=True)
class Augment:
    """How training images are changed at random; nothing, as it is.

    Attributes:
        flip: Whether each image is mirrored left to right, one time in two.
        pad: Pixels of black that are put around an image before a part of its own size is cut
            out, at a place that is drawn: images are shifted by up to `pad` pixels either way.
        rotation: Degrees; each image is turned about its centre by an angle that is drawn between
            minus and plus this. Pixels that come from outside are black.
    """

    flip: bool = False
    pad: int = 0
    rotation: float = 0.0

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            ValueError: A value is not allowed; the message names key and value.
        """
        if type(self.flip) is not bool:
            self._refuse("flip", "true or false")
        if type(self.pad) is not int or not 0 <= self.pad <= LARGEST_PAD:
            self._refuse("pad", f"an integer from 0 to {LARGEST_PAD}")
        if (
            isinstance(self.rotation, bool)
            or not isinstance(self.rotation, int | float)
            or not 0 <= self.rotation <= 180
        ):
            self._refuse("rotation", "a number of degrees from 0 to 180")
        object.__setattr__(self, "rotation", abs(float(self.rotation)))  # one spelling of zero

    @property
    def is_on(self) -> bool:
        """Whether anything is changed."""
        return self.flip or self.pad > 0 or self.rotation > 0

    def _refuse(self, key: str, allowed: str) -> None:
        raise ValueError(f"{key} = {getattr(self, key)!r} is not allowed: {allowed}")


def augment(x: Tensor, how: Augment, fill: float | Tensor, key: int) -> Tensor:
    """Changes each image of a batch at random.

    Args:
        x: Network inputs, ``[n, C, H, W]``, on any device; left as they are.
        how: What is done.
        fill: What black is among these inputs: a number, or ``[C, 1, 1]`` on the device of `x`.
        key: Seed of the draws, from 0 to below 2^63. They are made on the CPU, each kind whether
            it is used or not: which images are flipped does not depend on `pad` or `rotation`.

    Returns:
        The changed images, of the shape and type of `x`; `x` itself where nothing is on.

    Raises:
        ValueError: The inputs are not images.
    """
    import torch

    if x.ndim != 4:
        raise ValueError(f"x has shape {tuple(x.shape)}: only images, [n, C, H, W], are augmented")
    if not how.is_on:
        return x
    draws = torch.Generator().manual_seed(key)
    flipped = torch.rand(len(x), generator=draws) < 0.5
    turns = torch.rand(len(x), generator=draws, dtype=torch.float64) * 2 - 1
    offsets = torch.randint(0, 2 * how.pad + 1, (2, len(x)), generator=draws)
    return moved(
        x,
        flipped=flipped if how.flip else torch.zeros_like(flipped),
        degrees=turns * how.rotation if how.rotation else None,
        offsets=offsets,
        pad=how.pad,
        fill=fill,
    )


def moved(
    x: Tensor,
    *,
    flipped: Tensor,
    degrees: Tensor | None,
    offsets: Tensor,
    pad: int,
    fill: float | Tensor,
) -> Tensor:
    """Pads, flips, rotates and crops each image of a batch as it is told.

    Args:
        x: ``[n, C, H, W]``, on any device.
        flipped: Which images are mirrored, bool ``[n]``; as all draws, on the CPU.
        degrees: Angle of each image, counter-clockwise, float64 ``[n]``; None for no rotation.
        offsets: Rows and columns of the padded image that are cut off at the top and at the left,
            from 0 to 2 `pad`, int64 ``[2, n]``.
        pad: Pixels put around an image.
        fill: What is put there, a number or ``[C, 1, 1]``.

    Returns:
        ``[n, C, H, W]``.
    """
    import torch

    n, _, height, width = x.shape
    device = x.device
    top, left = offsets.to(device)[:, :, None, None]
    # Places in the padded image, counted from the corner of the image itself: [n, H, W], or as
    # much of that as they differ by.
    rows = torch.arange(height, device=device)[:, None] + (top - pad)
    columns = torch.arange(width, device=device) + (left - pad)
    if degrees is not None:
        middle, centre = (height - 1) / 2, (width - 1) / 2
        angles = degrees[:, None, None] * (math.pi / 180)
        cosine, sine = (f(angles).to(device, torch.float32) for f in (torch.cos, torch.sin))
        down, right = rows - middle, columns - centre
        rows = (right * sine + down * cosine + middle).round().to(torch.int64)
        columns = (right * cosine - down * sine + centre).round().to(torch.int64)
    columns = torch.where(flipped.to(device)[:, None, None], width - 1 - columns, columns)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    places = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    source = places.reshape(n, 1, height * width).expand(-1, x.shape[1], -1)
    found = x.flatten(2).gather(2, source).reshape(x.shape)
    return torch.where(inside[:, None], found, fill)

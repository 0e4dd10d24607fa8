"""From pixels to what a network sees: ``(x / pixel_max - mean) / deviation``, maybe resized.

One formula serves all scalings: mean and deviation are 0.5 for [-1, 1], 0 and 1 for [0, 1],
figures of the training images, channel by channel, for standardised inputs, and ImageNet's for
networks that begin with torchvision's weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from data.spec import Scaling

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Of red, green and blue from 0 to 1, as torchvision's published networks were trained with
(https://pytorch.org/vision/stable/models.html)."""


def scaling_figures(
    scaling: Scaling, images: Tensor, pixel_max: int
) -> tuple[float, float] | tuple[Tensor, Tensor]:
    """Returns the mean and deviation that a scaling subtracts and divides by.

    Sums are integers, so the figures depend on the set of images alone, not on their order.

    Args:
        scaling: Which.
        images: The training images that are used, uint8 ``[n, C, H, W]``.
        pixel_max: Value of a white pixel.

    Returns:
        Mean and population deviation in units of `pixel_max`: numbers, or float32 ``[C, 1, 1]``
        where they differ by channel. The deviation of a constant channel counts as 1.
    """
    if scaling == "symmetric":
        return 0.5, 0.5
    if scaling == "unit":
        return 0.0, 1.0
    if scaling == "imagenet":
        mean, deviation = torch.tensor([IMAGENET_MEAN, IMAGENET_DEVIATION], dtype=torch.float32)
        return mean[:, None, None].clone(), deviation[:, None, None].clone()
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = torch.bincount(images[:, channel].reshape(-1), minlength=pixel_max + 1).tolist()
        n = sum(counts)
        total = sum(value * count for value, count in enumerate(counts))
        squares = sum(value * value * count for value, count in enumerate(counts))
        means.append(total / (n * pixel_max))
        variance = (n * squares - total * total) / (n * n * pixel_max * pixel_max)
        deviations.append(math.sqrt(variance) or 1.0)
    mean, deviation = torch.tensor([means, deviations], dtype=torch.float64).to(torch.float32)
    return mean[:, None, None].clone(), deviation[:, None, None].clone()


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes images: bilinear, with antialiasing, as torchvision's `Resize` does to tensors.

    Args:
        images: float32 ``[n, C, H, W]``, from 0 to 1.
        size: New height and width.

    Returns:
        float32 ``[n, C, *size]``, from 0 to 1.
    """
    if tuple(images.shape[-2:]) == size:
        return images
    found = torch.nn.functional.interpolate(
        images, size=size, mode="bilinear", align_corners=False, antialias=True
    )
    # Weights add up to 1 but for their rounding, and nothing may lie beyond black and white.
    return found.clamp_(0.0, 1.0)

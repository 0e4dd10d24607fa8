"""Where a classifier of images looks: the part of its SHAP values that lies on the object.

The value of a pixel is the sum of the absolute values of its channels. Of an image it is measured
which share of all of them lies on the foreground, and their mean per pixel on either side: an object
that fills much of its image has a large share for that reason alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data.load import LoadedData
from data.segment import Mask, foreground
from data.stratify import random_keys, stratified_order
from trials.attribution_settings import AttributionSettings
from trials.evaluate import eval_mode
from trials.expected_gradients import completeness_error, expected_gradients
from trials.masked import masked

IMAGES_SEED = 0
"""Of the choice of images: no trial's, so that all networks on a dataset explain the same."""


@dataclass(frozen=True)
class ImageAttribution:
    """Where a network looks in one image.

    Attributes:
        row: the image's place in the test split.
        label: its class.
        predicted: the class that the network says.
        foreground: mean absolute value per pixel of the object, in the logit's unit; None without.
        background: the same of all other pixels.
        share: of the sum of absolute values, what lies on the object, from 0 to 1; None where there
            is no object, nothing else, or no value but zero.
        area: share of the pixels that are the object.
    """

    row: int
    label: int
    predicted: int
    foreground: float | None
    background: float | None
    share: float | None
    area: float


@dataclass(frozen=True)
class Attribution:
    """Where a network looks.

    Attributes:
        images: by ascending row.
        background: training images they were compared with.
        completeness_error: what the values are away from adding up, summed over images without
            signs, as a share of what they should add up to; the sampling error as it shows.
    """

    images: tuple[ImageAttribution, ...]
    background: int
    completeness_error: float


def attribute(
    model: nn.Module,
    loaded: LoadedData,
    settings: AttributionSettings,
    *,
    seed: int,
    masks: Mask | None = None,
) -> Attribution:
    """Weighs the pixels of test images.

    Args:
        model: the network, on the device of the data; in eval mode for the time being.
        loaded: images with classes.
        settings: of how many, how.
        seed: of the trial; see `AttributionSettings`.
        masks: bool `(test rows, H, W)`, the objects in the size of stored images; None finds them
            by `data.segment`.

    Raises:
        ValueError: the data are no images with classes, or there are not as many masks as rows.
    """
    if loaded.task != "classification" or loaded.pixel_max is None:
        raise ValueError(f"dataset {loaded.name!r}: must be images with classes")
    if masks is not None and masks.shape != (len(loaded.test), *loaded.test.x.shape[2:]):
        raise ValueError(
            f"masks of shape {masks.shape}: must be {(len(loaded.test), *loaded.test.x.shape[2:])}"
        )
    rows = chosen_rows(loaded.test.y, settings.images, IMAGES_SEED, "attribution images")
    ground = chosen_rows(loaded.train.y, settings.background, seed, "attribution background")
    stored = loaded.test.x[torch.from_numpy(rows).to(loaded.test.x.device)]
    objects = foreground(stored.cpu().numpy()) if masks is None else masks[rows]
    objects = resized_masks(objects, loaded.input_shape[1:])
    explained = masked(model, loaded.class_mask)
    background = loaded.inputs(loaded.train.x[torch.from_numpy(ground).to(loaded.train.x.device)])
    found: list[ImageAttribution] = []
    away = apart = 0.0
    with eval_mode(explained):
        for row, x, own in zip(rows.tolist(), _inputs(loaded, stored), objects, strict=True):
            label = int(loaded.test.y[row])
            with torch.inference_mode():
                predicted = int(explained(x.unsqueeze(0)).argmax(1))
            output = label if settings.explains == "label" else predicted
            values = expected_gradients(
                explained, x, background, output, seed=seed, row=row, repeats=settings.repeats
            )
            error, difference = completeness_error(explained, x, background, values, output)
            away, apart = away + abs(error), apart + abs(difference)
            sizes = values.abs().sum(0).cpu().numpy()
            found.append(ImageAttribution(row, label, predicted, **parted(sizes, own)))
    return Attribution(tuple(found), len(ground), away / apart if apart else 0.0)


def chosen_rows(labels: Tensor, count: int, seed: int, purpose: str) -> NDArray[np.int64]:
    """A stratified choice of rows, ascending; a larger one contains a smaller.

    Args:
        labels: class of each row.
        count: how many; all where there are fewer.
        seed: of the choice.
        purpose: name of its stream.
    """
    classes = labels.cpu().numpy()
    order = stratified_order(random_keys(len(classes), seed, purpose), classes)
    chosen: NDArray[np.int64] = np.sort(order[:count])
    return chosen


def parted(sizes: NDArray[np.float64], own: Mask) -> dict[str, Any]:
    """What lies on an object and what beside it.

    Args:
        sizes: `(H, W)`, absolute values of the pixels.
        own: `(H, W)`, where the object is.

    Returns:
        `foreground`, `background`, `share` and `area`; see `ImageAttribution`.
    """
    on, beside = sizes[own], sizes[~own]
    total = float(sizes.sum())
    return {
        "foreground": float(on.mean()) if len(on) else None,
        "background": float(beside.mean()) if len(beside) else None,
        "share": float(on.sum()) / total if len(on) and len(beside) and total > 0 else None,
        "area": float(own.mean()),
    }


def resized_masks(masks: Mask, size: tuple[int, ...]) -> Mask:
    """Masks in the size of network inputs: each pixel is what lies at its centre.

    Args:
        masks: `(n, H, W)`.
        size: height and width.
    """
    height, width = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, masks.shape[1:], strict=True)
    )
    return masks[:, height[:, None], width]


def _inputs(loaded: LoadedData, stored: Tensor) -> Iterator[Tensor]:
    """Network inputs one by one: all of them may not fit, and none depends on the others."""
    for image in stored:
        yield loaded.inputs(image.unsqueeze(0))[0]

"""Which rows a study uses, and how networks see them: section `[split]`."""

from typing import Annotated, Literal

from pydantic import Field

import data
from sweep.section import Corruption, Count, Number, Scaling, Section, Seed, Values


class Split(Section):
    """Which rows train and which select; the test rows of a dataset are fixed."""

    train_size: Annotated[Count, Field(ge=1, lt=2**63)] | None = Field(
        None, description="rows of a stratified subset of the training rows; absent: all"
    )
    validation: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0, description="fraction of the training rows that is set aside"
    )
    split_seed: Seed = Field(
        0, description="steers which rows are set aside, perturbed or corrupted, and how; not the "
        "trial's seed"
    )  # fmt: skip
    train_fraction: Annotated[Number, Field(gt=0, le=1)] | None = Field(
        None, description="the same as a part of the training rows that remain; absent: all"
    )
    classes: Values[Annotated[Count, Field(ge=0)]] | None = Field(
        None, description="of the labels: rows of others are left out of every split, and the "
        "network's outputs for them are masked to 0; absent: all"
    )  # fmt: skip
    scaling: Scaling = Field(
        "symmetric", description="of images: symmetric to -1..1, unit to 0..1, standard to mean 0 and "
        "deviation 1 of each channel over the training rows, imagenet with the mean and deviation that "
        "torchvision's weights were trained with"
    )  # fmt: skip
    image_size: Annotated[Count, Field(ge=1, le=4096)] | None = Field(
        None, description="side to which images are resized; absent: as they are"
    )
    label_noise: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0, description="part of the training rows whose label is replaced by another"
    )
    label_noise_part: Annotated[Number, Field(gt=0, le=1)] = Field(
        1.0, description="part of the training rows to which label noise is confined; its rate is "
        "of these"
    )  # fmt: skip
    target_noise: Annotated[Number, Field(ge=0)] = Field(
        0.0, description="of regression: deviation of Gaussian noise on training targets, "
        "standardised"
    )  # fmt: skip
    corruption: Corruption | None = Field(
        None, description="of images: blur, noise, center-black or quarter-black"
    )
    corruption_strength: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="deviation of the blur in pixels, of noise in parts of the range; side of the "
        "black square in parts of the image's"
    )  # fmt: skip
    corruption_fraction: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="part of the images that is corrupted"
    )
    corruption_on: Literal["train", "all"] | None = Field(
        None, description="which splits are corrupted: train or all"
    )

    def rows_of(self, name: str) -> data.DataSpec:
        """What a trial on a dataset uses of it.

        Raises:
            ValueError: naming the key, the value and what is allowed.
        """
        return data.DataSpec(
            name, **{key: value for key, value in self.model_dump().items() if value is not None}
        )

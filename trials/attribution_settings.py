"""What is asked about where a network looks; part of no trial's identity, and free of torch."""

from dataclasses import dataclass
from typing import Literal, get_args

Explained = Literal["label", "predicted"]

METHOD = "expected-gradients"
"""What results call `trials.expected_gradients`; another way to the values needs another name."""

IMAGES_AT_MOST, BACKGROUND_AT_MOST, REPEATS_AT_MOST = 1_000_000, 100_000, 10_000


@dataclass(frozen=True)
class AttributionSettings:
    """How the pixels of how many images are weighed.

    Attributes:
        images: test images that are explained: a stratified choice that is the same for all trials
            on some test rows; a larger choice contains a smaller. All, where there are fewer.
        background: training images they are compared with: a stratified choice by the trial's seed,
            so that a student and its baseline have the same. All, where there are fewer.
        repeats: gradients for each pair of an image and one of the background.
        explains: which logit: that of the true class, of which all networks explain the same, or of
            the class that the network predicts.
    """

    images: int = 200
    background: int = 100
    repeats: int = 1
    explains: Explained = "label"

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            ValueError: names the key, the value and what is allowed.
        """
        for key, most in (
            ("images", IMAGES_AT_MOST), ("background", BACKGROUND_AT_MOST),
            ("repeats", REPEATS_AT_MOST),
        ):  # fmt: skip
            value = getattr(self, key)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{key} = {value!r}: must be an integer from 1 to {most:,}")
        if self.explains not in get_args(Explained):
            allowed = ", ".join(get_args(Explained))
            raise ValueError(f"explains = {self.explains!r}: must be one of {allowed}")

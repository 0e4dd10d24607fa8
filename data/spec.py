"""Which rows of which dataset a trial uses, and how it sees them: a frozen value, checked when made.

The checks use the catalog alone, so a mistake is found while planning, without torch and without
the data. Every field but the name has a default that means "off". A field without effect is reset,
so that equal data has one form.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

from data import catalog

Scaling = Literal["symmetric", "unit", "standard", "imagenet"]
Corruption = Literal["blur", "noise", "center-black", "quarter-black"]
CorruptedSplits = Literal["train", "all"]

LARGEST_IMAGE = 4096
"""Pixels; the side of the largest image that a network can be shown."""

_LARGEST_SEED = 2**63 - 1
_STRENGTHS: dict[str, tuple[float, str]] = {
    "blur": (LARGEST_IMAGE, "deviation of the Gaussian in pixels"),
    "noise": (1.0, "deviation in units of the pixel range"),
    "center-black": (1.0, "side of the square as a part of the image's"),
    "quarter-black": (1.0, "side of the square as a part of the image's"),
}
"""The largest strength of each corruption, and what it means."""


def share_of(fraction: float, rows: int) -> int:
    """Returns how many of some rows a fraction is: the nearest integer, halves up."""
    return math.floor(fraction * rows + 0.5)


@dataclass(frozen=True)
class DataSpec:
    """A dataset, its splits, and what is done to them.

    Where `classes` are given, other rows count for nothing. The validation rows are taken from the
    training split first; the training rows are chosen from what remains. Both choices are random
    by `split_seed`, stratified by class where there are classes. A larger `train_size` contains
    the rows of a smaller one. Noise on labels, noise on targets and corruption are drawn by
    `split_seed` too: trials of different seeds see the same data. Stored images are corrupted
    first; what networks are shown is then resized and scaled.

    Attributes:
        name: A registered dataset.
        train_size: Training rows to use, None for all that remain.
        validation: Part of the training split that is set aside, from 0 (none) to below 1; the
            row count is rounded to the nearest integer, halves up, as all row counts are.
        split_seed: Seed of every choice; without effect while nothing is chosen.
        train_fraction: Part of the rows that remain for training, above 0, at most 1; instead of
            `train_size`, and turned into it where the number of rows is known without data.
        classes: Only rows of these classes are in any split: at least two, ascending. None for all.
        scaling: How images reach a network: `"symmetric"` from -1 to 1; `"unit"` from 0 to 1;
            `"standard"` with each channel's mean and population deviation over the training rows
            that are used, as they are used; `"imagenet"` with the figures of ImageNet's colour
            channels, which published networks were trained with. Tables are always standardised.
        image_size: Side in pixels of the square that images are resized to when a network is
            shown them; None for their own size.
        label_noise: Part of the training rows, from 0 to below 1, that gets the label of another
            class. The rows of a smaller part are among those of a larger, with the same labels.
        label_noise_part: Part of the training rows that the noise on labels is confined to, above
            0, at most 1; `label_noise` is then a part of these rows. The same rows for any
            `label_noise`, and contained in those of a larger part.
        target_noise: Deviation of the Gaussian noise on the targets of training rows in a
            regression, in units of the standardised target. What standardises is fitted to the
            targets without noise, so errors of different noise are in one unit.
        corruption: What is done to images: `"blur"`, `"noise"` (Gaussian), `"center-black"` (a
            black square in the middle), `"quarter-black"` (a black square in one corner, which is
            drawn for each image); None for nothing.
        corruption_strength: Deviation of the blur in pixels; of the noise in units of the pixel
            range; side of the black square as a part of the image's. Needed by every corruption;
            0 for none.
        corruption_fraction: Part of a split's images that is corrupted, from 0 to 1; the images
            of a smaller part are among those of a larger.
        corruption_on: `"train"`, or `"all"` for validation and test images as well.
    """

    name: str
    train_size: int | None = None
    validation: float = 0.0
    split_seed: int = 0
    _: KW_ONLY
    train_fraction: float | None = None
    classes: tuple[int, ...] | None = None
    scaling: Scaling = "symmetric"
    image_size: int | None = None
    label_noise: float = 0.0
    label_noise_part: float = 1.0
    target_noise: float = 0.0
    corruption: Corruption | None = None
    corruption_strength: float | None = None
    corruption_fraction: float = 1.0
    corruption_on: CorruptedSplits = "train"

    def __post_init__(self) -> None:
        """Checks every field against the catalog.

        Raises:
            UnknownDatasetError: The name is not registered.
            ValueError: Another value is not allowed; the message names key and value.
        """
        entry = catalog.get(self.name)
        self._check_rows()
        self._check_classes(entry)
        self._check_images(entry)
        self._check_noise(entry)
        self._check_corruption(entry)
        available, _ = entry.rows(self.classes)
        if available is not None:
            training, validation = self.counts(available)
            self.noisy_rows(training)
            remaining = available - validation
            self._set("train_fraction", None)  # by its one name from here on
            self._set("train_size", None if training == remaining else training)
        if not self._draws:
            # Nothing is chosen, so the seed has no effect and must make no difference.
            self._set("split_seed", 0)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input as a network sees it, `(C, H, W)` or `(F,)`."""
        shape = catalog.get(self.name).input_shape
        return shape if self.image_size is None else (shape[0], self.image_size, self.image_size)

    def counts(self, available: int) -> tuple[int, int]:
        """Returns how many training and validation rows are used.

        Args:
            available: Rows of the dataset's training split; of `classes`, where these are given.

        Returns:
            Training rows and validation rows.

        Raises:
            ValueError: There are too few rows for what is asked.
        """
        validation = share_of(self.validation, available)
        if self.validation > 0 and not 0 < validation < available:
            raise ValueError(
                f"validation = {self.validation!r} is not allowed for dataset {self.name!r}: of "
                f"its {available} training rows it sets aside {validation}, and at least one row "
                "must be on either side"
            )
        remaining = available - validation
        if self.train_size is not None and self.train_size > remaining:
            raise ValueError(
                f"train_size = {self.train_size!r} is not allowed for dataset {self.name!r}: at "
                f"most {remaining} ({available} training rows, {validation} of them for validation)"
            )
        if self.train_fraction is not None:
            training = share_of(self.train_fraction, remaining)
            if training < 1:
                raise ValueError(
                    f"train_fraction = {self.train_fraction!r} is not allowed for dataset "
                    f"{self.name!r}: it leaves none of {remaining} rows to train on"
                )
            return training, validation
        return (remaining if self.train_size is None else self.train_size), validation

    def rows(self) -> tuple[int, int, int] | None:
        """Returns the counts of training, validation and test rows, without reading data.

        Returns:
            The three counts, or None when the catalog does not know them: for all rows, or for
            those of `classes`.
        """
        available, test = catalog.get(self.name).rows(self.classes)
        if available is None or test is None:
            return None
        return (*self.counts(available), test)

    def noisy_rows(self, training: int) -> tuple[int, int]:
        """Returns how many training rows the noise on labels may change, and how many it changes.

        Args:
            training: Training rows that are used.

        Raises:
            ValueError: There is noise, but so little that it changes no row.
        """
        part = share_of(self.label_noise_part, training)
        noisy = share_of(self.label_noise, part)
        if self.label_noise > 0 and noisy == 0:
            raise ValueError(
                f"label_noise = {self.label_noise!r} is not allowed for dataset {self.name!r}: it "
                f"changes none of {part} rows ({training} training rows, label_noise_part = "
                f"{self.label_noise_part!r}); 0 leaves labels as they are"
            )
        return part, noisy

    @property
    def _draws(self) -> bool:
        """Whether anything is drawn at random."""
        return (
            self.train_size is not None
            or self.train_fraction is not None
            or self.validation > 0
            or self.label_noise > 0
            or self.target_noise > 0
            or self.corruption in ("noise", "quarter-black")
            or self.corruption_fraction < 1
        )

    def _check_rows(self) -> None:
        if self.train_size is not None and not _is_count(self.train_size):
            self._refuse("train_size", "a positive integer, or none for all rows")
        if not (_is_number(self.validation) and 0 <= self.validation < 1):
            self._refuse("validation", "a number from 0 to below 1")
        if type(self.split_seed) is not int or not 0 <= self.split_seed <= _LARGEST_SEED:
            self._refuse("split_seed", "an integer from 0 to 2**63 - 1")
        # 0, 0.0 and -0.0 are one value, and must be one in every canonical form.
        self._set("validation", abs(float(self.validation)))
        if self.train_fraction is not None:
            if not (_is_number(self.train_fraction) and 0 < self.train_fraction <= 1):
                self._refuse("train_fraction", "a number above 0, at most 1, or none for all rows")
            if self.train_size is not None:
                raise ValueError(
                    f"train_fraction = {self.train_fraction!r} is not allowed beside train_size = "
                    f"{self.train_size!r}: give one of them"
                )
            whole = self.train_fraction == 1
            self._set("train_fraction", None if whole else float(self.train_fraction))

    def _check_classes(self, entry: catalog.DatasetEntry) -> None:
        if self.classes is None:
            return
        if entry.task != "classification":
            self._refuse("classes", f"none, for dataset {self.name!r} is a regression")
        if isinstance(self.classes, list):
            self._set("classes", tuple(self.classes))
        if not (
            isinstance(self.classes, tuple)
            and len(self.classes) >= 2
            and all(type(label) is int and 0 <= label < entry.outputs for label in self.classes)
            and list(self.classes) == sorted(set(self.classes))
        ):
            self._refuse(
                "classes",
                f"at least two different classes from 0 to {entry.outputs - 1}, ascending, or none "
                "for all",
            )
        if len(self.classes) == entry.outputs:
            self._set("classes", None)

    def _check_images(self, entry: catalog.DatasetEntry) -> None:
        if self.scaling not in get_args(Scaling):
            self._refuse("scaling", f"one of {', '.join(get_args(Scaling))}")
        if self.scaling != "symmetric" and not entry.is_image:
            self._refuse("scaling", f"left out, for dataset {self.name!r} is a table")
        if self.scaling == "imagenet" and entry.input_shape[0] != 3:
            self._refuse(
                "scaling",
                f"another, for it is of 3 channels and images of dataset {self.name!r} have "
                f"{entry.input_shape[0]}",
            )
        if self.image_size is None:
            return
        if not entry.is_image:
            self._refuse("image_size", f"none, for dataset {self.name!r} is a table")
        if not _is_count(self.image_size) or self.image_size > LARGEST_IMAGE:
            self._refuse("image_size", f"an integer from 1 to {LARGEST_IMAGE}, or none")
        if entry.input_shape[1:] == (self.image_size, self.image_size):
            self._set("image_size", None)

    def _check_noise(self, entry: catalog.DatasetEntry) -> None:
        if not (_is_number(self.label_noise) and 0 <= self.label_noise < 1):
            self._refuse("label_noise", "a number from 0 to below 1")
        if not (_is_number(self.label_noise_part) and 0 < self.label_noise_part <= 1):
            self._refuse("label_noise_part", "a number above 0, at most 1")
        if not (_is_number(self.target_noise) and 0 <= self.target_noise <= 1000):
            self._refuse("target_noise", "a number from 0 to 1000")
        if self.label_noise and entry.task != "classification":
            self._refuse("label_noise", f"0, for dataset {self.name!r} has no labels")
        if self.target_noise and entry.task != "regression":
            self._refuse("target_noise", f"0, for dataset {self.name!r} is no regression")
        self._set("label_noise", abs(float(self.label_noise)))
        self._set("target_noise", abs(float(self.target_noise)))
        self._set("label_noise_part", float(self.label_noise_part) if self.label_noise else 1.0)

    def _check_corruption(self, entry: catalog.DatasetEntry) -> None:
        if self.corruption is not None and self.corruption not in get_args(Corruption):
            self._refuse("corruption", f"one of {', '.join(get_args(Corruption))}, or none")
        if self.corruption is not None and not entry.is_image:
            self._refuse("corruption", f"none, for dataset {self.name!r} is a table")
        if self.corruption_on not in get_args(CorruptedSplits):
            self._refuse("corruption_on", f"one of {', '.join(get_args(CorruptedSplits))}")
        if not (_is_number(self.corruption_fraction) and 0 <= self.corruption_fraction <= 1):
            self._refuse("corruption_fraction", "a number from 0 to 1")
        strength = self.corruption_strength
        if strength is not None and not (_is_number(strength) and 0 <= strength < math.inf):
            self._refuse("corruption_strength", "a finite number of at least 0")
        if self.corruption is not None:
            most, meaning = _STRENGTHS[self.corruption]
            if strength is None or strength > most:
                self._refuse(
                    "corruption_strength",
                    f"for corruption = {self.corruption!r}, a number from 0 to {most:g} ({meaning})",
                )
            if strength and self.corruption.endswith("black"):
                sides = [share_of(strength, side) for side in entry.input_shape[1:]]
                if min(sides) < 1:
                    self._refuse(
                        "corruption_strength",
                        f"for images of {entry.input_shape[1:]} pixels, 0 or enough for a square "
                        "of one pixel",
                    )
        if self.corruption is None or not strength or not self.corruption_fraction:
            self._set("corruption", None)
            self._set("corruption_strength", None)
            self._set("corruption_fraction", 1.0)
            self._set("corruption_on", "train")
        else:
            self._set("corruption_strength", float(strength))
            self._set("corruption_fraction", float(self.corruption_fraction))

    def _set(self, key: str, value: object) -> None:
        object.__setattr__(self, key, value)

    def _refuse(self, key: str, allowed: str) -> None:
        raise ValueError(f"{key} = {getattr(self, key)!r} is not allowed: {allowed}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1

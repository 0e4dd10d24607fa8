"""Which rows of which dataset a trial uses: a small frozen value, checked when it is made.

The checks use the catalog alone, so a mistake is found while planning, without torch and without
the data. Every field but the name has a default that means "off".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from data import catalog

_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class DataSpec:
    """A dataset and its splits.

    The validation rows are taken from the training split first; the training rows are chosen
    from what remains. Both choices are random by `split_seed`, stratified by class where there
    are classes. A larger `train_size` contains the rows of a smaller one.

    Attributes:
        name: A registered dataset.
        train_size: Training rows to use, None for all that remain.
        validation: Part of the training split that is set aside, from 0 (none) to below 1; the
            row count is rounded to the nearest integer, halves up.
        split_seed: Seed of both choices; without effect while nothing is chosen.
    """

    name: str
    train_size: int | None = None
    validation: float = 0.0
    split_seed: int = 0

    def __post_init__(self) -> None:
        """Checks every field against the catalog.

        Raises:
            UnknownDatasetError: The name is not registered.
            ValueError: Another value is not allowed; the message names key and value.
        """
        entry = catalog.get(self.name)
        if self.train_size is not None and (
            type(self.train_size) is not int or self.train_size < 1
        ):
            raise ValueError(
                f"train_size = {self.train_size!r} is not allowed: a positive integer, or none "
                "for all rows"
            )
        if (
            isinstance(self.validation, bool)
            or not isinstance(self.validation, int | float)
            or not 0 <= self.validation < 1
        ):
            raise ValueError(
                f"validation = {self.validation!r} is not allowed: a number from 0 to below 1"
            )
        if type(self.split_seed) is not int or not 0 <= self.split_seed <= _LARGEST_SEED:
            raise ValueError(
                f"split_seed = {self.split_seed!r} is not allowed: an integer from 0 to 2**63 - 1"
            )
        # 0, 0.0 and -0.0 are one value, and must be one in every canonical form.
        object.__setattr__(self, "validation", abs(float(self.validation)))
        if entry.train_rows is not None:
            training, validation = self.counts(entry.train_rows)
            if self.train_size == entry.train_rows - validation == training:
                object.__setattr__(self, "train_size", None)  # all that remain, by another name
        if self.train_size is None and self.validation == 0:
            # Nothing is chosen, so the seed has no effect and must make no difference.
            object.__setattr__(self, "split_seed", 0)

    def counts(self, available: int) -> tuple[int, int]:
        """Returns how many training and validation rows are used.

        Args:
            available: Rows of the dataset's training split.

        Returns:
            Training rows and validation rows.

        Raises:
            ValueError: There are too few rows for what is asked.
        """
        validation = math.floor(self.validation * available + 0.5)
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
        return (remaining if self.train_size is None else self.train_size), validation

    def rows(self) -> tuple[int, int, int] | None:
        """Returns the counts of training, validation and test rows, without reading data.

        Returns:
            The three counts, or None when the catalog does not know them.
        """
        entry = catalog.get(self.name)
        if entry.train_rows is None or entry.test_rows is None:
            return None
        return (*self.counts(entry.train_rows), entry.test_rows)

"""What somebody expected before the study was run: tables `[[expected]]`."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from sweep.section import MAX_EPOCHS, Alpha, Count, Name, Section, Values, expand_range
from sweep.study.dataset import DatasetStudy


class Expected(Section):
    """Settings that somebody expected to do best, before the study was run.

    The report says what was found of them. What is left out stands for every value.
    """

    dataset: Name | None = Field(None, description="one of the study's; absent: all")
    teacher: Name | None = Field(None, description="one of the grid's; absent: all")
    alpha: Values[Alpha] = Field((), description="some of the grid's; absent: all")
    switch_epoch: Annotated[
        Values[Annotated[Count, Field(ge=0, le=MAX_EPOCHS)]], BeforeValidator(expand_range)
    ] = Field((), description="some of the grid's; list or {start, stop, step}; absent: all")

    def check(self, datasets: Mapping[str, "DatasetStudy"]) -> None:
        """Checks that the study has such settings.

        Raises:
            ValueError: naming the key, the value and what is allowed.
        """
        if self.dataset is not None and self.dataset not in datasets:
            raise ValueError(
                f"expected.dataset = {self.dataset!r}: must be one of {', '.join(sorted(datasets))}"
            )
        grids = [d.grid for n, d in datasets.items() if self.dataset in (None, n)]
        wanted: tuple[tuple[str, Sequence[object]], ...] = (
            ("teacher", () if self.teacher is None else (self.teacher,)),
            ("alpha", self.alpha),
            ("switch_epoch", self.switch_epoch),
        )
        if not any(values for _, values in wanted):
            raise ValueError("expected: must name a teacher, alpha or switch_epoch")
        for key, values in wanted:
            allowed = sorted({value for grid in grids for value in getattr(grid, key)})
            for value in values:
                if value not in allowed:
                    listed = ", ".join(str(one) for one in allowed)
                    raise ValueError(f"expected.{key} = {value!r}: must be one of {listed}")

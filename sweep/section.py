"""What the sections of a study file are made of: values as users write them, checked one by one."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field

from trials.attack_settings import MAX_STRENGTH

MAX_RANGE = 100_000
MAX_EPOCHS = 10_000_000
MAX_NAME = 100


def only_number(value: object) -> object:
    """Pydantic would take true for 1 and "2" for 2."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    if isinstance(value, str):
        raise ValueError("must be a number, not text in quotes")
    return value


def expand_range(value: object) -> object:
    """`{start = 100, stop = 1500, step = 100}` stands for the numbers from start to stop."""
    if not isinstance(value, Mapping):
        return value
    unknown = set(value) - {"start", "stop", "step"}
    if unknown or not {"start", "stop"} <= set(value):
        raise ValueError("a range is written {start = 1, stop = 15, step = 1}, stop included")
    start, stop, step = value["start"], value["stop"], value.get("step", 1)
    if not all(isinstance(n, int) and not isinstance(n, bool) for n in (start, stop, step)):
        raise ValueError("start, stop and step of a range must be whole numbers")
    if step < 1 or stop < start:
        raise ValueError("a range needs step >= 1 and stop >= start")
    if (stop - start) // step >= MAX_RANGE:
        raise ValueError(f"a range may have at most {MAX_RANGE:,} values")
    return list(range(start, stop + 1, step))


def _full_batch(value: object) -> object:
    if value == "full":
        return None
    if isinstance(value, str):
        raise ValueError("must be a whole number of 1 or more, or 'full'")
    return value


def distinct(values: Sequence[Any], what: str) -> None:
    """Refuses a value that is given twice.

    Args:
        values: of a list.
        what: what errors call them.

    Raises:
        ValueError: naming it.
    """
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value!r} is given twice; each must be given once")
        seen.add(value)


def _some_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds:
        raise ValueError("no seed given; at least one is needed")
    distinct(seeds, "seed")
    return seeds


class FirstOnly(FailFast):
    """Reports the first bad value of a list, not each of a million; unlike its base hashable."""

    __hash__ = object.__hash__


T = TypeVar("T")
Values = Annotated[tuple[T, ...], FirstOnly()]
"""A list in a study file."""

Number = Annotated[float, BeforeValidator(only_number)]
Count = Annotated[int, BeforeValidator(only_number)]
Alpha = Annotated[Number, Field(ge=0, le=1)]
Positive = Annotated[Number, Field(gt=0)]
Strengths = Values[Annotated[Number, Field(ge=0, le=MAX_STRENGTH)]]
Epochs = Annotated[Count, Field(ge=1, le=MAX_EPOCHS)]
BatchSize = Annotated[Annotated[Count, Field(ge=1, lt=2**63)] | None, BeforeValidator(_full_batch)]
Name = Annotated[str, Field(max_length=MAX_NAME)]
Init = Literal["default", "he", "xavier", "lecun", "normal", "uniform"]
Scaling = Literal["symmetric", "unit", "standard", "imagenet"]
Corruption = Literal["blur", "noise", "center-black", "quarter-black"]
Optimizer = Literal["adam", "sgd"]
Seed = Annotated[Count, Field(ge=0, lt=2**63)]
Seeds = Annotated[Values[Seed], AfterValidator(_some_seeds)]


class Section(BaseModel):
    """A table of a study file: known keys alone, and not to be changed once it is read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, strict=False, ser_json_inf_nan="strings"
    )

"""What the sections of a study file have in common, and the kinds of values in them."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field

MAX_NAME = 100


class Section(BaseModel):
    """A table of a study file: frozen, without unknown keys, every number finite."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, strict=False, ser_json_inf_nan="strings"
    )


class FirstOnly(FailFast):
    """Reports the first bad value of a list, not each of a million; unlike its base hashable."""

    __hash__ = object.__hash__


def _only_number(value: object) -> object:
    """Pydantic would take true for 1 and "2" for 2."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    if isinstance(value, str):
        raise ValueError("must be a number, not text in quotes")
    return value


def distinct(values: Sequence[Any], what: str) -> None:
    """Refuses a list that has a value twice.

    Raises:
        ValueError: naming it.
    """
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value!r} is given twice; each must be given once")
        seen.add(value)


T = TypeVar("T")
Values = Annotated[tuple[T, ...], FirstOnly()]
"""A list in a study file."""

Number = Annotated[float, BeforeValidator(_only_number)]
Count = Annotated[int, BeforeValidator(_only_number)]
Name = Annotated[str, Field(max_length=MAX_NAME)]

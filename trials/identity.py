"""Content hashes: the same science gives the same id, whatever ran it.

The canonical form of a frozen dataclass holds the fields that differ from their defaults. A field
added later, whose default means "as before", therefore changes no existing id. A value without
a stable form (NaN, an object, a set) is refused rather than guessed.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import TypeAlias

Canonical: TypeAlias = "bool | int | float | str | list[Canonical] | dict[str, Canonical] | None"

NUMERICS_VERSION = 3
"""Raised by hand when a change of the code alters the result of a trial."""

ID_LENGTH = 24
"""Hex digits of an id: 96 bits, no collision expected below 10^13 trials."""


class NoCanonicalFormError(TypeError):
    """A value that has no stable canonical form was to be hashed."""


def canonical(value: object) -> Canonical:
    """Reduces a value to JSON types with one spelling.

    Args:
        value: None, bool, int, finite float, str, a sequence or mapping of these, or a frozen
            dataclass.

    Returns:
        The same content in JSON types; dataclass fields equal to their default are left out.

    Raises:
        NoCanonicalFormError: for anything else, naming the type.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NoCanonicalFormError(f"{value} has no canonical form; numbers must be finite")
        return value + 0.0  # one spelling of zero
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise NoCanonicalFormError("a mapping with keys that are not strings")
        return {key: canonical(value[key]) for key in sorted(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: canonical(content)
            for field in sorted(dataclasses.fields(value), key=lambda f: f.name)
            if (content := getattr(value, field.name)) != field.default
        }
    raise NoCanonicalFormError(f"{type(value).__name__} has no canonical form")


def digest(value: object) -> str:
    """The content hash of a value.

    Returns:
        The first `ID_LENGTH` hex digits of the SHA-256 of the canonical form.
    """
    return digest_of_form(canonical(value))


def digest_of_form(form: Canonical) -> str:
    """The content hash of what is in canonical form already; does not look whether it is."""
    return hashlib.sha256(_encode(form).encode()).hexdigest()[:ID_LENGTH]


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode

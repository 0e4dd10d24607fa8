"""Sections that are changed by others."""

from collections.abc import Mapping
from typing import Any


def merge(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A section with the keys of another in place of its own; tables are merged in turn."""
    return dict(common) | {
        key: value if _stands_alone(value, common.get(key)) else merge(common[key], value)
        for key, value in own.items()
    }


def _stands_alone(value: object, common: object) -> bool:
    """Whether a value replaces the common one whole; of tables a range does, and another kind."""
    if not isinstance(value, Mapping) or not isinstance(common, Mapping):
        return True
    other_kind = "kind" in value and common.get("kind", value["kind"]) != value["kind"]
    return other_kind or bool({"start", "stop"} & set(value))

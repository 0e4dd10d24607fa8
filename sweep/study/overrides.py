"""Keys that are set from outside: `--set recipe.epochs=2`."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sweep.errors import StudyError
from sweep.study.complaints import shown_value
from sweep.study.dataset import SECTIONS
from sweep.study.files import plain_data
from sweep.study.recipe import RECIPE_TABLES


def apply_overrides(raw: dict[str, Any], overrides: Mapping[str, Any] | Iterable[str]) -> None:
    """Sets keys by dotted path, in place.

    `recipe.epochs=2` holds for every dataset, also where the study overrides that key for one;
    `datasets.cifar10.recipe.epochs=2` for one alone. A value is read as TOML; what is no TOML
    value is a string. With another `kind`, what the study says about the old one falls away.

    Raises:
        StudyError: for a text without `=` or a path through something that is no section.
    """
    if isinstance(overrides, str):
        overrides = [overrides]
    if isinstance(overrides, Mapping):
        pairs = list(overrides.items())
    else:
        pairs = [_parse_override(text) for text in overrides]
    for path, value in pairs:
        keys = path.split(".") if isinstance(path, str) else []
        if not keys or not all(keys):
            raise StudyError(f"override {path!r}: must be a dotted key, e.g. recipe.epochs")
        value = plain_data(value, path, len(keys))
        datasets = raw.get("datasets")
        if keys[0] in SECTIONS and isinstance(datasets, Mapping):
            for dataset in datasets.values():
                _forget(dataset, keys[:-1] if _is_kind(keys) else keys)
        target = raw
        for position, key in enumerate(keys[:-1]):
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                section = ".".join(keys[: position + 1])
                raise StudyError(
                    f"{path} = {shown_value(value)}: {section} is not a section of the study"
                )
        if _is_kind(keys) and target.get("kind") != value:
            beside = {other for other, _ in pairs}
            section = ".".join(keys[:-1])
            for key in [key for key in target if f"{section}.{key}" not in beside]:
                del target[key]
        target[keys[-1]] = value


def _parse_override(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not path or not all(path.split(".")):
        raise StudyError(f"--set {text!r}: must be written key=value, e.g. recipe.epochs=2")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):  # ValueError: no TOML, or an integer of too many digits
        return path, value.strip()
    return path, parsed["value"] if len(parsed) == 1 else value.strip()


def _is_kind(keys: Sequence[str]) -> bool:
    """Whether a dotted key says of which kind a table is, and so which other keys it has."""
    return len(keys) > 1 and keys[-2] in RECIPE_TABLES and keys[-1] == "kind"


def _forget(table: object, keys: Sequence[str]) -> None:
    for key in keys[:-1]:
        if not isinstance(table, dict) or key not in table:
            return
        table = table[key]
    if isinstance(table, dict):
        table.pop(keys[-1], None)

"""What is wrong with a study, in words: the key, the value, and what is allowed."""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from sweep.errors import StudyError
from sweep.study.dataset import SECTIONS
from sweep.study.recipe import RECIPE_TABLES

T = TypeVar("T")


def one_of(value: str, names: Iterable[str]) -> str:
    """What is allowed, with the nearest to what was given."""
    names = sorted(names)
    close = difflib.get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"allowed: {', '.join(names)}{hint}"


def ask_catalog(ask: Any, key: str) -> Any:
    """Asks, and says of what is refused which key it is about."""
    try:
        return ask()
    except ValueError as error:
        raise StudyError(f"{key}: {error}") from None


def with_changes(change: Callable[[], T], key: str) -> T:
    """A section with changes, or what is wrong with them."""
    try:
        return change()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([key, *map(str, first["loc"])])
        raise StudyError(line_of(where, first, shows_value=bool(first["loc"]))) from None


def shown_value(value: object) -> str:
    """A value as messages show it, cut short."""
    text = json.dumps(value, default=str) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _message(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return (
        message.replace("a valid tuple", "a list, in square brackets")
        .replace("a valid string", "text in quotes")
        .replace("a valid boolean", "true or false")
        .replace("a valid integer", "a whole number")
    )


def describe(error: ValidationError, raw: Mapping[str, Any]) -> str:
    """Each problem as `key = value: what is allowed`, under the key as the user wrote it."""
    lines: list[str] = []
    for problem in error.errors(include_url=False):
        if len(lines) == 20:
            break
        loc = [part for part in problem["loc"] if not _is_type_tag(part)]
        if len(loc) > 2 and loc[0] == "datasets" and loc[2] in SECTIONS:
            own = raw["datasets"].get(loc[1], {}).get(loc[2], {})
            if len(loc) == 3 or not isinstance(own, Mapping) or loc[3] not in own:
                loc = loc[2:] if loc[2] in raw else loc
        key = ""
        for part in loc:
            key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
        within = loc[2:] if loc[:1] == ["datasets"] else loc
        if problem["type"] == "missing":
            line = f"{key}: missing"
        elif problem["type"] == "string_pattern_mismatch" and key == "name":
            line = (
                f"name = {shown_value(problem['input'])}: must be lower-case letters, digits, - and _, "
                "starting with a letter or digit, at most 64 long"
            )
        else:
            whole_section = not within or (len(within) == 1 and within[0] in SECTIONS)
            line = line_of(key, problem, shows_value=not whole_section)
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


def line_of(key: str, problem: Any, shows_value: bool) -> str:
    """A problem in words; that of a table within a section begins with the key inside it."""
    if problem["loc"] and problem["loc"][-1] in RECIPE_TABLES:
        return f"{key}.{_message(problem)}"
    if not key:  # of the whole study: the message names its keys
        return _message(problem)
    value = f" = {shown_value(problem['input'])}" if shows_value else ""
    return f"{key}{value}: {_message(problem)}"


def _is_type_tag(part: object) -> bool:
    """Pydantic names the branch of a union in the location; users did not write it."""
    return isinstance(part, str) and ("[" in part or part in {"int", "none", "constrained-int"})

"""From a name or a file to plain data; nothing in it is run."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, time
from importlib import resources
from pathlib import Path
from typing import Any

from models.pretrained import SUFFIXES
from sweep.errors import StudyError
from sweep.section import MAX_NAME
from sweep.study.complaints import one_of, shown_value

MAX_STUDY_BYTES = 1_000_000
MAX_DEPTH = 8

_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){16}"""
)
"""A dotted key of more parts than any study has; tomllib takes time quadratic in their number."""


def builtin_names() -> list[str]:
    """The studies that ship inside the package."""
    folder = resources.files("sweep") / "studies"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def read_file(source: str) -> dict[str, Any]:
    """The content of a built-in study or of a file.

    Raises:
        StudyError: where there is none, or it is not TOML.
    """
    if source in builtin_names():
        text = (resources.files("sweep") / "studies" / f"{source}.toml").read_text("utf-8")
        return tomllib.loads(text)
    path = Path(source)
    try:
        if not path.is_file():
            raise StudyError(_no_file(source, path))
        if path.stat().st_size > MAX_STUDY_BYTES:
            raise StudyError(f"study file {source!r} is larger than {MAX_STUDY_BYTES:,} bytes")
        text = path.read_bytes().decode("utf-8-sig")
    except StudyError:
        raise
    except UnicodeDecodeError as error:
        raise StudyError(f"study file {source!r} is not UTF-8 text: {error}") from None
    except OSError as error:
        raise StudyError(f"study file {source!r} cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name that no file can have
        raise StudyError(f"study file {source!r} cannot be read: {error}") from None
    what = f"study file {source!r}"
    return _of_json(text, what) if path.suffix == ".json" else parse_text(text, what)


def _of_json(text: str, what: str) -> dict[str, Any]:
    """The content of a study as results keep it."""
    try:
        found = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise StudyError(f"{what} is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise StudyError(f"{what} is not a JSON object")
    return found


def parse_text(text: str, what: str) -> dict[str, Any]:
    """The content of a text.

    Args:
        text: TOML.
        what: it is, in messages.

    Raises:
        StudyError: where it is not TOML.
    """
    if _LONG_KEY.search(text):
        raise StudyError(f"{what} is nested more than {MAX_DEPTH} levels deep")
    try:
        return tomllib.loads(text)
    except (RecursionError, ValueError) as error:
        raise StudyError(f"{what} is not valid TOML: {error}") from None


def _no_file(source: str, path: Path) -> str:
    if source and path.is_dir():
        return f"study {source!r} is a directory; {one_of(source, builtin_names())}, or a file"
    if source and path.exists():
        return f"study {source!r} is not a regular file"
    if path.suffix == ".toml" or len(path.parts) > 1:
        return f"study file {source!r} does not exist"
    return f"unknown study {source!r}; {one_of(source, builtin_names())}, or a file"


def plain_data(value: Any, key: str = "", depth: int = 0) -> Any:
    """A copy in the types of TOML, of limited depth; anything else is refused by its key."""
    if depth > MAX_DEPTH:
        raise StudyError(f"{key}: the study is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        for name in map(str, value):
            if len(name) > MAX_NAME or not name.isprintable():
                where = f" in {key}" if key else ""
                raise StudyError(
                    f"unknown key {shown_value(name)}{where}: a key is at most {MAX_NAME} printable characters"
                )
        return {
            str(name): plain_data(item, f"{key}.{name}" if key else str(name), depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain_data(item, key, depth + 1) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise StudyError(f"{key}: an integer of {value.bit_length()} bits; at most 64 are allowed")
    if value is not None and not isinstance(value, str | bool | int | float | date | time):
        raise StudyError(
            f"{key}: a value of type {type(value).__name__}; allowed are text, numbers, true and "
            "false, lists and sections"
        )
    return value


def files_named(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a study's content that would be read as the name of a file, with its key."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from files_named(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from files_named(inner, key)
    elif isinstance(value, str) and _may_be_file(key, value):
        yield key, value


def _may_be_file(key: str, value: str) -> bool:
    return key.rpartition(".")[2] == "pretrained" and value.strip().lower().endswith(SUFFIXES)

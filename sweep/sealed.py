"""Safetensors files that vouch for their content: a SHA-256 over it in their own metadata.

They are named after their trial, so their name cannot. Any reader of safetensors opens them.
"""

import hashlib
import json
import re
from typing import Any

from trials.tensor_file import header_of

_KEY = "sha256"
_HASH = re.compile(r"[0-9a-f]{32}")


def seal(content: bytes) -> bytes:
    """The same tensors and metadata, with a hash over both in the metadata.

    Args:
        content: of a safetensors file.

    Raises:
        ValueError: where it is something else.
    """
    header, tensors = _parts(content)
    about = header.setdefault("__metadata__", {})
    about.pop(_KEY, None)
    about[_KEY] = _digest(header, tensors)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text + tensors


def is_whole(content: bytes) -> bool:
    """Whether the content is what was sealed.

    Files from before there were seals are believed where they have the form; one that holds a hash, but
    not under its name, was sealed and is damaged.
    """
    try:
        header, tensors = _parts(content)
    except ValueError:
        return False
    about = header.get("__metadata__") or {}
    if not isinstance(about, dict):
        return False
    if not _fills(header, tensors):
        return False
    if _KEY not in about:
        return _HASH.search(json.dumps(header)) is None
    given = about.pop(_KEY)
    return bool(given == _digest(header, tensors))


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    header, begin = header_of(content)
    return header, content[begin:]


def _fills(header: dict[str, Any], tensors: bytes) -> bool:
    """Whether the tensors have the form, and together the length, that the header says."""
    forms = [form for name, form in header.items() if name != "__metadata__"]
    try:
        ends = [form["data_offsets"][1] for form in forms if form["dtype"] and form["shape"] != ""]
    except (KeyError, IndexError, TypeError):
        return False
    return max(ends, default=0) == len(tensors)


def _digest(header: dict[str, Any], tensors: bytes) -> str:
    found = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    found.update(tensors)
    return found.hexdigest()

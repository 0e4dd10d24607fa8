"""Safetensors files that vouch for their content: a SHA-256 over it in their own metadata.

They are named after their trial, so their name cannot. Any reader of safetensors opens them.
"""

import hashlib
import json
from typing import Any

_KEY = "sha256"


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
    """Whether the content is what was sealed; files from before there were seals are believed."""
    try:
        header, tensors = _parts(content)
    except ValueError:
        return False
    about = header.get("__metadata__") or {}
    if not isinstance(about, dict):
        return False
    given = about.pop(_KEY, None)
    return _fills(header, tensors) and given in (None, _digest(header, tensors))


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > len(content) - 8:
        raise ValueError("not a safetensors file")
    header = json.loads(content[8 : 8 + size])
    if not isinstance(header, dict):
        raise ValueError("not a safetensors file")
    return header, content[8 + size :]


def _fills(header: dict[str, Any], tensors: bytes) -> bool:
    """Whether the tensors are as long as the header says."""
    try:
        ends = [about["data_offsets"][1] for name, about in header.items() if name[:2] != "__"]
    except (KeyError, IndexError, TypeError):
        return False
    return max(ends, default=0) == len(tensors)


def _digest(header: dict[str, Any], tensors: bytes) -> str:
    found = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    found.update(tensors)
    return found.hexdigest()

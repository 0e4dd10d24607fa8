"""The header of a safetensors file, read without torch: what its tensors are, and its metadata."""

import json
from typing import Any


def header_of(content: bytes) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors begin.

    Args:
        content: of a safetensors file; its tensors are not read.

    Raises:
        ValueError: where it is something else.
    """
    begin = 8 + int.from_bytes(content[:8], "little")
    if len(content) < 8 or begin > len(content):
        raise ValueError("not a safetensors file")
    header = json.loads(content[8:begin])
    if not isinstance(header, dict):
        raise ValueError("not a safetensors file")
    return header, begin

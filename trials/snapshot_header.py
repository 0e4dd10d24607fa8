"""What a snapshot says of itself beside its tensors, read without torch."""

import json
from typing import Any

from trials.tensor_file import header_of

KEY = "snapshot"
"""Of the metadata of its file."""


def said_by(content: bytes) -> dict[str, Any]:
    """What `trials.snapshot.Snapshot.to_bytes` wrote beside the tensors.

    Raises:
        ValueError, KeyError, TypeError: where the bytes are damaged or something else.
    """
    header, _ = header_of(content)
    said: dict[str, Any] = json.loads(header["__metadata__"][KEY])
    return said


def numerics_of(content: bytes) -> str | None:
    """The numerics class in which a snapshot was left; None where it does not say.

    Args:
        content: see `trials.snapshot.Snapshot.to_bytes`; its tensors are not read.
    """
    try:
        return str(said_by(content)["progress"]["numerics"][-1])
    except (KeyError, IndexError, ValueError, TypeError):
        return None

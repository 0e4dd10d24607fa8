"""Randomness as a pure function of `(seed, purpose, epoch)`.

Initialisation, row order, dropout and every later source have a stream of their own. No state is
carried from one epoch to the next, so a training that is cut at an epoch boundary and continued,
or forked from another, draws what it would have drawn in one piece.
"""

import hashlib
from typing import Literal

Purpose = Literal["init", "order", "dropout", "torch"]


def stream_key(seed: int, purpose: Purpose, epoch: int = 0) -> int:
    """The key of a stream.

    Returns:
        An integer in [0, 2^63), usable as the seed of any generator.
    """
    text = f"{seed}/{purpose}/{epoch}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1

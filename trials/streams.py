"""Randomness as a pure function of `(seed, purpose, epoch)`.

Initialisation, row order, dropout and every later source have a stream of their own. No state is
carried from one epoch to the next, so a training that is cut at an epoch boundary and continued,
or forked from another, draws what it would have drawn in one piece. Noise of an evaluation has
draws in place of epochs, and parts of a draw.
"""

import hashlib
from typing import Literal

Purpose = Literal[
    "init", "order", "dropout", "torch", "augment", "noise", "curvature", "growth",
    "pgd_start", "input_noise", "weight_noise", "weight_noise_batch", "attribution",
]  # fmt: skip


def stream_key(seed: int, purpose: Purpose, epoch: int = 0, part: int | None = None) -> int:
    """The key of a stream.

    Args:
        seed: of the trial.
        purpose: what is drawn.
        epoch: of the training, or which draw of an evaluation.
        part: of the draw; None where it is drawn whole.

    Returns:
        An integer in [0, 2^63), usable as the seed of any generator.
    """
    place = f"{epoch}" if part is None else f"{epoch}/{part}"
    text = f"{seed}/{purpose}/{place}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1

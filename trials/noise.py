"""Noise on inputs, as a pure function of the seed, the draw and the row.

A row of a split has the same noise in a batch of any size and on any worker: noise is drawn in
blocks of rows that each have a stream of their own.
"""

from typing import Literal

import torch
from torch import Tensor

from trials.streams import Purpose, stream_key

BLOCK_ROWS = 100
"""Rows of a block. Another number gives other noise."""


def row_noise(
    x: Tensor,
    first: int,
    kind: Literal["gaussian", "uniform"],
    *,
    seed: int,
    purpose: Purpose,
    repeat: int = 0,
) -> Tensor:
    """Noise of strength 1 for consecutive rows of a split.

    Args:
        x: `(rows, ...)` inputs, as floats: which shape, type and device.
        first: the place of the first row in the split.
        kind: `gaussian`, of variance 1, or `uniform` from -1 to 1.
        seed: of the trial: its network and its baseline's have the same noise.
        purpose: which stream.
        repeat: which draw.

    Returns:
        Of the shape of `x`.
    """
    last = first + len(x)
    parts = []
    for block in range(first // BLOCK_ROWS, -(-last // BLOCK_ROWS)):
        generator = torch.Generator(x.device)
        generator.manual_seed(stream_key(seed, purpose, repeat, block))
        drawn = x.new_empty((BLOCK_ROWS, *x.shape[1:]))
        if kind == "gaussian":
            drawn.normal_(generator=generator)
        else:
            drawn.uniform_(-1, 1, generator=generator)
        begins = block * BLOCK_ROWS
        parts.append(drawn[max(first - begins, 0) : last - begins])
    return torch.cat(parts)

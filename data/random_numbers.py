"""Random numbers that are pure functions of a seed and a purpose, of the keys of `data.stratify`.

Generators of numpy and torch may change their streams between versions; SHAKE-256 does not. Normal
numbers are the inverse of the normal distribution at uniform ones, as the standard library's
`statistics.NormalDist` computes it (Wichura 1988, algorithm AS 241).
"""

from __future__ import annotations

import hashlib
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from data.stratify import random_keys


def uniforms(count: int, seed: int, purpose: str) -> NDArray[np.float64]:
    """Returns uniform numbers in (0, 1), odd multiples of 2^-53: never 0 or 1.

    Args:
        count: How many; more extend fewer.
        seed: Any integer.
        purpose: Name of the stream; different purposes are independent.

    Returns:
        float64 ``[count]``.
    """
    # 52 bits and a half fit a float64, so no number is rounded up to 1.
    bits = random_keys(count, seed, purpose) >> np.uint64(12)
    return (bits.astype(np.float64) + 0.5) * 2.0**-52


def below(count: int, bound: int, seed: int, purpose: str) -> NDArray[np.int64]:
    """Returns uniform integers from 0 to below a bound of at most 2^31.

    Args:
        count: How many; more extend fewer.
        bound: What they are below.
        seed: Any integer.
        purpose: Name of the stream.

    Returns:
        int64 ``[count]``; the probabilities differ by less than 2^-32.
    """
    high = random_keys(count, seed, purpose) >> np.uint64(32)
    return (high * np.uint64(bound) >> np.uint64(32)).astype(np.int64)


def normals(count: int, seed: int, purpose: str) -> NDArray[np.float64]:
    """Returns independent standard normal numbers.

    Args:
        count: How many; more extend fewer. Each takes about a microsecond.
        seed: Any integer.
        purpose: Name of the stream.

    Returns:
        float64 ``[count]``.
    """
    inverse = NormalDist().inv_cdf
    return np.array([inverse(u) for u in uniforms(count, seed, purpose).tolist()])


def coarse_normals(count: int, seed: int, purpose: str) -> NDArray[np.float32]:
    """Returns standard normal numbers on a grid of 2^16 quantiles, for whole images of them.

    Its outermost points lie at -4.32 and 4.32; what is lost beyond them is less than the rounding
    to pixel values.

    Args:
        count: How many; more extend fewer.
        seed: Any integer.
        purpose: Name of the stream.

    Returns:
        float32 ``[count]``.
    """
    stream = hashlib.shake_256(f"normals\0{purpose}\0{seed}".encode()).digest(2 * count)
    numbers: NDArray[np.float32] = _quantiles()[np.frombuffer(stream, dtype="<u2")]
    return numbers


@cache
def _quantiles() -> NDArray[np.float32]:
    inverse = NormalDist().inv_cdf
    return np.array([inverse((i + 0.5) / 2**16) for i in range(2**16)], dtype=np.float32)

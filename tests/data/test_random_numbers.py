import hashlib
import math

import numpy as np
import pytest

from data.random_numbers import below, coarse_normals, normals, uniforms


def test_uniforms_are_the_top_bits_of_the_published_keys() -> None:
    # The first key of the stream is the one that test_stratify pins by openssl.
    key = int.from_bytes(bytes.fromhex("1f25cfc4add993c2"), "little")
    assert uniforms(1, 0, "train")[0] == ((key >> 12) + 0.5) / 2**52
    assert below(1, 10, 0, "train")[0] == int(key / 2**64 * 10)


def test_uniforms_are_uniform_and_extend() -> None:
    u = uniforms(20_000, 5, "test")
    np.testing.assert_array_equal(uniforms(100, 5, "test"), u[:100])
    assert 0 < u.min() < u.max() < 1
    # Deviation of the mean sqrt(1 / 12 / 20,000) = 0.00204, of a count in ten bins 42.
    assert abs(u.mean() - 0.5) < 4 * 0.00204
    counts = np.bincount((u * 10).astype(int), minlength=10)
    assert np.abs(counts - 2_000).max() < 4 * 42.5


def test_integers_below_a_bound() -> None:
    drawn = below(9_000, 3, 1, "test")
    counts = np.bincount(drawn)
    assert len(counts) == 3
    assert np.abs(counts - 3_000).max() < 4 * math.sqrt(9_000 * 2 / 9)


def test_normals_have_the_quantiles_of_the_tables() -> None:
    z, u = normals(20_000, 2, "test"), uniforms(20_000, 2, "test")
    assert abs(z.mean()) < 4 / math.sqrt(20_000)
    assert abs(z.std() - 1) < 4 / math.sqrt(40_000)
    # Monotonous in the uniform numbers, through the printed quantiles 1.6449 and 1.9600.
    assert (np.argsort(z) == np.argsort(u)).all()
    for quantile, value in ((0.95, 1.6449), (0.975, 1.9600), (0.5, 0.0)):
        assert ((u < quantile) == (z < value)).mean() > 0.9999


def test_coarse_normals() -> None:
    z = coarse_normals(50_000, 3, "test")
    assert z.dtype == np.float32
    np.testing.assert_array_equal(coarse_normals(10, 3, "test"), z[:10])
    assert abs(float(z.mean())) < 4 / math.sqrt(50_000)
    assert abs(float(z.std()) - 1) < 4 / math.sqrt(100_000)
    assert float(np.abs(z).max()) < 4.33
    assert (np.abs(z) < 1.95996).mean() == pytest.approx(0.95, abs=0.004)
    first = int.from_bytes(hashlib.shake_256(b"normals\0test\x003").digest(2), "little")
    # The distribution function at the number leads back to the word it came from.
    assert 0.5 * (1 + math.erf(float(z[0]) / math.sqrt(2))) * 65536 - 0.5 == (
        pytest.approx(first, abs=0.05)
    )

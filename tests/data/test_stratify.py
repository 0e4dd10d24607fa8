import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.stratify import random_keys, stratified_order

labelled = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array)


@given(labelled, st.integers(0, 2**63 - 1))
def test_order_is_a_permutation_and_a_function_of_the_seed(labels: np.ndarray, seed: int) -> None:
    keys = random_keys(len(labels), seed, "train")
    order = stratified_order(keys, labels)
    assert sorted(order) == list(range(len(labels)))
    again = stratified_order(random_keys(len(labels), seed, "train"), labels)
    np.testing.assert_array_equal(order, again)


@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 99), st.data())
def test_equal_classes_differ_by_at_most_one_in_every_prefix(
    classes: int, each: int, seed: int, data: st.DataObject
) -> None:
    labels = np.repeat(np.arange(classes), each)
    order = stratified_order(random_keys(len(labels), seed, "train"), labels)
    size = data.draw(st.integers(1, len(labels)))
    counts = np.bincount(labels[order[:size]], minlength=classes)
    assert counts.max() - counts.min() <= 1


def test_shares_are_those_of_sainte_lague() -> None:
    # 53, 24 and 23 rows, divided by 1, 3, 5, 7: the eight largest quotients are 53 (a), 24 (b),
    # 23 (c), 17.67 (a), 10.6 (a), 8 (b), 7.67 (c), 7.57 (a).
    labels = np.repeat([0, 1, 2], [53, 24, 23])
    order = stratified_order(random_keys(100, 5, "train"), labels)
    assert np.bincount(labels[order[:7]]).tolist() == [3, 2, 2]
    assert np.bincount(labels[order[:6]]).tolist() == [3, 2, 1]


def test_seeds_and_purposes_are_independent_and_keys_extend() -> None:
    keys = random_keys(1000, 0, "train")
    np.testing.assert_array_equal(random_keys(10, 0, "train"), keys[:10])
    assert not np.isin(random_keys(1000, 1, "train"), keys).any()
    assert not np.isin(random_keys(1000, 0, "validation"), keys).any()


def test_keys_are_the_published_shake_256_stream() -> None:
    # SHAKE-256, the sponge of FIPS 202, of the bytes 'rows', 0, 'train', 0, '0' as `openssl dgst
    # -shake256 -xoflen 8` prints it: the choice of rows may never change.
    assert random_keys(1, 0, "train")[0] == int.from_bytes(
        bytes.fromhex("1f25cfc4add993c2"), "little"
    )


def test_every_row_is_equally_likely() -> None:
    labels = np.array([0] * 6 + [1] * 2)
    picked = np.zeros(8)
    for seed in range(2000):
        picked[stratified_order(random_keys(8, seed, "train"), labels)[:4]] += 1
    # Three of the six rows of class 0 and one of the two of class 1: half the draws each,
    # deviation of a count sqrt(2000 / 4) = 22.
    assert np.abs(picked - 1000).max() < 4 * 22.4

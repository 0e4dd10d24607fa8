from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from trials.streams import Purpose, stream_key

SEEDS = st.integers(0, 2**64)
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


def test_keys_are_half_the_start_of_a_sha256() -> None:
    # printf 38/order/3 | sha256sum; another key would be another order of rows in every trial.
    assert stream_key(38, "order", 3) == 0xB3CFB327AF90FA7A >> 1
    assert stream_key(38, "init") == 0x7F5F31306D2ECB05 >> 1


@given(SEEDS, st.sampled_from(PURPOSES), st.integers(0, 10**6))
def test_keys_are_a_pure_function_and_fit_any_generator(
    seed: int, purpose: Purpose, epoch: int
) -> None:
    key = stream_key(seed, purpose, epoch)
    assert 0 <= key < 2**63
    assert type(key) is int
    stream_key(seed + 1, purpose, epoch)
    assert stream_key(seed, purpose, epoch) == key


def test_seeds_purposes_and_epochs_have_streams_of_their_own() -> None:
    # CPU generators use the low 32 bits of a seed, so these must differ too.
    keys = [stream_key(s, p, e) for s in range(20) for p in PURPOSES for e in range(30)]
    assert len(set(keys)) == len(keys) == 20 * len(PURPOSES) * 30
    assert len({key % 2**32 for key in keys}) == len(keys)


def test_parts_of_a_draw_have_streams_of_their_own() -> None:
    # printf 38/input_noise/2/7 | sha256sum
    assert stream_key(38, "input_noise", 2, 7) == 0x7CFED6875756E153 >> 1
    parts = [None, *range(50)]
    keys = [stream_key(1, "input_noise", draw, part) for draw in range(20) for part in parts]
    assert len({key % 2**32 for key in keys}) == 20 * 51


def test_digits_do_not_run_together() -> None:
    assert stream_key(1, "order", 11) != stream_key(11, "order", 1) != stream_key(111, "order")

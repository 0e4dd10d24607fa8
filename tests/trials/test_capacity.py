"""How many trials share a device, by hand."""

import pytest

from trials.capacity import Footprint, trials_at_a_time

GB = 10**9


@pytest.mark.parametrize(
    ("footprints", "cores", "expected"),
    [
        # Busy a third of the time: three fill it.
        ([Footprint(2 * GB, 140 * GB, 1 / 3)], 16, 3),
        # Busy all the time: another would only take turns.
        ([Footprint(2 * GB, 140 * GB, 1.0)], 16, 1),
        # 0.9 x 24 GB hold four of 5 GB.
        ([Footprint(5 * GB, 24 * GB, 0.1)], 16, 4),
        # Ten would fill it, eight cores feed eight.
        ([Footprint(1 * GB, 140 * GB, 0.1)], 8, 8),
        ([Footprint(1 * GB, 140 * GB, 0.0)], 64, 16),
        # The largest decides about memory, the least busy about how many are worth while.
        ([Footprint(8 * GB, 24 * GB, 0.9), Footprint(1 * GB, 24 * GB, 0.2)], 16, 2),
        # One that does not fit the plan still runs alone.
        ([Footprint(24 * GB, 24 * GB, 0.5)], 16, 1),
    ],
)
def test_trials_at_a_time(footprints: list[Footprint], cores: int, expected: int) -> None:
    assert trials_at_a_time(footprints, cores) == expected

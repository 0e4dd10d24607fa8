"""The measurement of a server measures one that answers."""

from argparse import Namespace

import pytest

from tests.benchmarks.serving import measure, shown


@pytest.mark.slow
def test_pages_are_answered_while_records_arrive() -> None:
    options = Namespace(size=1_000, clients=3, seconds=8.0, every=1.0, arriving=3)
    found = measure(options)
    assert found["errors"] == []
    assert found["arrived"] >= 3
    assert len(found["took"]["state"]) >= 9
    assert 0 < found["share"] < 1
    assert "3 pages" in shown(found, options)

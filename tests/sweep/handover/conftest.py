from pathlib import Path

import pytest

from sweep.results import Results
from tests.sweep.handover.made import made


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(str(made(tmp_path / "results")))

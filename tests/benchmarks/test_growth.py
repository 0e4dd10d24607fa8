from pathlib import Path

from sweep.cells import demand
from sweep.query import query
from sweep.results import Results
from sweep.store import Store
from sweep.study import load_study
from tests.benchmarks.growth import AGGREGATE, AXES, fill, study_file


def test_made_up_records_complete_a_study_that_can_be_queried(tmp_path: Path) -> None:
    size = min(AXES)
    (tmp_path / "growth.toml").write_text(study_file(size))

    fill(tmp_path)

    study = load_study(tmp_path / "growth.toml")
    found = demand(study, Store(tmp_path / "full"))
    answer = query(Results(tmp_path / "full"), AGGREGATE).to_pylist()
    assert not found.todo
    assert len(answer) == 20
    assert {row["n"] for row in answer} == {AXES[size][0]}

"""SQL sees what the tables hold, whatever state the directory is in."""

import statistics
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sweep.expand import Role
from sweep.query import VIEWS, query
from sweep.records import trial_row
from sweep.results import Results
from tests.sweep.test_cells import attempt, finish
from tests.sweep.test_results import STUDY, Asked, later, point
from tests.sweep.tiny import result, tiny_study


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """All cells asked for, half of the trials done, one of them in two files."""
    found = Asked(tmp_path)
    trials = list({cell.trial_id: cell for cell in found.cells}.values())
    for number, cell in enumerate(trials[::2]):
        points = tuple(point(epsilon, 10.0 * number) for epsilon in (0.01, 0.05))
        zero = number or None  # one was never attacked along its gradient
        measured = result(test_metric=40.0 + number, robustness=points, zero_gradients_percent=zero)
        found.store.trials.publish([trial_row(cell, measured)])
    attempt(found.store, *trials[:3], kind=None)
    return found


def everything(results: Results, view: str) -> pa.Table:
    return query(results, f"SELECT * FROM {view}")


def same(answer: pa.Table, expected: pa.Table) -> bool:
    """Equal columns in equal order, and equal rows in any order."""

    def order(found: dict[str, Any]) -> str:
        return repr([value for value in found.values() if not isinstance(value, datetime)])

    rows = [sorted(table.to_pylist(), key=order) for table in (answer, expected)]
    return answer.column_names == expected.column_names and rows[0] == rows[1]


@pytest.mark.parametrize("state", ["fresh", "folded", "twice", "evaluated"])
def test_views_hold_what_the_tables_hold(asked: Asked, state: str) -> None:
    store = asked.store
    if state == "folded":
        with store.writing():
            pass
    if state == "twice":
        store.trials.publish(store.trials.read()[0].slice(0, 2).to_pylist())
        assert len(store.trials.files()) == 8
    if state == "evaluated":
        first = asked.cells[0].trial_id
        later(store, first, point(0.02, 5.0) | {"zero_gradients_percent": 3.0})
    results = Results(store.layout.root)
    assert same(everything(results, "trials"), results.trial_table())
    assert same(everything(results, "attempts"), store.attempts.read()[0])
    cells = results.cell_table(STUDY.name)
    assert same(everything(results, "requested").drop_columns(["study"]), cells)
    points = everything(results, "robustness").num_rows
    assert points == 7 * 2 + (state == "evaluated")


def test_cells_of_all_studies_stand_under_their_study(asked: Asked) -> None:
    other = tiny_study(name="other", seeds=[1])
    cells = Asked(asked.store.layout.root, other).cells
    answer = query(
        Results(asked.store.layout.root),
        "SELECT study, count(*) AS n FROM requested GROUP BY 1 ORDER BY 1",
    )
    assert answer.to_pydict() == {"study": ["other", "tiny"], "n": [len(cells), len(asked.cells)]}


def test_an_aggregate_over_seeds(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    metrics = {("small", 1): (61.0, 64.0), ("large", 3): (50.0, 52.5)}
    for (teacher, switch), values in metrics.items():
        students = asked.some(Role.STUDENT, teacher=teacher)
        own = [cell for cell in students if cell.switch_epoch == switch]
        for cell, value in zip(own, values, strict=True):
            finish(asked.store, cell, test_metric=value)
    answer = query(
        Results(tmp_path),
        "SELECT teacher, switch_epoch, count(*) AS n, avg(test_metric) AS mean, "
        "stddev_samp(test_metric) AS deviation FROM requested "
        "WHERE role = 'student' AND status = 'done' GROUP BY ALL ORDER BY mean DESC",
    )
    assert answer.to_pylist() == [
        {"teacher": teacher, "switch_epoch": switch, "n": 2, "mean": statistics.mean(values),
         "deviation": pytest.approx(statistics.stdev(values))}
        for (teacher, switch), values in metrics.items()
    ]  # fmt: skip


def test_an_empty_directory_has_every_column(tmp_path: Path) -> None:
    results = Results(tmp_path)
    for view in VIEWS:
        assert everything(results, view).num_rows == 0
    assert query(results, "SELECT study, alpha, test_metric, status FROM requested").num_rows == 0
    assert query(results, "SELECT mean, n_missing, difference FROM cells").num_rows == 0


def test_the_process_that_reads_imports_no_more_than_it_needs() -> None:
    """Each of these takes longer to import than all the rest of it."""
    program = (
        "import sys\n"
        "from sweep.query import start\n"
        "sys.meta_path.insert(0, start._WithoutPandas())\n"
        "from sweep.query import reader\n"
        "print(*{'pandas', 'pydantic', 'scipy', 'torch', 'sweep.study'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_damaged_files_are_left_out_and_named(asked: Asked) -> None:
    (path, *_) = asked.store.trials.files()
    path.write_bytes(b"PAR1")
    with pytest.warns(UserWarning, match=path.name):
        answer = query(Results(asked.store.layout.root), "SELECT count(*) AS n FROM trials")
    assert answer.to_pylist() == [{"n": 6}]

"""What runs cost, added up by hand."""

import pandas as pd
import pytest

from analysis.report import ReportInfo, render_report
from analysis.runs import run_totals
from analysis.tables import runs
from tests.analysis.tables import small_study

COLUMNS = (
    "finished_at", "done", "diverged", "failed", "blocked", "epochs_trained", "epochs_alone",
    "slots", "busy_s", "elapsed_s", "peak_snapshot_bytes",
)  # fmt: skip
FRAME = pd.DataFrame(
    [
        ("2026-01-01 10:00:00", 10, 0, 0, 0, 120, 225, 2, 90.0, 60.0, 5_000_000),
        ("2026-01-02 10:00:00", 5, 1, 2, 0, 30, 75, 4, 60.0, 20.0, 0),
    ],
    columns=COLUMNS,
)


def test_totals_by_hand() -> None:
    totals = run_totals(FRAME)
    assert totals is not None
    assert (totals.runs, totals.epochs_trained, totals.epochs_alone) == (2, 150, 300)
    assert totals.saved == 0.5
    assert totals.utilisation == pytest.approx(150 / (2 * 60 + 4 * 20))
    assert run_totals(None) is run_totals(FRAME[:0]) is None


def test_a_run_that_ended_no_trial_saved_nothing_known() -> None:
    totals = run_totals(FRAME.assign(epochs_alone=0, elapsed_s=0.0))
    assert totals is not None
    assert (totals.saved, totals.utilisation) == (None, None)


def test_the_table_shows_the_last_run_first() -> None:
    table = runs(FRAME)
    assert table is not None
    first, second = ([entry.text for entry in row] for row in table.rows)
    assert first == ["2026-01-02 10:00:00", "5", "3", "30", "75", "2.50", "4", "75%", "20 s", "0.0"]
    assert second[3:8] == ["120", "225", "1.88", "2", "75%"]
    assert runs(None) is None


def test_the_report_says_what_was_saved() -> None:
    page = render_report(small_study(), None, ReportInfo("s", saved_epochs=(9, 8)), FRAME)
    assert "150 epochs trained in place of 300" in page
    assert 'id="runs"' in page
    without = render_report(small_study(), None, ReportInfo("s", saved_epochs=(9, 8)))
    assert "8 epochs planned in place of 9" in without
    assert 'id="runs"' not in without

"""What a run shows: a line, a panel, and how durations read."""

import io

import pytest
from rich.console import Console

from sweep.progress import PlainLines, RunState, choose, duration, line, panel

STATE = RunState(
    total=20, done=7, failed=1, blocked=2, running=("a cell", "another cell"),
    epochs_done=30, epochs_total=120, elapsed_s=65.0, eta_s=200.0, trials_per_minute=6.5,
    last_failure="digits: bug: boom",
)  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "unknown"), (0, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (200, "3 min 20 s"),
     (3600, "1 h 00 min"), (7500, "2 h 05 min"), (90000, "1 d 1 h")],
)  # fmt: skip
def test_durations_read_well(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_line_says_everything() -> None:
    for part in ("7/20", "2 running", "1 failed", "2 blocked", "30/120", "6.5 trials/min",
                 "1 min 05 s", "ETA 3 min 20 s", "a cell"):  # fmt: skip
        assert part in line(STATE)


def test_the_panel_names_failures_and_what_runs() -> None:
    console = Console(file=io.StringIO(), width=100, record=True)
    console.print(panel(STATE))
    text = console.export_text()
    for part in ("7 of 20", "1 failed", "2 blocked", "another cell", "boom", "ETA 3 min 20 s"):
        assert part in text


def test_plain_lines_come_at_their_pace_and_at_the_end() -> None:
    now = [0.0]
    out = io.StringIO()
    lines = PlainLines(out, every_s=10.0, clock=lambda: now[0])
    for second in range(25):
        now[0] = float(second)
        lines.show(STATE)
    lines.say("a word")
    lines.close()
    written = out.getvalue().splitlines()
    # at 2 s, so that something is seen early, at 12 s and 22 s, the word, and the end
    assert len(written) == 5
    assert written[3] == "a word"


def test_a_file_gets_plain_lines() -> None:
    assert isinstance(choose(io.StringIO()), PlainLines)

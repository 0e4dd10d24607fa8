"""Jobs as processes: they outlive who started them, are stopped, and say how they ended."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.web import processes
from sweep.web.jobs import Job, Order
from sweep.web.processes import Processes
from sweep.web.supervise import PART_BYTES, PARTS

WAIT_S = 60.0


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.02)


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Job]:
    """Starts a piece of Python in place of `sweep`."""

    def start(code: str) -> Job:
        monkeypatch.setattr(
            processes, "command", lambda *words: [sys.executable, "-u", "-c", code, *words]
        )
        return Processes(tmp_path / "jobs", "results", ("--local",)).start(
            Order("run", "mine", "/a/mine.toml", ("--seeds=2",))
        )

    return start


@pytest.fixture
def later(tmp_path: Path) -> Processes:
    """What a server that is started again finds."""
    return Processes(tmp_path / "jobs", "results")


def now(launcher: Processes, job: Job) -> Job:
    return next(one for one in launcher.jobs() if one.id == job.id)


def test_a_job_ends_and_says_how(started: Callable[[str], Job], later: Processes) -> None:
    job = started("import sys; print(sys.argv[1:]); sys.exit(1)")
    assert (job.status, job.exit_status, job.order.study) == ("running", None, "mine")
    until(lambda: not now(later, job).at_work)
    ended = now(later, job)
    assert (ended.status, ended.exit_status) == ("failed", 1)
    assert ended.order == Order("run", "mine", "/a/mine.toml", ("--seeds=2",))
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.started_at
    log = later.log(job.id, 0, 1000)
    assert log is not None
    assert (
        log.text == "['run', '--results=results', '--local', '--seeds=2', '--', '/a/mine.toml']\n"
    )
    assert (log.offset, log.next_offset, log.ended) == (0, len(log.text), True)


def test_a_job_is_found_by_who_did_not_start_it_and_stopped(
    started: Callable[[str], Job], later: Processes, tmp_path: Path
) -> None:
    job = started(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('stopping'), sys.exit(130)))\n"
        "print('ready')\nwhile True: time.sleep(0.05)"
    )
    until(lambda: "ready" in text(later, job))
    assert now(later, job).status == "running"
    later.stop(job.id)
    until(lambda: not now(later, job).at_work)
    assert (now(later, job).status, now(later, job).exit_status) == ("stopped", 130)
    assert "stopping" in text(later, job)
    assert later.stop(job.id) == now(later, job)
    assert later.stop("20260101-000000-00000000") is None
    assert later.stop("../../etc/passwd") is None


def test_one_that_does_not_listen_is_ended(started: Callable[[str], Job], later: Processes) -> None:
    job = started(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready')\nwhile True: time.sleep(0.05)"
    )
    until(lambda: "ready" in text(later, job))

    def stopped() -> bool:
        later.stop(job.id)  # the third time it is ended
        return not now(later, job).at_work

    until(stopped)
    assert now(later, job).status == "stopped"


def test_one_whose_supervisor_was_killed_is_lost(
    started: Callable[[str], Job], later: Processes, tmp_path: Path
) -> None:
    job = started("import time\nprint('ready')\nwhile True: print('x'); time.sleep(0.05)")
    until(lambda: "ready" in text(later, job))
    supervisor = int((tmp_path / "jobs" / f"{job.id}.lock").read_text())
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not now(later, job).at_work)
    assert (now(later, job).status, now(later, job).exit_status) == ("lost", None)


def test_it_outlives_who_started_it(tmp_path: Path, later: Processes) -> None:
    code = (
        "import sys, os, signal\n"
        "from pathlib import Path\n"
        "from sweep.web import processes\n"
        "from sweep.web.jobs import Order\n"
        "inner = \"import time, pathlib\\nprint('ready')\\n\" + "
        "f\"while not pathlib.Path({sys.argv[2]!r}).exists(): time.sleep(0.02)\\nprint('done')\"\n"
        "processes.command = lambda *words: [sys.executable, '-u', '-c', inner]\n"
        "processes.Processes(Path(sys.argv[1]), 'r').start(Order('run', 'mine', 'mine'))\n"
        "os.killpg(os.getpgid(0), signal.SIGKILL)\n"
    )
    go = tmp_path / "go"
    words = [sys.executable, "-c", code, str(tmp_path / "jobs"), str(go)]
    killed = subprocess.run(words, start_new_session=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    (job,) = later.jobs()
    assert job.status == "running"
    until(lambda: "ready" in text(later, job))
    go.touch()
    until(lambda: not now(later, job).at_work)
    assert now(later, job).status == "done"
    assert text(later, job) == "ready\ndone\n"


def test_what_is_printed_is_kept_within_bounds(
    started: Callable[[str], Job], later: Processes, tmp_path: Path
) -> None:
    lines = 3 * PART_BYTES * PARTS // 2 // 100
    job = started(f"for n in range({lines}): print(f'{{n:098}}', end='\\n\\n'[:2])")
    until(lambda: not now(later, job).at_work)
    kept = sum(path.stat().st_size for path in (tmp_path / "jobs").glob("*.log.*"))
    assert kept <= PART_BYTES * PARTS
    assert now(later, job).log_bytes == 100 * lines
    log = later.log(job.id, 0, 250)
    assert log is not None
    assert log.begins_at == log.offset > 0
    assert (log.next_offset, log.ended) == (log.offset + 250, False)
    last = later.log(job.id, 100 * lines - 100, 1000)
    assert last is not None
    assert int(last.text) == lines - 1
    assert last.ended


def test_letters_are_not_cut(started: Callable[[str], Job], later: Processes) -> None:
    job = started("print('ä' * 10)")
    until(lambda: not now(later, job).at_work)
    found, offset = "", 0
    while not found.endswith("\n"):
        part = later.log(job.id, offset, 3)
        assert part is not None
        found, offset = found + part.text, part.next_offset
    assert found == "ä" * 10 + "\n"


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 7])
def test_letters_of_any_length_are_not_cut(
    started: Callable[[str], Job], later: Processes, limit: int
) -> None:
    said = "─█" * 5 + "a🙂é" * 3 + "\n"  # of three, four, two bytes and one
    job = started(f"import sys; sys.stdout.buffer.write({said.encode()!r})")
    until(lambda: not now(later, job).at_work)
    found, offset, ended = "", 0, False
    while not ended:
        part = later.log(job.id, offset, limit)
        assert part is not None
        assert part.next_offset > offset or part.ended, "it goes on"
        found, offset, ended = found + part.text, part.next_offset, part.ended
    assert found == said


def test_a_job_outlives_the_folder_of_its_log(
    started: Callable[[str], Job], tmp_path: Path
) -> None:
    """Nothing can be written there any more, as on a full disk: the run must not die of it."""
    gone, ended = tmp_path / "gone", tmp_path / "ended"
    started(
        f"import pathlib, time\nwhile not pathlib.Path({str(gone)!r}).exists(): time.sleep(0.02)\n"
        f"for _ in range(8): print('x' * {PART_BYTES // 2}, flush=True)\n"
        f"time.sleep(0.2)\nprint('y' * {PART_BYTES}, flush=True)\n"
        f"pathlib.Path({str(ended)!r}).touch()"
    )
    shutil.rmtree(tmp_path / "jobs")
    gone.touch()
    until(ended.exists)


def test_what_it_leaves_running_does_not_hold_it(
    started: Callable[[str], Job], later: Processes, tmp_path: Path
) -> None:
    """A daemon that holds the output open, as Ray's do now and then."""
    stop = tmp_path / "stop"
    daemon = (
        f"import time, pathlib\nwhile not pathlib.Path({str(stop)!r}).exists(): time.sleep(0.05)"
    )
    job = started(f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {daemon!r}])")
    try:
        until(lambda: not now(later, job).at_work)
        assert now(later, job).status == "done"
    finally:
        stop.touch()


def test_records_that_are_no_records_are_left_out(later: Processes, tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "20260101-000000-00000000.json").write_text("not JSON")
    (folder / "20260101-000000-00000001.json").write_text('{"action": 1}')
    (folder / "other.json").write_text("{}")
    assert later.jobs() == []
    assert later.log("20260101-000000-00000000", 0, 10) is None


def test_the_token_is_not_handed_on(
    started: Callable[[str], Job], later: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_TOKEN", "secret")
    job = started("import os; print(os.environ.get('SWEEP_TOKEN'))")
    until(lambda: not now(later, job).at_work)
    assert text(later, job) == "None\n"


def text(launcher: Processes, job: Job) -> str:
    found = launcher.log(job.id, 0, 100_000)
    assert found is not None
    return found.text

"""Temporary folders and what uses them go with their run, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweep.scratch import PREFIX, Scratch, clear, clear_abandoned, marking, short_base, users

ROOT = Path(__file__).resolve().parents[2]


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_folder_goes_when_it_is_closed(tmp_path: Path) -> None:
    with Scratch() as scratch:
        folder = scratch.folder(tmp_path)
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "file").write_text("x")
        assert folder.name.startswith(PREFIX)
    assert not folder.exists()
    scratch.close()  # twice does no harm


def test_commands_run_before_folders_go(tmp_path: Path) -> None:
    with Scratch() as scratch:
        folder = scratch.folder(tmp_path)
        script = f"import sys; open({str(tmp_path / 'said')!r}, 'w').write(sys.stdin.read() + str(__import__('os').path.isdir({str(folder)!r})))"
        scratch.at_end([sys.executable, "-c", script], "quit\n", {"X": "1"})
    assert (tmp_path / "said").read_text() == "quit\nTrue"
    assert not folder.exists()


OWNER = """
import subprocess, sys, time
from pathlib import Path
from sweep.scratch import Scratch

scratch = Scratch()
folder = scratch.folder(Path(sys.argv[1]))
log = open(folder / "log", "w")
child = subprocess.Popen(
    [sys.executable, "-c", "import time, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"],
    stdout=log, start_new_session=True,
)
log.close()
print(folder, child.pid, scratch._guard.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process with a folder, in which another writes its log."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        start_new_session=True, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def told(owner: "subprocess.Popen[str]") -> tuple[Path, int, int]:
    """Its folder, the other process, and the guard of both."""
    assert owner.stdout is not None
    folder, child, guard = owner.stdout.readline().split()
    return Path(folder), int(child), int(guard)


def test_processes_are_known_by_their_mark(tmp_path: Path) -> None:
    """As one that has not opened a file yet."""
    with marking(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with child:
        assert users(tmp_path) == [child.pid]
        assert users(tmp_path / "other") == []
        clear(tmp_path, grace_s=0.0)
    assert child.returncode == -signal.SIGKILL
    assert not tmp_path.exists()


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_after_the_death_of_its_owner_nothing_is_left(
    tmp_path: Path, owner: "subprocess.Popen[str]"
) -> None:
    folder, child, guard = told(owner)
    assert users(folder) == [child]
    assert clear_abandoned(tmp_path) == []  # it lives
    os.killpg(owner.pid, signal.SIGKILL)
    owner.wait()
    assert until(lambda: not (alive(child) or alive(guard) or folder.exists()))


def test_what_a_crash_of_the_machine_left_is_cleared_by_the_next_run(
    tmp_path: Path, owner: "subprocess.Popen[str]"
) -> None:
    folder, child, guard = told(owner)
    os.kill(guard, signal.SIGKILL)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert alive(child)
    other = tmp_path / f"{PREFIX}foreign"  # no lock in it: not made by us
    other.mkdir()
    assert clear_abandoned(tmp_path) == [folder]
    assert not folder.exists()
    assert not until(lambda: alive(child), 0.2)
    assert other.is_dir()


def test_names_of_sockets_must_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    assert short_base() == Path("/tmp")
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "x" * 40)
    assert short_base() is None
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setattr("tempfile.tempdir", "/tmp/" + "x" * 40)
    assert short_base() == Path("/tmp")

"""Temporary folders, and processes that use them, that do not outlive the run they belong to.

Whatever ends a run, SIGKILL included, a small process of its own notices that the pipe to it is
closed, ends what the run has started, and removes its folders. Each folder is locked by its owner, so
that after a failure of the whole machine the next run can tell which are abandoned.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

PREFIX = "sweep-scratch-"
MARK = "SWEEP_SCRATCH"
"""Environment variable by which processes are known that a run started; names its folder."""
_OWNER = "owner.lock"
_GRACE_S, _PATIENCE_S = 5.0, 20.0
_QUIT_S = 10.0
_SHORT = 32
"""Longest name of a folder for temporary files in which the names of Ray's sockets still fit."""


class Scratch:
    """The temporary folders of a run, and what is to be ended with it. Close it, or use `with`."""

    def __init__(self) -> None:
        """Starts the process that clears up."""
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # a signal to the group of the run is not for it
        )
        self._owned: list[int] = []

    def folder(self, base: Path | None = None) -> Path:
        """Makes a folder that is removed at the end, with every process that writes its logs there.

        Args:
            base: where; None for the system's folder for temporary files.
        """
        path, handle = _locked_folder(base)
        self._owned.append(handle)
        self._tell({"folder": str(path)})
        return path

    def at_end(self, command: Sequence[str], said: str, environment: Mapping[str, str]) -> None:
        """Has a command run at the end, before folders are removed.

        Args:
            command: with its arguments.
            said: what it is given to read.
            environment: its whole environment.
        """
        about = {"command": list(command), "said": said, "environment": dict(environment)}
        self._tell(about)

    def close(self) -> None:
        """Clears up now."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(timeout=_PATIENCE_S + 2 * _QUIT_S)
        for handle in self._owned:
            os.close(handle)
        self._owned = []

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tell(self, about: Mapping[str, object]) -> None:
        if self._guard.stdin is not None:
            with contextlib.suppress(OSError):  # the guard was killed: the next run clears up
                self._guard.stdin.write(json.dumps(about) + "\n")
                self._guard.stdin.flush()


@contextlib.contextmanager
def marking(folder: Path) -> Iterator[None]:
    """Marks the processes that are started within, and theirs, as belonging to a folder."""
    before = os.environ.get(MARK)
    os.environ[MARK] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[MARK]
        else:
            os.environ[MARK] = before


def short_base() -> Path | None:
    """A folder for temporary files whose name leaves room for those of sockets; None without one."""
    wanted = os.environ.get("RAY_TMPDIR")
    for base in [wanted] if wanted else [tempfile.gettempdir(), "/tmp"]:
        if len(base) <= _SHORT and os.access(base, os.W_OK | os.X_OK):
            return Path(base)
    return None


def clear_abandoned(base: Path | None = None) -> list[Path]:
    """Removes the folders of runs that ended without clearing up.

    Args:
        base: where to look; None for the system's folder for temporary files.

    Returns:
        The folders that were removed.
    """
    removed = []
    for path in sorted((base or Path(tempfile.gettempdir())).glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            handle = os.open(path / _OWNER, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                clear(path, grace_s=0.0)
                removed.append(path)
            finally:
                os.close(handle)
    return removed


def clear(folder: Path, grace_s: float = _GRACE_S) -> None:
    """Ends the processes that belong to a folder and removes it.

    Args:
        folder: which.
        grace_s: how long they may take to end by themselves.
    """
    began = time.monotonic()
    while (left := users(folder)) and time.monotonic() - began < _PATIENCE_S:
        if time.monotonic() - began >= grace_s:
            for process in left:
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def users(folder: Path) -> list[int]:
    """Processes that name a folder in their command line or as their mark, or have a file in it open.

    Ray's agents, which outlive their node when it is killed, change the name in their command line
    and open their logs some time later. (Linux; elsewhere none is found.)
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        process = int(entry.name)
        if process in (os.getpid(), os.getppid()):
            continue
        with contextlib.suppress(OSError):
            named = os.fsencode(folder) in (entry / "cmdline").read_bytes()
            marked = os.fsencode(f"{MARK}={folder}") in (entry / "environ").read_bytes().split(
                b"\0"
            )
            if named or marked or any(_within(link, folder) for link in (entry / "fd").iterdir()):
                found.append(process)
    return found


def _within(link: Path, folder: Path) -> bool:
    """Whether an open file lies in a folder; a copy of its owner may have the lock by inheritance."""
    try:
        target = str(link.readlink())
    except OSError:
        return False
    return target.startswith(f"{folder}/") and target != str(folder / _OWNER)


def _locked_folder(base: Path | None) -> tuple[Path, int]:
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    handle = os.open(path / _OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return path, handle


def _guard() -> None:
    """Waits until the run is gone, and clears up after it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    asked = [json.loads(line) for line in sys.stdin]
    for about in asked:
        if "command" in about:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    about["command"], input=about["said"], env=about["environment"], text=True,
                    timeout=_QUIT_S, check=False, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )  # fmt: skip
    for about in asked:
        if "folder" in about:
            clear(Path(about["folder"]))


if __name__ == "__main__":
    _guard()

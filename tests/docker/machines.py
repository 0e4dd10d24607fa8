"""Stands in for the machines of a cluster: their commands, and ports that are free."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
PATIENCE_S = 300.0

STUDY = """
name = "tiny"
seeds = [1, 2]
grid = {teacher = ["small"], alpha = [0.1, 0.6], switch_epoch = [1, 2]}
recipe = {epochs = 2, batch_size = 32}
split = {train_size = 64, validation = 0.1}
datasets = {digits = {student = "medium"}}
"""

SCONTROL = """#!/bin/sh
[ "$1 $2" = "show hostnames" ] || exit 1
echo "$3" | tr , '\\n'
"""

SRUN = """#!/bin/bash
# Does here what Slurm would do on other nodes: the command, once for each task.
echo "srun $*" >>"$SRUN_LOG"
stat -c 'token %a' "$RAY_AUTH_TOKEN_PATH" >>"$SRUN_LOG"
tasks=1
while [ "${1#--}" != "$1" ]; do
    case "$1" in --ntasks=*) tasks=${1#--ntasks=} ;; esac
    shift
done
pids=()
trap 'kill -TERM "${pids[@]}"' TERM
for ((n = 0; n < tasks; n++)); do
    SLURM_PROCID=$n "$@" &
    pids+=("$!")
done
for one in "${pids[@]}"; do wait "$one" || wait "$one"; done
"""


def commands(folder: Path, **others: str) -> str:
    """A PATH on which `sweep` is this checkout's, and further scripts are as given."""
    folder.mkdir()
    main = f"{shlex.quote(sys.executable)} -c 'from sweep.cli import main; main()' \"$@\""
    scripts = {"sweep": f"#!/bin/sh\nexec env PYTHONPATH={shlex.quote(str(ROOT))} {main}\n"}
    for name, text in (scripts | others).items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"


def environment(path: str, **changes: str) -> dict[str, str]:
    """This process's variables without any that are about a cluster."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("RAY_", "SLURM_", "SWEEP_WAIT", "SWEEP_HEAD"))
    }
    return {**kept, "PATH": path, **changes}


def free_port(above: int = 0) -> int:
    """A port that is free, and so is the one that is so much higher."""
    for _ in range(100):
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            if not above:
                return port
            try:
                other.bind(("127.0.0.1", port + above))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no free port")


def until(true: Callable[[], object], process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Waits for something, as long as the process it depends on lives."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        assert process is None or process.poll() is None, f"ended with {process.poll()}"
        time.sleep(0.1)


def node(env: Mapping[str, str], log: Path, *words: str) -> "subprocess.Popen[bytes]":
    """`node.sh` in the background, in a group of its own."""
    with log.open("wb") as out:
        return subprocess.Popen(
            [DOCKER / "node.sh", *words], env=env, stdout=out, stderr=out, start_new_session=True
        )


def end(*processes: "subprocess.Popen[bytes]") -> None:
    """Asks processes to end, and ends their groups where they do not."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(PATIENCE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def running(folder: Path | str) -> list[str]:
    """The commands of processes that name a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found

"""Commands of `sweep` as processes of this machine, for what the server has done rather than does.

A grid of a million cells takes minutes and gigabytes to expand; in a process that can be limited and
given up.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweep.errors import SweepError
from sweep.web.problems import ProblemError

TIMEOUT_S, MEMORY_BYTES = 120.0, 8 * 10**9
SECRETS = ("SWEEP_TOKEN",)
"""Variables that no process of ours inherits. Ray's token is none of them: with it a process reaches
the cluster."""
MAX_SAID = 4_000
"""Letters of what a command that broke said, at its end: as many go into the server's log."""

_log = logging.getLogger("sweep.web")


def command(*words: str) -> list[str]:
    """A command of `sweep`, as the words of a process."""
    return [sys.executable, "-P", "-c", "from sweep.cli import main; main()", *words]


def environment() -> dict[str, str]:
    """What a process of ours inherits."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS}


def answer_of(words: Sequence[str], source: str | Path, what: str) -> dict[str, Any]:
    """The JSON that a command prints, which may take `TIMEOUT_S` and `MEMORY_BYTES`, and no more.

    Args:
        words: the command and its options, each whole.
        source: what it is given: a built-in name, or a file, of which messages say the name alone.
        what: it does, for messages: "planning".

    Raises:
        SweepError: what the command says is wrong.
        ProblemError: where it takes too long, or does not come to an end.
    """
    try:
        done = subprocess.run(
            _limited(*words, "--", str(source)), env=environment(), stdin=subprocess.DEVNULL,
            capture_output=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ProblemError(503, f"{what} took longer than {TIMEOUT_S:g} s") from None
    if done.returncode == 2:
        raise SweepError(_complaint(done.stderr).replace(str(source), Path(source).name))
    try:
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(done.stdout)
            return found
    except ValueError:
        pass
    said = done.stderr.decode(errors="replace").strip()[-MAX_SAID:]
    _log.error("%s ended with status %d: %s", what, done.returncode, said)
    raise ProblemError(503, f"{what} did not come to an end")


def _limited(*words: str) -> list[str]:
    """A command as a process that may take no more memory than `MEMORY_BYTES`."""
    python, flag, option, code, *rest = command(*words)
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES},) * 2); "
    return [python, flag, option, limit + code, *rest]


def _complaint(stderr: bytes) -> str:
    """What a command said is wrong; a library may have warned of something before."""
    text = stderr.decode(errors="replace").strip()
    _, found, said = f"\n{text}".partition("\nsweep: ")
    return said if found else text

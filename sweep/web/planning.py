"""What a study costs, as `sweep plan --json` gives it, in a process of its own.

A grid of a million cells takes minutes and gigabytes to plan; in a process it can be given up.
"""

import json
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweep.errors import StudyError
from sweep.web.problems import ProblemError

TIMEOUT_S, MEMORY_BYTES = 120.0, 8 * 10**9
MOST = 64
SECRETS = ("SWEEP_TOKEN",)
"""Variables that no process of ours inherits."""


def command(*words: str) -> list[str]:
    """A command of `sweep`, as the words of a process."""
    return [sys.executable, "-P", "-c", "from sweep.cli import main; main()", *words]


def environment() -> dict[str, str]:
    """What a process of ours inherits."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS}


def _limited(*words: str) -> list[str]:
    """The same for a process that may take no more memory than `MEMORY_BYTES`."""
    python, flag, option, code, *rest = command(*words)
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES},) * 2); "
    return [python, flag, option, limit + code, *rest]


class Planner:
    """Plans, and remembers the plans made last."""

    def __init__(self, results: str) -> None:
        self._results = results
        self._known: OrderedDict[object, dict[str, Any]] = OrderedDict()

    def known(self, key: object) -> dict[str, Any] | None:
        """A plan that was made; None where it was not."""
        return self._known.get(key)

    def plan(self, key: object, source: str | Path, options: Sequence[str]) -> dict[str, Any]:
        """Plans a study.

        Args:
            key: tells this plan from others.
            source: a built-in name, or a file.
            options: further arguments of `sweep plan`, each whole.

        Raises:
            StudyError: for what the command says is wrong.
            ProblemError: where it takes too long.
        """
        found = self._known.get(key)
        if found is not None:
            return found
        words = ["plan", "--json", f"--results={self._results}", *options, "--", str(source)]
        try:
            done = subprocess.run(
                _limited(*words), env=environment(), stdin=subprocess.DEVNULL, capture_output=True,
                timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ProblemError(503, f"planning took longer than {TIMEOUT_S:g} s") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().removeprefix("sweep: ")
            if done.returncode != 2:
                raise ProblemError(503, "planning did not come to an end")
            raise StudyError(said.replace(str(source), Path(str(source)).name))
        plan: dict[str, Any] = json.loads(done.stdout)
        self._known[key] = plan
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return plan

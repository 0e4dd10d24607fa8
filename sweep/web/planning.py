"""What a study costs, as `sweep plan --json` gives it, in a process of its own."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweep.web.commands import answer_of

MOST = 64


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
            SweepError: for what the command says is wrong.
            ProblemError: where it takes too long.
        """
        found = self._known.get(key)
        if found is not None:
            return found
        words = ["plan", "--json", f"--results={self._results}", *options]
        plan = self._known[key] = answer_of(words, source, "planning")
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return plan

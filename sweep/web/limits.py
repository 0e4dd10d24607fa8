"""Keeps what is dear to a few at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sweep.web.problems import ProblemError

AT_ONCE = {"query": 1, "plan": 1, "validate": 2, "trial": 2, "metrics": 1}
WAITING = {"query": 4, "plan": 4, "validate": 8, "trial": 64, "metrics": 4}
"""How many of a kind are at work, and how many may wait; others are told to come again."""


class Turns:
    """Turns at what is dear."""

    def __init__(self) -> None:
        self._free = {kind: asyncio.Semaphore(number) for kind, number in AT_ONCE.items()}
        self._asked = dict.fromkeys(AT_ONCE, 0)

    @asynccontextmanager
    async def turn(self, kind: str) -> AsyncIterator[None]:
        """Waits for a turn.

        Raises:
            ProblemError: where too many wait already.
        """
        if self._asked[kind] >= AT_ONCE[kind] + WAITING[kind]:
            raise ProblemError(429, f"too many wait for a {kind} already", {"Retry-After": "5"})
        self._asked[kind] += 1
        try:
            async with self._free[kind]:
                yield
        finally:
            self._asked[kind] -= 1

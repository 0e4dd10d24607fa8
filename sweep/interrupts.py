"""Asking a run to stop: by a signal, or from another thread."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Asks a run to stop; set by a signal or from another thread."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._on_ask: list[Callable[[], None]] = []

    def ask(self) -> None:
        """Asks; the run ends at its next look."""
        self._asked.set()
        for tell in self._on_ask:
            tell()

    def on_ask(self, tell: Callable[[], None]) -> None:
        """Has something called when someone asks, in the thread that asks."""
        self._on_ask.append(tell)

    @property
    def asked(self) -> bool:
        """Whether someone asked."""
        return self._asked.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Waits until someone asks, for at most so long; whether someone did."""
        return self._asked.wait(timeout_s)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a scheduler that ends a job, a terminal that is closed."""


@contextmanager
def stop_on_signals(interrupt: Interrupt) -> Iterator[None]:
    """The first signal asks the run to stop, the second ends it at once.

    To be entered after Ray has started, which sets handlers of its own.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        if interrupt.asked:
            raise KeyboardInterrupt
        interrupt.ask()

    with _handling(SIGNALS, handle):
        yield


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Other signals end the process as Ctrl-C does, so that what is open is closed."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling(SIGNALS, handle):
        yield


@contextmanager
def children_ignore_hangups() -> Iterator[None]:
    """Processes started within, and theirs, do not end with the terminal: their run ends them.

    What is ignored is inherited, unlike handlers.
    """
    with _handling([signal.SIGHUP], signal.SIG_IGN):
        yield


@contextmanager
def _handling(
    numbers: Sequence[signal.Signals],
    handle: Callable[[int, FrameType | None], None] | signal.Handlers,
) -> Iterator[None]:
    """Handles signals, but for those that are ignored (as by `nohup`), in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, handle) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Signals for processes that tests start."""

import signal


def as_in_a_terminal() -> None:
    """In a new process: signals end it, also where the tests run in the background or under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)

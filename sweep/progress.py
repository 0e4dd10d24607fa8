"""What a run tells while it runs: a live panel on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweep.execution.devices import DeviceUse


@dataclass(frozen=True)
class RunState:
    """A moment of a run.

    Attributes:
        total: trials this run set out to do.
        done, failed, blocked: of them so far; diverged ones are failed.
        running: what the workers do, as short texts.
        epochs_done, epochs_total: after sharing.
        elapsed_s: since the start.
        eta_s: estimated seconds to go; None before anything is known.
        trials_per_minute: over the whole run.
        last_failure: one line.
        devices: what each does.
    """

    total: int
    done: int
    failed: int
    blocked: int
    running: tuple[str, ...]
    epochs_done: int
    epochs_total: int
    elapsed_s: float
    eta_s: float | None
    trials_per_minute: float
    last_failure: str | None = None
    devices: tuple[DeviceUse, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The state as JSON types."""
        lists = {"running": list(self.running), "devices": [d.as_dict() for d in self.devices]}
        return {**asdict(self), **lists}


class Progress(Protocol):
    """Shows states; entered before the first and left after the last."""

    def show(self, state: RunState) -> None:
        """Shows a state; called often."""
        ...

    def say(self, text: str) -> None:
        """Shows a line that stays."""
        ...

    def close(self) -> None:
        """Leaves the display as it is."""
        ...


class Silent:
    """Shows nothing."""

    def show(self, state: RunState) -> None:
        """Does nothing."""

    def say(self, text: str) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class Lasting:
    """Shows what another shows, which is left only by whoever made it: for runs that follow."""

    def __init__(self, shown: Progress) -> None:
        """Wraps a display."""
        self._shown = shown
        self.show, self.say = shown.show, shown.say

    def close(self) -> None:
        """Does nothing."""


class PlainLines:
    """One line every few seconds, for logs."""

    def __init__(
        self, out: TextIO, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Writes to `out` at most every `every_s` seconds."""
        self._out, self._every_s, self._clock = out, every_s, clock
        self._last = clock() - every_s + min(2.0, every_s)
        self._state: RunState | None = None

    def show(self, state: RunState) -> None:
        """Writes a line, if the last is long enough ago."""
        self._state = state
        if self._clock() - self._last >= self._every_s:
            self._write(state)

    def say(self, text: str) -> None:
        """Writes a line."""
        print(text, file=self._out, flush=True)

    def close(self) -> None:
        """Writes the last state, if that was not done."""
        if self._state is not None:
            self._write(self._state)

    def _write(self, state: RunState) -> None:
        self._state = None
        self._last = self._clock()
        print(line(state), file=self._out, flush=True)


class LivePanel:
    """A panel that is redrawn in place.

    It takes the terminal with the first state, so whatever goes wrong before leaves the cursor be.
    """

    def __init__(self, console: Console) -> None:
        """Draws on a console."""
        self._live = Live(console=console, refresh_per_second=4, transient=False)

    def show(self, state: RunState) -> None:
        """Redraws the panel."""
        self._live.start()
        self._live.update(panel(state))

    def say(self, text: str) -> None:
        """Writes a line above the panel."""
        self._live.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        """Leaves the panel where it is."""
        self._live.stop()


def duration(seconds: float | None) -> str:
    """Seconds as a person reads them: `45 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`."""
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def line(state: RunState) -> str:
    """A state as one line."""
    now = state.running[0] if state.running else "-"
    return (
        f"{state.done}/{state.total} trials done, {len(state.running)} running, "
        f"{state.failed} failed, {state.blocked} blocked | "
        f"epochs {state.epochs_done}/{state.epochs_total} | "
        f"{state.trials_per_minute:.1f} trials/min | elapsed {duration(state.elapsed_s)} | "
        f"ETA {duration(state.eta_s)} | now: {now}"
    )


def panel(state: RunState) -> Group:
    """A state as a panel."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column()
    counts = Text(f"{state.done} of {state.total} done, {len(state.running)} running")
    if state.failed:
        counts.append(f", {state.failed} failed", style="bold red")
    if state.blocked:
        counts.append(f", {state.blocked} blocked", style="yellow")
    table.add_row("trials", counts)
    table.add_row("epochs", f"{state.epochs_done:,} of {state.epochs_total:,}")
    table.add_row(
        "pace",
        f"{state.trials_per_minute:.1f} trials/min, elapsed {duration(state.elapsed_s)}, "
        f"ETA {duration(state.eta_s)}",
    )
    for position, text in enumerate(state.running[:8]):
        table.add_row("now" if position == 0 else "", Text(text, overflow="ellipsis"))
    if len(state.running) > 8:
        table.add_row("", f"and {len(state.running) - 8} more")
    if state.last_failure:
        table.add_row("last failure", Text(state.last_failure, style="red", overflow="ellipsis"))
    bar = ProgressBar(total=max(1, state.epochs_total), completed=state.epochs_done, width=60)
    bar_line = Table.grid()  # a bar does not end its line by itself
    bar_line.add_row(bar)
    return Group(bar_line, table)


def choose(out: TextIO) -> Progress:
    """A live panel for a terminal, plain lines for anything else."""
    return LivePanel(Console(file=out)) if out.isatty() else PlainLines(out)

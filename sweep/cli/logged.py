"""`--log-json`: what happens in a run, one JSON object per line, for programs that read logs."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from sweep.cli.options import fail

if TYPE_CHECKING:
    from sweep.progress import Progress

STANDARD_OUTPUT = "-"


@dataclass(frozen=True)
class Logging:
    """Whether to log."""

    log_json: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="add what happens to a file, one JSON object per line; -: to the standard output",
        ),
    ] = None

    @property
    def on_output(self) -> bool:
        """Whether the standard output is the log's alone."""
        return self.log_json == STANDARD_OUTPUT

    def out(self, as_json: bool) -> TextIO:
        """Where people read; programs may be reading the standard output."""
        if as_json and self.on_output:
            fail("--json and --log-json - both write to the standard output; log to a file")
        return sys.stderr if as_json or self.on_output else sys.stdout

    def display(self, out: TextIO) -> "Progress":
        """How far a run is; a panel that is redrawn would be torn by lines of the log."""
        from sweep import progress

        return progress.PlainLines(out) if self.on_output else progress.choose(out)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Writes the log until it is left; a file that cannot be written ends the program first."""
        if self.log_json is None:
            yield
            return
        from sweep.events import LOGGER
        from sweep.jsonlines import JsonLines

        try:
            handler = JsonLines(None if self.on_output else self.log_json)
        except OSError as error:
            fail(f"--log-json {self.log_json!r}: {error.strerror or error}")
        level = LOGGER.level
        LOGGER.setLevel(logging.INFO)
        LOGGER.addHandler(handler)
        try:
            yield
        finally:
            LOGGER.removeHandler(handler)
            LOGGER.setLevel(level)
            handler.close()
            if handler.lost is not None:
                print(f"sweep: --log-json {self.log_json}: {handler.lost}", file=sys.stderr)

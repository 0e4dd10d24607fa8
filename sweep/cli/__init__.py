"""The command line. Each command imports what it needs when it runs, so `--help` is quick."""

import io
import sys
from importlib import import_module

import typer

from sweep.cli.options import fail

app = typer.Typer(
    name="sweep",
    help="Distillation studies: plan a grid, train it once on Ray, keep it in Parquet, ask it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    "run", "cluster", "plan", "ask", "figures", "tune", "regret", "attribute", "serve", "metrics",
    "datasets", "upkeep",
)  # fmt: skip
"""The modules whose commands these are."""


def register() -> None:
    """Makes the commands known to `app`."""
    for name in COMMANDS:
        import_module(f"sweep.cli.{name}")


def main() -> None:
    """Runs the command line; mistakes of the user are one message and exit status 2.

    Ctrl-C ends it with 130, and a reader of its output that goes away with 1: typer sees to both.
    """
    register()
    from sweep.errors import SweepError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    try:
        app()
    except SweepError as error:
        fail(str(error))

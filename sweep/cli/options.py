"""Options that several commands share, and how they print."""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from sweep.shard import Shard
    from sweep.study import Study as StudyFile

Study = Annotated[str, typer.Argument(metavar="STUDY", help="a built-in study or a TOML file")]
MaybeStudy = Annotated[str | None, typer.Argument(metavar="[STUDY]", help="all, if left out")]
Directory = Annotated[
    str, typer.Option("--results", metavar="DIR", help="results directory, or s3://bucket/prefix")
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a study key, e.g. recipe.epochs=2"),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILTER",
        help="students and baselines to choose, e.g. 'dataset=cifar10 alpha=0.1|0.6 seed<100'",
    ),
]
Seeds = Annotated[int | None, typer.Option(metavar="N", help="only the first N seeds")]
Part = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="the I-th of N parts, each with results of its own, to be joined by `sweep merge`",
    ),
]

RESULTS = "results"


def study_to_run(source: str, settings: list[str] | None, results: str) -> "StudyFile":
    """A study that is to be run, planned or evaluated.

    Raises:
        StudyError: where it cannot be read, or stands for imported results.
    """
    from sweep.imported import refuse_to_run
    from sweep.store import Store
    from sweep.study import load_study

    refuse_to_run(Store(results), source)
    return load_study(source, settings or ())


def shard_of(text: str | None) -> "Shard | None":
    """What `--shard` says, checked.

    Raises:
        StudyError: where it is no part of a whole.
    """
    from sweep.shard import Shard

    return None if text is None else Shard.parse(text)


def fail(message: str) -> NoReturn:
    """Ends the program with a message about a mistake of the user."""
    print(f"sweep: {message}", file=sys.stderr)
    sys.exit(2)


def print_json(value: Any) -> None:
    """Prints a value as JSON; see `json_text`."""
    print(json_text(value))


def json_text(value: Any) -> str:
    """A value as JSON; times in ISO format, what is not finite as null."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not (value == value and abs(value) != float("inf")):
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def print_table(
    rows: Iterable[Sequence[object]], columns: Sequence[str], title: str | None = None
) -> None:
    """Prints rows as a table; numbers to the right."""
    from rich.console import Console
    from rich.table import Table

    rows = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for position, column in enumerate(columns):
        numbers = all(isinstance(row[position], int | float | None) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(text(cell) for cell in row))
    wide = None if sys.stdout.isatty() else shutil.get_terminal_size((160, 24)).columns
    Console(width=wide, highlight=False).print(table, markup=False)


def text(value: object) -> str:
    """A value as a person reads it."""
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) >= 100_000 else str(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return str(value)

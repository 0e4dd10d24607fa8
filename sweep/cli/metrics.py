"""`sweep metrics`: figures for Prometheus."""

from pathlib import Path
from typing import Annotated

import typer

from sweep.cli import app
from sweep.cli.options import RESULTS, Directory


@app.command()
def metrics(
    results: Directory = RESULTS,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="write to a file, whole or not at all, as node_exporter's textfile collector wants",
        ),
    ] = None,
) -> None:
    """Print figures of the results and of the run at work in the text format of Prometheus."""
    from sweep.local_files import write_atomically
    from sweep.metrics import exposition
    from sweep.results import Results

    content = exposition(Results(results))
    if output is None:
        print(content.decode(), end="")
    else:
        write_atomically(output, content)

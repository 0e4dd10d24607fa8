"""`sweep serve`: the web page and its API."""

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from sweep.cli import app
from sweep.cli.options import RESULTS, Directory, fail

MIN_TOKEN = 16


@app.command()
def serve(
    results: Directory = RESULTS,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8501,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            help="who knows it is let in; better given as SWEEP_TOKEN or --token-file, which no list "
            "of processes shows. Needed, and made up if not given, for any host but loopback",
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a file with the token")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="a further name under which it may be asked; repeatable"),
    ] = None,
    uploads_may_read: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="where files that uploaded studies name may lie; default: nowhere"
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="uploaded studies and logs; default: in the results"),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="the Ray cluster on which runs are started; http://HOST:8265 hands them over as jobs"
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="runs train in one process, without Ray")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option("--data", help="data directory; SWEEP_DATA_DIR")
    ] = None,
) -> None:
    """Serve the web page and its API: studies live, cells, trials, failures; start and stop runs."""
    from sweep.web.settings import Settings, is_loopback

    if local and address:
        fail("--local and --address exclude each other")
    known = _token(token, token_file)
    made_up = known is None and not is_loopback(host)
    if made_up:
        known = secrets.token_urlsafe(32)
    names = tuple(name.lower().rstrip(".") for name in allow_host or ())
    folder = uploads_may_read
    if folder is not None and not folder.is_dir():
        fail(f"--uploads-may-read {str(folder)!r}: is no directory")
    if address and address.startswith(("http://", "https://")):
        from sweep.cluster.submitting import require_shared

        require_shared(results)
    settings = Settings(
        results, host, port, known, names, folder and folder.absolute(), state, address, local,
        data_dir,
    )  # fmt: skip
    from sweep.web.listening import listen

    try:
        listen(settings, shows_token=made_up)
    except OSError as error:
        fail(f"cannot listen on {host} port {port}: {error.strerror or error}")


def _token(given: str | None, file: Path | None) -> str | None:
    """The token from where it was given; it must be hard to guess."""
    variable = os.environ.pop("SWEEP_TOKEN", None)  # no process that is started inherits it
    if given is not None and file is not None:
        fail("--token and --token-file exclude each other")
    token = given if given is not None else variable
    if file is not None:
        try:
            token = file.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            fail(f"--token-file {str(file)!r}: {error}")
    if token is None or (token == "" and given is None and file is None):
        return None
    if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        fail(f"the token must be {MIN_TOKEN} or more printable ASCII characters without spaces")
    return token

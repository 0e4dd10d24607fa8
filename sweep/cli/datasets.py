"""`sweep data list | fetch | verify`: the datasets."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sweep.cli import app
from sweep.cli.options import Json, fail, print_json, print_table

group = typer.Typer(help="The datasets: list, fetch, verify.", no_args_is_help=True)
app.add_typer(group, name="data")

Name = Annotated[str, typer.Argument(metavar="NAME", help="a dataset")]
DataDir = Annotated[Path | None, typer.Option("--data", help="data directory; SWEEP_DATA_DIR")]


@group.command("list")
def list_(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the known datasets and whether they are here."""
    import data
    from sweep.extensions import load

    load()
    rows = data.describe(data_dir)
    if as_json:
        print_json([_plain(row) for row in rows])
        return
    print_table(
        [
            (r.name, r.task, *(r.rows or (None, None)), "yes" if r.present else "no", str(r.path))
            for r in rows
        ],
        ("dataset", "task", "train", "test", "here", "file"),
    )


@group.command()
def fetch(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Download a dataset and prepare it, unless it is here already."""
    _one("fetch", name, data_dir, as_json)


@group.command()
def verify(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Check that a dataset's content is what its fingerprint says."""
    _one("verify", name, data_dir, as_json)


def _one(what: str, name: str, data_dir: Path | None, as_json: bool) -> None:
    import data
    from sweep.extensions import load

    load()
    try:
        status = getattr(data, what)(name, data_dir)
    except data.DataError as error:
        fail(str(error))
    if as_json:
        print_json(_plain(status))
    else:
        done = {"fetch": "is ready", "verify": "is as it should be"}[what]
        print(f"{name} {done}: {status.path}, fingerprint {status.fingerprint}")


def _plain(status: Any) -> dict[str, Any]:
    return {key: getattr(status, key) for key in status.__dataclass_fields__}

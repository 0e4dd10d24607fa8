"""`sweep import`, `merge` and `gc`: take in old results, join directories, free what nothing needs."""

import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sweep.cli import app
from sweep.cli.options import RESULTS, Directory, Json, fail, print_json, print_table

if TYPE_CHECKING:
    from sweep.merge import MergeSummary

SHOWN = 10


@app.command("import")
def import_(
    table: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="a .parquet or .csv file, one row for each trial"),
    ],
    study: Annotated[str, typer.Option(metavar="NAME", help="name of the results")],
    results: Directory = RESULTS,
    teachers_selected_on: Annotated[
        Literal["test"] | None,
        typer.Option(help="state that the teacher best on this split guided all students"),
    ] = None,
    title: Annotated[str | None, typer.Option(help="one line for reports")] = None,
    note: Annotated[str | None, typer.Option(help="what else is to be said of them")] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="leave out a column; repeatable")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take in a plain table of old results, to be read like any other."""
    from sweep.importing import import_table

    done = import_table(
        table, study, results, teachers_selected_on=teachers_selected_on, title=title, note=note,
        drop=drop or (),
    )  # fmt: skip
    if as_json:
        print_json(dataclasses.asdict(done))
        return
    without = done.rows - done.results
    print(
        f"{study}: {done.rows:,} rows, {done.results:,} with a result"
        + (f", {without:,} without" if without else "")
        + f"; {done.added:,} trials added to {results}"
    )
    if not done.changed:
        print("they were imported before; nothing has changed")
    if done.left_out:
        print(f"left out: {', '.join(done.left_out)}")


@app.command()
def merge(
    directories: Annotated[
        list[str],
        typer.Argument(metavar="DIR... INTO", help="results directories; the last is written"),
    ],
    as_json: Json = False,
) -> None:
    """Join results directories into one; equal trials once, contradictions are reported."""
    from sweep.merge import merge as join
    from sweep.store import Store

    *sources, into = directories
    if not sources:
        fail("merge needs one or more directories and the one to merge into")
    summary = join([Store(source) for source in sources], Store(into))
    if as_json:
        print_json({**dataclasses.asdict(summary), "into": into})
    else:
        _told(summary, into)
    sys.exit(summary.exit_status)


def _told(summary: "MergeSummary", into: str) -> None:
    added = ", ".join(f"{count:,} {what}" for what, count in summary.added.items()) or "nothing"
    print(f"merged into {into}: {added} added; {summary.equal:,} trials were held alike by several")
    for lines, title in (
        ([f"{c.what}: {', '.join(c.columns)} in {' and '.join(c.where)}" for c in summary.conflicts],
         "contradict each other; none was chosen"),
        (summary.damaged, "files are damaged and were left out"),
        (summary.other_class, "trials were measured in several numerics classes; the first is kept"),
        (summary.studies, "studies are not defined alike everywhere; their cells are joined"),
        (summary.active, "directories have a run at work; merge them again when it is done"),
    ):  # fmt: skip
        if lines:
            print(f"{len(lines):,} {title}:")
            print("\n".join(f"  {line}" for line in lines[:SHOWN]))
            if len(lines) > SHOWN:
                print(f"  and {len(lines) - SHOWN:,} more (--json lists all)")


@app.command()
def gc(
    results: Directory = RESULTS,
    delete: Annotated[bool, typer.Option("--delete", help="remove it")] = False,
    as_json: Json = False,
) -> None:
    """Show, and free on request, what nothing needs any more."""
    from sweep.errors import StoreError
    from sweep.garbage import MEANING, free, survey
    from sweep.store import Store

    store = Store(results)
    if not store.is_there():
        raise StoreError(f"results directory {results!r} does not exist")
    found = free(store) if delete else survey(store)
    sizes: Counter[str] = Counter()
    for item in found.garbage:
        sizes[item.kind] += item.size
    total = sum(sizes.values())
    if as_json:
        files = [
            {"kind": item.kind, "file": store.on.shown(item.path), "bytes": item.size}
            for item in found.garbage
        ]
        print_json({"deleted": delete, "bytes": total, "files": files, "unclear": found.unclear})
        return
    counts = Counter(item.kind for item in found.garbage)
    rows = [(kind, counts[kind], f"{sizes[kind] / 1e6:.1f} MB", MEANING[kind]) for kind in counts]
    if rows:
        print_table(rows, ("kind", "files", "size", "what"))
    for line in found.unclear:
        print(line)
    verb = "freed" if delete else "can be freed with --delete"
    print(f"{len(found.garbage):,} files, {total / 1e6:.1f} MB {verb}")

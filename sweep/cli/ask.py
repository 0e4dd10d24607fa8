"""Commands that read results: status, trials, show, query, report, compare, export."""

import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from sweep.cli import app
from sweep.cli.options import (
    RESULTS,
    Directory,
    Json,
    MaybeStudy,
    Only,
    fail,
    json_text,
    print_json,
    print_table,
    text,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from sweep.results import Results

Name = Annotated[str, typer.Argument(metavar="STUDY", help="a study that was run here")]
Format = Literal["table", "csv", "json", "parquet"]
Status = Literal["done", "failed", "blocked", "missing", "diverged"]

SHOWN = (
    "trial_id", "status", "role", "dataset", "model", "teacher", "alpha", "switch_epoch", "seed",
    "metric_name", "test_metric",
)  # fmt: skip


def _study_name(source: str) -> str:
    """The name under which a study's results are kept: of a file, the name in it."""
    if Path(source).suffix == ".toml" or len(Path(source).parts) > 1:
        from sweep.study import load_study

        return load_study(source).name
    return source


@app.command()
def status(study: MaybeStudy = None, results: Directory = RESULTS, as_json: Json = False) -> None:
    """Show how many trials are done, running, failed and missing."""
    from sweep.results import Results, count, mixed

    found = Results(results)
    names = [_study_name(study)] if study else found.studies()
    live = found.store.read_live()
    rows = []
    shown: set[str] = set()
    done: dict[str, int] = {}
    for name in names:
        statuses = found.statuses(name)
        running = sum(tid in statuses for tid in (live or {}).get("running_trials", ()))
        counts = count(statuses)
        rows.append({"study": name, **counts, "running": running})
        done[name] = counts["done"]
        shown |= set(statuses)
    failures = _failures_by_kind(found, shown)
    imports = {name: origin for name in names if (origin := found.origin(name)) is not None}
    origins = found.origins(shown)
    if as_json:
        told = {"studies": rows, "failed_attempts": failures, "live": live, "origins": origins}
        print_json(told | {"imported": {name: vars(about) for name, about in imports.items()}})
        return
    columns = ("study", "total", "done", "running", "failed", "blocked", "missing")
    print_table([[row[c] for c in columns] for row in rows], columns)
    if live:
        from sweep.progress import duration

        print(f"\na run is active: {live.get('epochs_done')} of {live.get('epochs_total')} epochs, "
              f"ETA {duration(live.get('eta_s'))}")  # fmt: skip
        for line in live.get("running", ()):
            print(f"  {line}")
    for name, origin in imports.items():
        print(f"\n{name}: {origin}")
        lost = origin.results - done[name]
        if lost > 0:
            print(f"  {lost:,} of its results are gone or damaged: import the file again")
    for line in mixed(origins):
        print(f"\n{line}")
    if failures:
        print("\nfailed attempts: " + ", ".join(f"{n} {kind}" for kind, n in failures.items()))


def _failures_by_kind(found: "Results", trial_ids: set[str]) -> dict[str, int]:
    """How often attempts at these trials failed, by kind; those tried again included."""
    attempts, _ = found.store.attempts.read(["trial_id", "kind"])
    return dict(
        Counter(
            row["kind"]
            for row in attempts.to_pylist()
            if row["kind"] is not None and row["trial_id"] in trial_ids
        )
    )


@app.command()
def trials(
    study: MaybeStudy = None,
    results: Directory = RESULTS,
    only: Only = None,
    status: Annotated[
        Status | None, typer.Option(help="with a study; without one, only done and diverged")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="rows to show; 0 for all; default 50, all in JSON")
    ] = None,
    as_json: Json = False,
) -> None:
    """List trials, or the cells of a study, with filters."""
    from sweep.filters import parse
    from sweep.results import MEASURED, Results

    found = Results(results)
    unseen = [column for column in (*MEASURED, "attributions") if column not in SHOWN]
    frame = found.cells(_study_name(study), without=unseen) if study else found.trials()
    conditions = parse(only or ())
    columns = list(dict.fromkeys([*SHOWN, *(condition.key for condition in conditions)]))
    rows = [
        row
        for row in frame[columns].astype(object).where(frame[columns].notna(), None)
        .to_dict("records")
        if (status is None or row["status"] == status)
        and all(condition.holds(row[condition.key]) for condition in conditions)
    ]  # fmt: skip
    if limit is None:
        limit = 0 if as_json else 50
    shown = [{column: row[column] for column in SHOWN} for row in rows[: limit or None]]
    if as_json:
        print_json(shown)
        return
    _print_trials(shown)
    if len(shown) < len(rows):
        print(f"{len(rows) - len(shown):,} more; --limit 0 shows all")


def _print_trials(rows: list[dict[str, Any]]) -> None:
    """A table narrow enough for most terminals: what all rows share is said once, above it."""
    shared = {
        column: rows[0][column]
        for column in ("status", "dataset", "metric_name")
        if len(rows) > 1 and len({row[column] for row in rows}) == 1
    }
    if shared:
        print(", ".join(f"{column} {text(value)}" for column, value in shared.items()) + "\n")
    columns = [column for column in SHOWN if column not in shared]
    short = [{**row, "trial_id": row["trial_id"][:12]} for row in rows]
    print_table([[row[c] for c in columns] for row in short], columns)


@app.command()
def show(
    trial: Annotated[str, typer.Argument(metavar="ID", help="a trial id, or how it begins")],
    results: Directory = RESULTS,
    as_json: Json = False,
) -> None:
    """Show one trial whole, with its attempts and tracebacks."""
    from sweep.results import Results

    record = Results(results).trial(trial)
    if as_json:
        print_json(record)
        return
    attempts = record.pop("attempts")
    for key, value in record.items():
        if isinstance(value, list) and len(value) > 12 and not isinstance(value[0], dict | list):
            head = ", ".join(text(v) for v in value[:4])
            value = f"[{head}, ... {text(value[-1])}] ({len(value)} values)"
        elif isinstance(value, list) and value and isinstance(value[0], dict | list):
            print(f"{key}:")
            for item in value:
                print(f"    {item}")
            continue
        print(f"{key:22} {text(value) if not isinstance(value, list) else value}")
    for attempt in attempts:
        print(
            f"\nattempt {text(attempt['started_at'])} on {attempt['node']} ({attempt['worker']}): "
            f"{attempt['status']}, {attempt['wall_s']:.2f} s"
        )
        if attempt["kind"]:
            print(f"  {attempt['kind']}: {attempt['message']}")
        if attempt["traceback"]:
            print(attempt["traceback"])


@app.command()
def query(
    sql: Annotated[str | None, typer.Argument(metavar="SQL", help="one SELECT statement")] = None,
    results: Directory = RESULTS,
    format: Annotated[
        Format | None,
        typer.Option(
            help="table, csv, json or parquet; default: as the file's name ends, or table"
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="write to a file")] = None,
    as_json: Json = False,
    examples: Annotated[
        bool, typer.Option("--examples", help="show queries to start from")
    ] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="until it is ended")] = 60.0,
    max_rows: Annotated[int, typer.Option(metavar="N", help="rows of the answer")] = 1_000_000,
    memory: Annotated[int, typer.Option(metavar="MB", help="that it may take")] = 2000,
) -> None:
    """Ask in SQL: views trials, cells, requested, curves, robustness, attempts, runs."""
    import sweep.query

    if examples:
        _show_examples(as_json)
        return
    if sql is None:
        fail("query needs SQL, one SELECT statement; --examples shows some")
    kind = _format_of(format, output, as_json)
    limits = sweep.query.Limits(timeout, max_rows, memory)
    answer = sweep.query.query(results, sql, limits)
    if output is None and kind == "table":
        columns = [column.to_pylist() for column in answer.columns]
        print_table(list(zip(*columns, strict=True)), answer.column_names)
    elif output is None and kind == "json":
        print_json(answer.to_pylist())
    else:
        _hand_out(_encoded(answer, kind), output)


def _show_examples(as_json: bool) -> None:
    from sweep.query.examples import EXAMPLES

    if as_json:
        print_json([vars(example) for example in EXAMPLES])
        return
    for example in EXAMPLES:
        print(f"-- {example.question}\n{example.sql}\n")


def _format_of(format: Format | None, output: Path | None, as_json: bool) -> Format:
    """The format asked for, checked against where it goes."""
    if as_json and format not in (None, "json"):
        fail(f"--json and --format {format} exclude each other")
    ending = "" if output is None else output.suffix[1:]
    by_name: Format | None = next((k for k in get_args(Format) if k == ending), None)
    kind: Format = "json" if as_json else format or by_name or "table"
    if output is None and kind == "parquet" and sys.stdout.isatty():
        fail("--format parquet is no text: give --output FILE, or send it to another program")
    if output is not None and kind == "table":
        fail(f"--output {str(output)!r}: must end in .csv, .json or .parquet, or give --format")
    return kind


def _encoded(answer: "pa.Table", kind: str) -> bytes:
    if kind == "parquet":
        from sweep.store import to_parquet

        return to_parquet(answer)
    if kind == "csv":
        return str(answer.to_pandas().to_csv(index=False)).encode()
    return (json_text(answer.to_pylist()) + "\n").encode()


def _hand_out(content: bytes, output: Path | None) -> None:
    """Writes to a file, whole or not at all, or to the standard output."""
    if output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        return
    from sweep.local_files import write_atomically

    write_atomically(output, content)
    print(f"{output} ({len(content):,} bytes)", file=sys.stderr)


@app.command()
def report(
    study: Name,
    results: Directory = RESULTS,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="HTML file")] = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page with tables and figures."""
    from sweep import reporting
    from sweep.results import Results

    found = Results(results)
    name = _study_name(study)
    path, size = reporting.write(found, name, output)
    if as_json:
        print_json({"study": name, "report": path, "bytes": size})
    else:
        print(f"report: {path} ({size / 1e6:.1f} MB)")


@app.command()
def compare(
    study: Name,
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="a Parquet file")],
    results: Directory = RESULTS,
    margin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE",
            help="largest difference that does not matter; default accuracy=0.5, and 2 % of the "
            "reference's baseline for any other metric",
        ),
    ] = None,
    reference_only: Annotated[
        bool, typer.Option("--reference-only", help="list what only the reference has, too")
    ] = False,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="draw all differences into a file: .html, .json, .png, .svg or .pdf",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare cell by cell against other results: what is reproduced."""
    import analysis
    from sweep.results import Results

    if not reference.is_file():
        fail(f"reference file {str(reference)!r} does not exist")
    margins = dict(_margin(word) for word in margin or ())
    ours = Results(results).cells(_study_name(study))
    try:
        theirs = analysis.reference.read(reference)
    except (ValueError, TypeError, OSError) as error:
        fail(f"reference file {str(reference)!r}: {error}")
    try:
        if figure is not None:
            analysis.format_of(figure)
        table = analysis.compare(ours, theirs, reference_only, margins)
        if figure is not None:
            analysis.export_figure(analysis.comparison_figure(table), figure)
    except (ValueError, OSError, analysis.ExportError) as error:
        fail(str(error))
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    if as_json:
        print_json(rows)
        return
    print_table(
        [_compared(row) for row in rows],
        ("dataset", "role", "model", "teacher", "alpha", "switch", "ours (n)", "reference (n)",
         "difference", "95 % interval", "margin", "p (Holm)", "p (equivalent)", "verdict"),
    )  # fmt: skip
    print()
    print(analysis.describe_comparison(table))
    if figure is not None:
        print(f"figure: {figure}")


def _margin(word: str) -> tuple[str, float]:
    metric, _, value = word.partition("=")
    try:
        return metric.strip(), float(value)
    except ValueError:
        fail(f"--margin {word!r} is not METRIC=VALUE, for example accuracy=0.5")


def _compared(row: Mapping[Any, Any]) -> list[object]:
    def figure(side: str) -> str:
        mean, deviation = row[f"mean_{side}"], row[f"deviation_{side}"]
        spread = "" if deviation is None else f" ± {deviation:.2g}"
        return f"{text(mean)}{spread} ({row[f'n_{side}']})"

    interval = "-" if row["ci_low"] is None else f"{text(row['ci_low'])} to {text(row['ci_high'])}"
    words = [row[key] for key in ("dataset", "role", "model", "teacher", "alpha", "switch_epoch")]
    return [
        *words, figure("ours"), figure("reference"), row["difference"], interval, row["margin"],
        row["p_holm"], row["p_equivalent"], row["verdict"],
    ]  # fmt: skip


@app.command()
def export(
    study: Name,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="a .parquet or .csv file; with --to, a folder")
    ],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="TOOL",
            help="hand over to mlflow, wandb-offline or tensorboard: a run for each trial that has "
            "ended; again, what is new or has changed",
        ),
    ] = None,
    results: Directory = RESULTS,
    as_json: Json = False,
) -> None:
    """Write one tidy Parquet or CSV file, or hand the trials over to another tool.

    A file has a row per cell and a column per measure.
    """
    from sweep import reporting
    from sweep.results import Results

    if to is not None:
        _hand_over(Results(results), _study_name(study), to, file, as_json)
        return
    rows = reporting.export(Results(results), _study_name(study), file)
    if as_json:
        print_json({"file": str(file), "rows": rows})
    else:
        print(f"{rows} rows in {file}")


def _hand_over(found: "Results", study: str, to: str, dest: Path, as_json: bool) -> None:
    import dataclasses

    from sweep.handover.handing import hand_over
    from sweep.handover.targets import kind_of

    def tell(number: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{number:,} trials \r", end="", file=sys.stderr, flush=True)

    handed = hand_over(found, study, to, dest, tell)
    if as_json:
        print_json({"study": study, "to": to, **dataclasses.asdict(handed)})
        return
    without = handed.without_result
    print(
        f"{study} in {handed.dest}: {handed.added:,} trials added, {handed.changed:,} changed, "
        f"{handed.unchanged:,} unchanged" + (f", {without:,} without a result" if without else "")
    )
    look = kind_of(to).look.format(dest=shlex.quote(handed.dest), study=study)
    print(f"look at it: {look}")

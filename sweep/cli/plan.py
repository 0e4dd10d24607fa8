"""`sweep studies` and `sweep plan`: what there is to run, and what it costs."""

import os
from typing import Annotated, Any

import typer

from sweep.cli import app
from sweep.cli.options import (
    RESULTS,
    Directory,
    Json,
    Only,
    Part,
    Seeds,
    Settings,
    Study,
    print_json,
    print_table,
    shard_of,
    study_to_run,
)


@app.command()
def studies(
    keys: Annotated[bool, typer.Option("--keys", help="list the keys of a study file")] = False,
    as_json: Json = False,
) -> None:
    """List the built-in studies with their size, or the keys of a study file."""
    if keys:
        _keys(as_json)
        return
    from sweep.cells import demand
    from sweep.estimate import overview
    from sweep.study import builtin_names, load_study

    rows = []
    for name in builtin_names():
        study = load_study(name)
        size = overview(demand(study, None), None, 1)
        rows.append(
            {
                "study": name,
                "title": study.title,
                "datasets": list(study.datasets),
                "seeds": len(study.seeds),
                "trials": size.trials,
                "epochs_naive": size.epochs_naive,
                "epochs_planned": size.epochs_planned,
            }
        )
    if as_json:
        print_json(rows)
        return
    columns = ("study", "trials", "seeds", "epochs alone", "epochs planned", "title")
    print_table(
        (
            (
                r["study"],
                r["trials"],
                r["seeds"],
                r["epochs_naive"],
                r["epochs_planned"],
                r["title"],
            )
            for r in rows
        ),
        columns,
    )


def _keys(as_json: bool) -> None:
    from sweep import study

    columns = ("key", "default", "meaning")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in study.documented_keys()])
    else:
        print_table(study.documented_keys(), columns)


@app.command()
def plan(
    study: Study,
    results: Directory = RESULTS,
    settings: Settings = None,
    only: Only = None,
    seeds: Seeds = None,
    shard: Part = None,
    workers: Annotated[
        int | None, typer.Option(help="trials at a time, for the estimate; default: CPUs here")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="measure a few steps of every network first")
    ] = False,
    no_sharing: Annotated[
        bool, typer.Option("--no-sharing", help="every trial alone, for comparison")
    ] = False,
    as_json: Json = False,
) -> None:
    """Count what a study asks for, what is done, what sharing saves, and estimate the rest."""
    from sweep import estimate
    from sweep.cells import demand
    from sweep.filters import parse
    from sweep.store import Store

    store = Store(results)
    wanted = demand(
        study_to_run(study, settings, results),
        store,
        parse(only or ()),
        seeds,
        shard=shard_of(shard),
    )
    costs = estimate.calibrate(wanted) if calibrate else None
    found = estimate.overview(
        wanted, store, workers or os.cpu_count() or 1, costs, share=not no_sharing
    )
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found, results)


def _show(found: Any, results: str) -> None:
    from sweep.progress import duration

    saved = found.epochs_naive / found.epochs_planned if found.epochs_planned else 1.0
    part = "" if found.shard is None else f", shard {found.shard}"
    print(f"study {found.study}{part}: {found.cells:,} cells, {found.trials:,} trials")
    print_table(
        [
            (role, n, found.epochs_naive_by_role[role], found.epochs_planned_by_role[role])
            for role, n in found.by_role.items()
        ],
        ("role", "trials", "epochs alone", "epochs planned"),
    )
    print()
    print_table(
        [
            (name, n, found.epochs_naive_by_dataset[name], found.epochs_planned_by_dataset[name])
            for name, n in found.by_dataset.items()
        ],
        ("dataset", "trials", "epochs alone", "epochs planned"),
    )
    print()
    print(
        f"epochs: {found.epochs_naive:,} if every trial ran alone, {found.epochs_planned:,} planned "
        f"({saved:.2f} times fewer, {found.stages:,} stages)"
    )
    if found.may_stop_early:
        print(f"at most: {found.may_stop_early:,} trials may stop early")
    if found.repeated:
        print(
            f"{found.repeated:,} of these trials ({found.repeated_epochs:,} epochs planned) are what "
            "students of other shards need too: each shard trains them, or finds them in its results"
        )
    for line in found.waiting:
        print(f"and then, {line}")
    failed = f", {found.failed:,} failed (`sweep retry` runs them again)" if found.failed else ""
    print(f"in {results}: {found.done:,} done, {found.todo:,} to do{failed}")
    estimate = found.estimate
    if not found.todo:
        return
    if estimate["seconds"] is not None:
        print(
            f"estimated time on {estimate['slots']} workers: {duration(estimate['seconds'])}; "
            f"{_disk(estimate)}"
        )
    else:
        names = ", ".join(estimate["unknown"][:4])
        more = " and others" if len(estimate["unknown"]) > 4 else ""
        print(
            f"no estimate of time: nothing here has trained {names}{more} yet; --calibrate "
            f"measures a few steps; {_disk(estimate)}"
        )


def _disk(estimate: dict[str, Any]) -> str:
    weights = estimate["weights_bytes"]
    size = "of a size not known yet" if weights is None else f"{weights / 1e6:.1f} MB"
    return f"disk: records {estimate['records_bytes'] / 1e6:.1f} MB, kept weights {size}"

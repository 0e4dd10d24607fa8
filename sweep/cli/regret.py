"""`sweep regret`: how many trials a search would have needed on a grid that is finished."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweep.cli import app
from sweep.cli.options import Json, fail, print_json, print_table

if TYPE_CHECKING:
    from sweep.regret import Regret

SHOWN = (30, 60, 135, 270, 405, 600, 1000, 2025)


@app.command()
def regret(
    table: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="a .parquet or .csv file, one row for each trial"),
    ],
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="one of several in the table")
    ] = None,
    metric: Annotated[
        str, typer.Option(metavar="COLUMN", help="what is to be best")
    ] = "test_metric",
    lower: Annotated[
        bool, typer.Option("--lower", help="less is better; an MSE and a loss are known")
    ] = False,
    repeats: Annotated[int, typer.Option(metavar="N", help="of every search")] = 100,
    tpe_trials: Annotated[
        int | None, typer.Option(metavar="N", help="of TPE, which is slow; default: two a cell")
    ] = None,
    seed: Annotated[int, typer.Option(help="of all that is drawn")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="write the figure: .html, .json, .png, .svg or .pdf"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay searches on a finished grid: the regret of each by its number of trials; trains nothing."""
    import sys

    import analysis
    from analysis.export import Size, export_figures
    from analysis.figures.regret import draw
    from sweep.regret import read_grid
    from sweep.regret import regret as replayed

    if repeats < 2:
        fail(f"--repeats {repeats}: must be 2 or more")
    if seed < 0:
        fail(f"--seed {seed}: must be 0 or more")
    if tpe_trials is not None and tpe_trials < 1:
        fail(f"--tpe-trials {tpe_trials}: must be 1 or more")
    if output is not None:
        try:
            analysis.format_of(output)
        except (ValueError, analysis.ExportError) as error:
            fail(str(error))
    grid = read_grid(table, dataset, metric, lower)

    def tell(what: str) -> None:
        print(f"replaying {what}", file=sys.stderr, flush=True)

    found = replayed(grid, repeats, seed, tpe_trials, tell)
    if output is not None:
        try:
            export_figures([(draw(found.numbers()), output)], Size(None, None, 1.0))
        except (ValueError, analysis.ExportError) as error:
            fail(str(error))
        except OSError as error:
            fail(f"--output {str(output)!r}: {error.strerror or error}")
    if as_json:
        print_json(_told(found))
    else:
        _show(found)


def _told(found: "Regret") -> dict[str, Any]:
    benchmark = found.grid.benchmark
    return {
        "dataset": found.grid.dataset,
        "metric": found.grid.metric,
        "higher_is_better": found.grid.higher_is_better,
        "cells": len(benchmark.scores),
        "seeds": benchmark.scores.shape[1],
        "left_out": found.grid.left_out,
        "repeats": found.repeats,
        "best": found.best,
        "good_enough": found.allowed,
        "good_cells": found.good_cells,
        "needed": {name: asdict(one) for name, one in found.needed.items()},
        "regret": found.curves.to_dict("records"),
        "regret_on_unseen_seeds": found.halves.to_dict("records"),
    }


def _show(found: "Regret") -> None:
    cells, seeds = found.grid.benchmark.scores.shape
    print(
        f"{found.grid.dataset}, {found.grid.metric}: {cells} cells of {seeds} seeds, {cells * seeds:,} "
        f"trials; best: {found.best}"
    )
    if found.grid.left_out:
        print(f"{found.grid.left_out} cells lack a seed and are left out")
    print(
        f"good enough: within {found.allowed:.4g} of the best mean, its standard error over seeds; "
        f"{found.good_cells} cells are"
    )
    curves = found.curves
    shown = [n for n in SHOWN if n in set(curves["trials"])]
    if cells * seeds not in shown and cells * seeds in set(curves["trials"]):
        shown.append(cells * seeds)
    for title, table in (
        (f"mean regret of {found.repeats} repeats (± half of its 95 % interval) after", curves),
        ("the same on seeds that the search did not see, against what all seen ones choose", found.halves),
    ):  # fmt: skip
        columns = [n for n in shown if n in set(table["trials"])]
        rows = []
        for name, own in table.groupby("strategy", sort=False):
            by_trials = own.set_index("trials")
            entries = [
                f"{by_trials['regret'][n]:.3g} ± {by_trials['ci_high'][n] - by_trials['regret'][n]:.1g}"
                if n in by_trials.index
                else "-"
                for n in columns
            ]
            rows.append([name, *entries])
        print_table(rows, ["search", *(f"{n:,}" for n in columns)], title)
        print()
    print_table(
        [
            [name, f"{one.ends:,.0f}", _number(one.on_average), _number(one.surely)]
            for name, one in found.needed.items()
        ],
        ["search", "ends after", "good enough on average from", "in 90 % of repeats from"],
        "trials needed",
    )


def _number(value: int | None) -> str:
    return "never" if value is None else f"{value:,}"

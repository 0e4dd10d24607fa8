"""`sweep tune`: search a study for its best points."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweep.cli import app
from sweep.cli.groups import with_groups
from sweep.cli.logged import Logging
from sweep.cli.options import (
    RESULTS,
    Directory,
    Json,
    Settings,
    Study,
    print_json,
    print_table,
    study_to_run,
)
from sweep.cli.run import Giving, Placing, Training, conclude

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Searching:
    """Keys of [tune] that may be given here in their place."""

    trials: Annotated[
        int | None,
        typer.Option(metavar="N", help="trials that may be asked for, finalists' included"),
    ] = None
    epochs: Annotated[
        int | None,
        typer.Option(metavar="N", help="epochs that may be trained, finalists' included"),
    ] = None
    minutes: Annotated[
        float | None, typer.Option(help="after which no new point is begun; counts from this start")
    ] = None
    sampler: Annotated[str | None, typer.Option(metavar="NAME", help="tpe, gp, random or grid")] = (
        None
    )
    parallel: Annotated[
        int | None, typer.Option(metavar="N", help="points that are tried at a time")
    ] = None

    def settings(self) -> list[str]:
        """The same as overrides of the study."""
        return [f"tune.{key}={value}" for key, value in vars(self).items() if value is not None]


@app.command()
@with_groups
def tune(
    study: Study,
    searching: Searching,
    placing: Placing,
    training: Training,
    giving: Giving,
    log: Logging,
    settings: Settings = None,
    results: Directory = RESULTS,
    as_json: Json = False,
) -> None:
    """Search for the best points of a study, by its `tune` table; goes on where it was ended.

    Points are trials of the study like any other: those that are done already cost nothing.
    """
    from sweep import service
    from sweep.store import Store

    out = log.out(as_json)
    chosen = study_to_run(study, [*(settings or ()), *searching.settings()], results)
    with log.listening():
        summary = service.tune_study(
            chosen,
            results,
            training.added_to(placing.where()),
            policy=giving.policy(),
            share=not training.no_sharing,
            progress=log.display(out),
        )
    conclude(summary, f"search {chosen.name} in {results}", None, out)
    found = Store(results).read_search_table(chosen.name)
    table = None if found is None or not len(found) else found.to_pandas()
    if as_json:
        print_json({**summary.__dict__, **(_told(table) if table is not None else {})})
    elif table is not None and not log.on_output:
        _show(table)
    sys.exit(summary.exit_status)


def _told(table: "pd.DataFrame") -> dict[str, Any]:
    from analysis.search import search_choices, search_points

    points = search_points(table)
    return {
        "points": [
            {key: None if value != value else value for key, value in row.items()}
            for row in points.astype(object).to_dict("records")
        ],
        "choices": [
            {
                "dataset": choice.dataset,
                "objectives": choice.objectives,
                "points": choice.points,
                "as_good": choice.alike,
                "judged_by_seeds": choice.seeds,
                "fresh_seeds": choice.fresh,
                "why": list(choice.sentences()),
            }
            for choice in search_choices(table)
        ],
    }


def _show(table: "pd.DataFrame") -> None:
    from analysis import tables
    from analysis.search import search_choices, search_points

    choices = {choice.dataset: choice for choice in search_choices(table)}
    for dataset, own in search_points(table).groupby("dataset", sort=False):
        choice = choices.get(str(dataset))
        shown = tables.search(own, choice)
        print_table(
            [[entry.text for entry in row] for row in shown.rows],
            shown.columns,
            f"{dataset}: {shown.caption}",
        )
        for sentence in () if choice is None else choice.sentences():
            print(sentence)
        if choice is None and (own["state"] == "failed").all():
            print("Every point that was tried failed: there is none to take.")
        elif choice is None:
            print("The search is not at its end yet.")

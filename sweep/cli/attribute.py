"""`sweep attribute`: where kept networks look."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sweep.cli import app
from sweep.cli.groups import with_groups
from sweep.cli.options import RESULTS, Directory, Json, Study, fail, print_json, study_to_run
from sweep.cli.run import Evaluating, Placing


@dataclass(frozen=True)
class Looking:
    """What is asked."""

    images: Annotated[int, typer.Option(metavar="N", help="test images that are explained")] = 200
    background: Annotated[
        int, typer.Option(metavar="N", help="training images that they are compared with")
    ] = 100
    repeats: Annotated[
        int, typer.Option(metavar="N", help="gradients for each pair of them; more is finer")
    ] = 1
    explains: Annotated[
        str, typer.Option(metavar="WHICH", help="the logit of the label, or of what is predicted")
    ] = "label"
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="where the objects are: .npz with masks, bool (test rows, height, width); without "
            "it they are found by their colour",
        ),
    ] = None


@app.command()
@with_groups
def attribute(
    study: Study,
    looking: Looking,
    choosing: Evaluating,
    placing: Placing,
    results: Directory = RESULTS,
    as_json: Json = False,
) -> None:
    """Find where kept networks look, by SHAP values on objects and beside them; train nothing."""
    from sweep import progress
    from sweep.attributing import attribute_study
    from sweep.filters import parse
    from trials.attribution_settings import AttributionSettings, Explained

    try:
        explains: Explained = looking.explains  # type: ignore[assignment]  # checked there
        settings = AttributionSettings(
            looking.images, looking.background, looking.repeats, explains
        )
    except ValueError as error:
        fail(f"--{error}")
    summary = attribute_study(
        study_to_run(study, choosing.settings, results),
        results,
        placing.where(),
        settings=settings,
        masks=looking.masks,
        only=parse(choosing.only or ()),
        seeds=choosing.seeds,
        progress=progress.PlainLines(sys.stderr if as_json else sys.stdout),
    )
    if as_json:
        print_json(summary.__dict__)
    else:
        print(
            f"{summary.attributed} networks asked where they look (objects: {summary.segmentation}), "
            f"{summary.complete} had been asked, {summary.without_weights} without kept weights, "
            f"{len(summary.failures)} failed"
        )
        if summary.without_images:
            print(f"{summary.without_images} trials are left out: their data are no images")
        for failure in summary.failures[:10]:
            print(f"  {failure}")
    sys.exit(1 if summary.failures else 0)

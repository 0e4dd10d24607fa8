"""`sweep figures` and `sweep figure`: list the figures, write one or all of them to files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sweep.cli import app
from sweep.cli.ask import Name, _study_name
from sweep.cli.groups import with_groups
from sweep.cli.options import (
    RESULTS,
    Directory,
    Json,
    MaybeStudy,
    Only,
    fail,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from sweep.stated_figures import StatedFigures

ALL = "all"
NARROW_PX = 600
"""Below this width a figure is drawn with its panels below one another."""

Ending = Literal["html", "json", "png", "svg", "pdf"]
FigureName = Annotated[
    str, typer.Argument(metavar="NAME", help="a figure `sweep figures` lists, or all")
]


@dataclass(frozen=True)
class Narrowed:
    """What is drawn of a figure."""

    dataset: Annotated[str | None, typer.Option(metavar="D", help="one dataset")] = None
    teacher: Annotated[str | None, typer.Option(metavar="T", help="one teacher")] = None
    alpha: Annotated[float | None, typer.Option(metavar="A", help="one alpha")] = None
    switch_epoch: Annotated[int | None, typer.Option(metavar="N", help="one switch epoch")] = None
    attack: Annotated[str | None, typer.Option(metavar="A", help="fgsm, or another")] = None


@dataclass(frozen=True)
class Drawn:
    """How large it is drawn."""

    width: Annotated[int | None, typer.Option(metavar="PX", help="default 1000")] = None
    height: Annotated[int | None, typer.Option(metavar="PX", help="as drawn, if left out")] = None
    scale: Annotated[float, typer.Option(help="PNG pixels per pixel; 2 or 3 for print")] = 1.0


@app.command()
def figures(study: MaybeStudy = None, results: Directory = RESULTS, as_json: Json = False) -> None:
    """List the figures that `sweep figure` draws; with a study those of its file as well."""
    from analysis import FIGURES

    rows: list[tuple[str, str, tuple[str, ...]]] = [
        (kind.name, kind.description, kind.arguments) for kind in FIGURES.values()
    ]
    if study is not None:
        from sweep.results import Results
        from sweep.stated_figures import StatedFigures

        found, name = Results(results), _study_name(study)
        found.asked(name)
        stated = StatedFigures.of(found, name).figures
        rows += [(name, f"the study's own: {one['title']}", ()) for name, one in stated.items()]
    if as_json:
        print_json([{"name": n, "description": d, "arguments": a} for n, d, a in rows])
        return
    options = [" ".join("--" + a.replace("_", "-") for a in named) for _, _, named in rows]
    print_table(
        [(n, d, given) for (n, d, _), given in zip(rows, options, strict=True)],
        ("figure", "shows", "options"),
    )


@app.command()
@with_groups
def figure(
    study: Name,
    name: FigureName,
    narrowed: Narrowed,
    drawn: Drawn,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="a file; for all figures a folder")
    ] = None,
    ending: Annotated[
        Ending | None, typer.Option("--format", help="of all figures; default svg")
    ] = None,
    only: Only = None,
    results: Directory = RESULTS,
    as_json: Json = False,
) -> None:
    """Write a figure as .html, .json, .png, .svg or .pdf; images need Chrome or Chromium."""
    import analysis
    from analysis.export import Size, export_figures

    if output is None:
        fail("--output: name the file to write, or the folder for all figures")
    try:
        size = Size(drawn.width, drawn.height, drawn.scale)
        stated = _stated(results, _study_name(study))
        if name != ALL:
            if name not in stated.figures:
                _known(name, stated)
            if ending is not None:
                fail(f"--format: {ending} is for all figures; the ending of --output decides")
        cells = _cells(results, _study_name(study), only)
        left_out: list[dict[str, str]] = []
        if name == ALL:
            made = list(_every(cells, narrowed, drawn, left_out))
            if not any(value is not None for value in vars(narrowed).values()):
                made += _every_stated(cells, stated, drawn, left_out)
            files = [(fig, output / f"{stem}.{ending or 'svg'}") for stem, fig in made]
        else:
            analysis.format_of(output)
            if name in stated.figures:
                fig = _one_stated(cells, name, stated, narrowed, drawn)
            else:
                fig = analysis.draw_figure(cells, name, _is_narrow(drawn), **vars(narrowed))
            files = [(fig, output)]
        export_figures(files, size)
    except (ValueError, analysis.ExportError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"--output {str(output)!r}: {error.strerror or error}")
    written = [
        {"file": str(path), "bytes": path.stat().st_size, "title": fig.layout.title.text}
        for fig, path in files
    ]
    if as_json:
        print_json({"study": _study_name(study), "written": written, "left_out": left_out})
        return
    for row in written:
        print(f"{row['file']} ({row['bytes'] / 1e3:,.0f} kB): {row['title']}")
    for row in left_out:
        print(f"left out: {row['figure']}: {row['reason']}")


def _is_narrow(drawn: Drawn) -> bool:
    return drawn.width is not None and drawn.width < NARROW_PX


def _stated(directory: str, study: str) -> "StatedFigures":
    from sweep.results import Results
    from sweep.stated_figures import StatedFigures

    return StatedFigures.of(Results(directory), study)


def _known(name: str, stated: "StatedFigures") -> None:
    """Refuses a name that is neither a figure's nor one of the study's own.

    Raises:
        ValueError: names those there are.
    """
    import analysis

    try:
        analysis.figure_kind(name)
    except ValueError as error:
        own = ", ".join(stated.figures)
        raise ValueError(f"{error}; this study's own: {own}" if own else str(error)) from None


def _one_stated(
    cells: "pd.DataFrame", name: str, stated: "StatedFigures", narrowed: Narrowed, drawn: Drawn
) -> "go.Figure":
    import analysis

    for key, value in vars(narrowed).items():
        if value is not None:
            raise ValueError(
                f"{key}: {value!r} is of no use to {name}: the study file says what it shows; "
                "--only leaves cells out"
            )
    own = stated.figures[name]
    return analysis.stated_figure(cells, own, stated.published, _is_narrow(drawn))


def _every_stated(
    cells: "pd.DataFrame", stated: "StatedFigures", drawn: Drawn, left_out: list[dict[str, str]]
) -> "Iterator[tuple[str, go.Figure]]":
    """The study's own figures, with their names; says what is left out."""
    for name in stated.figures:
        try:
            yield name, _one_stated(cells, name, stated, Narrowed(), drawn)
        except ValueError as error:
            left_out.append({"figure": name, "reason": str(error)})


def _cells(directory: str, study: str, only: list[str] | None) -> "pd.DataFrame":
    """The cells of a study that a filter leaves."""
    from sweep.filters import parse
    from sweep.results import Results

    frame = Results(directory).cells(study)
    for condition in parse(only or ()):
        column = frame[condition.key].astype(object)
        kept = column.where(column.notna(), None).map(condition.holds).astype(bool)
        frame = frame[kept]
    if frame.empty:
        fail(f"--only {' '.join(only or ())!r}: no cell of {study} is left")
    return frame.reset_index(drop=True)


def _every(
    cells: "pd.DataFrame", narrowed: Narrowed, drawn: Drawn, left_out: list[dict[str, str]]
) -> "Iterator[tuple[str, go.Figure]]":
    """Every figure of every part that fits one, with the name of its file; says what is left out."""
    import analysis

    parts = analysis.variants(cells)
    datasets = sorted({part.dataset for part in parts})
    if narrowed.dataset is not None and narrowed.dataset not in datasets:
        raise ValueError(f"dataset: {narrowed.dataset!r} is not one of {', '.join(datasets)}")
    given = {key: value for key, value in vars(narrowed).items() if value is not None}
    for part in parts:
        if narrowed.dataset not in (None, part.dataset):
            continue
        attacks = [narrowed.attack] if narrowed.attack else analysis.attacks_of(part.cells)
        for kind in analysis.FIGURES.values():
            own: dict[str, Any] = {k: v for k, v in given.items() if k in kind.arguments}
            for attack in attacks if "attack" in kind.arguments else [None]:
                named = (kind.name, _slug(part.dataset), attack, _slug(part.label))
                stem = "-".join(filter(None, named))
                own |= {"attack": attack} if attack else {}
                try:
                    # Of the whole study where that is one figure: its tests are one family.
                    whole = not part.label and "dataset" in kind.arguments
                    own |= {"dataset": part.dataset} if whole else {}
                    fig = analysis.draw_figure(
                        cells if whole else part.cells, kind.name, _is_narrow(drawn), **own
                    )
                except ValueError as error:
                    left_out.append({"figure": stem, "reason": str(error)})
                    continue
                yield stem, fig


def _slug(label: str) -> str:
    """A label as part of a file's name, which leads into no other folder."""
    return "".join(c if c.isalnum() or c in ".-_" else "-" for c in label.replace(", ", "_"))

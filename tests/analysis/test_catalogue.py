import inspect

import pandas as pd
import plotly.graph_objects as go
import pytest

import analysis
from tests.analysis.tables import grid

CELLS = grid()
TWO_DATASETS = pd.concat([CELLS, grid("mnist")], ignore_index=True)
ARGUMENTS = {
    "compare": {"reference": CELLS},
    "draw_figure": {"name": "summary-lines"},
    "expected_settings": {"expected": [{"alpha": [0.9]}]},
    "published": {"published": [{"where": {"alpha": 0.9}, "measure": "accuracy", "value": 80}]},
    "stated_figure": {"figure": {"title": "A figure", "x": "alpha", "y": "accuracy"}},
    "stated_table": {"table": {"rows": ["alpha"], "measures": ["accuracy"]}},
}
"""What a function needs beside the cells; every other is a call with the cells alone."""


def _functions(kind: str) -> list[str]:
    found = []
    for name in analysis.__all__:
        value = getattr(analysis, name)
        if not inspect.isfunction(value):
            continue
        signature = inspect.signature(value)
        returned = str(
            getattr(signature.return_annotation, "__name__", signature.return_annotation)
        )
        if next(iter(signature.parameters)) in ("cells", "ours") and returned == kind:
            found.append(name)
    return found


def test_every_name_is_there():
    for _ in ("import", "again"):  # a module of the same name would hide a function from then on
        for name in analysis.__all__:
            value = getattr(analysis, name)
            assert value is not None
            assert inspect.ismodule(value) == (name == "reference"), name
    assert dir(analysis) == sorted(analysis.__all__)


@pytest.mark.parametrize("name", _functions("DataFrame"))
def test_every_table_is_a_frame_in_one_line(name):
    cells = TWO_DATASETS if name == "dataset_effects" else CELLS
    table = getattr(analysis, name)(cells, **ARGUMENTS.get(name, {}))
    assert isinstance(table, pd.DataFrame)
    assert len(table) > 0


@pytest.mark.parametrize("name", _functions("go.Figure"))
def test_every_figure_is_a_figure_in_one_line(name):
    figure = getattr(analysis, name)(CELLS, **ARGUMENTS.get(name, {}))
    assert isinstance(figure, go.Figure)
    assert figure.layout.title.text


def test_the_walk_finds_tables_and_figures():
    assert {"summarise", "paired", "robustness", "loss_curves", "teacher_table"} <= set(
        _functions("DataFrame")
    )
    figures = {kind.name.replace("-", "_") for kind in analysis.FIGURES.values()}
    assert figures | {"draw_figure"} <= set(_functions("go.Figure"))


def test_the_catalogue_says_what_each_figure_takes():
    for kind in analysis.FIGURES.values():
        taken = set(inspect.signature(kind.function).parameters) - {"cells", "narrow"}
        assert taken == set(kind.arguments)
        assert kind.function is getattr(analysis, kind.name.replace("-", "_"))


def test_a_figure_by_its_name_is_the_function():
    by_name = analysis.draw_figure(CELLS, "seed-boxplots", teacher="small", alpha=None)
    assert by_name == analysis.seed_boxplots(CELLS, teacher="small")
    assert analysis.draw_figure(CELLS, "summary-lines", narrow=True) == analysis.summary_lines(
        CELLS, narrow=True
    )


def test_mistakes_name_what_is_allowed():
    with pytest.raises(ValueError, match="figure: 'nosuch' is not one of teacher-boxplots, "):
        analysis.draw_figure(CELLS, "nosuch")
    with pytest.raises(ValueError, match="attack: 'pgd' is of no use to guidance-heatmaps, which"):
        analysis.draw_figure(CELLS, "guidance-heatmaps", attack="pgd")

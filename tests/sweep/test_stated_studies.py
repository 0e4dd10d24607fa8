"""What the built-in studies state of their figures, tables and published values is of cells they have."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import pytest

import data
from analysis.cells import tidy
from analysis.conditions import subjects
from analysis.publications import NOT_ASKED, published
from sweep.expand import Cell, Role, cells
from sweep.follow import Finding
from sweep.records import cell_row
from sweep.study import Study, builtin_names, load_study


def _possible(study: Study) -> list[Cell]:
    """The cells of a study, whatever turns out to be best where another grid follows."""
    found = cells(study)
    if not study.then:
        return found
    students = [cell for cell in found if cell.role is Role.STUDENT]
    asked = {cell_row(cell)["trial_id"]: cell for cell in students}
    later: dict[tuple[object, ...], Cell] = {}
    for axis in study.then[0].best:
        for best in {cell.column(axis) for cell in students}:
            score = {name: float(cell.column(axis) == best) for name, cell in asked.items()}
            known = {
                name: Finding(
                    higher_is_better=True,
                    diverged=False,
                    figures={(study.then[0].select_on, study.then[0].select_by): value},
                )
                for name, value in score.items()
            }
            for cell in cells(study, known):
                key = (cell.trial_id, cell.role, cell.alpha, cell.temperature, cell.model)
                later.setdefault(key, cell)
    return list(later.values())


def _asked(study: Study) -> pd.DataFrame:
    """The cells of a study as a table of results would have them, none of them run."""
    frame = pd.DataFrame([cell_row(cell) for cell in _possible(study)])
    regression = {name: data.get(name).task == "regression" for name in study.datasets}
    names = frame["dataset"].map(lambda name: "mse" if regression[name] else "accuracy")
    return tidy(frame.assign(metric_name=names, test_metric=None, status="missing"))


def _wheres(study: Study) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for figure in study.figures:
        yield figure.called, figure.where
    for table in study.tables:
        for column in table.measures:
            yield f"{table.title}: {column.measure}", table.where | column.where


def _about_nothing(study: Study) -> list[str]:
    if not (study.published or study.figures or study.tables):
        return []
    asked = _asked(study)
    found = published(asked, [one.model_dump() for one in study.published])
    nowhere = found.loc[found["state"] == NOT_ASKED, "setting"].tolist()
    return nowhere + [name for name, where in _wheres(study) if subjects(asked, where).empty]


@pytest.mark.parametrize("name", builtin_names())
def test_every_statement_is_about_cells_of_the_study(name: str) -> None:
    assert _about_nothing(load_study(name)) == []


def test_a_statement_about_no_cell_is_found() -> None:
    study = load_study(
        {
            "name": "a",
            "seeds": [1],
            "grid": {"teacher": ["small"], "alpha": [0.1], "switch_epoch": [1], "batch_size": [64, "full"]},
            "recipe": {"epochs": 2, "batch_size": 64},
            "split": {"validation": 0.1},
            "datasets": {"digits": {}},
            "published": [
                {"where": {"alpha": 0.1, "batch_size": "full"}, "measure": "accuracy", "value": 1},
                {"where": {"role": "baseline", "init": "he"}, "measure": "accuracy", "value": 1},
            ],
            "figures": [{"title": "Some", "x": "alpha", "y": "f1", "where": {"epochs": 3}}],
            "tables": [
                {"title": "T", "rows": ["init"], "where": {"epochs": 2},
                 "measures": ["accuracy", {"measure": "f1", "where": {"epochs": 4}}]},
            ],
        }
    )  # fmt: skip
    assert _about_nothing(study) == ["baseline, init he", "some", "T: f1"]

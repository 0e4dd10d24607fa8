"""Figures, tables and published values in a study file."""

from typing import Any

import pytest

from sweep.errors import StudyError
from sweep.presentation import COLUMNS, figure_name
from sweep.records import CELLS
from sweep.study import Study, load_study

BASE: dict[str, Any] = {
    "name": "a",
    "seeds": [1, 2],
    "recipe": {"epochs": 2, "batch_size": 64},
    "datasets": {"digits": {}},
}
VALUE = {"measure": "accuracy", "value": 70}
FIGURE = {"title": "Over alpha", "x": "alpha", "y": "accuracy"}
TABLE = {"title": "T", "rows": ["init"], "measures": ["accuracy"]}


def _study(**more: Any) -> Study:
    return load_study({**BASE, **more})


def test_what_is_stated_is_kept_and_read_again() -> None:
    study = _study(
        published=[{**VALUE, "where": {"role": "baseline", "epochs": [1, 2], "batch_size": "full"},
                    "measure": "fgsm-all   0.05", "deviation": 0.5, "source": "Table I"}],
        figures=[{**FIGURE, "lines": ["model"], "baseline": True, "teacher": True},
                 {"title": "Noise!", "x": "epsilon", "attack": "weight_noise-mean1"}],
        tables=[{**TABLE, "measures": ["accuracy", {"measure": "accuracy", "heading": "after 1",
                 "where": {"epochs": 1}}], "deviation": "population"}],
    )  # fmt: skip
    (one,) = study.published
    assert (one.measure, one.value, one.deviation) == ("fgsm-all 0.05", 70.0, 0.5)
    assert one.where == {"role": "baseline", "epochs": [1, 2], "batch_size": "full"}
    assert [figure.called for figure in study.figures] == ["over-alpha", "noise"]
    assert study.figures[0].y == ("accuracy",)
    assert [column.heading for column in study.tables[0].measures] == ["", "after 1"]
    assert Study.model_validate_json(study.to_json()) == study


def test_nothing_stated_is_as_before() -> None:
    study = _study()
    assert (study.published, study.figures, study.tables) == ((), (), ())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"published": [{**VALUE, "where": {"rle": "teacher"}}]},
         "published[0].where = {\"rle\": \"teacher\"}: 'rle' is no column of the cells; allowed: role,"),
        ({"published": [{**VALUE, "where": {"role": "base"}}]},
         "role = 'base': must be one of teacher, baseline, student"),
        ({"published": [{**VALUE, "where": {"epochs": []}}]}, "epochs = []: name at least one value"),
        ({"published": [{**VALUE, "where": {"epochs": [1, 1]}}]}, "epochs = 1 is given twice"),
        ({"published": [{**VALUE, "where": {"epochs": {"start": 1}}}]}, "must be text, a number"),
        ({"published": [{**VALUE, "where": 3}]}, "must be a table of columns and values"),
        ({"published": [{**VALUE, "where": {"seed": 1}}]}, "'seed' is no column of the cells"),
        ({"published": [{**VALUE, "measure": "fgsm"}]}, "published[0].measure = 'fgsm': 'fgsm' is not "),
        ({"published": [{**VALUE, "value": "70"}]}, "published[0].value = '70': must be a number, not"),
        ({"published": [{**VALUE, "deviation": -1}]}, "published[0].deviation = -1: "),
        ({"published": [{"measure": "accuracy"}]}, "published[0].value: missing"),
        ({"published": [VALUE, {**VALUE, "where": {"dataset": "mnist"}}]},
         "published[1].where.dataset = 'mnist': must be one of digits"),
        ({"datasets": {"digits": {}, "mnist": {}}, "published": [VALUE]},
         "published[0].where.dataset = None: must be one of digits, mnist"),
        ({"datasets": {"digits": {}, "mnist": {}},
          "published": [{**VALUE, "where": {"dataset": ["digits", "mnist"]}}]},
         "published[0].where.dataset = ['digits', 'mnist']: must be one of digits, mnist"),
        ({"figures": [{**FIGURE, "x": "epsilon"}]}, "x = 'epsilon' needs an attack"),
        ({"figures": [{"title": "T", "x": "alpha", "attack": "fgsm"}]}, "an attack needs x ="),
        ({"figures": [{**FIGURE, "x": "epsilon", "attack": "fgsm"}]}, "y = 'accuracy': an attack is"),
        ({"figures": [{"title": "T", "x": "epsilon", "attack": "noise"}]},
         "attack = 'noise': must begin with one of fgsm, pgd, input_noise, weight_noise"),
        ({"figures": [{**FIGURE, "x": "alfa"}]}, "'alfa' is no column of the cells"),
        ({"figures": [{**FIGURE, "lines": ["alpha"]}]}, "lines = 'alpha': is the axis x already"),
        ({"figures": [{"title": "T", "x": "alpha"}]}, "y is missing"),
        ({"figures": [{**FIGURE, "baseline": 1}]}, "figures[0].baseline = 1: must be true or false"),
        ({"figures": [FIGURE, FIGURE]}, "figures[1].name = 'over-alpha': another figure has this name"),
        ({"figures": [{**FIGURE, "name": "summary-lines"}]}, "figures[0].name = 'summary-lines': another"),
        ({"figures": [{**FIGURE, "name": "a b"}]}, "must be lower-case letters, digits and dashes"),
        ({"tables": [{**TABLE, "rows": []}]}, "rows = []: name at least one"),
        ({"tables": [{**TABLE, "rows": ["init", "init"]}]}, "rows = 'init' is given twice"),
        ({"tables": [{**TABLE, "measures": ["accuracy", "accuracy"]}]}, "heading 'accuracy' is given twice"),
        ({"tables": [{**TABLE, "measures": ["acc"]}]}, "tables[0].measures[0].measure = 'acc': 'acc' is not"),
        ({"tables": [{**TABLE, "deviation": "half"}]}, "tables[0].deviation = 'half': must be 'sample' or"),
        ({"tables": [{**TABLE, "column": 1}]}, "tables[0].column = 1: "),
    ],
)  # fmt: skip
def test_a_mistake_names_the_key_the_value_and_what_is_allowed(
    more: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyError) as caught:
        _study(**more)
    assert message in str(caught.value)


def test_every_column_is_one_of_the_tables() -> None:
    assert set(COLUMNS) == set(CELLS.names) - {"trial_id", "seed"}


def test_names_of_figures_lead_nowhere() -> None:
    assert figure_name("../../Éa: b/C") == "a-b-c"
    assert figure_name("§") == "figure"
    assert len(figure_name("x" * 200)) == 64

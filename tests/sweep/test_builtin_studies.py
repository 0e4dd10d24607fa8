"""The studies that ship with the package: that all can be asked for, and that the tiny ones run to a report."""

import re
import subprocess
import sys
from collections import Counter
from html import unescape
from pathlib import Path

import numpy as np
import pytest

import data
import models
from analysis.figures.stated import stated_numbers
from analysis.stated_tables import stated_table
from sweep.cells import demand
from sweep.estimate import overview
from sweep.expand import Role, cells
from sweep.presentation import StatedTable
from sweep.results import Results
from sweep.store import Store
from sweep.study import Study, builtin_names, load_study

TINY = [name for name in builtin_names() if name.endswith("-tiny")]
FULL = [name for name in builtin_names() if not name.endswith("-tiny")]
QUICK = {"quickstart", "thesis", "thesis-california", "thesis-cifar10", "thesis-fashion-mnist"}
"""The home study and its parts; quickstart is what is tiny of them."""


def tiny_of(name: str) -> str:
    """The tiny variant: its own, or that of the family its name begins with."""
    parts = name.split("-")
    names = ["-".join([*parts[:length], "tiny"]) for length in range(len(parts), 0, -1)]
    return next(tiny for tiny in names if tiny in TINY)


def by_role(study: Study) -> dict[str, int]:
    """Distinct trials, each counted in the first role it is asked for in."""
    roles: dict[str, Role] = {}
    for cell in cells(study):
        roles.setdefault(cell.trial_id, cell.role)
    return {str(role): count for role, count in Counter(roles.values()).items()}


def _by(table: StatedTable) -> list[str]:
    """What makes its rows; a tiny study has one dataset."""
    return [column for column in table.rows if column != "dataset"]


@pytest.mark.parametrize("name", sorted(set(FULL) - QUICK))
def test_a_full_study_has_a_tiny_one_that_asks_and_shows_the_same(name: str) -> None:
    full, tiny = load_study(name), load_study(tiny_of(name))
    assert len(tiny.seeds) <= len(full.seeds)
    if tiny.name == f"{name}-tiny":
        assert len(tiny.figures) == len(full.figures)
        assert len(tiny.tables) == len(full.tables)
        assert [one.x for one in tiny.figures] == [one.x for one in full.figures]
        assert [_by(one) for one in tiny.tables] == [_by(one) for one in full.tables]


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_study_needs_no_download(name: str) -> None:
    study = load_study(name)
    assert all(data.get(dataset).embedded for dataset in study.datasets)
    assert all(one.recipe.pretrained is None for one in study.datasets.values())


@pytest.mark.parametrize("name", builtin_names())
def test_a_file_says_how_it_is_run(name: str) -> None:
    text = (Path(__file__).parents[2] / "sweep" / "studies" / f"{name}.toml").read_text("utf-8")
    study = load_study(name)
    command = "run" if study.tune is None else "(run|tune)"
    assert re.match(rf"# .+\n#\n#   sweep {command} {name}( |\n)", text)
    assert study.name == name
    assert study.title
    assert study.question.endswith("?")


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        # 3 teachers; 2 students alone; 2 students x 8 temperatures, each of 3 seeds.
        ("temperature", {"teacher": 3, "baseline": 2 * 3, "student": 2 * 8 * 3}),
        # 2 datasets x 3 seeds x (1 teacher; 4 budgets alone; 4 budgets x 10 alphas below 1).
        ("alpha", {"teacher": 6, "baseline": 2 * 3 * 4, "student": 2 * 3 * 4 * 10}),
        # 2 datasets x 3 noises x 3 seeds x (2 teachers of 3 lengths; 1 alone; 5 alphas for each teacher),
        # but the student's own network with a teacher's 100 epochs is the student alone.
        ("alpha-noise", {"teacher": 18 * 6, "student": 18 * 30}),
        # 2 datasets x 4 noises x 5 seeds x (1 teacher; 1 alone; 6 alphas below 1).
        ("alpha-regression", {"teacher": 40, "baseline": 40, "student": 40 * 6}),
        # 2 teachers; 1 alone; 1 guided by each; 3 seeds.
        ("transfer", {"teacher": 6, "baseline": 3, "student": 6}),
        # (1 teacher; 1 alone; 1 guided) x 3 seeds x settings.
        ("transfer-hard-fraction", dict.fromkeys(("teacher", "baseline", "student"), 3 * 5)),
        ("transfer-hard-labels", dict.fromkeys(("teacher", "baseline", "student"), 3 * 4)),
        ("transfer-hard-blur", dict.fromkeys(("teacher", "baseline", "student"), 3 * 9)),
        ("transfer-hard-noise", dict.fromkeys(("teacher", "baseline", "student"), 3 * 9)),
        ("transfer-hard-center", dict.fromkeys(("teacher", "baseline", "student"), 3 * 12)),
        ("transfer-hard-quarter", dict.fromkeys(("teacher", "baseline", "student"), 3 * 4)),
    ],
)
def test_trials_are_as_many_as_counted_by_hand(name: str, roles: dict[str, int]) -> None:
    assert by_role(load_study(name)) == roles


def test_budgets_of_the_same_training_share_it() -> None:
    size = overview(demand(load_study("alpha"), None), None, 1)
    teachers, alone, guided = 2 * 3 * 20, 2 * 3 * 1000, 2 * 3 * 10 * 1000
    # A student that is guided to the end of one budget goes on to the next.
    assert size.epochs_planned == teachers + alone + guided
    assert size.epochs_naive == teachers + (alone + guided) // 1000 * (100 + 300 + 500 + 1000)


def test_hard_weights_are_one_less_the_soft_weights_of_the_source() -> None:
    study = load_study("temperature")
    assert study.datasets["cifar10"].grid.alpha == (0.1,)  # its 0.9
    (then,) = study.then
    assert [round(1 - alpha, 12) for alpha in then.grid["alpha"]] == [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1]
    found = [c for c in cells(study) if c.role is Role.STUDENT]
    for cell in found:
        (segment,) = cell.spec.schedule
        objective = segment.objective
        assert (objective.hard, objective.soft) == (0.1, 0.9)
        assert objective.temperature == cell.temperature
    networks = {cell.model for cell in cells(study)}
    assert networks == {"resnet50-3x3", "resnet18-3x3", "mobilenetv3-small-3x3"}


def test_teachers_learn_from_the_data_of_their_students() -> None:
    for name in ("alpha", "alpha-noise", "alpha-regression", "transfer-hard-labels"):
        found = cells(load_study(name))
        by_id = {cell.trial_id: cell for cell in found}
        for cell in found:
            for rule in cell.spec.rules:
                assert {by_id[teacher].spec.data for teacher in rule.pool} == {cell.spec.data}


@pytest.mark.parametrize("name", FULL)
def test_a_network_of_a_study_is_known(name: str) -> None:
    for cell in cells(load_study(name))[:1]:
        entry = models.get(cell.dataset, cell.model)
        assert entry.name == cell.model


def _sweep(*arguments: object) -> str:
    """What the command prints, in a process of its own; it must end well."""
    command = [sys.executable, "-c", "from sweep.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TINY, "quickstart"])
def test_a_tiny_study_runs_from_start_to_report(name: str, tmp_path: Path) -> None:
    study = load_study(name)
    _sweep("run", name, "--results", tmp_path, "--local")
    store = Store(tmp_path)
    left = demand(study, store)
    assert (left.todo, left.waiting) == ({}, ())
    asked = Results(tmp_path).cells(name)
    assert set(asked["status"]) == {"done"}
    assert set(asked["dataset"]) == set(study.datasets)
    if study.then:
        assert len(asked) > len(cells(study))

    page = tmp_path / "report.html"
    _sweep("report", name, "--results", tmp_path, "--output", page)
    text = unescape(page.read_text("utf-8"))
    for one in (*study.figures, *study.tables):
        assert one.title in text
    for figure in study.figures:
        drawn = stated_numbers(asked, figure.model_dump())
        assert drawn is not None
        assert len(drawn.panels) == max(1, len(figure.y)) * len(study.datasets)
        for panel in drawn.panels:
            assert (panel.points["n"] == panel.points["n_asked"]).all(), panel.y_title
            assert np.isfinite(panel.points["mean"].to_numpy(float)).all(), panel.y_title
    for table in study.tables:
        numbers = stated_table(asked, table.model_dump())
        censored = numbers["measure"].str.startswith("epoch_at")  # may never be reached
        assert len(numbers) >= len(table.measures)
        assert (numbers.loc[~censored, "n"] == numbers.loc[~censored, "n_asked"]).all(), table.title
        assert np.isfinite(numbers.loc[~censored, "mean"].to_numpy(float)).all(), table.title

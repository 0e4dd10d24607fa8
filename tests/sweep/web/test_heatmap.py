"""Every built-in study has a heatmap from the first second, in which no cell is missing or twice."""

from collections import Counter
from pathlib import Path

import pytest

from sweep.store import Store
from sweep.study import Study, builtin_names, load_study
from sweep.web.heatmap import heatmap
from sweep.web.problems import ProblemError
from sweep.web.watch import Watch
from tests.sweep.web.serving import ask, cells, study

TINY = [name for name in builtin_names() if name.endswith("-tiny") or name == "quickstart"]


def seen(folder: Path, of: Study) -> Counter[str]:
    """Cells that are asked for by the keys of their configurations, over all panels."""
    ask(Store(folder), of)
    view = Watch(Store(folder)).moment.view(of.name)
    assert view is not None
    first = heatmap(view, 1, None, None, None)
    found: Counter[str] = Counter()
    for panel in first.panels:
        drawn = heatmap(view, 1, panel.id, None, None)
        assert drawn.x is not None
        places = [(cell.x, cell.y) for cell in drawn.cells]
        assert len(set(places)) == len(places) == panel.cells
        for cell in drawn.cells:
            assert 0 <= cell.x < len(drawn.x.values)
            assert drawn.y is None or 0 <= cell.y < len(drawn.y.values)
            found[cell.key] += cell.asked
    return found


@pytest.mark.parametrize("name", TINY)
def test_builtin(tmp_path: Path, name: str) -> None:
    of = load_study(name)
    students = [cell for cell in cells(of) if cell.role == "student"]
    asked = students or [cell for cell in cells(of) if cell.role == "baseline"]
    assert sum(seen(tmp_path, of).values()) == len(asked)


def test_without_students_baselines_are_shown(tmp_path: Path) -> None:
    of = study(grid={"learning_rate": [0.1, 0.01]})
    assert sorted(seen(tmp_path, of).values()) == [3, 3]


def test_axes_are_chosen_by_who_asks(tmp_path: Path) -> None:
    of = study(**{"grid.teacher": ["small", "large"], "grid.temperature": [1.0, 2.0, 4.0]})
    ask(Store(tmp_path), of)
    view = Watch(Store(tmp_path)).moment.view("grid")
    assert view is not None
    drawn = heatmap(view, 1, None, "temperature", "teacher")
    assert drawn.x is not None
    assert drawn.y is not None
    assert (drawn.x.values, drawn.y.values) == ([1.0, 2.0, 4.0], ["small", "large"])
    assert [panel.label for panel in drawn.panels] == [
        "digits, alpha 0.1, switch epoch 1", "digits, alpha 0.1, switch epoch 2",
        "digits, alpha 0.6, switch epoch 1", "digits, alpha 0.6, switch epoch 2",
    ]  # fmt: skip
    assert set(drawn.axes) == {"alpha", "switch_epoch", "teacher", "temperature"}
    with pytest.raises(ProblemError, match="alpha, switch_epoch, teacher"):
        heatmap(view, 1, None, "seed", None)

"""What a results directory says of its cells and trials, by hand."""

from pathlib import Path
from typing import Any

import pytest

from sweep.cells import demand
from sweep.expand import Cell, Role
from sweep.records import CELLS, TRIALS, FailureKind, cell_row, trial_row
from sweep.results import Results, mixed
from sweep.store import Store
from sweep.study import Study
from tests.sweep.test_cells import attempt, diverge, finish, names
from tests.sweep.tiny import result, tiny_study

# Two pools; per seed a teacher of each, a baseline, and for each pool students with switch 1 and 3.
STUDY = tiny_study(**{"grid.teacher": ["small", "large"], "grid.alpha": [0.1]})


class Asked:
    """A study whose cells are written to a store."""

    def __init__(self, folder: Path, study: Study = STUDY) -> None:
        self.store = Store(folder)
        self.cells = demand(study, None).everything
        self.store.write_cells(study.name, [cell_row(cell) for cell in self.cells], "{}")

    def some(
        self, role: Role, *, teacher: str | None = None, model: str | None = None
    ) -> list[Cell]:
        """Cells of a role that are trials of their own, by their teacher or network."""
        return [
            cell
            for cell in self.cells
            if (cell.role, cell.switch_epoch == 0) == (role, False)
            and teacher in (None, cell.teacher)
            and model in (None, cell.model)
        ]

    def statuses(self) -> dict[str, str]:
        return Results(self.store.layout.root).statuses(STUDY.name)

    def having(self, status: str) -> set[str]:
        return {trial_id for trial_id, found in self.statuses().items() if found == status}


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def test_nothing_is_there_yet(asked: Asked) -> None:
    assert asked.having("missing") == names(*asked.cells)
    assert len(asked.statuses()) == 2 * (2 + 1 + 2 * 2)


def test_a_failed_teacher_blocks_the_students_of_its_pool_alone(asked: Asked) -> None:
    small, large = (asked.some(Role.TEACHER, model=model) for model in ("small", "large"))
    finish(asked.store, *large, small[0])
    attempt(asked.store, small[1], kind=FailureKind.BUG)
    finish(asked.store, asked.some(Role.STUDENT, teacher="small")[0])
    done = {*names(*large, small[0]), asked.some(Role.STUDENT, teacher="small")[0].trial_id}
    assert asked.having("done") == done
    assert asked.having("failed") == names(small[1])
    assert asked.having("blocked") == names(*asked.some(Role.STUDENT, teacher="small")) - done
    others = [*asked.some(Role.STUDENT, teacher="large"), *asked.some(Role.BASELINE)]
    assert asked.having("missing") == names(*others)


def test_a_pool_is_broken_when_all_of_it_diverged_and_not_before(asked: Asked) -> None:
    small = asked.some(Role.TEACHER, model="small")
    diverge(asked.store, small[0])
    assert asked.having("failed") == names(small[0])
    assert asked.having("blocked") == set()
    diverge(asked.store, small[1])
    assert asked.having("failed") == names(*small)
    assert asked.having("blocked") == names(*asked.some(Role.STUDENT, teacher="small"))


def test_a_failure_before_success_does_not_count(asked: Asked) -> None:
    baseline = asked.some(Role.BASELINE)[0]
    attempt(asked.store, baseline, kind=FailureKind.BUG)
    finish(asked.store, baseline)
    assert asked.having("failed") == set()
    assert asked.having("done") == names(baseline)


def test_cells_take_the_words_that_were_asked_and_the_measures_of_their_trial(
    asked: Asked,
) -> None:
    baseline = asked.some(Role.BASELINE)[0]
    finish(asked.store, baseline, test_metric=61.5)
    rows = Results(asked.store.layout.root).cell_table(STUDY.name).to_pylist()
    assert [row["trial_id"] for row in rows] == [cell.trial_id for cell in asked.cells]
    measured = [row for row in rows if row["test_metric"] is not None]
    # The baseline, and switch 0 of either teacher.
    assert [(row["role"], row["teacher"], row["switch_epoch"]) for row in measured] == [
        ("baseline", None, None), ("student", "small", 0), ("student", "large", 0),
    ]  # fmt: skip
    assert {(row["test_metric"], row["status"], row["seed"]) for row in measured} == {
        (61.5, "done", baseline.seed)
    }
    only_measured = [key for key in TRIALS.names if key not in (*CELLS.names, "status")]
    assert list(rows[0]) == [*CELLS.names, *only_measured, "status"]


def test_columns_are_left_out_on_request(asked: Asked) -> None:
    baseline = asked.some(Role.BASELINE)[0]
    finish(asked.store, baseline, test_metric=61.5)
    later(asked.store, baseline.trial_id, point(0.02, 5.0))
    results = Results(asked.store.layout.root)
    whole = results.cell_table(STUDY.name)
    for without in (["per_class", "confusion"], ["robustness"], ["train_loss", "test_metric"]):
        assert results.cell_table(STUDY.name, without).equals(whole.drop_columns(without))
    (points,) = set(map(str, whole["robustness"].drop_null().to_pylist()))
    assert points == str([point(0.02, 5.0), point(0.05, 30.0)])


def robustness(store: Store) -> dict[str, Any]:
    table = Results(store.layout.root).trial_table()
    return dict(zip(table["trial_id"].to_pylist(), table["robustness"].to_pylist(), strict=True))


def point(epsilon: float, value: float | None, attack: str = "fgsm") -> dict[str, Any]:
    return {"attack": attack, "epsilon": epsilon, "value": value}


def later(store: Store, trial_id: str, *points: dict[str, Any]) -> None:
    store.evaluations.publish(
        [{"evaluation_id": f"{trial_id}{p}", "trial_id": trial_id, **p} for p in points]
    )


def test_later_evaluations_join_the_robustness_of_their_trials(asked: Asked) -> None:
    first, second = asked.some(Role.BASELINE)
    third = asked.some(Role.TEACHER)[0]
    own = (point(0.05, 30.0), point(0.01, 60.0))
    rows = [trial_row(cell, result(robustness=own)) for cell in (first, second)]
    asked.store.trials.publish([*rows, trial_row(third, result(robustness=()))])
    assert robustness(asked.store)[first.trial_id] == list(own)
    later(asked.store, first.trial_id, point(0.02, 50.0), point(0.05, 99.0), point(0.3, None))
    later(asked.store, third.trial_id, point(0.02, 7.0), point(0.01, 8.0, "another"))
    later(asked.store, "f" * 24, point(0.02, 1.0))  # its trial is not here
    assert robustness(asked.store) == {
        # Sorted; what the training measured itself stays.
        first.trial_id: [point(0.01, 60.0), point(0.02, 50.0), point(0.05, 30.0), point(0.3, None)],
        second.trial_id: [point(0.01, 60.0), point(0.05, 30.0)],
        third.trial_id: [point(0.01, 8.0, "another"), point(0.02, 7.0)],
    }
    assert (
        Results(asked.store.layout.root)
        .trial_table()
        .schema.equals(asked.store.trials.read()[0].schema)
    )


def test_zero_gradients_are_those_of_the_training_or_else_of_a_later_attack(asked: Asked) -> None:
    first, second = asked.some(Role.BASELINE)
    third, fourth = asked.some(Role.TEACHER)[:2]
    trained = zip((first, second, third, fourth), (2.5, None, None, None), strict=True)
    rows = [trial_row(cell, result(zero_gradients_percent=zero)) for cell, zero in trained]
    asked.store.trials.publish(rows)
    noise = point(0.1, 1.0, "input_noise") | {"zero_gradients_percent": None}
    later(asked.store, first.trial_id, point(0.3, 1.0) | {"zero_gradients_percent": 99.0})
    later(asked.store, second.trial_id, noise, point(0.3, 1.0) | {"zero_gradients_percent": 4.0})
    later(asked.store, third.trial_id, noise)
    expected = {
        first.trial_id: 2.5, second.trial_id: 4.0, third.trial_id: None, fourth.trial_id: None,
    }  # fmt: skip
    results = Results(asked.store.layout.root)
    for columns in (None, ["trial_id", "zero_gradients_percent"]):
        table = results.trial_table(columns)
        ids, zero = (table[c].to_pylist() for c in ("trial_id", "zero_gradients_percent"))
        assert dict(zip(ids, zero, strict=True)) == expected
    alone = results.trial_table(["robustness"])
    assert alone.column_names == ["robustness"]


def test_later_evaluations_of_trials_that_are_not_here_change_nothing(asked: Asked) -> None:
    later(asked.store, "f" * 24, point(0.02, 1.0))
    assert robustness(asked.store) == {}
    baseline = asked.some(Role.BASELINE)[0]
    asked.store.trials.publish([{"trial_id": baseline.trial_id, "status": "done"}])
    assert robustness(asked.store) == {baseline.trial_id: []}


def test_results_of_several_origins_are_told_apart_and_said(asked: Asked) -> None:
    first, second = asked.some(Role.BASELINE)
    finish(asked.store, first)
    results = Results(asked.store.layout.root)
    assert mixed(results.origins()) == []
    rows = trial_row(second, result(numerics_class="another"))
    asked.store.trials.publish([{**rows, "code_version": "0.0.9"}])
    origins = results.origins()
    assert origins["numerics_class"] == {"test": 1, "another": 1}
    lines = mixed(origins)
    assert len(lines) == 2
    assert "results of 2 code versions: " in lines[0]
    assert "0.0.9 (1 trials)" in lines[0]
    assert lines[1].endswith("another (1 trials), test (1 trials)")
    assert mixed(results.origins({first.trial_id})) == []

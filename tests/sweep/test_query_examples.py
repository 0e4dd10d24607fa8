"""The example queries give what pandas gives from the same tables."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweep.expand import Cell, Role
from sweep.query import Asking
from sweep.query.examples import EXAMPLES
from sweep.records import FailureKind, trial_row
from sweep.results import Results
from tests.sweep.test_cells import AT, attempt
from tests.sweep.test_results import Asked, point
from tests.sweep.tiny import result, tiny_study

STUDY = tiny_study(
    **{
        "seeds": [1, 2, 3], "recipe.epochs": 6, "grid.teacher": ["small", "large"],
        "grid.alpha": [0.1, 0.9], "grid.switch_epoch": [2, 5],
        "datasets.california_housing": {"grid": {"teacher": ["small"]}},
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Every trial but each ninth, with curves of two points an epoch and two attacks."""
    asked = Asked(tmp_path_factory.mktemp("examples"), STUDY)
    trials = list({cell.trial_id: cell for cell in asked.cells}.values())
    first = {(c.dataset, c.model): c.trial_id for c in reversed(trials) if c.role is Role.TEACHER}
    done = [(n, cell) for n, cell in enumerate(trials) if n % 9 != 4]
    asked.store.trials.publish(
        [trial_row(cell, answer(n, first.get((cell.dataset, cell.teacher)), cell))
         for n, cell in done]
    )  # fmt: skip
    for position, kind in enumerate((FailureKind.BUG, FailureKind.WORKER_LOST, FailureKind.BUG)):
        attempt(asked.store, trials[4], trials[13], kind=kind, minute=position)
    attempt(asked.store, trials[0], kind=None)
    return Results(asked.store.layout.root)


def answer(number: int, teacher: str | None, cell: Cell) -> Any:
    draw = np.random.default_rng(number)
    value = float(draw.normal(70, 5) if cell.dataset == "digits" else draw.uniform(0.1, 0.3))
    return result(
        metric_name="accuracy" if cell.dataset == "digits" else "mse", test_metric=value,
        train_loss=tuple(draw.uniform(0, 1, 12).tolist()),
        train_loss_step=tuple(range(5, 65, 5)), steps_per_epoch=10, epochs_run=6,
        robustness=tuple(point(e, value * (1 - 10 * e)) for e in (0.01, 0.05)),
        teacher_trial_ids=() if teacher is None else (teacher,), train_s=float(number),
        device_s=number / 2, peak_memory_bytes=10**9 * (1 + number % 3),
        device_name=f"gpu {number % 2}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def said(results: Results) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """The answer to every example, by its name."""
    with Asking(results) as asking:
        yield {e.name: asking.query(e.sql).to_pylist() for e in EXAMPLES}


def same(rows: list[dict[str, Any]], expected: pd.DataFrame) -> None:
    """Equal rows in equal order, numbers to 1e-9."""
    records = expected.astype(object).where(expected.notna(), None).to_dict("records")
    assert rows == [{k: near(v) for k, v in record.items()} for record in records]
    assert rows


def near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value


@pytest.fixture
def cells(results: Results) -> pd.DataFrame:
    frame = results.cells(STUDY.name)
    frame["study"] = STUDY.name
    return frame


def means(cells: pd.DataFrame) -> pd.DataFrame:
    keys = ["study", "dataset", "teacher", "alpha", "switch_epoch"]
    students = cells[(cells.role == "student")]
    found = students.groupby(keys)["test_metric"].agg(n="count", mean="mean").reset_index()
    return found[found["n"] > 0]


def test_best(said: dict[str, Any], cells: pd.DataFrame) -> None:
    found = means(cells)
    digits = found[found.dataset == "digits"].nlargest(5, "mean")
    california = found[found.dataset == "california_housing"].nsmallest(5, "mean")
    keys = ["dataset", "teacher", "alpha", "switch_epoch", "n", "mean"]
    same([{key: row[key] for key in keys} for row in said["best"]],
         pd.concat([california, digits])[keys])  # fmt: skip
    assert all(row["ci_low"] < row["mean"] < row["ci_high"] for row in said["best"])


def test_better(said: dict[str, Any], cells: pd.DataFrame) -> None:
    from scipy import stats

    base = cells[cells.role == "baseline"].set_index(["dataset", "seed"])["test_metric"]
    students = cells[cells.role == "student"].set_index(["dataset", "seed"])
    gain = (students["test_metric"] - base.reindex(students.index)).astype(float)
    students = students.assign(
        gain=gain * np.where(students.index.get_level_values(0) == "digits", 1, -1)
    )
    rows = []
    for dataset, part in students.reset_index().groupby("dataset"):
        gains = [
            own["gain"].dropna() for _, own in part.groupby(["teacher", "alpha", "switch_epoch"])
        ]
        gains = [own for own in gains if len(own)]
        low = [own.mean() - stats.t.ppf(0.975, len(own) - 1) * stats.sem(own)
               for own in gains if len(own) > 1]  # fmt: skip
        rows.append(
            {"study": STUDY.name, "dataset": dataset, "configurations": len(gains),
             "better_percent": 100 * np.mean([own.mean() > 0 for own in gains]),
             "interval_better": sum(value > 0 for value in low)}
        )  # fmt: skip
    same(said["better"], pd.DataFrame(rows))


def test_robustness(said: dict[str, Any], results: Results) -> None:
    long = results.trials().explode("robustness").reset_index(drop=True)
    points = pd.DataFrame(list(long["robustness"]))
    long = pd.concat([long[["dataset", "role", "test_metric"]], points], axis=1)
    found = long.groupby(["dataset", "role", "attack", "epsilon"]).agg(
        trials=("value", "size"), clean=("test_metric", "mean"), attacked=("value", "mean")
    )
    found["fall"] = found["clean"] - found["attacked"]
    same(said["robustness"], found.reset_index())


def test_loss(said: dict[str, Any], cells: pd.DataFrame) -> None:
    """Points at steps 45 and 50 of 10 an epoch lie in the fifth: the ninth and the tenth."""
    own = cells[(cells.teacher == "small") & (cells.switch_epoch == 5) & (cells.status == "done")]
    own = own.assign(loss=[np.mean(curve[8:10]) for curve in own["train_loss"]])
    found = own.groupby(["study", "dataset", "alpha"]).agg(
        seeds=("seed", "nunique"), loss=("loss", "mean")
    )
    same(said["loss"], found.reset_index())


def test_failures(said: dict[str, Any]) -> None:
    assert said["failures"] == [
        {"kind": "bug", "node": "node", "attempts": 4, "trials": 2, "last_at": AT + timedelta(minutes=2)},
        {"kind": "worker_lost", "node": "node", "attempts": 2, "trials": 2,
         "last_at": AT + timedelta(minutes=1)},
    ]  # fmt: skip


def test_pace(said: dict[str, Any], results: Results) -> None:
    trials = results.trials()
    found = trials[trials.train_s > 0].groupby(["device_name", "dataset", "model"]).agg(
        trials=("seed", "size"), seconds=("train_s", "sum"), epochs=("epochs_run", "sum")
    ).reset_index()  # fmt: skip
    found["seconds_per_epoch"] = found.pop("seconds") / found.pop("epochs").astype(float)
    same(said["pace"], found)


def test_missing(said: dict[str, Any], cells: pd.DataFrame) -> None:
    known = {
        (row.dataset, row.role, row.model, row.teacher, row.alpha, row.switch_epoch, row.seed, row.status)
        for row in cells[cells.status != "done"].astype(object).where(cells.notna(), None).itertuples()
    }  # fmt: skip
    found = {
        (row["dataset"], row["role"], row["model"], row["teacher"], row["alpha"], row["switch_epoch"],
         seed, row["status"])
        for row in said["missing"] for seed in row["seeds"]
    }  # fmt: skip
    assert found == known
    assert {status for *_, status in found} == {"failed", "missing", "blocked"}


def test_switch(said: dict[str, Any], cells: pd.DataFrame) -> None:
    found = means(cells[cells.teacher == "small"]).drop(columns="teacher")
    keys = list(found.columns)
    same([{key: row[key] for key in keys} for row in said["switch"]], found)


def test_teachers(said: dict[str, Any], results: Results) -> None:
    trials = results.trials()
    chosen = trials["teacher_trial_ids"].explode().dropna().value_counts()
    own = trials.set_index("trial_id").loc[
        chosen.index, ["dataset", "model", "seed", "test_metric"]
    ]
    own = own.assign(selected_on="validation", students=chosen).sort_values(
        ["dataset", "model", "seed"]
    )
    same(said["teachers"], own.reset_index(drop=True))


def test_cost(said: dict[str, Any], results: Results) -> None:
    found = results.trials().groupby(["dataset", "role"]).agg(
        trials=("seed", "size"), epochs=("epochs_run", "sum"), hours=("device_s", "sum"),
        peak_memory_gb=("peak_memory_bytes", "max"),
    ).reset_index()  # fmt: skip
    found["hours"] /= 3600
    found["peak_memory_gb"] = found["peak_memory_gb"].astype(float) / 1e9
    same(said["cost"], found)


def test_there_are_ten_and_each_says_what_it_answers() -> None:
    assert len(EXAMPLES) == len({e.name for e in EXAMPLES}) == 10
    assert all(e.question.endswith("?") for e in EXAMPLES)


def test_they_run_where_nothing_is(tmp_path: Path) -> None:
    with Asking(tmp_path) as asking:
        assert [asking.query(e.sql).num_rows for e in EXAMPLES] == [0] * 10

"""`sweep tune` in earnest, on 64 digits: one store, goes on after anything, and is seen by all readers."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.figures.search import front_numbers
from analysis.search import search_choices
from sweep import service
from sweep.begun import begun_of
from sweep.cells import demand
from sweep.errors import DamagedError, StudyError
from sweep.events import Event, What
from sweep.expand import Role
from sweep.findings import findings, known_to
from sweep.garbage import free, survey
from sweep.merge import merge
from sweep.reporting import write
from sweep.results import Results
from sweep.service import Where, run_study, tune_study
from sweep.store import Store
from sweep.study import Study, load_study
from sweep.tuning import Tuning
from tests.sweep.signals import as_in_a_terminal
from tests.sweep.tiny import science

ROOT = Path(__file__).resolve().parents[2]
HERE = Where(local=True, gpus_per_trial=0.0)

RAW: dict[str, Any] = {
    "name": "searched",
    "seeds": [1, 2, 3, 4],
    "grid": {"teacher": ["mlp-4"], "alpha": [0.2, 0.5], "switch_epoch": [2]},
    "recipe": {"epochs": 4, "batch_size": 32, "learning_rate": 0.01},
    "split": {"train_size": 64, "validation": 0.1},
    "datasets": {"digits": {"student": "mlp-6", "baseline": False}},
    "tune": {
        "space": {
            "alpha": {"low": 0.1, "high": 0.9, "step": 0.1},
            "switch_epoch": {"low": 1, "high": 4},
            "teacher": ["mlp-4", "mlp-5"],
        },
        "parallel": 3,
        "rungs": [1, 2],
        "trials": 27,
        "finalists": 2,
    },
}


def study_of(**changes: Any) -> Study:
    return load_study(RAW, changes)


def table_of(results: Path) -> list[dict[str, Any]]:
    table = Store(results).read_search_table("searched")
    assert table is not None
    return list(table.to_pylist())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert tune_study(study_of(), folder, HERE).exit_status == 0
    return folder


def test_every_trial_of_a_search_is_one_of_the_study(undisturbed: Path) -> None:
    store, study = Store(undisturbed), study_of()
    wanted = demand(study, store, searched_alone=True)
    assert (wanted.todo, wanted.waiting) == ({}, ())
    asked = {row["trial_id"] for row in table_of(undisturbed)}
    assert 20 <= len(asked) <= 27  # the budget; points that begin alike share a rung
    cells = Results(undisturbed).cells("searched")
    students = cells[cells["role"] == "student"]
    assert set(students["trial_id"]) == asked
    assert set(students["epochs"]) == {1, 2, 4}
    assert set(cells["status"]) == {"done"}
    # The grid was not asked for: the search did not train it.
    assert not set(students["seed"]) - {1, 2, 3, 4}
    assert demand(study, store).todo


def test_a_point_that_goes_on_from_a_rung_has_the_bits_of_one_that_did_not(
    undisturbed: Path, tmp_path: Path
) -> None:
    alone = study_of(**{"tune.rungs": [], "tune.sampler": "grid", "tune.finalists": 1})
    rows = [row for row in table_of(undisturbed) if row["epochs"] == 4]
    one = json.loads(rows[0]["parameters"])
    space = {"tune.space": {key: [value] for key, value in one.items()}}
    again = load_study(alone.model_dump(mode="json") | {"name": "again"}, space)
    assert tune_study(again, tmp_path, HERE, share=False).exit_status == 0
    theirs = {row["trial_id"]: row for row in science(Store(undisturbed)).to_pylist()}
    ours = {row["trial_id"]: row for row in science(Store(tmp_path)).to_pylist()}
    assert rows[0]["trial_id"] in ours
    for trial_id in set(ours) & set(theirs):
        assert ours[trial_id] == theirs[trial_id]


def test_it_is_continued_from_the_snapshot(tmp_path: Path) -> None:
    one = {"alpha": [0.5], "switch_epoch": [4], "teacher": ["mlp-4"]}
    changes = {"tune.space": one, "tune.final_seeds": 1, "tune.parallel": 1, "teacher.seeds": [1]}
    summary = tune_study(study_of(**changes), tmp_path, HERE)
    assert [row["epochs"] for row in table_of(tmp_path)] == [
        1,
        2,
        4,
        4,
    ]  # two rungs, the end, final
    # The teacher's 4 epochs and 4 of the point, none of them twice: 1, then 1 more, then 2 more.
    assert (summary.done, summary.epochs) == (4, 4 + 4)
    assert {row["asked_epochs"] for row in table_of(tmp_path)} == {1, 2, 4, None}


@pytest.mark.parametrize("rounds", [4])
def test_a_search_that_breaks_off_goes_on_as_if_it_had_not(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    real, left = service.run, iter(range(rounds))

    def breaks_off(*given: Any, **named: Any) -> Any:
        if next(left, None) is None:
            raise OSError("the disk is gone")
        return real(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(service, "run", breaks_off)
        with pytest.raises(OSError, match="gone"):
            tune_study(study_of(), tmp_path, HERE)
    assert len(table_of(tmp_path)) < len(table_of(undisturbed))
    assert survey(Store(tmp_path)).unclear  # the search is open: networks are left alone
    assert tune_study(study_of(), tmp_path, HERE).exit_status == 0
    assert table_of(tmp_path) == table_of(undisturbed)
    assert science(Store(tmp_path)) == science(Store(undisturbed))
    assert tune_study(study_of(), tmp_path, HERE).total == 0


def test_a_search_that_was_asked_to_stop_tells_of_all_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its time is up by then: that is no reason to leave out what it had begun."""

    class Asks:
        done = 0

        def tell(self, event: Event) -> None:
            self.done += event.what is What.TRIAL_DONE
            if self.done == 8 and event.what is What.TRIAL_DONE:
                now[0] = 120.0
                os.kill(os.getpid(), signal.SIGINT)

    now = [0.0]
    timed = functools.partial(Tuning, clock=lambda: now[0])
    monkeypatch.setattr(service, "Tuning", timed)
    study, store = study_of(**{"tune.minutes": 1.0}), Store(tmp_path)
    summary = tune_study(study, tmp_path, HERE, events=Asks())
    assert summary.interrupted
    cells = Results(tmp_path).cells("searched")
    students = cells[(cells["role"] == "student") & (cells["status"] == "done")]
    told = {row["trial_id"] for row in table_of(tmp_path) if row["value"] is not None}
    assert len(told) >= 2
    assert told == set(students["trial_id"])
    begun = begun_of(study, store)
    assert begun is not None
    assert begun.closed == {}, "what was begun and is not done is gone on with"


def test_a_longer_budget_goes_on_where_the_shorter_ended(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "more")
    longer = study_of(**{"tune.trials": 36})
    before = {row["trial_id"] for row in science(Store(undisturbed)).to_pylist()}
    summary = tune_study(longer, tmp_path / "more", HERE)
    after = {row["trial_id"] for row in science(Store(tmp_path / "more")).to_pylist()}
    assert 0 < summary.done < 36
    assert before < after

    def searched(results: Path) -> list[tuple[int, str, int]]:
        rows = (row for row in table_of(results) if row["phase"] == "search")
        return [(row["point"], row["parameters"], row["epochs"]) for row in rows]

    shorter = searched(undisturbed)
    longer_too = searched(tmp_path / "more")
    whole = [row for row in shorter if row[0] <= 6]  # of whose rounds the end was not near
    assert longer_too[: len(whole)] == whole


def test_a_grid_that_was_run_before_costs_nothing(tmp_path: Path) -> None:
    grid = {"grid.alpha": [0.1, 0.5, 0.9], "grid.switch_epoch": [1, 3], "name": "grid"}
    run_study(study_of(**grid), tmp_path, HERE)
    study = study_of(**{"tune.rungs": [], "tune.trials": 12})
    held = set(findings(Store(tmp_path)))
    summary = tune_study(study, tmp_path, HERE)
    begun = begun_of(study, Store(tmp_path))
    assert begun is not None
    assert [(v["alpha"], v["switch_epoch"], v["teacher"]) for v in begun.known["digits"]] == [
        (a, s, "mlp-4") for a in (0.1, 0.5, 0.9) for s in (1, 3)
    ]  # fmt: skip
    rows = table_of(tmp_path)
    known = {row["trial_id"] for row in rows if row["known"] and row["phase"] == "search"}
    assert len(known) == 6
    assert known <= held
    new = {row["trial_id"] for row in rows} - held
    teachers = 4  # of mlp-5
    assert summary.done == len(new) + (teachers if summary.done > len(new) else 0)
    assert len(new) <= 12
    assert sum(row["known"] for row in rows if row["phase"] == "search") == 6


def test_another_search_begins_with_what_the_first_found(tmp_path: Path) -> None:
    tune_study(study_of(**{"tune.rungs": [], "tune.trials": 12}), tmp_path, HERE)
    first = {row["trial_id"] for row in table_of(tmp_path)}
    other = study_of(**{"tune.rungs": [], "tune.trials": 9, "tune.sampler_seed": 5})
    assert begun_of(other, Store(tmp_path)) is None
    tune_study(other, tmp_path, HERE)
    known = {row["trial_id"] for row in table_of(tmp_path) if row["known"] and row["seed"] == 1}
    assert known
    assert known <= first


def test_trials_that_fail_are_points_that_failed(tmp_path: Path) -> None:
    study = study_of(**{"tune.rungs": [], "tune.trials": 12, "tune.repeats": 1})
    store = Store(tmp_path)
    with store.writing():
        Tuning(study, store).begin()
    (first, *_) = demand(study, store, searched_alone=True).courses["digits"].points
    trial_id = first.steps[0].cells[0].trial_id
    row = {"attempt_id": "a", "trial_id": trial_id, "status": "failed", "number": 1,
           "finished_at": datetime.now(UTC)}  # fmt: skip
    for number, kind in enumerate(("worker_lost", "bug")):
        with store.writing():
            store.attempts.publish([{**row, "attempt_id": kind, "kind": kind, "number": number}])
        held = known_to(study, store)
        assert (trial_id in held) is (kind == "bug")
    assert tune_study(study, tmp_path, HERE).not_done_before == 1
    states = {
        p.number: str(p.state)
        for p in demand(study, store, searched_alone=True).courses["digits"].points
    }
    assert states[1] == "failed"
    assert set(states.values()) == {"failed", "full length"}
    assert [row["value"] for row in table_of(tmp_path) if row["trial_id"] == trial_id] == [None]
    # Tried again it is not; the search goes on from there, and its table says so.
    assert run_study(study, tmp_path, HERE, retry=()).exit_status == 0
    wanted = demand(study, store)
    assert (wanted.todo, wanted.waiting) == ({}, ())
    assert {str(p.state) for p in wanted.courses["digits"].points} == {"full length"}
    assert {row["trial_id"] for row in table_of(tmp_path)} == {
        cell.trial_id for cell in wanted.courses["digits"].cells
    }
    assert all(row["value"] is not None for row in table_of(tmp_path))


def test_points_whose_teacher_failed_do_not_stop_the_others(tmp_path: Path) -> None:
    space = {"teacher": ["mlp-5", "mlp-4"], "alpha": [0.2, 0.5]}
    study = study_of(
        **{"tune.rungs": [], "tune.sampler": "grid", "tune.space": space, "tune.parallel": 1}
    )
    store = Store(tmp_path)
    with store.writing():
        Tuning(study, store).begin()
    wanted = demand(study, store, searched_alone=True)
    teacher = next(c for c in wanted.chosen if (c.model, c.role) == ("mlp-5", Role.TEACHER))
    with store.writing():
        store.attempts.publish([
            {"attempt_id": "a", "trial_id": teacher.trial_id, "status": "failed", "kind": "bug",
             "number": 1, "finished_at": datetime.now(UTC)}
        ])  # fmt: skip
    assert tune_study(study, tmp_path, HERE).exit_status == 1
    wanted = demand(study, store, searched_alone=True)
    assert wanted.waiting == ()
    points = wanted.courses["digits"].points
    assert [(p.values["teacher"], str(p.state)) for p in points] == [
        ("mlp-5", "failed"), ("mlp-5", "failed"), ("mlp-4", "full length"), ("mlp-4", "full length"),
    ]  # fmt: skip
    # They are in the table, without a figure; the choice is made among the others.
    table = pd.DataFrame(table_of(tmp_path))
    assert table.groupby("point")["value"].count().tolist() == [0, 0, 5, 5]
    (choice,) = search_choices(table)
    assert set(choice.points) <= {3, 4}


def test_time_is_up_and_the_search_ends_with_its_finalists(tmp_path: Path) -> None:
    study, store = study_of(**{"tune.rungs": [], "tune.minutes": 1.0}), Store(tmp_path)
    now = [0.0]
    tuning = Tuning(study, store, lambda: now[0])
    with store.writing():
        tuning.begin()
        wanted = demand(study, store, searched_alone=True)
        assert not tuning.looked(wanted)
        now[0] = 59.0
        assert not tuning.looked(wanted)
        now[0] = 60.0
        assert tuning.looked(wanted)
        # The three that were suggested just then are not begun; nothing is left to do.
        wanted = demand(study, store, searched_alone=True)
        assert (wanted.todo, wanted.waiting) == ({}, ())
        assert not tuning.looked(wanted)
        tuning.begin()  # a new start has its minutes anew
        assert demand(study, store, searched_alone=True).todo


def test_a_study_without_the_section_is_refused(tmp_path: Path) -> None:
    plain = load_study({key: value for key, value in RAW.items() if key != "tune"})
    with pytest.raises(StudyError, match=r"study searched has no section \[tune\]"):
        tune_study(plain, tmp_path, HERE)
    assert not (tmp_path / "studies").exists()


def test_what_was_known_is_believed_only_as_it_was_written(
    undisturbed: Path, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "r")
    path = tmp_path / "r" / "searches" / "searched.json"
    path.write_text(
        path.read_text().replace('"known": {"digits": []}', '"known": {"digits": [{}]}')
    )
    with pytest.raises(DamagedError, match=r"searched\.json is damaged: remove it"):
        demand(study_of(), Store(tmp_path / "r"))
    path.unlink()
    # All that is there is known then: nothing of it is trained again.
    summary = tune_study(study_of(**{"tune.rungs": []}), tmp_path / "r", HERE)
    assert summary.exit_status == 0


def test_run_goes_on_with_a_search_that_was_begun_and_trains_the_grid(
    undisturbed: Path, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "r")
    before = table_of(undisturbed)
    asked = {c.trial_id for c in demand(study_of(), Store(tmp_path / "r")).everything}
    assert run_study(study_of(), tmp_path / "r", HERE).exit_status == 0
    cells = Results(tmp_path / "r").cells("searched")
    assert set(cells["trial_id"]) == asked
    assert {row["trial_id"] for row in before} < asked


def test_run_keeps_the_table_of_a_search_and_sees_to_its_time(
    undisturbed: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "whole")
    with store.writing():
        Tuning(study_of(), store).begin()  # and is killed
    assert run_study(study_of(), tmp_path / "whole", HERE).exit_status == 0
    assert table_of(tmp_path / "whole") == table_of(undisturbed)

    # With nothing but minutes to end it, a run ends it too.
    space = {"alpha": {"low": 0.1, "high": 0.9, "step": 0.1}}
    timed = study_of(
        **{"tune.rungs": [], "tune.trials": 1000, "tune.minutes": 1e-6, "tune.space": space}
    )
    store = Store(tmp_path / "timed")
    with store.writing():
        Tuning(timed, store).begin()
    assert run_study(timed, tmp_path / "timed", HERE).exit_status == 0
    wanted = demand(timed, store)
    assert (wanted.todo, wanted.waiting) == ({}, ())
    assert wanted.courses["digits"].points == ()


@pytest.mark.slow
def test_the_report_tells_of_the_search(undisturbed: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write(Results(undisturbed), "searched", page)
    text = page.read_text("utf-8")
    assert "<h2>The search</h2>" in text
    assert "had no part in the search" in text
    assert '"search0-history"' in text


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    changes = {"tune.rungs": [], "tune.trials": 11, "tune.finalists": 1, "evaluation.fgsm_epsilons": [0.3],
               "evaluation.validation": True,
               "tune.objectives": [{}, {"attack": "fgsm", "epsilon": 0.3}]}  # fmt: skip
    study = study_of(**changes)
    tune_study(study, tmp_path, HERE)
    rows = table_of(tmp_path)
    assert {row["objective"] for row in rows} == {"validation metric", "validation fgsm 0.3"}
    assert all(row["value"] is not None for row in rows)
    table = Results(tmp_path).store.read_search_table("searched")
    assert table is not None
    numbers = front_numbers(table.to_pandas(), "digits")
    assert numbers is not None
    assert len(numbers.points) == 8
    assert numbers.points["front"].any()


def test_weights_of_a_start_are_sought(tmp_path: Path) -> None:
    changes = {
        "grid.start": ["zero-pad"], "grid.alpha": [1.0], "grid.switch_epoch": [0],
        "teacher.match": "seed", "starts": {"near": {"training": {"epochs": 1}}},
        "tune": {"space": {"hard": {"low": 0.1, "high": 1.0}, "anchor": {"low": 0.0, "high": 1.0}},
                 "start": "near", "trials": 6, "finalists": 1, "repeats": 1},
    }  # fmt: skip
    study = study_of(**changes)
    assert tune_study(study, tmp_path, HERE).exit_status == 0
    wanted = demand(study, Store(tmp_path), searched_alone=True)
    assert (wanted.todo, wanted.waiting) == ({}, ())
    starts = [cell for cell in wanted.chosen if cell.role is Role.START]
    asked = {
        (part.objective.hard, part.objective.terms.anchor)
        for c in starts
        for part in c.spec.schedule
    }
    points = wanted.courses["digits"].points
    assert asked == {(point.values["hard"], point.values["anchor"]) for point in points}
    assert {c.parameters["start"] for c in wanted.courses["digits"].cells} == {
        f"tune-{point.number:03d}" for point in points
    }  # fmt: skip
    # Epochs of the training before are part of what a point costs: 4 and 1.
    assert [point.steps[0].trained for point in points] == [5, 10, 15]


DRIVER = """
import sys
from sweep.progress import PlainLines
from sweep.service import tune_study
from tests.sweep.test_tuning import HERE, study_of
sys.exit(tune_study(study_of(), sys.argv[1], HERE, progress=PlainLines(sys.stdout, 0.05)).exit_status)
"""


@pytest.mark.slow
@pytest.mark.parametrize("lines", [2, 6])
def test_a_killed_search_goes_on_as_if_it_had_not(
    undisturbed: Path, tmp_path: Path, lines: int
) -> None:
    results = tmp_path / "results"

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-u", "-c", DRIVER, str(results)], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=as_in_a_terminal,
        )  # fmt: skip

    driver = start()
    assert driver.stdout is not None
    seen = 0
    for line in driver.stdout:
        seen += "follow from" in line
        if seen == lines:
            break
    driver.send_signal(signal.SIGKILL)
    driver.stdout.close()
    assert driver.wait() == -signal.SIGKILL
    assert seen == lines
    began = time.monotonic()
    again = start()
    assert again.communicate(timeout=300) is not None
    assert again.returncode == 0
    assert table_of(results) == table_of(undisturbed)
    assert science(Store(results)) == science(Store(undisturbed))
    assert time.monotonic() - began < 300


def test_a_merged_search_goes_on_with_what_it_knew(undisturbed: Path, tmp_path: Path) -> None:
    done = merge([Store(undisturbed)], Store(tmp_path / "merged"))
    assert (done.exit_status, done.added["searches"]) == (0, 1)
    assert table_of(tmp_path / "merged") == table_of(undisturbed)
    wanted = demand(study_of(), Store(tmp_path / "merged"), searched_alone=True)
    assert (wanted.todo, wanted.waiting) == ({}, ())
    again = merge([Store(undisturbed)], Store(tmp_path / "merged"))
    assert "searches" not in again.added


def test_snapshots_of_rungs_may_go_when_the_search_is_at_its_end(
    undisturbed: Path, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "r")
    store = Store(tmp_path / "r")
    rungs = {row["trial_id"] for row in table_of(undisturbed) if row["epochs"] < 4}
    assert set(store.kept_snapshots()) == rungs
    free(store)
    assert set(store.kept_snapshots()) == set()
    assert demand(study_of(), store, searched_alone=True).todo == {}
    # One that keeps snapshots of the same trials holds on to them.
    shutil.copytree(undisturbed, tmp_path / "kept")
    store = Store(tmp_path / "kept")
    cells, text = store.read_cells("searched") or (None, "")
    keeps = json.loads(text) | {"name": "other", "tune": None}
    keeps["datasets"]["digits"]["evaluation"]["keep"] = "snapshot"
    assert cells is not None
    with store.writing():
        store.put_cells("other", cells, json.dumps(keeps))
    assert not any(item.kind == "snapshot" for item in survey(store).garbage)

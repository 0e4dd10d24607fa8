"""Figures for Prometheus, parsed back by its own client."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from sweep import cli, store
from sweep.metrics import (
    KINDS,
    MOST_DEVICES,
    MOST_STUDIES,
    OTHER,
    STATES,
    Metrics,
    Standing,
    StudyCounts,
    counted,
    exposed,
    exposition,
)
from sweep.records import FailureKind
from sweep.results import Results
from tests.sweep.handover.made import BEGAN, FAILED, STUDY, TRIALS, attempt, made


def parsed(content: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for family in text_string_to_metric_families(content.decode()):
        assert family.documentation
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def value(content: bytes, name: str, **labels: str) -> float | None:
    return parsed(content).get((name, frozenset(labels.items())))


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(str(made(tmp_path / "results")))


LIVE: dict[str, Any] = {
    "total": 100, "done": 40, "failed": 2, "blocked": 3, "running": ["a"], "running_trials": [],
    "epochs_done": 150, "epochs_total": 600, "elapsed_s": 90.5, "eta_s": 270.25,
    "trials_per_minute": 27.5, "last_failure": None, "at": "2026-03-01T12:00:00+00:00",
    "devices": [
        {"node": "one", "device": "GPU 0", "slots": 4, "busy": 3, "utilisation_percent": 87.5,
         "memory_used_bytes": 10**9, "memory_total_bytes": 8 * 10**9},
        {"node": "two", "device": "CPU", "slots": 2, "busy": 0, "utilisation_percent": None},
    ],
}  # fmt: skip


def test_a_directory_in_figures(results: Results) -> None:
    content = Metrics(results, clock=lambda: BEGAN.timestamp() + 80).exposition()
    states = {state: value(content, "sweep_trials", study=STUDY, state=state) for state in STATES}
    assert states == {"done": 5, "running": 0, "failed": 1 + FAILED, "blocked": 0, "missing": 1}
    assert sum(v or 0 for v in states.values()) == TRIALS
    assert value(content, "sweep_attempts_total", study=STUDY, status="done") == 5
    assert value(content, "sweep_attempts_total", study=STUDY, status="failed") == 2
    assert value(content, "sweep_attempts_total", study=STUDY, status="retried") == 1
    kinds = {k: value(content, "sweep_failures_total", study=STUDY, kind=k) for k in KINDS}
    assert {k: v for k, v in kinds.items() if v} == {"worker_lost": 1, "bug": 1, "diverged": 1}
    assert set(kinds.values()) == {0, 1}
    assert value(content, "sweep_run_up") == 0
    assert value(content, "sweep_run_eta_seconds") is None
    ended = BEGAN + timedelta(seconds=20)
    assert value(content, "sweep_last_record_timestamp_seconds") == ended.timestamp()
    assert value(content, "sweep_last_record_age_seconds") == 60
    on_disk = sum(p.stat().st_size for p in (Path(str(results.store)) / "trials").iterdir())
    assert value(content, "sweep_results_bytes", folder="trials") == on_disk > 0


def test_a_run_at_work_in_figures() -> None:
    now = BEGAN.timestamp() + 4.75
    content = exposed(Standing({}, LIVE, now_s=now))
    told = {
        "sweep_run_up": 1, "sweep_run_trials_planned": 100, "sweep_run_trials_done": 40,
        "sweep_run_epochs_done": 150, "sweep_run_epochs_planned": 600,
        "sweep_run_eta_seconds": 270.25, "sweep_run_elapsed_seconds": 90.5,
        "sweep_run_trials_per_minute": 27.5, "sweep_run_state_age_seconds": 5.0,
    }  # fmt: skip
    assert {name: value(content, name) for name in told} == told
    gpu, cpu = {"node": "one", "device": "GPU 0"}, {"node": "two", "device": "CPU"}
    assert value(content, "sweep_device_slots", **gpu) == 4
    assert value(content, "sweep_device_slots_busy", **gpu) == 3
    assert value(content, "sweep_device_utilization_ratio", **gpu) == 0.875
    assert value(content, "sweep_device_memory_used_bytes", **gpu) == 1e9
    assert value(content, "sweep_device_memory_bytes", **gpu) == 8e9
    assert value(content, "sweep_device_slots", **cpu) == 2
    assert value(content, "sweep_device_utilization_ratio", **cpu) is None


@pytest.mark.parametrize(
    "live",
    [
        {},
        {"eta_s": None, "devices": None, "running_trials": None, "at": None},
        {"eta_s": "soon", "devices": ["GPU", {}], "at": "yesterday", "running_trials": [3]},
        {"total": True, "devices": {"node": "x"}, "at": 5},
    ],
)
def test_what_a_run_of_another_version_says_is_no_error(live: dict[str, Any]) -> None:
    content = exposed(Standing({}, live))
    assert value(content, "sweep_run_up") == 1
    assert value(content, "sweep_run_eta_seconds") is None
    assert value(content, "sweep_run_trials_planned") is None


def test_trials_that_run_are_not_missing_as_well(results: Results) -> None:
    (missing,) = (k for k, v in results.statuses(STUDY).items() if v == "missing")
    with results.store.writing():
        results.store.write_live({**LIVE, "running_trials": [missing, "of another study"]})
        content = exposition(results)
    assert value(content, "sweep_trials", study=STUDY, state="running") == 1
    assert value(content, "sweep_trials", study=STUDY, state="missing") == 0


@given(
    st.dictionaries(
        st.sampled_from([f"t{n}" for n in range(12)]),
        st.sampled_from(["done", "failed", "blocked", "missing"]),
    ),
    st.sets(st.sampled_from([f"t{n}" for n in range(14)])),
)
def test_states_add_up(status: dict[str, str], running: set[str]) -> None:
    nothing = pa.table({"trial_id": pa.array([], pa.string()), "status": pa.array([], pa.string()),
                        "kind": pa.array([], pa.string())})  # fmt: skip
    found = counted(status, nothing, running)
    assert sum(found.trials.values()) == len(status)
    assert min(found.trials.values()) >= 0
    assert found.trials["done"] == list(status.values()).count("done")


def test_a_kind_of_a_later_version_is_counted_as_another() -> None:
    attempts = pa.Table.from_pylist(
        [{**attempt("t", 1, FailureKind.BUG).row(), "kind": "struck_by_lightning"}]
    ).select(["trial_id", "status", "kind"])
    found = counted({"t": "failed"}, attempts)
    assert found.failures == {**dict.fromkeys(KINDS, 0), OTHER: 1}


def test_there_is_a_bound_on_labels_and_nothing_is_lost() -> None:
    one = StudyCounts({"done": 2, "missing": 1}, {"done": 2}, {"bug": 1})
    studies = {f"s{n:03}": one for n in range(MOST_STUDIES + 50)}
    devices = [
        {"node": f"n{n}", "device": "GPU 0", "slots": 2, "busy": 1, "utilisation_percent": 50.0}
        for n in range(MOST_DEVICES + 10)
    ]
    content = exposed(Standing(studies, {"devices": devices}))
    found = parsed(content)
    done = {key: v for key, v in found.items()
            if key[0] == "sweep_trials" and ("state", "done") in key[1]}  # fmt: skip
    assert len(done) == MOST_STUDIES + 1
    assert sum(done.values()) == 2 * len(studies)
    assert value(content, "sweep_studies") == len(studies)
    assert value(content, "sweep_failures_total", study=OTHER, kind="bug") == 50
    slots = {key: v for key, v in found.items() if key[0] == "sweep_device_slots"}
    assert (len(slots), sum(slots.values())) == (MOST_DEVICES + 1, 2 * len(devices))
    ratios = [v for key, v in found.items() if key[0] == "sweep_device_utilization_ratio"]
    assert set(ratios) == {0.5}


def test_a_second_scrape_reads_only_what_is_new(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    real = store._opened

    def watched(on: Any, path: Any) -> Any:
        opened.append(path)
        return real(on, path)

    monkeypatch.setattr(store, "_opened", watched)
    metrics = Metrics(results)
    first = metrics.exposition()
    assert opened
    opened.clear()
    assert _plain(metrics.exposition()) == _plain(first)
    assert opened == []
    (missing,) = (k for k, v in results.statuses(STUDY).items() if v == "missing")
    opened.clear()
    new = results.store.trials.publish(
        [{"trial_id": missing, "status": "done", "finished_at": BEGAN + timedelta(hours=1)}]
    )
    after = metrics.exposition()
    assert opened == [new]
    assert value(after, "sweep_trials", study=STUDY, state="done") == 6
    assert value(after, "sweep_trials", study=STUDY, state="missing") == 0
    newest = (BEGAN + timedelta(hours=1)).timestamp()
    assert value(after, "sweep_last_record_timestamp_seconds") == newest
    # A fold puts the same rows into another file.
    results.store.trials.fold()
    assert _plain(metrics.exposition()) == _plain(after)


def _plain(content: bytes) -> dict[Any, float]:
    """Without what changes by itself."""
    gone = ("sweep_last_record_age_seconds", "sweep_results_bytes")
    return {key: v for key, v in parsed(content).items() if key[0] not in gone}


def test_a_study_that_is_asked_anew_is_counted_anew(results: Results) -> None:
    metrics = Metrics(results)
    metrics.exposition()
    cells = results.asked_cells(STUDY)
    results.store.put_cells(STUDY, cells.slice(0, 3), results.study_text(STUDY))
    content = metrics.exposition()
    states = [value(content, "sweep_trials", study=STUDY, state=state) or 0 for state in STATES]
    assert sum(states) == len(set(cells["trial_id"].to_pylist()[:3]))


def test_the_command_prints_or_writes_a_file(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def called(*more: str) -> str:
        monkeypatch.setattr(
            sys, "argv", ["sweep", "metrics", "--results", str(results.store), *more]
        )
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    printed = called()
    assert value(printed.encode(), "sweep_trials", study=STUDY, state="done") == 5
    assert called("--output", str(tmp_path / "sweep.prom")) == ""
    written = (tmp_path / "sweep.prom").read_bytes()
    assert _plain(written) == _plain(printed.encode())
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["sweep.prom"]

"""What the API answers, over results that are made up."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.expand import Cell
from sweep.records import Attempt, FailureKind, trial_row
from sweep.store import Store
from sweep.web.record import MAX_POINTS, thinned
from sweep.web.record import trial as whole
from sweep.web.watch import Watch
from tests.sweep.tiny import result
from tests.sweep.web.serving import (
    AT,
    FakeLauncher,
    Served,
    ask,
    fail,
    figure,
    finish,
    served,
    settings_of,
    study,
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All but one student of a study is done; that one failed, another was tried twice."""
    folder = tmp_path_factory.mktemp("web") / "results"
    store = Store(folder)
    asked = ask(store, study())
    last = [cell for cell in asked if cell.role == "student"][-1]
    others = [cell for cell in asked if cell is not last]
    finish(store, others, figure)
    fail(store, last, "out of paper: 17 sheets of 3")
    fail(store, others[-1], "out of paper: 4 sheets of 5", again=True)
    fail(store, others[-2], "lost", again=True, kind=FailureKind.WORKER_LOST)
    return folder


@pytest.fixture(scope="module")
def server(filled: Path) -> Iterator[Served]:
    with served(settings_of(filled), FakeLauncher()) as found:
        yield found


def test_the_list_has_all_studies(server: Served) -> None:
    lines = {line["name"]: line for line in server.get("/api/studies")["studies"]}
    own, other = lines["grid"], lines["thesis"]
    assert (own["source"], own["title"], own["running"]) == ("results", "A grid", False)
    assert own["counts"] == {
        "total": 18, "done": 17, "failed": 1, "blocked": 0, "missing": 0, "running": 0,
    }  # fmt: skip
    assert (other["source"], other["cells"], other["counts"]) == ("builtin", 6255, None)


def test_a_study_says_what_it_is(server: Served) -> None:
    found = server.get("/api/studies/grid")
    assert (found["question"], found["text_format"]) == ("Does it fill?", "json")
    assert json.loads(found["text"])["seeds"] == [1, 2, 3]
    assert found["varying"] == ["role", "alpha", "switch_epoch"]
    assert found["metric"] == {"digits": "accuracy"}
    assert found["higher_is_better"] == {"digits": True}
    thesis = server.get("/api/studies/thesis")
    assert thesis["text_format"] == "toml"
    assert 'name = "thesis"' in thesis["text"]
    assert thesis["overview"] is None
    assert len(thesis["datasets"]) == 3


def test_what_a_page_polls_is_small(server: Served) -> None:
    found = server.get("/api/studies/grid/state")
    assert found["counts"]["done"] == 17
    assert found["failed_attempts"] == {"bug": 2, "worker_lost": 1}
    assert (found["active"], found["live"], found["report"]["exists"]) == (False, None, False)
    assert len(json.dumps(found)) < 1500


def test_a_heatmap_is_laid_out_by_alpha_and_switch(server: Served) -> None:
    found = server.get("/api/studies/grid/heatmap")
    assert found["x"] == {"word": "switch_epoch", "title": "switch epoch", "values": [1, 2]}
    assert found["y"]["values"] == [0.1, 0.6]
    at = {(cell["x"], cell["y"]): cell for cell in found["cells"]}
    assert at[0, 0]["mean"] == pytest.approx(82.2)
    assert at[0, 0]["delta"] == pytest.approx(2.0)
    assert (at[1, 1]["done"], at[1, 1]["failed"], at[1, 1]["asked"]) == (2, 1, 3)
    assert at[1, 1]["mean"] == pytest.approx((88.1 + 88.2) / 2)
    assert found["baseline"]["value"]["mean"] == pytest.approx(80.2)
    assert found["midpoint"] == pytest.approx(80.2)
    assert len(found["panels"]) == 1
    turned = server.get("/api/studies/grid/heatmap?x=alpha&y=switch_epoch")
    assert turned["x"]["values"] == [0.1, 0.6]
    assert server.get("/api/studies/grid/heatmap?x=alpha&y=alpha", 400)["detail"]
    assert "alpha" in server.get("/api/studies/grid/heatmap?x=colour", 400)["detail"]
    assert server.get("/api/studies/grid/heatmap?panel=0000", 404)


def test_panels_are_what_is_on_no_axis(tmp_path: Path) -> None:
    several = study(
        datasets={"digits": {"student": "medium"}, "california_housing": {}},
        **{"grid.teacher": ["small", "large"]},
    )
    ask(Store(tmp_path), several)
    with served(settings_of(tmp_path), FakeLauncher()) as server:
        found = server.get("/api/studies/grid/heatmap")
        labels = [panel["label"] for panel in found["panels"]]
        assert labels == [
            "california_housing, teacher small", "california_housing, teacher large",
            "digits, teacher small", "digits, teacher large",
        ]  # fmt: skip
        other = server.get(f"/api/studies/grid/heatmap?panel={found['panels'][3]['id']}")
        assert {cell["asked"] for cell in other["cells"]} == {3}
        assert len(other["cells"]) == 4
        assert other["midpoint"] is None


def test_cells_are_sorted_filtered_and_cut_into_pages(server: Served) -> None:
    found = server.get("/api/studies/grid/cells?sort=mean&order=desc&limit=2")
    assert found["total"] == 6
    assert [round(cell["value"]["mean"], 2) for cell in found["cells"]] == [88.15, 87.2]
    rest = server.get("/api/studies/grid/cells?sort=mean&order=desc&limit=2&offset=4")
    assert [cell["words"]["role"] for cell in rest["cells"]] == ["baseline", "teacher"]
    some = server.get("/api/studies/grid/cells", params={"filter": "role=student alpha<0.5"})
    assert {cell["words"]["alpha"] for cell in some["cells"]} == {0.1}
    assert some["total"] == 2
    assert "unknown key" in server.get("/api/studies/grid/cells?filter=colour%3D1", 400)["detail"]
    for narrower in ("seed=1", "alpha=0.1 seed<3", "trial_id=abc"):  # means are of all seeds
        refused = server.get("/api/studies/grid/cells", 400, params={"filter": narrower})
        assert "filter: " in refused["detail"]
    assert "must be one of" in server.get("/api/studies/grid/cells?sort=colour", 400)["detail"]


def test_trials_of_a_cell(server: Served) -> None:
    cell = next(
        c for c in server.get("/api/studies/grid/heatmap")["cells"] if (c["x"], c["y"]) == (1, 1)
    )
    found = server.get(f"/api/studies/grid/trials?cell={cell['key']}&sort=seed&order=desc")
    assert [trial["seed"] for trial in found["trials"]] == [3, 2, 1]
    assert [trial["status"] for trial in found["trials"]] == ["failed", "done", "done"]
    failed, tried, _ = found["trials"]
    assert (failed["failure"], failed["test_metric"], failed["attempts"]) == ("bug", None, 1)
    assert (tried["delta"], tried["attempts"]) == (pytest.approx(8.0), 1)
    by_status = server.get("/api/studies/grid/trials?status=failed")
    assert [trial["trial_id"] for trial in by_status["trials"]] == [failed["trial_id"]]
    best = server.get("/api/studies/grid/trials?sort=test_metric&order=desc&limit=1")
    assert best["trials"][0]["test_metric"] == pytest.approx(88.2)
    last = server.get("/api/studies/grid/trials?sort=test_metric&order=asc&limit=500")
    assert last["trials"][-1]["status"] == "failed"
    one = server.get("/api/studies/grid/trials", params={"filter": "seed=2 role=baseline"})
    assert [trial["test_metric"] for trial in one["trials"]] == [pytest.approx(80.2)]
    assert server.get("/api/studies/grid/trials?cell=0123456789abcdef", 404)
    assert server.get("/api/studies/grid/trials?status=odd", 400)


def test_a_trial_whole(server: Served) -> None:
    line = server.get("/api/studies/grid/trials?sort=test_metric&order=desc&limit=1")["trials"][0]
    found = server.get(f"/api/trials/{line['trial_id']}")
    assert found["status"] == "done"
    assert found["record"]["test_metric"] == pytest.approx(88.2)
    assert "train_loss" not in found["record"]
    (curve,) = found["curves"]
    assert (curve["name"], curve["x"], curve["y"]) == ("train_loss", [1, 2], [1.0, 0.5])
    assert found["robustness"] == [
        {"split": "test", "attack": "fgsm", "epsilon": 0.05, "value": 30.0}
    ]
    (use,) = found["uses"]
    assert (use["study"], use["cell"]) == ("grid", line["cell"])
    baseline = server.get(f"/api/trials/{use['baseline_trial']}")
    assert baseline["record"]["role"] == "baseline"
    assert baseline["record"]["seed"] == found["record"]["seed"]


def test_a_failed_trial_has_its_traceback(server: Served) -> None:
    line = server.get("/api/studies/grid/trials?status=failed")["trials"][0]
    found = server.get(f"/api/trials/{line['trial_id']}")
    assert (found["status"], found["record"], found["curves"]) == ("failed", {}, [])
    (attempt,) = found["attempts"]
    assert attempt["kind"] == "bug"
    assert attempt["traceback"].endswith("RuntimeError: out of paper: 17 sheets of 3")
    assert server.get("/api/trials/0123456789abcdef01234567", 404)["detail"]


def test_failures_that_differ_in_numbers_are_one_group(server: Served) -> None:
    found = server.get("/api/studies/grid/failures")
    assert found["kinds"] == {"bug": 2, "worker_lost": 1}
    paper, lost = found["groups"]
    assert (paper["attempts"], paper["retried"], paper["trials"], paper["still_failed"]) == (
        2, 1, 2, 1,
    )  # fmt: skip
    failed = server.get("/api/studies/grid/trials?status=failed")["trials"][0]["trial_id"]
    assert paper["trial_ids"][0] == failed
    assert (lost["kind"], lost["still_failed"], lost["nodes"]) == ("worker_lost", 0, ["node-1"])
    assert "made up" in lost["traceback"]


def test_cells_are_compared_by_seed(server: Served) -> None:
    at = {(c["x"], c["y"]): c["key"] for c in server.get("/api/studies/grid/heatmap")["cells"]}
    keys = [at[0, 0], at[1, 0], at[1, 1]]
    found = server.get("/api/studies/grid/compare", params={"cell": keys})
    assert [line["seeds"] for line in found["cells"]] == [[1, 2, 3]] * 3
    assert found["cells"][2]["values"][2] is None
    by_pair = {(d["first"], d["second"]): d for d in found["differences"]}
    assert len(by_pair) == 3
    one = by_pair[keys[0], keys[1]]
    assert (one["n"], one["difference"], one["unpaired"]) == (3, pytest.approx(-1.0), 0)
    assert by_pair[keys[0], keys[2]]["unpaired"] == 1
    assert by_pair[keys[0], keys[2]]["difference"] == pytest.approx(-6.0)
    assert server.get("/api/studies/grid/compare", 400, params={"cell": keys[:1] * 2})
    assert server.get("/api/studies/grid/compare", 404, params={"cell": [keys[0], "0" * 16]})


def test_what_is_known_is_not_sent_again(server: Served) -> None:
    first = server.client.get("/api/studies/grid/heatmap", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in first.headers
    tag = first.headers["ETag"]
    again = server.client.get("/api/studies/grid/heatmap", headers={"If-None-Match": tag,
                              "Accept-Encoding": "identity"})  # fmt: skip
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    packed = server.client.get("/api/studies/grid/heatmap", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["ETag"] != tag
    assert packed.json() == first.json()
    other = server.client.get("/api/studies/grid/heatmap", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


def test_new_records_are_seen(tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    with served(settings_of(tmp_path / "r"), FakeLauncher()) as server:
        assert server.get("/api/studies/grid/state", 404)
        asked = ask(store, study())
        server.look()
        before = server.get("/api/studies/grid/state")
        assert before["counts"]["missing"] == 18
        finish(store, asked, figure)
        server.look()
        after = server.get("/api/studies/grid/state")
        assert after["counts"]["done"] == 18
        assert after["version"] > before["version"]
        assert server.get("/api/studies/grid/heatmap")["cells"][0]["mean"] is not None


def test_a_trial_is_found_wherever_its_record_is_folded_to(tmp_path: Path) -> None:
    store = Store(tmp_path)
    asked = ask(store, study())
    finish(store, asked[:9], figure)
    finish(store, asked[9:], figure)
    with served(settings_of(tmp_path), FakeLauncher()) as server:
        ids = [cell.trial_id for cell in asked]
        seeds = [server.get(f"/api/trials/{one}")["record"]["seed"] for one in ids]
        with store.writing():
            pass  # folds at its end
        server.look()
        assert not list((tmp_path / "incoming").iterdir())
        assert [server.get(f"/api/trials/{one}")["record"]["seed"] for one in ids] == seeds
        assert seeds == [cell.seed for cell in asked]


def test_a_record_that_was_folded_since_the_last_look_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    asked = ask(store, study())
    for cell in asked[:3]:
        finish(store, [cell], figure)
    moment = Watch(store).moment
    with store.writing():
        pass
    for cell in asked[:3]:
        assert whole(store, moment, cell.trial_id).record["seed"] == cell.seed


def test_a_done_record_counts_beside_a_diverged_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell = ask(store, study())[0]
    bad = result(status="diverged", test_metric=None, diverged_epoch=1, finished_at=AT)
    store.trials.publish([trial_row(cell, bad)])
    with served(settings_of(tmp_path), FakeLauncher()) as server:
        assert server.get(f"/api/trials/{cell.trial_id}")["status"] == "failed"
        finish(store, [cell], figure)
        server.look()
        found = server.get(f"/api/trials/{cell.trial_id}")
        assert (found["status"], found["record"]["test_metric"]) == ("done", 70.0)


def test_what_the_active_run_says_is_passed_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    asked = ask(store, study())
    device = {"node": "n", "device": "cuda:0", "slots": 4, "busy": 3}
    said = {
        "study": "grid", "eta_s": 12.5, "trials_per_minute": 3.0, "running": ["a student"],
        "running_trials": [asked[-1].trial_id], "devices": [device], "at": "now", "epochs_done": 3,
    }  # fmt: skip
    with served(settings_of(tmp_path), FakeLauncher()) as server, store.writing():
        store.write_live(said)
        server.look()
        found = server.get("/api/studies/grid/state")
        assert found["active"] is True
        assert found["counts"]["running"] == 1
        assert {key: found["live"][key] for key in said} == said
        (line,) = (s for s in server.get("/api/studies")["studies"] if s["name"] == "grid")
        assert (line["running"], line["eta_s"], line["trials_per_minute"]) == (True, 12.5, 3.0)
        trials = server.get("/api/studies/grid/trials?status=running")["trials"]
        assert [trial["trial_id"] for trial in trials] == [asked[-1].trial_id]
        assert server.get("/api/studies/thesis/state")["active"] is False


def test_points_measured_later_are_shown(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell = ask(store, study())[0]
    finish(store, [cell], figure)
    later = {"trial_id": cell.trial_id, "attack": "pgd", "epsilon": 0.1, "value": 12.5,
             "evaluation_id": "e", "split": "test", "finished_at": AT}  # fmt: skip
    store.evaluations.publish([later])
    with served(settings_of(tmp_path), FakeLauncher()) as server:
        points = server.get(f"/api/trials/{cell.trial_id}")["robustness"]
    assert [(p["attack"], p["value"]) for p in points] == [("fgsm", 30.0), ("pgd", 12.5)]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    finish(store, ask(store, study()), figure)
    (path,) = store.trials.files()
    Path(path).write_bytes(b"not what its name says")
    with served(settings_of(tmp_path), FakeLauncher()) as server:
        found = server.get("/api/studies/grid/state")
        assert found["damaged"] == [path.name]
        assert found["counts"]["done"] == 0
        server.look()
        assert server.get("/api/studies/grid/state")["version"] == found["version"]
        finish(store, [ask(store, study())[0]], figure)
        server.look()
        assert server.get("/api/studies/grid/state")["counts"]["done"] == 1


def test_a_run_of_another_version_may_say_other_things(tmp_path: Path) -> None:
    store = Store(tmp_path)
    asked = ask(store, study())
    with served(settings_of(tmp_path), FakeLauncher()) as server, store.writing():
        for said in (
            {}, {"study": 3}, {"running_trials": {"a": 1}, "study": "grid"}, {"study": "grid", "eta_s": "soon"},
            {"study": "grid", "running": 3, "devices": "none", "running_trials": [1, None]},
        ):  # fmt: skip
            store.write_live(said)
            server.look()
            server.get("/api/studies/grid/state")
            server.get("/api/studies")
        store.write_live({"running_trials": [asked[0].trial_id]})  # of a version before this one
        server.look()
        assert server.get("/api/studies/grid/state")["active"] is True


def test_a_curve_is_thinned_without_losing_its_peaks() -> None:
    values = [float(position % 7) for position in range(50_000)]
    values[31_234], values[17] = 1e6, -1e6
    x, y = thinned(range(50_000), values)
    assert len(x) == len(y) <= MAX_POINTS
    assert {max(values), min(values)} <= set(y)
    assert (x[0], x[-1]) == (0, 49_999)
    assert x == sorted(x)
    assert [values[int(place)] for place in x] == y
    assert thinned([1, 2], [None, 1.0]) == ([1, 2], [None, 1.0])


def test_the_number_of_attempts_is_that_of_the_trial(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell: Cell = ask(store, study())[-1]
    for number in (1, 2, 3):
        fail(store, cell, f"try {number}", number, again=number < 3)
    done = Attempt("other", "ffff", "s", "done", None, None, None, "n", "w", AT, AT, 1.0)
    store.attempts.publish([done.row()])
    with served(settings_of(tmp_path), FakeLauncher()) as server:
        (line,) = server.get("/api/studies/grid/trials?status=failed")["trials"]
        assert line["attempts"] == 3
        attempts = server.get(f"/api/trials/{cell.trial_id}")["attempts"]
        assert [attempt["message"] for attempt in attempts] == ["try 1", "try 2", "try 3"]


def test_openapi_describes_every_answer(server: Served) -> None:
    described = server.get("/openapi.json")
    assert len(described["paths"]) >= 20
    for path, methods in described["paths"].items():
        for method in methods.values():
            kind = next(code for code in method["responses"] if code.startswith("2"))
            content = method["responses"][kind]["content"]
            assert path == "/metrics" or "$ref" in content["application/json"]["schema"], path
    paths = described["paths"]
    assert {"get", "delete"} <= set(paths["/api/studies/{name}"])
    for what in ("heatmap", "cells", "compare"):
        taken = [one["name"] for one in paths[f"/api/studies/{{name}}/{what}"]["get"]["parameters"]]
        assert "measure" in taken, what


def test_figures_for_prometheus(server: Served, tmp_path: Path) -> None:
    answer = server.client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert 'sweep_trials{state="done",study="grid"} 17.0' in answer.text
    assert 'sweep_failures_total{kind="bug",study="grid"} 2.0' in answer.text
    with served(settings_of(tmp_path / "none"), FakeLauncher()) as other:
        assert "sweep_studies 0.0" in other.client.get("/metrics").text

"""Studies that are sent, and runs that are started and stopped, with a launcher that only notes it."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.importing import import_table
from sweep.store import Store
from sweep.study import Study, documented_keys, load_study
from tests.sweep.test_importing import ROWS, parquet
from tests.sweep.web.serving import (
    STUDY,
    FakeLauncher,
    Served,
    ask,
    figure,
    finish,
    served,
    settings_of,
    study,
)

TEXT = """
name = "sent"
title = "A study that was sent"
seeds = [1, 2]

[grid]
teacher = ["small"]
alpha = [0.5]
switch_epoch = [1]

[recipe]
epochs = 2
batch_size = 32

[teacher]
select_on = "test"

[datasets.digits]
student = "medium"
"""
TOML = {"Content-Type": "application/toml"}


@pytest.fixture
def launcher() -> FakeLauncher:
    return FakeLauncher()


@pytest.fixture
def server(tmp_path: Path, launcher: FakeLauncher) -> Iterator[Served]:
    with served(settings_of(tmp_path / "r"), launcher) as found:
        yield found


def sent(server: Served, text: str = TEXT, status: int = 201) -> dict[str, object]:
    answer = server.client.post("/api/studies", content=text, headers=TOML)
    assert answer.status_code == status, answer.text
    found: dict[str, object] = answer.json()
    return found


def names(server: Served) -> list[str]:
    return [line["name"] for line in server.get("/api/studies")["studies"]]


def test_a_study_is_sent_planned_started_and_stopped(
    server: Served, launcher: FakeLauncher, tmp_path: Path
) -> None:
    # 2 teachers, 2 baselines, 2 students.
    assert sent(server) == {
        "name": "sent", "title": "A study that was sent", "cells": 6, "replaced": False,
    }  # fmt: skip
    path = tmp_path / "r" / ".server" / "studies" / "sent.toml"
    assert path.read_text() == TEXT
    detail = server.get("/api/studies/sent")
    assert (detail["source"], detail["text"], detail["overview"]) == ("uploaded", TEXT, None)
    planned = server.post("/api/plan", {"study": "sent"})["overview"]
    assert (planned["trials"], planned["epochs_naive"]) == (6, 12)
    assert server.get("/api/studies/sent")["overview"] == planned
    body = {"settings": ["recipe.epochs=3"], "only": ["role=baseline"], "seeds": 1, "workers": 2}
    started = server.post("/api/studies/sent/launch", body, 202)["job"]
    (order,) = launcher.orders
    assert (order.action, order.study, order.source) == ("run", "sent", str(path))
    assert order.options == (
        "--set=recipe.epochs=3", "--only=role=baseline", "--seeds=1", "--workers=2",
    )  # fmt: skip
    assert server.get("/api/studies/sent/state")["job"]["status"] == "running"
    busy = server.post("/api/studies/thesis/launch", {}, 409)
    assert "a run of study 'sent' is at work here" in busy["detail"]
    assert "stop it first" in str(sent(server, status=409)["detail"])
    stopped = server.post("/api/studies/sent/stop", {}, 202)["job"]
    assert (stopped["id"], stopped["status"]) == (started["id"], "stopping")
    launcher.end(started["id"], 130)
    server.look()
    server.post("/api/studies/sent/stop", {}, 409)
    server.post("/api/studies/sent/retry", {"kind": ["bug", "timed_out"]}, 202)
    assert launcher.orders[-1].action == "retry"
    assert launcher.orders[-1].options == ("--kind=bug", "--kind=timed_out")
    jobs = server.get("/api/jobs")["jobs"]
    assert [job["command"] for job in jobs] == [
        "sweep retry sent --kind=bug --kind=timed_out",
        "sweep run sent --set=recipe.epochs=3 --only=role=baseline --seeds=1 --workers=2",
    ]
    log = server.get(f"/api/jobs/{jobs[0]['id']}/log?offset=4")
    assert (log["text"], log["next_offset"]) == ("two\n", 8)


def test_what_the_command_does_not_take_is_refused_before_it_is_started(
    server: Served, launcher: FakeLauncher
) -> None:
    refused = server.post("/api/studies/thesis/retry", {"smoke": True}, 422)
    assert "smoke" in refused["detail"]
    assert "kind" in server.post("/api/studies/thesis/launch", {"kind": ["bug"]}, 422)["detail"]
    assert launcher.orders == []
    server.post("/api/studies/thesis/launch", {"smoke": True}, 202)
    assert launcher.orders[-1].options == ("--smoke",)


def test_a_study_is_replaced_by_one_of_its_name(server: Served) -> None:
    sent(server)
    again = sent(server, TEXT.replace("0.5", "0.25"))
    assert again["replaced"] is True
    assert "0.25" in server.get("/api/studies/sent")["text"]
    body = {"text": TEXT}
    assert server.post("/api/studies", body, 201)["replaced"] is True


def test_a_study_is_deleted(server: Served, tmp_path: Path) -> None:
    sent(server)
    path = tmp_path / "r" / ".server" / "studies" / "sent.toml"
    assert server.get("/api/studies/sent")["source"] == "uploaded"
    assert "sent" in names(server)
    assert server.delete("/api/studies/sent") == {"name": "sent", "has_results": False}
    assert not path.exists()
    assert "sent" not in names(server)
    for way in ("", "/state", "/heatmap"):
        server.get(f"/api/studies/sent{way}", 404)
    server.post("/api/studies/sent/launch", {}, 404)
    server.delete("/api/studies/sent", 404)
    # One of that name may come again, also of the same length.
    again = sent(server, TEXT.replace("0.5", "0.7"))
    assert again["replaced"] is False
    assert "0.7" in server.get("/api/studies/sent")["text"]


def test_who_knows_the_token_deletes(tmp_path: Path) -> None:
    """A program by the header, the page by its cookie and where it came from."""
    token = "a-token-of-sufficient-length"
    with served(settings_of(tmp_path / "r", token=token), FakeLauncher()) as server:
        by_header = {"Authorization": f"Bearer {token}"}
        own = {"Origin": f"http://127.0.0.1:{server.port}", "Sec-Fetch-Site": "same-origin"}
        for told in (by_header, own):
            posted = server.client.post("/api/studies", content=TEXT, headers=TOML | by_header)
            assert posted.status_code == 201
            server.post("/api/login", {"token": token})
            if told is by_header:
                server.client.cookies.clear()
            else:
                alone = server.client.delete("/api/studies/sent")
                assert alone.status_code == 403  # a cookie alone
            assert server.client.delete("/api/studies/sent", headers=told).status_code == 200


def test_results_of_a_deleted_study_stay(server: Served, tmp_path: Path) -> None:
    sent(server)
    store = Store(tmp_path / "r")
    of = load_study(tomllib.loads(TEXT))
    finish(store, ask(store, of), figure)
    server.look()
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*.parquet")}
    assert len(before) == 2
    about = server.get("/api/studies/sent")
    assert (about["source"], about["state"]["counts"]["done"]) == ("uploaded", 6)
    assert server.delete("/api/studies/sent") == {"name": "sent", "has_results": True}
    about = server.get("/api/studies/sent")
    assert (about["source"], about["text_format"]) == ("results", "json")
    assert about["state"]["counts"]["done"] == 6
    assert "sent" in names(server)
    assert {path: path.read_bytes() for path in (tmp_path / "r").rglob("*.parquet")} == before
    assert "not uploaded" in server.delete("/api/studies/sent", 409)["detail"]


def test_only_what_was_uploaded_and_is_not_at_work_is_deleted(
    server: Served, launcher: FakeLauncher, tmp_path: Path
) -> None:
    server.delete("/api/studies/nothing", 404)
    assert "built in" in server.delete("/api/studies/thesis", 409)["detail"]
    import_table(parquet(tmp_path, ROWS), "old", tmp_path / "r")
    server.look()
    assert "not uploaded" in server.delete("/api/studies/old", 409)["detail"]
    sent(server)
    job = server.post("/api/studies/sent/launch", {}, 202)["job"]
    assert "stop it first" in server.delete("/api/studies/sent", 409)["detail"]
    launcher.end(job["id"])  # which this server has not seen yet
    store = Store(tmp_path / "r")
    with store.writing():  # a run that was not started here
        store.write_live({"study": "sent", "at": "now"})
        assert "stop it first" in server.delete("/api/studies/sent", 409)["detail"]
        store.write_live({"study": "other", "at": "now"})
        server.delete("/api/studies/sent")


def test_two_servers_see_what_the_other_deletes(
    server: Served, launcher: FakeLauncher, tmp_path: Path
) -> None:
    with served(settings_of(tmp_path / "r"), FakeLauncher()) as other:
        sent(server)
        assert other.get("/api/studies/sent")["text"] == TEXT
        sent(other, TEXT.replace("0.5", "0.25"))
        assert "0.25" in server.get("/api/studies/sent")["text"]
        server.delete("/api/studies/sent")
        other.get("/api/studies/sent", 404)
        assert "sent" not in names(other)
        other.delete("/api/studies/sent", 404)
        assert other.service.web.studies._uploaded == {}


def test_a_study_that_goes_while_it_is_asked_about(
    server: Served, launcher: FakeLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server deletes it between two looks of this one at its file."""
    sent(server)
    uploads = server.service.web.uploads
    listed = uploads.names

    def listed_then_deleted() -> list[str]:
        found = listed()
        uploads.remove("sent")
        return found

    monkeypatch.setattr(uploads, "names", listed_then_deleted)
    assert "sent" not in names(server)
    monkeypatch.undo()
    sent(server)
    validated = uploads.load

    def validated_then_replaced(*given: Any) -> Study:
        found = validated(*given)
        uploads.keep(found, TEXT.replace("0.5", "0.25"))
        return found

    monkeypatch.setattr(uploads, "load", validated_then_replaced)
    refused = server.post("/api/studies/sent/launch", {}, 409)
    assert "changed meanwhile" in refused["detail"]
    assert launcher.orders == []


def test_what_is_wrong_is_said_as_the_command_line_says_it(server: Served, tmp_path: Path) -> None:
    wrong = TEXT.replace("epochs = 2", "epochs = 0").replace("[recipe]", "[recipe]\ncolour = 1")
    path = tmp_path / "wrong.toml"
    path.write_text(wrong)
    with pytest.raises(ValueError, match="colour") as told:
        load_study(path)
    assert sent(server, wrong, 400)["detail"] == str(told.value)
    assert "built-in" in str(sent(server, TEXT.replace('"sent"', '"thesis"'), 409)["detail"])
    unknown = server.post("/api/studies/thesis/launch", {"settings": ["recipe.epoch=1"]}, 400)
    assert "did you mean epochs" in unknown["detail"]
    filtered = server.post("/api/studies/thesis/launch", {"only": ["colour=1"]}, 400)
    assert "unknown key" in filtered["detail"]
    nothing = server.post("/api/plan", {"study": "quickstart", "only": ["teacher=huge"]}, 400)
    assert "nothing in the study matches" in nothing["detail"]


def test_files_are_read_in_one_folder_alone(tmp_path: Path, launcher: FakeLauncher) -> None:
    allowed = tmp_path / "weights"
    allowed.mkdir()
    (allowed / "x.safetensors").write_bytes(b"x")
    (tmp_path / "secret.safetensors").write_bytes(b"x")
    (allowed / "link.safetensors").symlink_to(tmp_path / "secret.safetensors")

    def named(path: object) -> str:
        return TEXT.replace("batch_size = 32", f"batch_size = 32\npretrained = '{path}'")

    settings = settings_of(tmp_path / "r", uploads_may_read=allowed)
    with served(settings, launcher) as server:
        sent(server, named(allowed / "x.safetensors"))
        for path in (
            tmp_path / "secret.safetensors", allowed / ".." / "secret.safetensors",
            allowed / "link.safetensors", "x.safetensors", "weights/x.safetensors",
        ):  # fmt: skip
            assert "must not be named" in str(sent(server, named(path), 400)["detail"]), path
        # Nothing tells whether there is such a file.
        absent = sent(server, named(tmp_path / "absent.safetensors"), 400)
        there = sent(server, named(tmp_path / "secret.safetensors"), 400)
        assert absent["detail"] == there["detail"]


def test_a_study_known_by_its_results_is_run_as_they_keep_it(
    server: Served, launcher: FakeLauncher, tmp_path: Path
) -> None:
    store = Store(tmp_path / "r")
    finish(store, ask(store, study())[:5], figure)
    server.look()
    server.post("/api/studies/grid/retry", {}, 202)
    path = Path(launcher.orders[0].source)
    assert load_study(path) == load_study(STUDY)
    assert json.loads(path.read_text())["name"] == "grid"
    assert server.post("/api/plan", {"study": "grid"})["overview"]["done"] == 2  # 3 want weights


def test_imported_results_are_not_run(
    server: Served, launcher: FakeLauncher, tmp_path: Path
) -> None:
    import_table(parquet(tmp_path, ROWS), "old", tmp_path / "r", title="Old ones")
    server.look()
    found = server.get("/api/studies/old")
    assert (found["source"], found["can_launch"], found["title"]) == ("imported", False, "Old ones")
    assert found["imported"].startswith("imported from ")
    for action in ("launch", "retry"):
        assert "not run" in server.post(f"/api/studies/old/{action}", {}, 409)["detail"]
    assert "imported" in str(sent(server, TEXT.replace('"sent"', '"old"'), 409)["detail"])
    assert launcher.orders == []
    assert server.get("/api/studies/old/heatmap")["cells"]


def test_a_run_started_elsewhere_is_in_the_way(
    server: Served, launcher: FakeLauncher, tmp_path: Path
) -> None:
    store = Store(tmp_path / "r")
    with store.writing():
        store.write_live({"study": "other", "at": "now"})
        server.look()
        said = server.post("/api/studies/thesis/launch", {}, 409)["detail"]
        assert said == "a run of study 'other' that was not started here is at work"
        refused = server.post("/api/studies/thesis/stop", {}, 409)["detail"]
        assert refused == "no run of study 'thesis' was started here and is at work"
    server.post("/api/studies/thesis/launch", {}, 202)
    assert len(launcher.orders) == 1


def test_a_report_is_made_and_reaches_nothing(
    server: Served, launcher: FakeLauncher, tmp_path: Path
) -> None:
    server.post("/api/studies/quickstart/report", {}, 404)
    store = Store(tmp_path / "r")
    ask(store, study())
    server.look()
    assert server.get("/reports/grid", 404)
    job = server.post("/api/studies/grid/report", {}, 202)["job"]
    assert launcher.orders[0].action == "report"
    server.post("/api/studies/grid/report", {}, 409)
    store.write_report("grid", b"<script>fetch('/api/studies')</script>")
    launcher.end(job["id"])
    server.look()
    state = server.get("/api/studies/grid/state")["report"]
    assert (state["exists"], state["bytes"], state["job"]["status"]) == (True, 38, "done")
    assert state["made_at"] is not None
    page = server.client.get(state["url"])
    assert page.content == b"<script>fetch('/api/studies')</script>"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts ")
    assert "allow-same-origin" not in policy
    assert "connect-src 'none'" in policy
    store.write_report("grid", b"<p>another</p>")
    server.look()
    assert server.client.get(state["url"]).content == b"<p>another</p>"


def test_a_query_is_answered(server: Served, tmp_path: Path) -> None:
    store = Store(tmp_path / "r")
    finish(store, ask(store, study()), figure)
    found = server.post(
        "/api/query",
        {"sql": "SELECT role, count(*) AS n, max(test_metric) AS best, min(finished_at) AS at "
                "FROM trials GROUP BY role ORDER BY role"},
    )  # fmt: skip
    assert [column["name"] for column in found["columns"]] == ["role", "n", "best", "at"]
    assert [row[:2] for row in found["rows"]] == [["baseline", 3], ["student", 12], ["teacher", 3]]
    assert found["rows"][1][2] == pytest.approx(88.3)
    assert found["rows"][0][3].startswith("2026-01-01T00:00:00")
    many = server.post("/api/query", {"sql": "SELECT * FROM trials", "max_rows": 10}, 400)
    assert "more than 10 rows" in many["detail"]
    odd = "SELECT 'nan'::DOUBLE AS x, DATE '2026-01-02' AS d, [1, 2] AS l, {'a': NULL} AS s, encode('ä') AS b"
    assert server.post("/api/query", {"sql": odd})["rows"] == [
        [None, "2026-01-02", [1, 2], {"a": None}, "c3a4"]
    ]


def test_an_answer_that_is_too_large_is_not_written_out_first(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty million numbers kept the server busy for half a minute, in 1.6 GB."""

    def never(value: object) -> object:
        raise AssertionError("it was turned into objects")

    ask(Store(tmp_path / "r"), study())
    monkeypatch.setattr("sweep.web.questions.plain", never)
    refused = server.post("/api/query", {"sql": "select range(5000000) as a"}, 400)
    assert refused["detail"] == "the answer is larger than 8 MB"


def test_no_other_key_of_a_study_is_about_files() -> None:
    """Who adds one that names a file has to tell `sweep.web.uploads` of it."""
    about = {
        key for key, _, meaning in documented_keys() if re.search(r"\bfile|path|fold", meaning)
    }
    assert about == {"name", "recipe.pretrained"}  # the name is that of a file in the results

"""`sweep serve` as a process: how it is started, who is let in, and a study from beginning to end."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sweep.cli.serve import _token
from sweep.results import Results
from sweep.web.settings import Settings, is_loopback
from tests.sweep.raylets import raylets
from tests.sweep.test_cli import STUDY
from tests.sweep.web.serving import FakeLauncher, served, settings_of

TOKEN = "correct-horse-battery-staple"
WAIT_S = 120.0


@contextmanager
def serving(
    *words: object, **environment: str
) -> Iterator[tuple[str, "subprocess.Popen[str]", str]]:
    """A server as a process: its address, the process, and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from sweep.cli import main; main()", "serve", "--port=0",
         *map(str, words)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        found = re.search(r"http://([^/:]+):(\d+)/", said)
        assert found is not None, said
        if "--host=0.0.0.0" in words and "SWEEP_TOKEN" not in environment:
            said += process.stdout.readline()
        yield f"http://127.0.0.1:{found[2]}", process, said
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


def asking(address: str) -> httpx.Client:
    """A client that has patience, and no proxy."""
    return httpx.Client(base_url=address, timeout=120, trust_env=False)


def until(holds: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT_S
    while not (found := holds()):
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.1)
    return found


def test_logging_in_and_out(tmp_path: Path) -> None:
    with served(settings_of(tmp_path, token=TOKEN), FakeLauncher()) as server:
        client = server.client
        server.get("/api/studies", 401)
        server.post("/api/login", {"token": "x" * 30}, 401)
        answer = client.post("/api/login", json={"token": TOKEN})
        assert answer.status_code == 200
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith(f"sweep-session-{server.port}=")
        assert {"HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))
        assert TOKEN not in cookie
        origin = {"Origin": f"http://127.0.0.1:{server.port}"}
        assert server.get("/api/session")["logged_in"] is True
        assert len(server.get("/api/studies")["studies"]) > 30
        # A cookie is sent by any page; that it was this one, only the browser's headers say.
        assert server.post("/api/query", {"sql": "SELECT 1"}, 403)["detail"]
        thesis = "/api/studies/thesis/launch"
        assert server.post(thesis, {"settings": ["x=1"]}, 400, headers=origin)
        assert server.post(thesis, {"settings": ["x=1"]}, 400,
                           headers={"Sec-Fetch-Site": "same-origin"})  # fmt: skip
        assert server.post("/api/login", {"token": TOKEN})["logged_in"] is True  # once more
        assert server.post("/api/logout", {}, headers=origin)["logged_in"] is False
        server.get("/api/studies", 401)
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert server.get("/api/studies", headers=bearer)["studies"]
        assert server.post(thesis, {"settings": ["x=1"]}, 400, headers=bearer)


def test_names_of_the_server() -> None:
    here = Settings("r")
    assert all(map(here.answers_to, ("localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost.")))
    assert not any(map(here.answers_to, ("example.org", "10.0.0.1", "", "0.0.0.0")))
    another = Settings("r", host="127.0.0.2")  # said to be served there, so it must answer there
    assert all(map(another.answers_to, ("127.0.0.2", "localhost")))
    assert not any(map(another.answers_to, ("127.0.0.3", "example.org")))
    assert Settings("r", host="0:0:0:0:0:0:0:1").answers_to("[0:0:0:0:0:0:0:1]")
    everywhere = Settings("r", host="0.0.0.0", names=("lab.example.org",))
    # An address cannot be pointed at this machine by somebody else; a name can.
    assert all(
        map(everywhere.answers_to, ("lab.example.org", "10.0.0.1", "[fe80::1]", "localhost"))
    )
    assert not any(map(everywhere.answers_to, ("example.org", "lab.example.org.evil.org")))


@pytest.mark.parametrize(
    ("host", "known"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.8.0.1", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("localhost.example.org", False)],
)  # fmt: skip
def test_loopback(host: str, known: bool) -> None:
    assert is_loopback(host) is known


def test_where_the_token_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _token(None, None) is None
    monkeypatch.setenv("SWEEP_TOKEN", TOKEN)
    assert _token(None, None) == TOKEN
    assert "SWEEP_TOKEN" not in os.environ  # no process inherits it
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert _token(None, file) == TOKEN
    assert _token("another-token-of-mine", None) == "another-token-of-mine"
    for given, path in (("short", None), ("", None), (TOKEN, file), (None, tmp_path / "none"),
                        ("with a space in it", None), ("ünbelievably-long", None)):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            _token(given, path)
        assert ended.value.code == 2
    assert "16 or more" in capsys.readouterr().err


@pytest.mark.slow
def test_other_hosts_need_a_token(tmp_path: Path) -> None:
    with serving("--results", tmp_path / "r", "--host=0.0.0.0") as (address, _, said):
        match = re.search(r"#token=([\w-]{40,})$", said.strip())
        assert match is not None, said
        assert httpx.get(f"{address}/api/studies").status_code == 401
        headers = {"Authorization": f"Bearer {match[1]}"}
        assert httpx.get(f"{address}/api/studies", headers=headers).status_code == 200
    with serving("--results", tmp_path / "r", "--host=0.0.0.0", SWEEP_TOKEN=TOKEN) as found:
        address, process, said = found
        assert TOKEN not in said
        assert TOKEN not in Path(f"/proc/{process.pid}/cmdline").read_text()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{address}/api/studies", headers=headers).status_code == 200


@pytest.mark.slow
def test_a_study_from_beginning_to_end(tmp_path: Path) -> None:
    """Sent, started, the server killed meanwhile and started again, done, reported, asked."""
    place = ("--results", tmp_path / "r", "--local")
    with serving(*place) as (address, process, _):
        with asking(address) as client:
            sent = client.post("/api/studies", json={"text": STUDY})
            assert sent.json()["cells"] == 16
            started = client.post("/api/studies/tiny/launch", json={})
            assert started.status_code == 202, started.text
            job = started.json()["job"]["id"]
        process.kill()
    with serving(*place) as (address, _, _), asking(address) as client:

        def state() -> Any:
            return client.get("/api/studies/tiny/state").json()

        assert state()["job"]["id"] == job
        until(lambda: state()["job"]["status"] != "running")
        log = client.get(f"/api/jobs/{job}/log").json()
        assert state()["job"]["status"] == "done", log["text"]
        assert "study tiny in" in log["text"]
        until(lambda: state()["counts"]["done"] == 8)
        cells = client.get("/api/studies/tiny/cells?filter=role%3Dstudent").json()["cells"]
        known = Results(tmp_path / "r").cells("tiny")
        for cell in cells:
            own = known[(known["role"] == "student") & (known["alpha"] == cell["words"]["alpha"])]
            own = own[own["switch_epoch"] == cell["words"]["switch_epoch"]]
            assert cell["value"]["mean"] == pytest.approx(own["test_metric"].mean())
        assert client.post("/api/studies/tiny/report", json={}).status_code == 202
        until(lambda: state()["report"]["exists"])
        assert len(client.get("/reports/tiny").content) > 1_000_000
        again = client.post("/api/studies/tiny/launch", json={"settings": ["recipe.epochs=3"]})
        assert again.status_code == 202
        until(lambda: state()["job"]["status"] == "done")


@pytest.mark.slow
def test_a_stopped_run_keeps_what_is_finished(tmp_path: Path) -> None:
    long = STUDY.replace("epochs = 2", "epochs = 2000").replace("[0, 1, 2]", "[0, 1000, 2000]")
    place = ("--results", tmp_path / "r", "--local")
    with serving(*place) as (address, _, _), asking(address) as client:
        client.post("/api/studies", json={"text": long})
        assert client.post("/api/studies/tiny/launch", json={}).status_code == 202

        def state() -> Any:
            return client.get("/api/studies/tiny/state").json()

        until(lambda: state()["live"] and state()["live"]["epochs_total"])
        assert state()["live"]["study"] == "tiny"
        stopping = client.post("/api/studies/tiny/stop", json={}).json()["job"]
        assert stopping["status"] in ("stopping", "stopped")
        until(lambda: state()["job"]["status"] == "stopped")
        assert state()["job"]["exit_status"] == 130
        until(lambda: not state()["active"])


@pytest.mark.slow
def test_runs_are_handed_over_to_a_cluster(tmp_path: Path) -> None:
    """A real cluster with a token: the server hands over, follows, and finds the job again."""
    with raylets() as nodes:
        nodes.head(cpus=1, jobs=True)
        outside = {"RAY_AUTH_TOKEN": str(nodes.token), "RAY_ADDRESS": "127.0.0.1:1"}
        place = ("--results", tmp_path / "r", "--address", nodes.jobs)
        with serving(*place, **outside) as (address, _, _), asking(address) as client:
            client.post("/api/studies", json={"text": STUDY})

            def launched() -> Any:
                answer = client.post("/api/studies/tiny/launch", json={"seeds": 1})
                if answer.status_code == 202:
                    return answer.json()["job"]["id"]
                # On a busy machine a head node is a while without what starts jobs.
                assert "No available agent" in answer.text
                return None

            job = until(launched)
        # Started again, it is told of the job by the cluster.
        with serving(*place, **outside) as (address, _, _), asking(address) as client:

            def state() -> Any:
                return client.get("/api/studies/tiny/state").json()

            until(lambda: state()["job"] and state()["job"]["status"] != "running")
            said = client.get(f"/api/jobs/{job}/log").json()
            assert (state()["job"]["id"], state()["job"]["status"]) == (job, "done"), said
            assert "study tiny in" in said["text"]
            assert said["ended"]
            # A seed: both teachers of the pool, a baseline, two students.
            until(lambda: state()["counts"]["done"] == 5)

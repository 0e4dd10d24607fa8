"""Runs that the server starts as jobs of a cluster, with a stand-in for the cluster."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sweep import cluster
from sweep.cli import app, register
from sweep.cluster import Job
from sweep.errors import SweepError
from sweep.store import Store
from sweep.web.cluster_jobs import ClusterJobs
from sweep.web.commands import answer_of
from sweep.web.jobs import Order
from sweep.web.problems import ProblemError
from tests.sweep.raylets import raylets
from tests.sweep.test_object_store import STUDY
from tests.sweep.web.browsing import free_port
from tests.sweep.web.serving import FakeLauncher, Served, ask, served, settings_of, study

ADDRESS, RESULTS = "http://head:8265", "s3://bucket/results"
AT = datetime(2026, 1, 2, tzinfo=UTC)


class FakeCluster:
    """Keeps what it is asked, as `sweep.cluster` would."""

    def __init__(self) -> None:
        self.known: list[Job] = []
        self.words: list[tuple[str, ...]] = []
        self.asked = 0
        self.said = ""

    def submit(self, study: str, results: str, address: str, **more: Any) -> str:
        assert address == ADDRESS
        settings = [f"--set={one}" for one in more.get("settings", ())]
        self.words.append((more["command"], study, *settings, *more["options"]))
        at = AT + timedelta(minutes=len(self.known))
        name = Path(study).stem
        self.known.append(
            Job(f"job-{len(self.known)}", name, results, "PENDING", "", None, at, None)
        )
        return self.known[-1].job

    def jobs(self, address: str) -> list[Job]:
        self.asked += 1
        return list(self.known)

    def stop(self, address: str, name: str) -> None:
        assert name in [job.job for job in self.known]

    def logs(self, address: str, name: str) -> str:
        return self.said

    def change(self, job_id: str, **changes: Any) -> None:
        self.known = [replace(j, **changes) if j.job == job_id else j for j in self.known]


def in_this_process(words: Sequence[str], source: str, what: str) -> dict[str, Any]:
    """What the command says, without a process: what it would ask is stood in for here."""
    register()
    done = CliRunner().invoke(app, [*words, "--", source])
    if isinstance(done.exception, SweepError):
        raise done.exception
    assert done.exit_code == 0, (what, done.output)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def here_and_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.web.cluster_jobs.answer_of", in_this_process)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, here_and_now: None) -> FakeCluster:
    found = FakeCluster()
    for name in ("submit", "jobs", "stop", "logs"):
        monkeypatch.setattr(cluster, name, getattr(found, name))
    monkeypatch.setattr("sweep.web.cluster_jobs.ASKED_EVERY_S", 0.0)
    return found


@pytest.fixture
def here() -> FakeLauncher:
    return FakeLauncher()


@pytest.fixture
def launcher(fake: FakeCluster, here: FakeLauncher) -> ClusterJobs:
    return ClusterJobs(ADDRESS, RESULTS, here)


@pytest.fixture
def server(launcher: ClusterJobs, tmp_path: Path) -> Iterator[Served]:
    with served(settings_of(tmp_path), launcher) as found:
        yield found


def test_a_run_is_handed_over_stopped_and_found_by_others(
    server: Served, fake: FakeCluster, here: FakeLauncher
) -> None:
    server.post("/api/studies/quickstart/launch", {"settings": ["recipe.epochs=20"]}, 202)
    assert fake.words == [("run", "quickstart", "--set=recipe.epochs=20")]
    assert here.orders == []
    state = server.get("/api/studies/quickstart/state")["job"]
    assert (state["id"], state["status"]) == ("job-0", "running")
    server.post("/api/studies/thesis/launch", {}, 409)
    stopping = server.post("/api/studies/quickstart/stop", {}, 202)["job"]
    assert stopping["status"] == "stopping"
    fake.change("job-0", status="FAILED", exit_status=130, ended_at=AT)
    server.look()
    assert server.get("/api/studies/quickstart/state")["job"]["status"] == "stopped"
    again = ClusterJobs(ADDRESS, RESULTS, FakeLauncher())  # a server that is started again
    assert [(job.id, job.status) for job in again.jobs()] == [("job-0", "stopped")]


def test_statuses(launcher: ClusterJobs, fake: FakeCluster) -> None:
    for status, exit_status, known in (
        ("PENDING", None, "running"), ("RUNNING", None, "running"), ("SUCCEEDED", 0, "done"),
        ("FAILED", 1, "failed"), ("FAILED", 130, "stopped"), ("STOPPED", None, "stopped"),
    ):  # fmt: skip
        fake.known = [Job("a", "thesis", RESULTS, status, "", exit_status, AT, None)]
        (job,) = launcher.jobs()
        assert (job.status, job.at_work) == (known, known == "running")


def test_jobs_that_write_elsewhere_are_none_of_ours(
    launcher: ClusterJobs, fake: FakeCluster, here: FakeLauncher
) -> None:
    fake.submit("thesis", "s3://other", ADDRESS, command="run", options=())
    assert launcher.jobs() == []
    assert launcher.log("job-0", 0, 10) is None
    assert launcher.stop("job-0") is None


def test_reports_are_made_here(
    launcher: ClusterJobs, fake: FakeCluster, here: FakeLauncher
) -> None:
    job = launcher.start(Order("report", "thesis", "thesis"))
    assert here.orders == [Order("report", "thesis", "thesis")]
    assert fake.words == []
    assert [one.id for one in launcher.jobs()] == [job.id]
    log = launcher.log(job.id, 4, 100)
    assert log is not None
    assert log.text == "two\n"


def test_a_log_is_given_in_parts(launcher: ClusterJobs, fake: FakeCluster) -> None:
    job = launcher.start(Order("run", "thesis", "thesis"))
    fake.said = "ä" * 5 + "\n"
    found, offset = "", 0
    for _ in range(10):
        part = launcher.log(job.id, offset, 3)
        assert part is not None
        assert not part.ended
        found, offset = found + part.text, part.next_offset
    assert found == fake.said
    fake.change(job.id, status="SUCCEEDED")
    part = launcher.log(job.id, offset, 3)
    assert part is not None
    assert (part.text, part.ended) == ("", True)


def test_a_study_known_by_its_results_alone_is_handed_over_as_they_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here_and_now: None
) -> None:
    """One that `sweep submit` began, whose failures the page is to try again."""
    handed: list[dict[str, Any]] = []

    class Jobs:
        def submit_job(self, **about: Any) -> str:
            folder = Path(about["runtime_env"]["working_dir"])
            handed.append(json.loads((folder / "grid.json").read_text("utf-8")))
            assert "sweep retry grid.json --address auto" in about["entrypoint"]
            assert about["entrypoint"].endswith(" --kind bug --kind timed_out")
            return "job-1"

        def list_jobs(self) -> list[Any]:
            return []

    for module in ("submitting", "listing"):
        monkeypatch.setattr(f"sweep.cluster.{module}.connect", lambda _: Jobs())
    results = tmp_path / "results"
    ask(Store(results), study())
    launcher = ClusterJobs(ADDRESS, str(results), FakeLauncher())
    with served(settings_of(results), launcher) as server:
        server.post("/api/studies/grid/retry", {"kind": ["bug", "timed_out"]}, 202)
    assert handed == [json.loads(study().to_json())]


def test_a_cluster_that_does_not_answer_is_what_it_was(
    server: Served, fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.post("/api/studies/quickstart/launch", {}, 202)

    def refuses(*_: object, **__: object) -> None:
        raise SweepError(f"--address {ADDRESS}: nothing answers")

    for name in ("submit", "jobs", "stop"):
        monkeypatch.setattr(cluster, name, refuses)
    server.look()
    assert server.get("/api/studies/quickstart/state")["job"]["status"] == "running"
    refused = server.post("/api/studies/quickstart/stop", {}, 400)
    assert refused["detail"] == f"--address {ADDRESS}: nothing answers"


def test_a_run_is_known_though_the_cluster_was_being_asked_when_it_was_handed_over(
    launcher: ClusterJobs, fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a second one could be started beside it."""
    monkeypatch.setattr("sweep.web.cluster_jobs.ASKED_EVERY_S", 60.0)
    asked, submitted = threading.Event(), threading.Event()

    def slow(_: str) -> list[Job]:
        found = list(fake.known)
        asked.set()
        assert submitted.wait(30)
        return found

    def submit(*words: str, **more: Any) -> str:
        job = fake.submit(*words, **more)
        monkeypatch.setattr(cluster, "jobs", fake.jobs)
        submitted.set()
        return job

    monkeypatch.setattr(cluster, "jobs", slow)
    monkeypatch.setattr(cluster, "submit", submit)
    looking = threading.Thread(target=launcher.jobs)
    looking.start()
    assert asked.wait(30)
    began = launcher.start(Order("run", "quickstart", "quickstart"))
    looking.join(30)
    assert began.id in [job.id for job in launcher.jobs()]


def test_the_cluster_is_not_asked_all_the_time(
    launcher: ClusterJobs, fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.web.cluster_jobs.ASKED_EVERY_S", 60.0)
    for _ in range(5):
        launcher.jobs()
    assert fake.asked == 1
    launcher.start(Order("run", "thesis", "thesis"))
    assert [job.id for job in launcher.jobs()] == ["job-0"]


def test_a_grid_is_expanded_in_another_process(here: FakeLauncher, tmp_path: Path) -> None:
    """What it refuses is what it would refuse here, in the same words."""
    path = tmp_path / "wrong.toml"
    path.write_text('name = "wrong"\n[recipe]\nepoch = 3\n')
    nobody = f"http://127.0.0.1:{free_port()}"
    for address, source, options in (
        (nobody, str(path), ()), (nobody, "quickstart", ("--only=alpha=7",)),
        (nobody, "quickstart", ()),
    ):  # fmt: skip
        only = [option.removeprefix("--only=") for option in options]
        with pytest.raises(SweepError) as told:
            cluster.submit(source, RESULTS, address, only=only)
        with pytest.raises(SweepError) as refused:
            ClusterJobs(address, RESULTS, here).start(Order("run", "quickstart", source, options))
        assert str(refused.value) == str(told.value).replace(str(path), path.name)


def a_command(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Has other code in the place of the commands."""
    monkeypatch.setattr(
        "sweep.web.commands.command", lambda *words: [sys.executable, "-P", "-c", code, *words]
    )


def test_what_is_handed_over_knows_the_token_of_ray_and_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "SWEEP_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"the {name}")
    a_command(
        monkeypatch,
        "import json, os, sys; print(json.dumps({**os.environ, 'words': sys.argv[1:]}))",
    )
    known = answer_of(["submit", "--seeds=1"], "thesis", "handing it over")
    assert "SWEEP_TOKEN" not in known
    assert "the SWEEP_TOKEN" not in str(known)
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "AWS_SECRET_ACCESS_KEY", "HOME", "PATH"):
        assert known[name] == os.environ[name]
    assert known["words"] == ["submit", "--seeds=1", "--", "thesis"]


@pytest.mark.parametrize(
    ("code", "timeout_s", "said"),
    [
        ("import time; time.sleep(60)", 0.5, "handing it over took longer than 0.5 s"),
        ("bytes(3 * 10**8)", 60, "handing it over did not come to an end"),
        ("import os; os.kill(os.getpid(), 9)", 60, "handing it over did not come to an end"),
        ("print('not JSON')", 60, "handing it over did not come to an end"),
    ],
)
def test_one_that_takes_too_much_is_given_up(
    server: Served,
    fake: FakeCluster,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    timeout_s: float,
    said: str,
) -> None:
    monkeypatch.setattr("sweep.web.cluster_jobs.answer_of", answer_of)
    monkeypatch.setattr("sweep.web.commands.TIMEOUT_S", timeout_s)
    monkeypatch.setattr("sweep.web.commands.MEMORY_BYTES", 2 * 10**8)
    a_command(monkeypatch, code)
    assert server.post("/api/studies/quickstart/launch", {}, 503)["detail"] == said
    # It may have been handed over before: what the cluster says counts.
    fake.submit("quickstart", RESULTS, ADDRESS, command="run", options=())
    monkeypatch.setattr("sweep.web.cluster_jobs.answer_of", in_this_process)
    server.post("/api/studies/quickstart/launch", {}, 409)


def test_what_is_wrong_is_found_behind_what_a_library_says(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; print('W: old\\nsweep: alpha: 7\\nis not allowed', file=sys.stderr); sys.exit(2)"
    a_command(monkeypatch, code)
    with pytest.raises(SweepError) as refused:
        answer_of(["plan"], "thesis", "planning")
    assert str(refused.value) == "alpha: 7\nis not allowed"


def test_what_a_command_that_broke_said_is_in_the_log_of_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a_command(monkeypatch, "raise KeyError('a fault of ours')")
    with pytest.raises(ProblemError, match="planning did not come to an end"):
        answer_of(["plan"], "thesis", "planning")
    assert "planning ended with status 1" in caplog.text
    assert "KeyError: 'a fault of ours'" in caplog.text


@pytest.mark.slow
def test_a_cluster_takes_what_is_launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one, which asks for Ray's token; the server has it, and one of its own."""
    data = {k: v for k, v in os.environ.items() if k == "SWEEP_DATA_DIR"}
    results = tmp_path / "results"
    with raylets(**data) as live:
        live.head(cpus=1, jobs=True)
        monkeypatch.setenv("RAY_AUTH_TOKEN", str(live.token))
        monkeypatch.setenv("SWEEP_TOKEN", "none of the cluster's business")
        launcher = ClusterJobs(live.jobs, str(results), FakeLauncher())
        with served(settings_of(results), launcher) as server:
            server.post("/api/studies", {"text": STUDY}, 201)
            server.post("/api/studies/tiny/launch", {"settings": ["seeds=[3]"]}, 202)
            until = time.monotonic() + 300
            while (job := server.get("/api/studies/tiny/state")["job"])["status"] == "running":
                assert time.monotonic() < until
                time.sleep(0.5)
            log = server.get(f"/api/jobs/{job['id']}/log")["text"]
            assert (job["status"], "3 trained" in log) == ("done", True), log
            server.look()
            assert server.get("/api/studies/tiny/state")["counts"]["done"] == 3
            monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
            refused = server.post("/api/studies/tiny/launch", {}, 400)["detail"]
            assert "asks for another token" in refused

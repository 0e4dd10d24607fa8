"""Runs that the server starts as jobs of a cluster, with a stand-in for the cluster."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sweep import cluster
from sweep.cluster import Job
from sweep.errors import SweepError
from sweep.store import Store
from sweep.web.cluster_jobs import ClusterJobs
from sweep.web.jobs import Order
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
        self.words.append((more["command"], study, *more["options"]))
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


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that `sweep submit` began, whose failures the page is to try again."""
    handed: list[dict[str, Any]] = []

    class Jobs:
        def submit_job(self, **about: Any) -> str:
            folder = Path(about["runtime_env"]["working_dir"])
            handed.append(json.loads((folder / "grid.json").read_text("utf-8")))
            assert "sweep retry grid.json --address auto" in about["entrypoint"]
            return "job-1"

        def list_jobs(self) -> list[Any]:
            return []

    for module in ("submitting", "listing"):
        monkeypatch.setattr(f"sweep.cluster.{module}.connect", lambda _: Jobs())
    results = tmp_path / "results"
    ask(Store(results), study())
    launcher = ClusterJobs(ADDRESS, str(results), FakeLauncher())
    with served(settings_of(results), launcher) as server:
        server.post("/api/studies/grid/retry", {}, 202)
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

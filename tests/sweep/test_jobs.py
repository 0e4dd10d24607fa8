"""Studies as jobs of a cluster: what is handed over, what is refused, how a job is found and stopped."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from sweep import cluster
from sweep.cli.cluster import There
from sweep.cli.groups import words
from sweep.cli.run import Giving, Training
from sweep.cluster import listing as of_jobs
from sweep.cluster import submitting as handing
from sweep.cluster.client import known_token, server_url
from sweep.errors import SweepError
from sweep.results import Results
from sweep.service import Where, run_study
from sweep.store import Store
from sweep.study import load_study
from tests.sweep.raylets import Raylets, free_port, raylets
from tests.sweep.test_cli import Sweep
from tests.sweep.test_cli import sweep as sweep
from tests.sweep.test_object_store import STUDY
from tests.sweep.tiny import science

HTTP = "http://127.0.0.1:8265"


class Server:
    """Stands in for a job server."""

    def __init__(self) -> None:
        self.submitted: list[dict[str, Any]] = []
        self.files: list[dict[str, bytes]] = []
        self.stopped: list[str] = []
        self.known: list[Any] = []

    def submit_job(self, **about: Any) -> str:
        folder = about["runtime_env"].get("working_dir")
        found = {} if folder is None else {p.name: p.read_bytes() for p in Path(folder).iterdir()}
        self.submitted.append(about)
        self.files.append(found)
        return f"raysubmit_{len(self.submitted)}"

    def list_jobs(self) -> list[Any]:
        return self.known

    def get_job_logs(self, job: str) -> str:
        return f"said by {job}\n"

    async def tail_job_logs(self, job: str) -> Any:
        for piece in ("one\n", f"two of {job}\n"):
            yield piece

    def stop_job(self, job: str) -> None:
        self.stopped.append(job)
        self.known = [
            SimpleNamespace(**{**vars(one), "status": "STOPPED"})
            if one.submission_id == job
            else one
            for one in self.known
        ]


def known(job: str, study: str | None, status: str, began_ms: int) -> Any:
    metadata = {"other": "x"} if study is None else {of_jobs.STUDY: study, of_jobs.RESULTS: "/r"}
    return SimpleNamespace(
        submission_id=job, metadata=metadata, status=status, message="a\nb", start_time=began_ms,
        end_time=None, driver_exit_code=None,
    )  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(handing, "connect", lambda _: found)
    monkeypatch.setattr(of_jobs, "connect", lambda _: found)
    return found


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "a study; touch x.toml"
    path.write_text(STUDY)
    return path


def test_a_file_goes_along_as_data_and_nothing_else(server: Server, study: Path) -> None:
    odd = "title=it's $HOME; `id`"
    job = cluster.submit(
        str(study), "s3://bucket/a b", HTTP, settings=[odd], only=["seed<100"], seeds=1,
        options=["--workers", "2"],
    )  # fmt: skip
    assert job == "raysubmit_1"
    (about,) = server.submitted
    assert shlex.split(about["entrypoint"]) == [
        "exec", "sweep", "run", "tiny.toml", "--address", "auto", "--results", "s3://bucket/a b",
        "--set", odd, "--only", "seed<100", "--seeds", "1", "--workers", "2",
    ]  # fmt: skip
    assert server.files == [{"tiny.toml": STUDY.encode()}]
    assert set(about["runtime_env"]) == {"working_dir", "env_vars"}
    assert about["runtime_env"]["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "300"}
    assert about["metadata"][of_jobs.STUDY] == "tiny"
    assert about["metadata"][of_jobs.RESULTS] == "s3://bucket/a b"
    # Until a shell has had it, it is one word each: nothing in it is run.
    echoed = subprocess.run(
        ["bash", "-c", about["entrypoint"].replace("exec sweep", "printf '%s\\n'", 1)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert odd in echoed.stdout.splitlines()


def test_a_builtin_study_goes_by_its_name(server: Server) -> None:
    cluster.submit("quickstart", "/shared/results", HTTP)
    assert server.files == [{}]
    assert "working_dir" not in server.submitted[0]["runtime_env"]
    assert "sweep run quickstart --address auto" in server.submitted[0]["entrypoint"]


def test_a_study_as_results_keep_it_goes_along_as_that(server: Server, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(load_study("quickstart").to_json())
    cluster.submit(str(kept), "/shared/results", HTTP)
    assert server.files == [{"quickstart.json": kept.read_bytes()}]
    assert "sweep run quickstart.json " in server.submitted[0]["entrypoint"]


def test_files_that_a_study_names_are_named_as_all_machines_find_them(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path from here on means another file, or none, where the job runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.pt").write_bytes(b"weights")
    named = tmp_path / "named.toml"
    named.write_text(STUDY.replace("[recipe]", '[recipe]\npretrained = "own.pt"', 1))
    for setting in ([], ["recipe.pretrained=./own.pt"]):
        with pytest.raises(SweepError, match=r"recipe\.pretrained = .*own\.pt.*absolute path"):
            cluster.submit(str(named), "/shared/results", HTTP, settings=setting)
    assert not server.submitted
    whole = f"recipe.pretrained={tmp_path / 'own.pt'}"
    cluster.submit(str(named), "/shared/results", HTTP, settings=[whole])
    assert len(server.submitted) == 1


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"results": "results"}, ["--results results", "absolute path", "s3://"]),
        ({"results": "./r"}, ["--results ./r", "absolute path"]),
        ({"study": "nosuch"}, ["unknown study 'nosuch'"]),
        ({"settings": ["recipe.epoch=3"]}, ["'recipe.epoch'", "did you mean epochs"]),
        ({"only": ["alpha=7"]}, ["alpha"]),
        ({"seeds": 0}, ["--seeds 0"]),
    ],
)
def test_what_could_not_run_is_refused_here(
    server: Server, changes: dict[str, Any], parts: list[str]
) -> None:
    given: dict[str, Any] = {"study": "quickstart", "results": "/shared", **changes}
    name, results = given.pop("study"), given.pop("results")
    with pytest.raises(SweepError) as refused:
        cluster.submit(name, results, HTTP, **given)
    assert all(part in str(refused.value) for part in parts), refused.value
    assert not server.submitted


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:8265", "auto", "", "ray://h:10001", "http://", "http://h:1/x", "http://u@h:1",
     "http://h:99999", "file:///etc/passwd", "http://h:1?x"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SweepError, match="must be http://HOST:8265"):
        server_url(address)


def test_where_nothing_answers_is_said_at_once() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(SweepError, match="nothing answers there"):
        cluster.jobs(address)
    assert time.monotonic() - began < 20


def test_a_job_is_found_by_its_id_or_its_study(server: Server) -> None:
    server.known = [
        known("j1", "thesis", "SUCCEEDED", 1_000),
        known("j3", "thesis", "RUNNING", 3_000),
        known("j2", "alpha", "PENDING", 2_000),
        known("j4", None, "RUNNING", 4_000),
    ]
    assert [job.job for job in cluster.jobs(HTTP)] == ["j3", "j2", "j1"]
    assert cluster.find(HTTP, "thesis").job == "j3"
    assert cluster.find(HTTP, "j1").status == "SUCCEEDED"
    assert cluster.logs(HTTP, "alpha") == "said by j2\n"
    assert list(cluster.follow(HTTP, "thesis")) == ["one\n", "two of j3\n"]
    with pytest.raises(SweepError, match=r"no job 'j4'.*j3 \(thesis\)"):
        cluster.find(HTTP, "j4")
    about = cluster.find(HTTP, "j2").as_dict()
    assert (about["began_at"], about["message"]) == ("1970-01-01T00:00:02+00:00", "a")
    json.dumps(about)


def test_only_what_runs_is_stopped(server: Server) -> None:
    server.known = [known("j1", "thesis", "SUCCEEDED", 1_000), known("j2", "thesis", "RUNNING", 2)]
    assert cluster.stop(HTTP, "j1").status == "SUCCEEDED"
    assert server.stopped == []
    assert cluster.stop(HTTP, "j2", 30.0).status == "STOPPED"
    assert server.stopped == ["j2"]


def test_options_of_a_run_go_along_as_words() -> None:
    assert words(Training()) == words(Giving()) == words(There()) == []
    training = Training(trials_per_gpu="auto", no_sharing=True, checkpoint_minutes=0.0, eager=True)
    assert words(training) == [
        "--trials-per-gpu", "auto", "--no-sharing", "--checkpoint-minutes", "0.0", "--eager",
    ]  # fmt: skip
    assert words(Giving(stage_timeout=2.5, same_failures=0)) == [
        "--stage-timeout", "2.5", "--same-failures", "0",
    ]  # fmt: skip
    there = There(workers=3, gpus_per_trial=0.0, data_dir=Path("/d"))
    assert words(there) == ["--workers", "3", "--gpus-per-trial", "0.0", "--data", "/d"]


def test_tokens_are_looked_for_where_ray_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert known_token() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("home\n")
    assert known_token() == "home"
    (tmp_path / "mine").write_text("mine")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "mine"))
    assert known_token() == "mine"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert known_token() == "given"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert known_token() is None


def test_commands_print(sweep: Sweep, server: Server, study: Path) -> None:
    where = ("--address", HTTP)
    out = sweep(
        "submit", study, *where, "--results", "/shared", "--workers", 2, "--set", "seeds=[3]"
    )
    assert "raysubmit_1: handed over" in out
    assert "--workers 2" in server.submitted[0]["entrypoint"]
    assert sweep.json("submit", study, *where, "--results", "/s") == {
        "job": "raysubmit_2", "address": HTTP, "results": "/s",
    }  # fmt: skip
    sweep(
        "submit",
        study,
        *where,
        "--results",
        "/s",
        "--retry",
        "--kind",
        "bug",
        "--kind",
        "timed_out",
    )
    again = " --address auto --results /s --kind bug --kind timed_out"
    assert server.submitted[2]["entrypoint"] == f"exec sweep retry tiny.toml{again}"
    sweep("submit", study, *where, "--results", "/s", "--smoke", "--shard", "1/2")
    part = " --address auto --results /s --smoke --shard 1/2"
    assert server.submitted[3]["entrypoint"] == f"exec sweep run tiny.toml{part}"
    for wrong, said in (
        (["--kind", "bug"], "--kind says which failures --retry is about"),
        (["--retry", "--smoke"], "--smoke and --retry exclude each other"),
        (["--retry", "--kind", "bad luck"], "--kind 'bad luck': must be one of"),
        (["--shard", "3/2"], "--shard"),
    ):
        sweep("submit", study, *where, "--results", "/s", *wrong, status=2)
        assert said in sweep.err
    assert len(server.submitted) == 4
    sweep("submit", study, *where, status=2)
    assert "--results results" in sweep.err
    sweep("submit", study, *where, "--results", "/s", "--data", "d", status=2)
    assert "--data d: must be an absolute path" in sweep.err
    server.known = [known("j1", "tiny", "RUNNING", 1_000)]
    assert "j1" in sweep("jobs", *where)
    assert sweep("logs", "tiny", *where) == "said by j1\n"
    assert "two of j1" in sweep("logs", "tiny", *where, "--follow", status=1)
    assert sweep.json("logs", "tiny", *where)["logs"] == ["said by j1"]  # type: ignore[index]
    assert "j1 (tiny) has stopped: STOPPED" in sweep("stop", "tiny", *where)
    assert "j1 (tiny) has stopped: STOPPED" in sweep("stop", "j1", *where)


# A real cluster


@pytest.fixture(scope="module")
def live() -> Iterator[Raylets]:
    """A head that takes jobs and one more node, with a token."""
    data = (
        {"SWEEP_DATA_DIR": os.environ["SWEEP_DATA_DIR"]} if "SWEEP_DATA_DIR" in os.environ else {}
    )
    with raylets(**data) as found:
        found.head(cpus=1, jobs=True)
        found.join(cpus=1)
        yield found


def call(live: Raylets, *arguments: str, status: int = 0, **environment: str) -> str:
    """Calls the command line in a process that knows the cluster's token, and no more of it."""
    outside = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    token = {"RAY_AUTH_TOKEN": str(live.token), "RAY_ADDRESS": "127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", "from sweep.cli import main; main()", *arguments],
        env={**outside, **token, **environment}, capture_output=True, text=True, check=False,
        timeout=400,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status in (0, 1) else done.stderr


@pytest.mark.slow
def test_a_study_runs_while_its_client_is_gone(live: Raylets, tmp_path: Path) -> None:
    study, results = tmp_path / "mine.toml", tmp_path / "results"
    study.write_text(STUDY)
    where = ("--address", live.jobs)
    told = json.loads(call(live, "submit", str(study), *where, "--results", str(results), "--json"))
    # The client is gone. Another one asks.
    (listed,) = json.loads(call(live, "jobs", *where, "--json"))
    assert (listed["job"], listed["study"]) == (told["job"], "tiny")
    assert listed["results"] == str(results)
    said = call(live, "logs", "tiny", *where, "--follow")
    assert "3 trained" in said
    status = json.loads(call(live, "status", "tiny", "--results", str(results), "--json"))
    assert (status["studies"][0]["done"], status["studies"][0]["missing"]) == (3, 0)
    assert cluster_job(live, told["job"])["exit_status"] == 0
    alone = tmp_path / "alone"
    from sweep.study import load_study

    run_study(load_study(str(study)), alone, Where(local=True, gpus_per_trial=0.0))
    assert science(Store(results)).equals(science(Store(alone)))


def cluster_job(live: Raylets, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call(live, "logs", name, "--address", live.jobs, "--json"))
    return found


@pytest.mark.slow
def test_a_job_that_is_stopped_keeps_what_is_finished(live: Raylets, tmp_path: Path) -> None:
    study, results = tmp_path / "mine.toml", tmp_path / "results"
    study.write_text(STUDY.replace("epochs = 2", "epochs = 20000").replace('"tiny"', '"long"'))
    where = ("--address", live.jobs)
    settings = ("--set", "seeds=[1,2,3,4,5,6]", "--set", "teacher.recipe.epochs=1")
    call(live, "submit", str(study), *where, "--results", str(results), *settings)
    until = time.monotonic() + 240
    while not _done(results):
        assert time.monotonic() < until
        time.sleep(0.5)
    ended = json.loads(call(live, "stop", "long", *where, "--wait", "120", "--json"))
    assert ended["status"] == "STOPPED"
    said = "".join(cluster_job(live, "long")["logs"])
    assert "left for the next run" in said
    assert Store(results).trials.on.entries(Store(results).layout.incoming) == [], "it was folded"
    assert 0 < _done(results) < 18


def _done(results: Path) -> int:
    if not results.exists():
        return 0
    return int(Store(results).trials.read(["trial_id"])[0].num_rows)


@pytest.mark.slow
def test_a_wrong_token_is_refused_in_one_message(live: Raylets, tmp_path: Path) -> None:
    where, home = ("--address", live.jobs), {"HOME": str(tmp_path)}
    for given in ({"RAY_AUTH_TOKEN": "f" * 64}, {"RAY_AUTH_MODE": "disabled"}):
        said = call(live, "jobs", *where, status=2, **home, **given)
        assert "asks for another token" in said
        assert "RAY_AUTH_TOKEN_PATH" in said
        assert "Traceback" not in said
    run = ("run", "quickstart", "--address", live.address, "--results", str(tmp_path / "r"))
    for given in (
        {"RAY_AUTH_TOKEN": "f" * 64},
        {"RAY_AUTH_TOKEN": "", "RAY_AUTH_MODE": "token"},
        {"RAY_AUTH_TOKEN": ""},
    ):
        began = time.monotonic()
        said = call(live, *run, status=2, **home, **given)
        assert "asks for another token" in said
        assert "Traceback" not in said
        assert time.monotonic() - began < 60
    with pytest.raises(RuntimeError, match="InvalidAuthToken"):
        live.join(token="e" * 64)


@pytest.mark.slow
def test_results_go_to_an_object_store(tmp_path: Path, s3_bucket: str) -> None:
    """Both ways: `sweep run --address` from here, and a job; the cluster has the keys."""
    keys = {k: v for k, v in os.environ.items() if k.startswith(("AWS_", "SWEEP_DATA_DIR"))}
    study = tmp_path / "mine.toml"
    study.write_text(STUDY)
    urls = [f"s3://{s3_bucket}/{uuid4().hex}/results" for _ in range(2)]
    with raylets(**keys) as live:
        live.head(cpus=1, jobs=True)
        where = ("--address", live.jobs)
        call(live, "submit", str(study), *where, "--results", urls[0], **keys)
        assert "3 trained" in call(live, "logs", "tiny", *where, "--follow", **keys)
        ran = call(live, "run", str(study), "--address", live.address, "--results", urls[1], **keys)
        assert "3 trained" in ran
    one, other = (science(Store(url)) for url in urls)
    assert one.num_rows == 3
    assert one.equals(other)
    assert Results(urls[0]).studies() == ["tiny"]

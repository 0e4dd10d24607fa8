"""`sweep submit`, `sweep jobs`, `sweep logs`, `sweep stop`: studies as jobs of a cluster."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.cli import app
from sweep.cli.groups import with_groups, words
from sweep.cli.options import Json, Study, fail, print_json, print_table, shard_of
from sweep.cli.run import Choosing, Giving, Kinds, Resources, Smoke, Training, check_kinds

if TYPE_CHECKING:
    from sweep.cluster import Job

Address = Annotated[
    str,
    typer.Option(
        metavar="URL", help="the dashboard of the cluster's head node, as http://HOST:8265"
    ),
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="a job, or a study: its latest job")]


@dataclass(frozen=True)
class There(Resources):
    """Where to run on the cluster."""

    data_dir: Annotated[
        Path | None, typer.Option("--data", help="data directory on the cluster's head node")
    ] = None


@app.command()
@with_groups
def submit(
    study: Study,
    address: Address,
    choosing: Choosing,
    there: There,
    training: Training,
    giving: Giving,
    results: Annotated[
        str,
        typer.Option(
            "--results",
            metavar="DIR",
            help="an absolute path that the cluster's head node has, or s3://bucket/prefix",
        ),
    ] = "results",
    retry: Annotated[
        bool, typer.Option("--retry", help="run failed trials again as well, as `sweep retry` does")
    ] = False,
    kind: Kinds = None,
    smoke: Smoke = False,
    as_json: Json = False,
) -> None:
    """Hand a study to a cluster and come back: the run goes on there, as `sweep run` would here."""
    from sweep import cluster

    training.added_to(there.where())  # refuses what `sweep run` would refuse
    giving.policy()
    shard_of(choosing.shard)
    check_kinds(kind)
    if kind and not retry:
        fail("--kind says which failures --retry is about; give both")
    if smoke and retry:
        fail("--smoke and --retry exclude each other")
    if there.data_dir is not None and not there.data_dir.is_absolute():
        fail(f"--data {there.data_dir}: must be an absolute path on the cluster's head node")
    job = cluster.submit(
        study,
        results,
        address,
        settings=choosing.settings or (),
        only=choosing.only or (),
        seeds=choosing.seeds,
        options=[
            *words(there), *words(training), *words(giving),
            *(word for one in kind or () for word in ("--kind", one)),
            *(["--smoke"] if smoke else []),
            *([] if choosing.shard is None else ["--shard", choosing.shard]),
        ],
        command="retry" if retry else "run",
    )  # fmt: skip
    if as_json:
        print_json({"job": job, "address": address, "results": results})
        return
    print(f"{job}: handed over; `sweep logs {job} --address {address}` says how it goes")


@app.command("jobs")
def list_jobs(address: Address, as_json: Json = False) -> None:
    """List the studies that run, or ran, as jobs of a cluster, the latest first."""
    from sweep import cluster

    found = cluster.jobs(address)
    if as_json:
        print_json([job.as_dict() for job in found])
        return
    rows = [[job.job, job.study, job.status, job.began_at, job.results] for job in found]
    print_table(rows, ("job", "study", "status", "began", "results"))


@app.command()
def logs(
    job: JobName,
    address: Address,
    follow: Annotated[bool, typer.Option("--follow", help="go on until the job ends")] = False,
    as_json: Json = False,
) -> None:
    """Show what a job says; exit status 1 where it failed."""
    from sweep import cluster

    found = cluster.find(address, job)
    if as_json:
        text = cluster.logs(address, found.job)
        print_json({**found.as_dict(), "logs": text.splitlines()})
        return
    if not follow:
        print(cluster.logs(address, found.job), end="")
        return
    for piece in cluster.follow(address, found.job):
        print(piece, end="", flush=True)
    sys.exit(_status(cluster.find(address, found.job)))


@app.command()
def stop(
    job: JobName,
    address: Address,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="how long to wait until it has ended")
    ] = 60.0,
    as_json: Json = False,
) -> None:
    """Ask a job to stop: what is finished is kept, and submitting the study again goes on."""
    from sweep import cluster

    ended = cluster.stop(address, job, wait)
    if as_json:
        print_json(ended.as_dict())
        return
    how = (
        "stops" if ended.is_active else "has stopped" if ended.status == "STOPPED" else "had ended"
    )
    print(f"{ended.job} ({ended.study}) {how}: {ended.status}")


def _status(job: "Job") -> int:
    """The exit status that stands for how a job ended."""
    if job.exit_status is not None:
        return job.exit_status
    return {"SUCCEEDED": 0, "STOPPED": 130}.get(job.status, 1)

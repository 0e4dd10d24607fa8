"""The jobs of a cluster that run studies: what they do, what they say, how they end."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sweep.cluster.client import connect, refusals
from sweep.errors import SweepError

STUDY, RESULTS, VERSION = "sweep_study", "sweep_results", "sweep_version"
"""What a job's metadata say of it."""

ACTIVE = ("PENDING", "RUNNING")

STOP_PATIENCE_S = 300
"""How long a run that is asked to stop may take to write what is finished, before it is killed."""


@dataclass(frozen=True)
class Job:
    """A study that runs, or ran, on a cluster.

    Attributes:
        job: its id.
        study: name of the study.
        results: where they go.
        status: `PENDING`, `RUNNING`, `STOPPED`, `SUCCEEDED` or `FAILED`, as Ray says.
        message: what Ray adds to that, one line.
        exit_status: of `sweep run`, where it ended by itself: 1 is some trials failed.
        began_at, ended_at: times, UTC.
    """

    job: str
    study: str
    results: str
    status: str
    message: str
    exit_status: int | None
    began_at: datetime | None
    ended_at: datetime | None

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.status in ACTIVE

    def as_dict(self) -> dict[str, Any]:
        """The job as JSON types."""
        times = {
            name: None if at is None else at.isoformat()
            for name, at in (("began_at", self.began_at), ("ended_at", self.ended_at))
        }
        return {**asdict(self), **times}


def jobs(address: str) -> list[Job]:
    """All jobs that run studies, the latest first.

    Args:
        address: `http://HOST:PORT` of the head node's dashboard.

    Raises:
        SweepError: where it cannot be asked.
    """
    client = connect(address)
    with refusals(address):
        found = [_job(about) for about in client.list_jobs() if STUDY in (about.metadata or {})]
    earliest = datetime.min.replace(tzinfo=UTC)
    return sorted(found, key=lambda job: job.began_at or earliest, reverse=True)


def find(address: str, name: str) -> Job:
    """A job by its id, or the latest of a study.

    Args:
        address: see `jobs`.
        name: an id, or the name of a study.

    Raises:
        SweepError: where there is none.
    """
    known = jobs(address)
    for job in known:
        if job.job == name:
            return job
    for job in known:
        if job.study == name:
            return job
    there = ", ".join(f"{job.job} ({job.study})" for job in known[:5]) or "none"
    raise SweepError(
        f"no job {name!r} at {address}, and none of a study of that name; there: {there}"
    )


def logs(address: str, name: str) -> str:
    """What a job has said so far.

    Args:
        address: see `jobs`.
        name: see `find`.
    """
    job = find(address, name)
    client = connect(address)
    with refusals(address):
        return str(client.get_job_logs(job.job))


def follow(address: str, name: str) -> Iterator[str]:
    """What a job has said so far, and then what it says until it has ended, piece by piece.

    Args:
        address: see `jobs`.
        name: see `find`.
    """
    job = find(address, name)
    client = connect(address)
    with refusals(address), asyncio.Runner() as runner:
        pieces = client.tail_job_logs(job.job)

        async def next_piece() -> str | None:
            return await anext(pieces, None)

        while (piece := runner.run(next_piece())) is not None:
            yield piece


def stop(address: str, name: str, wait_s: float = 0.0) -> Job:
    """Asks a job to stop, as Ctrl-C asks a run: what is finished is kept. Harmless when it has ended.

    Args:
        address: see `jobs`.
        name: see `find`.
        wait_s: how long to wait until it has ended.

    Returns:
        The job as it is then.
    """
    job = find(address, name)
    client = connect(address)
    if job.is_active:
        with refusals(address):
            client.stop_job(job.job)
    until = time.monotonic() + wait_s
    while (now := find(address, job.job)).is_active and time.monotonic() < until:
        time.sleep(0.5)
    return now


def _job(about: Any) -> Job:
    metadata = about.metadata or {}
    message = (about.message or "").strip().splitlines()
    return Job(
        job=about.submission_id,
        study=metadata[STUDY],
        results=metadata.get(RESULTS, ""),
        status=str(getattr(about.status, "value", about.status)),
        message=message[0] if message else "",
        exit_status=about.driver_exit_code,
        began_at=_time(about.start_time),
        ended_at=_time(about.end_time),
    )


def _time(milliseconds: int | None) -> datetime | None:
    return None if not milliseconds else datetime.fromtimestamp(milliseconds / 1000, UTC)

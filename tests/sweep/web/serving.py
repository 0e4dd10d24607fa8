"""A server on a free port, in a thread, over results that are made up."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from sweep.cells import demand
from sweep.expand import Cell
from sweep.records import Attempt, FailureKind, cell_row, trial_row
from sweep.store import Store
from sweep.study import Study, load_study
from sweep.web.app import Service
from sweep.web.connection import Connection
from sweep.web.jobs import Job, Order
from sweep.web.listening import MAX_LINE_BYTES
from sweep.web.models import LogPart
from sweep.web.settings import Settings
from tests.sweep.tiny import result

AT = datetime(2026, 1, 1, tzinfo=UTC)
STUDY = {
    "name": "grid",
    "title": "A grid",
    "question": "Does it fill?",
    "seeds": [1, 2, 3],
    "grid": {"teacher": ["small"], "alpha": [0.1, 0.6], "switch_epoch": [1, 2]},
    "recipe": {"epochs": 3, "batch_size": 32},
    "teacher": {"select_on": "test"},
    "evaluation": {"fgsm_epsilons": [0.05]},
    "datasets": {"digits": {"student": "medium"}},
}
"""3 teachers, 3 baselines, 4 student configurations of 3 seeds: 18 trials."""


def study(**overrides: Any) -> Study:
    return load_study(STUDY, overrides)


def cells(of: Study) -> tuple[Cell, ...]:
    return demand(of, None).everything


def ask(store: Store, of: Study) -> tuple[Cell, ...]:
    """Writes what a study asks for, and nothing more."""
    found = cells(of)
    store.write_cells(of.name, [cell_row(cell) for cell in found], of.to_json())
    return found


def finish(store: Store, asked: Sequence[Cell], metric: Callable[[Cell], float | None]) -> None:
    """Publishes a record of each cell's trial for which there is a metric."""
    rows = [
        trial_row(cell, result(test_metric=value, finished_at=AT))
        for cell in asked
        if (value := metric(cell)) is not None
    ]
    store.trials.publish(rows)


def fail(
    store: Store, cell: Cell, message: str, number: int = 1, *, again: bool = False,
    kind: FailureKind = FailureKind.BUG,
) -> None:  # fmt: skip
    """Publishes an attempt that failed."""
    traceback = f"Traceback (most recent call last):\n  made up\nRuntimeError: {message}"
    attempt = Attempt(
        f"{cell.trial_id}-{number}", cell.trial_id, cell.trial_id, "retried" if again else "failed",
        kind, message, traceback, "node-1", "worker-1", AT, AT, 1.0, number=number,
    )  # fmt: skip
    store.attempts.publish([attempt.row()])


def figure(cell: Cell) -> float:
    """80 for baselines, and 80 + 10 alpha + switch + seed / 10 for students; 70 for teachers."""
    if cell.role == "teacher":
        return 70.0
    base = 80.0 + cell.seed / 10
    if cell.role == "baseline":
        return base
    return base + 10 * float(cell.alpha or 0) + int(cell.switch_epoch or 0)


class FakeLauncher:
    """Writes down what it is asked to start; jobs end when a test says so."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.known: list[Job] = []

    def start(self, order: Order) -> Job:
        self.orders.append(order)
        job = Job(f"job{len(self.orders)}", order, "running", None, AT, None, 0)
        self.known.insert(0, job)
        return job

    def stop(self, job_id: str) -> Job | None:
        return self._change(job_id, status="stopping")

    def end(self, job_id: str, exit_status: int = 0) -> None:
        status: Any = "done" if exit_status == 0 else "failed"
        self._change(job_id, status=status, exit_status=exit_status, ended_at=AT)

    def jobs(self) -> Sequence[Job]:
        return list(self.known)

    def log(self, job_id: str, offset: int, limit: int) -> LogPart | None:
        if job_id not in [job.id for job in self.known]:
            return None
        text = "one\ntwo\n"[offset : offset + limit]
        return LogPart(
            text=text, offset=offset, next_offset=offset + len(text), begins_at=0, ended=True
        )

    def _change(self, job_id: str, **changes: Any) -> Job | None:
        for position, job in enumerate(self.known):
            if job.id == job_id:
                self.known[position] = replace(job, **changes)
                return self.known[position]
        return None


@dataclass
class Served:
    """A server that is listening.

    Attributes:
        service: the application.
        port: where.
        client: asks it, as a program would.
    """

    service: Service
    port: int
    client: httpx.Client

    def get(self, path: str, status: int = 200, **options: Any) -> Any:
        """What a GET answers, as JSON."""
        answer = self.client.get(path, **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    def delete(self, path: str, status: int = 200) -> Any:
        """What a DELETE answers, as JSON."""
        answer = self.client.delete(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, status: int = 200, **options: Any) -> Any:
        """What a POST of JSON answers, as JSON."""
        answer = self.client.post(path, json={} if body is None else body, **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    def look(self) -> None:
        """Waits until the server has seen what was written before this call."""
        self.service.web.watch.look_now(30.0)


@contextmanager
def served(settings: Settings, launcher: Any = None) -> Iterator[Served]:
    """Serves in a thread until the block ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        service = Service(replace(settings, port=port), launcher)
        config = uvicorn.Config(
            service, http=Connection, ws="none", lifespan="on", log_level="error", access_log=False,
            h11_max_incomplete_event_size=MAX_LINE_BYTES, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        until = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.01)
        base = f"http://127.0.0.1:{port}"
        try:
            with httpx.Client(base_url=base, timeout=60, trust_env=False) as client:
                yield Served(service, port, client)
        finally:
            server.should_exit = True
            thread.join(30)


def settings_of(folder: Path, **changes: Any) -> Settings:
    return Settings(results=str(folder), **changes)

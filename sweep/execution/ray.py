"""Runs stages on a Ray cluster, in warm actors that each hold a slot for the whole run.

An actor keeps its datasets and teacher outputs, so a stage costs its arithmetic and one call. Ray
reuses processes of plain GPU tasks only when told to; an actor is one by construction. Snapshots
stay in Ray's object store and are owned by the run: a lost worker costs its stage alone.
"""

import contextlib
import logging
import os
import platform
import re
import socket
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sweep.errors import SweepError
from sweep.execution.base import (
    DEFAULT_GPU_SHARE,
    Failure,
    Finished,
    Handle,
    Outcome,
    Runner,
    Task,
    WorkerSetup,
    describe_failure,
)
from sweep.records import FailureKind
from trials.task import ChosenTeacher

MAX_LOST_IN_A_ROW = 20
"""Workers that may die one after the other before the cluster is given up."""


class Worker:
    """What runs in a worker process."""

    def __init__(self, setup: WorkerSetup) -> None:
        """Sets up the process: registered extensions, one thread, the device."""
        import data
        import models
        from trials.device import choose, configure
        from trials.stage import Workshop, run_stage

        for entry in setup.extensions:
            owner = data if isinstance(entry, data.DatasetEntry) else models
            owner.register(entry, replace=True)
        configure()
        self._runner: Runner = setup.runner or run_stage
        self._workshop = Workshop(choose(setup.gpus), setup.data_dir, setup.gpus or 1.0)
        self._name = f"process {os.getpid()}"

    def run(
        self, task: Task, start: bytes | None, *teachers: ChosenTeacher
    ) -> tuple[dict[str, Any], bytes | None]:
        """Runs a stage; what goes wrong is part of the answer."""
        began = datetime.now(UTC)
        outcome: Outcome | None = None
        failure: Failure | None = None
        snapshot: bytes | None = None
        try:
            outcome = self._runner(task, start, teachers, self._workshop)
            snapshot = outcome.snapshot
            outcome = replace(outcome, snapshot=None)
        except Exception as error:
            failure = describe_failure(error)
        return {
            "outcome": outcome,
            "failure": failure,
            "node": platform.node(),
            "worker": self._name,
            "started_at": began,
            "finished_at": datetime.now(UTC),
        }, snapshot


class RayExecutor:
    """One actor for each slot of a cluster."""

    def __init__(
        self, setup: WorkerSetup, address: str | None = None, workers: int | None = None
    ) -> None:
        """Joins a cluster, or starts one on this machine, and fills it with workers.

        Args:
            setup: what workers need to know.
            address: of an existing cluster; None starts one here, on loopback, without dashboard.
            workers: at most this many; None for as many as there is room for.

        Raises:
            SweepError: where the cluster cannot be reached or has no room for one worker.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if address is None:
            # Ray replaces a loopback address by one that others can reach, unless told that this
            # machine can be in no cluster; that switch is read when Ray is imported.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray

        self._ray = ray
        self._started_here = not ray.is_initialized()
        self._restore_output: Callable[[], None] = _silence()
        if self._started_here:
            _connect(ray, address, workers)
        if setup.gpus is None:
            any_gpu = any(node["Resources"].get("GPU", 0) >= 1 for node in self._cluster_nodes())
            setup = replace(setup, gpus=DEFAULT_GPU_SHARE if any_gpu else 0.0)
        self._setup = setup
        self._actor_class, self._slots = self._size(workers, setup.gpus or 0.0)
        self._idle: list[Any] = [self._new_worker() for _ in range(self._slots)]
        self._running: dict[Any, tuple[str, Any, Any, datetime]] = {}
        self._lost_in_a_row = 0
        self._stopped = False

    @property
    def slots(self) -> int:
        """How many stages run at a time."""
        return self._slots

    @property
    def free(self) -> int:
        """How many workers wait for a stage."""
        return len(self._idle)

    def put(self, value: ChosenTeacher | bytes) -> Handle:
        """Puts a value into the object store once."""
        return self._ray.put(value)

    def get(self, handle: Handle) -> bytes:
        """Fetches a value from the object store."""
        content: Any = self._ray.get(handle)
        return bytes(content)

    def submit(
        self, task_id: str, task: Task, start: Handle | None, teachers: Sequence[Handle]
    ) -> None:
        """Gives a stage to an idle worker."""
        worker = self._idle.pop()
        answer, snapshot = worker.run.options(num_returns=2).remote(task, start, *teachers)
        self._running[answer] = (
            task_id, worker, snapshot if task.hand_over else None, datetime.now(UTC),
        )  # fmt: skip

    def wait(self, timeout_s: float) -> list[Finished]:
        """What has ended; a worker that died is replaced and its stage reported as lost."""
        if not self._running:
            return []
        pending = list(self._running)
        ready, _ = self._ray.wait(
            pending, num_returns=len(pending), timeout=0, fetch_local=True
        )  # fmt: skip
        if not ready:
            ready, _ = self._ray.wait(pending, num_returns=1, timeout=timeout_s)
        return [self._collect(answer) for answer in ready]

    def stop(self) -> None:
        """Ends the workers, and the cluster if it was started here."""
        if self._stopped:
            return
        self._stopped = True
        workers = [*self._idle, *(entry[1] for entry in self._running.values())]
        self._idle, self._running = [], {}
        for worker in workers:
            with contextlib.suppress(Exception):
                self._ray.kill(worker)
        if self._started_here:
            self._ray.shutdown()
        self._restore_output()

    def _collect(self, answer: Any) -> Finished:
        task_id, worker, snapshot, submitted = self._running.pop(answer)
        try:
            report = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            return self._lost(task_id, worker, submitted, error)
        self._lost_in_a_row = 0
        self._idle.append(worker)
        return Finished(task_id=task_id, snapshot=snapshot, **report)

    def _lost(self, task_id: str, worker: Any, submitted: datetime, error: Exception) -> Finished:
        if getattr(error, "_actor_init_failed", False) or "creation task" in str(error):
            raise SweepError(f"a worker could not start: {_last_line(error)}")
        self._lost_in_a_row += 1
        if self._lost_in_a_row > MAX_LOST_IN_A_ROW:
            raise SweepError(
                f"{self._lost_in_a_row} workers died one after the other; the last said: "
                f"{_last_line(error)}"
            )
        exceptions = self._ray.exceptions
        if isinstance(error, exceptions.OutOfMemoryError):
            kind = FailureKind.HOST_OUT_OF_MEMORY
        elif isinstance(error, exceptions.RayTaskError):
            kind = FailureKind.BUG
        else:
            kind = FailureKind.WORKER_LOST
        with contextlib.suppress(Exception):
            self._ray.kill(worker)
        self._idle.append(self._new_worker())
        failure = Failure(kind, f"{type(error).__name__}: {error}".strip(), str(error))
        return Finished(
            task_id, None, None, failure, "unknown", "unknown", submitted, datetime.now(UTC)
        )

    def _new_worker(self) -> Any:
        return self._actor_class.remote(self._setup)

    def _cluster_nodes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ray.nodes()  # type: ignore[no-untyped-call]
        return found

    def _size(self, workers: int | None, gpus: float) -> tuple[Any, int]:
        """The actor with its resources, and how many of it fit, node by node."""
        room = 0
        nodes = [node["Resources"] for node in self._cluster_nodes() if node["Alive"]]
        cpus = 1.0
        if gpus > 0:
            room = sum(_fitting(node.get("GPU", 0.0), gpus) for node in nodes)
            total_cpus = sum(node.get("CPU", 0.0) for node in nodes)
            cpus = min(1.0, total_cpus / room) if room else 1.0
        else:
            room = sum(_fitting(node.get("CPU", 0.0), 1.0) for node in nodes)
        if room == 0:
            wanted = f"{gpus:g} of a GPU" if gpus else "one CPU"
            raise SweepError(f"no node of the cluster has {wanted} for a trial")
        actor = self._ray.remote(Worker).options(
            num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0
        )
        return actor, min(room, workers or room)


def _last_line(error: Exception) -> str:
    """The innermost message of an error that Ray wrapped, without its colours."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _fitting(available: float, each: float) -> int:
    """How many shares fit into whole devices: a share never spans two."""
    if each >= 1:
        return int(available / each + 1e-9)
    return int(available) * int(1 / each + 1e-9)


def _connect(ray: Any, address: str | None, workers: int | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "address": "local",  # not one that RAY_ADDRESS or an earlier `ray start` names
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
            "num_cpus": workers,
        }
    else:
        _check_reachable(address)
        options["address"] = address
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ray.init(**options)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            where = address or "this machine"
            hint = ""
            explicit = address not in (None, "auto")
            if (
                explicit
                and isinstance(error, ConnectionError)
                and "RAY_AUTH_MODE" not in os.environ
            ):
                hint = "; one that wants a token is joined with RAY_AUTH_MODE=token"
            raise SweepError(f"no Ray cluster could be used at {where}: {error}{hint}") from None


def _check_reachable(address: str) -> None:
    """Finds out in seconds that nothing listens at HOST:PORT, where Ray tries for minutes."""
    host, _, port = address.rpartition(":")
    if "//" in address or not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
    except (OSError, OverflowError) as error:
        raise SweepError(
            f"--address {address}: nothing answers there ({error}); must be HOST:PORT of a Ray "
            "cluster's head node, or auto"
        ) from None


def _silence() -> Callable[[], None]:
    """Keeps Ray from printing about lost workers on standard output, where `--json` writes.

    The run tells of them in a line of its own; Ray has no setting for it.

    Returns:
        Undoes it.
    """
    from ray._private import worker as internals

    before = getattr(internals, "print_to_stdstream", None)
    if before is None:
        return lambda: None
    internals.print_to_stdstream = lambda *_arguments, **_options: None
    return lambda: setattr(internals, "print_to_stdstream", before)

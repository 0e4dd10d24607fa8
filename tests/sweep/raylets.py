"""A real cluster of several raylets on this machine, started as people start one: by `ray start`.

Each node is processes of its own, with as many processors and pretended GPUs as it says. `ray start`
listens where other machines can reach it, so a cluster asks for a token unless a test is about that.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"
STORE_BYTES = 100 * 1024**2
PATIENCE_S = 120.0


@dataclass(eq=False)
class Raylet:
    """A node: the processes of one `ray start`."""

    process: subprocess.Popen[str]
    folder: Path

    def kill(self) -> None:
        """Ends it at once, workers and all."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Raylets:
    """A cluster; nodes are added and killed by whoever uses it.

    Attributes:
        folder: for everything that Ray writes.
        token: that it asks for; None where it asks for none.
        environment: more variables for its nodes, and so for their workers and jobs.
    """

    folder: Path
    token: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    nodes: list[Raylet] = field(default_factory=list)
    port: int = 0
    dashboard: int = 0

    @property
    def address(self) -> str:
        """Of the head."""
        return f"{this_machine()}:{self.port}"

    @property
    def jobs(self) -> str:
        """Where jobs are taken."""
        return f"http://127.0.0.1:{self.dashboard}"

    @property
    def variables(self) -> dict[str, str]:
        """What a process needs to know to use it."""
        auth = {"RAY_AUTH_MODE": "disabled"}
        if self.token is not None:
            auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        return {
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "PATH": f"{RAY.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            **auth,
            **self.environment,
        }

    def head(self, *, cpus: int = 1, gpus: int = 0, jobs: bool = False) -> Raylet:
        """Starts the first node.

        Args:
            cpus: processors it says it has.
            gpus: GPUs it says it has.
            jobs: whether it takes jobs.
        """
        self.port, self.dashboard = free_port(), free_port()
        also = [f"--include-dashboard={'true' if jobs else 'false'}"]
        if jobs:
            also += [f"--dashboard-port={self.dashboard}", "--dashboard-host=127.0.0.1"]
        where = ["--head", f"--port={self.port}", f"--temp-dir={self.folder}"]
        return self._start([*where, *also], cpus, gpus)

    def join(self, *, cpus: int = 1, gpus: int = 0, token: str | None = None) -> Raylet:
        """Adds a node; see `head`."""
        return self._start([f"--address={self.address}"], cpus, gpus, token)

    def stop(self) -> None:
        """Ends all nodes, the head last."""
        for node in reversed(self.nodes):
            node.kill()

    def _start(
        self, arguments: list[str], cpus: int, gpus: int, token: str | None = None
    ) -> Raylet:
        command = [
            str(RAY), "start", *arguments, "--block", f"--node-ip-address={this_machine()}",
            f"--num-cpus={cpus}", f"--num-gpus={gpus}", f"--object-store-memory={STORE_BYTES}",
            f"--dashboard-agent-listen-port={free_port()}",
            "--disable-usage-stats", "--min-worker-port=0", "--max-worker-port=0",
        ]  # fmt: skip
        given = {} if token is None else {"RAY_AUTH_TOKEN": token}
        outside = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        said = self.folder / f"node-{len(self.nodes)}.log"
        with said.open("w") as out:
            process = subprocess.Popen(
                command, env={**outside, **self.variables, **given}, stdout=out, text=True,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        node = Raylet(process, self.folder)
        self.nodes.append(node)
        until = time.monotonic() + PATIENCE_S
        while "Ray runtime started" not in said.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"a node did not start: {said.read_text()}")
            time.sleep(0.05)
        return node


@contextlib.contextmanager
def raylets(*, token: bool = True, **environment: str) -> Iterator[Raylets]:
    """A cluster without nodes, all of which are ended at the end."""
    folder = Path(tempfile.mkdtemp(prefix="rl-", dir="/tmp"))
    found = Raylets(folder, secrets.token_hex(32) if token else None, environment)
    try:
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)


def this_machine() -> str:
    """The address that Ray finds for this machine."""
    from ray.util import get_node_ip_address

    return str(get_node_ip_address())


def free_port() -> int:
    """A port of loopback on which nobody listens now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port

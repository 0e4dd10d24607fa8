"""Joins a Ray cluster, with its token where it asks for one, or starts one on this machine.

Ray finds a token in `RAY_AUTH_TOKEN`, in the file that `RAY_AUTH_TOKEN_PATH` names, or in
`~/.ray/auth_token`, and shows it where `RAY_AUTH_MODE` is `token`. A driver that asks for tokens
cannot be reached by workers of a cluster without, so the mode is chosen by what the cluster wants. A
cluster that is started here has its own, which Ray makes.
"""

import contextlib
import importlib
import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep import scratch
from sweep.errors import SweepError
from sweep.interrupts import children_ignore_hangups

MODE = "RAY_AUTH_MODE"
TOKEN_HINT = (
    "its token is looked for in RAY_AUTH_TOKEN, in the file named by RAY_AUTH_TOKEN_PATH, and in "
    "~/.ray/auth_token, and must be the one the head node was started with"
)


def connect(ray: Any, address: str | None, workers: int | None, folder: Path | None) -> None:
    """Connects this process.

    Args:
        ray: the module.
        address: of a cluster; None starts one on this machine, on loopback, without dashboard.
        workers: processors of a cluster that is started; None for those of the machine.
        folder: where a cluster that is started keeps its files.

    Raises:
        SweepError: where that cannot be done; it says why, and what to do.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "address": "local",  # not one that RAY_ADDRESS or an earlier `ray start` names
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
            "num_cpus": workers,
            "_temp_dir": None if folder is None else str(folder),
        }
    else:
        check_reachable(address)
        options["address"] = address
    marked = contextlib.nullcontext() if folder is None else scratch.marking(folder)
    with warnings.catch_warnings(), marked, children_ignore_hangups():
        warnings.simplefilter("ignore")
        try:
            if address is not None:
                _agree_on_token(ray, address)
            ray.init(**options)
        except ray.exceptions.AuthenticationError:
            raise SweepError(
                f"--address {address}: the cluster asks for another token than the one that is "
                f"known here, or there is none; {TOKEN_HINT}"
            ) from None
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            where = address or "this machine"
            raise SweepError(f"no Ray cluster could be used at {where}: {error}") from None


def on_loopback(address: str) -> bool:
    """Whether only this machine can reach an address."""
    host = address.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


def check_reachable(address: str) -> None:
    """Finds out in seconds that nothing listens at HOST:PORT, where Ray tries for minutes.

    Raises:
        SweepError: for that, and for the address of something else than a head node: workers must be
            able to reach this process, which they are not through Ray's client (`ray://`).
    """
    wanted = "HOST:PORT of a Ray cluster's head node, or auto"
    if "://" in address:
        raise SweepError(
            f"--address {address}: must be {wanted}; `sweep submit` hands a study to a cluster that is "
            "reached by its dashboard alone, at http://HOST:8265"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    check_listening(address, host.strip("[]"), int(port), wanted)


def check_listening(address: str, host: str, port: int, wanted: str) -> None:
    """Finds out in seconds that nothing listens on a port.

    Args:
        address: as it was given.
        host: the machine.
        port: on it.
        wanted: what the address must be, in words.

    Raises:
        SweepError: where nothing does.
    """
    try:
        socket.create_connection((host, port), timeout=5.0).close()
    except (OSError, OverflowError) as error:
        raise SweepError(
            f"--address {address}: nothing answers there ({error}); must be {wanted}"
        ) from None


def _agree_on_token(ray: Any, address: str) -> None:
    """Shows a token where the cluster wants one and nobody has said whether to.

    Raises:
        AuthenticationError: of Ray, at once, where `ray.init` would try for long.
    """
    from ray._private import services

    if os.environ.get(MODE, "").lower() == "token" and not _has_token():
        raise ray.exceptions.AuthenticationError("no token")
    found = services.canonicalize_bootstrap_address(address)
    if found is None:
        return
    try:
        _greet(found)
    except ray.exceptions.AuthenticationError:
        if MODE in os.environ or not _has_token():
            raise
        os.environ[MODE] = "token"
        _inside().Config.initialize("")  # this process has read its settings already
        _greet(found)


def _greet(address: str) -> None:
    """Asks a cluster something, which it answers only to who has its token."""
    from ray.exceptions import RpcError

    # One that is slow to answer is left to `ray.init`, which is patient.
    with _nothing_said(), contextlib.suppress(RpcError):
        _inside().GcsClient(address=address)


def _inside() -> Any:
    """What Ray's own commands use."""
    return importlib.import_module("ray._raylet")


@contextlib.contextmanager
def _nothing_said() -> Iterator[None]:
    """Keeps what compiled code would write on standard error from a terminal."""
    sys.stderr.flush()
    before = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _has_token() -> bool:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return (Path(path) if path else Path.home() / ".ray" / "auth_token").is_file()

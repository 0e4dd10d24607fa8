"""The job server of a cluster: where it is, and its token.

The token is sent to a server that asks for one, and to no other.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sweep.errors import SweepError
from sweep.execution.joining import MODE, TOKEN_HINT, check_listening

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

DEFAULT_PORT = 8265

_OTHER_ADDRESSES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
_TALKATIVE = ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging")
_ENVIRONMENT = threading.Lock()


def connect(address: str) -> "JobSubmissionClient":
    """A client of a job server.

    Args:
        address: `http://HOST:PORT` of the head node's dashboard.

    Raises:
        SweepError: where nothing answers there, it is no job server, or it wants another token.
    """
    url = server_url(address)
    with refusals(address):
        from ray.exceptions import AuthenticationError

        try:
            return _client(url, None)
        except AuthenticationError:
            token = known_token()
            if token is None:
                raise
            return _client(url, token)


def server_url(address: str) -> str:
    """The address of a job server, checked to be one where something listens.

    Raises:
        SweepError: where it is not.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    plain = (
        parts.path in ("", "/") and not parts.query and not parts.fragment and not parts.username
    )
    if parts.scheme not in ("http", "https") or not host or not plain:
        raise SweepError(
            f"--address {address!r}: must be http://HOST:{DEFAULT_PORT}, where the dashboard of the "
            "cluster's head node is"
        )
    port = port or (443 if parts.scheme == "https" else DEFAULT_PORT)
    check_listening(address, host, port, "the dashboard of a Ray cluster's head node")
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}:{port}"


def known_token() -> str | None:
    """The token that is in place here; None where there is none, or none is to be used."""
    if os.environ.get(MODE, "").lower() == "disabled":
        return None
    if found := os.environ.get("RAY_AUTH_TOKEN"):
        return found.strip()
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    with contextlib.suppress(OSError):
        return (Path(given) if given else Path.home() / ".ray" / "auth_token").read_text().strip()
    return None


@contextlib.contextmanager
def refusals(address: str) -> Iterator[None]:
    """Says in one message what went wrong with a job server.

    Raises:
        SweepError: for that.
    """
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError:
        raise SweepError(
            f"--address {address}: the cluster asks for another token than the one that is known "
            f"here, or there is none; {TOKEN_HINT}"
        ) from None
    except (RuntimeError, ConnectionError, OSError, ValueError) as error:
        raise SweepError(f"--address {address}: {_first_line(error)}") from None


def _client(url: str, token: str | None) -> "JobSubmissionClient":
    from ray.job_submission import JobSubmissionClient

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    headers: dict[str, Any] = {} if token is None else {"Authorization": f"Bearer {token}"}
    with _ENVIRONMENT:  # the library takes an address in the environment for the one that is given
        before = {name: os.environ.pop(name) for name in _OTHER_ADDRESSES if name in os.environ}
        try:
            return JobSubmissionClient(url, headers=headers)
        finally:
            os.environ.update(before)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

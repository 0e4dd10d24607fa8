"""Listens until it is told to end."""

import socket
import sys
from dataclasses import replace

from sweep.web.app import Service
from sweep.web.settings import Settings, is_loopback

MAX_LINE_BYTES = 32 * 1024
"""Of the first line and the headers of a request; more is refused before anything is parsed."""
AT_ONCE = 512
"""Connections; more are refused, so that who opens many and says nothing takes no memory."""


def listen(settings: Settings, *, shows_token: bool) -> None:
    """Serves until a signal.

    Args:
        settings: what the server is started with; port 0 takes a free one.
        shows_token: whether it was made up, so that it must be told.

    Raises:
        OSError: where the address cannot be had.
        StoreError: where the results cannot be read.
    """
    import uvicorn

    from sweep.web.connection import Connection

    listening = _bound(settings.host, settings.port)
    with listening:
        settings = replace(settings, port=listening.getsockname()[1])
        service = Service(settings)
        config = uvicorn.Config(
            service, http=Connection, ws="none", lifespan="on", access_log=False, server_header=False,
            proxy_headers=False, h11_max_incomplete_event_size=MAX_LINE_BYTES,
            limit_concurrency=AT_ONCE, timeout_keep_alive=15, timeout_graceful_shutdown=5,
            log_level="warning",
        )  # fmt: skip
        _tell(settings, shows_token=shows_token)
        uvicorn.Server(config).run(sockets=[listening])


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host.strip("[]"), port))
        found.listen(256)
    except BaseException:
        found.close()
        raise
    return found


def _tell(settings: Settings, *, shows_token: bool) -> None:
    shown = settings.host if is_loopback(settings.host) else socket.gethostname()
    if ":" in shown and not shown.startswith("["):
        shown = f"[{shown}]"
    address = f"http://{shown}:{settings.port}/"
    print(f"serving {settings.results} at {address}", flush=True)
    if shows_token:
        # After '#': a browser does not send it, so it is in no log.
        print(f"  with its token: {address}#token={settings.token}", flush=True)
    if settings.token is not None and not is_loopback(settings.host):
        print(
            "  the connection is not encrypted: put it behind a proxy with TLS, or use `ssh -L`",
            file=sys.stderr, flush=True,
        )  # fmt: skip

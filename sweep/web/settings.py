"""What a server was started with."""

import functools
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Settings:
    """What a server was started with.

    Attributes:
        results: the results directory, or a URL.
        host: the address it listens on.
        port: the port.
        token: who knows it may ask; None lets everybody who reaches it.
        names: further names under which it may be asked, in the Host header.
        uploads_may_read: the folder in which files that an uploaded study names may lie.
        state: the folder for uploaded studies and the records of runs; None is in the results.
        address: of the Ray cluster on which runs are started; None starts Ray here. One that begins
            with `http` is that of its job server, to which runs are handed over.
        local: runs train in one process, without Ray.
        data_dir: where datasets lie; None is the default place.
    """

    results: str
    host: str = "127.0.0.1"
    port: int = 8501
    token: str | None = None
    names: tuple[str, ...] = ()
    uploads_may_read: Path | None = None
    state: Path | None = None
    address: str | None = None
    local: bool = False
    data_dir: Path | None = None

    def answers_to(self, name: str) -> bool:
        """Whether a name in the Host header is one of this server's.

        A page of somebody else whose name was pointed here (DNS rebinding) says its own name.
        An address is no name, so it cannot be pointed anywhere.
        """
        name = name.lower().rstrip(".")
        if is_loopback(self.host):
            return name in (*LOOPBACK_NAMES, *_written(self.host), *self.names)
        own = (self.host.lower(), *_names_of_this_machine())
        return name in (*LOOPBACK_NAMES, *own, *self.names) or _is_address(name)


def _written(host: str) -> tuple[str, str]:
    """An address as it is given, and as it stands in an address of the web."""
    host = host.lower().strip("[]")
    return host, f"[{host}]"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@functools.cache
def _names_of_this_machine() -> tuple[str, ...]:
    return socket.gethostname().lower(), socket.getfqdn().lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True

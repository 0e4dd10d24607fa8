"""What the two processes of a query say to each other: JSON with its length before it."""

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

BROKEN, NO_MEMORY = 1, 3
"""How a child ends that could not answer: a mistake of ours; no memory in the middle of an answer."""

_LENGTH = struct.Struct("!I")


def send(to: socket.socket, message: Mapping[str, Any], descriptor: int | None = None) -> None:
    """Sends a message, and with it an open file."""
    content = json.dumps(message).encode()
    socket.send_fds(to, [_LENGTH.pack(len(content))], [] if descriptor is None else [descriptor])
    to.sendall(content)


def receive(sender: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message, and the open files that came with it; None where the other side ended."""
    head, descriptors, _, _ = socket.recv_fds(sender, _LENGTH.size, 1)
    while head and len(head) < _LENGTH.size:
        more = sender.recv(_LENGTH.size - len(head))
        head = head + more if more else b""
    if not head:
        return None
    content = bytearray()
    (size,) = _LENGTH.unpack(head)
    while len(content) < size:
        part = sender.recv(min(size - len(content), 1 << 20))
        if not part:
            return None
        content += part
    return json.loads(content), descriptors

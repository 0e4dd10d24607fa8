"""Answers that are made once for all who ask: serialised, compressed and named by their content.

A page that asks again with the name of what it has (`If-None-Match`) is told in a few bytes that
nothing has changed.
"""

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

MOST, MOST_BYTES = 512, 64 * 1024 * 1024
COMPRESSED_FROM = 1024
JSON = "application/json"


@dataclass(frozen=True)
class Made:
    """An answer as it is sent.

    Attributes:
        content: as it is.
        compressed: by gzip; None for a few bytes.
        tag: names the content.
    """

    content: bytes
    compressed: bytes | None
    tag: str


def made(content: bytes) -> Made:
    """An answer, compressed and named."""
    compressed = gzip.compress(content, 5, mtime=0) if len(content) >= COMPRESSED_FROM else None
    return Made(content, compressed, hashlib.sha256(content).hexdigest()[:32])


def send(
    request: Request, one: Made, media_type: str = JSON, cache: str = "private, no-cache"
) -> Response:
    """An answer in the form that the request accepts; 304 where it has it."""
    packed = one.compressed is not None and _accepts_gzip(request)
    tag = f'"{one.tag}-gz"' if packed else f'"{one.tag}"'
    headers = {"ETag": tag, "Cache-Control": cache, "Vary": "Accept-Encoding, Cookie"}
    known = {word.strip() for word in request.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return Response(None, 304, headers)
    if packed and one.compressed is not None:
        headers["Content-Encoding"] = "gzip"
        return Response(one.compressed, 200, headers, media_type)
    return Response(one.content, 200, headers, media_type)


def _accepts_gzip(request: Request) -> bool:
    accepted = request.headers.get("accept-encoding", "").lower()
    words = [word.partition(";") for word in accepted.split(",")]
    return any(
        name.strip() in ("gzip", "*") and weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
        for name, _, weight in words
    )  # fmt: skip


class Answers:
    """The answers that were made last, each for a version of what it is made from."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[Hashable, Made]] = OrderedDict()
        self._bytes = 0
        self._being_made: dict[Hashable, asyncio.Task[Made]] = {}

    async def get(
        self, key: Hashable, version: Hashable, make: Callable[[], BaseModel | bytes]
    ) -> Made:
        """The answer to a question; it is made in another thread, once for all who ask.

        Args:
            key: of the question.
            version: of what the answer is made from.
            make: makes it.
        """
        found = self._kept.get(key)
        if found is not None and found[0] == version:
            self._kept.move_to_end(key)
            return found[1]
        both = (key, version)
        task = self._being_made.get(both)
        if task is None:
            task = self._being_made[both] = asyncio.create_task(self._make(key, version, make))
            task.add_done_callback(lambda ended: self._is_made(both, ended))
        return await asyncio.shield(task)  # who goes away does not take it from the others

    async def _make(
        self, key: Hashable, version: Hashable, make: Callable[[], BaseModel | bytes]
    ) -> Made:
        one = await run_in_threadpool(_made, make)
        self._keep(key, version, one)
        return one

    def _is_made(self, both: Hashable, ended: "asyncio.Task[Made]") -> None:
        del self._being_made[both]
        if not ended.cancelled():
            ended.exception()  # whoever waits has it; nobody may

    async def send(
        self,
        request: Request,
        key: Hashable,
        version: Hashable,
        make: Callable[[], BaseModel | bytes],
    ) -> Response:
        """The same, as it is sent."""
        return send(request, await self.get(key, version, make))

    def _keep(self, key: Hashable, version: Hashable, one: Made) -> None:
        before = self._kept.pop(key, None)
        self._bytes += _size(one) - (_size(before[1]) if before else 0)
        self._kept[key] = (version, one)
        while len(self._kept) > MOST or (self._bytes > MOST_BYTES and len(self._kept) > 1):
            _, (_, old) = self._kept.popitem(last=False)
            self._bytes -= _size(old)


def _made(make: Callable[[], BaseModel | bytes]) -> Made:
    found = make()
    return made(found if isinstance(found, bytes) else found.model_dump_json().encode())


def _size(one: Made) -> int:
    return len(one.content) + len(one.compressed or b"")

"""What every request must pass before a route sees it, and what every answer says to the browser.

- The name it was asked under is one of the server's (a page whose name was pointed here says its own).
- Who asks knows the token, where there is one: as `Authorization: Bearer`, or by the cookie that
  logging in gave. It is compared in constant time, and wrong ones are counted.
- What changes something comes from the server's own page, or from no page at all, and is JSON or
  TOML, or a DELETE, which no form of another page can send. Nothing is ever shared across origins.
- Address, headers and body are of limited length, and the body is there in limited time.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sweep.web.problems import answer
from sweep.web.settings import Settings

MAX_TARGET, MAX_HEADERS, MAX_HEADER_BYTES = 4_096, 64, 16_384
MAX_BODY = 320 * 1024
"""Of an uploaded study, 256 KiB, with what JSON adds to it."""
BODY_S = 15.0
SAFE = frozenset({"GET", "HEAD"})
CHANGING = frozenset({"POST", "DELETE"})
BODILESS = frozenset({"DELETE"})
METHODS = ", ".join((*sorted(SAFE), "POST", "DELETE"))
TYPES = frozenset({"application/json", "application/toml"})
OPEN = frozenset({"/", "/healthz", "/api/session", "/api/login", "/favicon.ico"})
"""Addresses that are answered without the token: the page itself, which says nothing of results."""
STATIC = "/static/"

SESSION_S, MAX_SESSIONS = 12 * 3600.0, 1_000
TRIES, TRIES_S, MAX_WATCHED = 10, 60.0, 1_024

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self'; img-src 'self' data: blob:; font-src 'self'; manifest-src 'self'; "
    "frame-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""plotly writes style elements, so styles in the page are allowed; scripts in it are not."""

REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "connect-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""A report is a page of its own origin, which reaches nothing."""

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")


class Sessions:
    """Who has logged in. Kept in memory: a restarted server asks for the token again."""

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._ends: OrderedDict[str, float] = OrderedDict()

    @property
    def needed(self) -> bool:
        """Whether a token is asked for."""
        return self._token is not None

    def knows(self, token: str) -> bool:
        """Whether this is the token; takes as long for one that is nearly right."""
        if self._token is None:
            return False
        given, own = (hashlib.sha256(text.encode("utf-8", "replace")).digest()
                      for text in (token, self._token))  # fmt: skip
        return hmac.compare_digest(given, own)

    def begin(self) -> str:
        """A session for who knows the token: the value of its cookie."""
        value = secrets.token_urlsafe(32)
        self._ends[_hashed(value)] = time.monotonic() + SESSION_S
        while len(self._ends) > MAX_SESSIONS:
            self._ends.popitem(last=False)
        return value

    def has(self, value: str) -> bool:
        """Whether a cookie is that of a session."""
        return self._ends.get(_hashed(value), 0.0) > time.monotonic()

    def end(self, value: str) -> None:
        """Ends a session."""
        self._ends.pop(_hashed(value), None)


class Tries:
    """Counts wrong tokens by where they come from."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def too_many(self, client: str) -> bool:
        """Whether so many came that more are not looked at for a while."""
        times = self._wrong.get(client)
        while times and times[0] < time.monotonic() - TRIES_S:
            times.popleft()
        return times is not None and len(times) >= TRIES

    def wrong(self, client: str) -> None:
        """Counts one."""
        self._wrong.setdefault(client, deque(maxlen=TRIES)).append(time.monotonic())
        self._wrong.move_to_end(client)
        while len(self._wrong) > MAX_WATCHED:
            self._wrong.popitem(last=False)


class Guard:
    """The outermost layer of the server; see the top of this module."""

    def __init__(self, app: ASGIApp, settings: Settings, sessions: Sessions, tries: Tries) -> None:
        self._app, self._settings = app, settings
        self._sessions, self._tries = sessions, tries
        self.cookie = cookie_name(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # nothing here speaks over websockets: closing refuses
        said = _with_headers(send)
        refused = self._refused(scope)
        if refused is not None:
            await refused(scope, receive, said)
            return
        body = b""
        if scope["method"] in CHANGING:
            read = await _read(receive)
            if isinstance(read, Response):
                await read(scope, receive, said)
                return
            if read and scope["method"] in BODILESS:
                refused = answer(400, f"a {scope['method']} has no body")
                await refused(scope, receive, said)
                return
            body = read
        await self._app(scope, _replayed(body, receive), said)

    def _refused(self, scope: Scope) -> Response | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        target = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if target > MAX_TARGET:
            return answer(414, f"the address is longer than {MAX_TARGET:,} bytes")
        total = sum(len(name) + len(value) for name, value in headers)
        if len(headers) > MAX_HEADERS or total > MAX_HEADER_BYTES:
            return answer(431, "the headers are too many, or too long")
        path: str = scope["path"]
        if not path.startswith("/") or any(ord(letter) < 32 or letter == "\\" for letter in path):
            return answer(400, "the address holds a character that none of ours has")
        if "\x7f" in path or any(part in (".", "..") for part in path.split("/")):
            return answer(400, "the address holds a part that none of ours has")
        authority = _authority(_values(headers, b"host"))
        if authority is None or not self._settings.answers_to(authority[0]):
            return answer(
                421, "the Host header is not a name of this server; --allow-host NAME adds one"
            )
        if scope["method"] not in SAFE | CHANGING:
            return answer(405, f"the method is not one of {METHODS}", {"Allow": METHODS})
        private = not (path in OPEN or path.startswith(STATIC))
        if private and _one(headers, b"sec-fetch-site") in ("cross-site", "same-site"):
            return answer(403, "asked for by a page of another origin")
        if scope["method"] in CHANGING:
            refused = self._refused_to_change(scope["method"], headers, authority, private=private)
            if refused is not None:
                return refused
        return self._refused_entry(scope, headers) if private else None

    def _refused_to_change(
        self,
        method: str,
        headers: list[tuple[bytes, bytes]],
        authority: tuple[str, int | None],
        *,
        private: bool,
    ) -> Response | None:
        origins = _values(headers, b"origin")
        site = _one(headers, b"sec-fetch-site")
        if len(origins) > 1 or (origins and not _same_origin(origins[0], authority)):
            return answer(403, "sent by a page of another origin")
        if site not in (None, "same-origin"):
            return answer(403, "sent by a page of another origin")
        by_cookie = private and self._sessions.needed and not _values(headers, b"authorization")
        if by_cookie and not origins and site is None and _values(headers, b"cookie"):
            return answer(403, "a cookie alone does not say which page sent this")
        if method not in BODILESS and (refused := _refused_type(headers)) is not None:
            return refused
        if _values(headers, b"content-encoding"):
            return answer(415, "the body must not be compressed")
        lengths = _values(headers, b"content-length")
        if len(lengths) > 1 or (lengths and _values(headers, b"transfer-encoding")):
            return answer(400, "the length of the body is given twice")
        if lengths and not lengths[0].isdecimal():
            return answer(400, "Content-Length is not a number")
        if lengths and (len(lengths[0]) > 12 or int(lengths[0]) > MAX_BODY):
            return answer(413, f"the body is larger than {MAX_BODY:,} bytes")
        return None

    def _refused_entry(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> Response | None:
        if not self._sessions.needed:
            return None
        client = client_of(scope)
        given = _values(headers, b"authorization")
        if given:
            if self._tries.too_many(client):
                return answer(429, "too many wrong tokens", {"Retry-After": str(int(TRIES_S))})
            scheme, _, token = given[0].partition(" ")
            if (
                len(given) == 1
                and scheme.lower() == "bearer"
                and self._sessions.knows(token.strip())
            ):
                return None
            self._tries.wrong(client)
        else:
            value = cookie_of(_values(headers, b"cookie"), self.cookie)
            if value and self._sessions.has(value):
                return None
        return answer(
            401, "the token of this server is needed", {"WWW-Authenticate": 'Bearer realm="sweep"'}
        )


def cookie_name(settings: Settings) -> str:
    """The name of the cookie; browsers keep one jar for all ports of a host."""
    return f"sweep-session-{settings.port}"


def cookie_of(headers: Iterable[str], name: str) -> str | None:
    """The value of a cookie; None where there is none, or several."""
    found = []
    for header in headers:
        for part in header.split(";"):
            key, equals, value = part.strip().partition("=")
            if equals and key == name:
                found.append(value)
    return found[0] if len(found) == 1 else None


def session_cookie(name: str, value: str, *, secure: bool) -> str:
    """The header that sets the cookie, or, with an empty value, takes it away."""
    try:
        cookie: SimpleCookie = SimpleCookie({name: value})
    except CookieError as error:
        raise ValueError(str(error)) from None
    morsel = cookie[name]
    morsel["path"], morsel["httponly"], morsel["samesite"] = "/", True, "Strict"
    morsel["max-age"] = int(SESSION_S) if value else 0
    if secure:
        morsel["secure"] = True
    return morsel.OutputString()


def client_of(scope: Scope) -> str:
    """Where a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _hashed(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name]


def _one(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    found = _values(headers, name)
    return ",".join(found).strip().lower() if found else None


def _authority(hosts: list[str]) -> tuple[str, int | None] | None:
    """Name and port of a Host header; None where it is none."""
    match = _HOST.fullmatch(hosts[0].strip()) if len(hosts) == 1 else None
    if match is None:
        return None
    name, port = match.groups()
    return name.lower(), None if port is None else int(port)


def _same_origin(origin: str, authority: tuple[str, int | None]) -> bool:
    """Whether a page came from the name and port that is asked now, in clear or encrypted."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    default = {"http": 80, "https": 443}.get(parts.scheme)
    if default is None or parts.path or parts.query or parts.fragment or parts.username is not None:
        return False
    own = _authority([parts.netloc])
    if own is None or own[0] != authority[0]:
        return False
    return (port or default) == (authority[1] or default)


def _refused_type(headers: list[tuple[bytes, bytes]]) -> Response | None:
    """Why what a body is said to be is refused; None where it is not."""
    if len(_values(headers, b"content-type")) > 1:
        return answer(415, "the Content-Type header is given twice")
    kind, _, parameters = (_one(headers, b"content-type") or "").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    if kind.strip().lower() not in TYPES or charset not in ("", "charset=utf-8"):
        return answer(415, f"Content-Type must be one of {', '.join(sorted(TYPES))}, in UTF-8")
    return None


async def _read(receive: Receive) -> bytes | Response:
    """The whole body, or why it is refused."""
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return answer(400, "the connection was closed")
                content += message.get("body", b"")
                if len(content) > MAX_BODY:
                    return answer(
                        413, f"the body is larger than {MAX_BODY:,} bytes", {"Connection": "close"}
                    )
                if not message.get("more_body", False):
                    return bytes(content)
    except TimeoutError:
        return answer(408, f"the body did not arrive within {BODY_S:g} s", {"Connection": "close"})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read, then what else comes."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


def _with_headers(send: Send) -> Send:
    """Adds what every answer says to the browser."""

    async def said(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in ALWAYS.items():
                headers.setdefault(name, value)
            headers.setdefault("Content-Security-Policy", PAGE_POLICY)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return said

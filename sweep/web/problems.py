"""What goes wrong, as JSON objects (RFC 9457): never a stack trace, and no path of this machine."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sweep.errors import SweepError

MEDIA_TYPE = "application/problem+json"
MAX_DETAIL = 4_000

_log = logging.getLogger("sweep.web")


class ProblemError(Exception):
    """A request that is not answered, and why.

    Attributes:
        status: of the answer.
        detail: for people.
        headers: beside those that every answer has.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def answer(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an answer."""
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail[:MAX_DETAIL],
    }
    return Response(
        json.dumps(content), status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE
    )


def without_paths(text: str, results: str) -> str:
    """A message of the library, with the last part of the results directory in place of its path."""
    if "://" in results:
        return text
    path = Path(results)
    for written in sorted({str(path.absolute()), str(path.resolve()), results}, key=len)[::-1]:
        if len(written) > 1:
            text = text.replace(written, path.name or "results")
    return text


def of_http(_: Request, error: Exception) -> Response:
    """What the framework refuses: no such address, another method."""
    assert isinstance(error, HTTPException)
    return answer(error.status_code, str(error.detail), error.headers)


def of_problem(_: Request, error: Exception) -> Response:
    """What a route refuses."""
    assert isinstance(error, ProblemError)
    return answer(error.status, error.detail, error.headers)


def of_validation(_: Request, error: Exception) -> Response:
    """A request of another form than asked for: where, and what is allowed; not what was sent."""
    errors: list[Any] = getattr(error, "errors", list)()
    lines = []
    for one in errors[:10]:
        where = ".".join(str(part)[:60] for part in one.get("loc", ()))
        lines.append(f"{where}: {one.get('msg', 'not valid')}")
    return answer(422, "\n".join(lines).encode(errors="replace").decode() or "not valid")


def of_library(request: Request, error: Exception) -> Response:
    """A mistake of the user, in the words of the command line."""
    assert isinstance(error, SweepError)
    return answer(400, without_paths(str(error), request.app.state.web.settings.results))


def of_bug(request: Request, error: Exception) -> Response:
    """A fault of the server; what it was stands in its log."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return answer(500, "the server failed; its log says why")

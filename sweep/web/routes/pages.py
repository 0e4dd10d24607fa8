"""The page, its files, and reports."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from sweep.web.answers import send
from sweep.web.problems import ProblemError
from sweep.web.security import REPORT_POLICY
from sweep.web.server import Web

router = APIRouter(include_in_schema=False)

FOR_EVER = "public, max-age=31536000, immutable"


@router.get("/")
def page(request: Request, web: Web) -> Response:
    """The page."""
    found = web.files.page()
    if found is None:
        raise ProblemError(404, "the page is not part of this installation; the API is at /api")
    return send(request, found, "text/html; charset=utf-8", "no-cache")


@router.get("/favicon.ico")
def icon(request: Request, web: Web) -> Response:
    """The icon of the page."""
    return file(request, web, "icon.svg")


@router.get("/static/{name}")
def file(request: Request, web: Web, name: str) -> Response:
    """A file of the page."""
    found = web.files.get(name)
    if found is None:
        raise ProblemError(404, "there is no such file")
    one, kind = found
    known = request.query_params.get("v") == one.tag
    return send(request, one, kind, FOR_EVER if known else "no-cache")


@router.get("/reports/{name}")
async def report(request: Request, web: Web, name: str) -> Response:
    """The report of a study, as a page of its own origin, which reaches nothing of the server."""
    web.about(name)
    found = web.book.reports.get(name)
    if found is None:
        raise ProblemError(404, "no report of this study was made yet")

    def read() -> bytes:
        content = web.store.on.read(found.path)
        if content is None:
            raise ProblemError(404, "no report of this study was made yet")
        return content

    one = await web.answers.get(("report", name), (found.size, found.made_at), read)
    response = send(request, one, "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = REPORT_POLICY
    return response

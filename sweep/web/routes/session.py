"""Who asks: logging in and out."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from sweep.records import code_version
from sweep.web.answers import JSON
from sweep.web.forms import Login, Nothing
from sweep.web.models import Health, Session
from sweep.web.problems import ProblemError
from sweep.web.security import TRIES_S, client_of, cookie_name, cookie_of, session_cookie
from sweep.web.server import Server, Web

router = APIRouter(tags=["session"])


@router.get("/healthz", response_model=Health)
async def health() -> Health:
    """That the server is at work."""
    return Health(status="ok")


@router.get("/api/session", response_model=Session)
async def session(request: Request, web: Web) -> Session:
    """Whether who asks is let in. The name of the results is told only to who is."""
    return _session(web, _is_in(request, web))


@router.post("/api/login", response_model=Session)
async def login(request: Request, web: Web, form: Login) -> Response:
    """Exchanges the token for a cookie."""
    client = client_of(request.scope)
    if not web.sessions.needed:
        return _answer(_session(web, True))
    if web.tries.too_many(client):
        raise ProblemError(429, "too many wrong tokens", {"Retry-After": str(int(TRIES_S))})
    if not web.sessions.knows(form.token):
        web.tries.wrong(client)
        raise ProblemError(401, "this is not the token of this server")
    response = _answer(_session(web, True))
    name, secure = cookie_name(web.settings), request.url.scheme == "https"
    response.headers["Set-Cookie"] = session_cookie(name, web.sessions.begin(), secure=secure)
    return response


@router.post("/api/logout", response_model=Session)
async def logout(request: Request, web: Web, _form: Nothing) -> Response:
    """Ends the session."""
    name = cookie_name(web.settings)
    value = cookie_of(request.headers.getlist("cookie"), name)
    if value:
        web.sessions.end(value)
    response = _answer(_session(web, not web.sessions.needed))
    response.headers["Set-Cookie"] = session_cookie(
        name, "", secure=request.url.scheme == "https"
    )  # fmt: skip
    return response


def _is_in(request: Request, web: Server) -> bool:
    if not web.sessions.needed:
        return True
    value = cookie_of(request.headers.getlist("cookie"), cookie_name(web.settings))
    return value is not None and web.sessions.has(value)


def _session(web: Server, is_in: bool) -> Session:
    name = web.settings.results.rstrip("/").rpartition("/")[2]
    return Session(
        logged_in=is_in,
        token_required=web.sessions.needed,
        version=code_version() if is_in else "",
        results=name if is_in else "",
        can_launch=is_in,
    )


def _answer(one: Session) -> Response:
    return Response(one.model_dump_json(), media_type=JSON)

"""Puts the server together."""

import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from sweep.errors import SweepError
from sweep.records import code_version
from sweep.store import Store
from sweep.web import problems
from sweep.web.answers import Answers
from sweep.web.book import Book
from sweep.web.cluster_jobs import ClusterJobs
from sweep.web.jobs import Launcher
from sweep.web.limits import Turns
from sweep.web.measures import Measures
from sweep.web.models import Problem
from sweep.web.planning import Planner
from sweep.web.processes import Processes
from sweep.web.questions import Questions
from sweep.web.routes import actions, ask, metrics, pages, results, session, studies
from sweep.web.scrapes import Scrapes
from sweep.web.security import Guard, Sessions, Tries
from sweep.web.server import Server, state_folder
from sweep.web.settings import Settings
from sweep.web.static_files import StaticFiles
from sweep.web.studies import Studies, read_builtin
from sweep.web.uploads import Uploads
from sweep.web.watch import Watch

DESCRIPTION = (
    "What `sweep` keeps of its studies, and how they are run. Numbers that are not known are null."
)


class Service:
    """The server as an ASGI application: the guard, and what it guards.

    Attributes:
        web: what it holds.
        api: the application inside.
    """

    def __init__(self, settings: Settings, launcher: Launcher | None = None) -> None:
        """Reads the results once.

        Args:
            settings: what it is started with.
            launcher: starts runs; None starts processes of this machine.

        Raises:
            StoreError: where the results cannot be read.
        """
        self.web = _server(settings, launcher)
        self.api = _api(self.web)
        self._guard = Guard(self.api, settings, self.web.sessions, self.web.tries)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers."""
        await self._guard(scope, receive, send)


def _server(settings: Settings, launcher: Launcher | None) -> Server:
    store = Store(settings.results)
    folder = state_folder(settings, store)
    uploads = Uploads(folder / "studies", settings.uploads_may_read)
    launcher = launcher or _launcher(settings, folder)
    book = Book(launcher, store)
    return Server(
        settings=settings,
        store=store,
        watch=Watch(store, also=book.look),
        answers=Answers(),
        sessions=Sessions(settings.token),
        tries=Tries(),
        uploads=uploads,
        studies=Studies(uploads),
        launcher=launcher,
        book=book,
        planner=Planner(settings.results),
        questions=Questions(settings.results),
        turns=Turns(),
        files=StaticFiles(),
        measures=Measures(store),
        metrics=Scrapes(store),
        folder=folder,
    )


def _launcher(settings: Settings, folder: Path) -> Launcher:
    here = Processes(folder / "jobs", settings.results, run_options(settings))
    if settings.address is None or not settings.address.startswith(("http://", "https://")):
        return here
    return ClusterJobs(settings.address, settings.results, here, _data_option(settings))


def run_options(settings: Settings) -> tuple[str, ...]:
    """What every run of this server is started with."""
    found: list[str] = []
    if settings.local:
        found.append("--local")
    if settings.address is not None:
        found.append(f"--address={settings.address}")
    return (*found, *_data_option(settings))


def _data_option(settings: Settings) -> tuple[str, ...]:
    return () if settings.data_dir is None else (f"--data={settings.data_dir.absolute()}",)


def _api(web: Server) -> FastAPI:
    @asynccontextmanager
    async def at_work(_: FastAPI) -> AsyncIterator[None]:
        web.watch.start()
        threading.Thread(target=read_builtin, name="studies", daemon=True).start()
        try:
            yield
        finally:
            web.watch.stop()
            web.questions.close()

    refusals: dict[int | str, dict[str, Any]] = {
        "default": {"model": Problem, "description": "What went wrong"}
    }
    api = FastAPI(
        title="sweep",
        description=DESCRIPTION,
        version=code_version(),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=at_work,
        responses=refusals,
    )
    api.state.web = web
    for router in (
        metrics.router,
        session.router,
        studies.router,
        results.router,
        actions.router,
        ask.router,
        pages.router,
    ):
        api.include_router(router)
    handlers: Mapping[type[Exception], Callable[..., Any]] = {
        problems.ProblemError: problems.of_problem,
        HTTPException: problems.of_http,
        RequestValidationError: problems.of_validation,
        SweepError: problems.of_library,
        Exception: problems.of_bug,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)
    return api

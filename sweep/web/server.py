"""What a running server holds, and what routes ask it for."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from sweep.store import Store
from sweep.web.answers import Answers
from sweep.web.book import Book
from sweep.web.jobs import Launcher
from sweep.web.limits import Turns
from sweep.web.measures import Attack, Measures
from sweep.web.planning import Planner
from sweep.web.problems import ProblemError
from sweep.web.questions import Questions
from sweep.web.scrapes import Scrapes
from sweep.web.security import Sessions, Tries
from sweep.web.settings import Settings
from sweep.web.static_files import StaticFiles
from sweep.web.studies import About, Studies
from sweep.web.uploads import Uploads
from sweep.web.view import View
from sweep.web.watch import Moment, Watch


@dataclass(frozen=True)
class Server:
    """What a running server holds.

    Attributes:
        settings: what it was started with.
        store: the results.
        watch: the latest of them.
        answers: those made last.
        sessions: who has logged in.
        tries: wrong tokens.
        uploads: studies that were sent.
        studies: all studies.
        launcher: starts and stops runs.
        book: what it has started, and reports.
        planner: says what a study costs.
        questions: answers SQL.
        turns: how many of what is dear are at work.
        files: the page.
        measures: what was measured under attack.
        metrics: the figures for Prometheus.
        folder: for what the server keeps.
        reports_at_once: how many may be in the making.
        starting: held by who starts something, so that two do not start at once.
    """

    settings: Settings
    store: Store
    watch: Watch
    answers: Answers
    sessions: Sessions
    tries: Tries
    uploads: Uploads
    studies: Studies
    launcher: Launcher
    book: Book
    planner: Planner
    questions: Questions
    turns: Turns
    files: StaticFiles
    measures: Measures
    metrics: Scrapes
    folder: Path
    reports_at_once: int = 2
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)

    def scratch(self, name: str) -> Path:
        """A file to hand something over in, written anew each time."""
        folder = self.folder / "handed"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def about(self, name: str) -> About:
        """A study, from a name in an address.

        Raises:
            ProblemError: where there is none of that name.
        """
        return self.studies.about(name, self.watch.moment)

    def moment_of(self, name: str) -> Moment:
        """The latest moment, of a study with results; its view is made by who needs it.

        Raises:
            ProblemError: where there is none of that name, or it was never run.
        """
        self.about(name)
        moment = self.watch.moment
        if name not in moment.studies:
            raise ProblemError(404, "this study has no results yet")
        self.watch.wants(name)
        return moment

    def view_at(self, moment: Moment, name: str) -> View:
        """A study with results at a moment; see `moment_of`."""
        view = moment.view(name)
        if view is None:
            raise ProblemError(404, "this study has no results yet")
        return view

    def measured_at(
        self, moment: Moment, name: str, measure: str | None
    ) -> tuple[View, Attack | None]:
        """A study by a measure; see `view_at` and `sweep.web.measures.Measures.view`."""
        return self.measures.view(moment, self.view_at(moment, name), measure)


def state_folder(settings: Settings, store: Store) -> Path:
    """Where the server keeps what it has started: of results in an object store, beside it."""
    if settings.state is not None:
        return settings.state.absolute()
    local = isinstance(store.layout.root, Path)
    return Path(store.layout.server if local else "sweep-server").absolute()


def _server(request: Request) -> Server:
    found: Server = request.app.state.web
    return found


Web = Annotated[Server, Depends(_server)]

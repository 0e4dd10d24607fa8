"""Studies: the list, one whole, and what a page polls."""

import logging
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from sweep.errors import StoreError
from sweep.web.models import (
    Counts,
    Live,
    Measure,
    ReportState,
    Studies,
    StudyDetail,
    StudyLine,
    StudyState,
)
from sweep.web.problems import ProblemError
from sweep.web.server import Server, Web
from sweep.web.studies import About
from sweep.web.view import STATUSES, View, sign_of
from sweep.web.watch import Moment

router = APIRouter(prefix="/api", tags=["studies"])

_log = logging.getLogger("sweep.web")


@router.get("/studies", response_model=Studies)
async def studies(request: Request, web: Web) -> Response:
    """All studies: those with results, those that were uploaded, and those built in."""
    moment, live = web.watch.moment, web.watch.live
    version = (moment.version, _said(live), web.book.version, tuple(web.uploads.stamps()))
    return await web.answers.send(
        request, "studies", version, lambda: _studies(web, moment, live)
    )  # fmt: skip


@router.get("/studies/{name}", response_model=StudyDetail)
async def study(request: Request, web: Web, name: str) -> Response:
    """A study, with all that does not change while it runs."""
    about = web.about(name)
    moment, live = web.watch.moment, web.watch.live
    overview = web.planner.known((name, about.text))
    version = (
        moment.version, _said(live), web.book.version, about.source, about.text, overview is None,
        web.measures.missed,
    )  # fmt: skip
    return await web.answers.send(
        request, ("study", name), version, lambda: _detail(web, about, moment, live, overview)
    )  # fmt: skip


@router.get("/studies/{name}/state", response_model=StudyState)
async def state(request: Request, web: Web, name: str) -> Response:
    """What changes of a study while it runs: small, for pages that ask every few seconds."""
    web.about(name)
    moment, live = web.watch.moment, web.watch.live
    version = (moment.version, _said(live), web.book.version)
    return await web.answers.send(
        request, ("state", name), version, lambda: study_state(web, name, moment, live)
    )  # fmt: skip


def study_state(web: Server, name: str, moment: Moment, live: Any) -> StudyState:
    """What changes of a study while it runs."""
    if name in moment.studies:
        web.watch.wants(name)
    view = moment.view(name)
    speaks = _is_active(name, view, live)
    job, making, report = (
        web.book.job_of(name), web.book.report_job_of(name), web.book.reports.get(name),
    )  # fmt: skip
    return StudyState(
        study=name,
        version=moment.version,
        counts=None if view is None else Counts(**view.trials),
        cells=None if view is None else _cell_counts(view),
        failed_attempts={} if view is None else moment.failed_attempts(name),
        evaluated=len(moment.points.rows),
        active=speaks or _at_work(web, name),
        live=_told(live) if live and speaks else None,
        job=None if job is None else job.state(),
        report=ReportState(
            exists=report is not None,
            made_at=None if report is None else report.made_at,
            bytes=None if report is None else report.size,
            url=f"/reports/{name}",
            job=None if making is None else making.state(),
        ),
        damaged=list(moment.damaged),
    )


def _studies(web: Server, moment: Moment, live: Any) -> Studies:
    lines, said = [], _told(live or {})
    for name in web.studies.names(moment):
        try:
            about = web.about(name)
        except ProblemError:  # it was deleted while we looked
            continue
        view = moment.view(name)
        speaks = _is_active(name, view, live)
        lines.append(
            StudyLine(
                name=name,
                title=about.title,
                question=about.question,
                source=about.source,
                has_results=view is not None,
                cells=about.cells if view is None else len(view.status),
                counts=None if view is None else Counts(**view.trials),
                running=speaks or _at_work(web, name),
                eta_s=said.eta_s if speaks else None,
                trials_per_minute=said.trials_per_minute if speaks else None,
            )
        )
    return Studies(version=moment.version, studies=lines)


def _detail(
    web: Server, about: About, moment: Moment, live: Any, overview: dict[str, Any] | None
) -> StudyDetail:
    view = moment.view(about.name)
    origin = None if view is None else view.asked.origin
    metric = {} if view is None else view.metric
    imported = origin is not None
    return StudyDetail(
        name=about.name,
        title=about.title,
        question=about.question,
        source=about.source,
        has_results=view is not None,
        can_launch=not imported,
        why_not="imported results are not run" if imported else None,
        imported=None if origin is None else str(origin),
        text=about.text,
        text_format="toml" if about.text_format == "toml" else "json",
        datasets=list(about.datasets),
        seeds=list(about.seeds),
        varying=[] if view is None else list(view.asked.varying),
        metric=metric,
        higher_is_better={dataset: sign_of(name) > 0 for dataset, name in metric.items()},
        measures=[] if view is None else _measures(web, moment, view),
        overview=overview,
        state=study_state(web, about.name, moment, live),
    )


def _measures(web: Server, moment: Moment, view: View) -> list[Measure]:
    try:
        found = web.measures.of(moment, view)
    except StoreError as error:  # all else is known
        _log.warning("what was measured under attack cannot be read: %s", error)
        return []
    return [Measure(measure=one.measure, title=one.title) for one in found]


def _cell_counts(view: View) -> Counts:
    found = view.counts.sum(axis=0)
    counted = {name: int(n) for name, n in zip(STATUSES, found, strict=True)}
    return Counts(total=len(view.status), **counted)


def _at_work(web: Server, name: str) -> bool:
    """Whether a run that was started here has not ended: it says nothing before its first stage."""
    job = web.book.job_of(name)
    return job is not None and job.at_work


def _is_active(name: str, view: View | None, live: Any) -> bool:
    """Whether the active run is of this study; those of earlier versions do not say of which."""
    if live is None:
        return False
    said = live.get("study")
    if said is not None:
        return bool(said == name)
    return view is not None and view.trials["running"] > 0


def _told(live: Any) -> Live:
    """What the active run says; nothing of it where a run of another version says it otherwise."""
    try:
        return Live.model_validate(live)
    except ValidationError:
        return Live()


def _said(live: Any) -> object:
    """Another one once the active run said more."""
    return None if live is None else (live.get("at"), live.get("study"))

"""What changes something: studies are sent and deleted, runs are started, stopped and tried again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from sweep.errors import StudyError
from sweep.filters import parse as parse_filter
from sweep.study import Study, builtin_names, count_cells
from sweep.web.answers import JSON
from sweep.web.forms import Choosing, Launch, Nothing, Plan, Retry, Running, Upload
from sweep.web.jobs import WRITERS, Action, Job, Order
from sweep.web.models import Deleted, Jobs, LogPart, Planned, Started, Uploaded
from sweep.web.problems import ProblemError
from sweep.web.server import Server, Web
from sweep.web.studies import About

router = APIRouter(prefix="/api", tags=["actions"])

MAX_LOG_BYTES = 256 * 1024
UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "application/toml": {"schema": {"type": "string"}},
            "application/json": {"schema": Upload.model_json_schema()},
        },
    }
}


@router.post("/studies", response_model=Uploaded, status_code=201, openapi_extra=UPLOAD)
async def upload(request: Request, web: Web) -> Uploaded:
    """Takes in a study: its TOML text, or `{"text": ...}`. It is validated as `sweep run` does."""
    text = _text_of(await request.body(), request.headers.get("content-type", ""))
    async with web.turns.turn("validate"):
        study = await run_in_threadpool(web.uploads.parse, text)
        if study.name in builtin_names():
            raise ProblemError(409, f"name = {study.name!r} is a built-in study; give another name")
        asked = web.watch.moment.studies.get(study.name)
        if asked is not None and asked.origin is not None:
            raise ProblemError(409, f"name = {study.name!r} is that of imported results")
        async with web.starting:
            running = web.book.job_of(study.name)
            if running is not None and running.at_work:
                raise ProblemError(409, f"study {study.name!r} is being run; stop it first")
            replaced = await run_in_threadpool(web.uploads.keep, study, text)
    return Uploaded(
        name=study.name, title=study.title, cells=count_cells(study), replaced=replaced
    )  # fmt: skip


@router.delete("/studies/{name}", response_model=Deleted)
async def delete(web: Web, name: str) -> Deleted:
    """Deletes the file of a study that was sent; what came back of it is never touched."""
    async with web.starting:
        web.about(name)
        await run_in_threadpool(_refuse_to_delete, web, name)
        if not await run_in_threadpool(web.uploads.remove, name):
            raise ProblemError(404, "there is no such study")  # another server was first
    return Deleted(name=name, has_results=name in web.watch.moment.studies)


@router.post("/plan", response_model=Planned)
async def plan(web: Web, form: Plan) -> Planned:
    """What a study asks for and costs, as `sweep plan --json` gives it."""
    if (form.study is None) == (form.text is None):
        raise ProblemError(400, "give study, the name of one, or text, the TOML of one")
    workers = () if form.workers is None else (f"--workers={form.workers}",)
    options = (*form.words(), *workers)
    async with web.turns.turn("plan"):
        if form.text is not None:
            await run_in_threadpool(_check_text, web, form.text, form)
            key: object = (form.text, options, web.watch.moment.version)
            source: Path | str = web.scratch("plan.toml")
            Path(source).write_text(form.text, "utf-8")
        else:
            about = web.about(form.study or "")
            source = await run_in_threadpool(_source, web, about, form)
            # The page shows what a study that is not begun costs: it need not be planned again.
            plain = not options and about.name not in web.watch.moment.studies
            key = (about.name, about.text) if plain else (
                about.name, about.text, options, web.watch.moment.version,
            )  # fmt: skip
        return Planned(
            overview=await run_in_threadpool(web.planner.plan, key, source, options)
        )  # fmt: skip


@router.post("/studies/{name}/launch", response_model=Started, status_code=202)
async def launch(web: Web, name: str, form: Launch) -> Started:
    """Starts or continues a study, as `sweep run` does, in a process that outlives the server."""
    return await _start(web, name, "run", form)


@router.post("/studies/{name}/retry", response_model=Started, status_code=202)
async def retry(web: Web, name: str, form: Retry) -> Started:
    """Runs failed trials again, along with what is missing, as `sweep retry` does."""
    return await _start(web, name, "retry", form)


@router.post("/studies/{name}/stop", response_model=Started, status_code=202)
async def stop(web: Web, name: str, _form: Nothing) -> Started:
    """Asks the run of a study to end; everything finished is kept. Asked again, it ends at once."""
    about = web.about(name)
    job = web.book.job_of(about.name)
    if job is None or not job.at_work:
        raise ProblemError(409, f"no run of study {about.name!r} was started here and is at work")
    stopped = await run_in_threadpool(web.launcher.stop, job.id)
    await run_in_threadpool(web.book.look)
    return Started(job=(stopped or job).state())


@router.post("/studies/{name}/report", response_model=Started, status_code=202)
async def report(web: Web, name: str, _form: Nothing) -> Started:
    """Begins to make the report of a study; `/state` says when it is there."""
    web.moment_of(name)
    async with web.starting:
        making = [job for job in web.book.jobs if job.at_work and job.order.action == "report"]
        if any(job.order.study == name for job in making):
            raise ProblemError(409, "the report of this study is being made")
        if len(making) >= web.reports_at_once:
            raise ProblemError(
                429, "as many reports as may be are being made", {"Retry-After": "10"}
            )
        return await _started(web, Order("report", name, name))


@router.get("/jobs", response_model=Jobs)
async def jobs(web: Web) -> Jobs:
    """What was started here, the latest first."""
    return Jobs(jobs=[job.state() for job in web.book.jobs])


@router.get("/jobs/{job_id}/log", response_model=LogPart)
async def log(
    web: Web,
    job_id: str,
    offset: int = Query(0, ge=0, le=2**53),
    limit: int = Query(65_536, ge=1, le=MAX_LOG_BYTES),
) -> LogPart:
    """A part of what a job printed, from an offset in bytes on."""
    found = await run_in_threadpool(web.launcher.log, job_id, offset, limit)
    if found is None:
        raise ProblemError(404, "there is no such job")
    return found


async def _start(web: Server, name: str, action: Action, form: Running) -> Started:
    about = web.about(name)
    source = await run_in_threadpool(_source, web, about, form)
    async with web.starting:
        if web.about(name) != about:
            raise ProblemError(409, f"study {name!r} was changed meanwhile; look at it again")
        await run_in_threadpool(web.book.look)
        busy: Job | None = next(
            (job for job in web.book.jobs if job.at_work and job.order.action in WRITERS), None
        )
        if busy is not None:
            raise ProblemError(409, f"a run of study {busy.order.study!r} is at work here")
        layout = web.store.layout
        if await run_in_threadpool(web.store.on.is_locked, layout.lock):
            live = web.watch.live or {}
            what = f"study {live['study']!r}" if live.get("study") else "another study"
            raise ProblemError(409, f"a run of {what} that was not started here is at work")
        return await _started(web, Order(action, about.name, str(source), form.words()))


async def _started(web: Server, order: Order) -> Started:
    job = await run_in_threadpool(web.launcher.start, order)
    await run_in_threadpool(web.book.look)
    return Started(job=job.state())


def _refuse_to_delete(web: Server, name: str) -> None:
    """Raises where a study was not sent, or a run of it is at work, whoever started that."""
    if web.uploads.stamp(name) is None:
        if name in builtin_names():
            raise ProblemError(409, f"study {name!r} is built in: it is not deleted")
        raise ProblemError(409, f"study {name!r} was not uploaded: it is what its results say")
    web.book.look()
    running = web.book.job_of(name)
    live = web.store.read_live()
    if (running is not None and running.at_work) or (live or {}).get("study") == name:
        raise ProblemError(409, f"study {name!r} is being run; stop it first")


def _source(web: Server, about: About, form: Choosing) -> Path | str:
    """What the command is given for a study; it and its settings are validated first.

    Raises:
        ProblemError: where it is no study that can be run.
        SweepError: for what is wrong with the settings.
    """
    if about.source == "imported":
        raise ProblemError(409, f"study {about.name!r} was imported: it is not run")
    if about.source == "results":
        described: Mapping[str, Any] = json.loads(about.text)
        _check(web.uploads.load(described, form.settings), about.name, form)
        path = web.scratch(f"{about.name}.json")
        path.write_text(about.text, "utf-8")
        return path
    _check(web.uploads.load(about.name, form.settings), about.name, form)
    return about.name if about.source == "builtin" else web.uploads.path(about.name)


def _check(study: Study, name: str, form: Choosing) -> None:
    if study.name != name:
        raise ProblemError(400, f"settings: name = {study.name!r} makes it another study")
    parse_filter(form.only)


def _check_text(web: Server, text: str, form: Choosing) -> None:
    web.uploads.parse(text, form.settings)
    parse_filter(form.only)


def _text_of(body: bytes, kind: str) -> str:
    """The text of a study from a body."""
    if kind.partition(";")[0].strip().lower() == JSON:
        try:
            return Upload.model_validate_json(body).text
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5]]
            raise ProblemError(422, "\n".join(lines)) from None
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise StudyError("the study is not UTF-8 text") from None

"""What came back: heatmaps, cells, trials, comparisons, failures."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from sweep.web.cells import SORTED_BY as CELLS_BY
from sweep.web.cells import cells as page_of_cells
from sweep.web.compare import compare as compared
from sweep.web.failures import failures as grouped
from sweep.web.heatmap import heatmap as drawn
from sweep.web.models import Cells, Comparison, Failures, Heatmap, TrialDetail, Trials
from sweep.web.paging import Page
from sweep.web.problems import ProblemError
from sweep.web.record import trial as whole
from sweep.web.server import Web
from sweep.web.trials import SORTED_BY as TRIALS_BY
from sweep.web.trials import trials as page_of_trials
from sweep.web.view import STATUSES

router = APIRouter(prefix="/api", tags=["results"])

Order = Literal["asc", "desc"]
Filter = Annotated[str | None, Query(max_length=500)]
Word = Annotated[str | None, Query(max_length=64)]
MeasureName = Annotated[
    str | None,
    Query(
        max_length=100,
        description="`metric` (the default), or one of the `measures` of the study's detail: "
        "`fgsm 0.05` is the metric under that attack",
    ),
]


@router.get("/studies/{name}/heatmap", response_model=Heatmap)
async def heatmap(
    request: Request,
    web: Web,
    name: str,
    panel: Word = None,
    x: Word = None,
    y: Word = None,
    measure: MeasureName = None,
) -> Response:
    """Configurations over two axes, filling in."""
    moment = web.moment_of(name)

    def make() -> Heatmap:
        view, attack = web.measured_at(moment, name, measure)
        return drawn(view, moment.version, panel, x, y, attack)

    key = ("heatmap", name, panel, x, y, measure)
    return await web.answers.send(request, key, moment.version, make)


@router.get("/studies/{name}/cells", response_model=Cells)
async def cells(
    request: Request,
    web: Web,
    name: str,
    page: Annotated[Page, Depends()],
    sort: Word = None,
    order: Order = "asc",
    filter: Filter = None,
    measure: MeasureName = None,
) -> Response:
    """A page of configurations with what the seeds say of each."""
    _check_sort(sort, CELLS_BY)
    moment = web.moment_of(name)

    def make() -> Cells:
        view, attack = web.measured_at(moment, name, measure)
        return page_of_cells(view, moment.version, page, sort, order == "desc", filter, attack)

    key = ("cells", name, page, sort, order, filter, measure)
    return await web.answers.send(request, key, moment.version, make)


@router.get("/studies/{name}/trials", response_model=Trials)
async def trials(
    request: Request,
    web: Web,
    name: str,
    page: Annotated[Page, Depends()],
    cell: Word = None,
    status: Word = None,
    sort: Word = None,
    order: Order = "asc",
    filter: Filter = None,
) -> Response:
    """A page of requested cells with their trials."""
    _check_sort(sort, TRIALS_BY)
    if status is not None and status not in STATUSES:
        raise ProblemError(400, f"status: must be one of {', '.join(STATUSES)}")
    moment = web.moment_of(name)
    return await web.answers.send(
        request, ("trials", name, page, cell, status, sort, order, filter), moment.version,
        lambda: page_of_trials(
            moment, web.view_at(moment, name), page, cell=cell, status=status, sort=sort,
            descending=order == "desc", filter=filter,
        ),
    )  # fmt: skip


@router.get("/studies/{name}/compare", response_model=Comparison)
async def compare(
    request: Request,
    web: Web,
    name: str,
    cell: Annotated[list[str], Query(min_length=1, max_length=8)],
    measure: MeasureName = None,
) -> Response:
    """Two to eight configurations side by side, and the differences between each two."""
    moment = web.moment_of(name)

    def make() -> Comparison:
        view, attack = web.measured_at(moment, name, measure)
        return compared(view, moment.version, cell, attack)

    key = ("compare", name, *cell, measure)
    return await web.answers.send(request, key, moment.version, make)


@router.get("/studies/{name}/failures", response_model=Failures)
async def failures(request: Request, web: Web, name: str) -> Response:
    """Failed attempts, grouped by what they have in common."""
    moment = web.moment_of(name)
    return await web.answers.send(
        request, ("failures", name), moment.version,
        lambda: grouped(moment, web.view_at(moment, name)),
    )  # fmt: skip


@router.get("/trials/{trial_id}", response_model=TrialDetail)
async def trial(request: Request, web: Web, trial_id: str) -> Response:
    """One trial whole: record, curves, attempts with tracebacks."""
    if not trial_id.isascii() or not trial_id.replace("-", "").isalnum() or len(trial_id) > 80:
        raise ProblemError(404, "there is no such trial")
    moment = web.watch.moment
    async with web.turns.turn("trial"):
        return await web.answers.send(
            request, ("trial", trial_id), moment.version,
            lambda: whole(web.store, moment, trial_id),
        )  # fmt: skip


def _check_sort(sort: str | None, allowed: tuple[str, ...]) -> None:
    if sort is not None and sort not in allowed:
        raise ProblemError(400, f"sort: must be one of {', '.join(allowed)}")

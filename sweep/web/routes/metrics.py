"""The figures for Prometheus."""

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from sweep.web.server import Web

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(web: Web) -> Response:
    """What `sweep metrics` prints: trials by state, failures, devices, the run at work."""
    async with web.turns.turn("metrics"):
        content = await run_in_threadpool(web.metrics)
    return Response(content, media_type=CONTENT_TYPE_LATEST)

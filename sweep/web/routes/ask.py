"""SQL over the results."""

from dataclasses import asdict

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from sweep.query.examples import EXAMPLES
from sweep.web.answers import JSON
from sweep.web.forms import Question
from sweep.web.models import QueryAnswer, QueryExample, QueryExamples
from sweep.web.questions import MAX_ANSWER_BYTES, too_large
from sweep.web.server import Web

router = APIRouter(prefix="/api", tags=["query"])


@router.get("/query/examples")
async def query_examples() -> QueryExamples:
    """Questions to start from, each one query that runs on any results."""
    return QueryExamples(examples=[QueryExample(**asdict(example)) for example in EXAMPLES])


@router.post("/query", response_model=QueryAnswer)
async def query(web: Web, form: Question) -> Response:
    """Answers one SELECT statement over the views of `sweep query`, as confined as there."""

    def answer() -> bytes:
        found = web.questions.ask(form.sql, form.max_rows, form.timeout_s)
        return found.model_dump_json().encode()

    async with web.turns.turn("query"):
        content = await run_in_threadpool(answer)
    if len(content) > MAX_ANSWER_BYTES:
        raise too_large()
    return Response(content, media_type=JSON)

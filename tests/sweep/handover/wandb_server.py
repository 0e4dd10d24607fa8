"""As much of a wandb server as `wandb sync` talks to: takes everything, and keeps what it was sent."""

import gzip
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Sent:
    """What was sent.

    Attributes:
        runs: variables of the mutation that makes a run, by run.
        history: rows of each run's history.
        summary: the last state of each run's summary.
        exits: exit codes.
    """

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.summary: dict[str, dict[str, Any]] = defaultdict(dict)
        self.exits: dict[str, int] = {}

    def answer(self, path: str, text: str, address: str) -> dict[str, Any]:
        """Keeps a request and answers it."""
        if path.endswith("/file_stream"):
            self._stream(path.split("/")[-2], json.loads(text))
            return {"limits": {}}
        if not path.endswith("/graphql"):
            return {}
        asked = json.loads(text)
        given = asked.get("variables") or {}
        if "upsertBucket" in asked["query"]:
            self.runs.setdefault(given["name"], given)
            entity = {"id": "e", "name": "me"}
            project = {"id": "p", "name": given["project"], "entity": entity}
            bucket = {
                "id": given["name"], "name": given["name"], "displayName": given["displayName"],
                "config": "{}", "historyLineCount": 0, "project": project,
            }  # fmt: skip
            return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        if "createRunFiles" in asked["query"]:
            files = [{"name": name, "uploadUrl": f"{address}/put"} for name in given["files"]]
            made = {"runID": given["run"], "uploadHeaders": [], "files": files}
            return {"data": {"createRunFiles": made}}
        return {"data": {}}

    def _stream(self, run: str, sent: dict[str, Any]) -> None:
        files = sent.get("files") or {}
        for line in (files.get("wandb-history.jsonl") or {}).get("content", ()):
            self.history[run].append(json.loads(line))
        for line in (files.get("wandb-summary.json") or {}).get("content", ()):
            self.summary[run] = json.loads(line)
        if sent.get("complete"):
            self.exits[run] = sent.get("exitcode", 0)


@contextmanager
def wandb_server() -> Iterator[tuple[str, Sent]]:
    """Its address, and what it is sent."""
    sent, guard = Sent(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            with guard:
                found = sent.answer(self.path, content.decode(errors="replace"), address)
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST  # noqa: N815 (names of the base class)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield address, sent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

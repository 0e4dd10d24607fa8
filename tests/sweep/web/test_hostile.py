"""Requests that somebody who means harm would send: each is refused, and none breaks the server.

All go over real connections; those that no client library would send, over a bare socket.
"""

import json
import socket
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sweep.store import Store
from sweep.study import load_study
from sweep.web.uploads import Uploads
from tests.sweep.web.serving import (
    FakeLauncher,
    Served,
    ask,
    figure,
    finish,
    served,
    settings_of,
    study,
)

SECRET = "a secret that lies beside the results"
TOKEN = "correct-horse-battery-staple"
JSON = {"Content-Type": "application/json"}
TOML = {"Content-Type": "application/toml"}
VALID = """
name = "sent"
seeds = [1]
[recipe]
epochs = 1
batch_size = 32
[datasets.digits]
student = "medium"
"""
KEPT_TEXT = VALID.replace("sent", "kept")
KEPT = tomllib.loads(KEPT_TEXT)


@dataclass(frozen=True)
class Bad:
    """A request, and the answers that refuse it."""

    method: str
    path: str
    refused: tuple[int, ...]
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        words = [self.method, self.path[:80], *(f"{k}={v[:40]}" for k, v in self.headers.items())]
        return " ".join([*words, repr(self.body[:60])])


def get(path: str, *refused: int, **headers: str) -> Bad:
    return Bad("GET", path, refused or (400, 404, 422), headers=_named(headers))


def post(path: str, body: Any, *refused: int, **headers: str) -> Bad:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Bad("POST", path, refused or (400, 404, 409, 415, 422), content, JSON | _named(headers))


def delete(path: str, *refused: int, **headers: str) -> Bad:
    return Bad("DELETE", path, refused or (400, 404, 409), headers=_named(headers))


def toml(text: str | bytes, *refused: int) -> Bad:
    content = text if isinstance(text, bytes) else text.encode()
    return Bad("POST", "/api/studies", refused or (400, 409), content, TOML)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


NAMES = (
    "..%2f..%2fetc%2fpasswd", "%2e%2e%2fsecret", "%252e%252e%252fsecret", "..%5c..%5csecret",
    "....%2f%2fsecret", "%2fetc%2fpasswd", "secret%00.parquet", "grid%00", "grid%0a", "grid%0d%0aX: y",
    "grid.parquet", "GRID", "grid%20", "%00", "con", "-grid", "_grid", "a" * 65, "a" * 3000,
    "gr%C3%AFd", "%ff%fe", "%c0%ae%c0%ae%2fsecret", "grid;ls", "grid|id", "$(id)", "`id`",
    "grid'--", "%22%3E%3Cscript%3E", "*", "~", "grid%2f..%2fgrid", "nul", "%u002e%u002e",
)  # fmt: skip

TRAVERSAL = [
    *(get(f"/api/studies/{name}") for name in NAMES),
    *(get(f"/reports/{name}") for name in NAMES),
    *(get(f"/static/{name}") for name in NAMES),
    *(get(f"/api/trials/{name}") for name in NAMES),
    *(get(f"/api/jobs/{name}/log") for name in NAMES[:12]),
    *(get(f"/api/studies/{name}/heatmap") for name in NAMES[:6]),
    *(post(f"/api/studies/{name}/launch", {}) for name in NAMES[:12]),
    *(post(f"/api/studies/{name}/stop", {}) for name in NAMES[:4]),
    *(delete(f"/api/studies/{name}") for name in NAMES),
    delete("/api/studies/kept.toml"), delete("/api/studies/kept%2etoml%00"), delete("/api/studies/"),
    delete("/api/studies/..%2fstudies%2fkept"), delete("/api/studies/thesis", 409),
    delete("/api/studies/grid", 409), delete("/api/studies/nothing", 404),
    *(post("/api/plan", {"study": name}) for name in ("../secret", "/etc/passwd", "a/b", "x.toml", "\0", "..", "~root", "s3://bucket/x")),
    get("/static/..%2f..%2fapp.py"), get("/static/%2e%2e/app.py"), get("/static/app.py"),
    get("/static/index.html%00.js"), get("/static//etc/passwd"), get("/static/.hidden.js"),
    get("/api/studies/grid/../../../etc/passwd", 400, 404),
]  # fmt: skip

ORIGINS = (
    "http://evil.example", "https://evil.example", "null", "http://127.0.0.1:1",
    "http://localhost.evil.example", "http://127.0.0.1@evil.example", "file://", "http://",
    "chrome-extension://abc", "http://127.0.0.1/path", "http://[::1", "", "http://127.0.0.1:99999",
)  # fmt: skip

ELSEWHERE = [
    get("/api/studies", 421, Host="evil.example"),
    get("/api/studies", 421, Host="127.0.0.1.evil.example"),
    get("/api/studies", 421, Host="localhost@evil.example"),
    get("/api/studies", 421, Host="169.254.169.254"),
    get("/", 421, Host="evil.example:8501"),
    get("/healthz", 421, Host="[::1].evil.example"),
    get("/api/session", 421, Host="127.0.0.1:99999999"),
    get("/api/studies", 403, Sec_Fetch_Site="cross-site"),
    get("/api/studies/grid/state", 403, Sec_Fetch_Site="same-site"),
    *(post("/api/studies/grid/launch", {}, 403, Origin=origin) for origin in ORIGINS),
    *(delete("/api/studies/kept", 403, Origin=origin) for origin in ORIGINS),
    *(delete("/api/studies/kept", 403, Sec_Fetch_Site=site) for site in ("cross-site", "same-site", "none")),
    delete("/api/studies/kept", 421, Host="evil.example"),
    delete("/api/studies/kept", 415, Content_Encoding="gzip"),
    delete("/api/studies/kept", 413, Content_Length="99999999999"),
    delete("/api/studies", 405), delete("/api/studies/grid/state", 405), delete("/api/jobs/x/log", 405),
    delete("/api/trials/x", 405), delete("/reports/grid", 405), delete("/", 405), delete("/api/login", 405),
    post("/api/studies/grid/stop", {}, 403, Sec_Fetch_Site="cross-site"),
    post("/api/studies/grid/stop", {}, 403, Sec_Fetch_Site="none"),
    post("/api/query", {"sql": "SELECT 1"}, 403, Origin="http://evil.example"),
    post("/api/login", {"token": TOKEN}, 403, Origin="http://evil.example"),
    Bad("OPTIONS", "/api/studies", (405,), headers={
        "Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}),
    Bad("PUT", "/api/studies/grid", (405,)),
    Bad("PATCH", "/api/studies/grid", (405,)), Bad("TRACE", "/", (405,)), Bad("PROPFIND", "/", (405,)),
]  # fmt: skip

FORMS = [
    *(
        Bad("POST", "/api/studies/grid/launch", (415,), b"{}", {"Content-Type": kind} if kind else {})
        for kind in (
            "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
            "", "application/json; charset=utf-16", "application/jsonx", "text/json",
            "application/json; charset=utf-7",
        )
    ),
    Bad("POST", "/api/studies", (415,), VALID.encode(), {"Content-Type": "text/plain"}),
    post("/api/query", {"sql": "SELECT 1"}, 415, Content_Encoding="gzip"),
    *(
        post("/api/studies/grid/launch", body)
        for body in (
            b"", b"{", b"[]", b"null", b"1", b'"x"', b"{} {}", b"\xff\xfe{}", b"\x00",
            b'{"seeds": 1e999}', b'{"seeds": NaN}', b'{"seeds": ' + b"9" * 5000 + b"}",
            b'{"seeds": "3"}', b'{"seeds": -1}', b'{"seeds": 0}', b'{"seeds": 1.5}',
            b'{"workers": 1000000}', b'{"gpus_per_trial": 7}', b'{"address": "ray://evil"}',
            b'{"results": "/tmp"}', b'{"settings": "x"}', b'{"settings": [1]}',
            b'{"settings": ["' + b"x" * 2000 + b'"]}', b'{"settings": ["\\u0000"]}',
            b'{"settings": ["\\ud800"]}', b'{"only": ["--results=/tmp"]}', b'{"only": [""]}',
            b'{"__proto__": {}}', b'{"smoke": "yes"}',
            b"[" * 100_000, b'{"a":' * 50_000, b'{"settings": ' + b"[" * 20_000,
            json.dumps({"settings": ["x=1"] * 101}).encode(),
        )
    ),
    *(
        post("/api/studies/grid/launch", {"settings": [setting]})
        for setting in (
            "recipe.pretrained=/etc/passwd.pt", "recipe.pretrained='/etc/shadow.safetensors'",
            "datasets.digits.recipe.pretrained=../../x.pth", "teacher.recipe.pretrained=~/x.pt",
            'starts.a.training.pretrained="x.pt"', "recipe={pretrained = '/etc/x.pt'}",
            "name=other", "name='../x'", "nonsense", "=1", "a.b.c.d=1", "recipe.epochs=-1",
            "recipe.epochs=1e400", "datasets=1", "seeds=[]", "--results=/tmp", "seeds = [1, 1]",
        )
    ),
    post("/api/studies/grid/retry", {"kind": ["everything"]}),
    post("/api/studies/grid/retry", {"kind": ["bug; rm -rf /"]}),
    post("/api/studies/grid/launch", {"only": ["colour=1"]}),
    post("/api/studies/grid/launch", {"only": ["teacher=" + "|".join("a" * 9 for _ in range(90))] * 21}),
    post("/api/plan", {}), post("/api/plan", {"study": "grid", "text": VALID}),
    post("/api/plan", {"text": "x" * 300_000}, 413, 422), post("/api/plan", {"study": 1}),
    post("/api/plan", {"study": "grid", "settings": ["recipe.pretrained=/x.pt"]}),
    post("/api/studies", {"text": VALID, "name": "x"}, 422), post("/api/studies", {}, 422),
    post("/api/studies", b"{", 422), post("/api/studies", {"text": 1}, 422),
]  # fmt: skip

SENT = [
    toml(""), toml("x"), toml("\0"), toml(b"\xff\xfe\x00"), toml("[" * 100_000), toml("a." * 60_000),
    toml(VALID.replace("sent", "../sent")), toml(VALID.replace("sent", "thesis")),
    toml(VALID.replace("sent", "con")), toml(VALID.replace("sent", "")),
    toml(VALID.replace('"sent"', "3")), toml(VALID.replace("epochs = 1", "epochs = 0")),
    toml(VALID.replace("[1]", "[]")), toml(VALID.replace("digits", "nothing")),
    toml(VALID + 'run = "import os"'), toml(VALID + "\n[hooks]\nbefore = 'id'"),
    *(
        toml(VALID.replace("epochs = 1", f"epochs = 1\npretrained = {path}"))
        for path in (
            '"/etc/passwd.pt"', '"~/.ssh/key.pth"', '"../x.safetensors"', '"\\u002fetc\\u002fx.pt"',
            "'''/etc/x.pt'''", '"s3://bucket/x.pt"', '"/proc/self/environ.pt"',
        )
    ),
    toml(VALID + '\n[datasets.digits.recipe]\npretrained = "/etc/x.pt"'),
    toml(VALID + '\n[teacher.recipe]\npretrained = "/etc/x.pt"'),
    toml(VALID + '\n[starts.a.training]\n"pretrained" = "/etc/x.pt"'),
    toml(f"seeds = {list(range(2000))}\n" + VALID.replace("seeds = [1]", "") + """
    [grid]
    teacher = ["small"]
    alpha = [""" + ", ".join(str(n / 1000) for n in range(1000)) + "]\nswitch_epoch = [1]"),
]  # fmt: skip

PAGES = [
    *(
        get(f"/api/studies/grid/{what}")
        for what in (
            "cells?limit=501", "cells?limit=0", "cells?limit=-1", "cells?offset=-1", "cells?offset=1e9",
            "cells?offset=99999999999999999999", "cells?limit=NaN", "cells?limit=", "cells?order=random",
            "cells?sort=__class__", "cells?sort=mean;drop", "cells?filter=" + "a" * 501,
            "cells?filter=__import__('os')", "cells?filter=alpha%3D", "cells?filter=%00",
            "trials?status=all", "trials?cell=../x", "trials?sort=trial_id)", "trials?limit=1000000000",
            "heatmap?x=__dict__", "heatmap?panel=" + "a" * 65, "heatmap?panel=%2e%2e", "compare",
            "compare?cell=x", "compare?cell=x&cell=y", "compare?" + "cell=a&" * 9, "nothing", "state/x",
            "heatmap?measure=fgsm", "heatmap?measure=%00", "heatmap?measure=__class__",
            "heatmap?measure=fgsm%20nan", "heatmap?measure=" + "a" * 101, "cells?measure=fgsm%201e999",
            "cells?measure=..%2f..%2fsecret", "cells?measure=validation%20fgsm%200.05",
            "compare?cell=x&cell=y&measure=%3Cscript%3E",
        )
    ),
    get("/api/jobs/x/log?offset=-1"), get("/api/jobs/x/log?limit=99999999"), get("/api/jobs/../jobs"),
    get("/api/nothing"), get("/docs"), get("/redoc"), get("/.env"), get("/.git/config"),
    get("/" + "a" * 5000, 414), get("/?" + "a" * 5000, 414), get("/api/studies/", 404), get("//", 404),
    get("/server-status"), get("/api/studies/grid/launch", 405), get("/api/login", 405),
    get("/api/trials/x", 431, **{f"X_{n}": "x" for n in range(80)}),
    get("/api/trials/x", 431, 400, X="x" * 20_000),
]  # fmt: skip

SQL = [
    post("/api/query", {"sql": sql}, 400, 422)
    for sql in (
        "", "x", "DROP TABLE trials", "CREATE TABLE x AS SELECT 1", "INSERT INTO trials VALUES (1)",
        "DELETE FROM trials", "UPDATE trials SET seed = 1", "COPY trials TO '/tmp/x.csv'",
        "COPY (SELECT 1) TO '/tmp/x.parquet'", "ATTACH '/tmp/x.db'", "INSTALL httpfs", "LOAD httpfs",
        "PRAGMA database_list; SELECT 1", "SET memory_limit = '100GB'", "SELECT 1; SELECT 2",
        "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM read_text('../secret.txt')",
        "SELECT * FROM '/etc/passwd'", "SELECT * FROM glob('/*')", "SELECT * FROM read_blob('/etc/shadow')",
        "SELECT * FROM read_parquet('http://169.254.169.254/x')", "SELECT getenv('HOME')",
        "SELECT * FROM duckdb_secrets()  WHERE unknown", "EXPORT DATABASE '/tmp/x'", "CALL pragma_version(",
        "SELECT * FROM range(100000)", "SELECT repeat('x', 1000000000)", "\0",
        "CHECKPOINT", "VACUUM", "EXPLAIN ANALYZE COPY trials TO '/tmp/x'", "SELECT 1" + " " * 100_001,
    )
] + [
    post("/api/query", {"sql": "SELECT 1", "max_rows": 10**9}, 422),
    post("/api/query", {"sql": "SELECT 1", "timeout_s": 10**9}, 422),
    post("/api/query", {"sql": "SELECT 1", "timeout_s": -1}, 422),
    post("/api/query", {"sql": ["SELECT 1"]}, 422),
    post("/api/query", b'{"sql": "\\ud800"}', 400, 422),
    post("/api/query", {"sql": "SELECT count(*) FROM range(1000000) a, range(1000000) b",
                        "timeout_s": 0.5}, 400),
]  # fmt: skip

HOSTILE = {
    "traversal": TRAVERSAL, "elsewhere": ELSEWHERE, "forms": FORMS, "sent": SENT, "pages": PAGES,
    "sql": SQL,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hostile")
    (place / "secret.txt").write_text(SECRET)
    (place / "secret").write_text(SECRET)
    store = Store(place / "results")
    finish(store, ask(store, study()), figure)
    for state in (place / "results" / ".server", place / "state"):
        Uploads(state / "studies", None).keep(load_study(KEPT), KEPT_TEXT)
    return place


@pytest.fixture(scope="module")
def launcher() -> FakeLauncher:
    return FakeLauncher()


@pytest.fixture(scope="module")
def server(folder: Path, launcher: FakeLauncher) -> Iterator[Served]:
    with served(settings_of(folder / "results"), launcher) as found:
        yield found


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[Served]:
    settings = settings_of(folder / "results", token=TOKEN, state=folder / "state")
    with served(settings, FakeLauncher()) as found:
        yield found


def test_there_are_200_and_more() -> None:
    assert sum(map(len, HOSTILE.values())) >= 250


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_refused(server: Served, launcher: FakeLauncher, folder: Path, kind: str) -> None:
    before = _files(folder)
    for bad in HOSTILE[kind]:
        answer = _sent(server.port, bad)
        assert answer.status in bad.refused, f"{bad}: {answer}"
        _is_safe(answer, folder, bad)
    assert launcher.orders == []
    assert _files(folder) == before
    assert server.get("/healthz") == {"status": "ok"}
    assert server.get("/api/studies/grid/state")["counts"]["done"] == 18


def test_nothing_is_told_without_the_token(guarded: Served, folder: Path) -> None:
    asked = [
        get("/api/studies", 401), get("/api/studies/grid", 401), get("/api/jobs", 401),
        get("/openapi.json", 401), get("/reports/grid", 401), get("/metrics", 401),
        get("/api/studies", 401, Cookie="sweep-session=x"),
        get("/api/studies", 401, Cookie=f"sweep-session-{guarded.port}="),
        get("/api/studies", 401, Cookie=f"sweep-session-{guarded.port}={TOKEN}"),
        get("/api/studies", 401, Cookie="=; ;;" * 50),
        get(f"/api/studies?token={TOKEN}", 401),
        post("/api/studies/grid/launch", {}, 401), post("/api/query", {"sql": "SELECT 1"}, 401),
        post("/api/plan", {"study": "thesis"}, 401),
        Bad("POST", "/api/studies", (401,), VALID.encode(), TOML),
        delete("/api/studies/kept", 401), delete("/api/studies/nothing", 401),
        delete("/api/studies/kept", 401, Authorization="Bearer wrong"),
        delete("/api/studies/kept", 401, Authorization=f"Basic {TOKEN}"),
        delete(f"/api/studies/kept?token={TOKEN}", 401),
        delete("/api/studies/kept", 403, Cookie=f"sweep-session-{guarded.port}=x"),
        delete("/api/studies/kept", 403, Authorization=f"Bearer {TOKEN}", Origin="http://evil.example"),
        post("/api/logout", {}, 401),
    ]  # fmt: skip
    for bad in asked:
        answer = _sent(guarded.port, bad)
        assert answer.status in bad.refused, f"{bad}: {answer}"
        assert b"grid" not in answer.body
    assert (folder / "state" / "studies" / "kept.toml").read_text() == KEPT_TEXT
    # Addresses that do not exist are not told apart from those that do.
    assert _sent(guarded.port, get("/api/nothing")).status == 401
    about = guarded.get("/api/session")
    assert about == {
        "logged_in": False, "token_required": True, "version": "", "results": "",
        "can_launch": False,
    }  # fmt: skip


def test_wrong_tokens_are_refused_and_then_not_looked_at(folder: Path) -> None:
    settings = settings_of(folder / "results", token=TOKEN, state=folder / "state")
    with served(settings, FakeLauncher()) as server:
        wrong = (
            "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
            f"bearer {TOKEN.upper()}", TOKEN, "Bearer " + "x" * 9000,
        )  # fmt: skip
        for value in wrong:
            assert _sent(server.port, get("/api/studies", Authorization=value)).status == 401
        twice = f"GET /api/studies HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        twice += f"Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
        assert _raw(server.port, twice.encode()).status == 401
        assert _sent(server.port, post("/api/login", {"token": "x" * 20})).status == 401
        for _ in range(3):
            refused = _sent(server.port, post("/api/login", {"token": TOKEN}))
            assert refused.status == 429
            assert refused.headers["retry-after"] == "60"
        assert (
            _sent(server.port, get("/api/studies", Authorization=f"Bearer {TOKEN}")).status == 429
        )


DELETED = b"DELETE /api/studies/kept HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
POSTED = b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BARE: tuple[tuple[bytes, tuple[int, ...]], ...] = (
    (DELETED + b"Content-Length: 2\r\n\r\n{}", (400,)),
    (DELETED + b"Content-Type: text/plain\r\nContent-Length: 1\r\n\r\nx", (400,)),
    (DELETED + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", (400,)),
    (DELETED + b"Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}", (400,)),
    (DELETED + b"Origin: http://localhost\r\nOrigin: http://evil.example\r\n\r\n", (403,)),
    (b"GET /api/studies HTTP/1.1\r\n\r\n", (400, 421)),
    (b"GET /api/studies HTTP/1.0\r\n\r\n", (400, 421)),
    (b"GET /api/studies HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", (400, 421)),
    (b"GET /api/studies HTTP/1.1\r\nHost: \r\n\r\n", (400, 421)),
    (b"GET /api/studies HTTP/1.1\r\nHost: local host\r\n\r\n", (400, 421)),
    (b"GET http://evil.example/api/studies HTTP/1.1\r\nHost: evil.example\r\n\r\n", (400, 404, 421)),
    (b"GET /../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", (400, 404)),
    (b"GET /static/../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", (400, 404)),
    (b"GET /static/..\\..\\app.py HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", (400, 404)),
    (b"GET /api/studies/\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", (400, 404)),
    (b"GET /api/studies HTTP/1.1\r\nHost: localhost\r\nCookie: \xff=\xfe\r\nOrigin: \xff\r\nSec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n", (400, 403)),
    (POSTED + b"Origin: \xff\xfe\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", (400, 403)),
    (b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", (400,)),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,)),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", (400, 431)),
    (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", (400, 414)),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", (400,)),
    (POSTED + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n", (400,)),
    (POSTED + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", (400,)),
    (POSTED + b"Content-Length: -5\r\n\r\nabcde", (400,)),
    (POSTED + b"Content-Length: 99999999999999\r\nConnection: close\r\n\r\n", (413,)),
    (POSTED + b"Content-Length: 400000\r\nConnection: close\r\n\r\n", (413,)),
    (POSTED + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"a" * 65536 + b"\r\n"
     + (b"10000\r\n" + b"a" * 65536 + b"\r\n") * 6 + b"0\r\n\r\n", (413,)),
    (POSTED + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n", (400,)),
    (POSTED + b"Content-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", (415,)),
    (POSTED + b"Origin: http://localhost\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n"
     + b"Connection: close\r\n\r\n{}", (403,)),
    (b"GET /api/studies HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\nSec-Fetch-Site: cross-site\r\n\r\n", (400, 403)),
)  # fmt: skip


def test_bare_bytes(server: Served, folder: Path) -> None:
    for sent, refused in BARE:
        answer = _raw(server.port, sent)
        assert answer.status in refused, f"{sent[:120]!r}: {answer}"
        _is_safe(answer, folder, sent[:120])
    assert server.get("/healthz") == {"status": "ok"}
    assert server.get("/api/studies/kept")["source"] == "uploaded"


def test_a_body_that_does_not_come_is_given_up(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.web.security.BODY_S", 0.3)
    head = b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = _raw(server.port, head + b"Content-Length: 100\r\nConnection: close\r\n\r\n{")
    assert answer.status == 408


def test_who_does_not_come_to_the_point_is_sent_away(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a few hundred connections that say nothing would keep everybody out."""
    server.get("/healthz")  # a connection that is kept
    monkeypatch.setattr("sweep.web.connection.HEAD_S", 0.5)
    whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    unfinished = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
    for sent in (b"", b"GET / HT", whole + b"GET /", unfinished):
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.1) as one:
            one.sendall(sent)
            end = time.monotonic() + 30
            while True:
                assert time.monotonic() < end, f"{sent!r} holds its place"
                with suppress(TimeoutError):
                    if not one.recv(4096):
                        break
                if not sent:
                    continue
                try:
                    one.sendall(b"a")  # a little now and then
                except OSError:
                    break
    for _ in range(8):  # longer than a head may take, all in all, on one connection
        assert server.get("/healthz") == {"status": "ok"}
        time.sleep(0.1)


def test_answers_tell_browsers_to_keep_to_themselves(server: Served) -> None:
    for path in ("/", "/api/studies", "/api/studies/nope", "/static/plotly.min.js"):
        headers = server.client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert not [name for name in headers if name.lower().startswith("access-control")]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def _sent(port: int, bad: Bad) -> Answer:
    """Sends a request as it is written, with what HTTP needs."""
    headers = {"Host": f"127.0.0.1:{port}", "Connection": "close"} | bad.headers
    if bad.method == "POST":
        headers["Content-Length"] = str(len(bad.body))
    head = f"{bad.method} {bad.path} HTTP/1.1\r\n".encode()
    for name, value in headers.items():
        head += f"{name}: {value}\r\n".encode()
    return _raw(port, head + b"\r\n" + bad.body)


def _raw(port: int, content: bytes) -> Answer:
    """Sends bytes, and reads one answer to them."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        found = b""
        with suppress(BrokenPipeError, ConnectionResetError):  # answered before all was sent
            connection.sendall(content)
        with suppress(ConnectionResetError):
            while not _is_whole(found) and (part := connection.recv(65536)):
                found += part
    head, _, body = found.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    assert lines[0].startswith("HTTP/1.1 "), (content[:100], found[:200])
    return Answer(int(lines[0].split()[1]), _headers(head), body)


def _headers(head: bytes) -> dict[str, str]:
    named = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in named}


def _is_whole(found: bytes) -> bool:
    head, end, body = found.partition(b"\r\n\r\n")
    length = _headers(head).get("content-length")
    return bool(end) and length is not None and len(body) >= int(length)


def _is_safe(answer: Answer, folder: Path, what: object) -> None:
    assert answer.status < 500, what
    assert SECRET.encode() not in answer.body, what
    assert b"root:" not in answer.body, what
    assert b"Traceback" not in answer.body, what
    assert str(folder).encode() not in answer.body, what
    assert b"site-packages" not in answer.body, what
    assert "location" not in answer.headers, what
    if answer.body and "x-content-type-options" in answer.headers and answer.status != 304:
        found = json.loads(answer.body)
        assert found["status"] == answer.status, what
        assert answer.headers["content-type"] == "application/problem+json", what


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}

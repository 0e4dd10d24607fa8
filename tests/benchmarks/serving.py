"""How quickly `sweep serve` answers, and what that takes, while many pages are open.

Results of about 10,000 (or 100,000) trials are made up (`tests.benchmarks.growth`). A server, the
pages, and where records arrive the writer are processes of their own. Every page asks as the real
one does: what changes of the study every few seconds, and, when the results have changed, its
heatmap again; beside that one of a page of cells, a page of trials (sorted, and of a cell), the
failures or a trial, drawn at random. Answers that a page has are named (`If-None-Match`), as browsers do.
Records arrive as a run writes them: once a second, with what the run says of itself.
Reported: requests, errors, quantiles of the time to the whole answer as the page sees it, by address,
the server's share of one core (its processor time over the time of the measurement), and its memory.

Measured on 2 cores that had nothing else to do, at ordinary priority, as the second line below: 9,598 requests, no
error, p95 20 ms, 17 % of a core, 291 MB.

Measured on 2 cores of a machine with much else to do, so with real-time priority (`chrt -r 1`), 50
pages, each every 5 s, no error:

======= ============== ======= ======== ====== =============== ======
trials  arrive, per s  seconds requests p95    share of a core memory
======= ============== ======= ======== ====== =============== ======
9,570   -              300     6,653    13 ms  6 %             271 MB
9,570   5              300     9,598    14 ms  12 %            306 MB
101,490 5              90      2,860    25 ms  25 %            533 MB
======= ============== ======= ======== ====== =============== ======

With ordinary priority beside a load of 12 to 26 on the two cores, the second gave p95 411 ms.

    python -m tests.benchmarks.serving [--size 10000] [--clients 50] [--seconds 300] [--every 5]
        [--arriving 5]
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.growth import AXES, arrivals, fill, study_file

TARGET_P95_S, TARGET_SHARE = 0.3, 0.3


class Page:
    """A page that is open: asks, and keeps what it was told."""

    def __init__(self, client: object, draw: random.Random, took: dict[str, list[float]]) -> None:
        self._client, self._draw, self._took = client, draw, took
        self._known: dict[str, tuple[str, object]] = {}
        self._version = -1
        self.errors: list[str] = []

    async def look(self) -> None:
        """Asks once."""
        state = await self._get("state", "/api/studies/growth/state")
        if state is None:
            return
        if state["version"] != self._version:
            self._version = state["version"]
            await self._get("heatmap", "/api/studies/growth/heatmap")
        heatmap = self._known.get("/api/studies/growth/heatmap", ("", {}))[1]
        key = self._draw.choice(heatmap["cells"])["key"] if heatmap else "0"
        column = self._draw.choice(["mean", "delta", "alpha", "n"])
        offset = 50 * self._draw.randrange(10)
        kind, address = self._draw.choice(
            [
                ("cells", f"cells?sort={column}&order=desc&offset={offset}"),
                ("trials", f"trials?sort=test_metric&order=desc&offset={offset}"),
                ("trials of a cell", f"trials?cell={key}"),
                ("failures", "failures"),
                ("trial", key),
            ]
        )
        if kind != "trial":
            await self._get(kind, f"/api/studies/growth/{address}")
            return
        page = await self._get("trials of a cell", f"/api/studies/growth/trials?cell={key}")
        if page is not None:
            one = self._draw.choice(page["trials"])["trial_id"]
            await self._get("trial", f"/api/trials/{one}")

    async def _get(self, kind: str, address: str) -> dict | None:
        tag, known = self._known.get(address, ("", None))
        began = time.perf_counter()
        try:
            answer = await self._client.get(address, headers={"If-None-Match": tag} if tag else {})
        except Exception as error:
            self.errors.append(f"{kind}: {error!r}")
            return None
        self._took[kind].append(time.perf_counter() - began)
        if answer.status_code == 304:
            return known
        if answer.status_code != 200:
            self.errors.append(f"{kind}: {answer.status_code} {answer.text[:200]}")
            return None
        found = answer.json()
        self._known[address] = (answer.headers["ETag"], found)
        while len(self._known) > 100:
            del self._known[next(iter(self._known))]
        return found


async def pages(address: str, number: int, seconds: float, every_s: float) -> dict:
    """Opens pages, and keeps them open for so long."""
    import httpx

    took: dict[str, list[float]] = defaultdict(list)
    until = time.monotonic() + seconds

    async def keep_open(seed: int) -> list[str]:
        draw = random.Random(seed)
        limits = httpx.Limits(max_connections=6)
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
            page = Page(client, draw, took)
            await asyncio.sleep(every_s * draw.random())
            while time.monotonic() < until:
                began = time.monotonic()
                await page.look()
                await asyncio.sleep(max(0.0, every_s - (time.monotonic() - began)))
            return page.errors

    errors = await asyncio.gather(*(keep_open(seed) for seed in range(number)))
    return {"took": took, "errors": [line for some in errors for line in some]}


def write(folder: Path, each: int, seconds: float) -> int:
    """Publishes so many records every second, as a run does."""
    from sweep.store import Store

    store = Store(folder / "full")
    written = 0
    until = time.monotonic() + seconds
    with store.writing():
        for rows, attempts in arrivals(folder, each):
            began = time.monotonic()
            if began > until:
                break
            store.trials.publish(rows)
            store.attempts.publish(attempts)
            written += len(rows)
            store.write_live(
                {
                    "study": "growth", "done": written, "running": ["made up"], "eta_s": 60.0,
                    "running_trials": [row["trial_id"] for row in rows],
                    "trials_per_minute": 60.0 * each, "at": datetime.now(UTC).isoformat(),
                }
            )  # fmt: skip
            time.sleep(max(0.0, 1 - (time.monotonic() - began)))
    return written


def processor_s(process: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(process: int) -> float:
    """What a process holds of memory."""
    pages_held = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages_held * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(options: argparse.Namespace) -> dict:
    """Serves made-up results and asks for them."""
    own = [sys.executable, "-m", "tests.benchmarks.serving"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "growth.toml").write_text(study_file(options.size))
        left_out = int(options.arriving * (options.seconds + 60))
        fill(folder, left_out)
        began = time.monotonic()
        serve = [sys.executable, "-c", "from sweep.cli import main; main()", "serve", "--port=0"]
        server = subprocess.Popen(
            [*serve, f"--results={folder / 'full'}"], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        match = re.search(r"http://\S+:\d+", server.stdout.readline())
        assert match is not None
        ready = time.monotonic() - began
        writer = None
        if options.arriving:
            words = [str(folder), str(options.arriving), str(options.seconds)]
            writer = subprocess.Popen([*own, "--write", *words], stdout=subprocess.PIPE, text=True)
        before, began = processor_s(server.pid), time.monotonic()
        words = [match[0], str(options.clients), str(options.seconds), str(options.every)]
        asked = subprocess.run(
            [*own, "--ask", *words], stdout=subprocess.PIPE, text=True, check=True
        )
        elapsed = time.monotonic() - began
        found = json.loads(asked.stdout)
        found["share"] = (processor_s(server.pid) - before) / elapsed
        found["memory_mb"] = memory_mb(server.pid)
        found["ready_s"] = ready
        found["arrived"] = int(writer.communicate()[0]) if writer else 0
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        server.stdout.close()
    return found


def shown(found: dict, options: argparse.Namespace) -> str:
    """The measurement as a table."""
    everything = [second for some in found["took"].values() for second in some]
    what = (
        f"{options.size:,} trials, {options.clients} pages, every {options.every:g} s, "
        f"{options.seconds:g} s; {found['arrived']:,} records arrived"
    )
    lines = [
        what,
        f"{'address':18} {'requests':>8} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'max ms':>8}",
    ]
    for kind, some in [*sorted(found["took"].items()), ("all", everything)]:
        cuts = statistics.quantiles(some, n=100) if len(some) > 1 else some * 99
        numbers = (cuts[49], cuts[94], cuts[98], max(some))
        lines.append(f"{kind:18} {len(some):8} " + " ".join(f"{1000 * n:8.1f}" for n in numbers))
    p95 = statistics.quantiles(everything, n=100)[94]
    kept = p95 < TARGET_P95_S and found["share"] < TARGET_SHARE and not found["errors"]
    took = (
        f"errors: {len(found['errors'])}  server: {100 * found['share']:.1f} % of one core, "
        f"{found['memory_mb']:.0f} MB, listening after {found['ready_s']:.1f} s"
    )
    lines += [
        took,
        f"no error, p95 < {1000 * TARGET_P95_S:.0f} ms, < {100 * TARGET_SHARE:.0f} % of a core: "
        + ("kept" if kept else "NOT kept"),
        *found["errors"][:10],
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=10_000, choices=sorted(AXES))
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--every", type=float, default=5)
    parser.add_argument("--arriving", type=int, default=0, help="records a second")
    parser.add_argument("--ask", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ask:
        where, number, seconds, every = given.ask
        print(json.dumps(asyncio.run(pages(where, int(number), float(seconds), float(every)))))
    elif given.write:
        where, each, seconds = given.write
        print(write(Path(where), int(each), float(seconds)))
    else:
        print(shown(measure(given), given))

"""The process that holds the results: forks a confined child for each question.

It never looks at the SQL. It has one thread of its own, so that a child is whole; the pools of
Arrow start anew in a child by themselves. It ends when who asks closes the connection.
"""

import json
import math
import os
import select
import signal
import socket
import time
import traceback
import warnings
from typing import Any, NoReturn

import duckdb
import pyarrow as pa

from sweep.errors import SweepError
from sweep.query import messages, views
from sweep.query.confined import FILES, confine
from sweep.query.messages import BROKEN, NO_MEMORY
from sweep.results import Results

THREADS = min(4, os.cpu_count() or 1)


def main(asker: socket.socket, place: str) -> None:
    """Answers until the asker ends."""
    held: views.Held | None = None
    while (message := messages.receive(asker)) is not None:
        request, (answer,) = message
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                held = views.held(Results(place), held)
            except SweepError as error:
                os.close(answer)
                messages.send(asker, {"store_error": str(error)})
                continue
        told = [str(warning.message) for warning in caught]
        _answer_one(asker, held, request, answer, told)


def _answer_one(
    asker: socket.socket, held: views.Held, request: dict[str, Any], answer: int, told: list[str]
) -> None:
    """Forks a child for a question, and sees it end in time."""
    lacks, lacking = os.pipe()
    ends, ending = os.pipe()
    with warnings.catch_warnings():
        # The only other threads are those of Arrow, which waits with them and makes them anew.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_the_child(held, request, answer, lacking, ending)
    for descriptor in (answer, lacking, ending):
        os.close(descriptor)
    deadline = time.monotonic() + request["timeout_s"]
    try:
        confined = _read_until(lacks, deadline)
        missing = json.loads(confined or b"[]")
        if missing:
            told.append(
                f"this platform does not limit {', '.join(missing)} of a query: "
                "ask nothing here that you did not write yourself"
            )
        messages.send(asker, {"warnings": told})
        left = max(0.0, deadline - time.monotonic())
        ready = select.select([ends, asker.fileno()], [], [], left)[0]
        expired = not ready
        if ends not in ready:
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(lacks)
        os.close(ends)
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    messages.send(asker, {"expired": expired, "status": code})


def _read_until(source: int, deadline: float) -> bytes:
    """What comes until the other side closes, or nothing more in time."""
    content = b""
    while select.select([source], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(source, 4096)
        if not part:
            break
        content += part
    return content


def _be_the_child(
    held: views.Held, request: dict[str, Any], answer: int, lacking: int, ending: int
) -> NoReturn:
    """Makes the database, is confined, and answers; `ending` closes when it ends."""
    status = BROKEN
    try:
        memory = request["memory_mb"] * 10**6
        _keep_only(answer, lacking, ending)
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)
        database = views.database(held, THREADS, memory)
        cpu_s = math.ceil(request["timeout_s"] * THREADS) + 1
        missing = confine(memory, cpu_s)
        os.write(lacking, json.dumps(missing).encode())
        os.close(lacking)
        if FILES in missing:
            _fail(answer, "sql this platform cannot confine a query, so none is answered")
        else:
            _answer(database, request["sql"], request["max_rows"], answer)
        status = 0
    except MemoryError:
        status = NO_MEMORY
    except Exception:
        _fail(answer, traceback.format_exc())
    finally:
        os._exit(status)  # nothing of the parent's is to run at this end


def _keep_only(*descriptors: int) -> None:
    """Closes all other files; what the libraries print goes nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    last = 2
    for descriptor in sorted(descriptors):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()


def _answer(database: "duckdb.DuckDBPyConnection", sql: str, max_rows: int, answer: int) -> None:
    """Writes `A` and the answer as an Arrow stream, or `E` and why there is none."""
    try:
        table = views.answer(database, sql, max_rows)
    except views.TooManyRowsError:
        return _fail(answer, "rows")
    except (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError):
        return _fail(answer, "memory")
    except (duckdb.Error, pa.ArrowException, ValueError, OSError) as error:
        # What goes wrong between the first and the last row reaches us as an OSError of Arrow.
        text = str(error)
        return _fail(answer, "memory" if text.startswith("Out of Memory") else f"sql {text}")
    with open(answer, "wb", closefd=False) as stream:
        stream.write(b"A")
        with pa.ipc.new_stream(stream, table.schema) as writer:
            writer.write_table(table)
    return None


def _fail(answer: int, why: str) -> None:
    with open(answer, "wb", closefd=False) as stream:
        stream.write(b"E" + why.encode(errors="replace")[:100_000])

"""What a question may take, what its process cannot do, and that nothing of it stays behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sweep.errors import QueryError, StoreError
from sweep.query import Asking, Limits, asking
from sweep.records import trial_row
from tests.sweep.signals import as_in_a_terminal
from tests.sweep.test_query_hostile import children
from tests.sweep.test_results import Asked
from tests.sweep.tiny import result

ENDLESS = "SELECT sum(hash(range)) FROM range(1000000000000)"
COUNT = "SELECT count(*) AS n FROM trials"


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    found = Asked(tmp_path / "results")
    found.store.trials.publish([trial_row(found.cells[0], result())])
    return found


@pytest.fixture
def open_asking(asked: Asked) -> Iterator[Asking]:
    with Asking(asked.store.layout.root) as found:
        yield found


# Limits


@pytest.mark.parametrize(
    ("sql", "limits", "message"),
    [
        (ENDLESS, Limits(timeout_s=0.2), "longer than 0.2 s .* --timeout"),
        ("FROM range(11)", Limits(max_rows=10), "more than 10 rows.* LIMIT.* --max-rows"),
        (
            "SELECT list(range) FROM range(1000000000)",
            Limits(memory_mb=100),
            "more than 100 MB .* --memory",
        ),
        # within the allowed memory, but not as an answer
        (
            "SELECT repeat('x', 1000) FROM range(60000)",
            Limits(memory_mb=200),
            "larger than 50 MB.* --memory",
        ),
    ],
)
def test_a_limit_is_named_with_how_to_raise_it(
    open_asking: Asking, sql: str, limits: Limits, message: str
) -> None:
    with pytest.raises(QueryError, match=message):
        open_asking.query(sql, limits)
    assert open_asking.query(COUNT).to_pylist() == [{"n": 1}]


def test_an_answer_just_within_its_limits_is_whole(open_asking: Asking) -> None:
    answer = open_asking.query("FROM range(250000)", Limits(max_rows=250_000))
    assert answer["range"].to_pylist() == list(range(250_000))
    sql = "SELECT repeat('x', 1000) AS t FROM range(45000)"
    texts = open_asking.query(sql, Limits(memory_mb=200))["t"].to_pylist()
    assert texts == ["x" * 1000] * 45_000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"timeout_s": 0.0}, r"timeout_s \(--timeout\) = 0.0: must be 0.01 to 86,400"),
        ({"timeout_s": float("nan")}, "timeout_s .* = nan"),
        ({"timeout_s": float("inf")}, "timeout_s .* = inf"),
        ({"max_rows": 0}, r"max_rows \(--max-rows\) = 0: must be 1 to"),
        ({"memory_mb": 49}, r"memory_mb \(--memory\) = 49: must be 50 to"),
    ],
)
def test_a_limit_without_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Limits(**values)


# The state of the results


def test_an_answer_is_of_the_results_as_they_are(asked: Asked, open_asking: Asking) -> None:
    assert open_asking.query(COUNT).to_pylist() == [{"n": 1}]
    other = next(cell for cell in asked.cells if cell.trial_id != asked.cells[0].trial_id)
    path = asked.store.trials.publish([trial_row(other, result())])
    assert open_asking.query(COUNT).to_pylist() == [{"n": 2}]
    assert path is not None
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    # A file that was read is known by its name, which is that of its content.
    assert open_asking.query(COUNT).to_pylist() == [{"n": 2}]
    with Asking(asked.store.layout.root) as anew:
        with pytest.warns(UserWarning, match=path.name):
            assert anew.query(COUNT).to_pylist() == [{"n": 1}]
        path.write_bytes(content)
        assert anew.query(COUNT).to_pylist() == [{"n": 2}]
    more = Asked(asked.store.layout.root)
    more.store.write_cells("another", [], "{}")
    cells = "SELECT count(DISTINCT study) AS n FROM requested"
    assert open_asking.query(cells).to_pylist() == [{"n": 1}]


def test_results_that_cannot_be_read_are_the_stores_error(tmp_path: Path) -> None:
    with Asking(tmp_path / "absent") as found:
        with pytest.raises(StoreError, match="absent' does not exist"):
            found.query("SELECT 1")
        (tmp_path / "absent").mkdir()
        assert found.query("SELECT 1 AS a").to_pylist() == [{"a": 1}]


def test_threads_may_share_it(open_asking: Asking) -> None:
    answers: dict[int, Any] = {}

    def ask(number: int) -> None:
        answers[number] = open_asking.query(f"SELECT {number} AS n").to_pylist()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: [{"n": number}] for number in range(8)}


# Nothing stays behind


def running(pid: int) -> bool:
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in ("Z", "X")
    return False


def soon(check: Callable[[], object], within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.02)
    return False


needs_proc = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")


@needs_proc
def test_a_reader_that_is_killed_costs_its_question(open_asking: Asking) -> None:
    open_asking.query(COUNT)
    reader = open_asking._reader._process.pid

    def kill() -> None:
        soon(lambda: children(reader))
        os.kill(reader, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(QueryError, match="ended, or does not answer"):
        open_asking.query(ENDLESS, Limits(timeout_s=0.5))
    killer.join()
    assert not running(reader)
    assert open_asking.query(COUNT).to_pylist() == [{"n": 1}]


@needs_proc
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_who_asks(asked: Asked, how: signal.Signals) -> None:
    program = "import sys; from sweep.query import query; query(sys.argv[1], sys.argv[2])"
    asker = subprocess.Popen(
        [sys.executable, "-c", program, str(asked.store.layout.root), ENDLESS],
        stderr=subprocess.DEVNULL, preexec_fn=as_in_a_terminal,
    )  # fmt: skip
    found: list[int] = []

    def began() -> bool:
        found[:] = children(asker.pid)
        found.extend(grandchild for child in list(found) for grandchild in children(child))
        return len(found) == 2

    try:
        assert soon(began)
        time.sleep(0.3)  # until the question is being answered
        asker.send_signal(how)
        assert asker.wait(30) != 0  # long before its question has taken too long
        assert soon(lambda: not any(map(running, found)))
    finally:
        asker.kill()
        asker.wait()


@needs_proc
def test_a_fork_of_who_asks_leaves_the_reader_alone(open_asking: Asking) -> None:
    open_asking.query(COUNT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # nothing but close() follows
        child = os.fork()
    if child == 0:
        open_asking.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    reader = open_asking._reader._process.pid
    assert running(reader)
    assert open_asking.query(COUNT).to_pylist() == [{"n": 1}]
    assert open_asking._reader._process.pid == reader


@needs_proc
def test_a_child_that_the_system_kills_is_said_to_need_memory(open_asking: Asking) -> None:
    open_asking.query(COUNT)
    reader = open_asking._reader._process.pid

    def kill() -> None:
        soon(lambda: children(reader))
        time.sleep(0.3)
        for child in children(reader):
            os.kill(child, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(QueryError, match="needs more than 2,000 MB"):
        open_asking.query(ENDLESS, Limits(timeout_s=5.0))
    killer.join()
    assert open_asking.query(COUNT).to_pylist() == [{"n": 1}]


@needs_proc
def test_a_reader_goes_when_it_is_forgotten(asked: Asked) -> None:
    found = Asking(asked.store.layout.root)
    reader = found._reader._process.pid
    assert running(reader)
    del found
    assert soon(lambda: not running(reader))


# What the process gives up

TRIES = """
import json, os, resource, signal, socket, sys, threading
from sweep.query.confined import confine
{before}
kept = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
missing = confine(100_000_000, 5)
done = []
def attempt(name, work):
    try:
        work()
    except (OSError, RuntimeError, MemoryError, ValueError):
        return
    done.append(name)
attempt("open", lambda: os.open("/dev/null", os.O_RDONLY))
attempt("socket", socket.socket)
attempt("pipe", os.pipe)
attempt("fork", lambda: os.fork() or os._exit(0))
attempt("thread", lambda: threading.Thread(target=int).start())
attempt("memory", lambda: bytearray(150_000_000))
attempt("listdir", lambda: os.listdir("/"))
attempt("little memory", lambda: bytearray(50_000_000))
attempt("raise", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10)))
print(json.dumps([missing, done]))
sys.stdout.flush()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    os.write(kept, b"x")
    os._exit(1)
except OSError:
    os._exit(0)
"""


def confined(file: Path, before: str = "") -> tuple[list[str], list[str]]:
    """What is missing, and what could be done all the same."""
    import json

    done = subprocess.run(
        [sys.executable, "-c", TRIES.format(before=before), str(file)],
        stdout=subprocess.PIPE,
        check=not before,
    )
    missing, could = json.loads(done.stdout)
    return missing, could


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere less can be limited")
def test_a_confined_process_can_do_nothing_but_count(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    assert confined(file) == ([], ["little memory"])
    assert file.read_bytes() == b""


def test_limits_that_do_not_hold_are_named(tmp_path: Path) -> None:
    before = "import resource; resource.setrlimit = lambda *_: None"
    missing, could = confined(tmp_path / "kept", before)
    assert missing == ["files and sockets", "processes", "memory"]
    assert {"open", "thread", "memory"} <= set(could)


def without(monkeypatch: pytest.MonkeyPatch, limits: str) -> None:
    """Readers from here on are on a platform that takes some limits and does not keep them."""
    program = (
        "import resource, runpy, sys; own = resource.setrlimit; "
        f"resource.setrlimit = lambda what, most: what in ({limits}) or own(what, most); "
        "runpy.run_module('sweep.query.start', run_name='__main__')"
    )
    real = subprocess.Popen

    def start(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        assert command[1:4] == ["-P", "-m", "sweep.query.start"]
        return real([command[0], "-c", program, *command[4:]], **options)

    monkeypatch.setattr(asking.subprocess, "Popen", start)


def test_where_processes_cannot_be_limited_it_is_said(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "resource.RLIMIT_NPROC,")
    with (
        Asking(asked.store.layout.root) as found,
        pytest.warns(UserWarning, match="does not limit processes of a query"),
    ):
        assert found.query(COUNT).to_pylist() == [{"n": 1}]


def test_where_files_cannot_be_limited_nothing_is_answered(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC")
    with (
        Asking(asked.store.layout.root) as found,
        pytest.warns(UserWarning, match="does not limit files and sockets, processes of a query"),
        pytest.raises(QueryError, match="cannot confine a query"),
    ):
        found.query(COUNT)


def test_the_socket_of_the_asker_is_not_the_childs(open_asking: Asking) -> None:
    """Only the pipe for the answer is open in the child; without limits, others would be too."""
    assert isinstance(open_asking._reader._socket, socket.socket)
    open_asking.query(COUNT)
    reader = open_asking._reader._process.pid
    seen: list[set[str]] = []

    def look() -> None:
        def find() -> bool:
            for child in children(reader):
                with suppress(OSError):
                    names = {str(path.readlink()) for path in Path(f"/proc/{child}/fd").iterdir()}
                    if not any(name.startswith("socket:") for name in names):
                        seen.append(names)
                        return True
            return False

        soon(find, 2.0)

    watcher = threading.Thread(target=look)
    watcher.start()
    with pytest.raises(QueryError):
        open_asking.query(ENDLESS, Limits(timeout_s=1.0))
    watcher.join()
    (names,) = seen
    assert {name.split(":")[0] for name in names} <= {"pipe", "/dev/null", "anon_inode"}

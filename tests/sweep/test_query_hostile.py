"""Hostile queries: none hangs, none leaks, none changes anything, and the next one is answered."""

import ctypes
import os
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweep.errors import QueryError
from sweep.query import Asking, Limits
from sweep.records import trial_row
from tests.sweep.hostile_sql import Hostile, listed, made
from tests.sweep.test_results import Asked, point
from tests.sweep.tiny import result

CANARY = "canary-7f3a9c"
LIMITS = Limits(timeout_s=0.5, max_rows=10_000, memory_mb=400)


@dataclass(frozen=True)
class Place:
    """Results beside a file with a secret, in a folder that is the working directory."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def secret(self) -> Path:
        return self.folder / "secret.csv"

    @property
    def out(self) -> Path:
        return self.folder / "out.csv"

    def tree(self) -> dict[str, tuple[int, int, int]]:
        """Every file and folder, with its size, time and mode."""
        found = {}
        for path in (self.folder, *self.folder.rglob("*")):
            now = path.lstat()
            found[str(path)] = (now.st_size, now.st_mtime_ns, now.st_mode)
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    found = Place(tmp_path)
    asked = Asked(found.results)
    for number, cell in enumerate({cell.trial_id: cell for cell in asked.cells}.values()):
        row = trial_row(cell, result(test_metric=40.0 + number, robustness=(point(0.1, 1.0),)))
        asked.store.trials.publish([row])
    with asked.store.writing():
        pass
    found.secret.write_text(f"a,b\n{CANARY},1\n")
    (tmp_path / "home").mkdir()
    # Whoever runs the tests: the system's own permissions are not to be what protects the secret.
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o055)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CANARY", CANARY)
    return found


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def resident_mb() -> float:
    """Memory that this process holds: not what the allocator keeps of buffers long freed."""
    with suppress(AttributeError):  # a C library that is not glibc
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def ask_all(place: Place, queries: Iterable[Hostile]) -> None:
    """Asks each, and sees to it that nothing happens."""
    outcomes: Counter[str] = Counter()
    slowest = (0.0, "")
    before = place.tree()
    others = set(children(os.getpid()))
    with Asking(place.results) as asking:
        (n,) = asking.query("SELECT count(*) AS n FROM trials").to_pylist()
        memory = resident_mb()
        for hostile in queries:
            began = time.monotonic()
            try:
                said = repr(asking.query(hostile.sql, LIMITS).to_pydict())
                outcome = "answered"
                assert hostile.answered, f"{hostile.sql[:200]!r} was answered: {said[:200]}"
            except QueryError as error:
                said = str(error)
                limit = "allow more with" in said
                outcome = (
                    "ended at a limit" if limit else "broke down" if "broke" in said else "refused"
                )
            took = time.monotonic() - began
            slowest = max(slowest, (took, hostile.sql))
            outcomes[outcome] += 1
            assert CANARY not in said, hostile.sql[:200]
            assert "root:" not in said, hostile.sql[:200]
            assert took < 2, f"{hostile.sql[:200]!r} took {took:.2f} s"
            assert place.tree() == before, hostile.sql[:200]
            (reader,) = set(children(os.getpid())) - others
            assert children(reader) == []
        assert resident_mb() < memory + 60
        # the database is as it was
        assert asking.query("SELECT count(*) AS n FROM trials").to_pylist() == [n]
    assert set(children(os.getpid())) == others
    print(
        f"{outcomes.total()} hostile queries: "
        f"{', '.join(f'{count} {what}' for what, count in outcomes.most_common())}; "
        f"slowest {slowest[0]:.2f} s ({slowest[1][:40]!r})"
    )


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
def test_hostile_queries_do_nothing(place: Place) -> None:
    queries = listed(place.secret, place.results, place.out) + made(
        100, place.secret, place.results
    )
    assert len({hostile.sql for hostile in queries}) >= 300
    ask_all(place, queries[::3])  # the others are among the slow tests


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
@pytest.mark.parametrize("first", [1, 2])
def test_the_other_hostile_queries_do_nothing(place: Place, first: int) -> None:
    queries = listed(place.secret, place.results, place.out)
    ask_all(place, (queries + made(100, place.secret, place.results))[first::3])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
def test_more_hostile_queries_do_nothing(place: Place) -> None:
    ask_all(place, made(600, place.secret, place.results, seed=1))

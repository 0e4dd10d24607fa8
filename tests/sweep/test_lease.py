"""Who holds the lock of an object store, whatever stops, sleeps or comes back."""

import threading
import time
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any
from uuid import uuid4

import pytest

from sweep import lease
from sweep.errors import StoreError
from sweep.files import Files
from sweep.object_files import ObjectFiles
from sweep.store import Store

LEASE_S = 0.6


@pytest.fixture
def place() -> tuple[Files, PurePath]:
    import fsspec

    files = ObjectFiles(fsspec.filesystem("memory"), "memory", LEASE_S)
    return files, PurePath(f"/{uuid4().hex}/.lock")


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Holders that take a lease and never renew it, as if they were stopped."""
    with monkeypatch.context() as patch:
        patch.setattr(lease._Lease, "start", lambda self: None)
        patch.setattr(lease._Lease, "end", lambda self: None)
        yield


def test_a_second_writer_is_refused_with_the_name_of_the_first(
    place: tuple[Files, PurePath],
) -> None:
    files, folder = place
    with files.lock(folder):
        began = time.monotonic()
        with pytest.raises(StoreError, match=r"is being written by process \d+ on .*, started "):
            files.lock(folder).__enter__()
        assert time.monotonic() - began < LEASE_S, "as soon as the first was seen to be alive"


def test_a_holder_that_is_alive_keeps_its_lease_for_longer_than_it_lasts(
    place: tuple[Files, PurePath],
) -> None:
    files, folder = place
    with files.lock(folder) as check:
        time.sleep(2 * LEASE_S)
        check()
        with pytest.raises(StoreError, match="is being written by"):
            files.lock(folder).__enter__()
        check()


def test_a_holder_that_stopped_is_waited_for_and_then_replaced(
    place: tuple[Files, PurePath], stopped: None
) -> None:
    files, folder = place
    first = files.lock(folder).__enter__()
    first()
    began = time.monotonic()
    second = files.lock(folder).__enter__()
    assert time.monotonic() - began >= LEASE_S
    with pytest.raises(StoreError, match=r"was taken over by process .* did not renew"):
        first()
    second()
    assert [entry.path.name for entry in files.entries(folder)].count(f"{2:012d}") == 1


def test_of_many_challengers_one_takes_over(place: tuple[Files, PurePath], stopped: None) -> None:
    files, folder = place
    files.lock(folder).__enter__()
    won: list[Any] = []
    refused: list[str] = []

    def challenge() -> None:
        try:
            won.append(files.lock(folder).__enter__())
        except StoreError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=challenge) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(refused) == 4
    assert all("is being written by" in text for text in refused)


def test_what_a_challenger_saw_long_ago_gives_it_nothing(
    place: tuple[Files, PurePath], monkeypatch: pytest.MonkeyPatch
) -> None:
    files, folder = place
    for _ in range(3):
        with files.lock(folder):
            pass
    seen = lease._last
    stale = [lease._Generation(1, "one of long ago", 5, released=True)]
    with files.lock(folder) as check:  # generation 4; 2, which is next to 1, is free again
        monkeypatch.setattr(lease, "_last", lambda *where: stale.pop() if stale else seen(*where))
        with pytest.raises(StoreError, match="is being written by"):
            files.lock(folder).__enter__()
        check()
    assert [entry.path.name for entry in files.entries(folder)] == [f"{4:012d}"]


def test_a_clock_that_jumps_changes_nothing(
    place: tuple[Files, PurePath], monkeypatch: pytest.MonkeyPatch
) -> None:
    files, folder = place
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with files.lock(folder) as check:
        monkeypatch.setattr(time, "time", lambda: 1e12)
        with pytest.raises(StoreError, match="is being written by"):
            files.lock(folder).__enter__()
        check()


def test_a_store_without_put_if_absent_is_refused(place: tuple[Files, PurePath]) -> None:
    files, folder = place

    class Replacing(ObjectFiles):
        def put_if_absent(self, path: PurePath, content: bytes) -> bool:
            self.put(path, content)
            return True

    assert isinstance(files, ObjectFiles)
    weak = Replacing(files._filesystem, "memory", LEASE_S)
    with pytest.raises(StoreError, match="cannot be written: this store does not keep a file from"):
        weak.lock(folder).__enter__()
    assert files.entries(folder) == []


def test_a_damaged_lock_is_taken_over_when_it_stands_still(place: tuple[Files, PurePath]) -> None:
    files, folder = place
    files.put(folder / f"{7:012d}", b"not JSON")
    began = time.monotonic()
    with files.lock(folder) as check:
        check()
    assert time.monotonic() - began >= LEASE_S


def test_a_writer_that_lost_its_lease_publishes_nothing_more_and_loses_nothing(
    place: tuple[Files, PurePath], monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    def opened() -> Store:
        from pathlib import Path

        files = ObjectFiles(fsspec.filesystem("memory"), "memory", LEASE_S)
        return Store(Path(str(place[1].parent)), on=files)

    def row(name: str) -> dict[str, Any]:
        return {"trial_id": name, "status": "done"}

    first, second = opened(), opened()
    with monkeypatch.context() as patch:
        patch.setattr(lease._Lease, "_keep", lambda self: None)  # its thread never runs again
        writing = first.writing()
        writing.__enter__()
        first.trials.publish([row("a")])
        with second.writing():
            second.trials.publish([row("b")])
            with pytest.raises(StoreError, match="was taken over by"):
                first.trials.publish([row("c")])
            with pytest.raises(StoreError, match="was taken over by"):
                writing.__exit__(None, None, None)  # nor does it fold
    rows, damaged = opened().trials.read(["trial_id"])
    assert (sorted(rows["trial_id"].to_pylist()), damaged) == (["a", "b"], [])
    with opened().writing():
        pass
    assert sorted(opened().trials.read(["trial_id"])[0]["trial_id"].to_pylist()) == ["a", "b"]

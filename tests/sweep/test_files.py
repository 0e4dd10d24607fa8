"""The contract of files, on every medium: a local disk, a simulated one, memory, S3."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePath
from typing import Any
from uuid import uuid4

import pytest

from sweep.errors import StoreError
from sweep.files import Entry, Files, Guarded, at
from sweep.local_files import LocalFiles
from tests.sweep.disk import SimulatedDisk

MEDIA = ("local", "simulated", "memory", "s3")


@pytest.fixture(params=MEDIA)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Files, PurePath]]:
    if request.param == "local":
        yield LocalFiles(), tmp_path / "results"
    elif request.param == "simulated":
        yield LocalFiles(SimulatedDisk()), Path("/results")
    elif request.param == "memory":
        yield at(f"memory://{uuid4().hex}/results")
    else:
        bucket = request.getfixturevalue("s3_bucket")
        yield at(f"s3://{bucket}/{uuid4().hex}/results")


def test_what_is_put_is_read_and_listed_and_replaced_whole(place: tuple[Files, PurePath]) -> None:
    files, root = place
    path = root / "trials" / "a.parquet"
    assert files.read(path) is None
    assert not files.exists(path)
    assert not files.is_folder(root)
    assert files.entries(root / "trials") == []
    files.put(path, b"first")
    files.put(path, b"second one")
    files.put(root / "trials" / "b", b"", durable=False)
    files.put(root / "other", b"x")
    assert files.read(path) == b"second one"
    assert files.read(root / "trials" / "b") == b""
    assert files.exists(path)
    assert not files.exists(root / "trials")
    assert files.is_folder(root)
    assert files.is_folder(root / "trials")
    assert files.entries(root / "trials") == [Entry(path, 10), Entry(root / "trials" / "b", 0)]


def test_what_is_removed_is_gone_and_may_be_removed_again(place: tuple[Files, PurePath]) -> None:
    files, root = place
    path = root / "trials" / "a"
    files.remove(path)
    files.put(path, b"content")
    files.remove(path)
    files.remove(path)
    assert files.read(path) is None
    assert files.entries(root / "trials") == []


def test_of_two_that_put_if_absent_the_second_loses(place: tuple[Files, PurePath]) -> None:
    files, root = place
    path = root / "lock" / "1"
    assert files.put_if_absent(path, b"first")
    assert not files.put_if_absent(path, b"second")
    assert files.read(path) == b"first"
    assert files.entries(root / "lock") == [Entry(path, 5)]  # and nothing temporary
    files.remove(path)
    assert files.put_if_absent(path, b"second")


def test_of_many_at_once_one_puts(place: tuple[Files, PurePath]) -> None:
    files, root = place
    files.put(root / "lock" / "0", b"the folder is there")
    for attempt in range(3):
        path = root / "lock" / f"n{attempt}"
        contents = [b"%d" % number for number in range(4)]
        with ThreadPoolExecutor(len(contents)) as pool:
            won = list(pool.map(partial(files.put_if_absent, path), contents))
        assert sum(won) == 1
        assert files.read(path) == contents[won.index(True)]


def test_a_lock_is_held_by_one_and_free_afterwards(place: tuple[Files, PurePath]) -> None:
    files, root = place
    path = root / ".lock"
    assert not files.is_locked(path)
    with files.lock(path) as check:
        check()
        assert files.is_locked(path)
    assert not files.is_locked(path)
    with files.lock(path) as check:
        check()


def test_a_lost_lock_stops_every_change_before_it_is_made(place: tuple[Files, PurePath]) -> None:
    plain, root = place
    files = Guarded(plain)
    files.put(root / "a", b"1")

    def lost() -> None:
        raise StoreError("taken over by another")

    files.check = lost
    for change in (
        lambda: files.put(root / "a", b"2"),
        lambda: files.put_if_absent(root / "b", b"2"),
        lambda: files.remove(root / "a"),
    ):
        with pytest.raises(StoreError, match="taken over by another"):
            change()
    assert (files.read(root / "a"), files.read(root / "b")) == (b"1", None)


# Local


def test_every_call_that_makes_a_file_durable_is_made_in_order() -> None:
    disk = SimulatedDisk()
    files = LocalFiles(disk)
    files.put(Path("/results/a"), b"1")
    disk.calls = []
    files.put(Path("/results/a"), b"2")
    assert disk.calls == [
        "is_folder", "create", "write", "sync", "close", "rename", "sync_folder",
    ]  # fmt: skip


def test_the_folder_of_a_file_outlives_a_crash_whoever_made_it() -> None:
    disk = SimulatedDisk()
    disk.make_folder(Path("/deep"))  # by a process that was stopped here
    disk.make_folder(Path("/deep/results"))
    LocalFiles(disk).put(Path("/deep/results/trials/a"), b"1")
    disk.reopen()
    assert disk.files() == {Path("/deep/results/trials/a"): b"1"}


def test_a_write_that_the_system_cuts_short_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: whole(handle, content[:3]))
    LocalFiles().put(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


# Object stores


def test_a_url_that_nothing_reads_is_refused() -> None:
    with pytest.raises(StoreError, match="cannot use nonsense://x"):
        at("nonsense://x")


def test_a_store_that_cannot_be_reached_is_named(s3_bucket: str) -> None:
    files, root = at("s3://no-such-bucket/results")
    with pytest.raises(StoreError, match=r"cannot write s3://no-such-bucket/results/a: .*"):
        files.put(root / "a", b"1")
    assert files.shown(root / "a") == "s3://no-such-bucket/results/a"


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    files, root = at(f"file://{tmp_path}")
    assert isinstance(files, LocalFiles)
    assert root == tmp_path


def test_a_repeated_request_that_finds_its_own_file_has_won() -> None:
    import fsspec

    from sweep.object_files import ObjectFiles

    class Repeating(fsspec.get_filesystem_class("memory")):  # type: ignore[misc]
        cachable = False
        store: dict[str, Any] = {}  # noqa: RUF012 (fsspec's, but of its own)
        pseudo_dirs = [""]  # noqa: RUF012

        def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
            super().pipe_file(path, value, mode=mode, **more)
            super().pipe_file(path, value, mode=mode, **more)  # the answer to the first was lost

    files = ObjectFiles(Repeating(), "memory")
    assert files.put_if_absent(PurePath("/x"), b"mine")
    assert not files.put_if_absent(PurePath("/x"), b"other")

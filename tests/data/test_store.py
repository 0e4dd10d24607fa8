import os
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import data
from data import DatasetEntry, RawArrays, store
from data.canonical import canonical
from data.npz import read_npz, write_npz
from tests.data.conftest import toy_arrays, toy_prepare

Save = Callable[..., Path]


def forbidden(folder: Path) -> RawArrays:
    raise AssertionError("nothing here may be prepared or downloaded")


def download_toy(folder: Path) -> None:
    (folder / "toy.src").write_text("raw")


def prepare_from_source(folder: Path) -> RawArrays:
    assert (folder / "toy.src").read_text() == "raw"
    return toy_arrays()


@pytest.fixture
def remote(toy: DatasetEntry) -> DatasetEntry:
    """The toy dataset as one that must be downloaded, with a pinned fingerprint."""
    entry = replace(
        toy,
        source="toy.src",
        download=download_toy,
        prepare=prepare_from_source,
        fingerprint=canonical(toy, toy_arrays(), "toy").fingerprint,
    )
    data.register(entry, replace=True)
    return entry


@pytest.fixture
def shared_dir() -> Iterator[Path]:
    """A directory that every user can reach; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_the_default_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWEEP_DATA_DIR", str(tmp_path))
    assert data.default_data_dir() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SWEEP_DATA_DIR", "~/sets")
    assert data.default_data_dir() == tmp_path / "home" / "sets"
    cache = tmp_path / "home" / ".cache" / "distillation-sweep"
    monkeypatch.setenv("SWEEP_DATA_DIR", "")
    assert data.default_data_dir() == cache
    monkeypatch.delenv("SWEEP_DATA_DIR")
    assert data.default_data_dir() == cache


def test_the_environment_names_the_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, remote: DatasetEntry, save: Save
) -> None:
    save("toy", toy_arrays())
    monkeypatch.setenv("SWEEP_DATA_DIR", str(tmp_path))
    assert data.verify("toy").path == tmp_path / "toy.npz"


def test_absent_says_file_place_and_command(tmp_path: Path, remote: DatasetEntry) -> None:
    for attempt in (lambda: store.read("toy", tmp_path), lambda: data.verify("toy", tmp_path)):
        with pytest.raises(data.DatasetUnavailableError) as caught:
            attempt()
        message = str(caught.value)
        assert f"looked for toy.npz or toy.src in {tmp_path}" in message
        assert "Run `sweep data fetch toy`" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist", "mnist", "california_housing"])
def test_absent_built_ins_are_not_downloaded_by_loading(tmp_path: Path, name: str) -> None:
    with pytest.raises(data.DatasetUnavailableError, match=f"`sweep data fetch {name}`"):
        store.read(name, tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_fetch_downloads_once_and_leaves_one_file(tmp_path: Path, remote: DatasetEntry) -> None:
    folder = tmp_path / "made" / "here"
    status = data.fetch("toy", folder)
    assert status == data.DatasetStatus(
        "toy", "classification", (12, 6), True, folder / "toy.npz", remote.fingerprint
    )
    assert [path.name for path in folder.iterdir()] == ["toy.npz"]
    data.register(replace(remote, prepare=forbidden, download=forbidden), replace=True)
    assert data.fetch("toy", folder) == status
    assert data.verify("toy", folder) == status
    assert store.read("toy", folder, download=True).fingerprint == remote.fingerprint


def test_the_prepared_file_is_readable_by_others(tmp_path: Path, remote: DatasetEntry) -> None:
    before = os.umask(0o022)
    try:
        data.fetch("toy", tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "toy.npz").stat().st_mode & 0o777 == 0o644


def test_reading_can_download_when_asked(tmp_path: Path, remote: DatasetEntry) -> None:
    found = store.read("toy", tmp_path, download=True)
    assert found.fingerprint == remote.fingerprint
    assert (tmp_path / "toy.npz").is_file()


def test_a_source_that_is_there_is_used_without_download(
    tmp_path: Path, remote: DatasetEntry
) -> None:
    data.register(replace(remote, download=forbidden), replace=True)
    download_toy(tmp_path)
    assert store.read("toy", tmp_path).fingerprint == remote.fingerprint
    assert not (tmp_path / "toy.npz").exists()
    assert data.describe(tmp_path)[-1].path == tmp_path / "toy.src"
    assert data.fetch("toy", tmp_path).path == tmp_path / "toy.npz"


def test_a_failed_download_leaves_nothing_and_says_why(
    tmp_path: Path, remote: DatasetEntry
) -> None:
    def broken(folder: Path) -> None:
        (folder / "half").write_bytes(b"x")
        raise OSError("Network is unreachable")

    data.register(replace(remote, download=broken), replace=True)
    with pytest.raises(data.DatasetUnavailableError) as caught:
        data.fetch("toy", tmp_path)
    assert f"'toy' could not be downloaded to {tmp_path}: OSError: Network is" in str(caught.value)
    assert "`sweep data fetch toy` makes toy.npz" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_download_with_other_content_is_not_kept(tmp_path: Path, remote: DatasetEntry) -> None:
    data.register(replace(remote, fingerprint="0" * 64), replace=True)
    with pytest.raises(data.FingerprintMismatchError, match="the content of the download"):
        data.fetch("toy", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_embedded_data_writes_nothing(tmp_path: Path) -> None:
    status = data.fetch("digits", tmp_path / "absent")
    assert (status.present, status.path, status.rows) == (True, None, (1_437, 360))
    assert not (tmp_path / "absent").exists()


def test_own_data_without_files_loads_and_can_be_cached(tmp_path: Path, toy: DatasetEntry) -> None:
    fingerprint = store.read("toy", tmp_path).fingerprint
    assert list(tmp_path.iterdir()) == []
    assert data.fetch("toy", tmp_path).path == tmp_path / "toy.npz"
    data.register(replace(toy, prepare=forbidden), replace=True)
    assert store.read("toy", tmp_path).fingerprint == fingerprint
    # A new version does not read what the old one prepared.
    data.register(replace(toy, version=2), replace=True)
    assert data.fetch("toy", tmp_path).path == tmp_path / "toy.v2.npz"


def test_own_prepare_may_miss_its_file(tmp_path: Path, toy: DatasetEntry) -> None:
    def prepare(folder: Path) -> RawArrays:
        raise FileNotFoundError("no /data/toy.csv")

    data.register(replace(toy, prepare=prepare), replace=True)
    with pytest.raises(data.DatasetUnavailableError, match=r"no /data/toy.csv\). It has no downl"):
        store.read("toy", tmp_path)


def test_own_prepare_must_return_raw_arrays(tmp_path: Path, toy: DatasetEntry) -> None:
    data.register(replace(toy, prepare=lambda folder: (1, 2)), replace=True)
    with pytest.raises(data.DatasetFileError, match="prepare returned tuple, expected RawArrays"):
        store.read("toy", tmp_path)


def test_shuffled_file_is_the_same_dataset(
    tmp_path: Path, remote: DatasetEntry, save: Save
) -> None:
    raw, order = toy_arrays(), np.arange(11, -1, -1)
    save("toy", replace(raw, x_train=raw.x_train[order], y_train=raw.y_train[order]))
    found, straight = store.read("toy", tmp_path), canonical(remote, raw, "toy")
    np.testing.assert_array_equal(found.x_train, straight.x_train)
    np.testing.assert_array_equal(found.y_train, straight.y_train)


def test_flipped_pixel_is_refused(tmp_path: Path, remote: DatasetEntry, save: Save) -> None:
    x = toy_arrays().x_train.copy()
    x[3, 1, 1] ^= 1
    path = save("toy", toy_arrays(), x_train=x)
    found = canonical(replace(remote, fingerprint=None), read_npz(path), "toy").fingerprint
    with pytest.raises(data.FingerprintMismatchError) as caught:
        data.verify("toy", tmp_path)
    message = str(caught.value)
    assert "dataset 'toy'" in message
    assert str(path) in message
    assert f"expected fingerprint {remote.fingerprint}, found {found}" in message


def test_every_truncation_is_refused(tmp_path: Path, remote: DatasetEntry, save: Save) -> None:
    path = save("toy", toy_arrays())
    whole = path.read_bytes()
    assert len(whole) > 1000
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(
            data.DatasetFileError, match=r"dataset 'toy': .*toy\.npz cannot be read"
        ):
            store.read("toy", tmp_path)
    path.write_bytes(whole)
    assert store.read("toy", tmp_path).fingerprint == remote.fingerprint


def test_every_flipped_byte_is_refused_or_harmless(
    tmp_path: Path, remote: DatasetEntry, save: Save
) -> None:
    path = save("toy", toy_arrays())
    whole = path.read_bytes()
    refused = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            assert store.read("toy", tmp_path).fingerprint == remote.fingerprint
        except data.DatasetFileError:
            refused += 1
    assert refused > len(whole) / 2


def test_pickled_arrays_are_refused(tmp_path: Path, toy: DatasetEntry, save: Save) -> None:
    objects = np.array([{"a": 1}] * 12, dtype=object)
    save("toy", toy_arrays(), y_train=objects)
    with pytest.raises(data.DatasetFileError, match=r"toy\.npz cannot be read.*allow_pickle=False"):
        store.read("toy", tmp_path)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("(1000000000000,)", "(1000000000000,) of uint8, which are 1,000,000,000,000"),
        ("(12, 2, 3)", "(12, 2, 3) of uint8, which are 72"),
        ("(12, 2, 1)", "which are 24"),
        ("(-12, 2, 2)", "which are -48"),
        ("(10000000000, 10000000000, 10000000000)", "which are 1" + ",000" * 10),
    ],
)
def test_a_header_that_does_not_fit_its_content_is_refused_before_it_is_believed(
    tmp_path: Path, toy: DatasetEntry, save: Save, shape: str, said: str
) -> None:
    path = save("toy", toy_arrays())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    members["x_train.npy"] = (
        b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(48)
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    tracemalloc.start()
    try:
        with pytest.raises(data.DatasetFileError) as caught:
            store.read("toy", tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    assert f"dataset 'toy': {path} cannot be read" in str(caught.value)
    assert "x_train.npy holds 48 bytes" in str(caught.value)
    assert said in str(caught.value)


def test_an_archive_that_unpacks_to_more_than_memory_is_refused(
    tmp_path: Path, toy: DatasetEntry, save: Save
) -> None:
    path = save("toy", toy_arrays())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more.npy", bytes(1000))
    content = path.read_bytes()
    at = content.rindex(b"more.npy") - 46 + 24  # the unpacked size in the central directory
    path.write_bytes(content[:at] + (2**32 - 2).to_bytes(4, "little") + content[at + 4 :])
    assert store.read("toy", tmp_path).fingerprint  # 4 GB that nobody reads
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sysconf", lambda name: 1024)  # a megabyte
        with pytest.raises(
            data.DatasetFileError, match=r"toy\.npz cannot be read, it unpacks to 4,294,96\d,\d+ "
        ):
            store.read("toy", tmp_path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_without_rows_in_a_file_is_refused(
    tmp_path: Path, toy: DatasetEntry, save: Save, split: str
) -> None:
    none = {f"x_{split}": np.zeros((0, 2, 2), np.uint8), f"y_{split}": np.zeros(0, np.int64)}
    path = save("toy", toy_arrays(), **none)
    with pytest.raises(data.DatasetFileError) as caught:
        store.read("toy", tmp_path)
    assert f"{path}: x_{split} has no rows" in str(caught.value)


def test_missing_array_other_format_and_directory(
    tmp_path: Path, toy: DatasetEntry, save: Save
) -> None:
    path = save("toy", toy_arrays(), y_test=None)
    with pytest.raises(data.DatasetFileError, match=r"toy\.npz lacks y_test: expected are x_train"):
        store.read("toy", tmp_path)
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(data.DatasetFileError, match=r"toy\.npz is not an \.npz archive"):
        store.read("toy", tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(data.DatasetFileError, match=r"toy\.npz cannot be opened"):
        store.read("toy", tmp_path)


def test_wrong_shape_in_a_file_names_the_file(
    tmp_path: Path, toy: DatasetEntry, save: Save
) -> None:
    path = save("toy", toy_arrays(), x_train=np.zeros((12, 3, 3), np.uint8))
    with pytest.raises(data.DatasetFileError) as caught:
        store.read("toy", tmp_path)
    assert f"{path}: x_train has shape (12, 3, 3)" in str(caught.value)


def test_a_failed_write_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "toy.npz"
    path.write_bytes(b"old")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        write_npz(path, toy_arrays())
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("toy.npz", b"old")]


def test_read_only_directory_serves_what_it_holds(
    shared_dir: Path, remote: DatasetEntry, unprivileged_after: Callable[[Path], None]
) -> None:
    download_toy(shared_dir)
    unprivileged_after(shared_dir)
    status = data.fetch("toy", shared_dir)
    assert (status.path, status.fingerprint) == (shared_dir / "toy.src", remote.fingerprint)
    assert data.verify("toy", shared_dir) == status
    assert [path.name for path in shared_dir.iterdir()] == ["toy.src"]


def test_read_only_directory_without_the_data(
    shared_dir: Path, remote: DatasetEntry, unprivileged_after: Callable[[Path], None]
) -> None:
    unprivileged_after(shared_dir)
    with pytest.raises(data.DatasetUnavailableError) as caught:
        data.fetch("toy", shared_dir)
    assert f"'toy' is not in {shared_dir}, and the directory cannot be written" in str(caught.value)
    with pytest.raises(data.DatasetUnavailableError, match="cannot be written"):
        data.fetch("toy", shared_dir / "below")


def test_describe_lists_all_without_opening_a_file(
    tmp_path: Path, toy: DatasetEntry, remote: DatasetEntry
) -> None:
    (tmp_path / "cifar10.npz").write_bytes(b"not looked at")
    found = {status.name: status for status in data.describe(tmp_path)}
    assert list(found) == [*sorted(found)] == [*data.names()]
    assert {name: status.present for name, status in found.items()} == {
        "california_housing": False,
        "cifar10": True,
        "digits": True,
        "fashion_mnist": False,
        "known_function": True,
        "mnist": False,
        "toy": False,
    }
    assert found["cifar10"].rows == (50_000, 10_000)
    assert found["cifar10"].fingerprint == data.get("cifar10").fingerprint
    assert found["mnist"] == data.DatasetStatus(
        "mnist", "classification", (60_000, 10_000), False, tmp_path / "mnist.npz", None
    )
    data.register(replace(toy, name="made-up", prepare=toy_prepare))
    assert {status.name: status.present for status in data.describe(tmp_path)}["made-up"]

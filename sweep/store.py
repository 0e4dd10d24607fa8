"""The results directory: records are published once, read by anyone, and never half there.

A file is written under a temporary name, flushed to disk, and renamed; its name is the SHA-256 of
its content, which is checked before any parser sees it. Because ids are content hashes, publishing
a record twice is harmless: readers see one row per trial. Fresh records lie in small files in
`incoming/`; folding them into `trials/` publishes the new segment first and removes the old files
after, so that an interruption at any point leaves every row readable.
"""

import fcntl
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.atomic import TEMPORARY, replacing
from sweep.errors import StoreError
from sweep.layout import Layout
from sweep.records import ATTEMPTS, CELLS, EVALUATIONS, RUNS, TRIALS, table
from trials.spec import TrialSpec

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

SEGMENT_BYTES = 256 * 1024 * 1024
GATHER_FILES, GATHER_BYTES = 256, 64 * 1024
_READ_ATTEMPTS = 20

T = TypeVar("T")


def write_atomically(path: Path, content: bytes) -> None:
    """Puts a file in place whole: temporary name, fsync, rename, fsync of the folder.

    Raises:
        StoreError: where it cannot be written, naming it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            stream.write(content)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def to_parquet(content: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue())


@dataclass(frozen=True)
class Shelf:
    """The files of one table.

    Attributes:
        schema: of the current version.
        key: the column in which rows are unique.
        fresh: where single publications go.
        folded: where they are folded into large segments; may be the same folder.
        gives_way: a column and a value; of rows with one key, those with another value come first.
    """

    schema: pa.Schema
    key: str
    fresh: Path
    folded: Path
    gives_way: tuple[str, str] | None = None

    def publish(self, rows: Sequence[Mapping[str, Any]]) -> Path | None:
        """Writes rows so that they are all there or not at all.

        Returns:
            Their file, which may be merged with others at any time; None where there are no rows.

        Raises:
            StoreError: where the directory cannot be written.
        """
        if not rows:
            return None
        path = self._publish(table(rows, self.schema), self.fresh)
        self._gather()
        return path

    def files(self) -> list[Path]:
        """All files, folded ones first.

        What is merged is published before what went into it is removed, and it goes to the same
        folder or to the one of the segments; so a reader that looks for segments last finds either.
        A folder can change while it is listed: each is looked at twice.
        """
        fresh = sorted({*self.fresh.glob("*.parquet"), *self.fresh.glob("*.parquet")})
        folded = sorted({*self.folded.glob("*.parquet"), *self.folded.glob("*.parquet")})
        return list(dict.fromkeys([*folded, *fresh]))

    def read(self, columns: Sequence[str] | None = None) -> tuple[pa.Table, list[Path]]:
        """Reads every row once.

        Args:
            columns: the columns wanted; None for all.

        Returns:
            The rows in the current schema, and the files that are damaged.

        Raises:
            StoreError: where a file cannot be read.
        """
        wanted = list(self.schema.names) if columns is None else list(columns)
        needed = list(dict.fromkeys([*wanted, *self._ranked]))
        parts, damaged = self._of_each_file(
            lambda file: _conform(_columns(file.parquet, needed), self.schema, needed)
        )
        schema = pa.schema([self.schema.field(name) for name in needed])
        rows = pa.concat_tables(parts) if parts else schema.empty_table()
        return self._one_of_each(rows).select(wanted), damaged

    def scan(self) -> tuple["Dataset", list[Path]]:
        """The rows that `read` gives, for who does not know yet which columns are wanted.

        Returns:
            The files as they are now, held in memory as they were written: a column is decoded when
            it is asked for. And the files that are damaged.

        Raises:
            StoreError: where a file cannot be read.
        """
        import pyarrow.dataset as ds  # takes its time, and most commands do without

        parquet = ds.ParquetFileFormat()
        parts, damaged = self._of_each_file(lambda file: parquet.make_fragment(file.content))
        rows = ds.FileSystemDataset(parts, self.schema, parquet)
        ranked = rows.to_table(columns=self._ranked, use_threads=False)
        if len(self._one_of_each(ranked)) == len(ranked):
            return rows, damaged
        return ds.dataset(self._one_of_each(rows.to_table(use_threads=False))), damaged

    @property
    def _ranked(self) -> list[str]:
        """The columns that say which row of a key counts."""
        return [self.key, *(self.gives_way or ())[:1]]

    def _of_each_file(self, take: Callable[["_File"], T]) -> tuple[list[T], list[Path]]:
        """Something from every file, all as they were at one moment, and the damaged ones."""
        for _ in range(_READ_ATTEMPTS):
            parts, damaged, gone = [], [], False
            for path in self.files():
                file = _opened(path)
                if file is not None:
                    parts.append(take(file))
                elif path.exists():
                    damaged.append(path)
                else:
                    gone = True  # folded away while we looked: its rows are in a segment now
            if not gone:
                return parts, damaged
        raise StoreError(f"{self.folded} changes faster than it can be read; try again")

    def fold(self) -> None:
        """Merges small files into a segment; rows are readable at every moment of it."""
        small = [
            path
            for path in self.files()
            if path.parent == self.fresh != self.folded or path.stat().st_size < SEGMENT_BYTES
        ]
        fresh = [path for path in small if path.parent == self.fresh]
        if not fresh or (self.fresh == self.folded and len(small) < 2):
            return
        self._merge(small, self.folded)

    def _gather(self) -> None:
        """Merges tiny fresh files when there are many: a reader opens each, also while a run goes on."""
        tiny = [
            path
            for path in sorted(self.fresh.glob("*.parquet"))
            if path.stat().st_size < GATHER_BYTES
        ]
        if len(tiny) >= GATHER_FILES:
            self._merge(tiny, self.fresh)

    def _merge(self, paths: Sequence[Path], folder: Path) -> None:
        """Puts the rows of some files into one; they are readable at every moment of it."""
        merged, kept = [], []
        for path in paths:
            file = _opened(path)
            if file is None or set(file.parquet.schema_arrow.names) - set(self.schema.names):
                continue  # damaged, or of a later version, whose columns would be lost
            part = _columns(file.parquet, self.schema.names)
            merged.append(_conform(part, self.schema, self.schema.names))
            kept.append(path)
        if not merged:
            return
        rows = self._one_of_each(pa.concat_tables(merged))
        target = self._publish(rows.sort_by(self.key), folder)
        for path in kept:
            if path != target:
                path.unlink(missing_ok=True)

    def clean(self) -> None:
        """Removes what an interrupted writer left behind."""
        for folder in {self.fresh, self.folded}:
            _clean(folder)

    def _one_of_each(self, rows: pa.Table) -> pa.Table:
        """The first row of each key, those that give way last."""
        keys = rows.column(self.key)
        if pc.count_distinct(keys, mode="all").as_py() == len(keys):
            return rows
        rank = np.arange(len(keys))
        if self.gives_way is not None:
            column, value = self.gives_way
            weak = pc.fill_null(pc.equal(rows.column(column), value), False)
            rank += len(keys) * weak.to_numpy()
        ranked = pa.table({"key": keys, "rank": rank})
        first = ranked.group_by("key").aggregate([("rank", "min")])["rank_min"]
        return rows.take(np.sort(first.to_numpy() % len(keys)))

    def _publish(self, rows: pa.Table, folder: Path) -> Path:
        content = to_parquet(rows)
        path = folder / f"{hashlib.sha256(content).hexdigest()}.parquet"
        write_atomically(path, content)  # also over a file of that name, which may be damaged
        return path


def _clean(folder: Path) -> None:
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


class _File(NamedTuple):
    content: pa.Buffer
    parquet: pq.ParquetFile


def _opened(path: Path) -> _File | None:
    """A file whose content is what its name says; None where it is not, or is absent."""
    try:
        content = pa.py_buffer(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    if hashlib.sha256(content).hexdigest() != path.stem:
        return None
    try:
        return _File(content, pq.ParquetFile(pa.BufferReader(content)))
    except pa.ArrowException:
        return None


def _columns(file: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """Those of the columns that a file has."""
    present = set(file.schema_arrow.names)
    # In this thread: a process that ends right after a read by Arrow's pool now and then aborts.
    return file.read(columns=[name for name in columns if name in present], use_threads=False)


def _conform(part: pa.Table, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """Adds the columns an older file does not have, as nulls."""
    arrays = [
        part.column(name).cast(schema.field(name).type)
        if name in part.column_names
        else pa.nulls(part.num_rows, schema.field(name).type)
        for name in columns
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema([schema.field(n) for n in columns]))


def _digest(cells: pa.Table, text: str) -> str:
    """A hash of what the pages of a file do not hold: columns, number of rows, the study."""
    about = [cells.schema.names, [str(kind) for kind in cells.schema.types], len(cells), text]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


class Store:
    """The tables and files of a results directory."""

    def __init__(self, root: Path | str) -> None:
        """Opens a results directory; nothing is created until something is written."""
        self.layout = Layout(Path(root))
        place = self.layout
        self.trials = Shelf(
            TRIALS, "trial_id", place.incoming, place.trials, gives_way=("status", "diverged")
        )
        self.attempts = Shelf(ATTEMPTS, "attempt_id", place.attempts, place.attempts)
        self.evaluations = Shelf(EVALUATIONS, "evaluation_id", place.evaluations, place.evaluations)
        self.runs = Shelf(RUNS, "run_id", place.runs, place.runs)

    @property
    def shelves(self) -> tuple[Shelf, ...]:
        """All tables."""
        return (self.trials, self.attempts, self.evaluations, self.runs)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the directory for one writer; folds and cleans when it is done.

        Raises:
            StoreError: where another run holds it, naming that run, or it cannot be written.
        """
        place = self.layout
        try:
            place.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(place.lock, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(f"cannot write to {place.root}: {error.strerror}") from error
        try:
            if not _locked(handle):
                holder = place.lock.read_text("utf-8", errors="replace") or "another run"
                raise StoreError(f"{place.root} is being written by {holder}")
            os.ftruncate(handle, 0)
            os.pwrite(handle, _holder().encode(), 0)
            for shelf in self.shelves:
                shelf.clean()
            for folder in (
                place.weights("x").parent,
                place.snapshot("x").parent,
                place.checkpoints,
            ):
                _clean(folder)
            try:
                yield
            finally:
                place.live.unlink(missing_ok=True)
                for shelf in self.shelves:
                    shelf.fold()
        finally:
            os.close(handle)

    def kept_snapshots(self) -> frozenset[str]:
        """Keys of the ends of trials that a longer training can go on from."""
        folder = self.layout.snapshot("x").parent
        return frozenset(path.stem for path in folder.glob("*.safetensors"))

    def write_checkpoint(self, state: TrialSpec, content: bytes) -> Path:
        """Keeps a state in the middle of a training until that training is done.

        Args:
            state: the training up to there.
            content: its snapshot.

        Returns:
            The file; whoever has it written removes it.
        """
        name = f"{state.trial_id}-{state.epochs}-{hashlib.sha256(content).hexdigest()}"
        path = self.layout.checkpoints / f"{name}.safetensors"
        write_atomically(path, content)
        return path

    def checkpoints(self) -> dict[str, tuple[int, Path]]:
        """The states that `write_checkpoint` kept: epochs done and the file, by key."""
        found = {}
        for path in sorted(self.layout.checkpoints.glob("*.safetensors")):
            key, _, rest = path.stem.partition("-")
            epochs, _, _ = rest.partition("-")
            if epochs.isdecimal():
                found[key] = (int(epochs), path)
        return found

    def remove_checkpoints(self, keys: Container[str]) -> None:
        """Removes states that nothing goes on from any more."""
        for key, (_, path) in self.checkpoints().items():
            if key in keys:
                path.unlink(missing_ok=True)

    def read_state(self, key: str) -> bytes | None:
        """The snapshot of a kept state; None where there is none, or it is damaged.

        Args:
            key: of the state: a trial's id, or that of its training up to a checkpoint.
        """
        path = self.layout.snapshot(key)
        if path.is_file():
            return path.read_bytes()
        entry = self.checkpoints().get(key)
        if entry is None:
            return None
        content = entry[1].read_bytes()
        whole = hashlib.sha256(content).hexdigest() == entry[1].stem.rpartition("-")[2]
        return content if whole else None

    def kept_weights(self) -> frozenset[str]:
        """Ids of the trials whose trained weights are kept."""
        folder = self.layout.weights("x").parent
        return frozenset(path.stem for path in folder.glob("*.safetensors"))

    def set_aside_damaged(self) -> list[Path]:
        """Moves files whose content is not what their name says to `damaged/`.

        Returns:
            Their former paths; their trials now count as missing.
        """
        damaged = [
            path for shelf in self.shelves for path in shelf.files() if _opened(path) is None
        ]
        for study in self.studies():
            try:
                self.read_cells(study)
            except StoreError:
                damaged.append(self.layout.study(study))
        for path in damaged:
            self.layout.damaged.mkdir(parents=True, exist_ok=True)
            path.replace(self.layout.damaged / path.name)
        return damaged

    def write_cells(self, study: str, rows: Sequence[Mapping[str, Any]], text: str) -> None:
        """Writes the cells of a study, with the study itself in the file's metadata.

        Args:
            study: its name.
            rows: of `sweep.records.CELLS`.
            text: the study as JSON.
        """
        cells = table(rows, CELLS)
        about = {"study": text, "sha256": _digest(cells, text)}
        cells = cells.replace_schema_metadata({**(cells.schema.metadata or {}), **about})
        write_atomically(self.layout.study(study), to_parquet(cells))

    def read_cells(self, study: str) -> tuple[pa.Table, str] | None:
        """The cells of a study and the study as JSON; None where it was never run here.

        The file is named after the study, so its name cannot vouch for its content: its pages have
        checksums, and the footer a hash of the rest.

        Raises:
            StoreError: where the file is damaged.
        """
        path = self.layout.study(study)
        if not path.is_file():
            return None
        try:
            content = pa.BufferReader(path.read_bytes())
            found = pq.ParquetFile(content, page_checksum_verification=True).read(use_threads=False)
            about = found.schema.metadata or {}
            text = about.get(b"study", b"").decode()
            if not text or about.get(b"sha256", b"").decode() not in ("", _digest(found, text)):
                raise ValueError("its content is not what was written")
            return _conform(found, CELLS, CELLS.names), text
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StoreError(f"{path} is damaged ({error}); `sweep run` writes it anew") from None

    def studies(self) -> list[str]:
        """Names of the studies that were run here."""
        return self.layout.studies()

    def write_live(self, state: Mapping[str, Any]) -> None:
        """Tells readers what the active run is doing; a run does not end for want of it."""
        temporary = self.layout.live.with_suffix(".tmp")
        with suppress(OSError):
            temporary.write_text(json.dumps(state))
            temporary.replace(self.layout.live)

    def read_live(self) -> dict[str, Any] | None:
        """What the active run is doing; None where there is none."""
        try:
            handle = os.open(self.layout.lock, os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            try:
                found: dict[str, Any] = json.loads(self.layout.live.read_text())
            except (OSError, ValueError):
                return {}
            return found
        finally:
            os.close(handle)
        return None


def _locked(handle: int, attempts: int = 10, pause_s: float = 0.1) -> bool:
    """Takes the lock; a reader that looks who holds it has it for a moment, so tries again."""
    for _ in range(attempts):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(pause_s)
        else:
            return True
    return False


def _holder() -> str:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return f"process {os.getpid()} on {platform.node()}, started {started}"

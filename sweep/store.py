"""The results directory: records are published once, read by anyone, and never half there.

A file is put in place whole (`sweep.files`); its name is the SHA-256 of its content, which is checked
before any parser sees it. Because ids are content hashes, publishing a record twice is harmless:
readers see one row per trial. Fresh records lie in small files in `incoming/`; folding them into
`trials/` publishes the new segment first and removes the old files after, so that an interruption at
any point leaves every row readable.
"""

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.atomic import TEMPORARY
from sweep import files, sealed
from sweep.errors import DamagedError, StoreError
from sweep.files import Entry, Files, Guarded
from sweep.layout import Layout, is_study_name
from sweep.records import ATTEMPTS, ATTRIBUTIONS, CELLS, EVALUATIONS, RUNS, TRIALS, table

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

    from trials.spec import TrialSpec

SEGMENT_BYTES = 256 * 1024 * 1024
GATHER_FILES, GATHER_BYTES = 256, 64 * 1024
_READ_ATTEMPTS = 20
BATCH_ROWS = 500
GROUP_ROWS = 2048
"""Of a file, what is decoded for one row of it. Measured with 9,570 trials: a whole record in 8 ms in
place of 41, the file 2 % larger."""

T = TypeVar("T")


def to_parquet(content: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        content, sink, compression="zstd", write_page_checksum=True, row_group_size=GROUP_ROWS
    )
    return bytes(sink.getvalue())


class Reading(NamedTuple):
    """What a shelf held at one moment.

    Attributes:
        rows: one of each key, with the columns that were wanted.
        parts: what each file held, for who reads on later.
        damaged: files that are not what was written.
    """

    rows: pa.Table
    parts: Mapping[PurePath, pa.Table]
    damaged: list[PurePath]


@dataclass(frozen=True)
class Shelf:
    """The files of one table.

    Attributes:
        on: where they lie.
        schema: of the current version.
        key: the column in which rows are unique.
        fresh: where single publications go.
        folded: where they are folded into large segments; may be the same folder.
        gives_way: a column and a value; of rows with one key, those with another value come first.
    """

    on: Files
    schema: pa.Schema
    key: str
    fresh: PurePath
    folded: PurePath
    gives_way: tuple[str, str] | None = None

    def publish(self, rows: Sequence[Mapping[str, Any]]) -> PurePath | None:
        """Writes rows so that they are all there or not at all.

        Returns:
            Their file, which may be merged with others at any time; None where there are no rows.

        Raises:
            StoreError: where the directory cannot be written.
        """
        if not rows:
            return None
        return self.add(table(rows, self.schema))

    def add(self, rows: pa.Table) -> PurePath:
        """Does the same with a table of the schema."""
        path = self._publish(rows, self.fresh)
        self._gather()
        return path

    def files(self) -> list[PurePath]:
        """All files, folded ones first; see `entries`."""
        return [entry.path for entry in self.entries()]

    def entries(self) -> list[Entry]:
        """All files with their sizes, folded ones first.

        What is merged is published before what went into it is removed, and it goes to the same
        folder or to the one of the segments; so a reader that looks for segments last finds either.
        A folder can change while it is listed: each is looked at twice.
        """
        fresh = sorted({*_parquet(self.on, self.fresh), *_parquet(self.on, self.fresh)})
        folded = sorted({*_parquet(self.on, self.folded), *_parquet(self.on, self.folded)})
        return list({entry.path: entry for entry in (*folded, *fresh)}.values())

    def read(self, columns: Sequence[str] | None = None) -> tuple[pa.Table, list[PurePath]]:
        """Reads every row once.

        Args:
            columns: the columns wanted; None for all.

        Returns:
            The rows in the current schema, and the files that are damaged.

        Raises:
            StoreError: where a file cannot be read.
        """
        found = self.read_on(self.schema.names if columns is None else columns, {})
        return found.rows, found.damaged

    def read_on(self, columns: Sequence[str], before: Mapping[PurePath, pa.Table]) -> "Reading":
        """Reads as `read` does, but no file twice: what a file holds, its name says.

        Args:
            columns: the columns wanted, the same every time.
            before: the parts of an earlier reading.

        Raises:
            StoreError: where a file cannot be read.
        """
        needed = list(dict.fromkeys([*columns, *self._ranked]))
        parts, damaged = self._of_each_file(
            lambda file: _conform(_columns(file.parquet, needed), self.schema, needed), before
        )
        schema = pa.schema([self.schema.field(name) for name in needed])
        rows = pa.concat_tables(parts.values()) if parts else schema.empty_table()
        return Reading(self._one_of_each(rows).select(columns), parts, damaged)

    def batches(
        self, columns: Sequence[str], damaged: list[PurePath], rows: int = BATCH_ROWS
    ) -> Iterator[pa.Table]:
        """The rows that `read` gives, some at a time, for more than memory is to hold.

        Args:
            columns: the columns wanted.
            damaged: takes the files that are damaged.
            rows: at most so many at a time.

        Raises:
            StoreError: where a file cannot be read.
        """
        needed = list(dict.fromkeys([*columns, *self._ranked]))
        counts, _ = self.read(self._ranked)
        strong = counts.filter(pc.invert(self._gives_way(counts)))[self.key]
        seen: set[str] = set()
        done: set[PurePath] = set()
        for _ in range(_READ_ATTEMPTS):
            gone = False
            for path in self.files():
                file = None if path in done else _opened(self.on, path)
                if file is not None:
                    done.add(path)
                    for part in _in_pieces(file.parquet, self.schema, needed, rows):
                        outranked = pc.and_(
                            self._gives_way(part), pc.is_in(part[self.key], value_set=strong)
                        )
                        part = self._one_of_each(part.filter(pc.invert(outranked)))
                        new = [key not in seen for key in part[self.key].to_pylist()]
                        part = part.filter(pa.array(new, pa.bool_()))
                        seen.update(part[self.key].to_pylist())
                        if len(part):
                            yield part.select(list(columns))
                elif path not in done and self.on.exists(path):
                    done.add(path)
                    damaged.append(path)
                elif path not in done:
                    gone = True  # folded away while we looked: its rows are in a segment now
            if not gone:
                return
        where = self.on.shown(self.folded)
        raise StoreError(f"{where} changes faster than it can be read; try again")

    def scan(self) -> tuple["Dataset", list[PurePath]]:
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
        rows = ds.FileSystemDataset(list(parts.values()), self.schema, parquet)
        ranked = rows.to_table(columns=self._ranked, use_threads=False)
        if len(self._one_of_each(ranked)) == len(ranked):
            return rows, damaged
        return ds.dataset(self._one_of_each(rows.to_table(use_threads=False))), damaged

    @property
    def _ranked(self) -> list[str]:
        """The columns that say which row of a key counts."""
        return [self.key, *(self.gives_way or ())[:1]]

    def _of_each_file(
        self, take: Callable[["_File"], T], before: Mapping[PurePath, T] = MappingProxyType({})
    ) -> tuple[dict[PurePath, T], list[PurePath]]:
        """Something from every file, all as they were at one moment, and the damaged ones.

        What was taken `before` is taken from there.
        """
        for _ in range(_READ_ATTEMPTS):
            parts: dict[PurePath, T] = {}
            damaged, gone = [], False
            for path in self.files():
                if path in before:
                    parts[path] = before[path]
                    continue
                file = _opened(self.on, path)
                if file is not None:
                    parts[path] = take(file)
                elif self.on.exists(path):
                    damaged.append(path)
                else:
                    gone = True  # folded away while we looked: its rows are in a segment now
            if not gone:
                return parts, damaged
        where = self.on.shown(self.folded)
        raise StoreError(f"{where} changes faster than it can be read; try again")

    def unknown_columns(self) -> set[str]:
        """Columns in the files that the schema does not have: of a later version."""
        parts, _ = self._of_each_file(lambda file: set(file.parquet.schema_arrow.names))
        return set().union(*parts.values()).difference(self.schema.names)

    def fold(self) -> None:
        """Merges small files into a segment; rows are readable at every moment of it."""
        small = [
            path
            for path, size in self.entries()
            if path.parent == self.fresh != self.folded or size < SEGMENT_BYTES
        ]
        fresh = [path for path in small if path.parent == self.fresh]
        if not fresh or (self.fresh == self.folded and len(small) < 2):
            return
        self._merge(small, self.folded)

    def _gather(self) -> None:
        """Merges tiny fresh files when there are many: a reader opens each, also while a run goes on."""
        tiny = [path for path, size in _parquet(self.on, self.fresh) if size < GATHER_BYTES]
        if len(tiny) >= GATHER_FILES:
            self._merge(tiny, self.fresh)

    def _merge(self, paths: Sequence[PurePath], folder: PurePath) -> None:
        """Puts the rows of some files into one; they are readable at every moment of it."""
        merged, kept = [], []
        for path in paths:
            file = _opened(self.on, path)
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
                self.on.remove(path)

    def _one_of_each(self, rows: pa.Table) -> pa.Table:
        """The first row of each key, those that give way last."""
        keys = rows.column(self.key)
        if pc.count_distinct(keys, mode="all").as_py() == len(keys):
            return rows
        rank = np.arange(len(keys))
        if self.gives_way is not None:
            rank += len(keys) * self._gives_way(rows).to_numpy()
        ranked = pa.table({"key": keys, "rank": rank})
        first = ranked.group_by("key").aggregate([("rank", "min")])["rank_min"]
        return rows.take(np.sort(first.to_numpy() % len(keys)))

    def _gives_way(self, rows: pa.Table) -> pa.ChunkedArray:
        """Whether each row does so to another of its key."""
        if self.gives_way is None:
            return pa.chunked_array([pa.repeat(False, len(rows))])
        column, value = self.gives_way
        return pc.fill_null(pc.equal(rows.column(column), value), False)

    def _publish(self, rows: pa.Table, folder: PurePath) -> PurePath:
        content = to_parquet(rows)
        path = folder / f"{hashlib.sha256(content).hexdigest()}.parquet"
        self.on.put(path, content)  # also over a file of that name, which may be damaged
        return path


def _parquet(on: Files, folder: PurePath) -> list[Entry]:
    return [entry for entry in on.entries(folder) if entry.path.suffix == ".parquet"]


class _File(NamedTuple):
    content: pa.Buffer
    parquet: pq.ParquetFile


def _opened(on: Files, path: PurePath) -> _File | None:
    """A file whose content is what its name says; None where it is not, or is absent."""
    read = on.read(path)
    if read is None:
        return None
    content = pa.py_buffer(read)
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


def _in_pieces(
    file: pq.ParquetFile, schema: pa.Schema, columns: Sequence[str], rows: int
) -> Iterator[pa.Table]:
    """The rows of a file in the columns of a schema, at most so many at a time."""
    present = set(file.schema_arrow.names)
    read = [name for name in columns if name in present]
    for batch in file.iter_batches(rows, columns=read, use_threads=False):
        yield _conform(pa.Table.from_batches([batch]), schema, columns)


def _conform(part: pa.Table, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """Adds the columns an older file does not have, as nulls."""
    present = set(part.column_names)
    arrays = [
        part.column(name).cast(schema.field(name).type)
        if name in present
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

    def __init__(self, root: Path | str, on: Files | None = None) -> None:
        """Opens a results directory; nothing is created until something is written.

        Args:
            root: a folder, or a URL such as `s3://bucket/prefix`.
            on: where the folder lies, if not where its name says.

        Raises:
            StoreError: for a URL that nothing here can read.
        """
        found, path = files.at(root) if on is None else (on, Path(root))
        self.on = Guarded(found)
        self.layout = Layout(path)
        place = self.layout
        self.trials = Shelf(
            self.on, TRIALS, "trial_id", place.incoming, place.trials,
            gives_way=("status", "diverged"),
        )  # fmt: skip
        self.attempts = Shelf(self.on, ATTEMPTS, "attempt_id", place.attempts, place.attempts)
        self.evaluations = Shelf(
            self.on, EVALUATIONS, "evaluation_id", place.evaluations, place.evaluations
        )
        self.attributions = Shelf(
            self.on, ATTRIBUTIONS, "attribution_id", place.attributions, place.attributions
        )
        self.runs = Shelf(self.on, RUNS, "run_id", place.runs, place.runs)

    def __str__(self) -> str:
        return self.on.shown(self.layout.root)

    @property
    def shelves(self) -> tuple[Shelf, ...]:
        """All tables."""
        return (self.trials, self.attempts, self.evaluations, self.attributions, self.runs)

    def is_there(self) -> bool:
        """Whether there is such a directory."""
        return self.on.is_folder(self.layout.root)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the directory for one writer; folds and cleans when it is done.

        Raises:
            StoreError: where another run holds it, naming that run, or it cannot be written.
        """
        with self.on.lock(self.layout.lock) as check:
            self.on.check = check
            try:
                for entry in self.leftovers():
                    self.on.remove(entry.path)
                for folder in self.layout.folders:
                    self.on.settle(folder)  # what is done is left out of a run: it must last
                try:
                    yield
                finally:
                    self.on.remove(self.layout.live)
                    for shelf in self.shelves:
                        shelf.fold()
            finally:
                self.on.check = files.unlocked

    def leftovers(self) -> list[Entry]:
        """What interrupted writers left behind; while one is at work, also what it is writing."""
        return [
            entry
            for folder in self.layout.folders
            for entry in self.on.entries(folder)
            if entry.path.name.startswith(TEMPORARY)
        ]

    # States of networks

    def kept_weights(self) -> Mapping[str, Entry]:
        """The files of trained weights, by trial."""
        return self._named_after_trials(self.layout.weights("x").parent)

    def kept_snapshots(self) -> Mapping[str, Entry]:
        """The ends of trials that a longer training can go on from, by trial."""
        return self._named_after_trials(self.layout.snapshot("x").parent)

    def _named_after_trials(self, folder: PurePath) -> dict[str, Entry]:
        found = self.on.entries(folder)
        return {entry.path.stem: entry for entry in found if entry.path.suffix == ".safetensors"}

    def write_weights(self, trial_id: str, content: bytes) -> None:
        """Keeps the trained weights of a trial, a safetensors file."""
        self.on.put(self.layout.weights(trial_id), sealed.seal(content))

    def write_snapshot(self, trial_id: str, content: bytes) -> None:
        """Keeps the end of a trial, so that a longer training can go on from it."""
        self.on.put(self.layout.snapshot(trial_id), sealed.seal(content))

    def read_weights(self, trial_id: str) -> bytes | None:
        """The trained weights of a trial; None where they were not kept.

        Raises:
            DamagedError: where the file is damaged.
        """
        path = self.layout.weights(trial_id)
        content = self.on.read(path)
        if content is not None and not sealed.is_whole(content):
            raise DamagedError(f"{self.on.shown(path)} is damaged; `sweep run` trains it anew")
        return content

    def set_aside_damaged_weights(self, trial_ids: Iterable[str]) -> list[PurePath]:
        """Moves those of some trials' weights that are not what was written to `damaged/`.

        Returns:
            Their former paths; trials that are wanted for their weights now count as missing.
        """
        damaged = []
        for trial_id in trial_ids:
            try:
                self.read_weights(trial_id)
            except DamagedError:
                damaged.append(self.layout.weights(trial_id))
                self.set_aside(damaged[-1])
        return damaged

    def write_checkpoint(self, state: "TrialSpec", content: bytes) -> PurePath:
        """Keeps a state in the middle of a training until that training is done.

        Args:
            state: the training up to there.
            content: its snapshot.

        Returns:
            The file; whoever has it written removes it.
        """
        digest = hashlib.sha256(content).hexdigest()
        path = self.layout.checkpoint(state.trial_id, state.epochs, digest)
        self.on.put(path, content)
        return path

    def checkpoints(self) -> dict[str, tuple[int, PurePath]]:
        """The states that `write_checkpoint` kept: epochs done and the file, by key."""
        found = {}
        for path, _ in self.on.entries(self.layout.checkpoints):
            name = Layout.of_checkpoint(path)
            if name is not None:
                found[name.key] = (name.epochs, path)
        return found

    def read_checkpoint(self, path: PurePath) -> bytes | None:
        """A state that `write_checkpoint` kept; None where it is gone or damaged."""
        name, content = Layout.of_checkpoint(path), self.on.read(path)
        if name is None or content is None:
            return None
        return content if hashlib.sha256(content).hexdigest() == name.digest else None

    def remove_checkpoints(self, keys: Container[str]) -> None:
        """Removes states that nothing goes on from any more."""
        for key, (_, path) in self.checkpoints().items():
            if key in keys:
                self.on.remove(path)

    def read_state(self, key: str) -> bytes | None:
        """The snapshot of a kept state; None where there is none, or it is damaged.

        Args:
            key: of the state: a trial's id, or that of its training up to a checkpoint.
        """
        content = self.on.read(self.layout.snapshot(key))
        if content is not None and sealed.is_whole(content):
            return content
        entry = self.checkpoints().get(key)
        return None if entry is None else self.read_checkpoint(entry[1])

    # Damage

    def set_aside_damaged(self) -> list[PurePath]:
        """Moves files whose content is not what their name says to `damaged/`.

        Returns:
            Their former paths; their trials now count as missing.
        """
        damaged = [
            path
            for shelf in self.shelves
            for path in shelf.files()
            if _opened(self.on, path) is None
        ]
        for study in self.studies():
            try:
                self.read_cells(study)
            except DamagedError:
                damaged.append(self.layout.study(study))
        for path in damaged:
            self.set_aside(path)
        return damaged

    def set_aside(self, path: PurePath) -> None:
        """Moves a file to `damaged/`."""
        content = self.on.read(path)
        if content is not None:
            self.on.put(self.layout.set_aside(path), content)
            self.on.remove(path)

    # Studies

    def write_cells(self, study: str, rows: Sequence[Mapping[str, Any]], text: str) -> None:
        """Writes the cells of a study, with the study itself in the file's metadata.

        Args:
            study: its name.
            rows: of `sweep.records.CELLS`.
            text: the study as JSON.
        """
        self.put_cells(study, table(rows, CELLS), text)

    def put_cells(self, study: str, cells: pa.Table, text: str) -> None:
        """Does the same with a table."""
        about = {"study": text, "sha256": _digest(cells, text)}
        cells = cells.replace_schema_metadata({**(CELLS.metadata or {}), **about})
        self.on.put(self.layout.study(study), to_parquet(cells))

    def read_cells(self, study: str) -> tuple[pa.Table, str] | None:
        """The cells of a study and the study as JSON; None where it was never run here.

        The file is named after the study, so its name cannot vouch for its content: its pages have
        checksums, and the footer a hash of the rest.

        Raises:
            DamagedError: where the file is damaged.
        """
        if not is_study_name(study):
            return None
        path = self.layout.study(study)
        content = self.on.read(path)
        if content is None:
            return None
        try:
            file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
            found = file.read(use_threads=False)
            about = found.schema.metadata or {}
            text = about.get(b"study", b"").decode()
            if not text or about.get(b"sha256", b"").decode() not in ("", _digest(found, text)):
                raise ValueError("its content is not what was written")
            return _conform(found, CELLS, CELLS.names), text
        except (pa.ArrowException, OSError, ValueError) as error:
            shown = self.on.shown(path)
            raise DamagedError(
                f"{shown} is damaged ({error}); `sweep run` or `sweep import` writes it anew"
            ) from None

    def studies(self) -> list[str]:
        """Names of the studies that were run here."""
        return self.layout.studies(entry.path for entry in self.on.entries(self.layout.cells))

    # Searches

    def write_search(self, study: str, began: Mapping[str, Any]) -> None:
        """Keeps what was known when the search of a study began, with a hash of it."""
        text = json.dumps(began, sort_keys=True)
        kept = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "began": began}
        self.on.put(self.layout.search(study), json.dumps(kept).encode())

    def read_search(self, study: str) -> dict[str, Any] | None:
        """What was kept of it; None where no search has begun here.

        Raises:
            DamagedError: where the file is not what was written.
        """
        if not is_study_name(study):
            return None
        path = self.layout.search(study)
        content = self.on.read(path)
        if content is None:
            return None
        try:
            kept = json.loads(content)
            began: dict[str, Any] = kept["began"]
            text = json.dumps(began, sort_keys=True)
            whole = kept["sha256"] == hashlib.sha256(text.encode()).hexdigest()
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise DamagedError(
                f"{self.on.shown(path)} is damaged: remove it, and `sweep tune` begins the search anew "
                "with all that is known by now"
            )
        return began

    def write_search_table(self, study: str, content: bytes) -> None:
        """Puts the points of the search of a study in their place, for readers."""
        self.on.put(self.layout.search_table(study), content)

    def read_search_table(self, study: str) -> pa.Table | None:
        """The points of the search of a study; None where there are none, or they cannot be read."""
        content = self.on.read(self.layout.search_table(study))
        if content is None:
            return None
        try:
            return pq.read_table(pa.BufferReader(content))
        except (pa.ArrowException, OSError):
            return None

    def write_report(self, study: str, content: bytes) -> PurePath:
        """Puts the report of a study in its place."""
        path = self.layout.report(study)
        self.on.put(path, content)
        return path

    # The run that is at work

    def write_live(self, state: Mapping[str, Any]) -> None:
        """Tells readers what the active run is doing; a run does not end for want of it."""
        with suppress(StoreError):
            self.on.put(self.layout.live, json.dumps(state).encode(), durable=False)

    def read_live(self) -> dict[str, Any] | None:
        """What the active run is doing; None where there is none."""
        if not self.on.is_locked(self.layout.lock):
            return None
        try:
            found: dict[str, Any] = json.loads(self.on.read(self.layout.live) or b"")
        except ValueError:
            return {}
        return found

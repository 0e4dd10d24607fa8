"""Plain tables of old results, CSV or Parquet: read, and checked value by value.

One row is one trial. Rows are counted from 1, below the header. What is empty is absent; a trial
without a `test_metric` was asked for and has no result. Nothing is guessed: a column that has no
place in our tables is refused, unless it is left out on purpose.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.reference import ATTACK_COLUMN, METRIC_OF
from sweep.errors import TableError
from sweep.records import CELLS, TRIALS, tuples

MAX_BYTES = 2_000_000_000
MAX_ROWS = 1_000_000
MAX_VALUES = 500_000_000
MAX_TEXT = 200

NEEDED = ("role", "dataset", "model", "seed", "test_metric")
ROLES = ("teacher", "baseline", "student")
WORDS = tuple(name for name in CELLS.names if name != "trial_id")
GUIDANCE = ("teacher", "alpha", "switch_epoch", "temperature")
CURVES = ("train_loss", "train_loss_step")
MEASURES = (
    "metric_name", "test_metric", "test_loss", "validation_metric", "validation_loss", "mae", "r2",
    "steps_per_epoch", "epochs_run", "stopped_epoch", "best_epoch", "selected_on", "wall_s",
    "device_s", "peak_memory_bytes",
)  # fmt: skip
"""What a table may say of a trial beside curves and robustness."""

OURS = frozenset({"status", "robustness", "study", *TRIALS.names}) - {*WORDS, *MEASURES, *CURVES}
"""Columns of our own exports that only we can say: they are left out."""

METRICS = ("accuracy", "mse", "mae", "r2", "loss")

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_WHOLE = r"^[+-]?\d+$"
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "alpha": (0, 1), "validation": (0, 1), "switch_epoch": (0, 2**53), "seed": (0, 2**63),
    "temperature": (1e-9, 1e9), "epochs": (1, 2**53), "batch_size": (1, 2**53),
    "train_size": (1, 2**53), "learning_rate": (0, 1e9), "steps_per_epoch": (1, 2**53),
}  # fmt: skip


@dataclass(frozen=True)
class Plain:
    """A table whose values are all as they must be.

    Attributes:
        file: its name.
        sha256: of its content.
        rows: `WORDS`, `MEASURES`, `CURVES` and `robustness`, with the types of our tables.
        left_out: its columns that were not taken.
    """

    file: str
    sha256: str
    rows: pa.Table
    left_out: tuple[str, ...]


def read(path: Path, drop: Iterable[str] = ()) -> Plain:
    """Reads a table.

    Args:
        path: ends with `.parquet` or `.csv` (UTF-8, comma-separated).
        drop: columns to leave out.

    Raises:
        TableError: naming row, column, value and what is allowed.
    """
    try:
        return _read(path, frozenset(drop))
    except TableError as error:
        raise TableError(f"{path.name}: {error}") from None
    except OSError as error:
        raise TableError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None


def _read(path: Path, drop: frozenset[str]) -> Plain:
    if path.suffix not in (".parquet", ".csv"):
        raise TableError("must end in .parquet or .csv")
    if not path.is_file():
        raise TableError("there is no such file" if not path.exists() else "is no regular file")
    if path.stat().st_size > MAX_BYTES:
        raise TableError(f"is larger than {MAX_BYTES:,} bytes; split it")
    content = path.read_bytes()
    table = (_from_parquet if path.suffix == ".parquet" else _from_csv)(content, drop)
    _check_columns(table.column_names, drop)
    if not len(table):
        raise TableError("has no rows")
    left_out = [name for name in table.column_names if name in drop or name in OURS]
    name = path.name.encode(errors="backslashreplace").decode()
    rows = _checked(table.drop_columns(left_out))
    return Plain(name, hashlib.sha256(content).hexdigest(), rows, tuple(left_out))


def _from_parquet(content: bytes, drop: frozenset[str]) -> pa.Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        _check_size(file.metadata)
        names = [name for name in file.schema_arrow.names if not name.startswith("__index_level")]
        _check_columns(names, drop)
        wanted = [n for n in names if n not in drop and n not in OURS]
        found = file.read(columns=wanted, use_threads=False).select(wanted)
        for name in names:
            if name not in wanted:
                found = found.append_column(name, pa.nulls(len(found)))
        return found
    except (pa.ArrowException, OSError, KeyError) as error:
        raise TableError(f"is no Parquet file that can be read: {_line(error)}") from None


def _check_size(about: Any) -> None:
    if about.num_rows > MAX_ROWS:
        raise TableError(f"has {about.num_rows:,} rows; at most {MAX_ROWS:,} are allowed")
    values = sum(
        about.row_group(group).column(column).num_values
        for group in range(about.num_row_groups)
        for column in range(about.num_columns)
    )
    if values > MAX_VALUES:
        raise TableError(f"holds {values:,} values; at most {MAX_VALUES:,} are allowed")


def _from_csv(content: bytes, drop: frozenset[str]) -> pa.Table:
    import pyarrow.csv as arrow_csv

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TableError(
            f"is not UTF-8 text: byte {content[error.start]:#04x} in line {line}; save it as UTF-8"
        ) from None
    try:
        header = next(csv.reader(io.StringIO(text[:1_000_000], newline="")), [])
    except csv.Error as error:
        raise TableError(f"its header cannot be read: {error}") from None
    _check_columns([name.strip() for name in header], drop)
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(text.encode()),
            arrow_csv.ReadOptions(use_threads=False, block_size=min(len(content) + 1, 2**31 - 1)),
            arrow_csv.ParseOptions(newlines_in_values=True),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowException as error:
        raise TableError(f"is no table: {_line(error)}") from None
    if len(table) > MAX_ROWS:
        raise TableError(f"has {len(table):,} rows; at most {MAX_ROWS:,} are allowed")
    return table.rename_columns([name.strip() for name in header])


def _check_columns(names: list[str], drop: frozenset[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(f"has two columns {twice[0]!r}")
    missing = [name for name in NEEDED if name not in names or name in drop]
    if missing:
        raise TableError(
            f"missing columns {', '.join(missing)}; needed are {', '.join(NEEDED)} (it has "
            f"{', '.join(map(_shown, names[:20])) or 'none'})"
        )
    absent = sorted(drop - set(names))
    if absent:
        raise TableError(f"has no column {absent[0]!r} to leave out")
    known = {*WORDS, *MEASURES, *CURVES, *OURS, *drop}
    for name in names:
        if name not in known and not ATTACK_COLUMN.fullmatch(name):
            allowed = [n for n in (*WORDS, *MEASURES, *CURVES) if n not in names]
            raise TableError(
                f"column {_shown(name)} has no place in our tables; allowed are also "
                f"{', '.join(allowed)}, ATTACK_EPSILON such as fgsm_0.01; rename it, or leave it "
                f"out with --drop {name}"
            )


def _checked(table: pa.Table) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for name in (*WORDS, *MEASURES):
        field = TRIALS.field(name)
        if name not in table.column_names:
            columns[name] = pa.nulls(len(table), field.type)
            continue
        raw = _plain(table[name])
        columns[name] = (
            _texts(name, raw) if field.type == pa.string() else _numbers(name, raw, field.type)
        )
    for name in NEEDED[:-1]:
        _refuse(name, columns[name].is_null(), None, "every row needs one")
    for name in ("role", "metric_name"):
        allowed = ROLES if name == "role" else METRICS
        found = columns[name]
        known = pc.or_kleene(found.is_null(), pc.is_in(found, value_set=pa.array(allowed)))
        _refuse(name, pc.invert(known), found, f"must be one of {', '.join(allowed)}")
    _settle_guidance(columns)
    for name in WORDS:
        if columns[name].type == pa.float64():
            columns[name] = _significant(columns[name])
    _refuse_doubles(columns)
    columns["metric_name"] = _metric_names(columns)
    _check_metric("test_metric", columns["test_metric"], columns)
    columns |= _curves(table)
    columns["robustness"] = _robustness(table, columns)
    return pa.table(columns)


def _settle_guidance(columns: dict[str, pa.Array]) -> None:
    """Teachers and baselines have no guidance; a student has a teacher."""
    student = pc.equal(columns["role"], "student")
    _refuse(
        "teacher", pc.and_(student, columns["teacher"].is_null()), None,
        "a student has a teacher (one that was trained alone is a baseline)",
    )  # fmt: skip
    for name in GUIDANCE:
        columns[name] = pc.if_else(student, columns[name], pa.scalar(None, columns[name].type))


def _refuse_doubles(columns: Mapping[str, pa.Array]) -> None:
    rows = pa.table({name: columns[name] for name in WORDS})
    rows = rows.append_column("row", pa.array(range(1, len(rows) + 1)))
    groups = rows.group_by(list(WORDS), use_threads=False)
    found = groups.aggregate([("row", "count"), ("row", "min"), ("row", "list")])
    doubles = found.filter(pc.greater(found["row_count"], 1)).sort_by("row_min")
    if len(doubles):
        first = doubles.slice(0, 1).to_pylist()[0]
        words = ", ".join(f"{name} {first[name]}" for name in WORDS if first[name] is not None)
        raise TableError(
            f"rows {', '.join(map(str, first['row_list'][:5]))} are one configuration and seed "
            f"({words}); a configuration has one row for each seed, and what tells two apart must "
            "be a column"
        )


def _metric_names(columns: Mapping[str, pa.Array]) -> pa.Array:
    """The name that a dataset's rows give, or that of a known dataset."""
    rows = pa.table({name: columns[name] for name in ("dataset", "metric_name")})
    names: dict[str, str] = {}
    found = rows.group_by("dataset").aggregate([("metric_name", "distinct")])
    for dataset, given in tuples(found.select(["dataset", "metric_name_distinct"])):
        own = sorted(name for name in given if name is not None)
        if len(own) > 1:
            raise TableError(f"column metric_name: {dataset} has {', '.join(own)}; one is allowed")
        if not own and dataset not in METRIC_OF:
            raise TableError(
                f"column dataset: the metric of {dataset} is not known; add a column metric_name "
                f"({', '.join(METRICS)})"
            )
        names[dataset] = own[0] if own else METRIC_OF[dataset]
    return pa.array([names[dataset] for dataset in columns["dataset"].to_pylist()])


def _check_metric(name: str, found: pa.Array, columns: Mapping[str, pa.Array]) -> None:
    metric = columns["metric_name"]
    accuracy = pc.equal(metric, "accuracy")
    outside = pc.or_(pc.less(found, 0), pc.greater(found, 100))
    _refuse(name, pc.and_(accuracy, outside), found, "an accuracy is in percent, from 0 to 100")
    positive = pc.is_in(metric, value_set=pa.array(["mse", "mae"]))
    _refuse(name, pc.and_(positive, pc.less(found, 0)), found, "an error is 0 or more")
    if name != "test_metric":
        return
    for dataset in pc.unique(columns["dataset"].filter(accuracy)).to_pylist():
        own = found.filter(pc.and_(accuracy, pc.equal(columns["dataset"], dataset)))
        highest = pc.max(own).as_py()
        if highest is not None and highest <= 1:
            raise TableError(
                f"column {name}: no accuracy of {dataset} is above {highest:g}; it must be in "
                "percent (multiply by 100)"
            )


# Columns


def _plain(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    if isinstance(found, pa.ChunkedArray):
        found = pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], found.type)
    if pa.types.is_dictionary(found.type):
        found = found.cast(found.type.value_type)
    if pa.types.is_large_string(found.type) or pa.types.is_string_view(found.type):
        found = found.cast(pa.string())
    return found


def _texts(name: str, raw: pa.Array) -> pa.Array:
    if pa.types.is_null(raw.type):
        return raw.cast(pa.string())
    if raw.type != pa.string():
        raise TableError(f"column {name} holds {raw.type}; must hold text")
    found = pc.if_else(pc.equal(raw, ""), pa.scalar(None, pa.string()), raw)
    for text in pc.unique(found).to_pylist():
        if text is not None and (
            len(text) > MAX_TEXT
            or not text.isprintable()
            or text != text.strip()
            or set(text) & set("<>")  # figures would take it for markup
        ):
            _refuse(
                name, pc.equal(found, text), found,
                f"must be at most {MAX_TEXT} printable characters other than < and >, without "
                "spaces around them",
            )  # fmt: skip
    return found


def _numbers(name: str, raw: pa.Array, kind: pa.DataType) -> pa.Array:
    must = "must be a whole number" if kind == pa.int64() else "must be a number"
    if pa.types.is_null(raw.type):
        return raw.cast(kind)
    if raw.type == pa.string():
        found = _from_text(name, raw, kind, must)
    elif pa.types.is_integer(raw.type) or pa.types.is_decimal(raw.type) or _is_float(raw.type):
        if _is_float(raw.type) and raw.type != pa.float64() and name in WORDS:
            # 0.1 in fewer bits is 0.1 all the same: as it would be written.
            raw = raw.cast(pa.float32()).cast(pa.string()).cast(pa.float64())
        found = raw
    else:
        raise TableError(f"column {name} holds {raw.type}; must hold numbers")
    if _is_float(found.type):
        _refuse(
            name, pc.invert(pc.is_finite(found)), raw,
            "must be finite; leave it empty where there is no figure",
        )  # fmt: skip
        if kind == pa.int64():
            _refuse(name, pc.not_equal(pc.floor(found), found), raw, must)
    try:
        found = found.cast(kind)
    except pa.ArrowInvalid:
        large = pc.greater(pc.abs(found.cast(pa.float64())), 2.0**53)
        _refuse(name, large, raw, f"{must} of at most 2^53")
        raise TableError(f"column {name} holds {raw.type}; {must}") from None
    low, high = map(float, _BOUNDS.get(name, (-np.inf, np.inf)))
    outside = pc.or_(pc.less(found.cast(pa.float64(), safe=False), low),
                     pc.greater(found.cast(pa.float64(), safe=False), high))  # fmt: skip
    most = f" to {high:g}" if high <= 1e9 else " or more"
    _refuse(name, outside, raw, f"{must}, {low:g}{most}")
    return found


def _from_text(name: str, raw: pa.Array, kind: pa.DataType, must: str) -> pa.Array:
    text = pc.utf8_trim_whitespace(raw)
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    whole = kind == pa.int64() and pc.all(pc.match_substring_regex(text, _WHOLE)).as_py()
    _refuse(
        name, pc.invert(pc.match_substring_regex(text, _NUMBER)), raw,
        f"{must}, with a point before decimals and nothing else; empty where there is none",
    )  # fmt: skip
    texts = text.to_pylist()
    try:
        if whole:
            return pa.array([None if t is None else int(t) for t in texts], pa.int64())
    except OverflowError:
        pass
    return pa.array([None if t is None else float(t) for t in texts], pa.float64())


def _is_float(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind))


def _significant(column: pa.Array) -> pa.Array:
    """To twelve significant digits, in which the analysis compares parameters."""
    encoded = column.dictionary_encode()
    values = [None if v is None else float(f"{v:.12g}") for v in encoded.dictionary.to_pylist()]
    return pa.array(values, pa.float64()).take(encoded.indices)


# Curves and robustness


def _curves(table: pa.Table) -> dict[str, pa.Array]:
    found = {
        name: _lists(name, _plain(table[name]), TRIALS.field(name).type)
        if name in table.column_names
        else pa.nulls(len(table), TRIALS.field(name).type)
        for name in CURVES
    }
    losses, steps = (found[name] for name in CURVES)
    lengths, others = (pc.fill_null(pc.list_value_length(c), 0) for c in (losses, steps))
    differ = pc.and_(steps.is_valid(), pc.not_equal(lengths, others))
    _refuse("train_loss_step", differ, others, "values; must be as many as of train_loss")
    flat, row = steps.flatten().to_numpy(zero_copy_only=False), _parents(steps)
    back = np.zeros(len(steps), bool)
    falls = np.flatnonzero((np.diff(flat) <= 0) & (np.diff(row) == 0))
    back[row[falls]] = True
    back[row[flat < 1]] = True
    _refuse("train_loss_step", pa.array(back), steps, "must rise from 1 or more")
    return found


def _lists(name: str, raw: pa.Array, kind: pa.DataType) -> pa.Array:
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if pa.types.is_null(raw.type):
        return raw.cast(kind)
    if raw.type == pa.string():
        raw = _from_json(name, raw)
    inner = raw.type.value_type if any(is_kind(raw.type) for is_kind in kinds) else None
    if inner is None or not (
        pa.types.is_integer(inner) or _is_float(inner) or pa.types.is_null(inner)
    ):
        raise TableError(f"column {name} holds {str(raw.type)[:80]}; must hold lists of numbers")
    try:
        # A list without entries says nothing.
        found = raw.cast(pa.list_(pa.float64() if _is_float(inner) else kind.value_type)).cast(kind)
    except pa.ArrowInvalid as error:
        raise TableError(f"column {name}: {_line(error)}") from None
    found = pc.if_else(pc.equal(pc.list_value_length(found), 0), pa.scalar(None, kind), found)
    flat = found.flatten()
    bad = flat.is_null()
    if _is_float(flat.type):
        bad = pc.or_(bad, pc.fill_null(pc.invert(pc.is_finite(flat)), True))
    rows = np.zeros(len(found), bool)
    rows[_parents(found)[bad.to_numpy(zero_copy_only=False)]] = True
    _refuse(name, pa.array(rows), found, "every entry must be a finite number")
    return found


def _parents(lists: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.asarray(pc.list_parent_indices(lists).to_numpy(zero_copy_only=False), np.int64)


def _from_json(name: str, raw: pa.Array) -> pa.Array:
    lists: list[list[float] | None] = []
    must = "must be a JSON list of finite numbers, such as [0.9, 0.5]"
    for row, text in enumerate(raw.to_pylist(), start=1):
        try:
            values = json.loads(text) if text else None
        except (ValueError, RecursionError):
            values = text
        if values is not None and not (
            isinstance(values, list) and all(type(value) in (int, float) for value in values)
        ):
            raise TableError(f"row {row}, column {name}: {_shown(text)}; {must}")
        lists.append(values)
    return pa.array([None if v is None else [float(x) for x in v] for v in lists],
                    pa.list_(pa.float64()))  # fmt: skip


def _robustness(table: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Array:
    """Columns such as `fgsm_0.01` as a list of points, sorted by attack and epsilon."""
    found: dict[tuple[str, float], str] = {}
    for name in table.column_names:
        match = ATTACK_COLUMN.fullmatch(name)
        if match is None or name in columns:
            continue
        key = match["attack"], float(match["epsilon"])
        if key in found:
            raise TableError(f"columns {found[key]} and {name} are one attack and epsilon")
        found[key] = name
    values = []
    for key in sorted(found):
        name = found[key]
        column = _numbers(name, _plain(table[name]), pa.float64())
        _check_metric(name, column, columns)
        values.append(column.to_numpy(zero_copy_only=False))
    matrix = np.array(values).reshape(len(found), len(table)).T
    valid = ~np.isnan(matrix)
    which = np.nonzero(valid)[1]
    attacks, epsilons = zip(*sorted(found), strict=True) if found else ((), ())
    points = pa.StructArray.from_arrays(
        [
            pa.array(attacks, pa.string()).take(pa.array(which)),
            pa.array(epsilons, pa.float64()).take(pa.array(which)),
            pa.array(matrix[valid], pa.float64()),
        ],
        fields=list(TRIALS.field("robustness").type.value_type),
    )
    ends = np.concatenate([[0], np.cumsum(valid.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), points).cast(TRIALS.field("robustness").type)


# What is said of what is wrong


def _refuse(name: str, wrong: pa.Array, raw: pa.Array | None, must: str) -> None:
    """Raises for the first row for which something is wrong; null is not."""
    row = pc.index(wrong, pa.scalar(True)).as_py()
    if row >= 0:
        value = "empty" if raw is None else _shown(raw[row].as_py())
        raise TableError(f"row {row + 1}, column {name}: {value}; {must}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _line(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__

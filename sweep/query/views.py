"""The views that SQL sees, in a database in memory, and the answer of one SELECT on them."""

import itertools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset  # here, as its users below cannot open files any more

from sweep.query import configurations
from sweep.query.configurations import WORDS
from sweep.records import CELLS
from sweep.results import ADDED_LATER, MEASURED, Results

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset


_AGGREGATED = f"""
WITH scored AS MATERIALIZED (
    SELECT configuration, _asked.seed, metric_name,
        CASE WHEN _asked.status = 'done' AND isfinite(test_metric) THEN test_metric END AS value
    FROM _asked LEFT JOIN trials USING (trial_id)
), own AS (
    SELECT configuration, max(metric_name) AS metric_name, count(value) AS n, avg(value) AS mean,
        stddev_samp(value) AS deviation, median(value) AS median, min(value) AS min, max(value) AS max
    FROM scored GROUP BY configuration
), pairs AS (
    SELECT configuration, count(*) AS n, avg(gain) AS mean, stddev_samp(gain) AS deviation
    FROM (
        SELECT one.configuration, one.value - other.value AS gain
        FROM scored AS one JOIN _configurations USING (configuration)
        JOIN scored AS other ON other.configuration = baseline AND other.seed = one.seed
    ) WHERE gain IS NOT NULL GROUP BY configuration
)
SELECT {", ".join(WORDS)},
    max(own.metric_name) OVER (PARTITION BY study, dataset) AS metric_name,
    own.n, n_asked, n_asked - own.n AS n_missing,
    own.mean, own.deviation, own.median, own.min, own.max,
    own.mean - own_t.t * own.deviation / sqrt(own.n) AS ci_low,
    own.mean + own_t.t * own.deviation / sqrt(own.n) AS ci_high,
    CASE WHEN role = 'student' THEN coalesce(pairs.n, 0) END AS n_pairs,
    pairs.mean AS difference,
    pairs.mean - pair_t.t * pairs.deviation / sqrt(pairs.n) AS difference_ci_low,
    pairs.mean + pair_t.t * pairs.deviation / sqrt(pairs.n) AS difference_ci_high
FROM _configurations JOIN own USING (configuration) LEFT JOIN pairs USING (configuration)
LEFT JOIN _quantiles AS own_t ON own_t.n = own.n LEFT JOIN _quantiles AS pair_t ON pair_t.n = pairs.n
"""
"""`cells`: the seeds of each configuration in one row. The mean with its t interval, and the mean
difference to the baseline over the seeds that both have, with that of a paired sample."""


class TooManyRowsError(Exception):
    """The answer has more rows than are allowed."""


@dataclass(frozen=True)
class Held:
    """Results in memory; columns of trials and attempts are decoded when they are asked for.

    Attributes:
        stamp: tells this state of the directory from others; None where files were damaged, which may
            be mended under the same name.
        trials: see `Results.trial_dataset`.
        robustness: see `Results.trial_dataset`.
        attempts: executions.
        attributions: where networks look.
        runs: runs.
        asked: the requested cells of all studies, with their status and the number of their
            configuration.
        configurations: see `sweep.query.configurations.numbered`.
    """

    stamp: object
    trials: "Dataset"
    robustness: pa.Table | None
    attempts: "Dataset"
    attributions: "Dataset"
    runs: pa.Table
    asked: pa.Table
    configurations: pa.Table


def held(results: Results, before: Held | None = None) -> Held:
    """Reads the results, unless they are still those that were read before.

    Raises:
        StoreError: where they cannot be read.
    """
    stamp = _stamp(results)
    if before is not None and stamp == before.stamp:
        return before
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trials, robustness = results.trial_dataset()
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    attempts, damaged = results.store.attempts.scan()
    attributions, more = results.store.attributions.scan()
    whole = not (caught or damaged or more)
    asked = _asked(results, trials.to_table(columns=["trial_id", "status"], use_threads=False))
    number, found = configurations.numbered(asked)
    return Held(
        stamp=stamp if whole else None,
        trials=trials,
        robustness=robustness,
        attempts=attempts,
        attributions=attributions,
        runs=results.store.runs.read()[0],
        asked=asked.append_column("configuration", number),
        configurations=found,
    )


def _stamp(results: Results) -> object:
    """Equal for equal results: names of files hold hashes, but for those of studies."""
    store = results.store
    studies = [store.layout.study(name) for name in store.studies()]
    return [shelf.files() for shelf in store.shelves], [(p, store.on.read(p)) for p in studies]


def database(held: Held, threads: int, memory_bytes: int) -> "duckdb.DuckDBPyConnection":
    """A database with the views, that has what threads it will need and has loaded what it uses."""
    config: dict[str, Any] = {
        "threads": threads,
        "memory_limit": f"{memory_bytes}B",
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
    }
    found = duckdb.connect(config=config)
    _views(found, held)
    found.sql("SELECT trial_id FROM trials WHERE trial_id >= 'a' LIMIT 1").to_arrow_table()
    found.execute("SET enable_external_access = false")
    found.execute("SET lock_configuration = true")
    return found


def answer(database: "duckdb.DuckDBPyConnection", sql: str, max_rows: int) -> pa.Table:
    """Answers one SELECT statement.

    Columns of the same name are numbered; sums of integers are integers.

    Raises:
        ValueError: for anything but one SELECT.
        TooManyRowsError: where the answer has more than `max_rows` rows.
        duckdb.Error: for what the database says is wrong.
    """
    statements = database.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ValueError("a query must be one SELECT statement")
    reader = database.sql(statements[0].query).to_arrow_reader(100_000)
    batches, rows = [], 0
    for batch in reader:
        rows += batch.num_rows
        if rows > max_rows:
            raise TooManyRowsError
        batches.append(batch)
    found = pa.Table.from_batches(batches, reader.schema)
    names: list[str] = []
    for name in found.column_names:
        other = (f"{name}_{number}" for number in itertools.count(2))
        names.append(name if name not in names else next(n for n in other if n not in names))
    return pa.Table.from_arrays([_plain(column) for column in found.columns], names)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """DuckDB adds up integers in 128 bits, which arrive as decimals: as int64 where they fit."""
    if not pa.types.is_decimal(column.type):
        return column
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column.cast(pa.float64())


def _views(database: "duckdb.DuckDBPyConnection", held: Held) -> None:
    """Makes the views (see `sweep.query`); what a query does not ask for is not decoded."""
    database.register("attempts", held.attempts)
    database.register("runs", held.runs)
    database.register("_asked", held.asked)
    database.register("_configurations", held.configurations)
    most = pc.max(held.configurations["n_asked"]).as_py() or 0
    database.register("_quantiles", configurations.quantiles(most))
    if held.robustness is None:
        database.register("trials", held.trials)
    else:
        database.register("_trained", held.trials)
        database.register("_robustness", held.robustness)
        database.execute(
            "CREATE VIEW trials AS SELECT _trained.* REPLACE ("
            + ", ".join(f"_robustness.{name} AS {name}" for name in ADDED_LATER)
            + ") FROM _trained JOIN _robustness USING (trial_id)"
        )
    database.execute(
        f"CREATE VIEW requested AS SELECT study, {', '.join(f'_asked.{key}' for key in CELLS.names)}, "
        f"{', '.join(f'trials.{key}' for key in MEASURED)}, _asked.status "
        "FROM _asked LEFT JOIN trials USING (trial_id)"
    )
    database.execute(f"CREATE VIEW cells AS {_AGGREGATED}")
    database.execute(
        "CREATE VIEW curves AS SELECT trial_id, unnest(train_loss_step) AS step, "
        "unnest(train_loss_step) / steps_per_epoch AS epoch, "
        "unnest(train_loss) AS train_loss FROM trials"
    )
    database.execute(
        "CREATE VIEW robustness AS SELECT trial_id, point.attack AS attack, "
        "point.epsilon AS epsilon, point.value AS value "
        "FROM (SELECT trial_id, unnest(robustness) AS point FROM trials)"
    )
    asked = "trial_id, method, explains, segmentation, images, background_images, repeats"
    database.register("_attributions", held.attributions)
    database.execute(
        f"CREATE VIEW attributions AS SELECT {asked}, point.* "
        f"FROM (SELECT {asked}, unnest(points) AS point FROM _attributions)"
    )


def _asked(results: Results, trials: pa.Table) -> pa.Table:
    """The requested cells of all studies, with their status."""
    schema = pa.schema([("study", pa.string()), *CELLS, ("status", pa.string())])
    tables = [
        asked.add_column(0, "study", pa.repeat(name, len(asked)))
        for name, asked in ((name, results.asked_table(name, trials)) for name in results.studies())
    ]
    return pa.concat_tables([schema.empty_table(), *tables])

"""SQL over the results: one SELECT, on data handed to it, in a database in memory.

Views: `trials` (one row per trial), `cells` (one row per requested cell, with `study` and the
measures of its trial), `curves` (one row per recorded training loss), `robustness` (one row per
trial, attack and epsilon), `attempts`, `runs`.
"""

import itertools
from typing import TYPE_CHECKING

import pyarrow as pa

from sweep.errors import QueryError
from sweep.records import CELLS
from sweep.results import MEASURED, Results

if TYPE_CHECKING:
    import duckdb

VIEWS = ("trials", "cells", "curves", "robustness", "attempts", "runs")


def query(results: Results, sql: str) -> pa.Table:
    """Answers one SELECT statement.

    Columns of the same name are numbered; sums of integers are integers.

    Raises:
        QueryError: for anything but one SELECT, and for what the database says is wrong.
    """
    import duckdb

    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(str(error)) from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise QueryError("a query must be one SELECT statement")
    with duckdb.connect(
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    ) as database:
        _views(database, results)
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        try:
            answer = database.sql(statements[0].query).to_arrow_table()
        except duckdb.Error as error:
            raise QueryError(str(error)) from None
    names: list[str] = []
    for name in answer.column_names:
        other = (f"{name}_{number}" for number in itertools.count(2))
        names.append(name if name not in names else next(n for n in other if n not in names))
    return pa.Table.from_arrays([_plain(column) for column in answer.columns], names)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """DuckDB adds up integers in 128 bits, which arrive as decimals: as int64 where they fit."""
    if not pa.types.is_decimal(column.type):
        return column
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column.cast(pa.float64())


def _views(database: "duckdb.DuckDBPyConnection", results: Results) -> None:
    """Makes the views; what a query does not ask for is not decoded."""
    trials, robustness = results.trial_dataset()
    attempts, _ = results.store.attempts.scan()
    database.register("attempts", attempts)
    database.register("runs", results.store.runs.read()[0])
    if robustness is None:
        database.register("trials", trials)
    else:
        database.register("_trained", trials)
        database.register("_robustness", robustness)
        database.execute(
            "CREATE VIEW trials AS SELECT _trained.* REPLACE (_robustness.robustness AS robustness)"
            " FROM _trained JOIN _robustness USING (trial_id)"
        )
    database.register(
        "_asked",
        _asked(results, trials.to_table(columns=["trial_id", "status"], use_threads=False)),
    )
    database.execute(
        f"CREATE VIEW cells AS SELECT study, {', '.join(f'_asked.{key}' for key in CELLS.names)}, "
        f"{', '.join(f'trials.{key}' for key in MEASURED)}, _asked.status "
        "FROM _asked LEFT JOIN trials USING (trial_id)"
    )
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


def _asked(results: Results, trials: pa.Table) -> pa.Table:
    """The requested cells of all studies, with their status."""
    schema = pa.schema([("study", pa.string()), *CELLS, ("status", pa.string())])
    tables = [
        asked.add_column(0, "study", pa.repeat(name, len(asked)))
        for name, asked in ((name, results.asked_table(name, trials)) for name in results.studies())
    ]
    return pa.concat_tables([schema.empty_table(), *tables])

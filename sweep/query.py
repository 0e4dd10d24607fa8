"""SQL over the results: one SELECT, on data handed to it, in a database in memory.

Views: `trials` (one row per trial), `cells` (one row per requested cell, with `study` and the
measures of its trial), `curves` (one row per recorded training loss), `robustness` (one row per
trial, attack and epsilon), `attempts`, `runs`.
"""

import itertools
from typing import TYPE_CHECKING

import pyarrow as pa

from sweep.errors import QueryError
from sweep.results import Results

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
    trials = results.trial_table()
    attempts, _ = results.store.attempts.read()
    tables = [
        cells.add_column(0, "study", pa.array([name] * cells.num_rows, pa.string()))
        for name, cells in ((name, results.cell_table(name, trials)) for name in results.studies())
    ]
    database.register("trials", trials)
    database.register("attempts", attempts)
    database.register("runs", results.store.runs.read()[0])
    database.register("cells", pa.concat_tables(tables) if tables else pa.table({"study": []}))
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

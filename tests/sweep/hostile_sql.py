"""Queries that want more than an answer: to read, write, reach out, run on, or break what answers."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

READERS = (
    "read_csv", "read_csv_auto", "read_text", "read_blob", "read_parquet", "parquet_scan",
    "read_json", "read_json_auto", "read_ndjson", "read_json_objects", "glob", "sniff_csv",
    "parquet_metadata", "parquet_schema", "parquet_file_metadata", "parquet_kv_metadata",
    "read_xlsx", "sqlite_scan", "st_read", "iceberg_scan", "delta_scan", "read_duckdb",
)  # fmt: skip
"""Table functions that open files, some of them of extensions."""

WRAPPED = (
    "SELECT * FROM {0}",
    "WITH a AS (SELECT * FROM {0}) SELECT count(*), max(a) FROM a",
    "SELECT (SELECT count(*) FROM {0})",
    "SELECT * FROM trials WHERE EXISTS (FROM {0})",
    "FROM query('SELECT * FROM {1}')",
    "SELECT * FROM trials, LATERAL (SELECT * FROM {0})",
)
"""Ways to write a table function; `{1}` has its quotes doubled."""

STATEMENTS = """
COPY trials TO '{out}'
COPY trials TO '{out}' (FORMAT parquet)
COPY (SELECT 1) TO '{results}/trials/evil.parquet' (FORMAT parquet)
COPY (SELECT 1) TO '/dev/stdout'
COPY trials FROM '{secret}'
COPY DATABASE memory TO other
ATTACH '{out}' AS a
ATTACH '{out}' AS a (TYPE sqlite)
ATTACH ':memory:' AS b
DETACH memory
USE memory
EXPORT DATABASE '{out}'
IMPORT DATABASE '{folder}'
INSTALL httpfs
FORCE INSTALL httpfs FROM 'http://127.0.0.1:1'
LOAD httpfs
LOAD '{secret}'
UPDATE EXTENSIONS
SET enable_external_access = true
SET lock_configuration = false
SET GLOBAL memory_limit = '100GB'
SET temp_directory = '{folder}'
SET allowed_directories = ['/']
SET python_enable_replacements = true
SET VARIABLE x = (SELECT content FROM read_text('{secret}'))
RESET lock_configuration
PRAGMA enable_profiling = 'json'
PRAGMA profiling_output = '{out}'
PRAGMA database_list
PRAGMA enable_checkpoint_on_shutdown
PRAGMA threads = 100
PRAGMA import_database('{folder}')
CALL pragma_version()
CALL enable_logging(storage = 'file', storage_config = {{'path': '{out}'}})
CALL checkpoint()
CREATE TABLE x AS SELECT * FROM trials
CREATE VIEW x AS SELECT * FROM read_text('{secret}')
CREATE MACRO x(a) AS a + 1
CREATE MACRO x() AS TABLE SELECT * FROM read_text('{secret}')
CREATE TYPE x AS ENUM ('a')
CREATE SCHEMA x
CREATE SEQUENCE x
CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')
CREATE PERSISTENT SECRET x (TYPE s3)
CREATE OR REPLACE VIEW trials AS SELECT 1
DROP VIEW trials
DROP SECRET x
DELETE FROM trials
INSERT INTO trials SELECT * FROM trials
UPDATE trials SET seed = 1
MERGE INTO trials USING cells ON true WHEN MATCHED THEN DELETE
ALTER TABLE trials RENAME TO x
TRUNCATE trials
COMMENT ON VIEW trials IS 'x'
VACUUM
VACUUM ANALYZE trials
ANALYZE
CHECKPOINT
FORCE CHECKPOINT
BEGIN
COMMIT
EXPLAIN SELECT * FROM read_text('{secret}')
EXPLAIN ANALYZE SELECT * FROM trials
EXPLAIN ANALYZE COPY trials TO '{out}'
PREPARE p AS SELECT * FROM read_text('{secret}')
PREPARE p AS COPY trials TO '{out}'
EXECUTE p
DEALLOCATE p
SELECT 1; SELECT 2
SELECT 1; COPY trials TO '{out}'
;COPY trials TO '{out}'; SELECT 1
SELECT 1 /* ; */ ; DROP VIEW trials --
WITH x AS (DELETE FROM trials RETURNING *) SELECT * FROM x
WITH x AS (COPY trials TO '{out}') SELECT * FROM x
SELECT * FROM '{secret}'
SELECT * FROM "{secret}"
SELECT * FROM '{results}/trials/*.parquet'
SELECT * FROM '{folder}/**'
SELECT * FROM '/proc/self/environ'
SELECT * FROM 'http://127.0.0.1:1/x.csv'
SELECT * FROM 'https://127.0.0.1:1/x.parquet'
SELECT * FROM 's3://bucket/x.parquet'
SELECT * FROM 'hf://datasets/a/b.csv'
SELECT * FROM 'md:x'
SELECT * FROM read_text('/proc/self/environ')
SELECT * FROM read_blob('/proc/self/mem')
SELECT * FROM read_text('/proc/1/environ')
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_csv(['{secret}', '/etc/passwd'])
SELECT * FROM read_csv('/dev/stdin')
SELECT * FROM read_csv('/dev/fd/3')
SELECT * FROM read_text('/dev/zero')
SELECT * FROM read_csv('file://{secret}')
SELECT * FROM read_csv('http://127.0.0.1:1/')
SELECT * FROM read_parquet('s3://a/b', filename = true)
SELECT * FROM query('COPY trials TO ''{out}''')
SELECT * FROM query('SELECT 1; SELECT 2')
SELECT * FROM query_table('{secret}')
SELECT * FROM held
SELECT * FROM request
SELECT * FROM database
SELECT * FROM secret_table
SELECT * FROM enable_logging('x', storage = 'file', storage_path = '{out}')
SELECT getenv('CANARY')
SELECT getenv('HOME') FROM trials
SELECT system('id')
SELECT shell('id')
SELECT pg_read_file('{secret}')
SELECT load_extension('{secret}')
SELECT * FROM shellfs('id |')
SELECT * FROM 'id |'
SELECT * FROM arrow_scan(1, 2, 3)
SELECT * FROM arrow_scan(140000000000000::POINTER, 1::POINTER, 1::POINTER)
SELECT * FROM pandas_scan(12345)
SELECT * FROM python_map_function(1)
SELECT write_log('x', log_type = 'FileSystem')
SELECT nextval('x')
SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 't')
SELECT error('no')
SELECT CAST('x' AS INTEGER)
SELECT nosuch FROM trials
SELEKT 1
SELECT 'open
SELECT $1
SELECT ?
"""
"""Each has no answer: a line, a query."""

ANSWERED = """
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_extensions()
SELECT * FROM duckdb_databases()
SELECT * FROM duckdb_functions()
SELECT * FROM duckdb_logs
SELECT * FROM duckdb_memory()
SELECT * FROM duckdb_temporary_files()
SELECT * FROM duckdb_views()
SELECT * FROM information_schema.tables
SELECT * FROM pg_catalog.pg_settings
SELECT current_setting('temp_directory'), current_setting('home_directory')
SELECT current_setting('extension_directory'), current_setting('secret_directory')
SELECT current_user, current_database(), version(), current_query()
SELECT getvariable('CANARY')
SELECT random(), uuid(), now()
SELECT * FROM pragma_platform()
SELECT * FROM pragma_database_size()
SHOW TABLES
DESCRIBE trials
SUMMARIZE trials
SELECT regexp_matches(repeat('a', 100000) || 'b', '(a+)+$')
SELECT regexp_replace(repeat('a', 100000), '(a*)*b', 'x', 'g')
SELECT 'x' SIMILAR TO '(((a*)*)*)*b'
SELECT length(repeat('x', 1000000))
SELECT 'Ⅷ' < 'ⅷ' COLLATE NOCASE
SELECT '\u202e\ufeff'
SELECT * FROM test_all_types()
"""
"""Harmless where they are answered; none may tell of what is outside."""

ENDLESS = (
    "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a) SELECT sum(n) FROM a",
    "WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT * FROM a) SELECT count(*) FROM a",
    "SELECT count(*) FROM range(100000) a, range(100000) b, range(100000) c WHERE a.range <> b.range",
    "SELECT sum(hash(range)) FROM range(1000000000000)",
    "SELECT max(md5(a.range::VARCHAR)) FROM range(10000000) a, range(10000000) b",
    "SELECT 1" + " UNION ALL SELECT 1" * 40_000,
)
"""Run until they are ended."""

HUGE = (
    "SELECT repeat('x', 10000000000)",
    "SELECT list(range) FROM range(1000000000)",
    "SELECT range(10000000000)",
    "SELECT generate_series(1, 1000000000)",
    "SELECT string_agg(repeat('x', 1000), '') FROM range(100000000)",
    "SELECT lpad('x', 2147483647, 'y'), rpad('x', 2147483647, 'y')",
    "SELECT [repeat('x', 100000000), repeat('y', 100000000), repeat('z', 100000000)]",
    "SELECT * FROM range(1000000000)",
    "SELECT a.* FROM range(100000) a, range(100000) b",
    "SELECT repeat('x', 1000000) FROM range(200)",
    "SELECT range, count(*) FROM range(1000000000) GROUP BY 1 ORDER BY 2 LIMIT 1",
    "SELECT DISTINCT md5(range::VARCHAR) FROM range(1000000000) ORDER BY 1 LIMIT 1",
    "SELECT histogram(range) FROM range(1000000000)",
    "SELECT bitstring_agg(n) FROM (VALUES (0::BIGINT), (9223372036854775806)) t(n)",
    "SELECT repeat('x', 1000000000)::BLOB || repeat('y', 1000000000)::BLOB",
    "SELECT unnest(range(1000000000)), unnest(range(1000000000))",
)
"""Take more memory or rows than any limit allows."""


def _nested() -> Iterator[str]:
    """Texts that a parser takes badly."""
    deep = 10_000
    yield "SELECT " + "(" * deep + "1" + ")" * deep
    yield "SELECT " + "[" * deep + "]" * deep
    yield "SELECT " + "{'a': " * deep + "1" + "}" * deep
    yield "SELECT " + "abs(" * deep + "1" + ")" * deep
    yield "SELECT * FROM (" * deep + "SELECT 1" + ")" * deep
    yield "SELECT " + "NOT " * deep + "true"
    yield "SELECT " + "- " * 100_000 + "1"
    yield "SELECT " + "1 + " * 100_000 + "1"
    yield "SELECT " + "CASE WHEN true THEN " * deep + "1" + " END" * deep
    yield "SELECT 1" + "::INTEGER" * deep
    yield "WITH " + ", ".join(f"a{n} AS (SELECT 1)" for n in range(5000)) + " SELECT nosuch"
    yield "SELECT " + "x" * 500_000
    yield "SELECT '" + "x" * 900_000
    yield "/*" * 100_000
    yield "--" + "x" * 900_000
    yield "(" * 900_000
    yield "SELECT 1;" * 50_000
    yield "SELECT " + "9" * 100_000 + " + nosuch"
    yield "SELECT $" + "a" * 1000 + "$ no end"


def _unreadable() -> Iterator[str]:
    """Not the text of a query at all."""
    yield ""
    yield ";"
    yield " " * 900_000
    yield "\0"
    yield "SELECT 1\0; COPY trials TO 'x'"
    yield "SELECT '\udcff'"
    yield "\ufeff\u202e"
    yield "SELECT 1 -- " + "x" * 10_000_000
    yield "\x01\x02\x1b[31m"
    yield "ＳＥＬＥＣＴ １"


@dataclass(frozen=True)
class Hostile:
    """A query, and what may come of it.

    Attributes:
        sql: the query.
        answered: whether it may have an answer.
    """

    sql: str
    answered: bool = False


def listed(secret: Path, results: Path, out: Path) -> list[Hostile]:
    """The queries written by hand."""
    names = {"secret": secret, "results": results, "out": out, "folder": secret.parent}
    statements = [line.format_map(names) for line in STATEMENTS.strip().splitlines()]
    return [
        *(Hostile(sql) for sql in (*statements, *ENDLESS, *HUGE, *_nested(), *_unreadable())),
        *(Hostile(sql, answered=True) for sql in ANSWERED.strip().splitlines()),
    ]


def made(number: int, secret: Path, results: Path, seed: int = 0) -> list[Hostile]:
    """Table functions that open files, on paths of every kind, written in every way."""
    paths = (
        str(secret), f"{results}/trials/*.parquet", f"{results}/../{secret.name}", "/etc/passwd",
        f"{secret.parent}/**", "/proc/self/environ", "https://127.0.0.1:1/x", "s3://bucket/x",
        "/dev/fd/0", f"file://{secret}", str(secret).swapcase(), "~/.bashrc", "\\\\?\\C:\\x", "",
    )  # fmt: skip
    ways = list(itertools.product(READERS, paths, WRAPPED))
    chosen = random.Random(seed).sample(ways, number)
    found = []
    for reader, path, wrapped in chosen:
        call = f"{reader}('{path}')"
        found.append(Hostile(wrapped.format(call, call.replace("'", "''"))))
    return found

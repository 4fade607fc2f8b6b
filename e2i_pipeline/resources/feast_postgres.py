"""Copies feature tables to PostgreSQL, where it is Feast's offline store, and drops those that nothing refers to.

A table has the name of its content and is never changed: it is there as a whole when its transaction is committed, or
not at all. Rows stream from DuckDB through COPY; nothing is kept in memory or in a file.
"""

import contextlib
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.references import FeatureTableRef
from e2i_pipeline.errors import ConfigurationError, ToolUnavailable
from e2i_pipeline.resources.engine import EngineResource, literal, parquet, quoted
from e2i_pipeline.resources.feast_definitions import table_name

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 50_000
LOCK_SECONDS = 5
"""How long dropping an old table waits for its readers; the next publication tries again."""

_TYPES = {
    "BIGINT": "bigint",
    "BIGINT[]": "bigint[]",
    "BOOLEAN": "boolean",
    "DOUBLE": "double precision",
    "DOUBLE[]": "double precision[]",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "VARCHAR": "text",
    "VARCHAR[]": "text[]",
}


def publish(
    engine: EngineResource, settings: Mapping[str, Any], project: str, tables: Iterable[FeatureTableRef]
) -> None:
    """Copies tables that are not there yet.

    Args:
        engine: Reads the Parquet files.
        settings: The configuration's `offline_store`, variables replaced.
        project: Feast project, noted on each table.
        tables: Feature tables, none absent.

    Raises:
        ToolUnavailable: The database does not answer.
        ConfigurationError: It refuses, e.g. the password or the schema.
    """
    schema = str(settings["db_schema"])
    for ref in tables:
        with _connection(settings) as connection, connection.cursor() as cursor:
            name = table_name(ref)
            # one publisher at a time: the second one finds the table there
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"{schema}.{name}",))
            cursor.execute("SELECT to_regclass(%s)", (f"{quoted(schema)}.{quoted(name)}",))
            if cursor.fetchone()[0] is None:
                _create(cursor, engine, f"{quoted(schema)}.{quoted(name)}", ref, project)


def drop_unused(settings: Mapping[str, Any], project: str, used: Iterable[str]) -> list[str]:
    """Drops feature tables of a project that are not among the used ones, and gives their names.

    A table that is being read for longer than `LOCK_SECONDS` stays until the next time.

    Args:
        settings: The configuration's `offline_store`, variables replaced.
        project: Feast project: tables of another one are not touched.
        used: Names of tables that the registry refers to.

    Raises:
        ToolUnavailable: The database does not answer.
    """
    import psycopg2.errors

    schema = str(settings["db_schema"])
    kept = set(used)
    with _connection(settings) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relkind = 'r' AND obj_description(c.oid, 'pg_class') = %s ORDER BY 1",
            (schema, _mark(project)),
        )
        found = [row[0] for row in cursor.fetchall() if row[0] not in kept]
    dropped: list[str] = []
    for name in found:
        with (
            contextlib.suppress(psycopg2.errors.LockNotAvailable),
            _connection(settings) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
            cursor.execute(f"DROP TABLE IF EXISTS {quoted(schema)}.{quoted(name)}")
            dropped.append(name)
    return dropped


def _create(cursor: Any, engine: EngineResource, name: str, ref: FeatureTableRef, project: str) -> None:
    columns = [(column.name, _TYPES[column.dtype]) for column in ref.columns]
    cursor.execute(f"CREATE TABLE {name} ({', '.join(f'{quoted(c)} {dtype}' for c, dtype in columns)})")
    cursor.execute(f"COMMENT ON TABLE {name} IS {literal(_mark(project))}")
    selected = ", ".join(_as_text(c, dtype) for c, dtype in columns)
    with engine.connect() as duckdb:
        reader = duckdb.execute(f"SELECT {selected} FROM {parquet(ref.location)}").to_arrow_reader(BATCH_ROWS)
        copied: Any = io.BufferedReader(_Csv(reader))
        cursor.copy_expert(f"COPY {name} FROM STDIN (FORMAT csv)", copied)
    cursor.execute(f"CREATE INDEX ON {name} ({quoted(ref.entity)}, event_timestamp)")
    cursor.execute(f"ANALYZE {name}")


def _as_text(column: str, dtype: str) -> str:
    """A column as CSV can hold it: lists as PostgreSQL writes them."""
    if dtype.endswith("[]"):
        element = "CAST(x AS VARCHAR)"
        if dtype == "text[]":  # quoted, so that no text is taken for a separator, an end or NULL
            element = """'"' || replace(replace(x, '\\', '\\\\'), '"', '\\"') || '"'"""
        elements = f"list_transform({quoted(column)}, lambda x: coalesce({element}, 'NULL'))"
        joined = f"'{{' || array_to_string({elements}, ',') || '}}'"
        return f"CASE WHEN {quoted(column)} IS NOT NULL THEN {joined} END AS {quoted(column)}"
    return quoted(column)


class _Csv(io.RawIOBase):
    """Arrow batches as a CSV file that is made while it is read; null is empty, an empty text is quoted."""

    def __init__(self, batches: "pa.RecordBatchReader") -> None:
        self._lines = self._written(batches)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = next(self._lines, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    @staticmethod
    def _written(batches: "pa.RecordBatchReader") -> Iterator[bytes]:
        from pyarrow import csv

        options = csv.WriteOptions(include_header=False)
        for batch in batches:
            if batch.num_rows:
                written = io.BytesIO()
                csv.write_csv(batch, written, options)
                yield written.getvalue()


def _mark(project: str) -> str:
    return f"feature table of the Feast project {project}"


@contextlib.contextmanager
def _connection(settings: Mapping[str, Any]) -> Iterator[Any]:
    """A connection whose transaction is committed where all went well."""
    import psycopg2

    where = f"PostgreSQL at {settings['host']}:{settings['port']}, database {settings['database']}"
    try:
        connection = psycopg2.connect(
            host=settings["host"],
            port=settings["port"],
            dbname=settings["database"],
            user=settings["user"],
            password=settings["password"],
            sslmode=settings["sslmode"],
            connect_timeout=10,
        )
    except psycopg2.OperationalError as err:
        raise ToolUnavailable(
            f"Feature tables could not be copied: {where} was not reached as {settings['user']}. Check "
            "E2I_FEAST_POSTGRES_* (.env.example), and that the server is up."
        ) from err
    try:
        with connection:
            yield connection
    except psycopg2.errors.InvalidSchemaName as err:
        raise ConfigurationError(
            f"{where} has no schema {settings['db_schema']}. Create it, or set E2I_FEAST_POSTGRES_SCHEMA."
        ) from err
    except psycopg2.errors.InsufficientPrivilege as err:
        raise ConfigurationError(
            f"{where}: {settings['user']} may not create tables in the schema {settings['db_schema']}. Grant CREATE on "
            "it."
        ) from err
    finally:
        connection.close()

"""The platform's own database: canonical tables in PostgreSQL (Supabase is one), by the names of the data dictionary.

A table is read in one read-only transaction that sees one moment of the database. Only the columns that are landed are
read: of the others, those that identify a person by themselves among them, nothing but the name leaves the database.
How a connection is made stands in `postgres_session.py`, what the catalogue knows in `postgres_catalog.py`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.mapping import TableMapping
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.contracts.tables import DELETED, DIRECT, TABLES, TableSchema
from e2i_pipeline.domain.mapping_check import check_mappings
from e2i_pipeline.errors import ConfigurationError, E2IError, SourceError
from e2i_pipeline.resources.connectors import postgres_catalog as catalog
from e2i_pipeline.resources.connectors.mapped import MappedInput, map_input, named_columns
from e2i_pipeline.resources.connectors.postgres_copy import Field, Transfer
from e2i_pipeline.resources.connectors.postgres_increments import Increments
from e2i_pipeline.resources.connectors.postgres_session import Postgres
from e2i_pipeline.resources.engine import quoted
from e2i_pipeline.resources.history import Position, Pull

if TYPE_CHECKING:
    import duckdb

STREAM = "e2i_postgres"
"""What the stream of a table is called in the engine."""

_RAW = "e2i_postgres_raw"
"""Temporary table of a stream that a mapping reads more than once."""


class PostgresConnector:
    """A `Connector` over a PostgreSQL database.

    Args:
        url: Its address, which may carry a password.
        covariates: Columns beyond the data dictionary that are landed too: DuckDB type by column, per table.
        absent: Columns that the source declares it cannot have, per table: they are not read.
        tombstones: Per table the column that says that a row is deleted: it is read, and not landed.
        mappings: How tables with columns of other names become canonical ones, in `snapshot` mode.
        schema: Where a table is looked for that `tables` does not name.
        tables: The table behind a canonical one, as `table` or `schema.table`, where it has another name.
        connect_timeout: Seconds until a server that does not answer counts as unreachable.
        statement_timeout: Seconds that one statement may take; the reading of a table is one.
        batch_rows: Rows that come over at a time.
        mode: `snapshot` reads a table whole, `incremental` what is new since the position that `resume` was given.
        watermark: Per table the column whose values only grow; by default its known-at column.
        overlap_hours: How far behind the watermark is read again.
        reconcile_every_days: How often all is read in `incremental` mode; 0: never.

    Raises:
        ConfigurationError: There is no address, or none that can be understood; or a mapping cannot be what it says.
    """

    reads_one_moment = True
    """What changes while a table is read is not seen: it is no reason to refuse what was read."""

    def __init__(
        self,
        url: str,
        covariates: Mapping[str, Mapping[str, str]] | None = None,
        absent: Mapping[str, Collection[str]] | None = None,
        tombstones: Mapping[str, str] | None = None,
        mappings: Mapping[str, TableMapping] | None = None,
        *,
        schema: str = "public",
        tables: Mapping[str, str] | None = None,
        connect_timeout: int = 10,
        statement_timeout: int = 3600,
        batch_rows: int = 10_000,
        mode: str = "snapshot",
        watermark: Mapping[str, str] | None = None,
        overlap_hours: float = 24,
        reconcile_every_days: int = 7,
    ) -> None:
        self._server = Postgres(url, connect_timeout, statement_timeout)
        self._covariates, self._absent, self._tombstones = covariates or {}, absent or {}, tombstones or {}
        self._mappings = dict(mappings or {})
        check_mappings(self._mappings, {table: self._further(table) for table in self._mappings})
        given = {table: mapping.given for table, mapping in self._mappings.items() if mapping.given}
        names = {**{table: table for table in TABLES}, **(tables or {}), **given}
        self._names = {table: catalog.Name.of(names[table], schema) for table in TABLES}
        self._batch_rows = batch_rows
        self._transfer: Transfer | None = None
        self.is_incremental = mode == "incremental"
        if self.is_incremental and self._mappings:
            raise ConfigurationError(
                f"source.tables maps {', '.join(self._mappings)}, and source.postgres.mode is incremental, which needs "
                "the canonical names in the database itself. Give them by a view, or set the mode to snapshot."
            )
        self._mapped: MappedInput | None = None
        self._increments = Increments(watermark or {}, overlap_hours, reconcile_every_days)
        self._position = Position()
        self.pull: Pull | None = None
        """What the last `query` covers, in incremental mode."""

    def fingerprint(self, table: str) -> str:
        """What the server counted of changes to the table, its place and its columns; see `postgres_catalog.state`.

        Raises:
            ToolUnavailable: The server cannot be reached.
            SourceError: It refuses, or a required table is not there.
        """
        import psycopg2

        with self._server.transaction(table) as cursor:
            try:
                relation = self._relation(cursor, table)
                if relation is None:
                    return content_key(table, "nothing")
                found = catalog.columns(cursor, relation)
                state: tuple[Any, ...] = (
                    self._increments.period(cursor) if self.is_incremental else 0,
                    *catalog.state(cursor, relation, TABLES[table].known_at if _has_known_at(found, table) else ""),
                )
            except psycopg2.Error as err:
                raise self._server.refusal(table, self._names[table].sql, err) from None
        mapping = self._mappings.get(table)
        further = (mapping, sorted(self._further(table))) if mapping else ()
        return content_key(
            table, self._names[table], found, state, self._tombstones.get(table, ""), self.is_incremental, *further
        )

    def query(self, connection: "duckdb.DuckDBPyConnection", table: str) -> str | None:
        """The table's columns by name: those that are landed, or mapped, with their values, the others as nulls.

        Raises:
            ToolUnavailable: The server cannot be reached.
            SourceError: It refuses, or a required table is not there, or lacks a column that its mapping names.
            ConfigurationError: An expression of the mapping is not one, or does not fit its input.
        """
        import psycopg2

        mapping, self._mapped = self._mappings.get(table), None
        named = named_columns(connection, table, mapping, has_order=False) if mapping else ()
        session = self._server.begin(table)
        try:
            with session.cursor() as cursor:
                relation = self._relation(cursor, table)
                found = catalog.columns(cursor, relation) if relation else ()
                fields = self._fields(table, found, named)
                newer = self._newer(cursor, table, found, fields) if relation and self.is_incremental else ""
        except psycopg2.Error as err:
            session.close()
            raise self._server.refusal(table, self._names[table].sql, err) from None
        except E2IError:
            session.close()
            raise
        if relation is None:
            session.close()
            return None
        connection.register(STREAM, self._open(session, table, fields, newer).reader())
        read = {field.name for field in fields}
        selected = [quoted(c.name) if c.name in read else f"NULL::VARCHAR AS {quoted(c.name)}" for c in found]
        selected += [f"false AS {DELETED}"] if self.is_incremental and not self._tombstones.get(table) else []
        raw = f"SELECT {', '.join(selected)} FROM {STREAM}"
        return self._mapped_query(connection, table, mapping, raw) if mapping else raw

    def defects(self, connection: "duckdb.DuckDBPyConnection", table: str) -> tuple[DefectCount, ...]:
        """What did not fit a mapping; what does not fit its type is counted in landing, for all kinds."""
        return self._mapped.defects(connection) if self._mapped else ()

    def explain(self, table: str, error: Exception) -> E2IError:
        """What ended the reading of a table, without any value of a row."""
        import psycopg2

        failure = self._transfer.failure if self._transfer else None
        relation = self._names[table].sql
        if isinstance(failure, psycopg2.Error):
            return self._server.refusal(table, relation, failure)
        return SourceError(
            f"{table} ({relation} in {self._server.where}): what came over could not be read as the types that the "
            f"database names ({type(failure or error).__name__}). A database with the encoding SQL_ASCII holds bytes "
            "that are not UTF-8: convert it. Or the table was altered at that moment: run again."
        )

    def resume(self, position: Position) -> None:
        """Says how far earlier pulls of the table that is asked for next have come."""
        self._position = position

    def identity(self, table: str) -> str:
        """What a history of the table is one of: the same table of the same database, whatever leads there."""
        return content_key(self._server.database, self._names[table])

    def _mapped_query(
        self, connection: "duckdb.DuckDBPyConnection", table: str, mapping: TableMapping, raw: str
    ) -> str:
        connection.execute(f"CREATE TEMP TABLE {_RAW} AS {raw}")
        relation = f"SELECT * FROM {_RAW}"
        found = {name: dtype for name, dtype, *_ in connection.execute(f"DESCRIBE {relation}").fetchall()}
        where = f"{self._names[table].sql} in {self._server.where}"
        self._mapped = map_input(connection, table, mapping, relation, found, self._further(table), where)
        return self._mapped.query

    def _further(self, table: str) -> list[str]:
        """Columns beyond the data dictionary that are landed, or say what is deleted."""
        return [*self._covariates.get(table, {}), *filter(None, [self._tombstones.get(table)])]

    def _newer(self, cursor: Any, table: str, found: Sequence[catalog.Column], fields: Sequence[Field]) -> str:
        """The condition on what is new, empty for all."""
        read = tuple(f"{field.name} {field.dtype}" for field in fields)
        relation, tombstone = self._names[table].sql, self._tombstones.get(table, "")
        self.pull, condition = self._increments.next(cursor, table, relation, found, tombstone, read, self._position)
        return condition

    def _open(self, session: object, table: str, fields: tuple[Field, ...], newer: str) -> Transfer:
        columns = ", ".join(f"{field.expression} AS {quoted(field.name)}" for field in fields)
        statement = f"SELECT {columns} FROM {self._names[table].sql}{newer}"
        self._transfer = Transfer(session, statement, fields, self._batch_rows)
        return self._transfer

    def _relation(self, cursor: object, table: str) -> catalog.Relation | None:
        """The table in the database; None where an optional one is not there."""
        relation = catalog.relation(cursor, self._names[table])
        if relation is None and not TABLES[table].is_optional:
            near = catalog.tables_beside(cursor, self._names[table])
            raise SourceError(
                f"The database {self._server.where} has no {self._names[table].sql} for {table}, or this user may not "
                f"look into its schema. There: {', '.join(near) or 'nothing that this user may see'}. Set "
                f"source.postgres.tables.{table} or .schema; or GRANT USAGE ON SCHEMA; or declare the table in "
                "source.absent.tables."
            )
        return relation

    def _fields(self, table: str, found: Collection[catalog.Column], named: Collection[str] = ()) -> tuple[Field, ...]:
        schema = TABLES[table].with_columns(self._covariates.get(table, {}))
        wanted = {**dict.fromkeys(named, ""), **_landed(schema, self._absent.get(table, ()))}
        for name, column in self._mappings[table].columns.items() if table in self._mappings else ():
            if column.column and name in schema.names:  # an identifier keeps its digits
                wanted[column.column] = schema.column(name).dtype
        tombstone = self._tombstones.get(table, "")
        fields = [catalog.field(c, wanted[c.name]) for c in found if c.name in wanted]
        fields += [catalog.field(c, "") for c in found if c.name == tombstone and c.name not in wanted]
        return tuple(fields) or (Field("e2i_nothing", "1", "INTEGER"),)  # landing says what is missing


def _landed(schema: TableSchema, absent: Collection[str]) -> dict[str, str]:
    """Canonical type by column, of those that are landed."""
    return {c.name: c.dtype for c in schema.columns if c.privacy != DIRECT and c.name not in absent}


def _has_known_at(found: Collection[catalog.Column], table: str) -> bool:
    return any(column.name == TABLES[table].known_at for column in found)

# ruff: noqa: TID253 - imported by Feast alone, or inside functions
"""Feast's PostgreSQL online store, written in bulk and read with the TTL; the layout is Feast's.

`feature_store.yaml` names `BulkPostgreSQLOnlineStore`. A batch goes by binary COPY: entities that are new straight into
Feast's table, others into a temporary one, and from there where they are newer.
"""

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pyarrow as pa
from feast import FeatureView, RepoConfig
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.postgres_online_store.postgres import PostgreSQLOnlineStore, PostgreSQLOnlineStoreConfig
from feast.infra.utils.postgres.connection_utils import _get_conn, _get_connection_pool
from feast.infra.utils.postgres.postgres_config import ConnectionType
from psycopg import sql
from psycopg.connection import Connection
from psycopg.errors import UniqueViolation
from pydantic import StrictStr

from e2i_pipeline.resources.feast_stores.encoding import Rows, is_versioned, rows_of, settings
from e2i_pipeline.resources.feast_stores.expiry import ExpiringReads

_logger = logging.getLogger(__name__)

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_EPOCH = 946_684_800_000_000
"""2000-01-01, from which PostgreSQL counts, in microseconds since 1970."""


class _Ready(NamedTuple):
    """A batch: each entity's key, and its rows, one per feature, in PostgreSQL's binary format."""

    keys: list[bytes]
    copied: list[bytes]


class BulkPostgreSQLOnlineStoreConfig(PostgreSQLOnlineStoreConfig):
    """Feast's own settings."""

    type: StrictStr = f"{__name__}.BulkPostgreSQLOnlineStore"  # pyright: ignore[reportIncompatibleVariableOverride]


class BulkPostgreSQLOnlineStore(ExpiringReads, PostgreSQLOnlineStore):
    """A PostgreSQL database."""

    sends_aside = True

    @contextmanager
    def _get_conn(self, config: RepoConfig, autocommit: bool = False) -> Iterator[Connection]:
        """As Feast's, which insists on its own type's name, and keeps a pool's connection after an error."""
        online = settings(config)
        if online.conn_type != ConnectionType.pool:
            if not self._conn:
                self._conn = _get_conn(online)
            self._conn.set_autocommit(autocommit)
            yield self._conn
            return
        if not self._conn_pool:
            self._conn_pool = _get_connection_pool(online)
            self._conn_pool.open()
        with self._conn_pool.connection() as connection:
            connection.set_autocommit(autocommit)
            yield connection

    def writes_in_bulk(self, config: RepoConfig) -> bool:
        """Vectors and numbers for search have columns of their own, which Feast's own writer fills."""
        online = settings(config)
        return not (online.vector_enabled or online.enable_openai_compatible_store)

    def bulk_ready(self, config: RepoConfig, view: FeatureView, batch: pa.RecordBatch) -> _Ready:
        """The batch as COPY takes it."""
        rows = rows_of(view, batch)
        return _Ready(rows.keys, _copied(rows))

    def bulk_send(self, config: RepoConfig, view: FeatureView, ready: _Ready, overwrite: bool) -> None:
        """Writes a batch in one transaction; see `writing.BulkStore`.

        Entities that are not there go straight into Feast's table, which takes a third of the time of looking for a
        conflict in each row.
        """
        table = sql.Identifier(compute_table_id(config.project, view, is_versioned(config)))
        with self._get_conn(config) as connection, connection.transaction():
            with connection.cursor(binary=True) as cursor:
                known = {bytes(key) for (key,) in cursor.execute(_KNOWN.format(table=table), [ready.keys])}
            there = ready.copied
            try:
                with connection.transaction():
                    _copy(connection, table, _split(ready, known, is_known=False))
                    there = _split(ready, known, is_known=True)
            except UniqueViolation:  # a push wrote one of the new entities just now
                _logger.info("An entity of a batch was pushed meanwhile; the batch is merged.")
            if there:
                connection.execute(_STAGING.format(table=table))
                _copy(connection, sql.Identifier("e2i_batch"), there)
                connection.execute(_merge(table, overwrite))


def _split(ready: _Ready, known: set[bytes], is_known: bool) -> list[bytes]:
    if not known:
        return [] if is_known else ready.copied
    return [row for key, row in zip(ready.keys, ready.copied, strict=True) if (key in known) is is_known]


def _copy(connection: Connection, table: sql.Identifier, rows: list[bytes]) -> None:
    if rows:
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(table, _COLUMNS)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(b"".join((_HEADER, *rows, _END)))


def _merge(table: sql.Identifier, overwrite: bool) -> sql.Composed:
    """From the batch into Feast's table; of two rows the newer one stays."""
    newer = (
        ""
        if overwrite
        else " WHERE (excluded.event_ts, coalesce(excluded.created_ts, '-infinity'))"
        " >= (there.event_ts, coalesce(there.created_ts, '-infinity'))"
    )
    return sql.SQL(
        "INSERT INTO {table} AS there ({columns}) SELECT {columns} FROM e2i_batch"
        " ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = excluded.value,"
        " value_text = excluded.value_text, event_ts = excluded.event_ts, created_ts = excluded.created_ts {newer}"
    ).format(table=table, columns=_COLUMNS, newer=sql.SQL(newer))


_COLUMNS = sql.SQL("feature_name, value, value_text, entity_key, event_ts, created_ts")

_STAGING = sql.SQL("CREATE TEMPORARY TABLE e2i_batch ON COMMIT DROP AS SELECT * FROM {table} WHERE false")

_KNOWN = sql.SQL(
    "SELECT k FROM unnest(%b::bytea[]) k CROSS JOIN LATERAL (SELECT FROM {table} t WHERE t.entity_key = k LIMIT 1) t"
)
"""Which entities are there: one look into the index each, whatever the planner knows of the table."""


def _copied(rows: Rows) -> list[bytes]:
    """Each entity's rows in PostgreSQL's binary format (https://www.postgresql.org/docs/current/sql-copy.html)."""
    created = _times(rows.created) if rows.created else [_NULL] * len(rows.keys)
    tails = [_field(k) + e + c for k, e, c in zip(rows.keys, _times(rows.event), created, strict=True)]
    columns = []
    for name, feature in rows.features.items():
        head = struct.pack(">h", 6) + _field(name.encode())
        columns.append(feature.each(lambda value, text, head=head: head + _field(value) + _text(text)))
    return [tail.join((*heads, b"")) for tail, *heads in zip(tails, *columns, strict=True)]


def _times(microseconds: list[int]) -> list[bytes]:
    made = {m: _field(struct.pack(">q", m - _EPOCH)) for m in set(microseconds)}
    return [made[m] for m in microseconds]


def _text(value: str | None) -> bytes:
    # PostgreSQL keeps no NUL in a text; Feast's own writer fails on it
    return _NULL if value is None else _field(value.replace("\0", "").encode())


def _field(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value

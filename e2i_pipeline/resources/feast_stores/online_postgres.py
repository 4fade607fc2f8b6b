# ruff: noqa: TID253 - imported by Feast alone, or inside functions
"""Feast's PostgreSQL online store, written in bulk and read with the TTL; the layout is Feast's.

`feature_store.yaml` names `BulkPostgreSQLOnlineStore`. A batch goes by binary COPY: entities that are new straight into
Feast's table, others into a temporary one, and from there where they are newer. The bytes of a batch are put together
column by column in Arrow: row by row they took longer than the server takes to write them.
"""

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
    copied: pa.LargeBinaryArray


class BulkPostgreSQLOnlineStoreConfig(PostgreSQLOnlineStoreConfig):
    """Feast's own settings."""

    type: StrictStr = f"{__name__}.BulkPostgreSQLOnlineStore"  # pyright: ignore[reportIncompatibleVariableOverride]


class BulkPostgreSQLOnlineStore(ExpiringReads, PostgreSQLOnlineStore):
    """A PostgreSQL database."""

    senders = 2  # the server is busier than this process: two of its processes share the work

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

    @contextmanager
    def _sending(self, config: RepoConfig) -> Iterator[Connection]:
        """A connection that no other thread has: outside a pool Feast keeps one for all."""
        online = settings(config)
        if online.conn_type == ConnectionType.pool:
            with self._get_conn(config) as connection:
                yield connection
        else:
            with _get_conn(online) as connection:
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
        conflict in each row. Batches come in order of the keys, so that in a first fill nothing lies between the first
        and the last key of one, and none is looked for.
        """
        table = sql.Identifier(compute_table_id(config.project, view, is_versioned(config)))
        with self._sending(config) as connection, connection.transaction():
            known = _known(connection, table, ready.keys)
            there = ready.copied
            try:
                with connection.transaction():
                    _copy(connection, table, _split(ready, known, is_known=False))
                    there = _split(ready, known, is_known=True)
            except UniqueViolation:  # a push wrote one of the new entities just now
                _logger.info("An entity of a batch was pushed meanwhile; the batch is merged.")
            if len(there):
                connection.execute(_STAGING.format(table=table))
                _copy(connection, sql.Identifier("e2i_batch"), there)
                connection.execute(_merge(table, overwrite))


def _known(connection: Connection, table: sql.Identifier, keys: list[bytes]) -> set[bytes]:
    with connection.cursor(binary=True) as cursor:
        nearest = cursor.execute(_NEAREST.format(table=table), [min(keys)]).fetchone()
        if nearest is None or bytes(nearest[0]) > max(keys):
            return set()
        return {bytes(key) for (key,) in cursor.execute(_KNOWN.format(table=table), [keys])}


def _split(ready: _Ready, known: set[bytes], is_known: bool) -> pa.LargeBinaryArray:
    if not known:
        return ready.copied.slice(0, 0) if is_known else ready.copied
    return ready.copied.filter(pa.array([(key in known) is is_known for key in ready.keys]))


def _copy(connection: Connection, table: sql.Identifier, rows: pa.LargeBinaryArray) -> None:
    if len(rows):
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(table, _COLUMNS)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for part in (_HEADER, _bytes(rows), _END):
                copy.write(part)


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

_NEAREST = sql.SQL("SELECT entity_key FROM {table} WHERE entity_key >= %b ORDER BY entity_key LIMIT 1")
"""The first key from one on; in this form the planner goes by the index, too, before it knows anything of the table."""

_KNOWN = sql.SQL(
    "SELECT k FROM unnest(%b::bytea[]) k CROSS JOIN LATERAL (SELECT FROM {table} t WHERE t.entity_key = k LIMIT 1) t"
)
"""Which entities are there: one look into the index each, whatever the planner knows of the table."""


def _copied(rows: Rows) -> pa.LargeBinaryArray:
    """Each entity's rows in PostgreSQL's binary format (https://www.postgresql.org/docs/current/sql-copy.html).

    In the order of the table's primary key, where the entities are.
    """
    count = len(rows.keys)
    tail = _joined(_keys(rows.keys), _times(rows.event, count), _times(rows.created, count))
    parts = []
    for name, feature in sorted(rows.features.items()):
        head = struct.pack(">h", 6) + _field(name.encode())
        made = [head + _field(value) + _text(text) for value, text in zip(feature.values, feature.texts, strict=True)]
        parts += [pa.array(made, pa.large_binary()).take(pa.array(feature.index, pa.int32())), tail]
    return _joined(*parts) if parts else tail.slice(0, 0)


def _joined(*parts: pa.LargeBinaryArray) -> pa.LargeBinaryArray:
    return pc.call_function("binary_join_element_wise", [*parts, pa.scalar(b"", pa.large_binary())])


def _bytes(rows: pa.LargeBinaryArray) -> memoryview:
    """The bytes of all rows, one after the other."""
    offsets = np.frombuffer(rows.buffers()[1], np.int64)[rows.offset : rows.offset + len(rows) + 1]
    return memoryview(rows.buffers()[2])[offsets[0] : offsets[-1]]


def _keys(keys: list[bytes]) -> pa.LargeBinaryArray:
    return _joined(_fixed(np.fromiter(map(len, keys), ">i4", len(keys))), pa.array(keys, pa.large_binary()))


def _times(microseconds: list[int] | None, rows: int) -> pa.LargeBinaryArray:
    if microseconds is None:
        return pa.array([_NULL] * rows, pa.large_binary())
    fields = np.empty(rows, [("length", ">i4"), ("moment", ">i8")])
    fields["length"], fields["moment"] = 8, np.asarray(microseconds, np.int64) - _EPOCH
    return _fixed(fields)


def _fixed(values: np.ndarray) -> pa.LargeBinaryArray:
    """The bytes of each value of an array."""
    width = values.dtype.itemsize
    made = pa.Array.from_buffers(pa.binary(width), len(values), [None, pa.py_buffer(values.tobytes())])
    return made.cast(pa.large_binary())


def _text(value: str | None) -> bytes:
    # PostgreSQL keeps no NUL in a text; Feast's own writer fails on it
    return _NULL if value is None else _field(value.replace("\0", "").encode())


def _field(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value

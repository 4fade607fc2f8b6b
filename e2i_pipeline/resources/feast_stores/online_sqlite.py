# ruff: noqa: TID253 - imported by Feast alone, or inside functions
"""Feast's SQLite online store, written in bulk and read with the TTL; the layout is Feast's.

`feature_store.yaml` names `BulkSqliteOnlineStore`. Feast keeps times in whole seconds here, so that of two rows within
one second the one that is written last stays.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

import pyarrow as pa
from feast import FeatureView, RepoConfig
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from pydantic import StrictStr

from e2i_pipeline.resources.engine import literal, quoted
from e2i_pipeline.resources.feast_stores.encoding import Encoded, is_versioned, rows_of, settings
from e2i_pipeline.resources.feast_stores.expiry import ExpiringReads

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - Feast's times are naive here, and so is the arithmetic
_LEAST = -(2**62)
_CACHE = "PRAGMA cache_size = -65536"
"""64 MiB of pages: SQLite's 2 MiB hold only the newest part of the indexes."""


class BulkSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """Feast's own settings."""

    type: StrictStr = f"{__name__}.BulkSqliteOnlineStore"  # pyright: ignore[reportIncompatibleVariableOverride]


class BulkSqliteOnlineStore(ExpiringReads, SqliteOnlineStore):
    """The embedded store."""

    senders = 0  # the work is done in this process

    def writes_in_bulk(self, config: RepoConfig) -> bool:
        """Vectors and numbers for search have columns of their own, which Feast's own writer fills."""
        online = settings(config)
        return not (online.vector_enabled or getattr(online, "enable_openai_compatible_store", False))

    def bulk_ready(self, config: RepoConfig, view: FeatureView, batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
        """The parameters of a statement per entity, in order of the key: next to each other in the file."""
        rows = rows_of(view, batch)
        columns: list[Sequence[object]] = [rows.keys, _stored(rows.event)]
        columns.append(_stored(rows.created) if rows.created else [None] * len(rows.keys))
        for feature in rows.features.values():
            columns += _value_and_text(feature)
        return sorted(zip(*columns, strict=True), key=itemgetter(0))

    def bulk_send(self, config: RepoConfig, view: FeatureView, ready: list[tuple[Any, ...]], overwrite: bool) -> None:
        """Writes a batch in one transaction; see `writing.BulkStore`."""
        table = compute_table_id(config.project, view, is_versioned(config))
        connection = self._get_conn(config)
        connection.execute(_CACHE)
        with connection:
            connection.executemany(_statement(table, [f.name for f in view.features], overwrite), ready)


def _value_and_text(feature: Encoded) -> tuple[list[bytes], list[str | None]]:
    return [feature.values[i] for i in feature.index], [feature.texts[i] for i in feature.index]


def _statement(table: str, features: list[str], overwrite: bool) -> str:
    """Writes all features of an entity at once: parameters are its key, its two times, then each value and its text."""
    places = [f"(?1, {literal(name)}, ?{4 + 2 * i}, ?{5 + 2 * i}, ?2, ?3)" for i, name in enumerate(features)]
    newer = (
        ""
        if overwrite
        else f""" WHERE (excluded.event_ts, ifnull(excluded.created_ts, {_LEAST}))
        >= (event_ts, ifnull(created_ts, {_LEAST}))"""
    )
    return f"""
        INSERT INTO {quoted(table)} (entity_key, feature_name, value, value_text, event_ts, created_ts)
        VALUES {", ".join(places)}
        ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = excluded.value, value_text = excluded.value_text,
        event_ts = excluded.event_ts, created_ts = excluded.created_ts{newer}"""


def _stored(microseconds: list[int]) -> list[int]:
    """Times as Feast has sqlite3 store them: naive ones in UTC, taken for local ones, in whole seconds.

    The reader turns them round in the same way, so that the machine's zone does not matter to it. A zone changes its
    offset at full quarters of an hour.
    """
    offset = {
        quarter: int((_EPOCH + timedelta(seconds=900 * quarter)).timestamp()) - 900 * quarter
        for quarter in {m // 900_000_000 for m in microseconds}
    }
    return [m // 1_000_000 + offset[m // 900_000_000] for m in microseconds]

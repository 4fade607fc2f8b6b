"""Fills the online store with the latest values known at a time.

Feast's own `materialize` looks at event time only, so that it would serve values before they were known. Rows are
written through Feast's own store all the same. Reading stands in `feast_reads.py`.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import FeatureRegistryRef, FeatureTableRef, OnlineFeaturesRef
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.engine import EngineResource, literal, parquet, quoted
from e2i_pipeline.storage.references import write_json

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import FeatureStore

WRITE_ROWS = 10_000
"""Rows per transaction: a reader of the embedded store waits for one of them at most, about 2 s."""


def fill(
    store: "FeatureStore", engine: EngineResource, registry: FeatureRegistryRef, until: datetime, record: Path
) -> OnlineFeaturesRef:
    """Writes each entity's latest row known at `until`.

    An entity that was served before and has no row now (left the source, or `until` went back) is overwritten by nulls.

    Args:
        store: The open store.
        engine: Reads the feature tables.
        registry: What was applied.
        until: Up to when.
        record: JSON file that remembers the last time: registry key, `until`, tables, rows and their rate.

    Returns:
        Rows written per view: those of the last time where it was for the same registry and the same `until`.
    """
    until = until.replace(tzinfo=UTC) if until.tzinfo is None else until.astimezone(UTC)
    last = last_fill(record) if record.is_file() else {}
    if (last.get("key"), last.get("until")) == (registry.key, until.isoformat()):
        return _filled(last)
    rows: dict[str, int] = {}
    begin = time.perf_counter()
    for view, table in registry.tables.items():
        if not table.is_absent:
            query = _changed(table, registry.key, until, last)
            rows[view] = sum(_write(store, view, batch) for batch in _batches(engine, query))
            start = datetime.fromisoformat(last["until"]) if last else datetime.fromtimestamp(0, UTC)
            store.registry.apply_materialization(store.get_feature_view(view), store.project, min(start, until), until)
    seconds = time.perf_counter() - begin
    tables = {view: table.location for view, table in registry.tables.items() if not table.is_absent}
    rate = sum(rows.values()) / seconds if any(rows.values()) else 0.0
    done = {"key": registry.key, "until": until.isoformat(), "tables": tables, "rows": rows, "rows_per_second": rate}
    write_json(record, done)
    return _filled(done)


def _filled(done: dict[str, Any]) -> OnlineFeaturesRef:
    return OnlineFeaturesRef(
        key=content_key(done["key"], done["until"]),
        until=datetime.fromisoformat(done["until"]),
        rows=done["rows"],
        rows_per_second=done["rows_per_second"],
    )


def last_fill(record: Path) -> dict[str, Any]:
    """What the record says of the last time the online store was filled.

    Raises:
        ToolRejected: It cannot be read, so that nothing is known about the store.
    """
    try:
        last = dict(json.loads(record.read_text(encoding="utf-8")))
        datetime.fromisoformat(last["until"])
        told = {"rows": dict(last["rows"]), "rows_per_second": float(last["rows_per_second"])}
        return {"key": last["key"], "until": last["until"], "tables": dict(last["tables"]), **told}
    except (ValueError, KeyError, TypeError) as err:
        raise ToolRejected(
            f"{record} should say what the online store was filled with, and cannot be read ({type(err).__name__}). "
            "Delete it together with the online store, and materialize online_features again: both are made anew."
        ) from err


def _changed(table: FeatureTableRef, key: str, until: datetime, last: dict[str, Any]) -> str:
    """Latest row known at `until` per entity whose latest row may be another than was written last."""
    entity = quoted(table.entity)
    known = f"SELECT * FROM {parquet(table.location)} WHERE created_timestamp <= {_moment(until)}"
    order = "event_timestamp DESC, created_timestamp DESC"
    latest = f"{known} QUALIFY row_number() OVER (PARTITION BY {entity} ORDER BY {order}) = 1"
    if not last:
        return latest
    before = datetime.fromisoformat(last["until"])
    if last["key"] == key and before <= until:
        return f"SELECT * FROM ({latest}) WHERE created_timestamp > {_moment(before)}"
    served = last["tables"].get(table.name, "")
    if not Path(served).is_file():
        return latest
    return f"""
        SELECT * FROM ({latest}) UNION ALL BY NAME
        SELECT {entity}, {_moment(until)} AS event_timestamp, {_moment(until)} AS created_timestamp FROM (
            SELECT {entity} FROM {parquet(served)} WHERE created_timestamp <= {_moment(before)}
            EXCEPT SELECT {entity} FROM ({known}))"""


def _moment(value: datetime) -> str:
    return f"TIMESTAMPTZ {literal(value.astimezone(UTC).isoformat())}"


def _batches(engine: EngineResource, query: str) -> Iterator["pa.Table"]:
    with engine.connect() as connection:
        table = connection.sql(query).to_arrow_table()
    for begin in range(0, table.num_rows, WRITE_ROWS):
        # Feast takes the first chunk of a table only, so each batch must be one chunk
        yield table.slice(begin, WRITE_ROWS).combine_chunks()


def _write(store: "FeatureStore", view: str, batch: "pa.Table") -> int:
    import pandas as pd

    # Arrow types survive: plain pandas would turn whole numbers with nulls into floats
    frame = batch.to_pandas(types_mapper=pd.ArrowDtype)
    store.provider.ingest_df(store.get_feature_view(view), frame)
    return batch.num_rows

"""Fills the online store with the latest values known at a time, and keeps the books of it.

What is written when it is unchanged, interrupted, taken back or made from other tables stands here; which row of an
entity counts stands in `feast_stores/latest.py`, how a store is written in `feast_stores/writing.py`. Reading stands in
`feast_reads.py`.
"""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import FeatureRegistryRef, FeatureTableRef, OnlineFeaturesRef, OnlineWindow
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.engine import EngineResource, parquet, quoted
from e2i_pipeline.resources.feast_stores.latest import CREATED, EVENT, Source, in_key_order, latest, moment
from e2i_pipeline.storage.references import write_json

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView

KEPT_WINDOWS = 100
"""Windows that the record keeps, the latest ones."""

SAMPLED = 5
"""Entities per view that are looked for, to tell whether a store is still what was filled."""

_START = datetime.fromtimestamp(0, UTC)


class _Part(NamedTuple):
    """Rows to be written: a query in a total order, and whether older rows overwrite newer ones."""

    query: str
    overwrite: bool


def fill(
    store: "FeatureStore", engine: EngineResource, registry: FeatureRegistryRef, until: datetime, record: Path
) -> OnlineFeaturesRef:
    """Writes each entity's latest row known at `until`.

    Only what became known since the last time is written, where the tables are the same. A row never overwrites a newer
    one, which a live push may have written, except where what was written last time no longer holds: the entity's row
    is an older one now, the entity left the source (its values are null then), or `until` went back.

    It may be killed at any point: the next call for the same registry and `until` goes on behind the last batch that
    the record knows of, and writes a batch that it does not know of once more, which changes nothing.

    Args:
        store: The open store.
        engine: Reads the feature tables.
        registry: What was applied.
        until: Up to when.
        record: JSON file that remembers the last time (registry key, `until`, tables, rows and their rate), the windows
            filled so far, and one under way.

    Returns:
        Rows written per view: those of the last time where it was for the same registry and the same `until`.
    """
    until = until.replace(tzinfo=UTC) if until.tzinfo is None else until.astimezone(UTC)
    last = last_fill(record) if record.is_file() else {}
    if is_filled(last, registry.key, until):
        return _filled(last)
    tables = {view: table for view, table in registry.tables.items() if not table.is_absent}
    locations = {view: table.location for view, table in tables.items()}
    going = _under_way(last, registry.key, until, locations)
    books = {**last, "under_way": going}
    views = {view: store.get_feature_view(view) for view in tables}
    # makes what a lost store lacks; what is there stays
    store.provider.online_store.update(store.config, [], list(views.values()), [], [], partial=True)
    for view, table in tables.items():
        done = going["views"].setdefault(view, {"parts": [], "rows": 0, "seconds": 0.0, "is_done": False})
        if not done["is_done"]:
            parts = _parts(table, views[view], registry.key, until, going["from"])
            for _ in _write(store, engine, views[view], parts, done):
                write_json(record, books)
            start = _start(going["from"], until)
            store.registry.apply_materialization(views[view], store.project, start, until)
            done["is_done"] = True
            write_json(record, books)
    finished = _finished(last, going, until)
    write_json(record, finished)
    return _filled(finished)


def is_filled(last: Mapping[str, Any], key: str, until: datetime) -> bool:
    """Whether the record says that the last fill was this one, and that no other began after it."""
    return not last.get("under_way") and (last.get("key"), last.get("until")) == (key, until.isoformat())


def _under_way(last: Mapping[str, Any], key: str, until: datetime, tables: dict[str, str]) -> dict[str, Any]:
    """The fill that was under way, if it was this one; else a new one, from all that may have been written so far."""
    before = last.get("under_way") or {}
    if (before.get("key"), before.get("until")) == (key, until.isoformat()):
        return before
    names = ("key", "until", "tables")
    served = [{**{name: last[name] for name in names}, "is_whole": True}] if "key" in last else []
    if before:
        served = [*before["from"], {**{name: before[name] for name in names}, "is_whole": False}]
    return {"key": key, "until": until.isoformat(), "from": served, "tables": tables, "views": {}}


def _start(served: list[dict[str, Any]], until: datetime) -> datetime:
    """From when on a window counts: from where the last one ended, if it went forward."""
    return min(_whole_until(served) or _START, until)


def _whole_until(served: list[dict[str, Any]]) -> datetime | None:
    """Up to when the last fill that was not broken off went."""
    return max((datetime.fromisoformat(one["until"]) for one in served if one["is_whole"]), default=None)


def _finished(last: Mapping[str, Any], going: Mapping[str, Any], until: datetime) -> dict[str, Any]:
    rows = {view: done["rows"] for view, done in going["views"].items()}
    seconds = sum(done["seconds"] for done in going["views"].values())
    start = _start(going["from"], until).isoformat()
    windows = [
        {"view": view, "start": start, "end": until.isoformat(), "rows": done["rows"], "seconds": done["seconds"]}
        for view, done in going["views"].items()
    ]
    return {
        **{name: going[name] for name in ("key", "until", "tables")},
        "rows": rows,
        "rows_per_second": sum(rows.values()) / seconds if any(rows.values()) else 0.0,
        "windows": [*last.get("windows", []), *windows][-KEPT_WINDOWS:],
    }


def _filled(done: dict[str, Any]) -> OnlineFeaturesRef:
    windows = done["windows"][len(done["windows"]) - len(done["rows"]) :]
    return OnlineFeaturesRef(
        key=content_key(done["key"], done["until"]),
        until=datetime.fromisoformat(done["until"]),
        rows=done["rows"],
        rows_per_second=done["rows_per_second"],
        windows=tuple(OnlineWindow.model_validate(w) for w in windows),
    )


def last_fill(record: Path) -> dict[str, Any]:
    """What the record says of the last time the online store was filled, and of a fill that is under way.

    Raises:
        ToolRejected: It cannot be read, so that nothing is known about the store.
    """
    try:
        last = dict(json.loads(record.read_text(encoding="utf-8")))
        if going := last.get("under_way"):
            _ = going["key"], going["until"], going["from"], going["tables"], going["views"]
        if not going or "key" in last:
            datetime.fromisoformat(last["until"])
            last = {**last, "rows": dict(last["rows"]), "rows_per_second": float(last["rows_per_second"])}
            _ = last["key"], dict(last["tables"])
        return {**last, "windows": list(last.get("windows", []))}
    except (ValueError, KeyError, TypeError) as err:
        raise ToolRejected(
            f"{record} should say what the online store was filled with, and cannot be read ({type(err).__name__}). "
            "Delete it together with the online store, and materialize online_features again: both are made anew."
        ) from err


def _source(location: str, entity: str, view: "FeatureView") -> Source:
    """A feature table of the pipeline's own as SQL."""
    return Source(
        table=parquet(location),
        keys={entity: entity},
        features={field.name: field.name for field in view.features},
        event="event_timestamp",
        created="created_timestamp",
        bound="<" if view.tags.get("bound") == "<" else "<=",
    )


def _parts(
    table: FeatureTableRef, view: "FeatureView", key: str, until: datetime, served: list[dict[str, Any]]
) -> list[_Part]:
    """What may be another row than was written before."""
    source = _source(table.location, table.entity, view)
    now = latest(source, until)
    entity = quoted(table.entity)
    if not served:
        return [_Part(in_key_order(now, [table.entity]), overwrite=False)]
    untils = [datetime.fromisoformat(one["until"]) for one in served]
    if all(one["key"] == key for one in served) and max(untils) <= until:
        since = _whole_until(served)
        return [_Part(in_key_order(latest(source, until, since), [table.entity]), overwrite=False)]
    went_back = max(untils) > until
    before = [
        f"SELECT {entity}, {EVENT}, {CREATED} FROM ({latest(old, datetime.fromisoformat(one['until']))})"
        for one in served
        if (old := _old_source(source, one, table, key)) is not None
    ]
    if not before:  # what was served is not known any more
        return [_Part(in_key_order(now, [table.entity]), overwrite=went_back)]
    old = (
        f"SELECT * FROM ({' UNION ALL '.join(before)}) "
        f"QUALIFY row_number() OVER (PARTITION BY {entity} ORDER BY {EVENT} DESC, {CREATED} DESC) = 1"
    )
    is_older = f"n.{EVENT} < o.{EVENT} OR (n.{EVENT} = o.{EVENT} AND n.{CREATED} < o.{CREATED})"
    is_older = "true" if went_back else f"coalesce({is_older}, false)"
    compared = f"SELECT n.*, {is_older} AS is_older FROM ({now}) n LEFT JOIN ({old}) o USING ({entity})"
    # older than all real rows, so that an entity that comes back is written like a new one
    nobody = f"SELECT {entity}, {moment(_START)} AS {EVENT}, {moment(_START)} AS {CREATED} FROM ({old}) o"
    left = f"{nobody} WHERE {entity} NOT IN (SELECT {entity} FROM ({now}))"
    rows = f"SELECT * EXCLUDE (is_older) FROM ({compared})"
    return [
        _Part(in_key_order(f"{rows} WHERE NOT is_older", [table.entity]), overwrite=False),
        _Part(in_key_order(f"{rows} WHERE is_older", [table.entity]), overwrite=True),
        _Part(in_key_order(left, [table.entity]), overwrite=True),
    ]


def _old_source(source: Source, served: Mapping[str, Any], table: FeatureTableRef, key: str) -> Source | None:
    """The table that was served from, its times only; None where it is gone."""
    location = table.location if served["key"] == key else served["tables"].get(table.name, "")
    return source._replace(table=parquet(location), features={}) if Path(location).is_file() else None


def _write(
    store: "FeatureStore", engine: EngineResource, view: "FeatureView", parts: list[_Part], done: dict[str, Any]
) -> Iterator[None]:
    """Writes what is not written yet, and yields after each batch, when `done` knows of it."""
    from e2i_pipeline.resources.feast_stores.writing import WRITE_ROWS, write

    for number, part in enumerate(parts):
        if number == len(done["parts"]):
            done["parts"].append(0)
        begin = time.perf_counter()
        with engine.connect() as connection:
            query = f"{part.query} OFFSET {done['parts'][number]}"
            batches = connection.sql(query).to_arrow_reader(WRITE_ROWS)
            for rows in write(store.provider.online_store, store.config, view, batches, part.overwrite):
                done["parts"][number] += rows
                done["rows"] += rows
                done["seconds"] += time.perf_counter() - begin
                begin = time.perf_counter()
                yield


def holds(store: "FeatureStore", engine: EngineResource, last: Mapping[str, Any]) -> bool:
    """Whether the online store holds what the record says, by a few entities of each view.

    A server that was lost, emptied or put back from an old copy is noticed; so is another one behind the same name.
    Where the tables of that time are gone nothing can be said, and the record is believed.
    """
    views = {view.name: view for view in store.list_feature_views()}
    until = datetime.fromisoformat(last["until"]) if "key" in last else None
    tables = last["tables"] if until else {}
    return all(
        _is_sample_there(store, engine, views[name], location, until)
        for name, location in tables.items()
        if until and name in views and Path(location).is_file()
    )


def _is_sample_there(
    store: "FeatureStore", engine: EngineResource, view: "FeatureView", location: str, until: datetime
) -> bool:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    from e2i_pipeline.resources.feast_stores.expiry import aware, keeping_expired

    key = view.entity_columns[0].name
    known = latest(_source(location, key, view)._replace(features={}), until)
    sample = f"SELECT CAST({quoted(key)} AS VARCHAR) AS who, {EVENT} FROM ({known})"
    with engine.connect() as connection:
        wanted = connection.execute(f"SELECT * FROM ({sample}) ORDER BY hash(who), who LIMIT {SAMPLED}").fetchall()
    keys = [EntityKey(join_keys=[key], entity_values=[Value(string_val=who)]) for who, _ in wanted]
    with keeping_expired():
        found = store.provider.online_read(store.config, view, keys, [view.features[0].name]) if keys else []
    return all(
        # some stores keep whole seconds
        values is not None and there is not None and aware(there) >= aware(event).replace(microsecond=0)
        for (_, event), (there, values) in zip(wanted, found, strict=True)
    )


def is_sqlite(config: Path) -> bool:
    """Whether a Feast configuration names the embedded online store; Feast is not imported."""
    import yaml

    online = yaml.safe_load(config.read_text(encoding="utf-8")).get("online_store") or {}
    kind = str(online.get("type", "sqlite") if isinstance(online, dict) else online)
    return kind == "sqlite" or kind.endswith("SqliteOnlineStore")

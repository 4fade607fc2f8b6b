"""Which row of an entity the online store holds at a moment, as SQL for the engine.

The last one that was known then: `visible = max(event, created)` is at most the moment (or before it, where the view
declares `bound: "<"`), and of those rows the one with the greatest (event, created). Writing it belongs to the stores.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from e2i_pipeline.resources.engine import literal, quoted

EVENT, CREATED = "e2i_event", "e2i_created"
"""Columns of a row's event time and known-at time: UTC without a zone, microseconds."""

_VISIBLE = "e2i_visible"


class Source(NamedTuple):
    """A view's table, and what its columns are.

    Attributes:
        table: A relation in SQL.
        keys: Columns of the entity's key, by join key.
        features: Columns by feature.
        event: Column of the event time.
        created: Column of the known-at time; empty where there is none.
        bound: `<=` or `<`.
    """

    table: str
    keys: Mapping[str, str]
    features: Mapping[str, str]
    event: str
    created: str = ""
    bound: str = "<="


def rows_known(source: Source, until: datetime) -> str:
    """All rows known at a moment: join keys, features, `EVENT`, `CREATED`, and when each became visible.

    A row without a key, or without one of its times, is never seen.
    """
    columns = [f"{quoted(column)} AS {quoted(name)}" for name, column in {**source.keys, **source.features}.items()]
    event = _utc(source.event)
    times = [f"{event} AS {EVENT}"]
    visible = event
    if source.created:
        created = _utc(source.created)
        times.append(f"{created} AS {CREATED}")
        visible = f"greatest({event}, {created})"
    there = [f"{quoted(column)} IS NOT NULL" for column in (*source.keys.values(), *_times(source))]
    return (
        f"SELECT {', '.join([*columns, *times])}, {visible} AS {_VISIBLE} FROM {source.table} "
        f"WHERE {' AND '.join(there)} AND {visible} {source.bound} {moment(until)}"
    )


def latest(source: Source, until: datetime, since: datetime | None = None) -> str:
    """The row of each entity at a moment: join keys, features, `EVENT`, and `CREATED` where there is one.

    Args:
        source: The view's table.
        until: The moment.
        since: Leaves out entities whose row was visible before: it was there already.
    """
    order = ", ".join(f"{column} DESC" for column in _own_times(source))
    # a view without keys has one row
    entity = f"PARTITION BY {', '.join(map(quoted, source.keys))} " if source.keys else ""
    # over columns, not over aliases: within a join those would be taken for the other side's
    won = f"SELECT * FROM ({rows_known(source, until)}) QUALIFY row_number() OVER ({entity}ORDER BY {order}) = 1"
    new = f" WHERE {_VISIBLE} >= {moment(since)}" if since else ""
    return f"SELECT * EXCLUDE ({_VISIBLE}) FROM ({won}){new}"


def in_key_order(query: str, keys: Sequence[str]) -> str:
    """A query's rows in about the order of their serialized keys, so that a store's index grows at its end.

    Feast serializes the length of a text before the text, both after what all keys have in common.
    """
    order = [part for key in map(quoted, keys) for part in (f"length(CAST({key} AS VARCHAR))", key)]
    return f"SELECT * FROM ({query}) ORDER BY {', '.join(order)}" if keys else query


def moment(value: datetime) -> str:
    """A moment as SQL: UTC, without a zone, as the columns of these queries are."""
    utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return f"TIMESTAMP {literal(utc.replace(tzinfo=None).isoformat(sep=' '))}"


def _utc(column: str) -> str:
    """A time of any type (naive ones are UTC, as the session is) without its zone, in UTC."""
    return f"CAST(CAST({quoted(column)} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS TIMESTAMP)"


def _times(source: Source) -> tuple[str, ...]:
    return (source.event, source.created) if source.created else (source.event,)


def _own_times(source: Source) -> tuple[str, ...]:
    return (EVENT, CREATED) if source.created else (EVENT,)

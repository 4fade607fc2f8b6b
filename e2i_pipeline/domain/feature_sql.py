"""The SQL that feature tables are made of (DuckDB): facts, and what is known of them at each time.

How a table is built. Every source row becomes a *fact* with an event time and a known-at time. A fact is visible from
`visible = max(event, known)` on. Facts are put in the order of `visible`, not of the event: each distinct `visible` of
an entity makes one row, which holds the aggregate over all facts visible until then. So a late fact makes a new row
when it becomes known, whatever its event time, and never changes an earlier row. A row carries

- `created_timestamp` = `visible`,
- `event_timestamp` = the latest event among its facts, which never falls as `visible` rises.

At a time t Feast takes the last row by (event, created) among those with both <= t. As `event_timestamp` rises with
`created_timestamp` and never exceeds it, that is the last row with `visible` <= t: exactly the facts known at t.

Strictness. A source with dates only must not show an event of the day at its midnight (the outcome counts from that day
on): its event time is midnight plus one microsecond, Feast's resolution, so that Feast's `<=` is a strict `<`. A
journey's baseline, a profile and a touch are visible at their own time (`<=`).

Which view holds what stands in `feature_tables.py`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from e2i_pipeline.contracts.references import TableRef


class Measure(NamedTuple):
    """An aggregate in two steps: over the facts of one moment, then over the moments so far.

    Attributes:
        partial: Aggregate over fact rows, in SQL.
        merge: `sum`, `min`, `max` or `list`: how the partial aggregates combine.
        days: Merge the moments of the last so many days only; None merges all of them.
    """

    partial: str
    merge: str
    days: int | None = None


class Relations(NamedTuple):
    """The staged tables and where SQL finds them; absent ones are in neither.

    Attributes:
        tables: References by canonical name.
        sql: SQL relations by canonical name.
    """

    tables: Mapping[str, TableRef]
    sql: Mapping[str, str]

    def has(self, table: str, column: str = "") -> bool:
        """Whether the table is there, and has the column."""
        return table in self.sql and (not column or self.tables[table].has(column))


def journeys(relations: Relations, columns: str = "") -> str:
    """Journey versions: `patient_id`, `event_at` (the index date), `known_at`, `visible`, and the given select list.

    The first version of a journey carries the baseline's known-at time; a later one restates it when it arrives. The
    select list may use `version_at`, when the version itself arrived.
    """
    return f"""
        SELECT patient_id, event_at, known_at, greatest(event_at, known_at) AS visible {columns}
        FROM (
            SELECT * EXCLUDE (known_at), known_at AS version_at, CAST(journey_start_date AS TIMESTAMP) AS event_at,
                CASE WHEN rank() OVER (PARTITION BY patient_journey_id ORDER BY known_at) = 1
                    THEN coalesce(baseline_known_at, known_at)
                    ELSE greatest(known_at, baseline_known_at) END AS known_at
            FROM {relations.sql["patient_journeys"]} WHERE known_at IS NOT NULL)
        WHERE patient_id IS NOT NULL AND event_at IS NOT NULL"""


def events(relations: Relations, columns: str = "") -> str:
    """Treatment events: `patient_id`, `event_at`, `known_at`, `visible` and the given select list."""
    return f"""
        SELECT patient_id, event_at, known_at, greatest(event_at, known_at) AS visible {columns}
        FROM (
            SELECT *, CAST(event_date AS TIMESTAMP) + INTERVAL 1 MICROSECOND AS event_at
            FROM {relations.sql["treatment_events"]})
        WHERE patient_id IS NOT NULL AND event_at IS NOT NULL AND known_at IS NOT NULL"""


def touches(relations: Relations, columns: str = "") -> str:
    """Touches: `hcp_id`, `patient_id` (null where it reached an HCP only), `event_at`, `visible`, the select list."""
    patient_id = "patient_id" if relations.has("engagement_events", "patient_id") else "NULL::VARCHAR AS patient_id"
    return f"""
        SELECT hcp_id, {patient_id}, event_timestamp AS event_at,
            greatest(event_timestamp, known_at) AS visible {columns}
        FROM {relations.sql["engagement_events"]}
        WHERE event_timestamp IS NOT NULL AND known_at IS NOT NULL"""


def profiles(relations: Relations, columns: str = "") -> str:
    """Profile versions: `hcp_id`, `event_at`, `known_at`, `visible` and the given select list."""
    event_at = "coalesce(updated_at, known_at)" if relations.has("hcp_profiles", "updated_at") else "known_at"
    return f"""
        SELECT hcp_id, {event_at} AS event_at, known_at, greatest({event_at}, known_at) AS visible {columns}
        FROM {relations.sql["hcp_profiles"]} WHERE hcp_id IS NOT NULL AND known_at IS NOT NULL"""


def cumulative(entity: str, facts: str, measures: Mapping[str, Measure]) -> str:
    """What is known of each entity after each moment at which something became visible.

    Args:
        entity: Join key.
        facts: Relation with the join key, `event_at`, `visible` and what the measures read.
        measures: Aggregates by column name.

    Returns:
        A SELECT statement: join key, `event_at`, `visible` and the measures, one row per entity and moment.
    """
    partial = listed({name: measure.partial for name, measure in measures.items()})
    merged = listed(
        {name: f"{m.merge}({quoted(name)}) OVER ({_moments(entity, m.days)})" for name, m in measures.items()}
    )
    return f"""
        SELECT {entity}, visible, max(event_at) OVER ({_moments(entity)}) AS event_at {merged}
        FROM (
            SELECT {entity}, visible, max(event_at) AS event_at {partial}
            FROM ({facts}) WHERE {entity} IS NOT NULL GROUP BY {entity}, visible)"""


def feature_table(entity: str, known: str, columns: Mapping[str, str]) -> str:
    """The feature table: join key, both timestamps with time zone (for a session in UTC), then the columns."""
    return f"""
        SELECT {entity}, CAST(event_at AS TIMESTAMPTZ) AS event_timestamp,
            CAST(visible AS TIMESTAMPTZ) AS created_timestamp {listed(columns)}
        FROM ({known})"""


def union(*facts: str) -> str:
    """Facts of different tables together; a column that one lacks is null there."""
    return " UNION ALL BY NAME ".join(f"({fact})" for fact in facts if fact)


def listed(columns: Mapping[str, str]) -> str:
    """Expressions as the rest of a select list, each under its name."""
    return "".join(f", {expression} AS {quoted(name)}" for name, expression in columns.items())


def latest(order: str, value: str) -> str:
    """A struct whose maximum holds the latest value: by event time, then known-at time, then `order`."""
    return struct({"event_at": "event_at", "known_at": "known_at", "id": order, "value": value})


def struct(fields: Mapping[str, str]) -> str:
    """A struct of expressions; structs compare field by field."""
    return "{" + ", ".join(f"'{name}': {expression}" for name, expression in fields.items()) + "}"


def exact(number: str) -> str:
    """A number in millionths, so that a sum does not depend on the order in which threads add; no number is null."""
    return f"TRY_CAST({number} AS DECIMAL(28, 6))"


def quoted(identifier: str) -> str:
    """A column name as SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def _moments(entity: str, days: int | None = None) -> str:
    frame = "ROWS UNBOUNDED" if days is None else f"RANGE INTERVAL {days} DAYS"
    return f"PARTITION BY {entity} ORDER BY visible {frame} PRECEDING"

"""The SQL that feature tables are made of (DuckDB): facts, and what is known of them at each time.

How a table is built. Every source row becomes a *fact* with an event time and a known-at time. A fact is visible from
`visible = max(event, known)` on. Facts are put in the order of `visible`, not of the event: each distinct `visible` of
an entity makes one row, which holds the aggregate over all facts visible until then. So a late fact makes a new row
when it becomes known, whatever its event time, and never changes an earlier row. A row carries

- `created_timestamp` = `visible`,
- `event_timestamp` = the latest event among its facts, which never falls as `visible` rises.

A fact may cease to hold: its row was restated or deleted (`until`, null where it holds for good). Aggregates such as a
minimum cannot be undone, so facts that end are kept apart from the others: each moment merges the aggregate over the
lasting facts with the one over those that hold just then. When a fact ends, its entity gets a row as well.

At a time t Feast takes the last row by (event, created) among those with both <= t. As `event_timestamp` rises with
`created_timestamp` and never exceeds it, that is the last row with `visible` <= t: exactly the facts known at t.

Strictness. A source with dates only must not show an event of the day at its midnight (the outcome counts from that day
on): its event time is midnight plus one microsecond, Feast's resolution, so that Feast's `<=` is a strict `<`. A
journey's baseline and a profile are visible at their own time (`<=`); so is a touch, unless its view declares `<`.

Which view holds what stands in `feature_tables.py`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.contracts.tables import SUPERSEDED_AT


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
        bound: `<=` where a touch is seen at its own time, `<` where only afterwards.
    """

    tables: Mapping[str, TableRef]
    sql: Mapping[str, str]
    bound: str = "<="

    def has(self, table: str, column: str = "") -> bool:
        """Whether the table is there, and has the column."""
        return table in self.sql and (not column or self.tables[table].has(column))

    @property
    def can_end(self) -> bool:
        """Whether rows of any of the tables can cease to hold."""
        return any(self.has(table, SUPERSEDED_AT) for table in self.sql)

    def until(self, table: str) -> str:
        """When a row of the table ceased to hold, as an expression; null where it holds for good."""
        return SUPERSEDED_AT if self.has(table, SUPERSEDED_AT) else "NULL::TIMESTAMP"


def journeys(relations: Relations, columns: str = "") -> str:
    """Journey versions: `patient_id`, `event_at` (the index date), `known_at`, `visible`, `until`, the select list.

    The first version of a journey carries the baseline's known-at time; a later one restates it when it arrives. The
    select list may use `version_at`, when the version itself arrived.
    """
    return f"""
        SELECT patient_id, event_at, known_at, greatest(event_at, known_at) AS visible, until {columns}
        FROM (
            SELECT * EXCLUDE (known_at), known_at AS version_at, CAST(journey_start_date AS TIMESTAMP) AS event_at,
                {relations.until("patient_journeys")} AS until,
                CASE WHEN rank() OVER (PARTITION BY patient_journey_id ORDER BY known_at) = 1
                    THEN coalesce(baseline_known_at, known_at)
                    ELSE greatest(known_at, baseline_known_at) END AS known_at
            FROM {relations.sql["patient_journeys"]} WHERE known_at IS NOT NULL)
        WHERE patient_id IS NOT NULL AND event_at IS NOT NULL AND {_EVER}"""


def events(relations: Relations, columns: str = "") -> str:
    """Treatment events: `patient_id`, `event_at`, `known_at`, `visible`, `until` and the given select list."""
    return f"""
        SELECT patient_id, event_at, known_at, greatest(event_at, known_at) AS visible, until {columns}
        FROM (
            SELECT *, CAST(event_date AS TIMESTAMP) + INTERVAL 1 MICROSECOND AS event_at,
                {relations.until("treatment_events")} AS until
            FROM {relations.sql["treatment_events"]})
        WHERE patient_id IS NOT NULL AND event_at IS NOT NULL AND known_at IS NOT NULL AND {_EVER}"""


def touches(relations: Relations, columns: str = "") -> str:
    """Touches: `hcp_id`, `patient_id` (null where it reached an HCP only), `event_at`, `visible`, `until`, the rest."""
    patient_id = "patient_id" if relations.has("engagement_events", "patient_id") else "NULL::VARCHAR AS patient_id"
    # what counts one microsecond later, Feast's resolution, is seen strictly afterwards
    shift = " + INTERVAL 1 MICROSECOND" if relations.bound == "<" else ""
    return f"""
        SELECT hcp_id, {patient_id}, event_at, greatest(event_at, known_at) AS visible, until {columns}
        FROM (
            SELECT * REPLACE (known_at{shift} AS known_at), event_timestamp{shift} AS event_at,
                {relations.until("engagement_events")}{shift} AS until
            FROM {relations.sql["engagement_events"]})
        WHERE event_at IS NOT NULL AND known_at IS NOT NULL AND {_EVER}"""


def profiles(relations: Relations, columns: str = "") -> str:
    """Profile versions: `hcp_id`, `event_at`, `known_at`, `visible`, `until` and the given select list."""
    event_at = "coalesce(updated_at, known_at)" if relations.has("hcp_profiles", "updated_at") else "known_at"
    return f"""
        SELECT hcp_id, event_at, known_at, greatest(event_at, known_at) AS visible, until {columns}
        FROM (
            SELECT *, {event_at} AS event_at, {relations.until("hcp_profiles")} AS until
            FROM {relations.sql["hcp_profiles"]})
        WHERE hcp_id IS NOT NULL AND known_at IS NOT NULL AND {_EVER}"""


_EVER = "(until IS NULL OR until > greatest(event_at, known_at))"
"""What was restated or deleted before it could be seen was never a fact."""


def spells(keys: Sequence[str], facts: str) -> str:
    """From when until when something held for given keys, of facts that may overlap: one row per unbroken spell.

    Args:
        keys: Columns that name what is held; a fact that lacks one is in no spell.
        facts: Relation with the keys, `event_at`, `visible` and `until`.

    Returns:
        A SELECT statement: the keys, `event_at` (the first of the spell), `visible` and `until`.
    """
    listed_keys = ", ".join(keys)
    given = " AND ".join(f"{key} IS NOT NULL" for key in keys)
    before = f"OVER (PARTITION BY {listed_keys} ORDER BY visible ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    return f"""
        SELECT {listed_keys}, min(event_at) AS event_at, min(visible) AS visible,
            CASE WHEN count(until) = count(*) THEN max(until) END AS until
        FROM (
            SELECT *, sum(CAST(is_new AS INTEGER)) OVER
                (PARTITION BY {listed_keys} ORDER BY visible, is_new DESC ROWS UNBOUNDED PRECEDING) AS spell
            FROM (
                SELECT *, coalesce(visible > max(coalesce(until, TIMESTAMP 'infinity')) {before}, true) AS is_new
                FROM ({facts}) WHERE {given}))
        GROUP BY {listed_keys}, spell"""


def cumulative(entity: str, facts: str, measures: Mapping[str, Measure], can_end: bool) -> str:
    """What is known of each entity after each moment at which something became visible, or ceased to hold.

    Args:
        entity: Join key.
        facts: Relation with the join key, `event_at`, `visible`, `until` and what the measures read.
        measures: Aggregates by column name.
        can_end: Whether `until` is ever given; where not, what is needed for it is spared.

    Returns:
        A SELECT statement: join key, `event_at`, `visible` and the measures, one row per entity and moment.
    """
    partial = listed({name: measure.partial for name, measure in measures.items()})
    merged = listed(
        {name: f"{m.merge}({quoted(name)}) OVER ({_moments(entity, m.days)})" for name, m in measures.items()}
    )
    lasting = facts
    if can_end:
        lasting = f"""
            SELECT * FROM ({facts}) WHERE until IS NULL
            UNION ALL BY NAME SELECT {entity}, visible, event_at FROM ({facts}) WHERE until IS NOT NULL
            UNION ALL BY NAME SELECT {entity}, until AS visible FROM ({facts}) WHERE until IS NOT NULL"""
    known = f"""
        SELECT {entity}, visible, max(event_at) OVER ({_moments(entity)}) AS event_at {merged}
        FROM (
            SELECT {entity}, visible, max(event_at) AS event_at {partial}
            FROM ({lasting}) WHERE {entity} IS NOT NULL GROUP BY {entity}, visible)"""
    return _with_passing(entity, known, facts, measures) if can_end else known


def _with_passing(entity: str, known: str, facts: str, measures: Mapping[str, Measure]) -> str:
    """Adds to each moment the facts that hold just then and end later."""
    joined = ""
    columns: dict[str, str] = {}
    for days in sorted({m.days for m in measures.values()}, key=lambda d: d or 0):
        side = f"p{days or ''}"
        chosen = {name: m for name, m in measures.items() if m.days == days}
        recent = "" if days is None else f" AND f.visible >= m.visible - INTERVAL {days} DAYS"
        partial = listed({name: m.partial for name, m in chosen.items()})
        joined += f"""
            LEFT JOIN (
                SELECT {entity}, moment {partial}
                FROM (
                    SELECT f.*, m.visible AS moment FROM moments AS m JOIN passing AS f
                    ON f.{entity} = m.{entity} AND f.visible <= m.visible AND m.visible < f.until{recent})
                GROUP BY {entity}, moment) AS {side}
            ON {side}.{entity} = k.{entity} AND {side}.moment = k.visible"""
        columns |= {name: _merged(m.merge, f"k.{quoted(name)}", f"{side}.{quoted(name)}") for name, m in chosen.items()}
    return f"""
        WITH moments AS MATERIALIZED ({known}), passing AS MATERIALIZED (
            SELECT * FROM ({facts}) WHERE until IS NOT NULL AND {entity} IS NOT NULL)
        SELECT k.{entity}, k.visible, k.event_at {listed(columns)} FROM moments AS k {joined}"""


def _merged(merge: str, lasting: str, passing: str) -> str:
    """The merge of two aggregates, either of which may be null; lists are lists of lists."""
    both = {
        "sum": f"{lasting} + {passing}",
        "min": f"CASE WHEN {passing} < {lasting} THEN {passing} ELSE {lasting} END",
        "max": f"CASE WHEN {passing} > {lasting} THEN {passing} ELSE {lasting} END",
        "list": f"list_append({lasting}, {passing})",
    }[merge]
    alone = f"[{passing}]" if merge == "list" else passing
    return f"CASE WHEN {passing} IS NULL THEN {lasting} WHEN {lasting} IS NULL THEN {alone} ELSE {both} END"


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

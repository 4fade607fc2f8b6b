"""Which entities of a feature view a change of its source tables touches, and what is needed to compute them (DuckDB).

An entity's rows depend on nothing but the source rows that `feature_tables.py` joins to it. So where an earlier feature
table was made by the same statement, the entities that no difference reaches keep their rows:

- a journey's versions are ranked together, so that a change of one touches the entities of all of them;
- a touch without a patient reaches the patients whose journeys name its HCP;
- everything else belongs to the entities that its own row names, before the change and after it.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.domain.feature_sql import quoted
from e2i_pipeline.domain.features import ENTITIES, HCP_FEATURES, PATIENT_FEATURES

TOUCHED = "touched"
"""Temporary table of the entities to compute, in the column of the view's join key."""

JOURNEYS = "patient_journeys"
EVENTS = "treatment_events"
PROFILES = "hcp_profiles"
TOUCHES = "engagement_events"

READS = {
    PATIENT_FEATURES: (JOURNEYS, EVENTS),
    HCP_FEATURES: (JOURNEYS, EVENTS, PROFILES, TOUCHES),
}
"""Tables that a view reads; engagement features read journeys and touches."""

_NAMED = {
    JOURNEYS: ("patient_journey_id", "patient_id", "hcp_id"),
    EVENTS: ("patient_id", "hcp_id"),
    PROFILES: ("hcp_id",),
    TOUCHES: ("patient_id", "hcp_id"),
}
"""Columns that say whom a row is about."""


class Versions(NamedTuple):
    """Source tables before and after a change, as SQL relations by canonical name, absent ones in neither.

    Attributes:
        tables: References of the tables after the change; before it they had the same columns.
        before: Relations.
        after: Relations.
    """

    tables: Mapping[str, TableRef]
    before: Mapping[str, str]
    after: Mapping[str, str]

    def has(self, table: str, column: str) -> bool:
        """Whether the table is there, and has the column."""
        return table in self.after and self.tables[table].has(column)


def reads(view: str, versions: Versions) -> tuple[str, ...]:
    """The tables that a view reads, of those that are there."""
    return tuple(table for table in READS.get(view, (JOURNEYS, TOUCHES)) if table in versions.after)


def differences(table: str, statement: str, versions: Versions) -> str:
    """Whom the rows are about that one version of a table has and the other has not, or has more often.

    Args:
        table: Canonical name.
        statement: The view's statement: columns that it does not name cannot matter to it.
        versions: The tables.

    Returns:
        A SELECT statement of the table's columns of `_NAMED`, null where the table lacks one.
    """
    words = {word.lower() for word in re.findall(r"\w+", statement)}
    columns = [c.name for c in versions.tables[table].columns if c.name.lower() in words]
    named = ", ".join(
        quoted(name) if versions.has(table, name) else f"NULL::VARCHAR AS {quoted(name)}" for name in _NAMED[table]
    )
    content = f"hash({', '.join(map(quoted, columns))}) AS content"
    names = ", ".join(_NAMED[table])
    return f"""
        SELECT DISTINCT {names} FROM (
            SELECT {names} FROM (
                SELECT {named}, {content}, 1 AS side FROM {versions.after[table]}
                UNION ALL SELECT {named}, {content}, -1 AS side FROM {versions.before[table]})
            GROUP BY {names}, content HAVING sum(side) <> 0)"""


def touched(view: str, changed: Mapping[str, str], versions: Versions) -> str:
    """The entities of a view that changes touch: one column, named as the join key, without nulls.

    Args:
        view: Name of the view.
        changed: Relations with what `differences` gave, by table; those without a difference may be left out.
        versions: The tables.
    """
    entity = ENTITIES[view]
    found = [
        f"SELECT {entity} FROM {relation}"
        for table, relation in changed.items()
        if table != JOURNEYS and entity in _NAMED[table]
    ]
    if JOURNEYS in changed:
        ids = f"SELECT patient_journey_id FROM {changed[JOURNEYS]}"
        found.append(_of_journeys(entity, f"patient_journey_id IN ({ids})", versions))
    if view not in READS and TOUCHES in changed and versions.has(JOURNEYS, "hcp_id"):
        hcps = f"SELECT hcp_id FROM {changed[TOUCHES]} WHERE patient_id IS NULL AND hcp_id IS NOT NULL"
        found.append(_of_journeys(entity, f"hcp_id IN ({hcps})", versions))
    union = " UNION ALL ".join(found)
    return f"SELECT DISTINCT {entity} FROM ({union}) WHERE {entity} IS NOT NULL"


def _of_journeys(entity: str, condition: str, versions: Versions) -> str:
    """The entities of journeys, before and after."""
    if not versions.has(JOURNEYS, entity):
        return f"SELECT NULL::VARCHAR AS {entity}"
    both = (versions.before[JOURNEYS], versions.after[JOURNEYS])
    return " UNION ALL ".join(f"SELECT {entity} FROM {relation} WHERE {condition}" for relation in both)


def needed(view: str, versions: Versions) -> dict[str, str]:
    """The rows that the entities in `TOUCHED` are computed from, as relations by table; others may be among them.

    Args:
        view: Name of the view.
        versions: The tables.
    """
    entity = ENTITIES[view]
    among = f"IN (SELECT {entity} FROM {TOUCHED})"
    found: dict[str, str] = {}
    for table in reads(view, versions):
        after = versions.after[table]
        if table == JOURNEYS:
            ids = f"SELECT patient_journey_id FROM {after} WHERE {entity} {among}"
            condition = f"patient_journey_id IN ({ids})" if versions.has(table, entity) else "false"
        elif versions.has(table, entity):
            condition = f"{entity} {among}"
        else:
            condition = "false"
        if table == TOUCHES and view not in READS and versions.has(JOURNEYS, "hcp_id"):
            hcps = f"SELECT hcp_id FROM {versions.after[JOURNEYS]} WHERE {entity} {among}"
            nobody = "patient_id IS NULL AND " if versions.has(TOUCHES, "patient_id") else ""
            condition = f"{condition} OR ({nobody}hcp_id IN ({hcps}))"
        found[table] = f"(SELECT * FROM {after} WHERE {condition})"
    return {**versions.after, **found}


def spliced(view: str, columns: str, computed: str, kept: str) -> str:
    """The feature table: computed rows of the entities in `TOUCHED`, and all others as they were.

    Args:
        view: Name of the view.
        columns: The table's columns, as a select list.
        computed: Statement of the view over what is `needed`.
        kept: Relation of the feature table before the change.
    """
    entity = ENTITIES[view]
    return f"""
        SELECT {columns} FROM ({computed}) SEMI JOIN {TOUCHED} USING ({entity})
        UNION ALL SELECT {columns} FROM {kept} ANTI JOIN {TOUCHED} USING ({entity})"""

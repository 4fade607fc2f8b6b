"""When a row of the source was known, and until when it held: as SQL text over landed rows, never run.

A source that restates or deletes what it said does so by further rows. Of all versions of a key, each holds from its
own known-at time until that of the next one, or until it is deleted: `known_at` <= t < `superseded_at`. So every past
state can be told from the staged table, and a deletion needs no row there.
"""

from e2i_pipeline.contracts.cohort import KnownAt
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.contracts.tables import (
    BASELINE_KNOWN_AT,
    DELETED,
    DELETED_AT,
    KNOWN_AT,
    PATIENT_JOURNEYS,
    SUPERSEDED_AT,
)
from e2i_pipeline.domain.landing import Plan, defect


def is_versioned(plan: Plan, known_at: KnownAt) -> bool:
    """Whether rows of the table can cease to hold.

    Journeys always can where the source shows when each version became known, unless it says that it holds one
    version of each (a baseline lag).
    """
    several = known_at.kind == "observed" and known_at.baseline_lag_days is None
    return plan.is_restated or (plan.schema.name == PATIENT_JOURNEYS.name and several)


def known_sql(plan: Plan, known_at: KnownAt, landed: str) -> str:
    """The staged table: the landed rows with the times at which they became known, and ceased to hold.

    A known-at time is missing only where both the known-at column and the event time are.

    Args:
        plan: The plan.
        known_at: When a row became known.
        landed: Relation with the rows of `landing.landed_sql`.
    """
    columns = [f'"{column.name}"' for column, _ in plan.landed]
    deletion = [DELETED, DELETED_AT] if plan.is_restated and plan.tombstone else []
    selected = f"SELECT {', '.join([*columns, *deletion])}, {_known_at_sql(plan, known_at)} AS {KNOWN_AT} FROM {landed}"
    if plan.has("journey_start_date") and plan.schema.name == PATIENT_JOURNEYS.name:
        baseline = f"min({KNOWN_AT}) OVER (PARTITION BY patient_journey_id)"
        if known_at.baseline_lag_days is not None:
            baseline = _after("journey_start_date", known_at.baseline_lag_days)
        selected = f"SELECT *, {baseline} AS {BASELINE_KNOWN_AT} FROM ({selected})"
    return _until_sql(plan, selected, bool(deletion)) if is_versioned(plan, known_at) else selected


def _until_sql(plan: Plan, known: str, has_deletions: bool) -> str:
    key = plan.schema.columns[0].name
    # Versions of one moment are equals: which of them holds is not ours to guess, and the suite must see them.
    until = (
        f'min({KNOWN_AT}) OVER (PARTITION BY "{key}" ORDER BY {KNOWN_AT} '
        "RANGE BETWEEN INTERVAL 1 MICROSECOND FOLLOWING AND UNBOUNDED FOLLOWING)"
    )
    if not has_deletions:
        return f"SELECT *, {until} AS {SUPERSEDED_AT} FROM ({known})"
    deleted = f"least({until}, greatest({DELETED_AT}, {KNOWN_AT}))"
    deleted = f"CASE WHEN {DELETED_AT} IS NULL THEN {until} ELSE {deleted} END"
    return (
        f"SELECT * EXCLUDE ({DELETED}, {DELETED_AT}) FROM (SELECT *, {deleted} AS {SUPERSEDED_AT} FROM ({known})) "
        f"WHERE NOT coalesce({DELETED}, false)"
    )


def known_at_defects_sql(plan: Plan, known_at: KnownAt, landed: str) -> str:
    """One row: how many rows lack their observed known-at time, and how many have no time at all."""
    observed = f'"{plan.schema.known_at}" IS NULL' if plan.has(plan.schema.known_at) else "true"
    lacking = f"count(*) FILTER ({observed})" if known_at.kind == "observed" else "0"
    return f"SELECT {lacking}, count(*) FILTER ({_known_at_sql(plan, known_at)} IS NULL) FROM {landed}"


def known_at_defects(plan: Plan, known_at: KnownAt, rows: int, lacking: int, timeless: int) -> tuple[DefectCount, ...]:
    """The defects of the known-at times.

    Args:
        plan: The plan.
        known_at: When a row became known.
        rows: Landed rows.
        lacking: Rows that lack their observed known-at time.
        timeless: Rows with no time at all.
    """
    found: list[DefectCount] = []
    if lacking > timeless:
        what = f"{plan.schema.known_at}: no known-at time"
        how = f"corrected: {plan.schema.event_time} plus {known_at.days} days"
        found.append(defect(plan, what, lacking - timeless, rows, how))
    if timeless:
        what = f"neither {plan.schema.known_at} nor {plan.schema.event_time}: known at no time"
        if plan.schema.known_at == plan.schema.event_time:
            what = f"no {plan.schema.event_time}: known at no time"
        found.append(defect(plan, what, timeless, rows, "kept, and seen by no point-in-time feature"))
    return tuple(found)


def _known_at_sql(plan: Plan, known_at: KnownAt) -> str:
    name, event = plan.schema.known_at, plan.schema.event_time
    from_event = _after(event, known_at.days) if plan.has(event) else "NULL::TIMESTAMP"
    return f'coalesce("{name}", {from_event})' if known_at.kind == "observed" and plan.has(name) else from_event


def _after(column: str, days: int) -> str:
    return f'(CAST("{column}" AS TIMESTAMP) + to_days({days}))'

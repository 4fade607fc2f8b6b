"""Who enters a cohort, when the clock starts, what counts as the outcome: as SQL text, and the sizes learning takes.

Pure functions that build statements; whoever has a connection runs them (`resources/`). How a source's tables are read
belongs to its connector, how journeys are split to `splits.py`.

An *events* relation, wherever one is asked for, has the columns `patient_id`, `event_id`, `event_date` (DATE) and
`concept_id` (BIGINT), one row per clinical event.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from e2i_pipeline.contracts.cohort import CohortDefinition
from e2i_pipeline.contracts.tables import SUPERSEDED_AT
from e2i_pipeline.errors import CohortTooSmall

LEARNING_SPLITS = ("train", "validation", "test", "holdout")
"""The splits whose journeys count towards a cohort's size; `unassigned` ones do not."""


class SplitCount(NamedTuple):
    """Journeys of one split, and how many of them have the outcome."""

    journeys: int
    positives: int


def concepts_sql(concepts: Sequence[int], column: str = "concept_id") -> str:
    """The condition that a concept is one of the set.

    Args:
        concepts: Concept ids, at least one.
        column: Column that holds the concept.
    """
    return f"{column} IN ({', '.join(str(int(c)) for c in sorted(set(concepts)))})"


def index_events_sql(events: str, concepts: Sequence[int], unit: str) -> str:
    """The index events: one row per journey, with all columns of `events`.

    Args:
        events: An events relation: a table, a view or a subquery in brackets.
        concepts: Concepts that start the clock.
        unit: `patient` keeps a patient's first event; `journey` keeps one per patient and day, since two index events
            of one day would be the same journey counted twice.

    Returns:
        A SELECT statement. Among events of one day the one with the smallest `event_id` is taken, as a number where
        it is one.
    """
    partition = "patient_id" if unit == "patient" else "patient_id, event_date"
    return (
        f"SELECT * FROM {events} WHERE {concepts_sql(concepts)} "
        f"QUALIFY row_number() OVER (PARTITION BY {partition} "
        "ORDER BY event_date, TRY_CAST(event_id AS BIGINT) NULLS LAST, event_id) = 1"
    )


def window_is_open_sql(window_days: int, last_known: str, index_date: str = "event_date") -> str:
    """The condition that a journey's outcome window had not closed on the last day of which the data knows.

    Args:
        window_days: Days from the index day (day zero) in which the outcome counts; the last one included, >= 1.
        last_known: SQL expression of the last known day (DATE).
        index_date: Column of the index day (DATE).
    """
    return f"({index_date} + {int(window_days)} > {last_known})"


def outcomes_sql(index: str, treatments: str, concepts: Sequence[int], window_days: int, last_known: str) -> str:
    """The journeys with their outcome: did treatment begin on a day from 0 (the index day) to `window_days`?

    While the window is open the outcome is null for the treated too: they would otherwise mature earlier than the
    untreated, and the newest journeys would look as if all were treated.

    Args:
        index: The index events as a relation (see `index_events_sql`).
        treatments: An events relation that holds the treatments.
        concepts: Concepts that count as treatment.
        window_days: Length of the outcome window in days, >= 1.
        last_known: SQL expression of the last known day (DATE).

    Returns:
        A SELECT statement: all columns of `index`, then `treatment_initiated` (0, 1, null while open) and
        `days_to_treatment` (0..`window_days`, null where not initiated or open).
    """
    is_open = window_is_open_sql(window_days, last_known, "i.event_date")
    first = (
        f"SELECT i.event_id, min(t.event_date) AS first_date FROM {index} i JOIN {treatments} t "
        f"ON t.patient_id = i.patient_id AND t.event_date BETWEEN i.event_date AND i.event_date + {int(window_days)} "
        f"WHERE {concepts_sql(concepts, 't.concept_id')} GROUP BY i.event_id"
    )
    return (
        f"SELECT i.*, CASE WHEN {is_open} THEN NULL WHEN f.first_date IS NULL THEN 0 ELSE 1 END "
        "AS treatment_initiated, "
        f"CASE WHEN {is_open} THEN NULL ELSE date_diff('day', i.event_date, f.first_date) END AS days_to_treatment "
        f"FROM {index} i LEFT JOIN ({first}) f ON f.event_id = i.event_id"
    )


def as_of_view_sql(table_sql: str, as_of_literal: str, is_versioned: bool = False) -> str:
    """Each journey's latest version that was known by `as_of`, and had not been deleted.

    Versions of one journey that became known at the same time all stay: which of them holds is not ours to guess, and
    the suite on uniqueness must see them.

    Args:
        table_sql: `patient_journeys` as staged, with `known_at`: a table function, a view or a subquery in brackets.
        as_of_literal: SQL timestamp (UTC), e.g. `TIMESTAMP '2026-01-01 00:00:00'`.
        is_versioned: Whether the table has `superseded_at`.
    """
    holds = f" AND ({SUPERSEDED_AT} IS NULL OR {SUPERSEDED_AT} > {as_of_literal})" if is_versioned else ""
    return (
        f"SELECT * FROM {table_sql} WHERE known_at <= {as_of_literal}{holds} "
        "QUALIFY rank() OVER (PARTITION BY patient_journey_id ORDER BY known_at DESC) = 1"
    )


def mature_sql(
    window_days: int,
    as_of_literal: str,
    target: str = "treatment_initiated",
    index_date: str = "journey_start_date",
    known_at: str = "known_at",
) -> str:
    """The condition that a journey's outcome is known for good: never null.

    A journey is mature when its outcome window has closed by the day of `as_of`, its target is not null and the
    version that says so was known by then.

    Args:
        window_days: Length of the outcome window in days, >= 1.
        as_of_literal: SQL timestamp (UTC).
        target: Column of the outcome.
        index_date: Column of the index date (DATE).
        known_at: Column of the version's known-at time (UTC).
    """
    column = '"' + target.replace('"', '""') + '"'
    closed = f"{index_date} + {int(window_days)} <= CAST({as_of_literal} AS DATE)"
    return f"coalesce({closed} AND {column} IS NOT NULL AND {known_at} <= {as_of_literal}, FALSE)"


def check_size(counts: Mapping[str, tuple[int, int]], definition: CohortDefinition) -> None:
    """Refuses a cohort that is too small to train on and to evaluate honestly.

    Args:
        counts: Journeys and positives per split (a `SplitCount` or a plain pair); a split that is missing has none.
        definition: The cohort's minimum sizes.

    Raises:
        CohortTooSmall: With every count, every minimum that is not met, and what can be done.
    """
    of = {split: SplitCount(*counts.get(split, (0, 0))) for split in LEARNING_SPLITS}
    journeys = sum(c.journeys for c in of.values())
    required = [
        ("journeys in all splits", journeys, definition.minimum_journeys),
        ("positives in train", of["train"].positives, definition.minimum_train_positives),
        ("positives in validation", of["validation"].positives, definition.minimum_evaluation_positives),
        ("positives in test", of["test"].positives, definition.minimum_evaluation_positives),
    ]
    unmet = [f"{found} {what}, {minimum} needed" for what, found, minimum in required if found < minimum]
    if not unmet:
        return
    listed = ", ".join(f"{split} {c.journeys} ({c.positives} positive)" for split, c in of.items())
    unassigned = SplitCount(*counts.get("unassigned", (0, 0))).journeys
    raise CohortTooSmall(
        f"The cohort is too small to train on: {'; '.join(unmet)}. Journeys per split: {listed}; unassigned "
        f"{unassigned} (gap between splits, patient in two splits, or outcome still open). Widen the index event or "
        "treatment, lengthen cohort.outcome_window_days, narrow splits.gap_days, bring more data, or, knowing what it "
        "costs, lower cohort.minimum_journeys, minimum_train_positives or minimum_evaluation_positives."
    )

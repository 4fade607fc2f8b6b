"""Who enters a cohort, when the clock starts, what counts as the outcome: as SQL text, and the sizes learning takes.

Pure functions that build statements; whoever has a connection runs them (`resources/`). How a source's tables are read
belongs to its connector, how journeys are split to `splits.py`.

An *events* relation, wherever one is asked for, has the columns `patient_id`, `event_id`, `event_date` (DATE),
`last_date` (DATE, the last day on which the event goes on, not before `event_date`) and what a condition looks at:
`concept_id` (a number or a text, as the standard has it) and, for classes, `class`. One row per clinical event.
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


class Rule(NamedTuple):
    """What an index event must satisfy besides being one.

    Attributes:
        name: The rule in words, as it follows "index events".
        condition: SQL condition on an event of the alias `e`, under which the event stays; never null.
    """

    name: str
    condition: str


def concepts_sql(concepts: Sequence[int | str], column: str = "concept_id") -> str:
    """The condition that a concept is one of the set; whole numbers as numbers, texts as texts.

    Args:
        concepts: Concepts, at least one, all of one type.
        column: Column that holds the concept.
    """
    listed = sorted({str(c) if isinstance(c, int) else _text(c) for c in concepts})
    return f"{column} IN ({', '.join(listed)})"


def observation_rules(definition: CohortDefinition, periods: str) -> tuple[Rule, ...]:
    """The rules on how long a patient must have been observed.

    Args:
        definition: The cohort.
        periods: Relation with `patient_id`, `first_day` and `last_day` (DATE), one row per observation period.
    """
    within = (
        f"EXISTS (SELECT 1 FROM {periods} o WHERE o.patient_id = e.patient_id "
        "AND e.event_date BETWEEN o.first_day AND o.last_day"
    )
    days = definition.prior_observation_days
    rules = [
        Rule("outside the patient's observation periods (cohort.index_in_observation)", f"{within})"),
        Rule(
            f"without {days} days of observation before them (cohort.prior_observation_days)",
            f"{within} AND o.first_day + {int(days)} <= e.event_date)",
        ),
    ]
    wanted = (definition.index_in_observation, days > 0)
    return tuple(rule for rule, is_wanted in zip(rules, wanted, strict=True) if is_wanted)


def washout_rules(definition: CohortDefinition, treatments: str, condition: str) -> tuple[Rule, ...]:
    """The rule that no treatment was going on in so many days before the index day, which itself is not looked at.

    Args:
        definition: The cohort.
        treatments: An events relation that holds the treatments.
        condition: Condition under which one of its events counts as treatment.
    """
    days = definition.washout_days
    if not days:
        return ()
    treated = (
        f"EXISTS (SELECT 1 FROM {treatments} t WHERE {condition} AND t.patient_id = e.patient_id "
        f"AND t.event_date < e.event_date AND t.last_date >= e.event_date - {int(days)})"
    )
    return (Rule(f"with treatment in the {days} days before them (cohort.washout_days)", f"NOT {treated}"),)


def candidates_sql(events: str, condition: str, rules: Sequence[Rule]) -> str:
    """The events that start the clock, each with the rule that excludes it.

    As in OHDSI's cohorts, the rules apply to every such event before a patient's first one is chosen: who was not
    observed long enough at the first may be at the second.

    Args:
        events: An events relation: a table, a view or a subquery in brackets.
        condition: Condition under which an event starts the clock.
        rules: The rules in the order in which they are counted.

    Returns:
        A SELECT statement: all columns of `events`, then `excluded_by`: the position of the first rule that the event
        does not satisfy, from 0, null where it satisfies all.
    """
    flags = "".join(f", {rule.condition} AS stays_{i}" for i, rule in enumerate(rules))
    cases = " ".join(f"WHEN NOT stays_{i} THEN {i}" for i in range(len(rules)))
    hidden = f" EXCLUDE ({', '.join(f'stays_{i}' for i in range(len(rules)))})" if rules else ""
    excluded = f"CASE {cases} END" if rules else "NULL"
    return (
        f"SELECT *{hidden}, CAST({excluded} AS INTEGER) AS excluded_by "
        f"FROM (SELECT e.*{flags} FROM (SELECT * FROM {events} WHERE {condition}) e)"
    )


def attrition_sql(candidates: str, rules: Sequence[Rule]) -> str:
    """How many index events and patients each rule excludes.

    Args:
        candidates: The candidates as a relation (see `candidates_sql`).
        rules: The rules, in the same order; at least one.

    Returns:
        A SELECT statement with one row per rule, in order: the events before it, those it excludes, the patients
        before it, and those of whom it leaves no event.
    """
    steps = [
        f"SELECT {i} AS step, count(*) AS events, count(*) FILTER (excluded_by = {i}) AS excluded, "
        "count(DISTINCT patient_id) AS patients, count(DISTINCT patient_id) - count(DISTINCT patient_id) FILTER "
        f"(excluded_by IS NULL OR excluded_by > {i}) AS lost FROM {candidates} "
        f"WHERE excluded_by IS NULL OR excluded_by >= {i}"
        for i in range(len(rules))
    ]
    return f"SELECT events, excluded, patients, lost FROM ({' UNION ALL '.join(steps)}) ORDER BY step"


def index_events_sql(candidates: str, unit: str) -> str:
    """The index events: one row per journey, with all columns of `candidates`.

    Args:
        candidates: The candidates as a relation (see `candidates_sql`); excluded ones are left out.
        unit: `patient` keeps a patient's first event; `journey` keeps one per patient and day, since two index events
            of one day would be the same journey counted twice.

    Returns:
        A SELECT statement. Among events of one day the one with the smallest `event_id` is taken, as a number where
        it is one.
    """
    partition = "patient_id" if unit == "patient" else "patient_id, event_date"
    return (
        f"SELECT * EXCLUDE (excluded_by) FROM {candidates} WHERE excluded_by IS NULL "
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


def outcomes_sql(
    index: str, treatments: str, condition: str, window_days: int, last_known: str, is_same_table: bool = False
) -> str:
    """The journeys with their outcome: did treatment begin on a day from 0 (the index day) to `window_days`?

    While the window is open the outcome is null for the treated too: they would otherwise mature earlier than the
    untreated, and the newest journeys would look as if all were treated.

    Args:
        index: The index events as a relation (see `index_events_sql`).
        treatments: An events relation that holds the treatments.
        condition: Condition under which one of its events counts as treatment.
        window_days: Length of the outcome window in days, >= 1.
        last_known: SQL expression of the last known day (DATE).
        is_same_table: Whether index events and treatments come from one table: an event is no outcome of itself.

    Returns:
        A SELECT statement: all columns of `index`, then `treatment_initiated` (0, 1, null while open) and
        `days_to_treatment` (0..`window_days`, null where not initiated or open).
    """
    is_open = window_is_open_sql(window_days, last_known, "i.event_date")
    other = "AND t.event_id <> i.event_id " if is_same_table else ""
    first = (
        f"SELECT i.event_id, min(t.event_date) AS first_date FROM {index} i "
        f"JOIN (SELECT * FROM {treatments} WHERE {condition}) t ON t.patient_id = i.patient_id {other}"
        f"AND t.event_date BETWEEN i.event_date AND i.event_date + {int(window_days)} GROUP BY i.event_id"
    )
    return (
        f"SELECT i.*, CASE WHEN {is_open} THEN NULL WHEN f.first_date IS NULL THEN 0 ELSE 1 END "
        "AS treatment_initiated, "
        f"CASE WHEN {is_open} THEN NULL ELSE date_diff('day', i.event_date, f.first_date) END AS days_to_treatment "
        f"FROM {index} i LEFT JOIN ({first}) f ON f.event_id = i.event_id"
    )


def spans_sql(journeys: str) -> str:
    """The journeys with `next_date`: the day on which the patient's next one begins, in the far future for the last.

    An event belongs to the journey for which `event_date` <= its day < `next_date`. As a join on the patient this
    stays a hash join; an ASOF join becomes a nested loop where the engine cannot tell how many rows a CSV file has.

    Args:
        journeys: Relation with `patient_id` and `event_date`, at most one row per patient and day.
    """
    following = "lead(event_date) OVER (PARTITION BY patient_id ORDER BY event_date)"
    return f"SELECT *, coalesce({following}, DATE '9999-12-31') AS next_date FROM {journeys}"


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


def check_size(
    counts: Mapping[str, tuple[int, int]], definition: CohortDefinition, problem_type: str = "classification"
) -> None:
    """Refuses a cohort that is too small to train on and to evaluate honestly.

    Args:
        counts: Journeys and positives per split (a `SplitCount` or a plain pair); a split that is missing has none.
        definition: The cohort's minimum sizes.
        problem_type: `classification`, or `regression`: there a journey with a measured outcome counts as a positive
            one does, since it is what is learned from.

    Raises:
        CohortTooSmall: With every count, every minimum that is not met, and what can be done.
    """
    of = {split: SplitCount(*counts.get(split, (0, 0))) for split in LEARNING_SPLITS}
    journeys = sum(c.journeys for c in of.values())
    what, one = ("positives", "positive") if problem_type == "classification" else ("measured outcomes", "measured")
    required = [
        ("journeys in all splits", journeys, definition.minimum_journeys),
        (f"{what} in train", of["train"].positives, definition.minimum_train_positives),
        (f"{what} in validation", of["validation"].positives, definition.minimum_evaluation_positives),
        (f"{what} in test", of["test"].positives, definition.minimum_evaluation_positives),
    ]
    unmet = [f"{found} {of_what}, {minimum} needed" for of_what, found, minimum in required if found < minimum]
    if not unmet:
        return
    listed = ", ".join(f"{split} {c.journeys} ({c.positives} {one})" for split, c in of.items())
    unassigned = SplitCount(*counts.get("unassigned", (0, 0))).journeys
    raise CohortTooSmall(
        f"The cohort is too small to train on: {'; '.join(unmet)}. Journeys per split: {listed}; unassigned "
        f"{unassigned} (gap between splits, patient in two splits, or outcome still open). Widen the index event or "
        "treatment, lengthen cohort.outcome_window_days, narrow splits.gap_days, bring more data, or, knowing what it "
        "costs, lower cohort.minimum_journeys, minimum_train_positives or minimum_evaluation_positives."
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"

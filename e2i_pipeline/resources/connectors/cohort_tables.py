"""The declared cohort as temporary tables, for every connector over clinical tables, and what its rules exclude.

The statements stand in `domain/cohorts.py`; how a standard's rows are typed, in the connector of the standard.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.cohort import CohortDefinition, ConceptSet
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.domain import cohorts
from e2i_pipeline.errors import SourceError
from e2i_pipeline.resources.engine import literal

if TYPE_CHECKING:
    import duckdb

_LISTED = 10  # concepts in a message


class Members(NamedTuple):
    """A declared concept set over the typed rows of its table.

    Attributes:
        setting: Name of the setting, e.g. `cohort.index_event`.
        concepts: What was declared.
        rows: View of the table's rows: an events relation with `problem`, null where the row is usable.
        condition: Condition under which a row is of the set.
    """

    setting: str
    concepts: ConceptSet
    rows: str
    condition: str

    @property
    def usable(self) -> str:
        """The usable rows, as a relation."""
        return f"(SELECT * FROM {self.rows} WHERE problem IS NULL)"


class Cohort(NamedTuple):
    """A declared cohort over typed rows.

    Attributes:
        definition: The declaration.
        index: What starts the clock.
        treatment: What counts as treatment.
        periods: Relation of the observation periods: `patient_id`, `first_day`, `last_day`.
        last_known: SQL expression of the last day of which the data knows.
        table: Name of the temporary table of journeys: the index event's columns with the outcome.
        look_up: Where the user finds the right concepts.
    """

    definition: CohortDefinition
    index: Members
    treatment: Members
    periods: str
    last_known: str
    table: str
    look_up: str

    @property
    def candidates(self) -> str:
        """Name of the temporary table of all events that start the clock."""
        return f"{self.table}_candidates"

    @property
    def rules(self) -> tuple[cohorts.Rule, ...]:
        """What an index event must satisfy, in the order in which it is counted."""
        return (
            *cohorts.observation_rules(self.definition, self.periods),
            *cohorts.washout_rules(self.definition, self.treatment.usable, self.treatment.condition),
        )


def create_cohort(connection: "duckdb.DuckDBPyConnection", cohort: Cohort) -> None:
    """Makes the cohort's temporary tables.

    Raises:
        SourceError: A concept set matches no usable row, or the cohort's rules leave no index event.
    """
    _require_matches(connection, cohort)
    candidates = cohorts.candidates_sql(cohort.index.usable, cohort.index.condition, cohort.rules)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {cohort.candidates} AS {candidates}")
    _require_rest(connection, cohort)
    index = cohorts.index_events_sql(cohort.candidates, cohort.definition.unit)
    outcomes = cohorts.outcomes_sql(
        f"({index})",
        cohort.treatment.usable,
        cohort.treatment.condition,
        cohort.definition.outcome_window_days,
        cohort.last_known,
        is_same_table=cohort.index.rows == cohort.treatment.rows,
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {cohort.table} AS {outcomes}")


def attrition(connection: "duckdb.DuckDBPyConnection", cohort: Cohort) -> tuple[DefectCount, ...]:
    """What each rule of the cohort excludes: events, then patients; also where it is none, since it was asked for.

    Declared concepts that no usable row has come first: one of several may be mistyped.
    """
    found = [
        _excluded(f"concepts of {members.setting} that no usable row has", unmet, total, "kept: they count for nothing")
        for members in (cohort.index, cohort.treatment)
        for unmet, total in (_unmet(connection, members),)
        if unmet
    ]
    for rule, (events, excluded, patients, lost) in zip(cohort.rules, _steps(connection, cohort), strict=True):
        found += [
            _excluded(f"index events {rule.name}", excluded, events, "left out of the cohort"),
            _excluded(
                f"patients without any other index event than those {rule.name}",
                lost,
                patients,
                "left out of the cohort",
            ),
        ]
    return tuple(found)


def _unmet(connection: "duckdb.DuckDBPyConnection", members: Members) -> tuple[int, int]:
    """Declared concepts that no usable row has, and all of them; with descendants only these need to be met."""
    declared = set(members.concepts.concepts)
    if members.concepts.include_descendants or not declared:
        return 0, len(declared)
    (met,) = connection.execute(
        f"SELECT count(DISTINCT concept_id) FROM {members.usable} WHERE {members.condition}"
    ).fetchone() or (0,)
    return len(declared) - met, len(declared)


def _excluded(words: str, rows: int, of_rows: int, treatment: str) -> DefectCount:
    return DefectCount(table="cohort", defect=words, rows=rows, of_rows=of_rows, treatment=treatment)


def _steps(connection: "duckdb.DuckDBPyConnection", cohort: Cohort) -> list[tuple[int, int, int, int]]:
    if not cohort.rules:
        return []
    return connection.execute(cohorts.attrition_sql(cohort.candidates, cohort.rules)).fetchall()


def _require_matches(connection: "duckdb.DuckDBPyConnection", cohort: Cohort) -> None:
    """Refuses concept sets that match nothing: a wrong code would otherwise look like an untreated population."""
    for members in (cohort.index, cohort.treatment):
        of_rows, matched, usable = connection.execute(
            "SELECT count(*), count(*) FILTER (is_match), count(*) FILTER (is_match AND problem IS NULL) "
            f"FROM (SELECT {members.condition} AS is_match, problem FROM {members.rows})"
        ).fetchone() or (0, 0, 0)
        if not usable:
            raise SourceError(
                f"{members.setting}: its {_described(members.concepts)} matched {matched} of {of_rows} rows in "
                f"{members.concepts.table}, {usable} of them usable (with a person and a plausible date). "
                f"{cohort.look_up} and set {members.setting}."
            )


def _require_rest(connection: "duckdb.DuckDBPyConnection", cohort: Cohort) -> None:
    left = connection.execute(f"SELECT count(*) FILTER (excluded_by IS NULL) FROM {cohort.candidates}").fetchone()
    if left and left[0]:
        return
    steps = [
        f"{excluded} of {events} {rule.name}"
        for rule, (events, excluded, *_) in zip(cohort.rules, _steps(connection, cohort), strict=True)
    ]
    raise SourceError(
        f"The cohort's rules leave no index event. Excluded one after the other: {'; '.join(steps)}. Shorten "
        "cohort.washout_days or cohort.prior_observation_days, or widen cohort.index_event."
    )


def _described(concepts: ConceptSet) -> str:
    named = [("concept(s)", concepts.concepts), ("class(es)", concepts.classes)]
    return " and ".join(
        f"{len(values)} {what} ({', '.join(map(str, values[:_LISTED]))}{', ...' if len(values) > _LISTED else ''})"
        for what, values in named
        if values
    )


def journey_id(cohort: Cohort) -> str:
    """The key of a journey `j`: its index event's table and key."""
    return f"'{cohort.index.concepts.table}-' || j.event_id"


def treatment_events_sql(cohort: Cohort, brand: str, events: str, columns: Sequence[str], data_source: str) -> str:
    """One row per event of the cohort's patients, over their whole history, with the journey that it falls into.

    Args:
        cohort: The cohort, whose table is made.
        brand: Brand of the events that count as treatment.
        events: Relation of the usable events: `treatment_event_id`, `patient_id`, `event_date`, `event_type`,
            `event_subtype`, `is_treatment`, `drug_name`, `duration_days` and `columns`.
        columns: What the standard has beyond these.
        data_source: Name of the standard.

    Returns:
        A SELECT statement.
    """
    chosen = [
        "e.treatment_event_id",
        f"{journey_id(cohort)} AS patient_journey_id",
        "e.patient_id",
        "e.event_date",
        "e.event_type",
        "e.event_subtype",
        f"CASE WHEN e.is_treatment THEN {literal(brand)} END AS brand",
        "e.drug_name",
        "e.duration_days",
        *(f"e.{column}" for column in columns),
        "row_number() OVER (PARTITION BY e.patient_id ORDER BY e.event_date, e.event_type, e.treatment_event_id) "
        "AS sequence_number",
        "date_diff('day', j.event_date, e.event_date) AS days_from_diagnosis",
        f"'{data_source}' AS data_source",
    ]
    return (
        f"SELECT {', '.join(chosen)} FROM (SELECT * FROM ({events}) WHERE patient_id IN "
        f"(SELECT patient_id FROM {cohort.table})) e "
        f"LEFT JOIN ({cohorts.spans_sql(cohort.table)}) j ON j.patient_id = e.patient_id "
        "AND e.event_date >= j.event_date AND e.event_date < j.next_date"
    )

"""The cohort's statements, run on DuckDB over a handful of rows whose answer is plain."""

from collections.abc import Iterator

import duckdb
import pytest
from pydantic import ValidationError

from e2i_pipeline.contracts.cohort import CohortDefinition, ConceptSet
from e2i_pipeline.domain import cohorts
from e2i_pipeline.errors import CohortTooSmall

WINDOW = 180
LAST_KNOWN = "DATE '2020-12-31'"
AS_OF = "TIMESTAMP '2020-12-31 00:00:00'"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute(
            "CREATE TABLE events (patient_id VARCHAR, event_id VARCHAR, event_date DATE, concept_id BIGINT, "
            "last_date DATE)"
        )
        yield opened


def put(connection: duckdb.DuckDBPyConnection, *rows: tuple[str, str, str, int]) -> None:
    connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", [(*row, row[2]) for row in rows])


def index_ids(connection: duckdb.DuckDBPyConnection, unit: str) -> list[str]:
    candidates = cohorts.candidates_sql("events", cohorts.concepts_sql([7, 8]), ())
    statement = cohorts.index_events_sql(f"({candidates})", unit)
    return sorted(row[0] for row in connection.execute(f"SELECT event_id FROM ({statement})").fetchall())


def outcome(connection: duckdb.DuckDBPyConnection, index_date: str, *treatment_dates: str) -> tuple[object, object]:
    """The outcome of one patient with concept 7 as index event and concept 1 as treatment."""
    put(connection, ("p", "i", index_date, 7), *(("p", f"t{d}", d, 1) for d in treatment_dates))
    candidates = cohorts.candidates_sql("events", cohorts.concepts_sql([7]), ())
    index = f"({cohorts.index_events_sql(f'({candidates})', 'patient')})"
    statement = cohorts.outcomes_sql(index, "events", cohorts.concepts_sql([1]), WINDOW, LAST_KNOWN)
    found = connection.execute(f"SELECT treatment_initiated, days_to_treatment FROM ({statement})").fetchall()
    assert len(found) == 1
    return found[0]


def test_patient_unit_keeps_the_first_event_and_breaks_ties_by_number(connection: duckdb.DuckDBPyConnection) -> None:
    put(
        connection,
        ("a", "10", "2020-01-01", 7),
        ("a", "9", "2020-01-01", 8),
        ("a", "1", "2020-02-01", 7),
        ("a", "2", "2019-01-01", 5),  # not of the concept set
        ("b", "3", "2020-03-01", 8),
    )
    assert index_ids(connection, "patient") == ["3", "9"]


def test_journey_unit_keeps_every_day_once(connection: duckdb.DuckDBPyConnection) -> None:
    put(connection, ("a", "1", "2020-01-01", 7), ("a", "2", "2020-01-01", 8), ("a", "3", "2020-02-01", 7))
    assert index_ids(connection, "journey") == ["1", "3"]


@pytest.mark.parametrize(
    ("treated", "expected"),
    [
        ((), (0, None)),
        (("2020-01-09",), (0, None)),  # the day before the index day
        (("2020-01-10",), (1, 0)),  # day zero
        (("2020-07-08",), (1, 180)),  # the window's last day
        (("2020-07-09",), (0, None)),  # the day after it
        (("2020-03-01", "2020-02-01", "2019-01-01"), (1, 22)),  # the first one that counts
    ],
)
def test_outcome_counts_from_day_zero_to_the_last_day(
    connection: duckdb.DuckDBPyConnection, treated: tuple[str, ...], expected: tuple[object, object]
) -> None:
    assert outcome(connection, "2020-01-10", *treated) == expected


def test_an_event_is_no_outcome_of_itself_where_one_table_holds_both(connection: duckdb.DuckDBPyConnection) -> None:
    put(connection, ("a", "1", "2020-01-01", 7), ("b", "2", "2020-01-01", 7), ("b", "3", "2020-01-01", 7))
    condition = cohorts.concepts_sql([7])
    candidates = f"({cohorts.candidates_sql('events', condition, ())})"
    index = f"({cohorts.index_events_sql(candidates, 'patient')})"
    statement = cohorts.outcomes_sql(index, "events", condition, WINDOW, LAST_KNOWN, is_same_table=True)
    found = connection.execute(f"SELECT patient_id, treatment_initiated FROM ({statement}) ORDER BY ALL").fetchall()
    assert found == [("a", 0), ("b", 1)]


def test_concepts_of_texts_are_texts_whatever_stands_in_them(connection: duckdb.DuckDBPyConnection) -> None:
    condition = cohorts.concepts_sql(["8302-2", "08", "it's) OR (1=1"], "code")
    rows = "(VALUES ('8302-2'), ('08'), ('8'), ('it''s) OR (1=1')) AS t (code)"
    found = connection.execute(f"SELECT code FROM {rows} WHERE {condition} ORDER BY ALL").fetchall()
    assert found == [("08",), ("8302-2",), ("it's) OR (1=1",)]


def test_rules_exclude_one_after_the_other_and_are_counted_so(connection: duckdb.DuckDBPyConnection) -> None:
    put(
        connection,
        ("a", "1", "2020-01-10", 7),  # treated before: washed out
        ("a", "2", "2020-01-01", 1),
        ("b", "3", "2020-01-10", 7),  # never observed
        ("b", "4", "2020-01-09", 1),
        ("c", "5", "2020-01-10", 7),
        ("c", "6", "2020-06-10", 7),
    )
    connection.execute(
        "CREATE TABLE periods AS SELECT unnest(['a', 'c']) AS patient_id, DATE '2019-01-01' AS first_day, "
        "DATE '2020-03-01' AS last_day"
    )
    definition = CohortDefinition(washout_days=30, prior_observation_days=365, index_in_observation=True)
    rules = (
        *cohorts.observation_rules(definition, "periods"),
        *cohorts.washout_rules(definition, "events", cohorts.concepts_sql([1])),
    )
    candidates = f"({cohorts.candidates_sql('events', cohorts.concepts_sql([7]), rules)})"
    found = connection.execute(cohorts.index_events_sql(candidates, "patient")).fetchall()
    assert [row[1] for row in found] == ["5"]
    steps = connection.execute(cohorts.attrition_sql(candidates, rules)).fetchall()
    assert steps == [(4, 2, 3, 1), (2, 0, 2, 0), (2, 1, 2, 1)]


def test_span_of_a_journey_ends_where_the_next_begins(connection: duckdb.DuckDBPyConnection) -> None:
    put(connection, ("a", "1", "2020-01-01", 7), ("a", "2", "2020-03-01", 7), ("b", "3", "2020-02-01", 7))
    found = connection.execute(f"SELECT event_id, next_date FROM ({cohorts.spans_sql('events')}) ORDER BY 1").fetchall()
    assert [(event, day.isoformat()) for event, day in found] == [
        ("1", "2020-03-01"),
        ("2", "9999-12-31"),
        ("3", "9999-12-31"),
    ]


def test_cohort_without_rules_has_none() -> None:
    assert cohorts.observation_rules(CohortDefinition(), "periods") == ()
    assert cohorts.washout_rules(CohortDefinition(), "events", "TRUE") == ()


def test_concept_set_names_something() -> None:
    with pytest.raises(ValidationError, match="at least one concept"):
        ConceptSet(table="conditions")


def test_outcome_is_null_while_the_window_is_open_for_the_treated_too(connection: duckdb.DuckDBPyConnection) -> None:
    assert outcome(connection, "2020-07-05", "2020-07-06") == (None, None)


def test_window_closes_on_the_last_known_day(connection: duckdb.DuckDBPyConnection) -> None:
    assert outcome(connection, "2020-07-04") == (0, None)


def versions(connection: duckdb.DuckDBPyConnection, *rows: tuple[str, str, int]) -> list[tuple[str, int]]:
    connection.execute("CREATE TABLE journeys (patient_journey_id VARCHAR, known_at TIMESTAMP, version INTEGER)")
    connection.executemany("INSERT INTO journeys VALUES (?, ?, ?)", list(rows))
    view = cohorts.as_of_view_sql("journeys", AS_OF)
    return connection.execute(f"SELECT patient_journey_id, version FROM ({view}) ORDER BY ALL").fetchall()


def test_as_of_view_takes_the_latest_version_known_by_then(connection: duckdb.DuckDBPyConnection) -> None:
    found = versions(
        connection,
        ("a", "2020-01-01", 1),
        ("a", "2020-12-31", 2),
        ("a", "2020-12-31 00:00:01", 3),
        ("b", "2021-01-01", 1),
    )
    assert found == [("a", 2)]


def test_as_of_view_hides_no_two_versions_of_one_time(connection: duckdb.DuckDBPyConnection) -> None:
    assert versions(connection, ("a", "2020-01-01", 1), ("a", "2020-01-01", 2)) == [("a", 1), ("a", 2)]


@pytest.mark.parametrize(
    ("start", "target", "known_at", "expected"),
    [
        ("2020-07-04", "1", "2020-07-05", True),
        ("2020-07-05", "1", "2020-07-05", False),  # the window closes a day after as_of
        ("2020-07-04", "NULL", "2020-07-05", False),
        ("2020-07-04", "0", "2020-12-31 00:00:01", False),  # not known yet
    ],
)
def test_maturity_needs_a_closed_window_and_a_known_target(
    connection: duckdb.DuckDBPyConnection, start: str, target: str, known_at: str, expected: bool
) -> None:
    row = (
        f"SELECT DATE '{start}' AS journey_start_date, {target} AS treatment_initiated, TIMESTAMP '{known_at}' known_at"
    )
    found = connection.execute(f"SELECT {cohorts.mature_sql(WINDOW, AS_OF)} FROM ({row})").fetchone()
    assert found == (expected,)


def test_maturity_of_a_configured_target_is_never_null(connection: duckdb.DuckDBPyConnection) -> None:
    row = "SELECT DATE '2020-01-01' AS journey_start_date, 3.5 AS my_target, NULL::TIMESTAMP AS known_at"
    found = connection.execute(f"SELECT {cohorts.mature_sql(WINDOW, AS_OF, 'my_target')} FROM ({row})").fetchone()
    assert found == (False,)


def test_large_enough_cohort_is_let_through() -> None:
    counts = {"train": (270, 30), "validation": (15, 10), "test": (15, 10)}
    cohorts.check_size(counts, CohortDefinition())


@pytest.mark.parametrize(
    ("counts", "unmet"),
    [
        ({"train": (269, 30), "validation": (15, 10), "test": (15, 10), "unassigned": (9, 0)}, "299 journeys"),
        ({"train": (270, 29), "validation": (15, 10), "test": (15, 10)}, "29 positives in train, 30 needed"),
        ({"train": (270, 30), "validation": (15, 9), "test": (15, 10)}, "9 positives in validation, 10 needed"),
        ({"train": (270, 30), "validation": (30, 10)}, "0 positives in test, 10 needed"),
    ],
)
def test_too_small_a_cohort_is_refused_with_all_counts(counts: dict[str, tuple[int, int]], unmet: str) -> None:
    with pytest.raises(CohortTooSmall) as refused:
        cohorts.check_size(counts, CohortDefinition())
    message = str(refused.value)
    assert unmet in message
    assert f"train {counts['train'][0]} ({counts['train'][1]} positive)" in message
    assert "cohort.outcome_window_days" in message

"""The cohort's statements, run on DuckDB over a handful of rows whose answer is plain."""

from collections.abc import Iterator

import duckdb
import pytest

from e2i_pipeline.contracts.cohort import CohortDefinition
from e2i_pipeline.domain import cohorts
from e2i_pipeline.errors import CohortTooSmall

WINDOW = 180
LAST_KNOWN = "DATE '2020-12-31'"
AS_OF = "TIMESTAMP '2020-12-31 00:00:00'"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("CREATE TABLE events (patient_id VARCHAR, event_id VARCHAR, event_date DATE, concept_id BIGINT)")
        yield opened


def put(connection: duckdb.DuckDBPyConnection, *rows: tuple[str, str, str, int]) -> None:
    connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", list(rows))


def index_ids(connection: duckdb.DuckDBPyConnection, unit: str) -> list[str]:
    statement = cohorts.index_events_sql("events", [7, 8], unit)
    return sorted(row[0] for row in connection.execute(f"SELECT event_id FROM ({statement})").fetchall())


def outcome(connection: duckdb.DuckDBPyConnection, index_date: str, *treatment_dates: str) -> tuple[object, object]:
    """The outcome of one patient with concept 7 as index event and concept 1 as treatment."""
    put(connection, ("p", "i", index_date, 7), *(("p", f"t{d}", d, 1) for d in treatment_dates))
    index = f"({cohorts.index_events_sql('events', [7], 'patient')})"
    statement = cohorts.outcomes_sql(index, "events", [1], WINDOW, LAST_KNOWN)
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

"""Landing's SQL: what casts to what, what is counted, and when a row became known."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import duckdb
import pytest

from e2i_pipeline.contracts.cohort import Absences, KnownAt
from e2i_pipeline.contracts.tables import HCP_PROFILES, PATIENT_JOURNEYS, TREATMENT_EVENTS
from e2i_pipeline.domain import landing, privacy, versions
from e2i_pipeline.errors import ConfigurationError

KEY = b"a key for the tests of landing"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as opened:
        opened.execute("SET TimeZone = 'UTC'")
        opened.execute(f"CREATE TEMP TABLE {privacy.PADS} (ipad BLOB, opad BLOB)")
        opened.execute(f"INSERT INTO {privacy.PADS} VALUES (?, ?)", privacy.pads(KEY))
        yield opened


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ("'12'", "INTEGER", 12),
        ("'12.0'", "INTEGER", 12),
        ("'12.5'", "INTEGER", None),
        ("12.5::DOUBLE", "INTEGER", None),
        ("true", "INTEGER", 1),
        ("3000000000", "INTEGER", None),
        ("'1e3'", "DOUBLE", 1000.0),
        ("'nan'::DOUBLE", "DOUBLE", None),
        ("'inf'", "DOUBLE", None),
        ("1.25::DECIMAL(5, 2)", "DOUBLE", 1.25),
        ("'yes'", "BOOLEAN", True),
        ("'0.0'", "BOOLEAN", False),
        ("2", "BOOLEAN", None),
        ("1::TINYINT", "BOOLEAN", True),
        ("'2024-02-29'", "DATE", date(2024, 2, 29)),
        ("'2023-02-29'", "DATE", None),
        ("'02/28/2023'", "DATE", None),
        ("'9999-12-31'", "DATE", None),
        ("'infinity'", "DATE", None),
        ("TIMESTAMP '2024-01-02 03:04:05'", "DATE", date(2024, 1, 2)),
        ("'2024-01-02T03:04:05+02:00'", "TIMESTAMP", datetime(2024, 1, 2, 1, 4, 5)),  # noqa: DTZ001 - UTC, as staged
        ("'2024-01-02 03:04:05'", "TIMESTAMP", datetime(2024, 1, 2, 3, 4, 5)),  # noqa: DTZ001
        ("TIMESTAMPTZ '2024-01-02 03:04:05-05'", "TIMESTAMP", datetime(2024, 1, 2, 8, 4, 5)),  # noqa: DTZ001
        ("DATE '2024-01-02'", "TIMESTAMP", datetime(2024, 1, 2)),  # noqa: DTZ001
        ("'2024-01-02 03:04:05.25Z'", "TIMESTAMP", datetime(2024, 1, 2, 3, 4, 5, 250_000)),  # noqa: DTZ001
        ("'2024-01-02 03:04:05 Europe/Zurich'", "TIMESTAMP", datetime(2024, 1, 2, 2, 4, 5)),  # noqa: DTZ001
        ("'2024-01-02T03:04:05'", "TIMESTAMP", datetime(2024, 1, 2, 3, 4, 5)),  # noqa: DTZ001
        ("'2024-01-02'", "TIMESTAMP", datetime(2024, 1, 2)),  # noqa: DTZ001
        ("7::BIGINT", "TIMESTAMP", None),
        ("123.0::DOUBLE", "VARCHAR", "123"),
        ("0.5::DOUBLE", "VARCHAR", "0.5"),
        ("'nan'::DOUBLE", "VARCHAR", None),
        ("7::BIGINT", "VARCHAR", "7"),
        ("'None'", "VARCHAR", "None"),
        ("""'["L50.1", "a; b", null]'""", "VARCHAR[]", ["L50.1", "a; b", None]),
        ("""'[''L50.1'', ''L50.8'']'""", "VARCHAR[]", ["L50.1", "L50.8"]),
        ("'L50.1; L50.8;'", "VARCHAR[]", ["L50.1", "L50.8"]),
        ("'[]'", "VARCHAR[]", []),
        ("""'["L50.1",'""", "VARCHAR[]", None),
        ("[1, 2]", "VARCHAR[]", ["1", "2"]),
        ("NULL::VARCHAR", "VARCHAR[]", None),
        ("NULL::VARCHAR", "TIMESTAMP", None),
    ],
)
def test_a_value_is_cast_or_null(
    connection: duckdb.DuckDBPyConnection, value: str, dtype: str, expected: object
) -> None:
    described = connection.execute(f"DESCRIBE SELECT {value} AS x").fetchall()
    row = connection.execute(f"SELECT {landing.cast_sql('x', described[0][1], dtype)} FROM (SELECT {value} AS x)")
    assert row.fetchone() == (expected,)


EVENTS = """SELECT * FROM (VALUES
    ('e1', 'P1', '2024-01-05', 'consultation', '10.5', '2024-01-06 12:00:00', 'Ann'),
    ('e2', 'P1', '05.01.2024', 'lab_test', 'ten', NULL, 'Bob'),
    ('e3', '  ', '2024-01-07', 'lab_test', NULL, NULL, 'Cid')
    ) AS t(treatment_event_id, patient_id, event_date, event_type, cost, created_at, Drug_Name)"""


def landed(
    connection: duckdb.DuckDBPyConnection, known_at: KnownAt, query: str = EVENTS, absent: tuple[str, ...] = ()
) -> tuple[landing.Plan, list[str], list[dict[str, Any]]]:
    """Lands a query: the plan, the defects as `what: rows`, the staged rows."""
    described = {name: dtype for name, dtype, *_ in connection.execute(f"DESCRIBE {query}").fetchall()}
    plan = landing.plan(TREATMENT_EVENTS, described, absent)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE rows_read AS {landing.read_sql(plan, query)}")
    rows, *counts = connection.execute(landing.defects_sql(plan, "rows_read")).fetchone() or ()
    lacking, timeless = connection.execute(versions.known_at_defects_sql(plan, known_at, "rows_read")).fetchone() or ()
    found = [
        *landing.defects(plan, rows, counts),
        *versions.known_at_defects(plan, known_at, rows, lacking, timeless),
    ]
    staged = known(connection, plan, known_at)
    return plan, [f"{d.defect}: {d.rows} of {d.of_rows}, {d.treatment}" for d in found], staged


def known(connection: duckdb.DuckDBPyConnection, plan: landing.Plan, known_at: KnownAt) -> list[dict[str, Any]]:
    """The staged rows, from the table `rows_read`."""
    for name, statement in landing.pseudonym_maps(plan, "rows_read").items():
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {statement}")
    final = versions.known_sql(plan, known_at, f"({landing.landed_sql(plan, 'rows_read')})")
    return connection.execute(final).to_arrow_table().to_pylist()


def test_direct_identifiers_are_counted_by_name_and_land_nowhere(connection: duckdb.DuckDBPyConnection) -> None:
    query = f"SELECT *, 'a@b.c' AS \"E-Mail\", 'Ann' AS NPI, 1 AS email_open FROM ({EVENTS})"
    plan, defects, rows = landed(connection, KnownAt(days=2), query)
    assert plan.direct == ("E-Mail", "NPI")
    assert "email_open" in plan.unknown
    why = "left out: never landed, since it identifies a person by itself"
    assert f"E-Mail: a direct identifier: 3 of 3, {why}" in defects
    assert f"NPI: a direct identifier: 3 of 3, {why}" in defects
    assert not {"E-Mail", "NPI"} & set(rows[0])


def test_covariates_widen_a_table_but_not_by_what_names_a_person() -> None:
    wider = landing.with_covariates(PATIENT_JOURNEYS, {"dose_mg": "DOUBLE"})
    assert wider.names == (*PATIENT_JOURNEYS.names, "dose_mg")
    with pytest.raises(ConfigurationError, match=r"e_mail \(e-mail\), MRN \(medical record\) of patient_journeys"):
        landing.with_covariates(PATIENT_JOURNEYS, {"e_mail": "VARCHAR", "dose_mg": "DOUBLE", "MRN": "VARCHAR"})


def test_landing_casts_pseudonymizes_and_counts(connection: duckdb.DuckDBPyConnection) -> None:
    plan, defects, rows = landed(connection, KnownAt(days=2))
    assert plan.unknown == ("Drug_Name",)
    assert defects == [
        "patient_id: blank identifier: 1 of 3, corrected: set to null",
        "event_date: not a DATE (YYYY-MM-DD) between 1700 and 2199: 1 of 3, corrected: set to null",
        "cost: not a finite DOUBLE: 1 of 3, corrected: set to null",
        "Drug_Name: not a column of the data dictionary (is drug_name meant?): 3 of 3, left out",
        "created_at: no known-at time: 1 of 3, corrected: event_date plus 2 days",
        "neither created_at nor event_date: known at no time: 1 of 3, kept, and seen by no point-in-time feature",
    ]
    assert [row["patient_id"] for row in rows] == [*[privacy.pseudonym(KEY, "patient", "P1")] * 2, None]
    assert [row["cost"] for row in rows] == [10.5, None, None]
    assert [row["known_at"] for row in rows] == [
        datetime(2024, 1, 6, 12),  # noqa: DTZ001 - UTC, as staged
        None,
        datetime(2024, 1, 9),  # noqa: DTZ001
    ]
    assert "drug_name" not in rows[0]


def test_event_plus_lag_takes_no_observed_time(connection: duckdb.DuckDBPyConnection) -> None:
    _, defects, rows = landed(connection, KnownAt(kind="event_plus_lag", days=30))
    assert rows[0]["known_at"] == datetime(2024, 2, 4)  # noqa: DTZ001
    assert not any("created_at: no known-at" in defect for defect in defects)


def test_a_column_declared_absent_and_delivered_is_left_out(connection: duckdb.DuckDBPyConnection) -> None:
    plan, defects, rows = landed(connection, KnownAt(), absent=("cost",))
    assert plan.withheld == ("cost",)
    assert "cost" not in rows[0]
    assert "cost: declared absent, and delivered all the same: 3 of 3, left out" in defects


@pytest.mark.parametrize(("lag", "day"), [(0, 1), (10, 11), (None, 5)])
def test_baseline_is_known_by_lag_or_with_the_first_version(
    connection: duckdb.DuckDBPyConnection, lag: int | None, day: int
) -> None:
    query = """SELECT 'J1' AS patient_journey_id, 'P1' AS patient_id, 'Kisqali' AS brand,
        DATE '2024-01-01' AS journey_start_date,
        unnest([TIMESTAMP '2024-01-05', '2024-06-01']) AS ingestion_timestamp"""
    described = {name: dtype for name, dtype, *_ in connection.execute(f"DESCRIBE {query}").fetchall()}
    plan = landing.plan(PATIENT_JOURNEYS, described, ())
    connection.execute(f"CREATE TEMP TABLE rows_read AS {landing.read_sql(plan, query)}")
    rows = known(connection, plan, KnownAt(baseline_lag_days=lag))
    rows.sort(key=lambda row: row["known_at"])
    assert [row["known_at"] for row in rows] == [datetime(2024, 1, 5), datetime(2024, 6, 1)]  # noqa: DTZ001
    assert [row["baseline_known_at"] for row in rows] == [datetime(2024, 1, day)] * 2  # noqa: DTZ001


def test_direct_identifiers_are_in_no_part_of_the_plan() -> None:
    found = dict.fromkeys(("hcp_id", "specialty", "npi", "first_name", "last_name"), "VARCHAR")
    plan = landing.plan(HCP_PROFILES, found, ())
    assert [column.name for column, _ in plan.landed] == ["hcp_id", "specialty"]
    assert plan.unknown == plan.withheld == ()
    assert "npi" not in landing.read_sql(plan, "SELECT 1")


def test_missing_columns_are_named_with_what_looks_like_them() -> None:
    plan = landing.plan(TREATMENT_EVENTS, {"treatment_event_id": "VARCHAR", "PatientID": "VARCHAR"}, ())
    assert landing.missing_columns_message(plan, ["treatment_event_id", "PatientID"]) == (
        "treatment_events lacks the required columns patient_id (is PatientID meant?), event_date, event_type. Columns "
        "found: treatment_event_id, PatientID. Rename or add columns as the data dictionary names them."
    )


def test_a_file_without_a_header_is_not_repeated() -> None:
    found = {"P-1": "VARCHAR", "2024-01-05": "VARCHAR"}
    message = landing.missing_columns_message(landing.plan(TREATMENT_EVENTS, found, ()), list(found))
    assert message.startswith("None of the 2 columns found for treatment_events has a name of the data dictionary")
    assert "P-1" not in message


@pytest.mark.parametrize(
    ("tables", "columns", "message"),
    [
        (("hcp_profile",), {}, "source.absent.tables names hcp_profile.*Did you mean hcp_profiles?"),
        (("patient_journeys",), {}, "without patient_journeys there is nothing to predict"),
        ((), {"orders": ("x",)}, "source.absent.columns names orders"),
        ((), {"hcp_profiles": ("dezile",)}, "source.absent.columns.hcp_profiles names dezile.*Did you mean decile?"),
        ((), {"hcp_profiles": ("specialty",)}, "names specialty, which every source must deliver"),
    ],
)
def test_absences_that_cannot_be_are_refused(
    tables: tuple[str, ...], columns: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        landing.check_absences(Absences(tables=tables, columns=columns))

"""PostgreSQL as a source: a real server, and what it delivers, refuses, and loses."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest

from e2i_pipeline.errors import ConfigurationError, SourceError, StateFolderConflict, ToolUnavailable
from e2i_pipeline.resources.connectors import postgres_copy
from e2i_pipeline.resources.connectors.postgres import STREAM, PostgresConnector
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.resources.connectors import postgres_source
from e2i_pipeline_tests.resources.connectors.postgres_source import Make, rows, sql

postgres, url, make = postgres_source.postgres, postgres_source.url, postgres_source.make

NOW = datetime(2026, 2, 1, tzinfo=UTC)
EVENTS = """CREATE TABLE treatment_events (treatment_event_id text, patient_id text, event_date date, event_type text,
    cost numeric(12, 2), created_at timestamptz, email text, note text)"""
RAW = (b"PATIENT-ONE", b"p1@example.org", b"EVENT-1", b"a note on somebody")


def delivered(url: str, table: str = "treatment_events", **options: Any) -> list[tuple[Any, ...]]:
    """All that a connector delivers of a table."""
    with duckdb.connect() as connection:
        query = PostgresConnector(url, **options).query(connection, table)
        assert query is not None
        return connection.execute(query).fetchall()


def test_lands_what_is_wanted_and_reports_the_rest(make: Make, url: str, tmp_path: Path) -> None:
    sql(
        url,
        EVENTS,
        "INSERT INTO treatment_events VALUES ('EVENT-1', 'PATIENT-ONE', '2024-01-01', 'consultation', 12.50, "
        "'2024-01-02 03:00+02', 'p1@example.org', 'a note on somebody'), ('EVENT-2', ' ', '1500-01-01', 'lab_test', "
        "'NaN', 'infinity', NULL, NULL)",
    )
    staged = make().stage("treatment_events", NOW)
    assert rows(staged, "event_date::text, event_type, cost, created_at::text, known_at::text", "event_type") == [
        ("2024-01-01", "consultation", 12.5, "2024-01-02 01:00:00", "2024-01-02 01:00:00"),
        (None, "lab_test", None, None, None),
    ]
    found = {defect.defect: (defect.rows, defect.of_rows) for defect in staged.defects}
    assert found["email: a direct identifier"] == (2, 2)
    assert found["note: not a column of the data dictionary"] == (2, 2)
    assert found["patient_id: blank identifier"] == (1, 2)
    assert found["created_at: not a TIMESTAMP (YYYY-MM-DD HH:MM:SS) between 1700 and 2199"] == (1, 2)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert not [token for token in (*RAW, b"a-test") if token in written]


def test_a_direct_identifier_does_not_leave_the_database(url: str) -> None:
    user = _reader(url, EVENTS, columns="treatment_event_id, patient_id, event_date, event_type, cost, created_at")
    sql(url, "INSERT INTO treatment_events (treatment_event_id, email) VALUES ('E', 'p1@example.org')")
    assert delivered(user) == [("E", None, None, None, None, None, None, None)]


def test_every_type_comes_over_as_it_is(url: str) -> None:
    nasty = "tab\there, line\nbreak, back\\slash, \\N, \\\\n, quote\" and '', café, cr\rlf\r\n, \x01\x0b\x0c\x08"
    sql(
        url,
        "CREATE TYPE kind AS ENUM ('lab_test', 'visit'); CREATE DOMAIN code AS text CHECK (value <> '-')",
        "CREATE TABLE treatment_events (treatment_event_id uuid, patient_id numeric(12, 2), hcp_id bigint, "
        "patient_journey_id char(8), event_date timestamptz, event_type kind, duration_days smallint, cost real, "
        "icd_codes text[], cpt_codes varchar(9)[], lab_values jsonb, adverse_event_flag boolean, "
        "discontinuation_flag integer, brand code, drug_name text, facility_id boolean, created_at timestamp)",
        "INSERT INTO treatment_events VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 123.00, 9007199254740993, 'J1', "
        "'2024-05-01 23:30:00-05', 'lab_test', 7, 0.1, ARRAY['L50.1', 'a,b \"c\"', NULL], '{}', "
        "'{\"ige\": [1, \"x\\\\y\"]}', true, 1, 'Kisqali', E" + _escaped(nasty) + ", false, '2024-01-01 00:00:00.25'), "
        "(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), "
        "(NULL, NULL, NULL, '', '0044-03-15 BC', NULL, NULL, 'NaN', '{{a},{b}}', NULL, NULL, NULL, NULL, '', '', NULL, "
        "'-infinity')",
    )
    full, empty, odd = delivered(url)
    assert full == (
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "123",
        "9007199254740993",
        "J1",
        datetime.fromisoformat("2024-05-02 04:30"),
        "lab_test",
        7,
        0.1,
        '["L50.1","a,b \\"c\\"",null]',
        "[]",
        '{"ige": [1, "x\\\\y"]}',
        True,
        1,
        "Kisqali",
        nasty,
        False,
        datetime.fromisoformat("2024-01-01 00:00:00.250"),
    )
    assert set(empty) == {None}
    assert odd[3:5] == ("", datetime.fromisoformat("0001-01-01"))
    assert odd[8] == '[["a"],["b"]]'
    assert odd[13:17] == ("", "", None, datetime.fromisoformat("0001-01-01"))


def test_finds_what_it_landed_and_sees_each_kind_of_change(make: Make, url: str) -> None:
    sql(url, EVENTS, _event("E1"))
    source = make()
    before = source.stage("treatment_events", NOW)
    assert source.is_landed("treatment_events") or source.stage("treatment_events", NOW).version == before.version
    assert source.stage("treatment_events", NOW).location == before.location
    for change in (
        _event("E2"),
        "UPDATE treatment_events SET cost = 99 WHERE treatment_event_id = 'E1'",
        "DELETE FROM treatment_events WHERE treatment_event_id = 'E2'",
        "ALTER TABLE treatment_events ADD COLUMN drug_name text DEFAULT 'x'",
        "TRUNCATE treatment_events",
    ):
        noted = source.fingerprint("treatment_events")
        sql(url, change)
        _await(lambda noted=noted: source.fingerprint("treatment_events") != noted)
    assert source.stage("treatment_events", NOW).rows == 0


def test_a_new_row_is_seen_at_once_where_an_index_shows_it(url: str) -> None:
    sql(url, EVENTS, "CREATE INDEX ON treatment_events (created_at)", _event("E1"))
    writer = psycopg2.connect(url)
    connector = PostgresConnector(url)
    noted = connector.fingerprint("treatment_events")
    with writer, writer.cursor() as cursor:
        cursor.execute(_event("E2", "2024-03-01"))
    assert connector.fingerprint("treatment_events") != noted
    writer.close()


def test_views_and_partitions_are_read_and_watched(url: str) -> None:
    sql(
        url,
        EVENTS + " PARTITION BY LIST (event_type)",
        "CREATE TABLE p PARTITION OF treatment_events FOR VALUES IN ('consultation')",
        'CREATE SCHEMA crm; CREATE VIEW crm."the Events" AS SELECT * FROM treatment_events',
        _event("E1"),
    )
    renamed: dict[str, Any] = {"tables": {"treatment_events": "crm.the Events"}}
    every: list[dict[str, Any]] = [{}, renamed]
    for options in every:
        connector = PostgresConnector(url, **options)
        noted = connector.fingerprint("treatment_events")
        sql(url, _event("E2"))
        _await(lambda connector=connector, noted=noted: connector.fingerprint("treatment_events") != noted)
    assert len(delivered(url)) == len(delivered(url, **renamed)) == 3


def test_reads_one_moment_although_the_table_changes_meanwhile(url: str) -> None:
    sql(url, EVENTS, _many(50_000))
    with duckdb.connect() as connection:
        query = PostgresConnector(url, batch_rows=100).query(connection, "treatment_events")
        sql(url, "UPDATE treatment_events SET cost = -1", "DELETE FROM treatment_events WHERE treatment_event_id < '3'")
        assert connection.execute(f"SELECT count(*), count(*) FILTER (cost = 1) FROM ({query})").fetchall() == [
            (50_000, 50_000)
        ]


def test_a_change_while_it_is_read_is_no_error(make: Make, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sql(url, EVENTS, _many(1000))
    whole = PostgresConnector.query

    def query(self: PostgresConnector, connection: duckdb.DuckDBPyConnection, table: str) -> str | None:
        statement = whole(self, connection, table)
        sql(url, "UPDATE treatment_events SET cost = -1")
        return statement

    monkeypatch.setattr(PostgresConnector, "query", query)
    staged = make().stage("treatment_events", NOW)
    assert rows(staged, "count(*), min(cost)") == [(1000, 1.0)]


def test_a_server_that_stops_in_the_middle_leaves_nothing(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = _server()
    url = server.database()
    sql(url, EVENTS, _many(50_000, "repeat('x', 1000)"))
    _at_the_third_batch(monkeypatch, server.stop)
    with pytest.raises(ToolUnavailable, match="connection was lost"):
        make(url=url, options={"batch_rows": 100}).stage("treatment_events", NOW)
    with pytest.raises(ToolUnavailable, match="could not be reached"):
        make(url=url).stage("treatment_events", NOW)
    assert not list((tmp_path / "state").rglob("*.parquet"))


def test_a_transfer_that_is_cut_off_ends_the_staging(
    make: Make, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql(url, EVENTS, _many(50_000, "repeat('x', 1000)"))
    _at_the_third_batch(monkeypatch, lambda: _terminate_readers(url))
    with pytest.raises(ToolUnavailable, match="connection was lost") as caught:
        make(options={"batch_rows": 100}).stage("treatment_events", NOW)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert not list((tmp_path / "state").rglob("*.parquet"))
    assert make().stage("treatment_events", NOW).rows == 50_000


def test_an_engine_that_gives_up_ends_the_transfer(url: str) -> None:
    sql(url, EVENTS, _many(50_000))
    with duckdb.connect() as connection:
        query = PostgresConnector(url, batch_rows=100).query(connection, "treatment_events")
        with pytest.raises(duckdb.Error):
            connection.execute(f"SELECT error(treatment_event_id) FROM ({query})").fetchall()
    _await(lambda: not _readers(url))
    assert not [t for t in threading.enumerate() if t.name.endswith("(_copy)")]


def test_a_role_that_may_only_read_suffices_and_cannot_write(make: Make, url: str) -> None:
    user = _reader(url, EVENTS)
    sql(url, _event("E1"))
    assert make(url=user).stage("treatment_events", NOW).rows == 1
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        sql(user, _event("E2"))
    server = PostgresConnector(url)._server
    with server.transaction("treatment_events") as cursor, pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        cursor.execute(_event("E2"))
    with server.transaction("treatment_events") as cursor:
        cursor.execute("SELECT current_setting('transaction_isolation'), current_setting('application_name')")
        assert cursor.fetchone() == ("repeatable read", "e2i-pipeline")


def test_row_level_security_is_not_taken_for_the_whole_table(make: Make, url: str) -> None:
    user = _reader(url, EVENTS)
    sql(url, _event("E1"), "ALTER TABLE treatment_events ENABLE ROW LEVEL SECURITY")
    with pytest.raises(SourceError, match="BYPASSRLS"):
        make(url=user).stage("treatment_events", NOW)
    sql(url, f"ALTER ROLE {_user(user)} BYPASSRLS")
    assert make(url=user).stage("treatment_events", NOW).rows == 1


def test_says_what_is_wrong_without_the_password_or_a_value(make: Make, url: str) -> None:
    sql(url, EVENTS, _event("E1"), "CREATE ROLE stranger LOGIN PASSWORD 'secret-word'")
    sql(url, "CREATE VIEW odd AS SELECT *, 1 / (cost - cost)::int AS duration_days FROM treatment_events")
    server, _, name = url.rpartition("@")[2].partition("/")
    stranger = f"postgresql://stranger:secret-word@{server}/{name}"
    wrong = f"postgresql://e2i:secret-word@{server}/{name}"
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ConfigurationError, "E2I_SOURCE_URL does not say where", {"url": ""}),
        (ConfigurationError, "no address of a PostgreSQL database", {"url": "postgres//secret-word"}),
        (ToolUnavailable, "could not be reached", {"url": "postgresql://e2i:secret-word@127.0.0.1:1/x"}),
        (SourceError, "refused the user or the password", {"url": wrong}),
        (SourceError, "does not have that database", {"url": url + "x"}),
        (SourceError, "GRANT SELECT ON", {"url": stranger}),
        (SourceError, 'has no .*"elsewhere".*There: nothing', {"options": {"schema": "elsewhere"}}),
        (SourceError, "SQLSTATE 22012", {"options": {"tables": {"treatment_events": "odd"}}}),
        (SourceError, "offers no TLS", {"url": url + "?sslmode=require"}),
    ]
    for kind, message, given in cases:
        source = make(**given, state_dir=make().state_dir + str(len(message)))
        with pytest.raises(kind, match=message) as caught:
            source.stage("treatment_events", NOW)
        assert "secret-word" not in f"{caught.value!r} {caught.value.__cause__!r}"
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    sql(url, "CREATE TABLE hcp_profiles (hcp_id text)")
    with pytest.raises(SourceError, match="lacks the required column"):
        make().stage("hcp_profiles", NOW)


def test_a_statement_that_takes_too_long_is_ended(make: Make, url: str) -> None:
    sql(url, EVENTS, _event("E1"))
    sql(url, "CREATE VIEW slow AS SELECT e.* FROM treatment_events e, LATERAL (SELECT pg_sleep(60)) AS s")
    source = make(options={"tables": {"treatment_events": "slow"}, "statement_timeout": 1})
    with pytest.raises(ToolUnavailable, match="within 1 s"):
        source.stage("treatment_events", NOW)


def test_an_optional_table_may_be_missing_and_a_state_folder_keeps_to_its_database(
    make: Make, url: str, postgres: servers.Postgres
) -> None:
    assert make().stage("engagement_events", NOW).is_absent
    with pytest.raises(StateFolderConflict) as caught:
        make(url=postgres.database()).stage("engagement_events", NOW)
    assert "test%27s" not in str(caught.value)


def test_needs_no_more_memory_than_some_batches(url: str) -> None:
    sql(url, EVENTS, _many(30_000))
    with duckdb.connect() as connection:
        connector = PostgresConnector(url, batch_rows=100)
        query = connector.query(connection, "treatment_events")
        reader = connection.table(STREAM).to_arrow_reader(100) if query else iter(())
        next(iter(reader))
        waiting = connector._transfer._batches._queue if connector._transfer else None
        assert waiting is not None
        assert waiting.qsize() <= waiting.maxsize == 2


def _event(key: str, known: str = "2024-01-02") -> str:
    return (
        "INSERT INTO treatment_events (treatment_event_id, patient_id, event_date, event_type, cost, created_at) "
        f"VALUES ('{key}', 'P-{key}', '2024-01-01', 'consultation', 1, '{known}')"
    )


def _at_the_third_batch(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Has something happen in the middle of the first transfer."""
    parse, seen = postgres_copy._parse, []

    def watched(lines: bytes, fields: Any) -> Any:
        seen.append(len(lines))
        if len(seen) == 3:
            act()
        return parse(lines, fields)

    monkeypatch.setattr(postgres_copy, "_parse", watched)


def _many(count: int, event_type: str = "'lab_test'") -> str:
    return (
        "INSERT INTO treatment_events (treatment_event_id, patient_id, event_date, event_type, cost, created_at) "
        f"SELECT i::text, 'P' || i, '2024-01-01', {event_type}, 1, '2024-01-02' FROM generate_series(1, {count}) i"
    )


def _reader(url: str, table: str, columns: str = "") -> str:
    """Makes the table and a role that may read it, or some columns of it, and nothing else; gives the role's URL."""
    server, _, name = url.rpartition("@")[2].partition("/")
    role = f"reader_{name}"
    granted = f"SELECT ({columns})" if columns else "SELECT"
    sql(url, table, f"CREATE ROLE {role} LOGIN PASSWORD 'pw'", f"GRANT {granted} ON treatment_events TO {role}")
    return f"postgresql://{role}:pw@{server}/{name}"


def _user(url: str) -> str:
    return url.partition("://")[2].partition(":")[0]


def _readers(url: str) -> list[tuple[Any, ...]]:
    return sql(
        url,
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'e2i-pipeline' AND datname = current_database()",
    )


def _terminate_readers(url: str) -> None:
    for (pid,) in _readers(url):
        sql(url, f"SELECT pg_terminate_backend({pid}, 10000)")


def _await(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        threading.Event().wait(0.01)
    pytest.fail("it did not come to hold within 30 s")


def _escaped(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _server() -> servers.Postgres:
    binaries = servers._postgres_binaries()
    assert binaries is not None
    return servers.Postgres(binaries)

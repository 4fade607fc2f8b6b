"""The history of an incremental source: what each pull adds, what it does not, and what outlives the source."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.domain.privacy import pseudonym
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.connectors import postgres_increments
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.sources import SourceResource
from e2i_pipeline_tests import servers
from e2i_pipeline_tests.pulls import CLOCK
from e2i_pipeline_tests.resources.connectors.test_postgres import sql

postgres = servers.postgres

NOW = datetime(2026, 2, 1, tzinfo=UTC)
KEY = "a-key-for-the-history"
EVENTS = """CREATE TABLE treatment_events (treatment_event_id text, patient_id text, event_date date, event_type text,
    cost float, created_at timestamptz, is_deleted boolean, severity float)"""

Pull = Callable[..., TableRef]


@pytest.fixture
def url(postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with an empty table, whose clock stands at the beginning of 2025."""
    monkeypatch.setenv("E2I_PSEUDONYM_KEY", KEY)
    monkeypatch.setattr(postgres_increments, "CLOCK", CLOCK)
    url = postgres.database()
    sql(url, EVENTS, "CREATE TABLE sim_clock AS SELECT timestamptz '2025-01-01 00:00Z' AS at")
    return url


@pytest.fixture
def pull(url: str, tmp_path: Path) -> Pull:
    """Changes the table, sets the day, and pulls."""

    def done(day: str, *statements: str, **given: Any) -> TableRef:
        sql(url, *statements, f"UPDATE sim_clock SET at = '{day} 23:00Z'", "SELECT pg_stat_force_next_flush()")
        options = {"mode": "incremental", "reconcile_every_days": 0, **given.pop("options", {})}
        settings = {
            "kind": "postgres",
            "state_dir": str(tmp_path / "state"),
            "brands": ["Kisqali"],
            "cohort": {"unit": "patient", "outcome_window_days": 180},
            "known_at": {"kind": "observed", "days": 0, "baseline_lag_days": None},
            "absent": {"tables": [], "columns": {}},
            "url": url,
            "options": options,
            "engine": EngineResource(temp_dir=str(tmp_path / "spill")),
        }
        return SourceResource(**{**settings, **given}).stage("treatment_events", NOW)

    return done


def test_a_late_row_and_a_correction_are_further_versions(pull: Pull) -> None:
    pull("2025-01-01", _insert("A", 1, "2025-01-01 10:00"))
    pull("2025-01-02", _set("A", "cost = 2, created_at = '2025-01-02 09:00Z'"), _insert("L", 5, "2025-01-01 23:30"))
    staged = pull("2025-01-03", _insert("B", 3, "2025-01-03 10:00"))
    assert _versions(staged) == {
        ("A", 1.0, "2025-01-01 10:00:00", "2025-01-02 09:00:00"),
        ("A", 2.0, "2025-01-02 09:00:00", None),
        ("L", 5.0, "2025-01-01 23:30:00", None),
        ("B", 3.0, "2025-01-03 10:00:00", None),
    }


def test_a_row_restated_in_place_replaces_what_it_said(pull: Pull) -> None:
    pull("2025-01-01", _insert("A", 1, "2025-01-01 10:00"))
    staged = pull("2025-01-02", _set("A", "cost = 2"))
    assert _versions(staged) == {("A", 2.0, "2025-01-01 10:00:00", None)}


def test_a_boolean_tombstone_ends_what_was_known(pull: Pull) -> None:
    history = {"restated": [], "tombstones": {"treatment_events": "is_deleted"}}
    pull("2025-01-01", _insert("A", 1, "2025-01-01 10:00"), history=history)
    change = _set("A", "is_deleted = true, created_at = '2025-01-02 09:00Z'")
    assert _versions(pull("2025-01-02", change, history=history)) == {
        ("A", 1.0, "2025-01-01 10:00:00", "2025-01-02 09:00:00")
    }


def test_reading_all_finds_what_is_gone_what_was_missed_and_what_came_back(pull: Pull) -> None:
    weekly = {"options": {"reconcile_every_days": 7}}
    pull("2025-01-02", _insert("A", 1, "2025-01-01 10:00"), _insert("B", 2, "2025-01-01 11:00"), **weekly)
    within = pull("2025-01-04", _delete("A"), _insert("L", 3, "2024-06-01 10:00"), **weekly)
    assert {key for key, *_ in _versions(within)} == {"A", "B"}
    assert _versions(pull("2025-01-09", **weekly)) == {
        ("A", 1.0, "2025-01-01 10:00:00", "2025-01-09 23:00:00"),
        ("B", 2.0, "2025-01-01 11:00:00", None),
        ("L", 3.0, "2024-06-01 10:00:00", None),
    }
    again = pull("2025-01-10", _insert("A", 7, "2025-01-10 10:00"), **weekly)
    assert {v for v in _versions(again) if v[0] == "A"} == {
        ("A", 1.0, "2025-01-01 10:00:00", "2025-01-09 23:00:00"),
        ("A", 7.0, "2025-01-10 10:00:00", None),
    }


def test_a_key_that_comes_back_as_it_was_counts_as_never_gone(pull: Pull) -> None:
    daily = {"options": {"reconcile_every_days": 1}}
    pull("2025-01-01", _insert("A", 1, "2025-01-01 10:00"), **daily)
    assert _versions(pull("2025-01-02", _delete("A"), **daily)) == {
        ("A", 1.0, "2025-01-01 10:00:00", "2025-01-02 23:00:00")
    }
    assert _versions(pull("2025-01-03", _insert("A", 1, "2025-01-01 10:00"), **daily)) == {
        ("A", 1.0, "2025-01-01 10:00:00", None)
    }


def test_a_new_covariate_reads_all_and_keeps_what_was(pull: Pull) -> None:
    pull("2025-01-01", _insert("A", 1, "2025-01-01 10:00"), _insert("B", 2, "2025-01-01 11:00"))
    pull("2025-01-02", _set("A", "cost = 9, severity = 4, created_at = '2025-01-02 10:00Z'"))
    staged = pull("2025-01-03", _set("B", "severity = 6"), covariates={"treatment_events": {"severity": "DOUBLE"}})
    found = duckdb.execute("SELECT cost, severity FROM read_parquet(?) ORDER BY 1", [staged.location]).fetchall()
    assert found == [(1.0, None), (2.0, 6.0), (9.0, 4.0)]


def test_what_was_read_before_is_not_kept_twice_and_outlives_the_staged_tables(pull: Pull, tmp_path: Path) -> None:
    first = pull("2025-01-01", _insert("A", 1, "2025-01-01 10:00"))
    pull("2025-01-02", _set("A", "cost = 2, created_at = '2025-01-02 09:00Z'"))
    chunks = _chunks(tmp_path)
    assert [rows for _, rows in chunks] == [1, 1]
    shutil.rmtree(tmp_path / "state" / "staging")
    again = pull("2025-01-02")
    assert _chunks(tmp_path) == chunks
    assert {cost for _, cost, *_ in _versions(again)} == {1.0, 2.0}
    assert first.version != again.version


def test_one_absurd_time_does_not_keep_what_comes_after_from_being_read(pull: Pull) -> None:
    pull("2025-01-01", _insert("A", 1, "2025-01-01 10:00"), _insert("X", 1, "2150-01-01 00:00"))
    staged = pull("2025-01-02", _insert("B", 2, "2025-01-02 10:00"), _insert("N", 4, None))
    assert {key for key, *_ in _versions(staged)} == {"A", "X", "B", "N"}


def test_a_watermark_that_is_no_time_is_refused(pull: Pull) -> None:
    for name, what in (("event_type", "is no date or timestamp"), ("nowhere", "is not a column of it")):
        with pytest.raises(ConfigurationError, match=what):
            pull("2025-01-01", options={"watermark": {"treatment_events": name}})


def test_identifiers_are_pseudonyms_and_another_key_begins_another_history(
    pull: Pull, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull("2025-01-01", _insert("RAW-EVENT", 1, "2025-01-01 10:00"))
    kept = [path for path in (tmp_path / "state" / "history").rglob("*") if path.is_file()]
    assert len(kept) == 3
    assert not [path for path in kept if b"RAW-EVENT" in path.read_bytes()]
    monkeypatch.setenv("E2I_PSEUDONYM_KEY", "another-key-for-the-history")
    assert pull("2025-01-02").rows == 1
    assert len(list((tmp_path / "state" / "history" / "treatment_events").iterdir())) == 2


def _versions(staged: TableRef) -> set[tuple[str, float, str, str | None]]:
    names = {pseudonym(KEY.encode(), "event", key): key for key in "ABLNX"}
    rows = duckdb.execute(
        "SELECT treatment_event_id, cost, known_at::text, superseded_at::text FROM read_parquet(?)", [staged.location]
    ).fetchall()
    found = [(names[key], *rest) for key, *rest in rows]
    assert len(set(found)) == len(found)
    return set(found)


def _chunks(folder: Path) -> list[tuple[str, int]]:
    files = sorted((folder / "state" / "history").rglob("rows.parquet"))
    counts = [duckdb.execute("SELECT count(*) FROM read_parquet(?)", [str(file)]).fetchall()[0][0] for file in files]
    return [(file.parent.name, count) for file, count in zip(files, counts, strict=True)]


def _insert(key: str, cost: float, known: str | None) -> str:
    moment = f"'{known}Z'" if known else "NULL"
    return (
        "INSERT INTO treatment_events (treatment_event_id, patient_id, event_date, event_type, cost, created_at) "
        f"VALUES ('{key}', 'P', '2025-01-01', 'lab_test', {cost}, {moment})"
    )


def _set(key: str, change: str) -> str:
    return f"UPDATE treatment_events SET {change} WHERE treatment_event_id = '{key}'"


def _delete(key: str) -> str:
    return f"DELETE FROM treatment_events WHERE treatment_event_id = '{key}'"

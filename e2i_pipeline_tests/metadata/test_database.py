"""A database opens only as declared, writes portably, and its errors name neither passwords nor values."""

import math
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from e2i_pipeline.errors import ConfigurationError, ToolRejected, ToolUnavailable
from e2i_pipeline.metadata.database import Database, insert_missing, parse_url, upsert
from e2i_pipeline.metadata.features import FeatureStatistics
from e2i_pipeline.metadata.migration import migrate
from e2i_pipeline.metadata.quality import GateVerdict
from e2i_pipeline.metadata.values import plain
from e2i_pipeline_tests import servers

FEATURE = {"id": "1", "brand": "Kisqali", "feature": "risk_score", "version": "v"}


@pytest.mark.parametrize("bad", ["", "nonsense", "mysql://me:s3cret@host/db", "sqlite://", "sqlite:///:memory:"])
def test_other_addresses_are_refused_without_their_password(bad: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Database(bad)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_postgresql_goes_through_the_installed_driver(scheme: str) -> None:
    assert parse_url(f"{scheme}://e2i:pw@host/db").drivername == "postgresql+psycopg2"


def test_unreachable_server_is_unavailable_and_its_password_unsaid() -> None:
    url = f"postgresql://e2i:s3cret@127.0.0.1:{servers.free_port()}/db?password=s3cret2"
    with pytest.raises(ToolUnavailable, match="Check that it is up") as failure:
        migrate(url)
    assert "s3cret" not in str(failure.value)


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        Database(f"sqlite:///{tmp_path}/file/metadata.db")


def test_sqlite_is_set_for_several_processes(tmp_path: Path) -> None:
    database = migrate(f"sqlite:///{tmp_path}/new/folder/metadata.db")
    with database.read() as connection:
        pragmas = {p: connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "foreign_keys")}
        assert pragmas == {"journal_mode": "wal", "foreign_keys": 1}
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


def test_locked_database_is_unavailable(tmp_path: Path) -> None:
    database = migrate(f"sqlite:///{tmp_path}/metadata.db")
    other = sqlite3.connect(tmp_path / "metadata.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 1")
    with pytest.raises(ToolUnavailable, match="locked"), database.write():
        pass
    other.close()
    with database.write():
        pass


def test_repeated_write_updates_only_what_it_names(url: str) -> None:
    database = migrate(url)
    with database.write() as connection:
        upsert(connection, FeatureStatistics, {**FEATURE, "mean": 1.0, "entity": "patient_id"}, ["id"])
        upsert(connection, FeatureStatistics, {**FEATURE, "mean": 2.0, "source": "x"}, ["id"], keep=["mean"])
    (row,) = database.rows(sa.select(FeatureStatistics.__table__))
    assert (row["mean"], row["entity"], row["source"], row["histogram"]) == (1.0, "patient_id", "x", None)
    assert row["recorded_at"].tzinfo is UTC


def test_older_write_does_not_replace_a_newer_one(url: str) -> None:
    database = migrate(url)
    base = {"key": "k", "gate": "data_quality", "subject": "s", "data_version": "d", "suite_hash": "h"}
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    for passed, at in [(True, noon), (False, noon - timedelta(hours=1))]:
        row = {**base, "gate_hash": "g", "is_passed": passed, "reasons": [], "warnings": [], "decided_at": at}
        with database.write() as connection:
            upsert(connection, GateVerdict, row, ["key"], newer="decided_at")
    assert [r["is_passed"] for r in database.rows(sa.select(GateVerdict.__table__))] == [True]


def test_values_come_back_alike_from_both_databases(url: str) -> None:
    import numpy as np

    database = migrate(url)
    row = {
        **FEATURE,
        "mean": np.float64(0.5),
        "std": float("nan"),
        "min": -math.inf,
        "unique_count": np.int64(3_000_000_000),
        "entity": "a\x00b",
        "histogram": {"edges": (0.0, math.nan), "counts": [np.int32(4)], "note": "c\x00d"},
    }
    with database.write() as connection:
        insert_missing(connection, FeatureStatistics, [row])
        insert_missing(connection, FeatureStatistics, [{**row, "mean": 9.0}])
    (back,) = database.rows(sa.select(FeatureStatistics.__table__))
    assert (back["mean"], back["std"], back["min"], back["unique_count"]) == (0.5, None, None, 3_000_000_000)
    assert (back["entity"], back["histogram"]) == ("ab", {"edges": [0.0, None], "counts": [4], "note": "cd"})


def test_times_come_back_in_utc(url: str) -> None:
    database = migrate(url)
    at = datetime(2026, 3, 1, 1, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    base = {"key": "k", "gate": "evaluation", "subject": "s", "data_version": "d", "suite_hash": "h", "gate_hash": "g"}
    row = {**base, "is_passed": True, "reasons": [], "warnings": []}
    with database.write() as connection:
        upsert(connection, GateVerdict, {**row, "decided_at": at}, ["key"])
    back = database.rows(sa.select(GateVerdict.__table__))[0]["decided_at"]
    assert back.isoformat() == "2026-02-28T23:30:00.123456+00:00"
    with pytest.raises(ToolRejected, match="without a time zone"), database.write() as connection:
        upsert(connection, GateVerdict, {**row, "decided_at": datetime(2026, 1, 1)}, ["key"])  # noqa: DTZ001


def test_refused_row_is_not_repeated_in_the_error(url: str) -> None:
    database = migrate(url)
    bad = {**FEATURE, "id": "2", "feature_type": "patient-4711"}
    with database.write() as connection:
        upsert(connection, FeatureStatistics, FEATURE, ["id"])
    with pytest.raises(ToolRejected, match="feature_store") as refusal, database.write() as connection:
        upsert(connection, FeatureStatistics, bad, ["id"])
    assert "4711" not in str(refusal.value)
    assert refusal.value.__suppress_context__
    with pytest.raises(ToolRejected, match="no column no_such_column"), database.write() as connection:
        upsert(connection, FeatureStatistics, {**FEATURE, "no_such_column": 1}, ["id"])


def test_data_frame_is_no_json_value() -> None:
    import pandas as pd

    with pytest.raises(TypeError, match="DataFrame is not a JSON value"):
        plain({"rows": pd.DataFrame({"patient_id": ["4711"]})})

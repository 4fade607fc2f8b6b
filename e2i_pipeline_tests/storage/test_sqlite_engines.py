"""Connections that stay open: written once, seen by all, and never into a file that is gone."""

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from e2i_pipeline.storage.dagster_sqlite import SharedSqliteStorage
from e2i_pipeline.storage.sqlite_engines import KEPT_ENGINES, close_engines, engine_of

_SECONDS = 30
"""Far longer than anything here takes."""


def _table(file: Path) -> sa.Engine:
    engine = engine_of(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(sa.text("PRAGMA journal_mode = WAL"))
        connection.execute(sa.text("CREATE TABLE t (x INTEGER)"))
        connection.execute(sa.text("INSERT INTO t VALUES (1)"))
    return engine


def test_a_file_has_one_engine_and_its_connection_stays_open(tmp_path: Path) -> None:
    engine = _table(tmp_path / "a.db")
    assert engine_of(f"sqlite:///{tmp_path}/a.db") is engine
    assert (tmp_path / "a.db-wal").exists()  # it goes with the last connection
    with sqlite3.connect(tmp_path / "a.db") as other:
        assert other.execute("SELECT x FROM t").fetchall() == [(1,)]

    close_engines()
    other.close()
    assert not (tmp_path / "a.db-wal").exists()


def test_a_file_that_was_deleted_is_opened_anew(tmp_path: Path) -> None:
    _table(tmp_path / "a.db")
    for file in tmp_path.iterdir():
        file.unlink()
    engine = _table(tmp_path / "a.db")
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM t")).scalar() == 1


def test_few_files_are_open_at_once(tmp_path: Path) -> None:
    for number in range(KEPT_ENGINES + 3):
        _table(tmp_path / f"{number}.db")
    assert len(list(tmp_path.glob("*.db-wal"))) == KEPT_ENGINES
    with engine_of(f"sqlite:///{tmp_path}/0.db").connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM t")).scalar() == 1


def test_a_connection_in_use_outlives_the_closing_of_the_others(tmp_path: Path) -> None:
    with _table(tmp_path / "a.db").connect() as connection:
        close_engines()
        assert connection.execute(sa.text("SELECT count(*) FROM t")).scalar() == 1


def test_who_watches_a_run_hears_of_each_event_once(tmp_path: Path) -> None:
    storage, heard, is_over = SharedSqliteStorage(str(tmp_path)), list[str](), threading.Event()

    def listen(entry: dg.EventLogEntry, _cursor: str) -> None:
        heard.append(entry.user_message)
        if entry.user_message == "9":
            is_over.set()

    run = "12345678-1234-1234-1234-123456789012"
    storage.event_log_storage.store_event(_entry(run, "0"))
    storage.event_log_storage.watch(run, None, listen)
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from e2i_pipeline_tests.storage.test_sqlite_engines import SharedSqliteStorage, _entry\n"
        f"events = SharedSqliteStorage({str(tmp_path)!r}).event_log_storage\n"
        f"[events.store_event(_entry({run!r}, str(number))) for number in range(1, 10)]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 - our own interpreter, no shell
    assert is_over.wait(_SECONDS)
    storage.event_log_storage.end_watch(run, listen)
    storage.dispose()

    assert heard == [str(number) for number in range(10)]


def test_wiping_leaves_nothing_to_write_into(tmp_path: Path) -> None:
    events = SharedSqliteStorage(str(tmp_path)).event_log_storage
    run = "12345678-1234-1234-1234-123456789012"
    events.store_event(_entry(run, "before"))
    events.wipe()
    events.store_event(_entry(run, "after"))
    assert [record.event_log_entry.user_message for record in events.get_records_for_run(run).records] == ["after"]


@pytest.fixture(autouse=True)
def _closed() -> None:
    close_engines()


def _entry(run: str, message: str) -> dg.EventLogEntry:
    return dg.EventLogEntry(error_info=None, user_message=message, level=10, run_id=run, timestamp=1.0)

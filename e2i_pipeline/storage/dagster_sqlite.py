"""Dagster's own SQLite storage, for a state folder that the CLI, the UI and the daemon use at once.

Three things are added to what Dagster does. The databases are made by one process at a time: two that make them
together leave them unusable (seen with Dagster 1.13: three first runs started at once, and its version table has two
rows). Connections stay open, and each waits as long for a writer as the event log's do. And a run whose process was
killed is reported as failed by whoever opens the storage next, where Dagster itself would show it as running for ever.

`dagster.yaml` names the class. What a run does belongs elsewhere.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.runs.sqlite import SqliteRunStorage
from dagster._core.storage.schedules.sqlite import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from filelock import FileLock

from e2i_pipeline.storage.leases import Leases
from e2i_pipeline.storage.sqlite_engines import close_engines, engine_of

KILLED = (
    "The process that had this run in its hands is gone and said nothing: it was killed, or the machine went down. "
    "What it had finished stays; start the run again, and it goes on from there."
)

_BEGINS = {dg.DagsterEventType.RUN_START}
_HANDED_ON = {dg.DagsterEventType.RUN_STARTING, dg.DagsterEventType.RUN_ENQUEUED}
_ENDS = {dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}
_REQUESTED_BY_THE_DAEMON = ("dagster/schedule_name", "dagster/sensor_name", "dagster/backfill")


class WaitingConnection:
    """Connections that wait for `BUSY_SECONDS`, and stay open."""

    _conn_string: str

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """One transaction on one connection."""
        with engine_of(self._conn_string).connect() as connection, connection.begin():
            yield connection


class OpenEventLogStorage(SqliteEventLogStorage):
    """Dagster's events, one file per run and one over all, by connections that stay open."""

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        # as Dagster's own, with an engine that lives on
        with self._db_lock:
            engine = engine_of(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection:
                changes = _changes(connection)
                with connection.begin():
                    yield connection
                # The UI waits for a change of the file itself; an open connection writes beside it for a while.
                if _changes(connection) != changes:
                    os.utime(self.path_for_shard(shard))

    def has_table(self, table_name: str) -> bool:
        """Whether the file over all runs has a table."""
        with engine_of(self.conn_string_for_shard(INDEX_SHARD_NAME)).connect() as connection:
            return sa.inspect(connection).has_table(table_name)

    def wipe(self) -> None:
        """Deletes all events."""
        close_engines()
        super().wipe()

    def dispose(self) -> None:
        """Ends the watching of files, and closes what is open."""
        super().dispose()
        close_engines()


class WaitingScheduleStorage(WaitingConnection, SqliteScheduleStorage):
    """Dagster's schedules, with patience."""


class LeasedRunStorage(WaitingConnection, SqliteRunStorage):
    """Dagster's runs, with patience; the process that has a run in its hands holds its lease.

    A run is in the hands of the process that makes it until it is queued or launched, and then of the one that executes
    it from its start to its end.
    """

    leases: Leases
    """Where they are written down; set by whoever opens the storage."""

    def add_run(self, dagster_run: dg.DagsterRun) -> dg.DagsterRun:
        """Stores a new run."""
        if dagster_run.status == dg.DagsterRunStatus.NOT_STARTED:
            self.leases.take(dagster_run.run_id)
        return super().add_run(dagster_run)

    def handle_run_event(self, run_id: str, event: dg.DagsterEvent, update_timestamp: datetime | None = None) -> None:
        """Stores what an event changes of a run."""
        if event.event_type in _BEGINS:
            self.leases.take(run_id)
        super().handle_run_event(run_id, event, update_timestamp)
        if event.event_type in _ENDS | _HANDED_ON:
            self.leases.release(run_id)


class SharedSqliteStorage(DagsterSqliteStorage):
    """Runs, events and schedules in SQLite files that several processes of one machine share.

    Args:
        base_dir: Where they lie; by default DAGSTER_HOME or, where that is not set, `dagster/` in the state folder.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        folder = Path(base_dir)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".opening.lock"):
            # as Dagster's own constructor, with storages of ours
            self._run_storage = LeasedRunStorage.from_local(str(folder / "history"))
            self._event_log_storage = OpenEventLogStorage(str(folder / "history" / "runs"))
            self._schedule_storage = WaitingScheduleStorage.from_local(str(folder / "schedules"))
        self.base_dir = base_dir
        self._inst_data = inst_data
        DagsterStorage.__init__(self)
        self._run_storage.leases = Leases(folder / "history" / "leases")
        self.end_abandoned_runs()

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """What `dagster.yaml` may say."""
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: dict[str, Any]
    ) -> "SharedSqliteStorage":
        """Opens the storage as `dagster.yaml` says."""
        return cls(config_value.get("base_dir") or default_folder(), inst_data)

    def end_abandoned_runs(self) -> list[str]:
        """Reports the runs whose process is gone: as failed, or as canceled where that was asked for.

        Returns:
            Their ids.
        """
        return [run_id for run_id in self._run_storage.leases.abandoned() if self._end(run_id)]

    def _end(self, run_id: str) -> bool:
        found = self._run_storage.get_runs(dg.RunsFilter(run_ids=[run_id]))
        ending = _ending(found[0]) if found else None
        if ending is None:
            return False
        event = dg.DagsterEvent(event_type_value=ending.value, job_name=found[0].job_name, message=KILLED)
        now = time.time()
        entry = dg.EventLogEntry(
            error_info=None,
            user_message=KILLED,
            level=logging.ERROR,
            run_id=run_id,
            timestamp=now,
            job_name=found[0].job_name,
            dagster_event=event,
        )
        self._event_log_storage.store_event(entry)
        self._run_storage.handle_run_event(run_id, event, datetime.fromtimestamp(now).astimezone())
        return True


def _changes(connection: sa.Connection) -> int:
    """Rows that were ever written by a connection."""
    return connection.connection.driver_connection.total_changes  # type: ignore[union-attr] - it is sqlite3's


def default_folder() -> str:
    """Where Dagster keeps its records when nobody says otherwise: beside everything else of the state folder."""
    home = os.environ.get("DAGSTER_HOME")
    return home or str(Path(os.environ.get("E2I_STATE_DIR") or ".e2i").absolute() / "dagster")


def _ending(run: dg.DagsterRun) -> dg.DagsterEventType | None:
    """How a run ends whose process is gone; None where that is not the end of it.

    A run that was made for a schedule, a sensor or a backfill and not launched yet is launched by the next daemon.
    """
    if run.status == dg.DagsterRunStatus.CANCELING:
        return dg.DagsterEventType.RUN_CANCELED
    if run.status == dg.DagsterRunStatus.STARTED:
        return dg.DagsterEventType.RUN_FAILURE
    is_left_over = run.status == dg.DagsterRunStatus.NOT_STARTED
    if is_left_over and not any(tag in run.tags for tag in _REQUESTED_BY_THE_DAEMON):
        return dg.DagsterEventType.RUN_FAILURE
    return None

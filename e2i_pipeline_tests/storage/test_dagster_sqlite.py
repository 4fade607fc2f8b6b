"""Dagster's storage between processes: made once, patient, and told which runs have nobody left to run them."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen

import dagster as dg
import pytest

from e2i_pipeline.storage.dagster_sqlite import KILLED, SharedSqliteStorage, default_folder
from e2i_pipeline.storage.sqlite_engines import BUSY_SECONDS

Status = dg.DagsterRunStatus

_DIES = """
import os, signal, sys
import dagster as dg
from e2i_pipeline.storage.dagster_sqlite import SharedSqliteStorage

def say(run_id, *events):
    for event in events:
        runs.handle_run_event(run_id, dg.DagsterEvent(event_type_value=event, job_name="job"))

def make(run_id, *events, **tags):
    runs.add_run(dg.DagsterRun(job_name="job", run_id=run_id, tags=tags))
    say(run_id, *events)

runs = SharedSqliteStorage(sys.argv[1]).run_storage
make("made")
make("made for a schedule", **{"dagster/schedule_name": "nightly"})
make("launched", "PIPELINE_STARTING")
make("started", "PIPELINE_START")
make("canceling", "PIPELINE_START", "PIPELINE_CANCELING")
make("succeeded", "PIPELINE_START", "PIPELINE_SUCCESS")
os.kill(os.getpid(), signal.SIGKILL)
"""

_RUN = """
import os, signal
from pathlib import Path
import dagster as dg

@dg.asset
def waits_or_dies():
    if os.environ["END"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print("at work", flush=True)
    input()

defs = dg.Definitions(assets=[waits_or_dies], executor=dg.in_process_executor)
"""


def process(*arguments: str, **environment: str) -> "Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER", "E2I", "PYTEST"))}
    options = {**kept, "PYTHONWARNINGS": "ignore", **environment}
    return Popen([sys.executable, *arguments], env=options, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)  # noqa: S603


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of Dagster's, as `make` sets it up."""
    folder = tmp_path / "home"
    folder.mkdir()
    yaml = (Path(__file__).resolve().parents[2] / "dagster.yaml").read_text(encoding="utf-8")
    (folder / "dagster.yaml").write_text(yaml.replace("config: {}", f"config: {{base_dir: {folder}}}"))
    return folder


@pytest.fixture
def materialize(tmp_path: Path, home: Path) -> Callable[[str], "Popen[str]"]:
    """Starts a run of one asset that dies, or that lives until it is told to go on."""
    definitions = tmp_path / "definitions.py"
    definitions.write_text(_RUN, encoding="utf-8")
    command = ("-m", "dagster", "asset", "materialize", "-f", str(definitions), "--select", "*")
    return lambda end: process(*command, DAGSTER_HOME=str(home), END=end)


def runs(home: Path) -> dict[Status, str]:
    """The run of each status."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return {run.status: run.run_id for run in instance.get_runs()}


def test_a_killed_run_is_reported_as_failed_and_a_living_one_is_not(
    home: Path, materialize: Callable[[str], "Popen[str]"]
) -> None:
    living = materialize("live")
    assert living.stdout is not None
    assert living.stdout.readline() == "at work\n"
    materialize("die").communicate()

    found = runs(home)

    assert set(found) == {Status.FAILURE, Status.STARTED}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        [last] = instance.all_logs(found[Status.FAILURE], of_type=dg.DagsterEventType.RUN_FAILURE)
    assert last.message == KILLED
    living.communicate("go on\n")
    assert runs(home) == {Status.FAILURE: found[Status.FAILURE], Status.SUCCESS: found[Status.STARTED]}
    assert list((home / "history" / "leases").glob("*.lease")) == []


def test_what_a_killed_process_had_in_its_hands_ends_and_nothing_else_does(tmp_path: Path) -> None:
    process("-c", _DIES, str(tmp_path)).communicate()

    storage = SharedSqliteStorage(str(tmp_path))

    assert {run.run_id: run.status for run in storage.run_storage.get_runs()} == {
        "made": Status.FAILURE,
        "made for a schedule": Status.NOT_STARTED,
        "launched": Status.STARTING,
        "started": Status.FAILURE,
        "canceling": Status.CANCELED,
        "succeeded": Status.SUCCESS,
    }
    assert storage.end_abandoned_runs() == []
    told = [entry.message for entry in storage.event_log_storage.get_logs_for_run("started")]
    assert told == [KILLED]


def test_processes_that_make_the_storage_at_once_make_one(tmp_path: Path) -> None:
    opens = f"from e2i_pipeline.storage.dagster_sqlite import *; SharedSqliteStorage({str(tmp_path)!r})"
    opening = [process("-c", opens) for _ in range(4)]
    said = [one.communicate() for one in opening]

    assert [one.returncode for one in opening] == [0] * 4, said
    storage = SharedSqliteStorage(str(tmp_path))
    for one in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
        present, head = one.alembic_version()  # type: ignore[misc]
        assert present == head


def test_a_connection_waits_for_a_writer(tmp_path: Path) -> None:
    storage = SharedSqliteStorage(str(tmp_path))

    for one in (storage.run_storage, storage.schedule_storage):
        with one.connect() as connection:  # type: ignore[attr-defined]
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == BUSY_SECONDS * 1000
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_without_a_home_the_records_lie_in_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("E2I_STATE_DIR", str(tmp_path / "state"))
    assert default_folder() == str(tmp_path / "state" / "dagster")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    assert default_folder() == str(tmp_path / "home")

"""Where studies are kept: one writer at a time, nothing lost by a kill, and no password in a message."""

import threading
from pathlib import Path

import optuna
import pytest

from e2i_pipeline.errors import ConfigurationError, ToolUnavailable
from e2i_pipeline.resources.optuna_storage import StudyStorage, has_study, open_storage, shown
from e2i_pipeline_tests import servers

postgres = servers.postgres

SECRET = "hunter2secret"  # noqa: S105 - made up, to be looked for in messages


def _urls(folder: Path) -> list[str]:
    return [f"journal://{folder}/new/journal.log", f"sqlite:///{folder}/new/studies.db"]


@pytest.mark.parametrize("kind", [0, 1])
def test_what_is_written_is_there_for_the_next(tmp_path: Path, kind: int) -> None:
    url = _urls(tmp_path)[kind]
    with open_storage(url) as storage:
        study = optuna.create_study(study_name="s", storage=storage.optuna)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)

    with open_storage(url) as storage:
        assert len(optuna.load_study(study_name="s", storage=storage.optuna).trials) == 2


@pytest.mark.parametrize("kind", [0, 1])
def test_a_study_is_seen_from_its_making_to_its_deletion(tmp_path: Path, kind: int) -> None:
    url = _urls(tmp_path)[kind]
    assert not has_study(url, "s")
    assert not (tmp_path / "new").exists()

    with open_storage(url) as storage:
        optuna.create_study(study_name="other", storage=storage.optuna)
        assert not has_study(url, "s")
        optuna.create_study(study_name="s", storage=storage.optuna)
    assert has_study(url, "s")

    with open_storage(url) as storage:
        optuna.delete_study(study_name="other", storage=storage.optuna)
    assert (has_study(url, "other"), has_study(url, "s")) == (False, True)


def test_a_study_on_a_server_is_seen(postgres: servers.Postgres) -> None:
    url = postgres.database()
    assert not has_study(url, "s")
    with open_storage(url) as storage:
        optuna.create_study(study_name="s", storage=storage.optuna)
    assert has_study(url, "s")


@pytest.mark.parametrize("prefix", ["journal://", "journal:///"])
def test_a_journal_s_path_is_absolute_with_three_slashes_or_four(tmp_path: Path, prefix: str) -> None:
    with open_storage(f"{prefix}{tmp_path}/journal.log"):
        assert (tmp_path / "journal.log").is_file()


@pytest.mark.parametrize("kind", [0, 1])
def test_one_process_at_a_time_changes_a_study_and_another_one_another(tmp_path: Path, kind: int) -> None:
    with open_storage(_urls(tmp_path)[kind]) as storage, open_storage(_urls(tmp_path)[kind]) as another:
        _has_one_at_a_time(storage, another)


def _has_one_at_a_time(storage: StudyStorage, another: StudyStorage) -> None:
    busy = pytest.raises(ToolUnavailable, match="study mine: another process has been changing it for the 0 s waited")
    with storage.alone("mine"), another.alone("other"), busy, another.locks.alone("study mine", 0):
        pass
    with another.locks.alone("study mine", 0):
        pass


@pytest.mark.parametrize("kind", [0, 1])
def test_a_lease_is_seen_until_it_is_given_back(tmp_path: Path, kind: int) -> None:
    with open_storage(_urls(tmp_path)[kind]) as storage, open_storage(_urls(tmp_path)[kind]) as another:
        _is_seen(storage, another)


def _is_seen(storage: StudyStorage, another: StudyStorage) -> None:
    assert storage.locks.take("s", 1)
    assert [(s.locks.is_held("s", 1), s.locks.is_held("s", 2)) for s in (storage, another)] == [(True, False)] * 2
    assert not another.locks.is_held("t", 1)
    storage.locks.release("s", 1)
    assert not another.locks.is_held("s", 1)


def test_who_waits_gets_the_lock_when_the_other_is_done(tmp_path: Path) -> None:
    url, order = _urls(tmp_path)[0], list[str]()
    is_held, may_end = threading.Event(), threading.Event()

    def first() -> None:
        with open_storage(url) as storage, storage.alone("s"):
            is_held.set()
            may_end.wait(30)
            order.append("first")

    def second() -> None:
        with open_storage(url) as storage, storage.alone("s"):
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert is_held.wait(30)
    threads[1].start()
    may_end.set()
    for thread in threads:
        thread.join(30)
    assert order == ["first", "second"]


def test_a_record_cut_off_by_a_kill_does_not_spoil_the_next(tmp_path: Path) -> None:
    url, path = _urls(tmp_path)[0], tmp_path / "new" / "journal.log"
    with open_storage(url) as storage:
        optuna.create_study(study_name="s", storage=storage.optuna).ask()
        whole = path.read_bytes()
        with path.open("ab") as file:  # another process, while this one has the journal open
            file.write(b'{"op_code": 5, "worker_id": "torn')
        assert len(optuna.load_study(study_name="s", storage=storage.optuna).trials) == 1
        optuna.load_study(study_name="s", storage=storage.optuna).set_user_attr("after", "the kill")

    assert path.read_bytes().startswith(whole)
    with open_storage(url) as storage:
        study = optuna.load_study(study_name="s", storage=storage.optuna)
        assert study.user_attrs == {"after": "the kill"}
        assert len(study.trials) == 1


def test_a_file_of_nothing_but_a_torn_record_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    path.write_bytes(b'{"op_co')
    with open_storage(f"journal://{path}") as storage:
        assert storage.optuna.get_all_studies() == []
        optuna.create_study(study_name="s", storage=storage.optuna)
    assert has_study(f"journal://{path}", "s")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "is no URL"),
        (f"postgres {SECRET}", "is no URL"),
        (f"mysql://me:{SECRET}@db/studies", r"mysql://me:\*\*\*@db/studies is of the kind mysql"),
        ("sqlite://", "must outlive the process"),
        ("sqlite:///:memory:", "must outlive the process"),
        (f"postgresql+asyncpg://me:{SECRET}@127.0.0.1/db", "needs a database driver that is not installed"),
    ],
)
def test_a_url_of_no_use_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught, open_storage(url):
        pass
    assert SECRET not in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable_without_its_password() -> None:
    url = f"postgresql+psycopg2://me:{SECRET}@127.0.0.1:{servers.free_port()}/studies?options={SECRET}"
    refused = pytest.raises(ToolUnavailable, match=r"me:\*\*\*@127.*did not answer \(OperationalError\)")
    with refused as caught, open_storage(url):
        pass
    assert SECRET not in str(caught.value) + str(caught.value.__cause__)


@pytest.mark.parametrize("scheme", ["journal://", "sqlite:///"])
def test_a_path_that_cannot_be_written_is_unavailable(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with (
        pytest.raises(ToolUnavailable, match="cannot be written"),
        open_storage(f"{scheme}{tmp_path}/file/x.log"),
    ):
        pass


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_text("no database at all, but long enough to be looked at")
    with pytest.raises(ToolUnavailable, match="did not answer"), open_storage(f"sqlite:///{tmp_path}/studies.db"):
        pass


def test_a_url_is_shown_without_password_and_query() -> None:
    assert shown("journal:///state/journal.log") == "journal:///state/journal.log"
    assert shown(f"postgresql://me:{SECRET}@db:5/x?sslpassword={SECRET}") == "postgresql://me:***@db:5/x"


def test_on_a_server_locks_are_those_of_a_session(postgres: servers.Postgres) -> None:
    url = postgres.database()
    with open_storage(url) as storage, open_storage(url) as another:
        _has_one_at_a_time(storage, another)
        _is_seen(storage, another)
        assert storage.locks.take("s", 3)
        assert not another.locks.take("s", 3)
    with open_storage(url) as storage:
        assert not storage.locks.is_held("s", 3)  # it ended with its session


def test_postgresql_with_a_wrong_password_is_unavailable(postgres: servers.Postgres) -> None:
    url = f"postgresql://e2i:{SECRET}@127.0.0.1:{postgres.port}/postgres"
    with pytest.raises(ToolUnavailable, match="the password in OPTUNA_STORAGE_URL") as caught, open_storage(url):
        pass
    assert SECRET not in str(caught.value) + str(caught.value.__cause__)

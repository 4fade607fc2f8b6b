"""Where studies are kept, for any number of workers at once: a journal file, SQLite or PostgreSQL.

Which worker is at which trial stands in `optuna_leases`, what a study does in `optuna_study`.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from e2i_pipeline.errors import ConfigurationError, ToolUnavailable
from e2i_pipeline.resources.optuna_leases import FileLocks, Locks, ServerLocks

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy.engine import URL

_JOURNAL = "journal://"
_ABOUT_STUDIES = (b'{"op_code":0,', b'{"op_code":1,')  # a study is made, a study is deleted
_CONNECT_SECONDS = 10
_PATIENCE_SECONDS = 300  # of a lock that is held for a second at most
_LONGEST_LINE = 1 << 20  # bytes; a record holds one trial's change, a few thousand

_logger = logging.getLogger(__name__)


class StudyStorage:
    """An open storage of studies, for any number of processes at once.

    Attributes:
        optuna: Optuna's storage.
        locks: Leases of trials, and short locks.
        url: Its URL as it may be shown.
    """

    def __init__(self, storage: "BaseStorage", locks: Locks, url: str, *, has_one_writer: bool) -> None:
        self.optuna = storage
        self.locks = locks
        self.url = shown(url)
        self._has_one_writer = has_one_writer

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Wraps each change, since SQLite refuses one of two that meet, however long they would wait."""
        if not self._has_one_writer:
            yield
            return
        with self.locks.alone("the storage of studies", _PATIENCE_SECONDS):
            yield

    @contextmanager
    def alone(self, study_name: str) -> Iterator[None]:
        """Lets one process at a time say what is to be done in a study; held for as long as that takes, not longer.

        Raises:
            ToolUnavailable: Another process does not come to an end with it.
        """
        with self.locks.alone(f"study {study_name}", _PATIENCE_SECONDS):
            yield


@contextmanager
def open_storage(url: str) -> Iterator[StudyStorage]:
    """Opens the storage of studies.

    Args:
        url: `journal:///path/to/journal.log` (absolute, as in a file URL), or an SQLAlchemy URL of SQLite or
            PostgreSQL. Missing folders, files and tables are made.

    Yields:
        The storage.

    Raises:
        ConfigurationError: The URL is of no known kind, or its driver is not installed.
        ToolUnavailable: The storage does not answer or cannot be written.
    """
    if url.startswith(_JOURNAL):
        path = _journal_path(url)
        yield StudyStorage(_open_journal(path), _file_locks(path), url, has_one_writer=False)
        return
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        locks = _file_locks(Path(str(parsed.database)))
        with locks.alone("the storage of studies", _PATIENCE_SECONDS):  # two that make tables disturb each other
            storage = _open_database(parsed)
        yield StudyStorage(storage, locks, url, has_one_writer=True)
        return
    with _server_locks(parsed) as locks:
        with locks.alone("the storage of studies", _PATIENCE_SECONDS):
            storage = _open_database(parsed)
        yield StudyStorage(storage, locks, url, has_one_writer=False)


def has_study(url: str, study_name: str) -> bool:
    """Whether the storage holds a study of this name. Nothing is made where it does not exist, nor Optuna imported.

    Args:
        url: As for `open_storage`.
        study_name: The study.

    Raises:
        ConfigurationError: As for `open_storage`.
        ToolUnavailable: The storage does not answer.
    """
    if url.startswith(_JOURNAL):
        return study_name in _studies_in(_journal_path(url))
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).is_file():
        return False
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    query = text("SELECT 1 FROM studies WHERE study_name = :name").bindparams(name=study_name)
    try:
        engine = create_engine(parsed, poolclass=NullPool, **_engine_options(parsed))
        with engine.connect() as connection:
            return inspect(connection).has_table("studies") and connection.execute(query).first() is not None
    except ImportError as err:
        raise _no_driver(parsed) from err
    except SQLAlchemyError as err:
        raise _unreachable(parsed, err) from err


def shown(url: "str | URL") -> str:
    """A storage's URL as it may be shown: without password and query."""
    from sqlalchemy.engine import make_url

    text = str(url)
    if text.startswith(_JOURNAL):
        return text
    return make_url(url).set(query={}).render_as_string(hide_password=True)


def _journal_path(url: str) -> Path:
    return Path("/" + url.removeprefix(_JOURNAL).lstrip("/"))


def _studies_in(journal: Path) -> set[str]:
    """Names of the studies of a journal (format of Optuna 5: one record per line, its `op_code` first)."""
    names: list[str] = []  # by the study's number
    try:
        with journal.open("rb") as file:
            for line in file:
                if not line.startswith(_ABOUT_STUDIES) or not line.endswith(b"\n"):
                    continue
                record = json.loads(line)
                if "directions" not in record:
                    names[record["study_id"]] = ""
                elif record["study_name"] not in names:
                    names.append(record["study_name"])
    except FileNotFoundError:
        return set()
    except OSError as err:
        raise _unwritable(journal, err) from err
    return set(names)


def _parse(url: str) -> "URL":
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            "the Optuna storage (OPTUNA_STORAGE_URL) is no URL. Write journal:///path/to/journal.log, or an SQLAlchemy "
            "URL of SQLite or PostgreSQL."
        ) from None  # the cause could quote a password
    kind = parsed.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise ConfigurationError(
            f"the Optuna storage {shown(parsed)} is of the kind {kind}, which cannot lock a study for one writer here. "
            "Use journal:///path/to/journal.log, sqlite or postgresql."
        )
    if kind == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError("the Optuna storage must outlive the process: name a file in its SQLite URL")
    if parsed.drivername == "postgresql" and find_spec("psycopg") is None:
        return parsed.set(drivername="postgresql+psycopg2")  # SQLAlchemy 2.1 takes psycopg for a URL without a driver
    return parsed


def _open_journal(path: Path) -> "BaseStorage":
    """Opens a journal whose lock ends with its process, and which a record cut off by a kill does not spoil."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    class Journal(JournalFileBackend):
        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
            with _append_lock(path), path.open("rb+") as file:
                _drop_torn_line(file, path)
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())

    try:
        _lock_folder(path).mkdir(parents=True, exist_ok=True)
        path.touch()
        return JournalStorage(Journal(str(path)))
    except OSError as err:
        raise _unwritable(path, err) from err


@contextmanager
def _append_lock(path: Path) -> Iterator[None]:
    """Waits in the kernel: a lock that is asked for again and again would cost each append some of its time."""
    descriptor = os.open(_lock_folder(path) / "append", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _drop_torn_line(file: BinaryIO, path: Path) -> None:
    """Cuts off an unfinished last line, which a killed process was writing, and stays at the end."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if file.read(1) in (b"", b"\n"):
        return
    start = file.seek(max(0, end - _LONGEST_LINE))
    whole = start + file.read(_LONGEST_LINE).rfind(b"\n") + 1
    _logger.warning("%s: cut off %d bytes of an unfinished last record", path, end - whole)
    file.truncate(whole)
    file.seek(whole)


def _open_database(url: "URL") -> "BaseStorage":
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage, get_storage
    from sqlalchemy.exc import SQLAlchemyError

    try:
        storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=_engine_options(url))
        return get_storage(storage)  # reads finished trials once
    except ImportError as err:
        raise _no_driver(url) from err
    except (SQLAlchemyError, StorageInternalError) as err:
        raise _unreachable(url, err) from err


def _file_locks(path: Path) -> FileLocks:
    try:
        return FileLocks(_lock_folder(path))
    except OSError as err:
        raise _unwritable(path, err) from err


@contextmanager
def _server_locks(url: "URL") -> Iterator[ServerLocks]:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    with ExitStack() as stack:
        try:
            engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", **_engine_options(url))
            locks = ServerLocks(stack.enter_context(engine.connect()))
        except ImportError as err:
            raise _no_driver(url) from err
        except SQLAlchemyError as err:
            raise _unreachable(url, err) from err
        yield locks


def _engine_options(url: "URL") -> dict[str, Any]:
    key = "timeout" if url.get_backend_name() == "sqlite" else "connect_timeout"
    return {"connect_args": {key: _CONNECT_SECONDS}}


def _lock_folder(path: Path) -> Path:
    return path.parent / f".{path.name}.locks"


def _unwritable(path: Path, err: OSError) -> ToolUnavailable:
    return ToolUnavailable(
        f"the Optuna storage {path} cannot be written ({err.strerror or type(err).__name__}). Check the folder, its "
        "rights and the space left, or point OPTUNA_STORAGE_URL elsewhere; the study continues where it stopped."
    )


def _unreachable(url: "URL", err: Exception) -> ToolUnavailable:
    return ToolUnavailable(
        f"the Optuna storage {shown(url)} did not answer ({type(err).__name__}). Check that it is up and that the "
        "address and the password in OPTUNA_STORAGE_URL are right; the study continues where it stopped."
    )


def _no_driver(url: "URL") -> ConfigurationError:
    return ConfigurationError(
        f"the Optuna storage {shown(url)} needs a database driver that is not installed. Install it, or name an "
        "installed one in the URL, e.g. postgresql+psycopg2://."
    )

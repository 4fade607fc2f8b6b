"""Where studies are kept, opened by one writer per study: a journal file, SQLite or PostgreSQL.

A second process that wants the same study waits for the first. The lock ends with the process that holds it, so a
trial found running by the next holder is one that was killed. What a study does belongs in `optuna`.
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.errors import ConfigurationError, ToolUnavailable

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy.engine import URL

_JOURNAL = "journal://"
_ABOUT_STUDIES = (b'{"op_code":0,', b'{"op_code":1,')  # a study is made, a study is deleted
_CONNECT_SECONDS = 10
_POLL_SECONDS = 0.5
_LONGEST_LINE = 1 << 20  # bytes; a record holds one trial's change, a few hundred

_logger = logging.getLogger(__name__)


@contextmanager
def open_study(url: str, study_name: str, patience_seconds: float) -> Iterator["BaseStorage"]:
    """Opens the storage of studies and holds one study's write lock.

    Args:
        url: `journal:///path/to/journal.log` (absolute, as in a file URL), or an SQLAlchemy URL of SQLite or
            PostgreSQL. Missing folders, files and tables are made.
        study_name: The study to lock.
        patience_seconds: How long to wait for another process that holds the lock.

    Yields:
        The storage.

    Raises:
        ConfigurationError: The URL is of no known kind, or its driver is not installed.
        ToolUnavailable: The storage does not answer or cannot be written, or the lock was not given in time.
    """
    if url.startswith(_JOURNAL):
        path = _journal_path(url)
        with _locked_file(path, study_name, patience_seconds):
            yield _open_journal(path)
        return
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        with _locked_file(Path(str(parsed.database)), study_name, patience_seconds):
            yield _open_database(parsed)
    else:
        with _locked_server(parsed, study_name, patience_seconds):
            yield _open_database(parsed)


def has_study(url: str, study_name: str) -> bool:
    """Whether the storage holds a study of this name. Nothing is made where it does not exist, nor Optuna imported.

    Args:
        url: As for `open_study`.
        study_name: The study.

    Raises:
        ConfigurationError: As for `open_study`.
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
    """Opens a journal whose own lock ends with its process too: Optuna's would hold up the next one for 30 s."""
    from filelock import FileLock
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        lock: Any = FileLock(_lock_path(path, "append"))  # has what Optuna asks of a lock: acquire and release
        with lock:
            _drop_torn_line(path)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except OSError as err:
        raise _unwritable(path, err) from err


def _drop_torn_line(path: Path) -> None:
    """Cuts off an unfinished last line: what a killed process was writing would spoil the line appended next."""
    path.touch()
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, end - _LONGEST_LINE))
        whole = start + file.read(_LONGEST_LINE).rfind(b"\n") + 1
        if whole < end:
            _logger.warning("%s: cut off %d bytes of an unfinished last record", path, end - whole)
            file.truncate(whole)


def _open_database(url: "URL") -> "BaseStorage":
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=_engine_options(url))
    except ImportError as err:
        raise _no_driver(url) from err
    except (SQLAlchemyError, StorageInternalError) as err:
        raise _unreachable(url, err) from err


@contextmanager
def _locked_file(path: Path, study_name: str, patience_seconds: float) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        lock = FileLock(_lock_path(path, content_key(study_name)))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _logger.info("study %s: another process works on it; waiting", study_name)
            lock.acquire(timeout=patience_seconds)
    except Timeout as err:
        raise _busy(study_name, patience_seconds) from err
    except OSError as err:
        raise _unwritable(path, err) from err
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _locked_server(url: "URL", study_name: str, patience_seconds: float) -> Iterator[None]:
    """Holds a PostgreSQL advisory lock, which ends with its connection."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    query = text("SELECT pg_try_advisory_lock(:key)").bindparams(key=int(content_key(study_name)[:15], 16))
    deadline = time.monotonic() + patience_seconds
    with ExitStack() as stack:
        try:
            engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", **_engine_options(url))
            connection = stack.enter_context(engine.connect())
            while not connection.execute(query).scalar():
                if time.monotonic() > deadline:
                    raise _busy(study_name, patience_seconds)
                time.sleep(_POLL_SECONDS)
        except ImportError as err:
            raise _no_driver(url) from err
        except SQLAlchemyError as err:
            raise _unreachable(url, err) from err
        yield


def _engine_options(url: "URL") -> dict[str, Any]:
    key = "timeout" if url.get_backend_name() == "sqlite" else "connect_timeout"
    return {"connect_args": {key: _CONNECT_SECONDS}}


def _lock_path(path: Path, name: str) -> Path:
    folder = path.parent / f".{path.name}.locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


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


def _busy(study_name: str, seconds: float) -> ToolUnavailable:
    return ToolUnavailable(
        f"study {study_name}: another process has been working on it for the {seconds:.0f} s waited. Try again when it "
        "is done: its trials are kept and will be found."
    )

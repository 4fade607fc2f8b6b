"""Which worker is at which trial, and who may change a study: locks that end with their process, however it ends.

Beside journal files and SQLite they are files of this machine; on PostgreSQL they are advisory locks of a session,
which ends with its connection, on whatever machine that was. What becomes of a trial without a lease belongs in
`optuna_study`.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.errors import ToolUnavailable
from e2i_pipeline.storage.leases import Leases

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_POLL_SECONDS = 0.02

KEEPALIVES = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
"""Of a session with leases: the server ends that of a lost machine after a minute (by default after two hours)."""


class Locks(ABC):
    """Leases of trials, and short locks."""

    @abstractmethod
    def take(self, study: str, trial: int) -> bool:
        """Says that this process is at work on a trial; false where another one is."""

    @abstractmethod
    def release(self, study: str, trial: int) -> None:
        """Says that this process is done with it."""

    @abstractmethod
    def is_held(self, study: str, trial: int) -> bool:
        """Whether a process is at work on it, this one included."""

    @abstractmethod
    def tidy(self) -> None:
        """Removes what leases of killed processes left behind; none that is held is touched."""

    @abstractmethod
    def alone(self, name: str, patience_seconds: float) -> AbstractContextManager[None]:
        """Holds a lock that one process at a time holds.

        Args:
            name: What it is about.
            patience_seconds: How long to wait for another process.

        Raises:
            ToolUnavailable: Another process held it all the time.
        """


class FileLocks(Locks):
    """Locks as files of one folder.

    Args:
        folder: The folder; made when absent.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._leases = Leases(folder / "trials")

    def take(self, study: str, trial: int) -> bool:
        """See `Locks`. Two processes may both say so for a moment: whose the trial is, the storage decides."""
        self._leases.take(_lease(study, trial))
        return True

    def release(self, study: str, trial: int) -> None:
        """See `Locks`."""
        self._leases.release(_lease(study, trial))

    def is_held(self, study: str, trial: int) -> bool:
        """See `Locks`."""
        return self._leases.is_held(_lease(study, trial))

    def tidy(self) -> None:
        """See `Locks`."""
        for _ in self._leases.abandoned():
            pass  # it forgets each as soon as the next one is asked for

    @contextmanager
    def alone(self, name: str, patience_seconds: float) -> Iterator[None]:
        """See `Locks`."""
        from filelock import FileLock, Timeout

        lock = FileLock(self._folder / content_key(name))
        try:
            lock.acquire(timeout=patience_seconds, poll_interval=_POLL_SECONDS)
        except Timeout as err:
            raise _busy(name, patience_seconds) from err
        try:
            yield
        finally:
            lock.release()


class ServerLocks(Locks):
    """Locks of one PostgreSQL session, used by one thread at a time.

    Args:
        connection: An open connection in autocommit mode, kept for these locks alone.
    """

    def __init__(self, connection: "Connection") -> None:
        from sqlalchemy import text

        self._connection = connection
        for name, value in KEEPALIVES.items():
            connection.execute(text(f"SET {name} = {value}"))

    def take(self, study: str, trial: int) -> bool:
        """See `Locks`."""
        return self._ask("pg_try_advisory_lock(:key)", _lease(study, trial))

    def release(self, study: str, trial: int) -> None:
        """See `Locks`."""
        self._ask("pg_advisory_unlock(:key)", _lease(study, trial))

    def is_held(self, study: str, trial: int) -> bool:
        """See `Locks`. Looks without taking, so that nobody takes the look for work."""
        held = (
            "EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            "AND (classid::bigint << 32) | objid::bigint = :key)"
        )
        return self._ask(held, _lease(study, trial))

    def tidy(self) -> None:
        """See `Locks`: a session's locks end with it, and leave nothing behind."""

    @contextmanager
    def alone(self, name: str, patience_seconds: float) -> Iterator[None]:
        """See `Locks`."""
        deadline = time.monotonic() + patience_seconds
        while not self._ask("pg_try_advisory_lock(:key)", name):
            if time.monotonic() > deadline:
                raise _busy(name, patience_seconds)
            time.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            self._ask("pg_advisory_unlock(:key)", name)

    def _ask(self, expression: str, name: str) -> bool:
        from sqlalchemy import text

        key = int(content_key(name)[:15], 16)
        return bool(self._connection.execute(text(f"SELECT {expression}").bindparams(key=key)).scalar())


def _lease(study: str, trial: int) -> str:
    return f"{content_key(study)}-{trial}"


def _busy(name: str, seconds: float) -> ToolUnavailable:
    return ToolUnavailable(
        f"{name}: another process has been changing it for the {seconds:.0f} s waited. See whether that process hangs, "
        "and end it; the study continues where it stopped."
    )

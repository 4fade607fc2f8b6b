"""One metadata database: how it is opened, written, read, and how its errors are told.

SQLite and PostgreSQL behave alike behind it: a write is one transaction that waits its turn, a repeated write of the
same row is an update. What is written stands in the callers.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.dialects import postgresql, sqlite

from e2i_pipeline.errors import ConfigurationError, ToolRejected, ToolUnavailable
from e2i_pipeline.metadata.base import Base, table_of
from e2i_pipeline.metadata.values import scalar

_SQLITE_WAIT_MS = 30_000
_POSTGRES_CONNECT_SECONDS = 5
_SECRET_OPTIONS = ("password", "sslpassword", "passfile")


class Database:
    """An open metadata database.

    Attributes:
        url: Its address without a password, for messages.
        engine: SQLAlchemy's engine.
    """

    def __init__(self, url: str) -> None:
        """Opens the database; no connection is made yet.

        Args:
            url: `sqlite:///<file>` or `postgresql://...`.

        Raises:
            ConfigurationError: The URL is not one of these.
        """
        parsed = parse_url(url)
        self.url = without_password(parsed)
        self.path = Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
        # hide_parameters: SQLAlchemy would repeat the written values in its messages.
        self.engine = sa.create_engine(parsed, hide_parameters=True, **self._options())
        if self.path:
            _make_folder(self.path)
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    def _options(self) -> dict[str, Any]:
        if self.path:
            return {"connect_args": {"timeout": _SQLITE_WAIT_MS / 1000}}
        arguments = {"connect_timeout": _POSTGRES_CONNECT_SECONDS, "application_name": "e2i-pipeline"}
        return {"connect_args": arguments, "pool_pre_ping": True}

    @contextmanager
    def write(self, turn: int | None = None) -> Iterator[sa.Connection]:
        """A transaction that writes: committed at the end, rolled back after an error.

        Args:
            turn: Writers with the same number go one after another, between processes too. SQLite has one writer at a
                time anyway.

        Raises:
            ToolUnavailable: The database does not answer, or stays locked.
            ToolRejected: It refuses what is written.
        """
        with self._told("write"), self.engine.connect() as bare:
            connection = bare.execution_options(e2i_writes=True)
            with connection.begin():
                if turn is not None and not self.path:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(turn)))
                yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads, and sees one state of the database however many queries it makes.

        Raises:
            ToolUnavailable: The database does not answer.
            ToolRejected: It refuses the query.
        """
        with self._told("read"), self.engine.connect() as bare:
            # SQLite's transactions are so by themselves
            connection = bare if self.path else bare.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """The rows of a query, each as a dict by column name."""
        with self.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @contextmanager
    def _told(self, action: str) -> Iterator[None]:
        """Translates SQLAlchemy's errors.

        The cause is left out where the database refused: its own message repeats the refused row.
        """
        try:
            yield
        except (exc.IntegrityError, exc.DataError) as err:
            broken = getattr(getattr(err.orig, "diag", None), "constraint_name", None) or _first_line(err.orig)
            raise ToolRejected(
                f"The metadata database {self.url} refused to {action}: {broken}. The row breaks a rule of its table: "
                "mend what was to be recorded."
            ) from None
        except (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError) as err:
            why = _first_line(getattr(err, "orig", err))
            raise ToolUnavailable(
                f"The metadata database {self.url} could not be used to {action}: {why}. Check that it is up and "
                "reachable (E2I_METADATA_URL), then run the step again."
            ) from err
        except (exc.SQLAlchemyError, ValueError, TypeError) as err:
            if type(err) is exc.DatabaseError:  # of SQLite, which has no class of its own for it
                raise ToolRejected(
                    f"The metadata database {self.url} is damaged, or no database at all: {_first_line(err.orig)}. "
                    "Restore it from a copy; or move it away to begin anew, without the verdicts, records and ledger "
                    "that it held."
                ) from err
            raise ToolRejected(
                f"The metadata database {self.url} cannot {action} this: {type(err).__name__}, "
                f"{_first_line(getattr(err, 'orig', None) or err)}."
            ) from None


def upsert(
    connection: sa.Connection,
    model: type[Base],
    values: Mapping[str, Any],
    keys: Sequence[str],
    keep: Collection[str] = (),
    newer: str = "",
) -> None:
    """Inserts a row, or updates the one that has the same keys.

    Args:
        connection: A writing connection.
        model: The table's model.
        values: Column to value. Columns that are not named keep what they have, or get their default in a new row.
        keys: Columns of a unique constraint.
        keep: Columns that an existing row keeps.
        newer: A column of times: an existing row that has a later one stays as it is.

    Raises:
        ToolRejected: The table has no such column.
    """
    if unknown := sorted(set(values) - set(table_of(model).c.keys())):
        raise ToolRejected(f"{table_of(model).name} has no column {', '.join(unknown)}: nothing was recorded.")
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table_of(model)).values({name: scalar(value) for name, value in values.items()})
    fresh = {c: statement.excluded[c] for c in values if c not in keys and c not in keep}
    if not fresh:
        connection.execute(statement.on_conflict_do_nothing(index_elements=keys))
        return
    only = table_of(model).c[newer] <= statement.excluded[newer] if newer else None
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=fresh, where=only))


def insert_missing(connection: sa.Connection, model: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts the rows whose primary key is not there yet; all rows name the same columns."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(
        insert(table_of(model)).on_conflict_do_nothing(),
        [{name: scalar(value) for name, value in row.items()} for row in rows],
    )


def parse_url(url: str) -> sa.URL:
    """Reads a database URL; `postgres://` is taken for `postgresql://`.

    Raises:
        ConfigurationError: It is not the URL of an SQLite file or of a PostgreSQL database.
    """
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError):
        parsed = sa.URL.create("none")
    if parsed.drivername in ("postgres", "postgresql"):
        # Without a driver's name SQLAlchemy 2.1 takes psycopg 3; dagster-postgres brings psycopg 2.
        parsed = parsed.set(drivername="postgresql+psycopg2")
    backend = parsed.drivername.partition("+")[0]
    if backend not in ("sqlite", "postgresql"):
        raise ConfigurationError(
            "The metadata database's URL (E2I_METADATA_URL) is neither sqlite:///<file> nor "
            "postgresql://<user>:<password>@<host>/<database>."
        )
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "The metadata database must be a file, sqlite:///<file>: one in memory ends with the process."
        )
    return parsed


def without_password(url: sa.URL) -> str:
    """A URL as a message may show it."""
    shown = url.update_query_dict({k: "***" for k in url.query if k in _SECRET_OPTIONS})
    return shown.render_as_string(hide_password=True)


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ConfigurationError(
            f"The folder {file.parent} of the metadata database cannot be made: {err.strerror}. "
            "Point E2I_STATE_DIR or E2I_METADATA_URL to a folder that can be written."
        ) from err


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Our own BEGIN decides when a transaction starts; the driver would start one late and break the wait for a lock.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_SQLITE_WAIT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A deferred transaction that writes after it has read fails at once, however long it may wait.
    writes = connection.get_execution_options().get("e2i_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _first_line(err: object) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]

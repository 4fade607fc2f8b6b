"""Brings a metadata database to the schema of this program, or takes it back.

`migrate` runs at each start: it asks for the revision first and imports Alembic only when there is something to do.
The revisions themselves stand in `migrations/versions`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.metadata.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0006"
"""The newest revision; a test compares it with the scripts."""

SCRIPTS = Path(__file__).resolve().parent / "migrations"
"""Folder of Alembic's environment."""

_LOCK_SECONDS = 120
_LOCK_NUMBER = 0x653269_01  # "e2i" and a number: PostgreSQL's advisory locks are named by integers


def migrate(url: str) -> Database:
    """Brings the database to `HEAD`; safe when several processes do it at once.

    Args:
        url: `sqlite:///<file>` (made when absent, with its folder) or `postgresql://...`.

    Returns:
        The database, open.

    Raises:
        ConfigurationError: The URL cannot be used.
        ToolUnavailable: The database does not answer.
        ToolRejected: It is at a revision that this program does not know.
    """
    database = Database(url)
    if revision(database) != HEAD:
        _run(database, _upgrade)
    return database


def downgrade(database: Database, to: str = "base") -> None:
    """Takes the database back to an earlier revision. What the later ones hold is deleted.

    Raises:
        ToolRejected: There is no such revision.
    """
    from alembic import command

    _run(database, lambda config: command.downgrade(config, to))


def revision(database: Database) -> str | None:
    """The database's revision; None where it was never migrated."""
    with database.read() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(config: "Config") -> None:
    from alembic import command

    command.upgrade(config, HEAD)


def _run(database: Database, change: Callable[["Config"], None]) -> None:
    """Runs a migration alone, in one transaction: after a crash the schema is the old one or the new one."""
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    try:
        with _alone(database), database.write(turn=_LOCK_NUMBER) as connection:
            config.attributes["connection"] = connection
            change(config)
    except CommandError as err:
        raise ToolRejected(
            f"The metadata database {database.url} cannot be migrated: {err}. If a newer version of this program "
            "has migrated it, use that version."
        ) from err


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Keeps other processes out while an SQLite file is made; PostgreSQL's own lock does that."""
    from filelock import FileLock

    with ExitStack() as stack:
        if database.path:
            stack.enter_context(FileLock(f"{database.path}.lock", timeout=_LOCK_SECONDS))
            with database.engine.connect() as connection:
                # It stays in the file. Switching fails at once when another process does it at the same moment.
                driver = connection.connection.driver_connection
                if driver:
                    driver.execute("PRAGMA journal_mode = WAL")
        yield

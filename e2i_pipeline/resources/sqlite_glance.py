"""One look into a tool's own SQLite file, read only, so that the tool need not be imported to be asked.

What to look for, and what an answer means, belongs to the tool's adapter.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

SQLITE = "sqlite:///"
"""How the SQLAlchemy URL of a file begins."""

WAIT_SECONDS = 10
"""How long a reader waits for a writer of the file."""


def sqlite_file(url: str) -> Path | None:
    """The file that an SQLAlchemy URL names; None where it is another database, or a file with options."""
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) and "?" not in url else None


def first_row(file: Path, query: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
    """The first row of a query; None where there is none, or no such file, which is not made.

    Raises:
        sqlite3.Error: It is no SQLite file, has other tables, or stays locked.
    """
    return next(iter(all_rows(file, query, values)), None)


def all_rows(file: Path, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query; none where there is no such file, which is not made.

    Raises:
        sqlite3.Error: It is no SQLite file, has other tables, or stays locked.
    """
    if not file.is_file():
        return []
    place = f"file:{quote(str(file.absolute()))}?mode=ro"
    with closing(sqlite3.connect(place, uri=True, timeout=WAIT_SECONDS)) as connection:
        return connection.execute(query, tuple(values)).fetchall()

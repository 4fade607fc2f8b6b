"""The one place that knows which engine computes tables. Today: DuckDB.

A table is written once, under its content hash, by renaming a finished folder into place: a reader sees all of it or
none. What a query says belongs to its caller.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from e2i_pipeline.contracts.references import ColumnInfo
from e2i_pipeline.resources.sql import PARQUET_OPTIONS, literal, parquet, quoted
from e2i_pipeline.storage.keeping import in_use
from e2i_pipeline.storage.scratch import scratch_folder

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa


class WrittenTable(NamedTuple):
    """What a write left behind: path, SHA-256 of the file, number of rows, columns in order."""

    location: str
    version: str
    rows: int
    columns: tuple[ColumnInfo, ...]


class EngineResource(dg.ConfigurableResource):
    """DuckDB over Parquet files.

    Attributes:
        temp_dir: Where DuckDB spills what does not fit into memory.
        memory_limit: DuckDB's own limit, e.g. `8GB`; empty for its default of 80 % of the machine.
        threads: Threads of a query; 0 for all cores.
    """

    temp_dir: str
    memory_limit: str = ""
    threads: int = 0

    @contextmanager
    def connect(self, memory_limit: str = "", is_private: bool = False) -> Iterator["duckdb.DuckDBPyConnection"]:
        """An in-memory connection, in UTC, that downloads nothing.

        Args:
            memory_limit: DuckDB's limit, in place of the engine's own.
            is_private: Whether what does not fit into memory may hold raw identifiers: it is spilled encrypted then,
                which is three to four times as slow.
        """
        import duckdb

        limit = memory_limit or self.memory_limit
        connection = duckdb.connect(
            config={
                "temp_directory": self.temp_dir,
                "autoinstall_known_extensions": False,
                **({"memory_limit": limit} if limit else {}),
                **({"threads": self.threads} if self.threads else {}),
            }
        )
        try:
            connection.execute("SET TimeZone = 'UTC'")
            if is_private:
                # DuckDB calls its built-in cipher unsafe, since the numbers it draws keys from could be guessed; it is
                # for pages that are gone with the connection. The better one is an extension, to be downloaded.
                connection.execute("SET force_mbedtls_unsafe = true")
                connection.execute("SET temp_file_encryption = true")
            yield connection
        except RuntimeError as err:
            if str(err) == "Query interrupted":  # what DuckDB makes of Ctrl-C
                raise KeyboardInterrupt from err
            raise
        finally:
            connection.close()

    def write(
        self,
        connection: "duckdb.DuckDBPyConnection",
        query: str,
        folder: str | Path,
        order_by: Sequence[str] = (),
        file_name: str = "data.parquet",
    ) -> WrittenTable:
        """Writes a query's result to `<folder>/<version>/<file_name>`.

        The rows are put in a total order first: without it the bytes of the file, and so its hash, depend on the
        number of threads (seen with DuckDB 2.0).

        Args:
            connection: A connection of this engine.
            query: A SELECT statement.
            folder: Folder of the table; made when absent.
            order_by: Columns to sort by first.
            file_name: Name of the file.

        Returns:
            Where the table is, its version, rows and columns. Writing the same content twice gives the same answer.
        """
        folder = Path(folder)
        with scratch_folder(folder) as scratch:
            path = scratch / file_name
            described = connection.execute(f"DESCRIBE {query}").fetchall()
            order = _total_order([name for name, *_ in described], order_by)
            connection.execute(
                f"COPY (SELECT * FROM ({query}) ORDER BY {order}) TO {literal(path)} ({PARQUET_OPTIONS})"
            )
            rows = connection.execute(f"SELECT count(*) FROM read_parquet({literal(path)})").fetchone()
            version = file_sha256(path)
            target = folder / version[:32]
            if not (in_use(target) and (target / file_name).is_file()):
                _publish(scratch, target)
        columns = tuple(ColumnInfo(name=name, dtype=dtype) for name, dtype, *_ in described)
        return WrittenTable(str(target / file_name), version, rows[0] if rows else 0, columns)

    def read_pandas(self, location: str, columns: Sequence[str] = (), where: str = "") -> "pd.DataFrame":
        """Reads a Parquet file, or some of its columns and rows, as a data frame."""
        with self.connect() as connection:
            return connection.execute(_select(location, columns, where)).df()

    def read_arrow(self, location: str, columns: Sequence[str] = (), where: str = "") -> "pa.Table":
        """Reads a Parquet file, or some of its columns and rows, as an Arrow table."""
        with self.connect() as connection:
            return connection.execute(_select(location, columns, where)).to_arrow_table()

    def scalar(self, query: str) -> Any:
        """The first value of a query's first row; None where there is none."""
        with self.connect() as connection:
            row = connection.execute(query).fetchone()
            return row[0] if row else None


def _total_order(columns: Sequence[str], order_by: Sequence[str]) -> str:
    """By some columns, then by the hash of all others: cheaper than comparing them, and rows of one hash are equal."""
    rest = [quoted(name) for name in columns if name not in order_by]
    if order_by and rest:
        rest = [f"hash({', '.join(rest)})"]
    return ", ".join([*map(quoted, order_by), *rest])


def timestamp(moment: datetime) -> str:
    """A moment as an SQL timestamp without a zone, in UTC."""
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    return f"TIMESTAMP '{utc:%Y-%m-%d %H:%M:%S.%f}'"


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _select(location: str, columns: Sequence[str], where: str) -> str:
    wanted = ", ".join(map(quoted, columns)) or "*"
    return f"SELECT {wanted} FROM {parquet(location)}" + (f" WHERE {where}" if where else "")


def _publish(scratch: Path, target: Path) -> None:
    """Renames a finished folder into place; another process that was first has written the same bytes."""
    try:
        os.rename(scratch, target)  # noqa: PTH104 - Path.rename moves into an existing folder on some systems
    except OSError:
        if not target.is_dir():
            raise

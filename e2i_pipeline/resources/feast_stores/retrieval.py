# ruff: noqa: TID253 - imported by Feast alone, through the store
"""Runs the point-in-time join on a private connection: Feast's retrieval job, its results, and what it says of itself.

View by view: first which row wins, then its columns, so that no more than one view is sorted at a time. The statements
stand in `known_time.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage

from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.feast_stores.files import Files
from e2i_pipeline.resources.feast_stores.known_time import EntityRows, ViewRead, ViewTable, instant, require_time
from e2i_pipeline.resources.sql import PARQUET_OPTIONS, literal, quoted

TIME = "event_timestamp"
"""Column of the time in entity rows, as Feast calls it; else the only column of timestamps."""

CELLS_IN_GROUP = 4_000_000
"""Values in a row group of a Parquet file, which DuckDB holds in memory until it is complete: 32 MB of numbers.

DuckDB's own 122,880 rows would be 1 GB of a thousand columns; up to 32 columns they stay.
"""

_ENTITIES = "__e2i_entities"
_GIVEN = "__e2i_given"

Connect = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]


class Query:
    """A SELECT statement, and what must be registered with a connection before it can be run.

    Args:
        sql: The statement.
        table: What it reads under the name `__e2i_given`.
    """

    def __init__(self, sql: str, table: pa.Table | None = None) -> None:
        self.sql = sql.strip().rstrip(";") + "\n"  # it may end with a comment
        self.table = table

    @classmethod
    def of(cls, rows: "pd.DataFrame | str") -> "Query":
        """Entity rows as Feast takes them: a data frame, or a SELECT statement in DuckDB's SQL.

        Raises:
            ToolRejected: A column of the frame mixes types, or holds times that are none.
        """
        return cls(rows) if isinstance(rows, str) else cls.of_table(_arrow(rows))

    @classmethod
    def of_table(cls, table: pa.Table) -> "Query":
        """The rows of an Arrow table."""
        return cls(f"SELECT * FROM {_GIVEN}", table)

    def on(self, connection: duckdb.DuckDBPyConnection) -> str:
        """The statement, ready to be run on a connection."""
        if self.table is not None:
            connection.register(_GIVEN, self.table)
        return self.sql


class TableJob(RetrievalJob):
    """Rows of a statement.

    Args:
        connect: Opens a private connection.
        files: Where files are.
    """

    def __init__(self, connect: Connect, files: Files, query: Query) -> None:
        super().__init__()
        self._connect = connect
        self._files = files
        self._query = query

    def prepared(self, connection: duckdb.DuckDBPyConnection) -> str:
        """The statement of the result, after everything that it needs has been done on a connection."""
        self._files.reach(connection)
        return self._query.on(connection)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        with self._connect() as connection, told("read"):
            return connection.sql(self.prepared(connection)).to_arrow_table()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._to_arrow_internal(timeout).to_pandas()

    @property
    def full_feature_names(self) -> bool:
        """Whether names begin with their view's."""
        return False

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Views that are computed from the result."""
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """Nothing is said of plain rows."""
        return None

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Writes the result to Parquet, straight from the engine; a reader sees all of it or none.

        Args:
            storage: A file, or a folder, which then holds one file.
            allow_overwrite: Whether what is there already may be replaced.
            timeout: Not used.

        Raises:
            SavedDatasetLocationAlreadyExists: Something is there already.
            ToolRejected: The place is none for Parquet files.
        """
        target = self._files.target(storage.to_data_source())
        if target.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=target.location)
        # on-demand views are Python functions of the whole result
        whole = self.to_arrow() if self.on_demand_feature_views else None
        with self._connect() as connection, told("write"), target.replaced() as path:
            job = self if whole is None else TableJob(self._connect, self._files, Query.of_table(whole))
            query = job.prepared(connection)
            rows = CELLS_IN_GROUP // max(1, len(described(connection, query)))
            group = f"ROW_GROUP_SIZE {max(2048, min(122_880, rows))}"
            connection.execute(f"COPY ({query}) TO {literal(path)} ({PARQUET_OPTIONS}, {group})")


class JoinJob(TableJob):
    """The point-in-time join of entity rows with views.

    Args:
        connect: Opens a private connection.
        files: Where files are.
        query: The entity rows.
        views: What is read of each view.
        references: The features as they were asked for.
        on_demand: Views that are computed from the result.
        full_feature_names: Whether names begin with their view's.
    """

    def __init__(
        self,
        connect: Connect,
        files: Files,
        query: Query,
        views: Sequence[ViewRead],
        references: list[str],
        on_demand: list[OnDemandFeatureView],
        full_feature_names: bool,
    ) -> None:
        super().__init__(connect, files, query)
        self._views = views
        self._references = references
        self._on_demand = on_demand
        self._full_feature_names = full_feature_names

    @property
    def full_feature_names(self) -> bool:
        """Whether names begin with their view's."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Views that are computed from the result."""
        return self._on_demand

    @cached_property
    def metadata(self) -> RetrievalMetadata:
        """What was asked for, and the span of the entity rows' times; reads them when it is first asked for."""
        with self._connect() as connection, told("look at the entity rows"):
            query = super().prepared(connection)
            types = described(connection, query)
            time = _time_column(types)
            moment = instant(time, types[time], is_fine=False)
            first, last = connection.execute(f"SELECT min({moment}), max({moment}) FROM ({query})").fetchall()[0]
        keys = [name for name in types if name != time]
        return RetrievalMetadata(self._references, keys, _moment(first), _moment(last))

    def prepared(self, connection: duckdb.DuckDBPyConnection) -> str:
        """Stages the entity rows and the columns of each view, and joins them by number of row.

        Raises:
            ToolRejected: The files do not hold what the views say, or keys cannot be compared.
        """
        query = super().prepared(connection)
        types = described(connection, query)
        self._require_distinct_names(types)
        entities = EntityRows(_ENTITIES, types, _time_column(types))
        columns = entities.columns
        connection.execute(f"CREATE TEMP TABLE {_ENTITIES} ({', '.join(columns.values())}) AS {query}")
        numbers: dict[tuple[str, ...], str] = {}
        joined, chosen = "", [f"e.{column} AS {quoted(name)}" for name, column in columns.items()]
        for i, read in enumerate(self._views):
            keys = tuple(entity for entity, _ in read.keys)
            if keys and keys not in numbers:
                numbers[keys] = f"n{i}"
                connection.execute(f"CREATE TEMP TABLE n{i} AS {entities.numbered(keys)}")
            table = ViewTable(read, described(connection, f"FROM {read.relation}"))
            winners = table.winners(entities, numbers.get(keys, ""))
            if table.carries:
                connection.execute(f"CREATE TEMP TABLE v{i} AS {winners}")
            else:
                connection.execute(f"CREATE TEMP TABLE w AS {winners}")
                connection.execute(f"CREATE TEMP TABLE v{i} AS {table.fetched('w')}")
                connection.execute("DROP TABLE w")
            joined += f" LEFT JOIN v{i} ON v{i}.row = e.rowid"
            chosen += [f"v{i}.c{j} AS {quoted(name)}" for j, (_, name) in enumerate(read.columns)]
        return f"SELECT {', '.join(chosen)} FROM {_ENTITIES} AS e{joined} ORDER BY e.rowid"

    def _require_distinct_names(self, types: Mapping[str, str]) -> None:
        keys = {entity for view in self._views for entity, _ in view.keys}
        missing = sorted(keys - set(types))
        names = [*types, *(name for view in self._views for _, name in view.columns)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if missing or twice:
            raise ToolRejected(
                f"The entity rows have {len(types)} columns. Join keys that they lack: "
                f"{', '.join(missing) or 'none'}. Names that would stand for two columns of the result: "
                f"{', '.join(twice) or 'none'}. Rename such columns of the entity rows, or ask for full_feature_names."
            )


@contextmanager
def told(action: str) -> Iterator[None]:
    """Says what DuckDB could not do, without repeating a value: its messages may hold one.

    Args:
        action: What was tried, as in "DuckDB could not ...".

    Raises:
        ToolRejected: DuckDB refused, or ran out of memory.
        KeyboardInterrupt: The person at the keyboard did.
    """
    speaks_of_names = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.IOException)
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise ToolRejected(
            f"DuckDB could not {action} within its memory. Raise memory_limit of the offline store in the Feast "
            "configuration, or give its temp_directory room."
        ) from None
    except speaks_of_names as err:
        raise ToolRejected(f"DuckDB could not {action}: {err}") from err
    except duckdb.Error as err:
        raise ToolRejected(
            f"DuckDB could not {action}: {type(err).__name__}. Its message is left out, since it may hold a value. "
            "Look for keys, times or features whose type is not what the view or the statement says."
        ) from None
    except RuntimeError as err:
        if str(err) == "Query interrupted":  # what DuckDB makes of Ctrl-C
            raise KeyboardInterrupt from err
        raise


def described(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, str]:
    """DuckDB's type per column of a statement."""
    return {str(name): str(dtype) for name, dtype, *_ in connection.execute(f"DESCRIBE {query}").fetchall()}


def _time_column(types: dict[str, str]) -> str:
    times = [name for name, dtype in types.items() if dtype.startswith(("TIMESTAMP", "DATE"))]
    found = [TIME] if TIME in types else times
    if len(found) != 1:
        raise ToolRejected(
            f"The entity rows have no column {TIME}, and {len(times)} columns of timestamps in place of one. Name the "
            f"time of each row {TIME}."
        )
    require_time(found[0], types[found[0]], "entity rows")
    return found[0]


def _moment(microseconds: int | None) -> datetime | None:
    return (
        None
        if microseconds is None
        else datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)
    )


def _arrow(frame: pd.DataFrame) -> pa.Table:
    """A frame as an Arrow table; times given as texts or objects of several zones become instants."""
    if not frame.columns.is_unique:
        raise ToolRejected(
            f"Of the {len(frame.columns)} columns of the entity rows some have the same name. Rename them."
        )
    given: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name]
        is_open = pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column)
        try:
            given[str(name)] = pa.array(
                pd.to_datetime(column, utc=True) if is_open and name == TIME else column, from_pandas=True
            )
        except (ValueError, TypeError, pa.ArrowException):
            raise ToolRejected(
                f"The column {name} of the entity rows holds {len(column)} values that are not of one type"
                f"{', or not times' if name == TIME else ''}. Give it one type."
            ) from None
    return pa.table(given)

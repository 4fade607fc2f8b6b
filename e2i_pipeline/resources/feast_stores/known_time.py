"""The statements of the point-in-time join in event time and in known-at time, for DuckDB over Parquet files.

A row of a view is seen at time t if `visible = max(event, created)` is at or before t (before it, where the view's
bound is strict). Of the rows seen, the one with the greatest (event, created) counts; of equal ones, the last in the
file. Then the TTL: nothing is left of a row whose event lies further back than that.

Times are compared as whole numbers, in UTC: microseconds, or nanoseconds where the view has them. Feast is not known
here: what is asked of it comes in as `ViewRead`, and `retrieval.py` runs the statements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.sql import quoted

CARRIED_COLUMNS = 8
"""Up to so many columns go through the join; more are fetched afterwards, for the winning rows only.

Sorting 100 columns of 170,000 rows took five times as long as sorting their positions and reading the winners then.
"""

_FOREVER = 1 << 62
_MICROSECOND = timedelta(microseconds=1)
_TEXTS = ("VARCHAR", "ENUM", "UUID", "BLOB")
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_FRACTIONS = ("FLOAT", "DOUBLE", "DECIMAL")


@dataclass(frozen=True)
class ViewRead:
    """What is read of one feature view.

    Attributes:
        name: The view, as it is referred to.
        relation: Its rows, as a table in SQL that has the virtual columns of Parquet files.
        is_one_file: Whether they are in a single file.
        keys: Column of the entity rows and column of the view, per join key; none for a view without entities.
        event: Column of the event time.
        created: Column of the known-at time; None where the view has none.
        columns: Column of the view and name in the result, per feature.
        ttl: Age at which a value ends; None or not above zero for no limit.
        is_strict: Whether a row that becomes visible exactly at the time asked for is not seen yet.
    """

    name: str
    relation: str
    is_one_file: bool
    keys: tuple[tuple[str, str], ...]
    event: str
    created: str | None
    columns: tuple[tuple[str, str], ...]
    ttl: timedelta | None = None
    is_strict: bool = False


@dataclass(frozen=True)
class EntityRows:
    """The entity rows, in a table of their own whose `rowid` is the number of the row.

    Attributes:
        table: Name of the table.
        types: DuckDB's type per column of the rows as they were given, in order.
        time: The column with the time.
    """

    table: str
    types: Mapping[str, str]
    time: str

    @property
    def columns(self) -> dict[str, str]:
        """Column of the table per column as it was given: names of its own, which are none of DuckDB's."""
        return {name: f"e{i}" for i, name in enumerate(self.types)}

    def numbered(self, keys: Sequence[str]) -> str:
        """A number for each entity among the rows: k0.., entity.

        Sorting by numbers in place of texts takes a seventh less of the whole join's time, and rows of entities that
        are not asked for are gone before any sorting.

        Args:
            keys: The columns that make up its key.
        """
        chosen = {f"k{i}": self.columns[key] for i, key in enumerate(keys)}
        listed = ", ".join(f"{column} AS {name}" for name, column in chosen.items())
        given = " AND ".join(f"{column} IS NOT NULL" for column in chosen.values())
        return f"""
            SELECT *, CAST(row_number() OVER () AS UINTEGER) AS entity
            FROM (SELECT DISTINCT {listed} FROM {self.table} WHERE {given})"""


@dataclass(frozen=True)
class ViewTable:
    """A view and what its files say of themselves.

    Attributes:
        read: What is read.
        types: DuckDB's type per column.
    """

    read: ViewRead
    types: Mapping[str, str]

    def __post_init__(self) -> None:
        """Refuses what the files do not hold.

        Raises:
            ToolRejected: A column is missing, a time is no time, or a name is one that DuckDB gives to each file.
        """
        read = self.read
        wanted = [*(key for _, key in read.keys), read.event, *([read.created] if read.created else [])]
        missing = [name for name in [*wanted, *(source for source, _ in read.columns)] if name not in self.types]
        taken = {"file_index", "file_row_number"} & set(self.types)
        if missing or taken:
            what = f"have no column {', '.join(missing)}" if missing else f"name a column {', '.join(sorted(taken))}"
            raise ToolRejected(
                f"The files of the feature view {read.name} {what} ({len(self.types)} columns found). Correct the "
                "view, its field mapping, or its files."
            )
        for name in (read.event, read.created):
            if name:
                require_time(name, self.types[name], f"feature view {read.name}")

    @property
    def is_fine(self) -> bool:
        """Whether times are told apart by nanoseconds."""
        return any(_is_fine(self.types[name]) for name in (self.read.event, self.read.created) if name)

    @property
    def carries(self) -> bool:
        """Whether the wanted columns go through the join."""
        return len(self.read.columns) <= CARRIED_COLUMNS

    @property
    def _names(self) -> list[str]:
        return [f"c{i}" for i in range(len(self.read.columns))]

    def facts(self, numbers: str) -> str:
        """The rows that can be seen at all: entity, event, created, visible, position, and the carried columns.

        Args:
            numbers: Table of `EntityRows.numbered` for the view's keys; not read for a view without entities.
        """
        read = self.read
        event = instant(read.event, self.types[read.event], self.is_fine)
        created = instant(read.created, self.types[read.created], self.is_fine) if read.created else event
        position = "file_row_number" if read.is_one_file else "file_index::BIGINT << 40 | file_row_number"
        times = [f"{event} AS event", f"{created} AS created", f"{position} AS position"]
        carried = _named([source for source, _ in read.columns], self._names) if self.carries else []
        chosen = [*_named([source for _, source in read.keys], self._keys), *times, *carried]
        kept = ["event", "created", "position", *(self._names if self.carries else [])]
        return f"""
            SELECT {self._entity} AS entity, {", ".join(kept)}, greatest(event, created) AS visible
            FROM (SELECT {", ".join(chosen)} FROM {read.relation}) AS f {self._joined("f", numbers)}
            WHERE event IS NOT NULL AND created IS NOT NULL"""

    def known(self, numbers: str) -> str:
        """What counts from each moment on: entity, visible (unique per entity), event, position or carried columns.

        In order of (visible, event, created) a row counts if no earlier one has a later event: among rows of one event
        time, later in this order is known later. So the running maximum of the event time alone tells, and without a
        known-at time none is needed.
        """
        order = "PARTITION BY entity ORDER BY visible, event, created, position"
        beaten = f"max(event) OVER ({order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
        counts = "(best IS NULL OR event >= best)" if self.read.created else "true"
        return f"""
            SELECT entity, visible, event {self._rest}
            FROM (
                SELECT entity, visible, event {self._rest}, lead(visible) OVER ({order}) AS next
                    {f", {beaten} AS best" if self.read.created else ""}
                FROM ({self.facts(numbers)}))
            WHERE {counts} AND (next IS NULL OR next <> visible)"""

    def winners(self, entities: EntityRows, numbers: str) -> str:
        """The row of the view per entity row that sees one: `row`, then position or carried columns.

        Args:
            entities: The entity rows.
            numbers: As for `facts`.

        Raises:
            ToolRejected: Keys cannot be compared.
        """
        read, types = self.read, entities.types
        for entity, source in read.keys:
            require_alike(entity, types[entity], self.types[source], read.name)
        column, dtype = entities.columns[entities.time], types[entities.time]
        seen = instant(column, dtype, self.is_fine, rounds_up=read.is_strict)
        late = instant(column, dtype, self.is_fine, rounds_up=True)
        times = [f"{seen} AS time", *([f"{late} AS late"] if late != seen else [])]
        chosen = ["rowid AS row", *times, *_named([entities.columns[entity] for entity, _ in read.keys], self._keys)]
        return f"""
            SELECT e.row AS row {self._prefixed("f")}
            FROM (
                SELECT r.*, {self._entity} AS entity
                FROM (SELECT {", ".join(chosen)} FROM {entities.table}) AS r {self._joined("r", numbers)}) AS e
            ASOF JOIN ({self.known(numbers)}) AS f
            ON e.entity = f.entity AND e.time {">" if read.is_strict else ">="} f.visible
            WHERE {self._lives("e.late" if late != seen else "e.time")}"""

    def fetched(self, winners: str) -> str:
        """The wanted columns of winning rows: `row`, c0.. ."""
        columns = ", ".join(_named([source for source, _ in self.read.columns], self._names, "f."))
        position = "f.file_row_number"
        if not self.read.is_one_file:
            position = f"(f.file_index::BIGINT << 40 | {position})"
        return f"""
            SELECT w.row AS row, {columns}
            FROM {self.read.relation} AS f JOIN {winners} AS w ON {position} = w.position"""

    @property
    def _keys(self) -> list[str]:
        return [f"k{i}" for i in range(len(self.read.keys))]

    @property
    def _entity(self) -> str:
        return "n.entity" if self.read.keys else "0"

    def _joined(self, alias: str, numbers: str) -> str:
        matching = " AND ".join(f"{alias}.{key} = n.{key}" for key in self._keys)
        return f"JOIN {numbers} AS n ON {matching}" if matching else ""

    @property
    def _rest(self) -> str:
        return "".join(f", {name}" for name in (self._names if self.carries else ["position"]))

    def _prefixed(self, alias: str) -> str:
        return "".join(f", {alias}.{name}" for name in (self._names if self.carries else ["position"]))

    def _lives(self, moment: str) -> str:
        """Whether a row has not outlived the TTL at a moment; exactly that old it has not."""
        ttl = self.read.ttl
        units = (ttl // _MICROSECOND) * (1000 if self.is_fine else 1) if ttl else 0
        return f"f.event >= {moment} - {units}" if 0 < units < _FOREVER else "true"


def instant(column: str, dtype: str, is_fine: bool, rounds_up: bool = False) -> str:
    """A moment as a whole number since 1970 in UTC; null where there is none, or it is infinite.

    Args:
        column: Name of a column.
        dtype: Its type.
        is_fine: Whether to count in nanoseconds, not microseconds.
        rounds_up: Whether parts of a microsecond count as a whole one.
    """
    moment = quoted(column)
    if dtype == "VARCHAR" or dtype == '"NULL"':
        moment = f"CAST({moment} AS TIMESTAMP WITH TIME ZONE)"
    if is_fine:
        return f"epoch_ns({moment})" if _is_fine(dtype) else f"TRY(epoch_ns({moment}))"
    if not _is_fine(dtype):
        return f"epoch_us({moment})"
    parts = f"epoch_ns({moment})"
    down = f"(({parts} - (({parts} % 1000) + 1000) % 1000) // 1000)"
    return f"({down} + CAST({parts} % 1000 <> 0 AS BIGINT))" if rounds_up else down


def require_time(column: str, dtype: str, whose: str) -> None:
    """Refuses a time column that holds no times.

    Raises:
        ToolRejected: With the type found.
    """
    if not dtype.startswith(("TIMESTAMP", "DATE", "VARCHAR", '"NULL"')):
        raise ToolRejected(
            f"The time column {column} of the {whose} has the type {dtype}. It must hold timestamps or dates (without "
            "a zone they count as UTC)."
        )


def require_alike(entity: str, given: str, held: str, view: str) -> None:
    """Refuses keys that cannot be compared, before the engine tries and repeats a key in its message.

    Raises:
        ToolRejected: With both types.
    """
    if '"NULL"' not in (given, held) and _kind(given) != _kind(held):
        raise ToolRejected(
            f"The join key {entity} has the type {given} in the entity rows and {held} in the feature view {view}. "
            "Cast it in the entity rows."
        )


def _kind(dtype: str) -> str:
    if dtype.startswith(_TEXTS):
        return "text"
    return "number" if dtype.startswith((*_NUMBERS, *_FRACTIONS)) else dtype


def _is_fine(dtype: str) -> bool:
    return dtype.endswith("_NS")


def _named(sources: Sequence[str], names: Sequence[str], prefix: str = "") -> list[str]:
    return [f"{prefix}{quoted(source)} AS {name}" for source, name in zip(sources, names, strict=True)]

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

FEWER = 4
"""With so many times fewer entity rows than a view has rows, those of other entities are dropped before sorting."""

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
class ViewTable:
    """A view and what its files say of themselves.

    Attributes:
        read: What is read.
        types: DuckDB's type per column.
        rows: Number of rows.
    """

    read: ViewRead
    types: Mapping[str, str]
    rows: int

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

    def facts(self, entities: str, entity_rows: int) -> str:
        """The rows that can be seen at all: k0.., event, visible, created, position, and the carried columns."""
        read = self.read
        event = instant(read.event, self.types[read.event], self.is_fine)
        created = instant(read.created, self.types[read.created], self.is_fine) if read.created else "event"
        keys = {f"k{i}": quoted(source) for i, (_, source) in enumerate(read.keys)}
        chosen = [*(f"{key} AS {name}" for name, key in keys.items()), *([] if keys else ["0 AS k0"])]
        carried = _named([source for source, _ in read.columns], self._names) if self.carries else []
        position = "file_row_number" if read.is_one_file else "file_index::BIGINT << 40 | file_row_number"
        given = [f"{name} IS NOT NULL" for name in ["event", "created", *keys]]
        if keys and entity_rows * FEWER < self.rows:
            # min/max of the keys reach the scan, too: of a sorted file only some row groups are read then
            listed = [quoted(entity) for entity, _ in read.keys]
            given.append(f"{_tuple(list(keys))} IN (SELECT {_tuple(listed)} FROM {entities})")
        return f"""
            SELECT *, greatest(event, created) AS visible
            FROM (SELECT {", ".join(chosen)}, {event} AS event, {created} AS created, {position} AS position
                    {"".join(f", {c}" for c in carried)} FROM {read.relation})
            WHERE {" AND ".join(given)}"""

    def known(self, entities: str, entity_rows: int) -> str:
        """What counts from each moment on: k0.., visible (unique per key), event, then position or carried columns.

        In order of (visible, event, created) a row counts if no earlier one has a later event: among rows of one event
        time, later in this order is known later. So the running maximum of the event time alone tells, and without a
        known-at time none is needed.
        """
        keys = ", ".join(f"k{i}" for i in range(max(1, len(self.read.keys))))
        order = f"PARTITION BY {keys} ORDER BY visible, event, created, position"
        beaten = f"max(event) OVER ({order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
        counts = "(best IS NULL OR event >= best)" if self.read.created else "true"
        return f"""
            SELECT {keys}, visible, event {self._rest}
            FROM (
                SELECT {keys}, visible, event {self._rest}, lead(visible) OVER ({order}) AS next
                    {f", {beaten} AS best" if self.read.created else ""}
                FROM ({self.facts(entities, entity_rows)}))
            WHERE {counts} AND (next IS NULL OR next <> visible)"""

    def winners(self, entities: str, row: str, time: str, types: Mapping[str, str], entity_rows: int) -> str:
        """The row of the view per entity row that sees one: `row`, then position or carried columns.

        Args:
            entities: Table of the entity rows.
            row: Its column with the number of the row.
            time: Its column with the time.
            types: DuckDB's type per column of it.
            entity_rows: How many there are.
        """
        for entity, source in self.read.keys:
            require_alike(entity, types[entity], self.types[source], self.read.name)
        keys = [quoted(entity) for entity, _ in self.read.keys] or ["0"]
        chosen = ", ".join(f"{key} AS k{i}" for i, key in enumerate(keys))
        seen = instant(time, types[time], self.is_fine, rounds_up=self.read.is_strict)
        late = instant(time, types[time], self.is_fine, rounds_up=True)
        moments = f"{seen} AS time" + (f", {late} AS late" if late != seen else "")
        matching = " AND ".join(f"e.k{i} = f.k{i}" for i in range(len(keys)))
        return f"""
            SELECT e.row AS row {self._prefixed("f")}
            FROM (SELECT {quoted(row)} AS row, {moments}, {chosen} FROM {entities}) AS e
            ASOF JOIN ({self.known(entities, entity_rows)}) AS f
            ON {matching} AND e.time {">" if self.read.is_strict else ">="} f.visible
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


def _tuple(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"({', '.join(names)})"

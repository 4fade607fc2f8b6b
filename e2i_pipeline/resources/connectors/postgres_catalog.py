"""What PostgreSQL's catalogue says of a table: its columns, how each comes over, and whether it has changed.

All statements are cheap, whatever the size of the table, but those for a view, a foreign table and a standby server.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from e2i_pipeline.resources.connectors.postgres_copy import Field
from e2i_pipeline.resources.engine import quoted

_PLAIN = {
    "int2": "INTEGER",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "float4": "DOUBLE",
    "float8": "DOUBLE",
    "bool": "BOOLEAN",
}
"""PostgreSQL types whose text reads as the DuckDB type beside it."""

_TIMES = {"date": "DATE", "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMP"}

_NOTABLE = 20  # tables that a message lists


class Name(NamedTuple):
    """A table's schema and name."""

    schema: str
    table: str

    @staticmethod
    def of(text: str, schema: str) -> "Name":
        """Reads `table` or `schema.table`."""
        first, dot, rest = text.partition(".")
        return Name(first, rest) if dot else Name(schema, text)

    @property
    def sql(self) -> str:
        """As SQL."""
        return f"{quoted(self.schema)}.{quoted(self.table)}"


class Relation(NamedTuple):
    """A table, view or foreign table: its number, and its kind as the catalogue writes it (`r`, `p`, `v`, `m`, `f`)."""

    oid: int
    kind: str
    name: Name


class Column(NamedTuple):
    """A column: its name, the name of its type without length (of a domain, that below it), whether it is an array."""

    name: str
    type: str
    is_array: bool


def relation(cursor: Any, name: Name) -> Relation | None:
    """The table of this name; None where there is none that the user may know of."""
    cursor.execute(
        "SELECT c.oid, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
        (name.schema, name.table),
    )
    row = cursor.fetchone()
    return Relation(row[0], row[1], name) if row else None


def tables_beside(cursor: Any, name: Name) -> list[str]:
    """Tables of the same schema, at most 20."""
    cursor.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1 LIMIT %s",
        (name.schema, _NOTABLE),
    )
    return [table for (table,) in cursor.fetchall()]


def columns(cursor: Any, found: Relation) -> tuple[Column, ...]:
    """The table's columns in order."""
    cursor.execute(
        "SELECT a.attname, coalesce(b.typname, t.typname), coalesce(b.typcategory, t.typcategory) = 'A' "
        "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
        "LEFT JOIN pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype "
        "WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        (found.oid,),
    )
    return tuple(Column(*row) for row in cursor.fetchall())


def field(column: Column, dtype: str) -> Field:
    """How a column comes over.

    Args:
        column: The column.
        dtype: Type that it is landed as, which decides where several would do; empty where any does.

    Returns:
        Its name, the SQL expression, and the DuckDB type that its text reads as. Arrays come as JSON. A time that has
        no four-digit year comes as the year 1, which landing does not accept: BC and `infinity` read differently
        elsewhere.
    """
    name = quoted(column.name)
    if column.is_array:
        return Field(column.name, f"array_to_json({name})", "VARCHAR")
    if column.type in _TIMES:
        # Compared as it is: each turning into UTC costs as much as the comparison.
        within = f"{name} >= {column.type} '0001-01-02' AND {name} < {column.type} '9999-12-31'"
        instant = f"{name} AT TIME ZONE 'UTC'" if column.type == "timestamptz" else name
        odd = f"{'date' if column.type == 'date' else 'timestamp'} '0001-01-01'"
        expression = f"CASE WHEN {within} THEN {instant} WHEN {name} IS NOT NULL THEN {odd} END"
        return Field(column.name, expression, _TIMES[column.type])
    if column.type == "numeric":
        # As an identifier 123.00 is 123, as it is where a tool wrote it as a float.
        return Field(column.name, f"trim_scale({name})", "VARCHAR" if dtype == "VARCHAR" else "DOUBLE")
    if column.type in _PLAIN and (column.type == "bool" or dtype != "VARCHAR"):
        return Field(column.name, name, _PLAIN[column.type])
    return Field(column.name, f"{name}::text" if column.type == "bpchar" else name, "VARCHAR")


def state(cursor: Any, found: Relation, known_at: str) -> Sequence[Any]:
    """Changes when the table's content does, without reading it.

    A table on a primary server: what the server counted of inserted, updated and deleted rows (of all partitions), the
    file it lies in and its size, and since when it counts. The counts of a transaction show up to a second after it
    (before PostgreSQL 15, when its session does something else), and a transaction that was rolled back counts too: a
    table may be read once more than needed. Where an index begins with the known-at column its latest value counts
    too, and is seen at once. A standby does not count: there the rows' own transaction numbers are summed up, in one
    scan. A view or foreign table has neither: its rows are counted, with the latest known-at time, so that a row
    corrected in place is not noticed.

    Args:
        cursor: A transaction.
        found: The table.
        known_at: Its known-at column; empty where it has none.
    """
    latest = f"max({quoted(known_at)})::text" if known_at else "NULL"
    if found.kind in ("v", "m", "f"):
        return _row(cursor, f"SELECT count(*), {latest} FROM {found.name.sql}")
    if _row(cursor, "SELECT pg_is_in_recovery()")[0]:
        return _row(
            cursor,
            f"SELECT count(*), {latest}, sum(hashtextextended(xmin::text || ctid::text, 0)::numeric)::text "
            f"FROM {found.name.sql}",
        )
    counted = _row(
        cursor,
        "WITH parts AS (SELECT relid FROM pg_partition_tree(%(oid)s) UNION SELECT %(oid)s::oid::regclass) "
        "SELECT count(*), sum(pg_relation_filenode(p.relid)::bigint), sum(pg_relation_size(p.relid)), "
        "sum(s.n_tup_ins), sum(s.n_tup_upd), sum(s.n_tup_del), "
        "(SELECT stats_reset::text FROM pg_stat_database WHERE datname = current_database()), "
        "pg_postmaster_start_time()::text "
        "FROM parts p LEFT JOIN pg_stat_all_tables s ON s.relid = p.relid",
        {"oid": found.oid},
    )
    if known_at and _is_indexed(cursor, found, known_at):
        return (*counted, *_row(cursor, f"SELECT {latest} FROM {found.name.sql}"))
    return counted


def _is_indexed(cursor: Any, found: Relation, column: str) -> bool:
    return _row(
        cursor,
        "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a "
        "ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "
        "WHERE i.indrelid = %s AND a.attname = %s AND i.indisvalid AND i.indpred IS NULL)",
        (found.oid, column),
    )[0]


def _row(cursor: Any, statement: str, values: Any = None) -> tuple[Any, ...]:
    cursor.execute(statement, values)
    return tuple(str(v) if v is not None and not isinstance(v, (bool, int)) else v for v in cursor.fetchone())

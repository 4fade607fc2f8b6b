"""Counting kinds of defect in a relation, in one pass, for every connector over clinical tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.references import DefectCount

if TYPE_CHECKING:
    import duckdb


class Defect(NamedTuple):
    """One kind of defect: in words, as a condition on the rows (alias `t`), and what is done about it."""

    words: str
    condition: str
    treatment: str


def counted(
    connection: "duckdb.DuckDBPyConnection", table: str, relation: str, kinds: Sequence[Defect]
) -> tuple[DefectCount, ...]:
    """Counts all kinds in one pass over a relation; a kind that does not occur gives no line.

    Args:
        connection: The connection.
        table: Name of the table in the report.
        relation: The rows: a table, a view or a subquery in brackets.
        kinds: The kinds of defect.
    """
    if not kinds:
        return ()
    flags = ", ".join(f"({kind.condition}) AS is_{number}" for number, kind in enumerate(kinds))
    counts = ", ".join(f"count_if(is_{number})" for number in range(len(kinds)))
    statement = f"SELECT count(*), {counts} FROM (SELECT {flags} FROM {relation} t)"
    of_rows, *found = connection.execute(statement).fetchone() or (0, *(0 for _ in kinds))
    return tuple(
        DefectCount(table=table, defect=kind.words, rows=rows, of_rows=of_rows, treatment=kind.treatment)
        for kind, rows in zip(kinds, found, strict=True)
        if rows
    )


def first_value(connection: "duckdb.DuckDBPyConnection", statement: str) -> int:
    """The first value of a statement's first row, a number; 0 where there is none."""
    row = connection.execute(statement).fetchone()
    return row[0] if row and row[0] is not None else 0

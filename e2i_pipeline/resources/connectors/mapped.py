"""Puts a declared mapping between an input and landing: checked against both, made into SQL, its misfits counted.

Any connector whose tables have columns of their own names may use it; where the rows come from is theirs to say.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from e2i_pipeline.contracts.mapping import MADE, REPETITION, ROW, TableMapping
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.domain import mapping_counts
from e2i_pipeline.domain.mapping import Used, expressions, mapped_sql, needed, ordered_sql, reads_row_order
from e2i_pipeline.domain.mapping_check import check_input, check_used
from e2i_pipeline.errors import ConfigurationError
from e2i_pipeline.resources.connectors.expressions import check_types, check_zones, columns_read

if TYPE_CHECKING:
    import duckdb


class MappedInput(NamedTuple):
    """One canonical table as a mapping makes it of an input.

    Attributes:
        table: The canonical table.
        mapping: Its mapping.
        relation: The input as a SELECT statement.
        found: Its columns and their DuckDB types.
        used: The columns that the mapping's expressions read.
        covariates: Columns that configured covariates are made of.
    """

    table: str
    mapping: TableMapping
    relation: str
    found: Mapping[str, str]
    used: Used
    covariates: Collection[str]

    @property
    def query(self) -> str:
        """The canonical rows, as a SELECT statement."""
        return self._mapped(self.mapping)

    def defects(self, connection: "duckdb.DuckDBPyConnection") -> tuple[DefectCount, ...]:
        """What did not fit, each kind counted.

        Raises:
            SourceError: Nothing fitted: the mapping is wrong, and not the values.
        """
        counted = mapping_counts.measures(self.mapping, self.found)
        rows = ordered_sql(self.table, self.mapping, self.found, self.relation, self.used, self.covariates)
        rows = f"SELECT *, 1::BIGINT AS {REPETITION} FROM ({rows})" if self.mapping.repeat else rows
        counts = _row(connection, mapping_counts.counts_sql(counted, rows)) if counted else ()
        found = mapping_counts.defects(self.table, self.mapping, counted, counts)
        if not self.mapping.key:
            return found
        plain = self._mapped(self.mapping.model_copy(update={"key": ()}))
        numbers = _row(connection, mapping_counts.duplicates_sql(self.mapping, plain, self.query))
        return (*found, *mapping_counts.duplicates(self.table, self.mapping, *numbers))

    def _mapped(self, mapping: TableMapping) -> str:
        return mapped_sql(self.table, mapping, self.found, self.relation, self.used, self.covariates)


def named_columns(
    connection: "duckdb.DuckDBPyConnection", table: str, mapping: TableMapping, has_order: bool
) -> tuple[str, ...]:
    """The columns of the input that a mapping names, its expressions checked.

    Args:
        connection: Any connection of the engine: nothing is read.
        table: Canonical table.
        mapping: Its mapping.
        has_order: Whether the rows of the input stand in an order, as those of a file do.

    Raises:
        ConfigurationError: An expression is more than one over the columns of a row; or the mapping asks for the
            order of an input that has none.
    """
    used = columns_read(connection, expressions(mapping), table)
    if not has_order and reads_row_order(mapping, used):
        raise ConfigurationError(
            f"source.tables.{table} asks for the place of a row ({ROW}, or an order without `by`), and the rows of a "
            "database stand in none. Name the columns that order them in `by`, and a key of its own for an id."
        )
    return needed(mapping, used)


def map_input(
    connection: "duckdb.DuckDBPyConnection",
    table: str,
    mapping: TableMapping,
    relation: str,
    found: Mapping[str, str],
    covariates: Collection[str],
    where: str,
) -> MappedInput:
    """Holds a mapping against its input.

    Args:
        connection: A connection in which the relation can be read.
        table: Canonical table.
        mapping: Its mapping.
        relation: The input as a SELECT statement.
        found: Its columns and their DuckDB types.
        covariates: Columns that configured covariates are made of.
        where: The input in words, for messages.

    Raises:
        ConfigurationError: An expression is not one, or contradicts its input.
        SourceError: The input lacks a column.
    """
    own = expressions(mapping)
    used = columns_read(connection, own, table)
    check_used(table, mapping, used)
    check_input(table, mapping, used, list(found), where)
    zones = {name: column.timezone for name, column in mapping.columns.items() if column.timezone}
    check_zones(connection, zones, table)
    made = f"SELECT *, {', '.join(f'1::BIGINT AS {name}' for name in MADE)} FROM ({relation})"
    check_types(connection, own, table, made)
    mapped = MappedInput(table, mapping, relation, found, used, covariates)
    _check_key(mapped, connection)
    return mapped


def _check_key(mapped: MappedInput, connection: "duckdb.DuckDBPyConnection") -> None:
    if not mapped.mapping.key:
        return
    plain = mapped.query
    made = {name.lower() for name, *_ in connection.execute(f"DESCRIBE {plain}").fetchall()}
    if lacking := [name for name in mapped.mapping.key if name.lower() not in made]:
        raise ConfigurationError(
            f"source.tables.{mapped.table}.key names {', '.join(lacking)}, which the mapping does not make. A key is "
            "made of canonical columns."
        )


def _row(connection: "duckdb.DuckDBPyConnection", query: str) -> Sequence[int]:
    return connection.execute(query).fetchone() or ()

"""Checks a user's SQL expressions by the engine's own parser, before anything reads a row with them."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from e2i_pipeline.domain.expressions import Functions, embedded, read_expression
from e2i_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    import duckdb


def columns_read(
    connection: "duckdb.DuckDBPyConnection", expressions: Mapping[str, str], table: str
) -> dict[str, tuple[str, ...]]:
    """The columns that each expression reads, by its text.

    Args:
        connection: A connection of the engine.
        expressions: Expression by the key of the table's mapping that holds it.
        table: Canonical table, for messages.

    Raises:
        ConfigurationError: One is more than a scalar expression over the columns of a row.
    """
    if not expressions:
        return {}
    functions = _functions(connection)

    def parse(sql: str) -> str:
        rows = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT {sql}"]).fetchall()  # to its end
        return str(rows[0][0]) if rows else json.dumps({"error": True})

    return {
        sql: read_expression(parse(embedded(sql)), f"source.tables.{table}.{key}", functions, parse)
        for key, sql in expressions.items()
    }


def check_types(
    connection: "duckdb.DuckDBPyConnection", expressions: Mapping[str, str], table: str, relation: str
) -> None:
    """Has the engine bind each expression to its input, without reading a row.

    Raises:
        ConfigurationError: A function does not take what it is given.
    """
    import duckdb

    for key, sql in expressions.items():
        try:
            connection.execute(f"DESCRIBE SELECT {embedded(sql)} FROM ({relation})").fetchall()
        except duckdb.Error as err:
            raise ConfigurationError(
                f"source.tables.{table}.{key}: the engine does not take it ({type(err).__name__}): a function that "
                "there is none of, or one that wants another type. Columns of CSV and JSON are text: TRY_CAST them."
            ) from None


def check_zones(connection: "duckdb.DuckDBPyConnection", zones: Mapping[str, str], table: str) -> None:
    """Holds time zones against those that the engine knows.

    Args:
        connection: A connection of the engine.
        zones: Time zone by canonical column.
        table: Canonical table, for messages.

    Raises:
        ConfigurationError: There is no such zone.
    """
    for name, zone in zones.items():
        if not connection.execute("SELECT 1 FROM pg_timezone_names() WHERE name = ?", [zone]).fetchone():
            raise ConfigurationError(
                f"source.tables.{table}.columns.{name}.timezone: there is no {zone}; write it as in Europe/Zurich."
            )


def _functions(connection: "duckdb.DuckDBPyConnection") -> Functions:
    rows = connection.execute(
        "SELECT lower(function_name), bool_and(function_type = 'scalar' AND stability = 'CONSISTENT'), "
        "list(macro_definition) FILTER (function_type = 'macro'), bool_and(function_type = 'macro') "
        # one of these names may be a function of a FROM clause too, where no expression can call it
        "FROM duckdb_functions() WHERE function_type NOT IN ('table', 'table_macro', 'pragma') GROUP BY 1"
    ).fetchall()
    return Functions(
        frozenset(name for name, is_scalar, *_ in rows if is_scalar),
        {name: tuple(definitions) for name, _, definitions, is_macro in rows if is_macro and definitions},
    )

"""Names, texts and files as parts of an SQL statement for DuckDB, and how Parquet is written.

Imports nothing, so that a store which only Feast imports can use it too. Connections belong to `engine.py`.
"""

PARQUET_OPTIONS = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, WRITE_BLOOM_FILTER false"
"""Half the time of DuckDB's own level for a twentieth more room; nobody looks for one value by a filter."""


def quoted(identifier: str) -> str:
    """A column or table name as SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: object) -> str:
    """A text or path as an SQL string."""
    return "'" + str(value).replace("'", "''") + "'"


def parquet(location: str) -> str:
    """A Parquet file as a table in SQL."""
    return f"read_parquet({literal(location)})"

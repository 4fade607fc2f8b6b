"""Staged tables for tests: rows as Parquet, with the references that the stages hand on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import ColumnInfo, TableRef
from e2i_pipeline.contracts.tables import TABLES

_TYPES = {
    "VARCHAR": pa.string(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "VARCHAR[]": pa.list_(pa.string()),
}


def stage(folder: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, TableRef]:
    """Writes rows with the canonical types; a column that no row has is absent."""
    return {name: _stage(folder / f"{name}.parquet", name, rows) for name, rows in tables.items()}


def _stage(path: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> TableRef:
    types = {c.name: _TYPES[c.dtype] for c in TABLES[name].columns}
    columns = list(rows[0]) if rows else [*TABLES[name].required, "known_at"]
    table = pa.table({c: pa.array([r[c] for r in rows], types.get(c, pa.timestamp("us"))) for c in columns})
    pq.write_table(table, path)
    described = duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
    return TableRef(
        key=content_key(name),
        name=name,
        location=str(path),
        version=content_key(table.to_pylist()),
        rows=len(rows),
        columns=tuple(ColumnInfo(name=column, dtype=dtype) for column, dtype, *_ in described),
    )

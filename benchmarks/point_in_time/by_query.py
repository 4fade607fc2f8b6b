"""Joins by one query: `python -m benchmarks.point_in_time.by_query FOLDER KIND ENTITIES ROWS DATA WARM_UP`.

Wide tables are joined by their times and positions alone, and the columns of the rows that win are read then; narrow
ones carry their columns. Either is the faster way for its kind. Prints the seconds.
"""

import sys
import time
from pathlib import Path

from benchmarks.point_in_time.tables import ENTITIES, TTL_DAYS, Table, tables


def main(folder: Path, kind: str, data: list[tuple[Path, int, int]]) -> float:
    import duckdb

    seconds = 0.0
    folder.mkdir(parents=True, exist_ok=True)
    for number, (source, entities, rows) in enumerate(data):
        query = (wide if kind == "wide" else narrow)(source, tables(kind, entities, rows))
        began = time.perf_counter()
        with duckdb.connect(config={"temp_directory": str(folder / "spilled")}) as connection:
            connection.execute(
                f"COPY ({query}) TO '{folder / f'{number}.parquet'}' (COMPRESSION zstd, COMPRESSION_LEVEL 1)"
            )
        seconds = time.perf_counter() - began
    return seconds


def narrow(source: Path, views: list[Table]) -> str:
    """One ASOF join per view that carries the features."""
    known = ", ".join(f"{t.name} AS ({_known(source, t, t.features)})" for t in views)
    columns = ", ".join(
        f"CASE WHEN {t.name}.event >= e.event_timestamp - INTERVAL {TTL_DAYS} DAYS THEN {t.name}.{f} END AS {f}"
        for t in views
        for f in t.features
    )
    joins = " ".join(f"ASOF LEFT JOIN {t.name} ON {_matches(t)}" for t in views)
    return f"WITH {known} SELECT e.*, {columns} FROM '{source / ENTITIES}' AS e {joins}"


def wide(source: Path, views: list[Table]) -> str:
    """One ASOF join per view that finds the row's position, and one join by position that reads its features."""
    numbered = f"e AS MATERIALIZED (SELECT row_number() OVER () AS number, * FROM '{source / ENTITIES}')"
    found = ", ".join(
        f"""{t.name}_found AS (
            SELECT e.number, {t.name}.position FROM e ASOF JOIN ({_known(source, t, [])}) AS {t.name} ON {_matches(t)}
            WHERE {t.name}.event >= e.event_timestamp - INTERVAL {TTL_DAYS} DAYS)"""
        for t in views
    )
    columns = ", ".join(f"{t.name}.{f}" for t in views for f in t.features)
    joins = " ".join(
        f"""LEFT JOIN (
            SELECT number, {", ".join(t.features)}
            FROM {t.name}_found JOIN '{t.file(source)}' ON position = file_row_number
        ) AS {t.name} ON e.number = {t.name}.number"""
        for t in views
    )
    return f"WITH {numbered}, {found} SELECT e.* EXCLUDE (number), {columns} FROM e {joins}"


def _matches(table: Table) -> str:
    sign = ">" if table.is_strict else ">="
    return f"e.{table.key} = {table.name}.{table.key} AND e.event_timestamp {sign} {table.name}.visible"


def _known(source: Path, table: Table, columns: list[str]) -> str:
    """The rows that beat all that became visible before them; of rows that do so together, the last."""
    listed = "".join(f", {name}" for name in [table.key, *columns])
    window = f"PARTITION BY {table.key} ORDER BY visible, event, created_timestamp, position"
    return f"""
        SELECT event, visible, position {listed}
        FROM (
            SELECT *, lead(visible) OVER ({window}) AS next,
                max(event) OVER ({window} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS best
            FROM (
                SELECT event_timestamp AS event, created_timestamp, file_row_number AS position,
                    greatest(event_timestamp, created_timestamp) AS visible {listed}
                FROM '{table.file(source)}'
                WHERE event_timestamp IS NOT NULL AND created_timestamp IS NOT NULL AND {table.key} IS NOT NULL))
        WHERE (best IS NULL OR event >= best) AND next IS DISTINCT FROM visible"""


if __name__ == "__main__":
    folder, kind, *sizes = sys.argv[1:]
    entities, rows, data, small = int(sizes[0]), int(sizes[1]), Path(sizes[2]), Path(sizes[3])
    print(main(Path(folder), kind, [(small, 1000, 1000), (data, entities, rows)]))

"""Writes the tables of a bar: `python -m benchmarks.point_in_time.data FOLDER KIND ENTITIES ROWS`."""

import sys
from pathlib import Path

from benchmarks.point_in_time.tables import ENTITIES, Table, tables

_BEGIN = 1_600_000_000
_SPAN = 3 * 365 * 86_400  # seconds
_LAG = 60 * 86_400


def main(folder: Path, kind: str, entities: int, rows: int) -> None:
    import duckdb

    folder.mkdir(parents=True)
    views = tables(kind, entities, rows)
    keys = {table.key: table.holders for table in views}
    chosen = ", ".join(f"{_key(key, f'i * 7919 + {n}', holders)}" for n, (key, holders) in enumerate(keys.items()))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        entity_rows = (
            f"SELECT i AS journey_id, {chosen}, {_moment('i + 77')} AS event_timestamp FROM range({entities}) t(i)"
        )
        connection.execute(f"COPY ({entity_rows}) TO '{folder / ENTITIES}'")
        for number, table in enumerate(views):
            connection.execute(f"COPY ({_rows(table, number)}) TO '{table.file(folder)}'")


def _rows(table: Table, number: int) -> str:
    salt = 1_000_003 * (number + 1)
    numbers = ", ".join(
        f"(hash(i * 131 + {salt + n}) % 100000) / 7.0 AS {name}" for n, name in enumerate(table.features)
    )
    return f"""
        SELECT {_key(table.key, f"i * 31 + {salt}", table.holders)}, {_moment(f"i + {salt}")} AS event_timestamp,
            {_moment(f"i + {salt}", f" + hash(i + {salt + 5}) % {_LAG}")} AS created_timestamp, {numbers}
        FROM range({table.rows}) t(i) ORDER BY ALL"""


def _key(name: str, seed: str, holders: int) -> str:
    return f"'{name[0]}' || lpad((hash({seed}) % {holders})::VARCHAR, 8, '0') AS {name}"


def _moment(seed: str, lag: str = "") -> str:
    return f"make_timestamptz((({_BEGIN} + hash({seed}) % {_SPAN}{lag}) * 1000000)::BIGINT)"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

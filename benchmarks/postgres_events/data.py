"""Writes a table of treatment events: `python -m benchmarks.postgres_events.data URL SCHEMA ROWS FOLDER`.

The types are those that a database would have: dates, times with a zone, numeric money, arrays, JSON.
"""

import sys
from pathlib import Path

from benchmarks.wide_events.data import ROW

_TYPES = {
    "VARCHAR": "text",
    "VARCHAR[]": "text[]",
    "DATE": "date",
    "INTEGER": "integer",
    "DOUBLE": "double precision",
    "BOOLEAN": "boolean",
    "TIMESTAMP": "timestamptz",
}
_OWN = {"cost": "numeric(12, 2)", "lab_values": "jsonb"}
_CODES = {"icd_codes": "'{L50.1,D59.5}'"}


def main(url: str, schema: str, rows: int, folder: Path) -> None:
    import duckdb
    import psycopg2

    from e2i_pipeline.contracts.tables import TREATMENT_EVENTS

    file = folder / "events.csv"
    columns = TREATMENT_EVENTS.columns
    with duckdb.connect(config={"memory_limit": "2GB"}) as connection:
        connection.execute(f"CREATE VIEW events AS {ROW.format(rows=rows)}")
        given = {name for name, *_ in connection.execute("DESCRIBE events").fetchall()}
        values = (c.name if c.name in given else f"{_CODES.get(c.name, 'NULL')} AS {c.name}" for c in columns)
        connection.execute(f"COPY (SELECT {', '.join(values)} FROM events) TO '{file}' (FORMAT csv, HEADER false)")
    typed = ", ".join(f"{c.name} {_OWN.get(c.name, _TYPES[c.dtype])}" for c in columns)
    database = psycopg2.connect(url)
    database.autocommit = True
    with database.cursor() as cursor, file.open("rb") as lines:
        cursor.execute(f"CREATE SCHEMA {schema}")
        cursor.execute(f"CREATE TABLE {schema}.treatment_events ({typed})")
        cursor.copy_expert(f"COPY {schema}.treatment_events FROM STDIN (FORMAT csv)", lines)
        cursor.execute(f"VACUUM ANALYZE {schema}.treatment_events")
    database.close()
    file.unlink()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))

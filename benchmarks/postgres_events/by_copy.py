"""Copies the table into nothing: `python -m benchmarks.postgres_events.by_copy URL`.

A small table comes first. Prints JSON: the seconds and the rows.
"""

import json
import sys
import time
from typing import Any


class _Nothing:
    """A file that only counts the rows that are written to it."""

    rows = 0

    def write(self, _line: bytes) -> None:
        self.rows += 1


def main(url: str) -> dict[str, Any]:
    _copied(url, "warm_up")
    began = time.perf_counter()
    rows = _copied(url, "large")
    return {"seconds": time.perf_counter() - began, "answer": rows}


def _copied(url: str, schema: str) -> int:
    import psycopg2

    connection, nothing = psycopg2.connect(url), _Nothing()
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY {schema}.treatment_events TO STDOUT", nothing)
    connection.close()
    return nothing.rows


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1])))

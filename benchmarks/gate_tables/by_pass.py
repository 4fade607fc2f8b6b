"""A plain pass over landed tables: `python -m benchmarks.gate_tables.by_pass FOLDER WARM_UP FILE`, as `by_gate` does.

What any program must do that looks at each value once: it counts the values that are given, column by column.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(_: Path, warm_up: Path, file: Path) -> dict[str, Any]:
    import duckdb

    with duckdb.connect() as connection:
        _counted(connection, warm_up)
        began = time.perf_counter()
        answer = _counted(connection, file)
        return {"seconds": time.perf_counter() - began, "answer": answer}


def _counted(connection: Any, file: Path) -> dict[str, int]:
    rows: dict[str, int] = {}
    for table in json.loads(file.read_text(encoding="utf-8")):
        counts = ", ".join(f'count("{column["name"]}")' for column in table["columns"])
        query = f"SELECT count(*), {counts} FROM read_parquet('{table['location']}')"
        rows[table["name"]] = connection.execute(query).fetchall()[0][0]
    return rows


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:]))))

"""Counts the same with one query: `python -m benchmarks.wide_events.by_query FOLDER FILE ...`, as `by_product` does."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.wide_events.expectations import LINES, query


def main(folder: Path, files: list[str]) -> list[dict[str, Any]]:
    import duckdb

    with duckdb.connect(config={"temp_directory": str(folder / "spilled")}) as connection:
        return [_counted(connection, file) for file in files][1:]


def _counted(connection: Any, file: str) -> dict[str, Any]:
    began = time.perf_counter()
    values = list(connection.execute(query(file)).fetchall()[0])
    seconds = time.perf_counter() - began
    answer: list[list[Any]] = []
    for line in LINES:
        found = [int(values.pop(0)), int(values.pop(0))] if line.tested else [_holds(line.kwargs, values.pop(0))]
        answer.append(found)
    return {"seconds": seconds, "answer": answer}


def _holds(kwargs: dict[str, Any], value: Any) -> bool:
    return value is not None and kwargs["min_value"] <= value


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:])))

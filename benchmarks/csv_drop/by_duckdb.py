"""Converts CSV files to Parquet with DuckDB alone: `python -m benchmarks.csv_drop.by_duckdb FOLDER DROP ...`.

It finds out the types by itself, keeps the rows as they come, and compresses as the product does. Prints what
`by_product` prints.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(folder: Path, drops: list[Path]) -> dict[str, Any]:
    answers = [_converted(folder / str(number), drop) for number, drop in enumerate(drops)]
    return answers[-1]


def _converted(target: Path, drop: Path) -> dict[str, Any]:
    import duckdb

    target.mkdir(parents=True)
    rows: dict[str, int] = {}
    began = time.perf_counter()
    with duckdb.connect() as connection:
        for file in sorted(drop.glob("*.csv")):
            written = target / f"{file.stem}.parquet"
            how = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
            connection.execute(f"COPY (FROM read_csv('{file}')) TO '{written}' ({how})")
            rows[file.stem] = connection.execute(f"SELECT count(*) FROM '{written}'").fetchall()[0][0]
    return {"seconds": time.perf_counter() - began, "answer": rows}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), [Path(drop) for drop in sys.argv[2:]])))

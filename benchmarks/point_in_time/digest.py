"""What is in a file of joined rows, whatever their order: `python -m benchmarks.point_in_time.digest FILE`."""

import json
import sys
from pathlib import Path


def main(file: Path) -> list[str]:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        names = [name for name, *_ in connection.execute(f"DESCRIBE FROM '{file}'").fetchall()]
        row = f"hash({', '.join(names)})"
        counts = ", ".join(f"count({name})" for name in names)
        found = connection.execute(f"SELECT count(*), sum({row}), bit_xor({row}), {counts} FROM '{file}'").fetchall()[0]
    return [*names, *map(str, found)]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))

"""Writes the four tables of the generated source as CSV: `python -m benchmarks.csv_drop.data FOLDER JOURNEYS`."""

import sys
from pathlib import Path


def main(folder: Path, journeys: int) -> None:
    import duckdb

    from e2i_pipeline.resources.connectors.synthetic import SyntheticConnector

    connector = SyntheticConnector(folder / "generated", ["Kisqali"], 7, journeys, outcome_window_days=180)
    connector.ensure()
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        for file in connector.folder.glob("*.parquet"):
            target = folder / f"{file.stem}.csv"
            connection.execute(f"COPY (SELECT * FROM '{file}') TO '{target}' (FORMAT csv, HEADER)")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

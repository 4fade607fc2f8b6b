"""The generated source: written once, whole or not at all."""

import json
from pathlib import Path

import duckdb

from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.resources.connectors.synthetic import SyntheticConnector


def connector(folder: Path, seed: int = 7) -> SyntheticConnector:
    return SyntheticConnector(folder, ["Kisqali"], seed, journeys_per_brand=50, outcome_window_days=180)


def test_the_world_is_written_once_with_its_truth(tmp_path: Path) -> None:
    source = connector(tmp_path)
    with duckdb.connect() as connection:
        for table, schema in TABLES.items():
            rows = connection.execute(source.query(connection, table)).to_arrow_table()
            assert rows.column_names == list(schema.names)
            assert source.defects(connection, table) == ()
    written = {path: path.stat().st_mtime_ns for path in source.folder.iterdir()}
    assert {path.name for path in written} == {"truth.json", *(f"{table}.parquet" for table in TABLES)}
    assert json.loads((source.folder / "truth.json").read_text())["process"] == "confounded"
    connector(tmp_path).ensure()
    assert {path: path.stat().st_mtime_ns for path in source.folder.iterdir()} == written


def test_an_incomplete_world_is_written_again(tmp_path: Path) -> None:
    source = connector(tmp_path)
    source.ensure()
    before = (source.folder / "hcp_profiles.parquet").read_bytes()
    (source.folder / "hcp_profiles.parquet").unlink()
    source.ensure()
    assert (source.folder / "hcp_profiles.parquet").read_bytes() == before


def test_the_fingerprint_needs_no_world_and_follows_the_settings(tmp_path: Path) -> None:
    first = connector(tmp_path).fingerprint("patient_journeys")
    assert connector(tmp_path).fingerprint("patient_journeys") == first
    assert connector(tmp_path, seed=8).fingerprint("patient_journeys") != first
    assert connector(tmp_path).fingerprint("hcp_profiles") != first
    assert list(tmp_path.iterdir()) == []

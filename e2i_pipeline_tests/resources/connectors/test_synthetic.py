"""The generated source: written once, whole or not at all."""

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.defs.resources import build_resources
from e2i_pipeline.domain.synthetic import BLOCK, generate
from e2i_pipeline.errors import ToolUnavailable
from e2i_pipeline.resources.connectors.synthetic import SyntheticConnector
from e2i_pipeline_tests.processes import PROJECT

WRITES = """
import sys
from e2i_pipeline_tests.resources.connectors.test_synthetic import connector
connector(sys.argv[1], journeys_per_brand=int(sys.argv[2])).ensure()
"""
LITTLE_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
SWITCHES: dict[str, Any] = {
    "process": "selection_bias",
    "late_share": 0.1,
    "restated_share": 0.1,
    "restated_event_share": 0.1,
    "missing_share": 0.1,
    "seasonality": 0.5,
    "reveal_confounder": True,
}


def connector(folder: Path, seed: int = 7, journeys_per_brand: int = 50, **switches: Any) -> SyntheticConnector:
    return SyntheticConnector(folder, ["Kisqali"], seed, journeys_per_brand, outcome_window_days=180, **switches)


def writing(folder: Path, journeys: int, before: str = "") -> "subprocess.Popen[bytes]":
    """A process of its own that writes a world."""
    command = [sys.executable, "-c", before + WRITES, str(folder), str(journeys)]
    return subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE)  # noqa: S603 - our own interpreter


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


@pytest.mark.parametrize("switches", [{}, SWITCHES], ids=["default", "all switches"])
def test_what_is_written_is_what_is_generated(tmp_path: Path, switches: dict[str, Any]) -> None:
    source = connector(tmp_path, journeys_per_brand=400, **switches)
    world = generate(["Kisqali"], 7, 400, **switches)
    with duckdb.connect() as connection:
        for table, rows in world.tables.items():
            read = connection.execute(source.query(connection, table)).to_arrow_table()
            assert read.cast(rows.schema).equals(rows)
    assert json.loads((source.folder / "truth.json").read_text()) == json.loads(json.dumps(world.truth))


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    first, again = (connector(folder, journeys_per_brand=BLOCK + 500, **SWITCHES) for folder in folders)
    first.ensure()
    again.ensure()
    for written in first.folder.iterdir():
        assert (again.folder / written.name).read_bytes() == written.read_bytes(), written.name


@pytest.mark.parametrize("name", SWITCHES)
def test_each_switch_is_a_world_of_its_own(tmp_path: Path, name: str) -> None:
    changed = connector(tmp_path, **{name: SWITCHES[name]})
    assert changed.fingerprint("patient_journeys") != connector(tmp_path).fingerprint("patient_journeys")


def test_a_writer_that_is_killed_leaves_no_world_and_the_next_one_a_whole(tmp_path: Path) -> None:
    journeys = 4 * BLOCK
    source, deadline = connector(tmp_path, journeys_per_brand=journeys), time.monotonic() + 120
    with writing(tmp_path, journeys) as process:
        while not list(tmp_path.glob("synthetic/.writing-*/*.parquet")):
            assert process.poll() is None
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGKILL)
    assert not source.folder.exists()
    source.ensure()
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT count(*) FROM ({source.query(connection, 'patient_journeys')})").fetchone()
    assert found == (journeys,)
    assert [path.name for path in source.folder.parent.iterdir() if path.is_dir()] == [source.folder.name]


def test_a_disk_that_is_full_keeps_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    with writing(tmp_path, 2_000, LITTLE_DISK) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"{ToolUnavailable.__name__}: The generated source could not be written" in said.decode()
    assert [path.name for path in (tmp_path / "synthetic").iterdir()] == [".lock"]


def test_a_process_is_chosen_by_the_environment(tmp_path: Path) -> None:
    chosen = {
        "E2I_STATE_DIR": str(tmp_path),
        "E2I__BRANDS": "[Kisqali]",
        "E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND": "50",
        "E2I__SOURCE__SYNTHETIC__PROCESS": "null_effect",
    }
    source: Any = build_resources(load_settings(chosen))["source"]
    source.stage("patient_journeys", now=datetime(2026, 2, 1, tzinfo=UTC))
    [told] = tmp_path.glob("synthetic/*/truth.json")
    truth = json.loads(told.read_text())
    assert truth["process"] == "null_effect"
    assert truth["brands"]["Kisqali"]["average_derivative"] == 0
    assert truth["design"]["restated_share"] == 0


def test_the_hidden_columns_are_landed_when_they_are_named_and_counted_otherwise(tmp_path: Path) -> None:
    named = {"negative_control_outcome": "INTEGER", "hidden_confounder": "DOUBLE"}
    chosen = {
        "E2I_STATE_DIR": str(tmp_path),
        "E2I__BRANDS": "[Kisqali]",
        "E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND": "50",
        "E2I__SOURCE__SYNTHETIC__PROCESS": "selection_bias",
        "E2I__SOURCE__SYNTHETIC__REVEAL_CONFOUNDER": "true",
    }
    source: Any = build_resources(load_settings(chosen))["source"]
    now = datetime(2026, 2, 1, tzinfo=UTC)
    left_out = source.stage("patient_journeys", now=now)
    assert not set(named) & {column.name for column in left_out.columns}
    assert {defect.defect.split(":")[0] for defect in left_out.defects} == set(named)
    landed = source.model_copy(update={"covariates": {"patient_journeys": named}}).stage("patient_journeys", now=now)
    assert {column.name: column.dtype for column in landed.columns if column.name in named} == named
    assert landed.defects == ()

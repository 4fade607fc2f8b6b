"""`e2i source suggest`: the draft loads, lands canonical drops as they are, asks a person, and shows no row."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
import yaml

from e2i_pipeline.cli import main
from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.config.schema import Settings
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.defs.resources import build_source
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.sources import SourceResource
from e2i_pipeline_tests.encounters_drop import write_encounters

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def suggest(folder: Path | str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["source", "suggest", str(folder)]) == 0
    return capsys.readouterr().out


def loaded(draft: str, folder: Path, tmp_path: Path) -> Settings:
    (tmp_path / "draft.yaml").write_text(draft)
    environment = {"E2I_CONFIG": str(tmp_path / "draft.yaml"), "E2I_DATA": str(folder)}
    return load_settings({**environment, "E2I_STATE_DIR": str(tmp_path / "state")})


def source_of(chosen: Settings, tmp_path: Path) -> SourceResource:
    return build_source(chosen, EngineResource(temp_dir=str(tmp_path / "spill")))


@pytest.fixture(scope="module")
def canonical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drop with the data dictionary's own names, of generated journeys."""
    folder, state = tmp_path_factory.mktemp("canonical"), tmp_path_factory.mktemp("generated")
    chosen = load_settings({"E2I_STATE_DIR": str(state), "E2I__SOURCE__SYNTHETIC__JOURNEYS_PER_BRAND": "60"})
    generated = build_source(chosen, EngineResource(temp_dir=str(state / "spill")))
    for table in TABLES:
        location = generated.stage(table, NOW).location
        with duckdb.connect() as connection:
            connection.execute(f"COPY (SELECT * EXCLUDE (known_at) FROM '{location}') TO '{folder}/{table}.parquet'")
    return folder


def test_a_canonical_drop_needs_no_mapping_and_lands_as_it_is(
    canonical: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = suggest(canonical, capsys)
    content = yaml.safe_load(draft)
    assert "tables" not in content["source"]
    assert content["source"]["absent"] == {"tables": [], "columns": {}}
    assert content["brands"] == ["Fabhalta", "Kisqali", "Remibrutinib"]
    source = source_of(loaded(draft, canonical, tmp_path), tmp_path)
    for table in TABLES:
        landed = source.stage(table, NOW)
        assert landed.rows > 0
        assert not [defect for defect in landed.defects if defect.treatment.startswith("left out: source")]


def test_a_wide_file_gets_a_draft_that_loads_and_lands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_encounters(tmp_path / "drop", patients=400)
    draft = suggest(folder, capsys)
    journeys = yaml.safe_load(draft)["source"]["tables"]["patient_journeys"]
    assert journeys["from"] == "encounters"
    assert journeys["key"] == "patient_journey_id"
    assert journeys["order"]["by"] == "encounter_id"
    assert journeys["columns"]["age_at_diagnosis"] == {"column": "age", "band": "middle"}
    assert journeys["columns"]["treatment_initiated"] == {
        "column": "readmitted",
        "codes": {"<30": None, ">30": None, "NO": 0},
    }
    assert '"?"' in draft
    assert "None in" in draft
    assert "brand: {value: MyBrand}   # DECIDE" in draft
    assert "unit: journey" in draft
    landed = source_of(loaded(draft, folder, tmp_path), tmp_path).stage("patient_journeys", NOW)
    assert landed.rows > 400
    assert {"race", "a1cresult"} <= {column.name.lower() for column in landed.columns}


def test_no_value_of_a_patient_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Codes are, where each stands in ten rows or more and a person has to map them; nothing else of a row is."""
    folder = tmp_path / "drop"
    folder.mkdir()
    header = "episode_id,index_date,readmitted,remark,score\n"
    rows = [
        f"PAT{i:05},19{50 + i % 50}-02-0{1 + i % 9},{'YES' if i % 3 else 'NO'},R{i}SECRET,{i % 7}.5\n"
        for i in range(200)
    ]
    (folder / "episodes.csv").write_text(header + "".join(rows))
    draft = suggest(folder, capsys)
    assert "SECRET" not in draft
    assert not re.search(r"PAT\d|19\d\d-", draft)
    assert '"YES": 1' in draft
    assert "journey_start_date: index_date" in draft
    (folder / "episodes.csv").write_text(header + "".join(rows[:20]))
    assert '"YES"' not in suggest(folder, capsys)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("admissions.csv", "admission_id,admit_date\n1,31.03.2024\n2,01.04.2024\n", "%d.%m.%Y"),
        (
            "admissions.json",
            '[{"admission_id": 1, "admit_date": "20240305"}, {"admission_id": 2, "admit_date": 20240306}]',
            "%Y%m%d",
        ),
    ],
)
def test_dates_of_another_form_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, expected: str
) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / name).write_text(content)
    draft = suggest(tmp_path / "drop", capsys)
    mapped = loaded(draft, tmp_path / "drop", tmp_path).source.tables["patient_journeys"].columns["journey_start_date"]
    assert mapped.format == (expected,)


def test_a_folder_without_tables_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    assert main(["source", "suggest", str(tmp_path)]) == 1
    assert "holds no file that ends in .csv" in capsys.readouterr().err
    assert main(["source", "suggest", str(tmp_path / "none")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_the_command_prints_yaml_alone(tmp_path: Path) -> None:
    folder = write_encounters(tmp_path / "drop", patients=100)
    command = [sys.executable, "-m", "e2i_pipeline.cli", "source", "suggest", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)  # noqa: S603 - our own
    assert yaml.safe_load(ran.stdout)["source"]["kind"] == "files"
    assert ran.stderr == ""

"""The examples of tables with names of their own: what they land by configuration alone, and the whole graph."""

import os
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from e2i_pipeline.config.loader import load_settings
from e2i_pipeline.contracts.references import TableRef
from e2i_pipeline.defs.resources import build_source
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline_tests.encounters_drop import write_encounters
from e2i_pipeline_tests.processes import PROJECT, Product

NOW = datetime(2026, 2, 1, tzinfo=UTC)
MONTHS = 23


def shared_detailing() -> Path:
    """The third-party sales calls, or a skip with the reason."""
    shared = Path(os.environ.get("E2I_SHARED_DATA") or PROJECT.parent / "shared" / "data")
    folder = shared / "hcp_detailing"
    if not folder.is_dir():
        pytest.skip(f"the third-party sales calls are not at {folder}; set E2I_SHARED_DATA to the folder that holds it")
    return folder


def write_detailing(folder: Path, physicians: int = 60) -> Path:
    """A drop of the same form, made up."""
    rng = random.Random(5)  # noqa: S311 - made-up rows, no secret
    folder.mkdir(parents=True, exist_ok=True)
    counts, demo = ["id,scripts,detailing,lagged_scripts"], ["id,generalphys,specialist,mean_samples"]
    for physician in range(1, physicians + 1):
        general, before = rng.randrange(2), 0
        demo.append(f"{physician},{general},{int(not general and rng.random() < 0.5)},{rng.random()}")
        for _ in range(MONTHS):
            calls = rng.randrange(4)
            scripts = int(rng.random() < 0.2 + 0.2 * calls) * rng.randrange(1, 4)
            counts.append(f"{physician},{scripts},{calls},{before}")
            before = scripts
    (folder / "counts.csv").write_text("\n".join(counts) + "\n")
    (folder / "demo.csv").write_text("\n".join(demo) + "\n")
    return folder


def landed(example: str, data: Path, state: Path) -> dict[str, TableRef]:
    chosen = load_settings(
        {
            "E2I_CONFIG": str(PROJECT / "examples" / f"{example}.yaml"),
            "E2I_DATA": str(data),
            "E2I_STATE_DIR": str(state),
        }
    )
    source = build_source(chosen, EngineResource(temp_dir=str(state / "spill")))
    tables = ("patient_journeys", "treatment_events", "hcp_profiles", "engagement_events")
    return {table: source.stage(table, NOW) for table in tables}


def first(table: TableRef, query: str) -> tuple[Any, ...]:
    with duckdb.connect() as connection:
        return connection.execute(query.format(f"read_parquet('{table.location}')")).fetchone() or ()


def test_the_mapping_of_the_guide_lands(tmp_path: Path) -> None:
    guide = (PROJECT / "docs" / "bring-your-own-data.md").read_text(encoding="utf-8")
    block = guide.split("### A mapping")[1].split("```yaml\n")[1].split("```")[0]
    (tmp_path / "my.yaml").write_text(f"brands: [Kisqali]\n{block}")
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "admissions.csv").write_text(
        "hospital,case_no,pid,status,admitted,sex,age_band,weight,points,started,doctor,doctor_specialty\n"
        "A,1,p1,closed,31.01.2024,f,[70-80),200,50,YES,d1,oncology\n"
        "A,1,p1,closed,31.01.2024,f,[70-80),200,50,YES,d1,oncology\n"
        "A,2,p2,cancelled,01.02.2024,m,80+,100,?,NO,d1,oncology\n"
        "B,1,p3,closed,02.02.2024,m,?,150,10,NO,,\n"
    )
    chosen = load_settings(
        {
            "E2I_CONFIG": str(tmp_path / "my.yaml"),
            "E2I_DATA": str(tmp_path / "drop"),
            "E2I_STATE_DIR": str(tmp_path / "state"),
        }
    )
    source = build_source(chosen, EngineResource(temp_dir=str(tmp_path / "spill")))
    journeys = source.stage("patient_journeys", NOW)
    assert first(
        journeys,
        "SELECT count(*), min(journey_start_date)::VARCHAR, max(gender), max(age_at_diagnosis), "
        "round(max(weight_kg), 1), max(risk_score), sum(treatment_initiated), max(known_at)::VARCHAR FROM {}",
    ) == (2, "2024-01-31", "male", 75, 90.7, 0.5, 1, "2024-02-04 00:00:00")
    assert [defect.defect for defect in journeys.defects] == ["equal to another row throughout"]
    assert source.stage("hcp_profiles", NOW).rows == 1


@pytest.mark.parametrize("is_shared", [True, False])
def test_sales_calls_become_touches_profiles_and_months(tmp_path: Path, is_shared: bool) -> None:
    data = shared_detailing() if is_shared else write_detailing(tmp_path / "drop")
    tables = landed("hcp_detailing", data, tmp_path / "state")
    with duckdb.connect() as connection:
        calls, free, begun, physicians = connection.execute(
            "SELECT sum(detailing), count_if(lagged_scripts = 0), count_if(lagged_scripts = 0 AND scripts > 0), "
            f"count(DISTINCT id) FROM '{data}/counts.csv'"
        ).fetchone() or (0, 0, 0, 0)
    if is_shared:
        assert (calls, free, begun, physicians) == (43_311, 5527, 2407, 1000)
    assert tables["engagement_events"].rows == calls
    assert tables["patient_journeys"].rows == free
    assert tables["hcp_profiles"].rows == physicians
    assert tables["treatment_events"].is_absent
    journeys = first(
        tables["patient_journeys"],
        "SELECT sum(treatment_initiated), count(DISTINCT patient_journey_id), min(day(journey_start_date)), "
        "max(day(journey_start_date)), min(year(journey_start_date)), max(year(journey_start_date)) FROM {}",
    )
    assert journeys == (begun, free, 1, 1, 2020, 2021)
    touches = first(
        tables["engagement_events"],
        "SELECT count(DISTINCT engagement_event_id), count(DISTINCT event_timestamp), "
        "min(day(event_timestamp)) FROM {}",
    )
    assert touches == (calls, MONTHS, 28)
    assert [defect for table in tables.values() for defect in table.defects] == []


def test_a_wide_dirty_file_lands_with_its_defects_counted(tmp_path: Path) -> None:
    data = write_encounters(tmp_path / "drop", patients=500)
    tables = landed("encounters", data, tmp_path / "state")
    journeys = tables["patient_journeys"]
    counts = first(
        journeys,
        "SELECT count(*), count(DISTINCT patient_journey_id), count(DISTINCT patient_id) < count(*), "
        "count_if(max_glu_serum = 'None') > 400, count_if(race = '?'), count_if(gender = 'Unknown/Invalid'), "
        "min(age_at_diagnosis), max(age_at_diagnosis), count_if(treatment_initiated IS NULL) FROM {}",
    )
    assert counts == (journeys.rows, journeys.rows, True, True, 0, 0, 5, 95, 0)
    assert tables["treatment_events"].rows == journeys.rows
    [defect] = journeys.defects
    assert (defect.defect, defect.rows, defect.of_rows) == (
        *("equal to another row throughout", 7),
        journeys.rows + 7,
    )
    assert tables["hcp_profiles"].is_absent


def encounters(folder: Path) -> Product:
    return Product(
        folder / "state",
        E2I_CONFIG=str(PROJECT / "examples" / "encounters.yaml"),
        E2I_DATA=str(write_encounters(folder / "drop")),
        E2I__OPTUNA__SEARCH__N_TRIALS="3",
    )


def test_a_wide_dirty_file_gives_rows_to_learn_from(tmp_path: Path) -> None:
    product = encounters(tmp_path)
    done = product.materialize("*training_dataset", "Readmission")
    assert done.status == 0, done.text
    [file] = product.state.glob("training/Readmission/*/data.parquet")
    query = f"SELECT count(*), count(target), count(DISTINCT a1c_result), avg(age_at_diagnosis) FROM '{file}'"
    journeys, settled, results, age = duckdb.sql(query).fetchall()[0]
    assert journeys == 3_781
    assert 0.9 * journeys < settled <= journeys
    assert results == 4, "None is a value: it says that the test was not done"
    assert 40 < age < 80


@pytest.mark.slow
def test_a_wide_dirty_file_goes_through_the_whole_graph(tmp_path: Path) -> None:
    done = encounters(tmp_path).e2i("run")
    assert done.status == 0, done.text
    assert "e2i-Readmission-conversion version 1" in done.text
    assert "Input defects 2 kinds counted" in done.text


def test_sales_calls_go_through_the_whole_graph(tmp_path: Path) -> None:
    product = Product(
        tmp_path / "state",
        E2I_CONFIG=str(PROJECT / "examples" / "hcp_detailing.yaml"),
        E2I_DATA=str(shared_detailing()),
        E2I__OPTUNA__SEARCH__N_TRIALS="3",
    )
    done = product.e2i("run")
    assert done.status == 0, done.text
    assert "e2i-Detailed-conversion version 1" in done.text
    assert "Learned from  3,301 journeys" in done.text

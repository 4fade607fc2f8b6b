"""The OMOP connector: what becomes a journey and an event, in every form of file."""

import gzip
import os
from pathlib import Path

import duckdb
import pytest

from e2i_pipeline.contracts.cohort import ConceptSet
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.resources.connectors.omop import OmopConnector
from e2i_pipeline_tests.resources.connectors.delivered import Row, read
from e2i_pipeline_tests.resources.connectors.omop_drop import (
    ACETAMINOPHEN,
    BRONCHITIS,
    COHORT,
    HYPERTENSION,
    SINUSITIS,
    VACCINE,
    Drop,
    connector,
    events,
    journeys,
)


@pytest.fixture
def drop() -> Drop:
    return Drop()


@pytest.mark.parametrize("form", ["parquet", "typed", "csv"])
def test_every_form_of_file_gives_the_same_journeys_and_events(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path, form: str
) -> None:
    drop.condition("2", "2010-01-01", condition_concept_id=HYPERTENSION, condition_end_date="2010-01-11")
    folder = drop.write(tmp_path, form)
    first, second = journeys(connection, folder)
    assert first["patient_id"] == "1"
    assert first["patient_journey_id"].startswith("condition_occurrence-1")
    assert (first["brand"], first["journey_start_date"].isoformat()) == ("Relief", "2015-03-10")
    assert (first["gender"], first["age_at_diagnosis"], first["comorbidities"]) == ("female", 35, [])
    assert (first["treatment_initiated"], first["days_to_treatment"]) == (1, 0)
    assert (second["gender"], second["comorbidities"]) == ("male", [str(HYPERTENSION)])
    assert (second["treatment_initiated"], second["days_to_treatment"]) == (0, None)
    assert [(e["patient_id"], e["event_type"], e["event_subtype"]) for e in events(connection, folder)] == [
        ("1", "diagnosis", "Viral sinusitis"),
        ("1", "prescription", "acetaminophen 325 MG Oral Tablet"),
        ("2", "diagnosis", "Hypertensive disorder"),
        ("2", "diagnosis", "Acute bronchitis"),
        ("2", "consultation", "Outpatient Visit"),
    ]


def test_columns_are_canonical_and_castable(connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path) -> None:
    source = connector(drop.write(tmp_path))
    for table in ("patient_journeys", "treatment_events"):
        # what began a journey, in words: for a covariate that names it, and left out otherwise
        further = {"index_condition": "VARCHAR"} if table == "patient_journeys" else {}
        schema, query = TABLES[table].with_columns(further), source.query(connection, table)
        delivered = [name for name, *_ in connection.execute(f"DESCRIBE {query}").fetchall()]
        assert set(schema.required) <= set(delivered) <= set(schema.names)
        assert len(set(delivered)) == len(delivered)
        casts = ", ".join(f"CAST({name} AS {schema.column(name).dtype})" for name in delivered)
        assert connection.execute(f"SELECT {casts} FROM ({query})").fetchall()


def test_compressed_files_folders_and_other_case_are_read(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    folder = drop.write(tmp_path, "csv")
    text = (folder / "person.csv").read_text(encoding="utf-8")
    (folder / "person.csv").unlink()
    (folder / "PERSON.CSV").write_text(text.replace("person_id", "PERSON_ID"), encoding="utf-8")
    packed = gzip.compress((folder / "drug_exposure.csv").read_bytes())
    (folder / "drug_exposure.csv").unlink()
    (folder / "drug_exposure.csv.gz").write_bytes(packed)
    header, *lines = (folder / "condition_occurrence.csv").read_text(encoding="utf-8").splitlines()
    (folder / "condition_occurrence.csv").unlink()
    parts = folder / "condition_occurrence"
    parts.mkdir()
    for number, line in enumerate(lines):
        (parts / f"part-{number}.csv").write_text(f"{header}\n{line}\n", encoding="utf-8")
    assert [j["treatment_initiated"] for j in journeys(connection, folder)] == [1, 0]


def test_tab_separated_text_and_null_markers_are_read(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.person("3", year_of_birth="\\N")
    drop.condition("3", "2015-01-01")
    folder = drop.write(tmp_path, "csv")
    for file in folder.glob("*.csv"):
        file.write_text(file.read_text(encoding="utf-8").replace(",", "\t"), encoding="utf-8")
    found = read(connection, connector(folder, null_markers=["", "\\N"]), "patient_journeys", "patient_id")
    assert [j["age_at_diagnosis"] for j in found] == [35, 36, None]


def test_patient_unit_takes_the_first_journey_and_journey_unit_each_day_once(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.condition("1", "2015-03-10", condition_concept_id=BRONCHITIS)
    drop.condition("1", "2017-01-01")
    folder = drop.write(tmp_path)
    assert [j["journey_start_date"].year for j in journeys(connection, folder)] == [2015, 2016]
    each = journeys(connection, folder, COHORT.model_copy(update={"unit": "journey"}))
    assert [(j["patient_id"], j["journey_start_date"].year) for j in each] == [("1", 2015), ("1", 2017), ("2", 2016)]


def test_outcome_is_open_after_the_last_plausible_day(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    for person, day in (("3", "2019-07-04"), ("4", "2019-07-05")):  # 180 and 179 days before 2019-12-31
        drop.person(person)
        drop.condition(person, day)
        drop.drug(person, day)
    for number in range(200):
        drop.visit("1", f"2015-{1 + number % 12:02d}-05")
    drop.visit("1", "2099-01-01")  # one absurd date moves nothing
    found = {j["patient_id"]: j["treatment_initiated"] for j in journeys(connection, drop.write(tmp_path))}
    assert found == {"1": 1, "2": 0, "3": 1, "4": None}


def test_files_with_an_impossible_time_are_believed_in_their_rows(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    folder = drop.write(tmp_path)
    for file in folder.iterdir():
        os.utime(file, (0, 0))  # as some archive tools leave it: 1970
    assert [j["treatment_initiated"] for j in journeys(connection, folder)] == [1, 0]


@pytest.mark.parametrize(
    ("born", "expected"),
    [
        ({"year_of_birth": 1980, "month_of_birth": 3, "day_of_birth": 10}, 35),
        ({"year_of_birth": 1980, "month_of_birth": 3, "day_of_birth": 11}, 34),
        ({"year_of_birth": 1980}, 35),
        ({"year_of_birth": 2015, "month_of_birth": 3, "day_of_birth": 31}, 0),
        ({"year_of_birth": 2099}, None),
        ({"year_of_birth": ""}, None),
    ],
)
def test_age_is_in_completed_years_and_null_where_the_birth_cannot_be(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path, born: Row, expected: int | None
) -> None:
    drop.tables["person"][0].update(born)
    assert journeys(connection, drop.write(tmp_path))[0]["age_at_diagnosis"] == expected


def test_gender_falls_back_to_the_source(connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path) -> None:
    drop.tables["person"][0].update(gender_concept_id=0, gender_source_value="X")
    assert [j["gender"] for j in journeys(connection, drop.write(tmp_path))] == ["X", "male"]


def test_condition_in_the_guise_of_a_drug_is_no_prescription(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.drug("2", "2016-05-02", drug_concept_id=0, drug_source_value="44481", drug_source_concept_id=SINUSITIS)
    drop.condition("2", "2016-06-01", condition_concept_id=HYPERTENSION, condition_source_value="162864005")
    drop.drug("2", "2016-06-01", drug_concept_id=0, drug_source_value="162864005")  # a copy of that condition row
    drop.drug("2", "2016-07-01", drug_concept_id=0, drug_source_value="1153378")  # a drug that nobody mapped
    drop.drug("2", "2016-08-01", drug_concept_id=VACCINE)
    folder = drop.write(tmp_path)
    prescribed = [e for e in events(connection, folder) if e["event_type"] == "prescription"]
    assert [(e["patient_id"], e["drug_name"], e["brand"]) for e in prescribed] == [
        ("1", "acetaminophen 325 MG Oral Tablet", "Relief"),
        ("2", "1153378", None),
        ("2", "Influenza vaccine", None),
    ]
    assert [j["treatment_initiated"] for j in journeys(connection, folder)] == [1, 0]


def test_events_hold_the_whole_history_of_the_cohort_in_sequence(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.visit("1", "2014-01-01", visit_concept_id=9201, visit_end_date="2014-01-04")
    drop.visit("1", "2015-04-09", visit_end_date="2015-04-01")  # ends before it starts
    drop.person("9")
    drop.visit("9", "2015-01-01")  # never in the cohort
    folder = drop.write(tmp_path)
    of_first = [e for e in events(connection, folder) if e["patient_id"] == "1"]
    journey = journeys(connection, folder)[0]["patient_journey_id"]
    keys = ("sequence_number", "event_type", "duration_days", "days_from_diagnosis", "patient_journey_id")
    assert [tuple(e[k] for k in keys) for e in of_first] == [
        (1, "hospitalization", 3, None, None),
        (2, "diagnosis", None, 0, journey),
        (3, "prescription", None, 0, journey),
        (4, "consultation", None, 30, journey),
    ]
    everything = events(connection, folder)
    assert {e["patient_id"] for e in everything} == {"1", "2"}
    assert len({e["treatment_event_id"] for e in everything}) == len(everything)


def test_event_belongs_to_the_journey_that_began_last(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.condition("1", "2017-01-01")
    drop.visit("1", "2016-12-31")
    drop.visit("1", "2017-01-02")
    folder = drop.write(tmp_path)
    cohort = COHORT.model_copy(update={"unit": "journey"})
    first, second, _ = (j["patient_journey_id"] for j in journeys(connection, folder, cohort))
    visits = [
        e for e in events(connection, folder, cohort) if (e["patient_id"], e["event_type"]) == ("1", "consultation")
    ]
    assert [v["patient_journey_id"] for v in visits] == [first, second]


def test_optional_tables_become_events(connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path) -> None:
    drop.add(
        "procedure_occurrence",
        procedure_occurrence_id=1,
        person_id=1,
        procedure_concept_id=4,
        procedure_date="2015-01-01",
    )
    drop.add("measurement", measurement_id=1, person_id=1, measurement_concept_id=0, measurement_date="20150102")
    drop.tables["measurement"][0]["measurement_source_value"] = "104091002"
    found = [(e["event_type"], e["event_subtype"]) for e in events(connection, drop.write(tmp_path))][:2]
    assert found == [("procedure", "4"), ("lab_test", "104091002")]


def test_cohort_may_rest_on_any_clinical_table(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.visit("1", "2015-05-09", visit_concept_id=9201)
    cohort = COHORT.model_copy(
        update={
            "index_event": ConceptSet(table="drug_exposure", concepts=(ACETAMINOPHEN,)),
            "treatment": ConceptSet(table="visit_occurrence", concepts=(9201,)),
        }
    )
    (found,) = journeys(connection, drop.write(tmp_path), cohort)
    assert found["patient_journey_id"].startswith("drug_exposure-")
    assert (found["treatment_initiated"], found["days_to_treatment"]) == (1, 60)


def test_icd_code_is_delivered_where_there_is_one(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    assert "primary_diagnosis_code" not in journeys(connection, drop.write(tmp_path / "none"))[0]
    drop.add("concept", concept_id=45, concept_name="x", domain_id="Condition", vocabulary_id="ICD10CM")
    drop.tables["concept"][-1]["concept_code"] = "J01.90"
    drop.tables["condition_occurrence"][0]["condition_source_concept_id"] = 45
    found = journeys(connection, drop.write(tmp_path / "vocabulary"))
    assert [j["primary_diagnosis_code"] for j in found] == ["J01.90", None]
    drop.tables["condition_occurrence"][0]["condition_source_value"] = "J20.9"
    drop.tables["condition_occurrence"][1]["condition_source_value"] = "444814009"
    found = journeys(connection, drop.write(tmp_path / "shape", skip=["concept"]))
    assert [j["primary_diagnosis_code"] for j in found] == ["J20.9", None]


def test_fingerprint_follows_files_and_cohort_only(drop: Drop, tmp_path: Path) -> None:
    folder = drop.write(tmp_path)
    source = connector(folder)
    before = source.fingerprint("patient_journeys")
    assert connector(folder).fingerprint("patient_journeys") == before
    assert source.fingerprint("treatment_events") != before
    (folder / "notes.txt").write_text("not an OMOP table", encoding="utf-8")
    smaller = COHORT.model_copy(update={"minimum_journeys": 1})
    assert connector(folder, smaller).fingerprint("patient_journeys") == before
    assert OmopConnector(str(folder), COHORT, "Other").fingerprint("patient_journeys") != before
    longer = COHORT.model_copy(update={"outcome_window_days": 181})
    assert connector(folder, longer).fingerprint("patient_journeys") != before
    drop.condition("2", "2018-01-01")
    drop.write(folder)
    assert source.fingerprint("patient_journeys") != before

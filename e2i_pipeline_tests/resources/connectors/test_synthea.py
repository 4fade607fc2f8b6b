"""The Synthea connector: what becomes a journey, an event and a profile, in both generations, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from e2i_pipeline.contracts.cohort import CohortDefinition, ConceptSet
from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.errors import ConfigurationError, SourceError
from e2i_pipeline.resources.connectors.synthea import SyntheaConnector
from e2i_pipeline_tests.resources.connectors.delivered import Row, events_of, journeys_of, read
from e2i_pipeline_tests.resources.connectors.synthea_drop import (
    BRONCHITIS,
    COHORT,
    LISINOPRIL,
    OBESITY,
    SINUSITIS,
    Drop,
)

CANONICAL = ("patient_journeys", "treatment_events", "hcp_profiles")


@pytest.fixture
def drop() -> Drop:
    return Drop()


def connector(folder: Path, cohort: CohortDefinition = COHORT, **options: Any) -> SyntheaConnector:
    return SyntheaConnector(str(folder), cohort, "AcuteCare", **options)


def journeys(connection: duckdb.DuckDBPyConnection, folder: Path, cohort: CohortDefinition = COHORT) -> list[Row]:
    return journeys_of(connection, connector(folder, cohort))


def events(connection: duckdb.DuckDBPyConnection, folder: Path, cohort: CohortDefinition = COHORT) -> list[Row]:
    return events_of(connection, connector(folder, cohort))


@pytest.mark.parametrize("generation", ["older", "newer"])
def test_both_generations_give_the_same_journeys(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, generation: str
) -> None:
    first, second = journeys(connection, Drop(generation).write(tmp_path))
    assert (first["patient_id"], first["brand"], first["hcp_id"]) == ("p1", "AcuteCare", "hcp-1")
    assert first["patient_journey_id"].startswith("conditions-")
    assert first["journey_start_date"].isoformat() == "2015-03-10"
    assert (first["age_at_diagnosis"], first["gender"]) == (34, "male")  # a day before the 35th birthday
    assert (first["geographic_region"], first["state"], first["zip_code"]) == ("midwest", "NE", "68504")
    assert (first["insurance_type"], first["index_condition"]) == ("commercial", "Viral sinusitis (disorder)")
    assert (first["treatment_initiated"], first["days_to_treatment"]) == (1, 60)
    assert (second["gender"], second["geographic_region"], second["zip_code"]) == ("female", "northeast", "02155")
    assert (second["treatment_initiated"], second["days_to_treatment"]) == (0, None)


@pytest.mark.parametrize("generation", ["older", "newer"])
def test_columns_are_canonical_and_castable(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, generation: str
) -> None:
    source = connector(Drop(generation).write(tmp_path))
    for table in CANONICAL:
        further = {"index_condition": "VARCHAR"} if table == "patient_journeys" else {}
        schema, query = TABLES[table].with_columns(further), source.query(connection, table)
        delivered = [name for name, *_ in connection.execute(f"DESCRIBE {query}").fetchall()]
        assert set(schema.required) <= set(delivered) <= set(schema.names)
        casts = ", ".join(f"CAST({name} AS {schema.column(name).dtype})" for name in delivered)
        assert connection.execute(f"SELECT {casts} FROM ({query})").fetchall()
    assert source.query(connection, "engagement_events") is None


def test_no_direct_identifier_is_delivered(connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path) -> None:
    source = connector(drop.write(tmp_path))
    for table in CANONICAL:
        rows = read(connection, source, table, "ALL")
        assert rows
        assert not any(text in str(rows) for text in ("CANARY", "Canary", "1980"))


def test_every_table_of_events_is_read(connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path) -> None:
    met = drop.encounter("p1", "2015-06-01T10:00:00Z", "inpatient", STOP="2015-06-04T09:00:00Z")
    drop.medication("p1", "2015-06-01T11:00:00Z", met, STOP="2015-06-08T11:00:00Z")
    drop.add("procedures", START="2015-06-01T12:00:00Z", PATIENT="p1", ENCOUNTER=met, CODE=1, BASE_COST="5.5")
    drop.add("immunizations", DATE="2015-06-01T13:00:00Z", PATIENT="p1", ENCOUNTER=met, CODE="08", DESCRIPTION="Hep B")
    vital = {"CATEGORY": "vital-signs", "CODE": "8302-2", "DESCRIPTION": "Body Height", "VALUE": "127.9", "UNITS": "cm"}
    drop.add("observations", DATE="2015-06-01T14:00:00Z", PATIENT="p1", ENCOUNTER=met, **vital)
    found = [e for e in events(connection, drop.write(tmp_path)) if e["event_date"].isoformat() == "2015-06-01"]
    keys = ("event_type", "event_subtype", "drug_name", "duration_days", "cost", "location_type", "facility_id")
    assert sorted(tuple(e[key] for key in keys) for e in found) == [
        ("hospitalization", "Encounter for symptom", None, 3, 77.5, "inpatient", "org-1"),
        ("lab_test", "Body Height", None, None, None, "inpatient", "org-1"),
        ("prescription", "Hep B", "Hep B", None, None, "inpatient", "org-1"),
        (
            "prescription",
            "lisinopril 10 MG Oral Tablet",
            "lisinopril 10 MG Oral Tablet",
            7,
            12.25,
            "inpatient",
            "org-1",
        ),
        ("procedure", "1", None, None, 5.5, "inpatient", "org-1"),
    ]
    (lab,) = (e for e in found if e["event_type"] == "lab_test")
    assert (lab["loinc_codes"], json.loads(lab["lab_values"])) == (["8302-2"], {"value": "127.9", "unit": "cm"})
    assert {e["hcp_id"] for e in found} == {"hcp-1"}
    (hospitalized,) = (e for e in found if e["event_type"] == "hospitalization")
    assert (hospitalized["brand"], hospitalized["days_from_diagnosis"]) == ("AcuteCare", 83)


def test_rows_that_are_alike_have_names_of_their_own(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    for _ in range(2):
        drop.medication("p1", "2015-06-01T11:00:00Z", "e1")
    found = [e for e in events(connection, drop.write(tmp_path)) if e["event_type"] == "prescription"]
    assert len(found) == len({e["treatment_event_id"] for e in found}) == 2


def test_condition_of_the_evening_stands_on_the_day_of_its_encounter(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    met = drop.encounter("p2", "2015-01-02T02:00:00Z", "ambulatory")  # still the first of January where it happened
    drop.condition("p2", "2015-01-01", met, CODE=OBESITY)
    found = [e for e in events(connection, drop.write(tmp_path)) if e["event_date"].year == 2015 and "p2" in str(e)]
    assert {(e["event_type"], e["event_date"].isoformat()) for e in found} == {
        ("consultation", "2015-01-02"),
        ("diagnosis", "2015-01-02"),
    }
    assert journeys(connection, tmp_path)[1]["comorbidities"] == [str(OBESITY)]


def test_codes_may_be_numbers_or_texts_and_classes_in_any_case(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.add("immunizations", DATE="2015-04-01T13:00:00Z", PATIENT="p1", ENCOUNTER="e1", CODE="08", DESCRIPTION="Hep B")
    folder = drop.write(tmp_path)
    for treatment, expected in (
        (ConceptSet(table="immunizations", concepts=("08",)), 22),
        (ConceptSet(table="encounters", concepts=(185345009,), classes=("Emergency",)), 60),
    ):
        chosen = COHORT.model_copy(update={"treatment": treatment})
        assert journeys(connection, folder, chosen)[0]["days_to_treatment"] == expected
    other = COHORT.model_copy(update={"treatment": ConceptSet(table="immunizations", concepts=(8,))})
    with pytest.raises(SourceError, match=r"1 concept\(s\) \(8\) matched 0 of 1 rows in immunizations"):
        journeys(connection, folder, other)


def test_event_is_no_outcome_of_itself(connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path) -> None:
    drop.encounter("p2", "2017-01-01T10:00:00Z", "emergency")
    acute = ConceptSet(table="encounters", classes=("emergency", "inpatient"))
    cohort = COHORT.model_copy(update={"index_event": acute, "treatment": acute})
    first, second = journeys(connection, drop.write(tmp_path), cohort)
    assert [first["treatment_initiated"], second["treatment_initiated"]] == [0, 0]
    drop.encounter("p2", "2017-01-31T10:00:00Z", "inpatient")
    _, second = journeys(connection, drop.write(tmp_path), cohort)
    assert (second["treatment_initiated"], second["days_to_treatment"]) == (1, 30)


def test_insurance_is_that_of_the_index_day_and_else_of_its_encounter(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    drop = Drop("older")
    drop.tables["payer_transitions"] = [
        {
            "PATIENT": "p1",
            "START_YEAR": "2014",
            "END_YEAR": "2016",
            "PAYER": "pay-3",
        },  # years, as old exports have them
        {"PATIENT": "p1", "START_YEAR": "2016", "END_YEAR": "2019", "PAYER": "pay-2"},
        {"PATIENT": "p2", "START_YEAR": "2010-01-01T00:00:00Z", "END_YEAR": "2011-01-01T00:00:00Z", "PAYER": "pay-2"},
    ]
    first, second = journeys(connection, drop.write(tmp_path))
    assert [first["insurance_type"], second["insurance_type"]] == ["uninsured", "medicare"]


def test_profiles_are_versions_that_know_nothing_of_later_patients(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.provider("hcp-3", ZIP="693391143", SPECIALITY="PHYSICAL THERAPY")
    drop.tables["providers"][0]["ENCOUNTERS"] = 1_000_000  # the total at the end of the simulation
    found = read(connection, connector(drop.write(tmp_path)), "hcp_profiles", "hcp_id, updated_at")
    keys = ("hcp_id", "specialty", "sub_specialty", "zip_code", "total_patient_volume")
    assert [(*(p[key] for key in keys), p["updated_at"].date().isoformat()) for p in found] == [
        ("hcp-1", "GENERAL PRACTICE", None, "68504", 1, "2015-03-10"),
        ("hcp-1", "GENERAL PRACTICE", None, "68504", 2, "2017-01-01"),
        ("hcp-2", "INTERNAL MEDICINE", None, "68504", 1, "2015-05-09"),
        ("hcp-3", "other", "PHYSICAL THERAPY", "69339", 0, "2019-12-31"),  # never mentioned
    ]


def test_optional_tables_and_columns_may_be_missing(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.columns = {**drop.columns, "encounters": ("Id", "START", "PATIENT", "ENCOUNTERCLASS", "CODE")}
    drop.columns["patients"] = ("Id", "BIRTHDATE", "GENDER")
    optional = [
        "providers",
        "payers",
        "payer_transitions",
        "medications",
        "procedures",
        "immunizations",
        "observations",
    ]
    source = connector(drop.write(tmp_path, skip=optional))
    assert source.query(connection, "hcp_profiles") is None
    first, _ = read(connection, source, "patient_journeys", "patient_id")
    assert not {"hcp_id", "insurance_type"} & set(first)
    assert (first["treatment_initiated"], first["geographic_region"]) == (1, None)
    assert "hcp_id" not in read(connection, source, "treatment_events", "ALL")[0]
    assert source.defects(connection, "hcp_profiles") == ()


def test_washout_and_observation_rules_apply_to_codes_too(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.medication("p1", "2014-01-01T10:00:00Z", "e1", STOP="")  # open-ended: still taken at the index
    drop.encounter("p2", "2014-01-01T10:00:00Z", "wellness")
    treatment = ConceptSet(table="medications", concepts=(LISINOPRIL,))
    cohort = COHORT.model_copy(update={"treatment": treatment, "washout_days": 30})
    source = connector(drop.write(tmp_path), cohort)
    assert [j["patient_id"] for j in read(connection, source, "patient_journeys", "patient_id")] == ["p2"]
    excluded = [d for d in source.defects(connection, "patient_journeys") if d.table == "cohort"]
    assert [(d.rows, d.of_rows) for d in excluded] == [(1, 2), (1, 2)]
    observed = COHORT.model_copy(update={"prior_observation_days": 365})
    assert [j["patient_id"] for j in journeys(connection, tmp_path, observed)] == ["p2"]


def test_missing_table_and_column_are_refused(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=r"Synthea folder .* lacks encounters \(it has: patients, conditions"):
        connector(drop.write(tmp_path / "table", skip=["encounters"])).fingerprint("patient_journeys")
    (drop.write(tmp_path / "column") / "patients.csv").write_text("Id,BIRTH,GENDER\n1,2,M\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"patients in .* lacks the column\(s\) birthdate; it has birth, gender, id"):
        connector(tmp_path / "column").query(connection, "patient_journeys")
    chosen = COHORT.model_copy(update={"treatment": ConceptSet(table="medications", concepts=(1,))})
    with pytest.raises(SourceError, match=r"treatment is declared over medications, and .* has no such table"):
        connector(drop.write(tmp_path / "declared", skip=["medications"]), chosen).query(connection, "patient_journeys")


def test_class_that_is_not_known_counts_where_the_export_has_it(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    telehealth = ConceptSet(table="encounters", classes=("emergency", "telehealth"))
    cohort = COHORT.model_copy(update={"treatment": telehealth})
    with pytest.raises(SourceError, match=r"treatment\.classes holds telehealth, which is no class of Synthea \(amb"):
        journeys(connection, drop.write(tmp_path), cohort)
    drop.encounter("p2", "2016-05-02T10:00:00Z", "telehealth")
    assert journeys(connection, drop.write(tmp_path), cohort)[1]["days_to_treatment"] == 1


def test_codes_that_no_row_has_are_counted(connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path) -> None:
    index = ConceptSet(table="conditions", concepts=(SINUSITIS, BRONCHITIS, 1))
    source = connector(drop.write(tmp_path), COHORT.model_copy(update={"index_event": index}))
    source.query(connection, "patient_journeys")
    found = [
        (d.defect, d.rows, d.of_rows) for d in source.defects(connection, "patient_journeys") if d.table == "cohort"
    ]
    assert found == [("concepts of cohort.index_event that no usable row has", 1, 3)]


def test_header_that_names_a_column_twice_is_refused_without_its_text(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    (drop.write(tmp_path) / "patients.csv").write_text("Jane,1980,Jane\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"patients\.csv: its first line names column\(s\) 1, 3") as refused:
        connector(tmp_path).query(connection, "patient_journeys")
    assert "Jane" not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"index_event": None}, r"cohort\.index_event must name a Synthea table"),
        ({"treatment": ConceptSet(table="drug_exposure", concepts=(1,))}, "must be one of encounters, conditions"),
        ({"treatment": ConceptSet(table="medications", classes=("inpatient",))}, "classes are those of encounters"),
        (
            {"index_event": ConceptSet(table="conditions", concepts=(1,), include_descendants=True)},
            "no hierarchy of its codes",
        ),
    ],
)
def test_cohort_that_cannot_be_is_refused(tmp_path: Path, changed: Row, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        connector(tmp_path, COHORT.model_copy(update=changed))


def test_fingerprint_follows_files_and_cohort_only(drop: Drop, tmp_path: Path) -> None:
    folder = drop.write(tmp_path)
    before = connector(folder).fingerprint("patient_journeys")
    assert (
        connector(folder, COHORT.model_copy(update={"minimum_journeys": 1})).fingerprint("patient_journeys") == before
    )
    assert connector(folder, COHORT.model_copy(update={"washout_days": 1})).fingerprint("patient_journeys") != before
    assert connector(folder).fingerprint("treatment_events") != before
    drop.encounter("p2", "2018-01-01T10:00:00Z", "wellness")
    drop.write(folder)
    assert connector(folder).fingerprint("patient_journeys") != before

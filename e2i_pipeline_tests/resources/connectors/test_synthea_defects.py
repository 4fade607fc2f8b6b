"""Each kind of defect of a Synthea export is counted, and what is counted as left out is left out."""

from pathlib import Path

import duckdb
import pytest

from e2i_pipeline.resources.connectors.synthea import SyntheaConnector
from e2i_pipeline_tests.resources.connectors.delivered import Counts, defects_of, usable_events
from e2i_pipeline_tests.resources.connectors.synthea_drop import COHORT, Drop


@pytest.fixture
def drop() -> Drop:
    return Drop()


def counts(drop: Drop, folder: Path, canonical: str) -> Counts:
    """The defects without the direct identifiers that every export has."""
    found = defects_of(SyntheaConnector(str(drop.write(folder)), COHORT, "AcuteCare"), canonical)
    return {(table, defect): n for (table, defect), n in found.items() if not defect.endswith(": a direct identifier")}


def usable(drop: Drop, folder: Path) -> int:
    return usable_events(SyntheaConnector(str(drop.write(folder)), COHORT, "AcuteCare"))


@pytest.mark.parametrize("generation", ["older", "newer"])
def test_clean_export_of_either_generation_has_no_defects(tmp_path: Path, generation: str) -> None:
    for canonical in ("patient_journeys", "treatment_events", "hcp_profiles", "engagement_events"):
        assert counts(Drop(generation), tmp_path, canonical) == {}


def test_direct_identifiers_are_counted_by_the_rows_that_fill_them(drop: Drop, tmp_path: Path) -> None:
    drop.tables["patients"][0]["SUFFIX"] = "MD"
    source = SyntheaConnector(str(drop.write(tmp_path)), COHORT, "AcuteCare")
    with duckdb.connect() as connection:
        source.query(connection, "patient_journeys")
        found = {(d.table, d.defect.partition(":")[0]): d.rows for d in source.defects(connection, "patient_journeys")}
    assert found == {
        **{("patients", name): 2 for name in ("BIRTHDATE", "SSN", "FIRST", "LAST", "ADDRESS")},
        ("patients", "SUFFIX"): 1,
        ("payer_transitions", "MEMBERID"): 2,
    }


def test_columns_that_nobody_knows_are_counted_and_not_fatal(drop: Drop, tmp_path: Path) -> None:
    drop.tables["patients"][0]["BLOOD_TYPE"] = "A"
    drop.tables["patients"][0]["EMAIL"] = "canary@example.org"
    drop.columns = {**drop.columns, "encounters": (*drop.columns["encounters"], "TRIAGE")}
    words = ": not a column of a known export"
    assert counts(drop, tmp_path, "patient_journeys") == {("patients", f"BLOOD_TYPE{words}"): (2, 2)}
    assert counts(drop, tmp_path, "treatment_events") == {("encounters", f"TRIAGE{words}"): (4, 4)}


def test_patient_defects(drop: Drop, tmp_path: Path) -> None:
    drop.patient("p3", BIRTHDATE="unknown", GENDER="X", STATE="Bavaria", ZIP="00000", FIPS="")
    drop.patient("p4", ZIP="")
    drop.tables["patients"].append({**drop.tables["patients"][1], "BIRTHDATE": "1990-01-01"})
    drop.tables["patients"].append({**drop.tables["patients"][1], "Id": ""})
    assert counts(drop, tmp_path, "patient_journeys") == {
        ("patients", "no Id"): (1, 6),
        ("patients", "the Id is repeated"): (1, 6),
        ("patients", "BIRTHDATE is missing or cannot be read"): (1, 6),
        ("patients", "GENDER is neither M nor F"): (1, 6),
        ("patients", "ZIP is 0"): (1, 6),
        ("patients", "no ZIP"): (1, 6),
        ("patients", "no FIPS"): (1, 6),
        ("patients", "STATE is no state of the USA"): (1, 4),
    }


def test_rows_that_cannot_stand_are_counted_and_left_out(drop: Drop, tmp_path: Path) -> None:
    before = usable(drop, tmp_path)
    for number in range(200):
        drop.encounter("p1", f"2015-{1 + number % 12:02d}-05T10:00:00Z", "wellness")
    drop.tables["patients"][0]["DEATHDATE"] = "2019-01-01"
    drop.tables["encounters"].append(dict(drop.tables["encounters"][0]))
    drop.encounter("p1", "2019-03-02T10:00:00Z", "wellness")  # 60 days after death: a late record
    drop.encounter("p1", "2019-03-03T10:00:00Z", "wellness")
    drop.encounter("p404", "2015-01-01T10:00:00Z", "wellness")
    drop.encounter("p1", "", "wellness")
    drop.encounter("p1", "2015-02-30T10:00:00Z", "wellness")
    drop.encounter("p1", "1979-12-31T10:00:00Z", "wellness")
    drop.encounter("p1", "2098-01-01T10:00:00Z", "wellness")
    drop.encounter("p1", "2015-01-01T10:00:00Z", "wellness", Id="")
    assert counts(drop, tmp_path, "treatment_events") == {
        ("encounters", "no Id"): (1, 213),
        ("encounters", "the Id is repeated"): (1, 213),
        ("encounters", "the patient is not in patients"): (1, 213),
        ("encounters", "no event date"): (1, 213),
        ("encounters", "the event date cannot be read"): (1, 213),
        ("encounters", "dated after the files were written"): (1, 213),
        ("encounters", "dated before the patient's birth"): (1, 213),
        ("encounters", "dated more than 60 days after death"): (1, 213),
        ("encounters", "dated after the patient's death date"): (3, 213),
        # a row without an Id is no encounter that anything can refer to
        ("encounters", "without an encounter"): (1, 213),
        ("encounters", "the provider is not in providers"): (1, 213),
    }
    assert usable(drop, tmp_path) == before + 200 + 1


def test_rows_that_may_stand_are_counted_and_kept(drop: Drop, tmp_path: Path) -> None:
    before = usable(drop, tmp_path)
    drop.medication("p1", "2015-05-01T10:00:00Z", "e1", STOP="2015-05-01T09:59:00Z")
    drop.medication("p1", "2015-05-02T10:00:00Z", "e1", STOP="")
    drop.medication("p1", "2015-05-03T10:00:00Z", "e404")
    drop.medication("p1", "2015-05-04T10:00:00Z", "e1", CODE="", TOTALCOST="-1")
    drop.tables["encounters"][0]["PROVIDER"] = "hcp-404"
    assert counts(drop, tmp_path, "treatment_events") == {
        ("medications", "STOP is before START"): (1, 4),
        ("medications", "no STOP: open-ended"): (1, 4),
        ("medications", "without an encounter"): (1, 4),
        ("medications", "no CODE"): (1, 4),
        ("medications", "the cost is negative"): (1, 4),
        ("encounters", "the provider is not in providers"): (1, 4),
    }
    assert usable(drop, tmp_path) == before + 4


def test_surveys_and_scores_of_the_simulation_are_no_measurements(drop: Drop, tmp_path: Path) -> None:
    before = usable(drop, tmp_path)
    for category, code in (("survey", "76504-0"), ("", "QALY"), ("laboratory", "2339-0"), ("", "8302-2")):
        day = "2015-05-01T10:00:00Z"
        drop.add("observations", DATE=day, PATIENT="p1", ENCOUNTER="e1", CATEGORY=category, CODE=code, VALUE="1")
    words = "a survey, social history or a score of the simulation"
    assert counts(drop, tmp_path, "treatment_events") == {("observations", words): (2, 4)}
    assert usable(drop, tmp_path) == before + 2


def test_a_whole_life_is_said_to_be_one(drop: Drop, tmp_path: Path) -> None:
    drop.encounter("p1", "1985-01-01T10:00:00Z", "wellness")
    assert counts(drop, tmp_path, "patient_journeys") == {("all events", "events dated from 1985 to 2019"): (7, 7)}


def test_provider_defects(drop: Drop, tmp_path: Path) -> None:
    drop.tables["providers"][1]["SPECIALITY"] = "GENERAL PRACTICE"
    assert counts(drop, tmp_path, "hcp_profiles") == {("providers", "all providers have the same SPECIALITY"): (2, 2)}
    drop.provider("hcp-3", ZIP="693391143", SPECIALITY="AUDIOLOGIST")
    drop.provider("hcp-4", ZIP="2155", SPECIALITY="")
    drop.provider("", ZIP="02155-1234")
    drop.tables["providers"].append(dict(drop.tables["providers"][0]))
    assert counts(drop, tmp_path, "hcp_profiles") == {
        ("providers", "no Id"): (1, 6),
        ("providers", "the Id is repeated"): (1, 6),
        ("providers", "ZIP has 9 digits, not 5"): (2, 6),
        ("providers", "ZIP has fewer than 5 digits"): (1, 6),
        ("providers", "no SPECIALITY"): (1, 6),
        ("providers", "SPECIALITY is none that the platform knows"): (1, 6),
    }

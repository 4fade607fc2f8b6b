"""Each kind of defect is counted, and what is counted as left out is left out."""

from pathlib import Path

import duckdb
import pytest

from e2i_pipeline_tests.resources.connectors.delivered import Counts, defects_of, usable_events
from e2i_pipeline_tests.resources.connectors.omop_drop import (
    ACETAMINOPHEN,
    HYPERTENSION,
    SINUSITIS,
    Drop,
    connector,
)


@pytest.fixture
def drop() -> Drop:
    return Drop()


def counts(drop: Drop, folder: Path, canonical: str) -> Counts:
    return defects_of(connector(drop.write(folder)), canonical)


def usable(drop: Drop, folder: Path) -> int:
    return usable_events(connector(drop.write(folder)))


def test_clean_drop_has_no_defects(drop: Drop, tmp_path: Path) -> None:
    for canonical in ("patient_journeys", "treatment_events", "hcp_profiles", "engagement_events"):
        assert counts(drop, tmp_path, canonical) == {}


def test_person_defects(drop: Drop, tmp_path: Path) -> None:
    drop.person("3", year_of_birth=2099, gender_concept_id=0, provider_id=0)
    drop.tables["person"].append({**drop.tables["person"][0], "year_of_birth": 1990})
    drop.add("person", person_id="", gender_concept_id=8507, year_of_birth=1980, provider_id=7)
    drop.tables["observation_period"] = [p for p in drop.tables["observation_period"] if p["person_id"] != "3"]
    assert counts(drop, tmp_path, "patient_journeys") == {
        ("person", "no person_id"): (1, 5),
        ("person", "person_id is repeated"): (1, 5),
        ("person", "year of birth is missing, before 1850 or after the last event in the data"): (1, 5),
        ("person", "gender concept is neither male nor female"): (1, 5),
        ("person", "provider_id is empty or 0"): (1, 5),
        ("person", "without an observation period"): (1, 5),
    }


def test_direct_identifiers_are_counted_and_never_read(drop: Drop, tmp_path: Path) -> None:
    born = {"birth_datetime": "1970-05-17 00:00:00", "person_source_value": "MRN-CANARY", "month_of_birth": 5}
    drop.tables["person"] = [{**row, **born, "day_of_birth": 17} for row in drop.tables["person"]]
    drop.tables["person"][0]["person_source_value"] = None
    drop.add("provider", provider_id=7, npi="NPI-CANARY", provider_name="Ann", specialty_concept_id=1)
    people = len(drop.tables["person"])

    assert counts(drop, tmp_path, "patient_journeys") == {
        ("person", "birth_datetime: a direct identifier"): (people, people),
        ("person", "person_source_value: a direct identifier"): (people - 1, people),
    }
    assert counts(drop, tmp_path, "hcp_profiles") == {
        ("provider", "npi: a direct identifier"): (1, 1),
        ("provider", "provider_name: a direct identifier"): (1, 1),
    }
    source = connector(drop.write(tmp_path))
    with duckdb.connect() as connection:
        for canonical in ("patient_journeys", "treatment_events", "hcp_profiles"):
            rows = connection.execute(str(source.query(connection, canonical))).to_arrow_table().to_pylist()
            assert rows
            assert not any(token in str(rows) for token in ("CANARY", "Ann", "1970"))


def test_observation_period_defects(drop: Drop, tmp_path: Path) -> None:
    drop.tables["observation_period"][1]["observation_period_end_date"] = "2016-06-01"  # patient 2, untreated
    drop.add(
        "observation_period",
        person_id="77",
        observation_period_start_date="2015-01-01",
        observation_period_end_date="2014-01-01",
    )
    drop.tables["visit_occurrence"][0]["person_id"] = "1"
    assert counts(drop, tmp_path, "patient_journeys") == {
        ("observation_period", "begins or ends on a day that cannot be read, or ends before it begins"): (1, 3),
        ("observation_period", "the person is not in person"): (1, 3),
        ("observation_period", "untreated journeys whose observation ends inside the outcome window"): (1, 2),
    }


def test_rows_that_cannot_stand_are_counted_and_left_out(drop: Drop, tmp_path: Path) -> None:
    before = usable(drop, tmp_path)
    for number in range(200):
        drop.visit("1", f"2015-{1 + number % 12:02d}-05")
    drop.add("death", person_id="1", death_date="2019-01-01")
    drop.tables["visit_occurrence"].append(dict(drop.tables["visit_occurrence"][0]))
    drop.visit("1", "2019-03-02")  # 60 days after death: a late record
    drop.visit("1", "2019-03-03")
    drop.visit("404", "2015-01-01")
    drop.visit("1", "")
    drop.visit("1", "2015-02-30")
    drop.visit("1", "1979-12-31")
    drop.visit("1", "2098-01-01")
    drop.visit("1", "2015-01-01", visit_occurrence_id="")
    assert counts(drop, tmp_path, "treatment_events") == {
        ("visit_occurrence", "no primary key"): (1, 210),
        ("visit_occurrence", "the primary key is repeated"): (1, 210),
        ("visit_occurrence", "equal to another row in all but the primary key"): (188, 210),
        ("visit_occurrence", "the person is not in person"): (1, 210),
        ("visit_occurrence", "no event date"): (1, 210),
        ("visit_occurrence", "the event date cannot be read"): (1, 210),
        ("visit_occurrence", "dated after the files were written"): (1, 210),
        ("visit_occurrence", "dated before the person's year of birth"): (1, 210),
        ("visit_occurrence", "dated more than 60 days after death"): (1, 210),
    }
    assert usable(drop, tmp_path) == before + 200 + 1


def test_drugs_that_are_none_are_counted_by_what_they_are(drop: Drop, tmp_path: Path) -> None:
    drop.condition("2", "2016-06-01", condition_concept_id=HYPERTENSION, condition_source_value="162864005")
    drop.drug("2", "2016-05-02", drug_concept_id=0, drug_source_value="44481", drug_source_concept_id=SINUSITIS)
    drop.drug("2", "2016-06-01", drug_concept_id=0, drug_source_value="162864005")
    drop.drug("2", "2016-07-01", drug_concept_id=0, drug_source_value="1153378")
    found = counts(drop, tmp_path, "treatment_events")
    assert found == {
        ("drug_exposure", "no standard concept (drug_concept_id 0)"): (3, 4),
        ("drug_exposure", "no drug concept, and the source code is a condition's"): (1, 4),
        ("drug_exposure", "no drug concept, and a condition row has the same person, code and day"): (1, 4),
    }


def test_rows_that_may_stand_are_counted_and_kept(drop: Drop, tmp_path: Path) -> None:
    drop.tables["person"][0]["year_of_birth"] = 1908
    before = usable(drop, tmp_path)
    common = {"drug_concept_id": ACETAMINOPHEN, "drug_exposure_end_date": "2015-05-01"}
    drop.drug("1", "2015-05-01", **common)
    drop.drug("1", "2015-05-01", **common)  # two alike on one day
    drop.drug("1", "2015-06-01", visit_occurrence_id=0)
    drop.drug("1", "2015-06-02", visit_occurrence_id="")
    drop.drug("1", "2015-06-03", visit_occurrence_id=999)
    drop.drug("1", "2015-06-04", provider_id=0)
    drop.drug("1", "2015-06-05", drug_exposure_end_date="2015-06-04")
    drop.drug("1", "1909-03-15")
    assert counts(drop, tmp_path, "treatment_events") == {
        ("drug_exposure", "without a visit"): (2, 9),
        ("drug_exposure", "the visit is not in visit_occurrence"): (1, 9),
        ("drug_exposure", "provider_id is empty or 0"): (1, 9),
        ("drug_exposure", "ends before it starts"): (1, 9),
        ("drug_exposure", "dated before 1930, from 1909 on"): (1, 9),
        ("drug_exposure", "dated outside the person's observation periods"): (1, 9),
        ("drug_exposure", "equal to another row in all but the primary key"): (1, 9),
    }
    assert usable(drop, tmp_path) == before + 8


def test_index_table_is_reported_with_the_journeys_only(drop: Drop, tmp_path: Path) -> None:
    drop.condition("1", "2016-01-01", condition_concept_id=0, visit_occurrence_id=0)
    assert counts(drop, tmp_path, "patient_journeys") == {
        ("condition_occurrence", "no standard concept (condition_concept_id 0)"): (1, 3),
        ("condition_occurrence", "without a visit"): (1, 3),
    }
    assert counts(drop, tmp_path, "treatment_events") == {}


def test_concepts_without_an_entry_are_counted(drop: Drop, tmp_path: Path) -> None:
    drop.condition("1", "2016-01-01", condition_concept_id=5, condition_source_concept_id=6)
    words = "concepts that clinical rows use and the vocabulary, a subset of 7 concepts, does not hold"
    assert counts(drop, tmp_path, "patient_journeys") == {("concept", words): (2, 6)}


def test_provider_defects(drop: Drop, tmp_path: Path) -> None:
    drop.add("provider", provider_id=7, specialty_source_value="Allergy")
    drop.add("provider", provider_id=7, specialty_source_value="Allergy")
    drop.add("provider", provider_id=8, specialty_concept_id=0)
    drop.add("provider", provider_id="", specialty_source_value="Allergy")
    assert counts(drop, tmp_path, "hcp_profiles") == {
        ("provider", "no provider_id"): (1, 4),
        ("provider", "provider_id is repeated"): (1, 4),
        ("provider", "no specialty"): (1, 4),
    }

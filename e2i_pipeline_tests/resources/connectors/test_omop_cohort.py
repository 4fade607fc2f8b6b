"""The OMOP connector: rules, eras, descendants, versions and providers."""

from pathlib import Path

import duckdb
import pytest

from e2i_pipeline.contracts.cohort import CohortDefinition, ConceptSet
from e2i_pipeline.errors import SourceError
from e2i_pipeline_tests.resources.connectors.delivered import Row, read
from e2i_pipeline_tests.resources.connectors.omop_drop import (
    ACETAMINOPHEN,
    BRONCHITIS,
    COHORT,
    SINUSITIS,
    Drop,
    connector,
    journeys,
)


@pytest.fixture
def drop() -> Drop:
    return Drop()


ERA, INGREDIENT = "drug_era", 1125315


def attrition(connection: duckdb.DuckDBPyConnection, folder: Path, cohort: CohortDefinition) -> list[tuple[int, int]]:
    """Excluded and looked at, for the events and then the patients of each rule."""
    source = connector(folder, cohort)
    source.query(connection, "patient_journeys")
    return [(d.rows, d.of_rows) for d in source.defects(connection, "patient_journeys") if d.table == "cohort"]


def who(rows: list[Row]) -> list[str]:
    return [row["patient_id"] for row in rows]


@pytest.mark.parametrize(
    ("begun", "ended", "stays"),
    [
        ("2016-04-01", "2016-04-01", False),  # 30 days before the index day
        ("2016-03-31", "2016-03-31", True),
        ("2016-03-01", "2016-04-02", False),  # begun before the washout, and gone on into it
        ("2016-05-01", "2016-05-01", True),  # on the index day: the outcome, not the past
    ],
)
def test_washout_looks_at_treatment_that_was_going_on(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path, begun: str, ended: str, stays: bool
) -> None:
    drop.drug("2", begun, drug_exposure_end_date=ended)
    cohort = COHORT.model_copy(update={"washout_days": 30})
    found = who(journeys(connection, drop.write(tmp_path), cohort))
    assert found == (["1", "2"] if stays else ["1"])
    assert attrition(connection, tmp_path, cohort) == ([(0, 2), (0, 2)] if stays else [(1, 2), (1, 2)])


def test_rules_apply_before_the_first_event_is_chosen(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.drug("2", "2016-04-20")
    drop.condition("2", "2018-01-01")
    cohort = COHORT.model_copy(update={"washout_days": 30})
    _, second = journeys(connection, drop.write(tmp_path), cohort)
    assert second["journey_start_date"].isoformat() == "2018-01-01"
    assert attrition(connection, tmp_path, cohort) == [(1, 3), (0, 2)]  # an event is lost, and no patient


@pytest.mark.parametrize(
    ("first", "last", "changed", "stays"),
    [
        ("2015-05-02", "2019-12-31", {"prior_observation_days": 365}, True),  # 365 days before 2016-05-01
        ("2015-05-03", "2019-12-31", {"prior_observation_days": 365}, False),
        ("2010-01-01", "2016-04-30", {"prior_observation_days": 365}, False),  # over before the index day
        ("2016-05-01", "2016-05-01", {"index_in_observation": True}, True),
        ("2016-05-02", "2019-12-31", {"index_in_observation": True}, False),
        ("", "2019-12-31", {"index_in_observation": True}, False),
        ("2016-05-02", "2019-12-31", {}, True),
    ],
)
def test_observation_period_must_cover_what_the_cohort_asks_for(
    connection: duckdb.DuckDBPyConnection,
    drop: Drop,
    tmp_path: Path,
    first: str,
    last: str,
    changed: Row,
    stays: bool,
) -> None:
    drop.tables["observation_period"][1].update(observation_period_start_date=first, observation_period_end_date=last)
    cohort = COHORT.model_copy(update=changed)
    assert who(journeys(connection, drop.write(tmp_path), cohort)) == (["1", "2"] if stays else ["1"])


def test_each_rule_is_counted_after_the_one_before(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.tables["observation_period"][1]["observation_period_start_date"] = "2016-06-01"  # of patient 2
    drop.person("3")
    drop.drug("3", "2015-01-01")
    drop.condition("3", "2015-01-11")
    rules = {"washout_days": 30, "prior_observation_days": 30, "index_in_observation": True}
    cohort = COHORT.model_copy(update=rules)
    assert attrition(connection, drop.write(tmp_path), cohort) == [(1, 3), (1, 3), (0, 2), (0, 2), (1, 2), (1, 2)]
    assert attrition(connection, tmp_path, COHORT) == []
    drop.drug("1", "2015-03-01")
    with pytest.raises(SourceError, match=r"leave no index event\. Excluded one after the other: 1 of 3 outside"):
        journeys(connection, drop.write(tmp_path), cohort)


def test_drug_eras_of_the_drop_may_be_the_treatment(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    era = {"drug_concept_id": INGREDIENT, "drug_era_start_date": "2016-05-11", "drug_era_end_date": "2016-05-20"}
    drop.add(ERA, drug_era_id=1, person_id="2", **era)
    cohort = COHORT.model_copy(update={"treatment": ConceptSet(table=ERA, concepts=(INGREDIENT,))})
    assert [j["days_to_treatment"] for j in journeys(connection, drop.write(tmp_path), cohort)] == [None, 10]
    source = connector(tmp_path, cohort)
    assert len(read(connection, source, "treatment_events", "ALL")) == 4  # an era is no event besides
    assert source.defects(connection, "treatment_events") == ()


@pytest.mark.parametrize(("gap", "eras"), [(30, 1), (31, 2)])
def test_eras_are_derived_by_the_persistence_window(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path, gap: int, eras: int
) -> None:
    drop.tables["drug_exposure"].clear()
    # the first of 10 days lies within the second of 20; the third, by its supply, begins so many days after that
    drop.drug("2", "2016-06-01", drug_exposure_end_date="2016-06-21")
    drop.drug("2", "2016-06-02", drug_exposure_end_date="2016-06-12")
    drop.drug("2", f"2016-07-{21 + gap - 30:02d}", days_supply=5)
    cohort = COHORT.model_copy(update={"treatment": ConceptSet(table=ERA, concepts=(ACETAMINOPHEN,))})
    source = connector(drop.write(tmp_path), cohort)
    found = read(connection, source, "treatment_events", "sequence_number")
    assert [e["brand"] for e in found if e["event_type"] == "prescription"] == ["Relief"] * 3
    first, *others = connection.execute(
        "SELECT event_date, end_date FROM omop_drug_era_rows ORDER BY event_date"
    ).fetchall()
    assert first[0].isoformat() == "2016-06-01"
    last = (others or [first])[-1]
    assert (last[1] - last[0]).days == (5 if eras == 2 else 50 + 5)
    (derived,) = source.defects(connection, "treatment_events")
    assert (derived.table, derived.rows, derived.of_rows) == (ERA, eras, 3)
    assert "by drug concept, since there is no concept_ancestor, with a window of 30 days" in derived.treatment
    assert [j["days_to_treatment"] for j in journeys(connection, tmp_path, cohort)] == [None, 31]


def test_eras_are_of_ingredients_where_the_vocabulary_tells_them(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.add("concept", concept_id=INGREDIENT, concept_name="acetaminophen", domain_id="Drug", vocabulary_id="RxNorm")
    drop.tables["concept"][-1].update(concept_code="161", concept_class_id="Ingredient")
    for drug in (ACETAMINOPHEN, 42):
        drop.add("concept_ancestor", ancestor_concept_id=INGREDIENT, descendant_concept_id=drug)
    drop.drug("1", "2015-03-20", drug_concept_id=42)  # another product of the same ingredient
    cohort = COHORT.model_copy(update={"treatment": ConceptSet(table=ERA, concepts=(INGREDIENT,))})
    source = connector(drop.write(tmp_path), cohort)
    prescribed = [e for e in read(connection, source, "treatment_events", "ALL") if e["event_type"] == "prescription"]
    assert [e["brand"] for e in prescribed] == ["Relief", "Relief"]
    (derived,) = (d for d in source.defects(connection, "treatment_events") if d.table == ERA)
    assert (derived.rows, derived.of_rows) == (1, 2)
    assert "by ingredient, with" in derived.treatment
    assert journeys(connection, tmp_path, cohort)[0]["days_to_treatment"] == 0


def test_descendants_count_where_they_are_asked_for(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    infection = 4181583
    for below in (SINUSITIS, BRONCHITIS):
        drop.add("concept_ancestor", ancestor_concept_id=infection, descendant_concept_id=below)
    above = ConceptSet(table="condition_occurrence", concepts=(infection,), include_descendants=True)
    cohort = COHORT.model_copy(update={"index_event": above})
    assert who(journeys(connection, drop.write(tmp_path), cohort)) == ["1", "2"]
    alone = cohort.model_copy(update={"index_event": above.model_copy(update={"include_descendants": False})})
    with pytest.raises(SourceError, match="matched 0 of 2 rows in condition_occurrence"):
        journeys(connection, tmp_path, alone)
    itself = above.model_copy(update={"concepts": (BRONCHITIS,)})
    assert who(journeys(connection, tmp_path, COHORT.model_copy(update={"index_event": itself}))) == ["2"]


def test_descendants_without_the_vocabulary_are_refused(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    below = ConceptSet(table="drug_exposure", concepts=(ACETAMINOPHEN,), include_descendants=True)
    with pytest.raises(SourceError, match=r"treatment\.include_descendants is true, .* has no concept_ancestor"):
        journeys(connection, drop.write(tmp_path), COHORT.model_copy(update={"treatment": below}))


@pytest.mark.parametrize(
    ("columns", "said", "expected"),
    [
        ({"admitted_from_concept_id": 0}, "", "OMOP CDM 5.4 by its columns"),
        ({"ADMITTING_SOURCE_CONCEPT_ID": 0}, "", "OMOP CDM 5.3 by its columns"),
        ({}, "CDM v5.3.1", "OMOP CDM 5.3 by cdm_source"),
        ({"discharged_to_concept_id": 0}, "v5.3.1", "OMOP CDM 5.4 by its columns, OMOP CDM 5.3 by cdm_source"),
    ],
)
def test_version_of_the_model_is_found_and_said(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path, columns: Row, said: str, expected: str
) -> None:
    drop.tables["visit_occurrence"][0].update(columns)
    if said:
        drop.add("cdm_source", cdm_source_name="A hospital", cdm_version=said)
    source = connector(drop.write(tmp_path))
    assert who(read(connection, source, "patient_journeys", "patient_id")) == ["1", "2"]
    found = [d.defect for d in source.defects(connection, "patient_journeys") if d.table == "cdm_source"]
    assert found == [expected]


def test_without_providers_no_professional_is_delivered(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    source = connector(drop.write(tmp_path))
    assert source.query(connection, "hcp_profiles") is None
    assert source.query(connection, "engagement_events") is None
    assert "hcp_id" not in read(connection, source, "patient_journeys")[0]
    assert "hcp_id" not in read(connection, source, "treatment_events")[0]


def test_providers_become_profiles_known_from_their_first_mention(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.tables["condition_occurrence"][1]["provider_id"] = 0
    drop.add("provider", provider_id=7, npi="123", specialty_concept_id=0, specialty_source_value="Allergy")
    drop.add("provider", provider_id=8, specialty_concept_id=SINUSITIS)
    drop.add("concept", concept_id=38004447, concept_name="Cardiology", domain_id="Provider", vocabulary_id="Medicare")
    drop.tables["provider"][1]["specialty_concept_id"] = 38004447
    source = connector(drop.write(tmp_path))
    profiles = read(connection, source, "hcp_profiles", "hcp_id")
    assert [(p["hcp_id"], p["specialty"], p["updated_at"].date().isoformat()) for p in profiles] == [
        ("7", "Allergy", "2015-03-10"),
        ("8", "Cardiology", "2019-12-31"),  # never mentioned: known by the data's last day
    ]
    # the second condition names none, and its visit does
    assert [j["hcp_id"] for j in read(connection, source, "patient_journeys", "patient_id")] == ["7", "7"]


def test_provider_that_is_none_gives_way_to_that_of_the_visit(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    drop.add("provider", provider_id=7, specialty_source_value="Voodoo")
    drop.tables["condition_occurrence"][0]["provider_id"] = 99
    drop.tables["condition_occurrence"][1].update(provider_id=99, visit_occurrence_id=404)
    source = connector(drop.write(tmp_path))
    assert [j["hcp_id"] for j in read(connection, source, "patient_journeys", "patient_id")] == ["7", None]
    found = {d.defect: (d.rows, d.of_rows) for d in source.defects(connection, "patient_journeys")}
    assert found["the provider is not in provider"] == (2, 2)
    (profile,) = read(connection, source, "hcp_profiles", "hcp_id")
    assert (profile["specialty"], profile["sub_specialty"]) == ("other", "Voodoo")
    assert [d.defect for d in source.defects(connection, "hcp_profiles")] == [
        "the specialty is none that the platform knows"
    ]

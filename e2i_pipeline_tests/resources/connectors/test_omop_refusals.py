"""The OMOP connector: what it refuses, and what it says then."""

import shutil
from pathlib import Path

import duckdb
import pytest

from e2i_pipeline.contracts.cohort import ConceptSet
from e2i_pipeline.errors import ConfigurationError, SourceError
from e2i_pipeline_tests.resources.connectors.delivered import Row
from e2i_pipeline_tests.resources.connectors.omop_drop import (
    COHORT,
    Drop,
    connector,
)


@pytest.fixture
def drop() -> Drop:
    return Drop()


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is not there.*E2I_DATA"):
        connector(tmp_path / "nowhere").fingerprint("patient_journeys")


def test_missing_table_is_refused_with_what_is_there(drop: Drop, tmp_path: Path) -> None:
    folder = drop.write(tmp_path, skip=["drug_exposure", "person"])
    with pytest.raises(SourceError, match=r"lacks person, drug_exposure \(it has: observation_period, condition"):
        connector(folder).fingerprint("patient_journeys")


def test_table_that_is_there_twice_is_refused(drop: Drop, tmp_path: Path) -> None:
    folder = drop.write(tmp_path)
    shutil.copy(folder / "person.parquet", folder / "person.csv")
    with pytest.raises(SourceError, match=r"holds person more than once: person\.parquet, person\.csv"):
        connector(folder).fingerprint("patient_journeys")


def test_missing_column_is_refused_with_what_is_there(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    folder = drop.write(tmp_path, "csv")
    (folder / "drug_exposure.csv").write_text("drug_exposure_id,patient\n1,2\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"lacks the column\(s\) person_id, drug_concept_id.* it has.*patient"):
        connector(folder).query(connection, "patient_journeys")


def test_broken_file_is_refused_without_its_content(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    folder = drop.write(tmp_path)
    (folder / "person.parquet").write_bytes(b"PAR1 Jane Doe")
    with pytest.raises(SourceError, match=r"person cannot be read from .*person\.parquet") as refused:
        connector(folder).query(connection, "patient_journeys")
    assert "Jane" not in str(refused.value)


def test_engine_failure_is_explained_without_its_words(drop: Drop, tmp_path: Path) -> None:
    explained = connector(drop.write(tmp_path, "csv")).explain("patient_journeys", duckdb.ConversionException("Jane"))
    assert "ConversionException" in explained
    assert "person.csv" in explained
    assert "Jane" not in explained


def test_concepts_that_match_nothing_are_refused_with_counts(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    folder = drop.write(tmp_path)
    unknown = COHORT.model_copy(update={"index_event": ConceptSet(table="condition_occurrence", concepts=(5, 6))})
    with pytest.raises(SourceError, match=r"cohort\.index_event.*\(5, 6\) matched 0 of 2 rows in condition_occ"):
        connector(folder, unknown).query(connection, "patient_journeys")
    untreated = COHORT.model_copy(update={"treatment": ConceptSet(table="drug_exposure", concepts=(5,))})
    with pytest.raises(SourceError, match=r"cohort\.treatment.* matched 0 of 1 rows in drug_exposure"):
        connector(folder, untreated).query(connection, "treatment_events")


def test_matches_that_cannot_be_used_are_refused_with_counts(
    connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path
) -> None:
    for row in drop.tables["condition_occurrence"]:
        row["condition_start_date"] = "soon"
    with pytest.raises(SourceError, match="matched 2 of 2 rows in condition_occurrence, 0 of them usable"):
        connector(drop.write(tmp_path)).query(connection, "patient_journeys")


def test_drop_without_any_date_is_refused(connection: duckdb.DuckDBPyConnection, drop: Drop, tmp_path: Path) -> None:
    for table, column in (("condition_occurrence", "condition_start_date"), ("visit_occurrence", "visit_start_date")):
        for row in drop.tables[table]:
            row[column] = ""
    drop.tables["drug_exposure"].clear()
    with pytest.raises(SourceError, match="No row of the OMOP folder's clinical tables has a readable event date"):
        connector(drop.write(tmp_path)).query(connection, "patient_journeys")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"treatment": ConceptSet(table="drug_exposure", concepts=("RxNorm",))}, "holds RxNorm: OMOP's standard"),
        ({"treatment": ConceptSet(table="visit_occurrence", classes=("inpatient",))}, "OMOP has concepts only"),
        ({"index_event": None}, r"cohort\.index_event must name"),
        ({"treatment": None}, r"cohort\.treatment must name"),
        ({"treatment": ConceptSet(table="note", concepts=(1,))}, r"treatment\.table must be one of condition_occ"),
        ({"treatment": ConceptSet(table="drug_exposure", concepts=(1, 0))}, r"treatment\.concepts holds 0"),
    ],
)
def test_cohort_that_cannot_be_is_refused(tmp_path: Path, changed: Row, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        connector(tmp_path, COHORT.model_copy(update=changed))

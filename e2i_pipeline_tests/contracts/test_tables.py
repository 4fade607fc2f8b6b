"""The canonical tables: the platform's interface, its privacy classes, and what configuration may add."""

import pytest
from pydantic import ValidationError

from e2i_pipeline.contracts.tables import (
    DIRECT,
    IDENTIFIER,
    PATIENT_JOURNEYS,
    PLAIN,
    QUASI,
    SENSITIVE,
    TABLES,
    Column,
    TableSchema,
)

REQUIRED = {
    "patient_journeys": ("patient_journey_id", "patient_id", "brand", "journey_start_date"),
    "treatment_events": ("treatment_event_id", "patient_id", "event_date", "event_type"),
    "hcp_profiles": ("hcp_id", "specialty"),
    "engagement_events": ("engagement_event_id", "hcp_id", "event_timestamp", "channel"),
}
"""The columns that the data dictionary marks with a star."""


def classed(privacy: str) -> set[str]:
    return {column.name for schema in TABLES.values() for column in schema.columns if column.privacy == privacy}


def test_required_columns_are_those_of_the_data_dictionary() -> None:
    assert {name: schema.required for name, schema in TABLES.items()} == REQUIRED


def test_only_engagement_may_be_missing_without_a_word() -> None:
    assert [name for name, schema in TABLES.items() if schema.is_optional] == ["engagement_events"]


@pytest.mark.parametrize("schema", TABLES.values(), ids=lambda s: s.name)
def test_a_table_is_named_once_and_knows_its_times(schema: TableSchema) -> None:
    assert TABLES[schema.name] is schema
    assert len(set(schema.names)) == len(schema.columns)
    assert schema.column(schema.event_time).dtype in ("DATE", "TIMESTAMP")
    assert schema.column(schema.known_at).dtype == "TIMESTAMP"
    assert schema.grain.startswith("One row per ")


def test_what_identifies_a_person_by_itself_is_never_kept() -> None:
    assert classed(DIRECT) == {"npi", "first_name", "last_name"}


def test_every_identifier_has_a_namespace_and_equal_ids_join() -> None:
    spaces: dict[str, set[str]] = {}
    for schema in TABLES.values():
        for column in schema.columns:
            assert bool(column.namespace) == (column.privacy == IDENTIFIER)
            if column.namespace:
                spaces.setdefault(column.name, set()).add(column.namespace)
    assert all(len(found) == 1 for found in spaces.values())
    assert spaces["patient_id"] == {"patient"}
    assert spaces["hcp_id"] == {"hcp"}


def test_the_outcome_is_sensitive_and_where_one_lives_identifies() -> None:
    assert {"treatment_initiated", "days_to_treatment", "primary_diagnosis_code"} <= classed(SENSITIVE)
    assert {"zip_code", "state", "age_at_diagnosis"} <= classed(QUASI)


def test_further_columns_follow_and_are_taken_as_sensitive() -> None:
    wider = PATIENT_JOURNEYS.with_columns({"index_condition": "VARCHAR", "dose_mg": "DOUBLE"})

    assert wider.names == (*PATIENT_JOURNEYS.names, "index_condition", "dose_mg")
    assert wider.column("dose_mg") == Column(name="dose_mg", dtype="DOUBLE", privacy=SENSITIVE)
    assert wider.required == PATIENT_JOURNEYS.required


def test_a_column_that_is_there_keeps_its_type_and_its_class() -> None:
    wider = PATIENT_JOURNEYS.with_columns({"age_at_diagnosis": "DOUBLE", "patient_id": "VARCHAR"})

    assert wider == PATIENT_JOURNEYS
    assert wider.column("age_at_diagnosis").dtype == "INTEGER"
    assert wider.column("patient_id").privacy == IDENTIFIER


def test_the_table_itself_never_changes() -> None:
    before = PATIENT_JOURNEYS.names
    PATIENT_JOURNEYS.with_columns({"more": "VARCHAR"})

    assert PATIENT_JOURNEYS.names == before
    with pytest.raises(ValidationError, match="frozen"):
        PATIENT_JOURNEYS.columns = ()  # type: ignore[misc]


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(KeyError, match="patient_journeys has no column weight"):
        PATIENT_JOURNEYS.column("weight")


def test_what_nobody_classed_is_plain() -> None:
    assert Column(name="brand").privacy == PLAIN
    assert PATIENT_JOURNEYS.column("brand").privacy == PLAIN

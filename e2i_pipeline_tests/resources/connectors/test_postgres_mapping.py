"""PostgreSQL tables with columns of other names, mapped by configuration alone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from e2i_pipeline.domain.privacy import pseudonym
from e2i_pipeline.errors import ConfigurationError, SourceError
from e2i_pipeline.resources.state_folder import StateFolder
from e2i_pipeline_tests.resources.connectors import postgres_source
from e2i_pipeline_tests.resources.connectors.postgres_source import Make, rows, sql

postgres, url, make = postgres_source.postgres, postgres_source.url, postgres_source.make

NOW = datetime(2026, 2, 1, tzinfo=UTC)
VISITS = """CREATE TABLE crm_visits (visit_no bigint, mrn numeric, seen_on text, kind text, price_cents int, email text,
    inserted timestamptz)"""
MAPPING = {
    "treatment_events": {
        "from": "crm_visits",
        "where": "kind <> 'X'",
        "unlisted": "drop",
        "columns": {
            "treatment_event_id": "visit_no",
            "patient_id": "mrn",
            "event_date": {"column": "seen_on", "format": "%d.%m.%Y"},
            "event_type": {"column": "kind", "codes": {"C": "consultation", "L": "lab_test"}},
            "cost": {"sql": "price_cents / 100"},
            "created_at": "inserted",
        },
    }
}


def test_a_table_with_names_of_its_own_is_mapped(make: Make, url: str) -> None:
    sql(
        url,
        VISITS,
        "INSERT INTO crm_visits VALUES (1, 12345678901234567890, '02.01.2024', 'C', 1250, 'p1@example.org', "
        "'2024-01-03Z'), (2, 7.00, '2024-01-05', 'L', 99, NULL, '2024-01-06Z'), "
        "(3, 8, '01.01.2024', 'X', 1, NULL, now())",
    )
    staged = make(tables=MAPPING).stage("treatment_events", NOW)
    assert rows(staged, "event_date::text, event_type, cost, known_at::date::text", "event_type") == [
        ("2024-01-02", "consultation", 12.5, "2024-01-03"),
        (None, "lab_test", 0.99, "2024-01-06"),
    ]
    key = StateFolder(make().state_dir).existing_pseudonym_key()
    patients = {patient for (patient,) in rows(staged, "patient_id")}
    assert patients == {pseudonym(key, "patient", number) for number in ("12345678901234567890", "7")}
    assert [d.rows for d in staged.defects if "event_date" in d.defect and "%d.%m.%Y" in d.defect] == [1]


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"columns": {"treatment_event_id": "_row"}}, {}, "the rows of a database stand in none"),
        ({"columns": {"patient_id": "mnr"}}, {}, "mnr.*mrn"),
        ({"where": "kind IN (SELECT 1)"}, {}, "source.tables.treatment_events.where"),
        ({}, {"mode": "incremental"}, "needs the canonical names in the database itself"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(
    make: Make, url: str, changed: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    sql(url, VISITS)
    mapping = {"treatment_events": MAPPING["treatment_events"] | changed}
    with pytest.raises((ConfigurationError, SourceError), match=message):
        make(tables=mapping, options=options).stage("treatment_events", NOW)

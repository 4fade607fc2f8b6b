"""What OMOP's rows become: the SELECT statement of each canonical table, over the typed rows and the cohort."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from e2i_pipeline.domain import cohorts
from e2i_pipeline.resources.connectors.cohort_tables import Cohort, journey_id, treatment_events_sql
from e2i_pipeline.resources.connectors.omop_eras import INGREDIENTS
from e2i_pipeline.resources.connectors.omop_rows import BOUNDS, CONCEPTS, PERSON, rows_view
from e2i_pipeline.resources.connectors.omop_tables import CLINICAL, DRUG_ERA, PREFIX, Clinical
from e2i_pipeline.resources.connectors.specialties import specialty_sql, sub_specialty_sql
from e2i_pipeline.resources.engine import literal

if TYPE_CHECKING:
    import duckdb

DATA_SOURCE = "OMOP_CDM"

INPATIENT = (9201, 262, 8717, 32037)
"""Visit concepts that are a hospitalization: inpatient visit, emergency room and inpatient visit, inpatient hospital,
intensive care (Athena, domain Visit)."""

GENDERS = {8507: "male", 8532: "female"}
"""OMOP's standard concepts of gender."""


def patient_journeys(connection: "duckdb.DuckDBPyConnection", cohort: Cohort, brand: str, has_providers: bool) -> str:
    """One row per index event.

    Args:
        connection: The connection with the cohort's tables.
        cohort: The cohort.
        brand: Brand of every journey.
        has_providers: Whether the drop has providers.
    """
    genders = " ".join(f"WHEN '{concept}' THEN '{name}'" for concept, name in GENDERS.items())
    (codes,) = connection.execute(f"SELECT count(icd_code) FROM {cohort.table}").fetchone() or (0,)
    columns = [
        f"{journey_id(cohort)} AS patient_journey_id",
        "j.patient_id",
        f"{literal(brand)} AS brand",
        "j.event_date AS journey_start_date",
        *(["j.hcp_id"] if has_providers else []),
        *(["j.icd_code AS primary_diagnosis_code"] if codes else []),
        "coalesce(h.concepts, []) AS comorbidities",
        "CASE WHEN p.birth_year IS NOT NULL THEN greatest(0, year(j.event_date) - p.birth_year - CASE WHEN "
        "(month(j.event_date), day(j.event_date)) < (p.birth_month, p.birth_day) THEN 1 ELSE 0 END) END "
        "AS age_at_diagnosis",
        f"CASE p.gender_concept_id {genders} ELSE p.gender_source_value END AS gender",
        "coalesce(nullif(j.label, ''), CAST(j.concept_id AS VARCHAR)) AS index_condition",
        "j.treatment_initiated",
        "j.days_to_treatment",
        f"'{DATA_SOURCE}' AS data_source",
    ]
    history = (
        "SELECT j.event_id, list(DISTINCT CAST(c.concept_id AS VARCHAR) ORDER BY CAST(c.concept_id AS VARCHAR)) "
        f"AS concepts FROM {cohort.table} j JOIN {_usable('condition_occurrence')} c ON c.patient_id = j.patient_id "
        "AND c.event_date < j.event_date AND c.concept_id <> 0 GROUP BY j.event_id"
    )
    return (
        f"SELECT {', '.join(columns)} FROM {cohort.table} j JOIN {PERSON} p ON p.person_id = j.patient_id "
        f"LEFT JOIN ({history}) h ON h.event_id = j.event_id"
    )


def treatment_events(cohort: Cohort, brand: str, tables: Collection[str]) -> str:
    """One row per usable clinical event of the cohort's patients, over their whole history.

    Args:
        cohort: The cohort.
        brand: Brand of the events that count as treatment.
        tables: The tables that the drop has.
    """
    events = " UNION ALL ".join(_events(table, cohort) for name, table in CLINICAL.items() if name in tables)
    columns = ["hcp_id"] if "provider" in tables else []
    return treatment_events_sql(cohort, brand, events, columns, DATA_SOURCE)


def hcp_profiles() -> str:
    """Providers; OMOP keeps one timeless row of each, which counts as known from its first mention in the data."""
    mentions = " UNION ALL ".join(
        f"SELECT hcp_id, event_date FROM {_usable(table)} WHERE hcp_id IS NOT NULL" for table in CLINICAL
    )
    words = "coalesce(c.concept_name, p.specialty_source_value)"
    return (
        f"SELECT p.provider_id AS hcp_id, {specialty_sql(words)} AS specialty, "
        f"{sub_specialty_sql(words)} AS sub_specialty, "
        f"CAST(coalesce(m.first_date, (SELECT last_known FROM {BOUNDS})) AS TIMESTAMP) AS updated_at "
        f"FROM (SELECT * FROM {PREFIX}provider raw WHERE provider_id IS NOT NULL "
        "QUALIFY row_number() OVER (PARTITION BY provider_id ORDER BY raw) = 1) p "
        f"LEFT JOIN {CONCEPTS} c ON c.concept_id = TRY_CAST(p.specialty_concept_id AS BIGINT) "
        "AND c.concept_id <> 0 "
        f"LEFT JOIN (SELECT hcp_id, min(event_date) AS first_date FROM ({mentions}) GROUP BY hcp_id) m "
        "ON m.hcp_id = p.provider_id"
    )


def _events(table: Clinical, cohort: Cohort) -> str:
    """The usable rows of one clinical table as events."""
    event_type = f"'{table.event_type}'"
    if table.table == "visit_occurrence":
        is_inpatient = cohorts.concepts_sql(INPATIENT, "r.concept_id")
        event_type = f"CASE WHEN {is_inpatient} THEN 'hospitalization' ELSE {event_type} END"
    drug_name = "r.label" if table.table == "drug_exposure" else "CAST(NULL AS VARCHAR)"
    return (
        f"SELECT '{table.table}-' || r.event_id AS treatment_event_id, r.patient_id, r.hcp_id, "
        f"r.event_date, {event_type} AS event_type, r.label AS event_subtype, "
        f"({_is_treatment(table, cohort)}) AS is_treatment, "
        f"{drug_name} AS drug_name, CASE WHEN r.end_date >= r.event_date "
        "THEN date_diff('day', r.event_date, r.end_date) END AS duration_days "
        f"FROM {_usable(table.table)} r"
    )


def _is_treatment(table: Clinical, cohort: Cohort) -> str:
    """The condition that a row is (a part of) what counts as treatment: an exposure is part of its drug's era."""
    treatment = cohort.treatment
    if table.table == treatment.concepts.table:
        return treatment.condition
    if table.table == "drug_exposure" and treatment.concepts.table == DRUG_ERA.table:
        drugs = f"SELECT drug_concept_id, ingredient_concept_id AS concept_id FROM {INGREDIENTS}"
        return f"r.concept_id IN (SELECT drug_concept_id FROM ({drugs}) WHERE {treatment.condition})"
    return "FALSE"


def _usable(table: str) -> str:
    """The rows of a clinical table that are not left out, as a relation."""
    return f"(SELECT * FROM {rows_view(table)} WHERE problem IS NULL)"

"""What Synthea's rows become: the SELECT statement of each canonical table, over the typed rows and the cohort."""

from collections.abc import Collection

from e2i_pipeline.resources.connectors.cohort_tables import Cohort, journey_id, treatment_events_sql
from e2i_pipeline.resources.connectors.specialties import specialty_sql, sub_specialty_sql
from e2i_pipeline.resources.connectors.synthea_rows import BOUNDS, PATIENTS, PROVIDERS, usable
from e2i_pipeline.resources.connectors.synthea_tables import EVENTS, PREFIX, EventTable
from e2i_pipeline.resources.connectors.table_folder import date_sql
from e2i_pipeline.resources.engine import literal

DATA_SOURCE = "Synthea"

INPATIENT = "inpatient"
"""The class of an encounter that is a hospitalization."""


def patient_journeys(cohort: Cohort, brand: str, tables: Collection[str]) -> str:
    """One row per index event.

    Args:
        cohort: The cohort.
        brand: Brand of every journey.
        tables: The tables that the export has.
    """
    has_payers = "payers" in tables
    columns = [
        f"{journey_id(cohort)} AS patient_journey_id",
        "j.patient_id",
        f"{literal(brand)} AS brand",
        "j.event_date AS journey_start_date",
        *(["j.hcp_id"] if "providers" in tables else []),
        "coalesce(h.codes, []) AS comorbidities",
        "greatest(0, date_sub('year', p.birth_date, j.event_date)) AS age_at_diagnosis",
        "CASE upper(p.gender) WHEN 'F' THEN 'female' WHEN 'M' THEN 'male' ELSE lower(p.gender) END AS gender",
        "p.region AS geographic_region",
        "p.state",
        "p.zip_code",
        *([f"{_insurance_sql('y')} AS insurance_type"] if has_payers else []),
        "coalesce(j.label, j.concept_id) AS index_condition",
        "j.treatment_initiated",
        "j.days_to_treatment",
        f"'{DATA_SOURCE}' AS data_source",
    ]
    history = (
        "SELECT j.event_id, list(DISTINCT c.concept_id ORDER BY c.concept_id) AS codes "
        f"FROM {cohort.table} j JOIN {usable('conditions')} c ON c.patient_id = j.patient_id "
        "AND c.event_date < j.event_date AND c.concept_id IS NOT NULL GROUP BY j.event_id"
    )
    return (
        f"SELECT {', '.join(columns)} FROM {cohort.table} j JOIN {PATIENTS} p ON p.patient_id = j.patient_id "
        f"LEFT JOIN ({history}) h ON h.event_id = j.event_id" + (_PAYERS if has_payers else "")
    )


def treatment_events(cohort: Cohort, brand: str, tables: Collection[str]) -> str:
    """One row per usable event of the cohort's patients, over their whole history.

    Args:
        cohort: The cohort.
        brand: Brand of the events that count as treatment.
        tables: The tables that the export has.
    """
    events = " UNION ALL ".join(_events(table, cohort) for name, table in EVENTS.items() if name in tables)
    columns = [
        *(["hcp_id"] if "providers" in tables else []),
        *(["loinc_codes", "lab_values"] if "observations" in tables else []),
        "location_type",
        "facility_id",
        "cost",
    ]
    return treatment_events_sql(cohort, brand, events, columns, DATA_SOURCE)


def hcp_profiles() -> str:
    """Providers in versions: from the first mention on, and one on New Year's Day after each year with new patients.

    The totals in `providers` are those at the end of the simulation and would tell of the future. The volume of a
    version is therefore counted from the encounters: patients seen until then.
    """
    last_known = f"(SELECT last_known FROM {BOUNDS})"
    patients = (
        f"SELECT hcp_id, patient_id, min(event_date) AS first_day FROM {usable('encounters')} "
        "WHERE hcp_id IS NOT NULL GROUP BY hcp_id, patient_id"
    )
    dated = (
        "SELECT hcp_id, CASE WHEN first_day = min(first_day) OVER (PARTITION BY hcp_id) THEN first_day "
        f"ELSE CAST(date_trunc('year', first_day) + INTERVAL 1 YEAR AS DATE) END AS version_date FROM ({patients})"
    )
    versions = (
        "SELECT hcp_id, version_date, CAST(sum(count(*)) OVER (PARTITION BY hcp_id ORDER BY version_date) AS INTEGER) "
        f"AS volume FROM ({dated}) GROUP BY hcp_id, version_date"
    )
    return (
        f"SELECT p.hcp_id, {specialty_sql('p.speciality')} AS specialty, "
        f"{sub_specialty_sql('p.speciality')} AS sub_specialty, p.region AS geographic_region, p.state, p.zip_code, "
        "coalesce(v.volume, 0) AS total_patient_volume, "
        f"CAST(coalesce(v.version_date, {last_known}) AS TIMESTAMP) AS updated_at FROM {PROVIDERS} p "
        f"LEFT JOIN (SELECT * FROM ({versions}) WHERE version_date <= {last_known}) v ON v.hcp_id = p.hcp_id"
    )


def _events(table: EventTable, cohort: Cohort) -> str:
    """The usable rows of one table as events."""
    name, treatment = table.table, cohort.treatment
    event_type = f"'{table.event_type}'"
    if name == "encounters":
        event_type = f"CASE WHEN r.class = '{INPATIENT}' THEN 'hospitalization' ELSE {event_type} END"
    is_treatment = treatment.condition if name == treatment.concepts.table else "FALSE"
    is_lab = table.event_type == "lab_test"
    nothing = "CAST(NULL AS VARCHAR)"
    values = "CAST(json_object('value', r.value, 'unit', r.units) AS VARCHAR)"
    return (
        f"SELECT '{name}-' || r.event_id AS treatment_event_id, r.patient_id, r.hcp_id, r.event_date, "
        f"{event_type} AS event_type, coalesce(r.label, r.concept_id) AS event_subtype, "
        f"({is_treatment}) AS is_treatment, "
        f"{'r.label' if table.event_type == 'prescription' else nothing} AS drug_name, "
        "CASE WHEN NOT r.is_reversed AND r.end_date >= r.event_date "
        "THEN date_diff('day', r.event_date, r.end_date) END AS duration_days, "
        f"{'[r.concept_id]' if is_lab else 'CAST(NULL AS VARCHAR[])'} AS loinc_codes, "
        f"{values if is_lab else nothing} AS lab_values, r.class AS location_type, r.facility_id, r.cost "
        f"FROM {usable(name)} r"
    )


def _year_sql(column: str, day: str) -> str:
    """A date, or the given day of a year that stands alone, as old exports have it."""
    return f"coalesce({date_sql(column)}, TRY_CAST({column} || '-{day}' AS DATE))"


_PAYERS = (
    f" ASOF LEFT JOIN (SELECT patient AS patient_id, {_year_sql('start_date', '01-01')} AS first_day, "
    f"{_year_sql('end_date', '12-31')} AS last_day, payer AS payer_id FROM {PREFIX}payer_transitions raw "
    "WHERE first_day IS NOT NULL QUALIFY row_number() OVER (PARTITION BY patient, first_day ORDER BY raw) = 1) c "
    "ON c.patient_id = j.patient_id AND j.event_date >= c.first_day LEFT JOIN "
    f"(SELECT id, min(name) AS name, min(ownership) AS ownership FROM {PREFIX}payers GROUP BY id) y "
    "ON y.id = CASE WHEN c.payer_id IS NOT NULL AND coalesce(c.last_day >= j.event_date, TRUE) THEN c.payer_id "
    "ELSE j.payer_id END"
)
"""Joins the payer of the index day: by the patient's insurance history, else the index encounter's own."""


def _insurance_sql(alias: str) -> str:
    """The kind of insurance, by the payer's name and, where the export says it, its ownership."""
    name = f"lower(replace({alias}.name, '_', ' '))"
    return (
        f"CASE WHEN {name} IS NULL THEN NULL WHEN {name} = 'no insurance' THEN 'uninsured' "
        f"WHEN {name} IN ('medicare', 'medicaid', 'dual eligible') THEN {name} "
        f"WHEN upper({alias}.ownership) = 'GOVERNMENT' THEN 'government' ELSE 'commercial' END"
    )

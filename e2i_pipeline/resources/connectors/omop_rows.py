"""The typed rows of the OMOP tables, each with the reason for which it is left out, where there is one.

Deciding row by row, once, makes what is left out and what is counted (`omop_defects.py`) the same by construction.
"""

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING

from e2i_pipeline.resources.connectors.omop_eras import create_eras
from e2i_pipeline.resources.connectors.omop_tables import CLINICAL, DRUG_ERA, PREFIX, Clinical
from e2i_pipeline.resources.connectors.table_folder import TableFolder, date_sql, plausible_days

if TYPE_CHECKING:
    import duckdb

BOUNDS = f"{PREFIX}bounds"
"""Temporary table of one row: `last_known`, the latest plausible event date; the data knows of nothing later."""

PERSON = f"{PREFIX}person_rows"
"""View with one row per person: `birth_year` null where it cannot be."""

CONCEPTS = f"{PREFIX}concept_rows"
"""View with one row per concept, `concept_id` as a number."""

PERIODS = (
    f"SELECT person_id AS patient_id, {date_sql('observation_period_start_date')} AS first_day, "
    f"{date_sql('observation_period_end_date')} AS last_day FROM {PREFIX}observation_period"
)
"""The observation periods: `patient_id`, `first_day`, `last_day`."""

EARLIEST_BIRTH_YEAR = 1850
"""Below it a year of birth is a placeholder (OHDSI Data Quality Dashboard, plausibleValueLow of year_of_birth)."""

DAYS_AFTER_DEATH = 60
"""Days after death up to which an event may be recorded (OHDSI Data Quality Dashboard, plausibleBeforeDeath)."""


def rows_view(table: str) -> str:
    """The view with a clinical table's typed rows.

    Its columns: `event_id`, `patient_id`, `event_date`, `end_date`, `last_date` (not before `event_date`), `concept_id`
    (0 where none was found), `source_concept_id`, `source_value`, `provider_id` and `visit_id` (null where 0), `hcp_id`
    (the row's provider or, failing that, its visit's, where `provider` has it), `label` (the concept in words),
    `icd_code`, and `problem`: why the row is left out, null where it is not (see `PROBLEMS` in `omop_defects.py`).
    """
    return f"{PREFIX}{table}_rows"


def create_rows(connection: "duckdb.DuckDBPyConnection", folder: TableFolder, with_eras: bool = False) -> None:
    """Makes the views of typed rows over the views of `TableFolder.open`, and the bounds.

    Args:
        connection: The connection.
        folder: The folder.
        with_eras: Whether drug eras are needed; where the drop has none, they are derived from its exposures.

    Raises:
        SourceError: No clinical row has a date.
    """
    tables = set(folder.files())
    starts = [(f"{PREFIX}{name}", table.start) for name, table in CLINICAL.items()]
    ceiling, latest = plausible_days(connection, folder, starts, "the OMOP folder's clinical tables")
    connection.execute(_concept_view())
    connection.execute(_person_view(latest.year))
    for table in CLINICAL.values():
        connection.execute(_clinical_view(table, ceiling, _has_repeats(connection, table), tables))
    dated = " UNION ALL ".join(
        f"SELECT max(event_date) AS day FROM {rows_view(name)} WHERE problem IS NULL" for name in CLINICAL
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {BOUNDS} AS SELECT max(day) AS last_known FROM ({dated})")
    if with_eras:
        usable = f"(SELECT * FROM {rows_view('drug_exposure')} WHERE problem IS NULL)"
        create_eras(connection, usable, tables)
        connection.execute(_clinical_view(DRUG_ERA, ceiling, _has_repeats(connection, DRUG_ERA), tables))


def _concept_view() -> str:
    return (
        f"CREATE OR REPLACE TEMP VIEW {CONCEPTS} AS "
        "SELECT TRY_CAST(concept_id AS BIGINT) AS concept_id, any_value(concept_name) AS concept_name, "
        "any_value(domain_id) AS domain_id, any_value(vocabulary_id) AS vocabulary_id, "
        "any_value(concept_class_id) AS concept_class_id, "
        f"any_value(concept_code) AS concept_code FROM {PREFIX}concept WHERE concept_id IS NOT NULL GROUP BY 1"
    )


def _person_view(latest_year: int) -> str:
    year = "TRY_CAST(p.year_of_birth AS INTEGER)"
    return (
        f"CREATE OR REPLACE TEMP VIEW {PERSON} AS SELECT p.person_id, p.gender_concept_id, p.gender_source_value, "
        f"CASE WHEN {year} BETWEEN {EARLIEST_BIRTH_YEAR} AND {latest_year} THEN {year} END AS birth_year, "
        "coalesce(TRY_CAST(p.month_of_birth AS INTEGER), 1) AS birth_month, "
        "coalesce(TRY_CAST(p.day_of_birth AS INTEGER), 1) AS birth_day, d.death_date "
        f"FROM (SELECT * FROM {PREFIX}person raw WHERE person_id IS NOT NULL "
        "QUALIFY row_number() OVER (PARTITION BY person_id ORDER BY raw) = 1) p "
        f"LEFT JOIN (SELECT person_id, max({date_sql('death_date')}) AS death_date FROM {PREFIX}death "
        "GROUP BY person_id) d ON d.person_id = p.person_id"
    )


def _has_repeats(connection: "duckdb.DuckDBPyConnection", table: Clinical) -> bool:
    found = connection.execute(
        f"SELECT count({table.key}) > count(DISTINCT {table.key}) FROM {PREFIX}{table.table}"
    ).fetchone()
    return bool(found and found[0])


def _clinical_view(table: Clinical, ceiling: date, has_repeats: bool, tables: Collection[str]) -> str:
    """The statement that makes the view of a table's typed rows; `tables` are those that the drop has."""
    name = f"{PREFIX}{table.table}"
    # a window over all rows is dear, so it is opened only where it finds something
    repeat = f"row_number() OVER (PARTITION BY {table.key} ORDER BY raw)" if has_repeats else "1"
    visit = "NULL" if table.table == "visit_occurrence" else "nullif(visit_occurrence_id, '0')"
    days_supply = "TRY_CAST(days_supply AS INTEGER)" if table.table == "drug_exposure" else "NULL"
    typed = (
        f"SELECT {table.key} AS event_id, person_id AS patient_id, {table.start} IS NULL AS is_undated, "
        f"{date_sql(table.start)} AS event_date, {date_sql(table.end) if table.end else 'CAST(NULL AS DATE)'} "
        f"AS end_date, coalesce(TRY_CAST({table.concept} AS BIGINT), 0) AS concept_id, "
        f"TRY_CAST({table.source_concept or 'NULL'} AS BIGINT) AS source_concept_id, {table.source_value or 'NULL'} "
        f"AS source_value, nullif(provider_id, '0') AS provider_id, {visit} AS visit_id, "
        f"{days_supply} AS days_supply, {repeat} AS occurrence FROM {name} raw"
    )
    has_providers = "provider" in tables and table is not DRUG_ERA
    return (
        f"CREATE OR REPLACE TEMP VIEW {rows_view(table.table)} AS SELECT r.*, "
        "greatest(r.event_date, r.end_date) AS last_date, "
        "coalesce(c.concept_name, CASE WHEN r.concept_id <> 0 THEN CAST(r.concept_id AS VARCHAR) END, s.concept_name, "
        f"r.source_value) AS label, {_icd_sql(table, 'concept' in tables)} AS icd_code, "
        f"{'coalesce(own.provider_id, met.provider_id)' if has_providers else 'CAST(NULL AS VARCHAR)'} AS hcp_id, "
        f"{_problem_sql(table, ceiling)} "
        f"AS problem FROM ({typed}) r LEFT JOIN {PERSON} p ON p.person_id = r.patient_id "
        f"LEFT JOIN {CONCEPTS} c ON c.concept_id = r.concept_id AND r.concept_id <> 0 "
        f"LEFT JOIN {CONCEPTS} s ON s.concept_id = r.source_concept_id AND r.source_concept_id <> 0"
        + (_CONDITION_COPIES if table.table == "drug_exposure" else "")
        + (_PROVIDERS_MET if has_providers else "")
    )


_PROVIDERS_MET = (
    f" LEFT JOIN (SELECT DISTINCT provider_id FROM {PREFIX}provider) own ON own.provider_id = r.provider_id "
    "LEFT JOIN (SELECT v.visit_occurrence_id, min(v.provider_id) AS provider_id "
    f"FROM {PREFIX}visit_occurrence v SEMI JOIN {PREFIX}provider k ON k.provider_id = v.provider_id "
    "GROUP BY v.visit_occurrence_id) met ON met.visit_occurrence_id = r.visit_id"
)
"""Joins the providers that `provider` has: the row's own, and the one of the row's visit."""


def _icd_sql(table: Clinical, has_concepts: bool) -> str:
    """The row's ICD-10 code; by the vocabulary where there is one, else by its shape, for conditions only."""
    if table.table != "condition_occurrence":
        return "CAST(NULL AS VARCHAR)"
    if has_concepts:
        return "CASE WHEN s.vocabulary_id IN ('ICD10CM', 'ICD10') THEN s.concept_code END"
    shape = "[A-TV-Z][0-9][0-9AB]([.][0-9A-TV-Z]{1,4})?"
    return f"CASE WHEN regexp_full_match(r.source_value, '{shape}') THEN r.source_value END"


_CONDITION_COPIES = (
    f" LEFT JOIN (SELECT DISTINCT person_id, condition_source_value AS code, {date_sql('condition_start_date')} AS day "
    f"FROM {PREFIX}condition_occurrence) k ON r.concept_id = 0 AND k.person_id = r.patient_id "
    "AND k.code = r.source_value AND k.day = r.event_date"
)
"""Joins a drug row without a concept to the condition row of the same person, code and day: a copy of it is no drug."""


def _problem_sql(table: Clinical, ceiling: date) -> str:
    """The first reason for which a row is left out; null where it is not."""
    reasons = [
        ("r.event_id IS NULL", "no_key"),
        ("r.occurrence > 1", "repeated_key"),
        ("p.person_id IS NULL", "unknown_person"),
        ("r.is_undated", "no_date"),
        ("r.event_date IS NULL", "unreadable_date"),
        (f"r.event_date > DATE '{ceiling}'", "after_writing"),
        ("year(r.event_date) < p.birth_year", "before_birth"),
        (f"r.event_date > p.death_date + {DAYS_AFTER_DEATH}", "after_death"),
    ]
    if table.table == "drug_exposure":
        reasons.insert(0, ("k.person_id IS NOT NULL", "condition_copy"))
        reasons.insert(0, ("r.concept_id = 0 AND s.domain_id = 'Condition'", "condition_code"))
    return "CASE " + " ".join(f"WHEN {reason} THEN '{name}'" for reason, name in reasons) + " END"

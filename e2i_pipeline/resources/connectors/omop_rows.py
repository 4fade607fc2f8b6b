"""The typed rows of the OMOP tables, each with the reason for which it is left out, where there is one.

Deciding row by row, once, makes what is left out and what is counted (`omop_defects.py`) the same by construction.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from e2i_pipeline.errors import SourceError
from e2i_pipeline.resources.connectors.omop_tables import CLINICAL, PREFIX, Clinical, OmopFolder

if TYPE_CHECKING:
    import duckdb

BOUNDS = f"{PREFIX}bounds"
"""Temporary table of one row: `last_known`, the latest plausible event date; the data knows of nothing later."""

PERSON = f"{PREFIX}person_rows"
"""View with one row per person: `birth_year` null where it cannot be."""

CONCEPTS = f"{PREFIX}concept_rows"
"""View with one row per concept, `concept_id` as a number."""

EARLIEST_BIRTH_YEAR = 1850
"""Below it a year of birth is a placeholder (OHDSI Data Quality Dashboard, plausibleValueLow of year_of_birth)."""

DAYS_AFTER_DEATH = 60
"""Days after death up to which an event may be recorded (OHDSI Data Quality Dashboard, plausibleBeforeDeath)."""

_CREDIBLE_SHARE = 0.01  # of rows after the files were written; with more, it is the files' times that are wrong


def rows_view(table: str) -> str:
    """The view with a clinical table's typed rows.

    Its columns: `event_id`, `patient_id`, `event_date`, `end_date`, `concept_id` (0 where none was found),
    `source_concept_id`, `source_value`, `provider_id` and `visit_id` (null where 0), `label` (the concept in words),
    `icd_code`, and `problem`: why the row is left out, null where it is not (see `PROBLEMS` in `omop_defects.py`).
    """
    return f"{PREFIX}{table}_rows"


def create_rows(connection: "duckdb.DuckDBPyConnection", folder: OmopFolder) -> None:
    """Makes the views of typed rows over the views of `OmopFolder.open`, and the bounds.

    Raises:
        SourceError: No clinical row has a date.
    """
    files = folder.files()
    ceiling, latest = _plausible_days(connection, files)
    connection.execute(_concept_view())
    connection.execute(_person_view(latest.year))
    for table in CLINICAL.values():
        connection.execute(_clinical_view(table, ceiling, _has_repeats(connection, table), "concept" in files))
    dated = " UNION ALL ".join(
        f"SELECT max(event_date) AS day FROM {rows_view(name)} WHERE problem IS NULL" for name in CLINICAL
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {BOUNDS} AS SELECT max(day) AS last_known FROM ({dated})")


def date_sql(column: str) -> str:
    """A text as a date: ISO dates, timestamps, and eight digits; null where it is none of these."""
    return f"coalesce(TRY_CAST({column} AS DATE), CAST(try_strptime({column}, '%Y%m%d') AS DATE))"


def _plausible_days(connection: "duckdb.DuckDBPyConnection", files: Mapping[str, Sequence[Path]]) -> tuple[date, date]:
    """The last day on which an event can have happened, and the latest day up to it on which one did.

    A file cannot tell of what happened after it was written (a day of grace, for time zones). Where more than one row
    in a hundred claims to, the file's time was set by a copying tool, and is not believed.
    """
    written = max(file.stat().st_mtime for paths in files.values() for file in paths)
    ceiling = datetime.fromtimestamp(written, tz=UTC).date() + timedelta(days=1)
    dates = " UNION ALL ".join(
        f"SELECT {date_sql(table.start)} AS day FROM {PREFIX}{name}" for name, table in CLINICAL.items()
    )
    of_days, later, latest, last = connection.execute(
        f"SELECT count(day), count(*) FILTER (day > DATE '{ceiling}'), max(day) FILTER (day <= DATE '{ceiling}'), "
        f"max(day) FROM ({dates})"
    ).fetchone() or (0, 0, None, None)
    if last is None:
        raise SourceError(
            "No row of the OMOP folder's clinical tables has a readable event date. Dates must be ISO (2019-01-31) or "
            "eight digits (20190131)."
        )
    if latest is None or later > _CREDIBLE_SHARE * of_days:
        return date.max, last
    return ceiling, latest


def _concept_view() -> str:
    return (
        f"CREATE OR REPLACE TEMP VIEW {CONCEPTS} AS "
        "SELECT TRY_CAST(concept_id AS BIGINT) AS concept_id, any_value(concept_name) AS concept_name, "
        "any_value(domain_id) AS domain_id, any_value(vocabulary_id) AS vocabulary_id, "
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


def _clinical_view(table: Clinical, ceiling: date, has_repeats: bool, has_concepts: bool) -> str:
    name = f"{PREFIX}{table.table}"
    # a window over all rows is dear, so it is opened only where it finds something
    repeat = f"row_number() OVER (PARTITION BY {table.key} ORDER BY raw)" if has_repeats else "1"
    visit = "NULL" if table.table == "visit_occurrence" else "nullif(visit_occurrence_id, '0')"
    typed = (
        f"SELECT {table.key} AS event_id, person_id AS patient_id, {table.start} IS NULL AS is_undated, "
        f"{date_sql(table.start)} AS event_date, {date_sql(table.end) if table.end else 'CAST(NULL AS DATE)'} "
        f"AS end_date, coalesce(TRY_CAST({table.concept} AS BIGINT), 0) AS concept_id, "
        f"TRY_CAST({table.source_concept} AS BIGINT) AS source_concept_id, {table.source_value or 'NULL'} "
        f"AS source_value, nullif(provider_id, '0') AS provider_id, {visit} AS visit_id, {repeat} AS occurrence "
        f"FROM {name} raw"
    )
    return (
        f"CREATE OR REPLACE TEMP VIEW {rows_view(table.table)} AS SELECT r.*, "
        "coalesce(c.concept_name, CASE WHEN r.concept_id <> 0 THEN CAST(r.concept_id AS VARCHAR) END, s.concept_name, "
        f"r.source_value) AS label, {_icd_sql(table, has_concepts)} AS icd_code, {_problem_sql(table, ceiling)} "
        f"AS problem FROM ({typed}) r LEFT JOIN {PERSON} p ON p.person_id = r.patient_id "
        f"LEFT JOIN {CONCEPTS} c ON c.concept_id = r.concept_id AND r.concept_id <> 0 "
        f"LEFT JOIN {CONCEPTS} s ON s.concept_id = r.source_concept_id AND r.source_concept_id <> 0"
        + (_CONDITION_COPIES if table.table == "drug_exposure" else "")
    )


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

"""The typed rows of the Synthea tables, each with the reason for which it is left out, where there is one.

Deciding row by row, once, makes what is left out and what is counted (`synthea_defects.py`) the same by construction.

Times are UTC and days are taken from them; a condition has a day only, that of the place where the patient lives. One
dated the day before its encounter is therefore put on the encounter's day: else a diagnosis of the index day, or of
the outcome's, would stand before it and be seen by the features.
"""

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING

from e2i_pipeline.domain.us_states import region_sql, state_code_sql
from e2i_pipeline.resources.connectors.synthea_tables import EVENTS, PREFIX, EventTable
from e2i_pipeline.resources.connectors.table_folder import TableFolder, date_sql, plausible_days

if TYPE_CHECKING:
    import duckdb

BOUNDS = f"{PREFIX}bounds"
"""Temporary table of one row: `last_known`, the latest plausible event date; the data knows of nothing later."""

PATIENTS = f"{PREFIX}patient_rows"
"""Temporary table with one row per patient: `patient_id`, `birth_date`, `death_date`, `gender`, `state`, `region`,
`zip_code`."""

PROVIDERS = f"{PREFIX}provider_rows"
"""Temporary table with one row per provider: `hcp_id`, `speciality`, `state`, `region`, `zip_code`."""

MET = f"{PREFIX}met"
"""Temporary table with one row per encounter: `encounter_id`, `met_date`, `class`, `hcp_id`, `facility_id`,
`payer_id`."""

PERIODS = f"{PREFIX}periods"
"""View of the observation periods, from a patient's first encounter to the last, as OHDSI's ETL-Synthea takes them:
`patient_id`, `first_day`, `last_day`."""

DAYS_AFTER_DEATH = 60
"""Days after death up to which an event may be recorded (OHDSI Data Quality Dashboard, plausibleBeforeDeath)."""

NO_MEASUREMENTS = ("QALY", "DALY", "QOLS")
"""Codes under which the simulation records its own scores of a life."""

_MEASURED = ("laboratory", "vital-signs")

_FOREVER = "DATE '9999-12-31'"


def rows_view(table: str) -> str:
    """The view with an event table's typed rows.

    Its columns: `event_id`, `patient_id`, `event_date`, `end_date`, `last_date` (not before `event_date`), `concept_id`
    (the code), `class` (of the encounter), `label` (the code in words), `encounter_id`, `hcp_id`, `facility_id`,
    `payer_id`, `cost`, `value`, `units`, what was odd about it (`is_open`, `is_reversed`, `is_shifted`,
    `is_without_encounter`, `is_after_death`), and `problem`: why the row is left out, null where it is not (see
    `PROBLEMS` in `synthea_defects.py`).
    """
    return f"{PREFIX}{table}_rows"


def usable(table: str) -> str:
    """The rows of an event table that are not left out, as a relation."""
    return f"(SELECT * FROM {rows_view(table)} WHERE problem IS NULL)"


def create_rows(connection: "duckdb.DuckDBPyConnection", folder: TableFolder) -> None:
    """Makes the views of typed rows over the views of `TableFolder.open`, and the bounds.

    Raises:
        SourceError: No event has a date.
    """
    tables = set(folder.files())
    starts = [(f"{PREFIX}{name}", table.start) for name, table in EVENTS.items()]
    ceiling, _ = plausible_days(connection, folder, starts, "the Synthea folder's tables")
    has_repeats = {name: _has_repeats(connection, table) for name, table in EVENTS.items()}
    # Tables, since each view of events joins them.
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {PATIENTS} AS {_patients_sql()}")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {PROVIDERS} AS {_providers_sql()}")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {MET} AS {_met_sql(tables, has_repeats['encounters'])}")
    for table in EVENTS.values():
        rows = _rows_sql(table, ceiling, has_repeats[table.table])
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {rows_view(table.table)} AS {rows}")
    days = " UNION ALL ".join(f"SELECT max(event_date) AS day FROM {usable(name)}" for name in EVENTS)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {BOUNDS} AS SELECT max(day) AS last_known FROM ({days})")
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW {PERIODS} AS SELECT patient_id, min(event_date) AS first_day, "
        f"max(last_date) AS last_day FROM {usable('encounters')} GROUP BY patient_id"
    )


def zip_sql(column: str) -> str:
    """A postal code as five digits: without the four that may follow, with a leading 0 that a tool dropped."""
    digits = f"replace({column}, '-', '')"
    return (
        f"CASE WHEN regexp_full_match({digits}, '0*') THEN NULL "
        f"WHEN regexp_full_match({digits}, '[0-9]{{3,5}}') THEN lpad({digits}, 5, '0') "
        f"WHEN regexp_full_match({digits}, '[0-9]{{8,9}}') THEN left(lpad({digits}, 9, '0'), 5) END"
    )


def _patients_sql() -> str:
    return (
        f"SELECT *, {region_sql('state')} AS region FROM (SELECT id AS patient_id, {date_sql('birthdate')} "
        f"AS birth_date, {date_sql('deathdate')} AS death_date, gender, {state_code_sql('state')} AS state, "
        f"{zip_sql('zip')} AS zip_code FROM (SELECT * FROM {PREFIX}patients raw WHERE id IS NOT NULL "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY raw) = 1))"
    )


def _providers_sql() -> str:
    return (
        f"SELECT *, {region_sql('state')} AS region FROM (SELECT id AS hcp_id, speciality, "
        f"{state_code_sql('state')} AS state, {zip_sql('zip')} AS zip_code FROM "
        f"(SELECT * FROM {PREFIX}providers raw WHERE id IS NOT NULL "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY raw) = 1))"
    )


def _met_sql(tables: Collection[str], has_repeats: bool) -> str:
    """Encounters as other rows refer to them; a provider that `providers` does not have is none."""
    known = f"p.hcp_id FROM {{}} e LEFT JOIN {PROVIDERS} p ON p.hcp_id = e.provider"
    unknown = "CAST(NULL AS VARCHAR) AS hcp_id FROM {} e"
    first = "QUALIFY row_number() OVER (PARTITION BY id ORDER BY raw) = 1" if has_repeats else ""
    raw = f"(SELECT * FROM {PREFIX}encounters raw WHERE id IS NOT NULL {first})"
    joined = (known if "providers" in tables else unknown).format(raw)
    return (
        f"SELECT e.id AS encounter_id, {date_sql('e.start')} AS met_date, lower(e.encounterclass) AS class, "
        f"e.organization AS facility_id, e.payer AS payer_id, {joined}"
    )


def _has_repeats(connection: "duckdb.DuckDBPyConnection", table: EventTable) -> bool:
    """Whether two rows have one key; a window over all rows is dear, so it is opened only where it finds something."""
    found = connection.execute(
        f"SELECT count(*) > count(DISTINCT ({_identity(table)})) FROM {PREFIX}{table.table} raw "
        f"WHERE {f'raw.{table.key} IS NOT NULL' if table.key else 'TRUE'}"
    ).fetchone()
    return bool(found and found[0])


def _identity(table: EventTable) -> str:
    """What tells rows apart: the primary key, or what the row is about."""
    if table.key:
        return f"raw.{table.key}"
    columns = ("patient", "encounter", "code", table.start)
    return ", ".join(f"coalesce(raw.{column}, '')" for column in columns)


def _rows_sql(table: EventTable, ceiling: date, has_repeats: bool) -> str:
    stop = f"raw.{table.stop}" if table.stop else "CAST(NULL AS VARCHAR)"
    cost = f"TRY_CAST(raw.{table.cost} AS DOUBLE)" if table.cost else "CAST(NULL AS DOUBLE)"
    encounter = "raw.id" if table.key else "raw.encounter"
    number = f"row_number() OVER (PARTITION BY {_identity(table)} ORDER BY raw)" if has_repeats else "1"
    is_measured = table.table == "observations"
    typed = (
        f"SELECT {_event_id(table, number)} AS event_id, raw.patient AS patient_id, "
        f"{date_sql(f'raw.{table.start}')} AS day, {date_sql(stop)} AS stop_day, "
        f"raw.{table.start} IS NULL AS is_undated, length(raw.{table.start}) <= 10 AS has_day_only, "
        f"{stop} IS NULL AS is_open, "
        f"coalesce(TRY_CAST({stop} AS TIMESTAMP) < TRY_CAST(raw.{table.start} AS TIMESTAMP), FALSE) AS is_reversed, "
        f"raw.code AS concept_id, raw.description AS label, {encounter} AS encounter_id, {cost} AS cost, "
        f"{'raw.value' if is_measured else 'CAST(NULL AS VARCHAR)'} AS value, "
        f"{'raw.units' if is_measured else 'CAST(NULL AS VARCHAR)'} AS units, "
        f"{_is_no_measurement() if is_measured else 'FALSE'} AS is_no_measurement, {number} AS occurrence "
        f"FROM {PREFIX}{table.table} raw"
    )
    placed = (
        "SELECT r.*, m.class, m.hcp_id, m.facility_id, m.payer_id, m.encounter_id IS NULL AS is_without_encounter, "
        "coalesce(r.has_day_only AND m.met_date = r.day + 1, FALSE) AS is_shifted "
        f"FROM ({typed}) r LEFT JOIN {MET} m ON m.encounter_id = r.encounter_id"
    )
    dated = (
        "SELECT *, CASE WHEN is_shifted THEN day + 1 ELSE day END AS event_date, "
        "CASE WHEN is_shifted THEN greatest(stop_day, day + 1) ELSE stop_day END AS end_date "
        f"FROM ({placed})"
    )
    last = (
        f"CASE WHEN is_open THEN {_FOREVER} ELSE greatest(event_date, end_date) END"
        if table.goes_on
        else ("greatest(event_date, end_date)")
    )
    return (
        f"SELECT e.*, {last} AS last_date, coalesce(e.event_date > p.death_date, FALSE) AS is_after_death, "
        f"{_problem_sql(table, ceiling)} AS problem FROM ({dated}) e "
        f"LEFT JOIN {PATIENTS} p ON p.patient_id = e.patient_id"
    )


def _event_id(table: EventTable, number: str) -> str:
    """The primary key where there is one; else what the row is about, numbered among rows that are about the same."""
    return _identity(table) if table.key else f"concat_ws('/', {_identity(table)}, {number})"


def _is_no_measurement() -> str:
    codes, measured = (", ".join(f"'{name}'" for name in names) for names in (NO_MEASUREMENTS, _MEASURED))
    return f"coalesce(raw.code IN ({codes}), FALSE) OR coalesce(lower(raw.category) NOT IN ({measured}), FALSE)"


def _problem_sql(table: EventTable, ceiling: date) -> str:
    """The first reason for which a row is left out; null where it is not."""
    reasons = [
        ("e.event_id IS NULL", "no_key"),
        ("e.occurrence > 1", "repeated_key"),
        ("p.patient_id IS NULL", "unknown_patient"),
        ("e.is_undated", "no_date"),
        ("e.event_date IS NULL", "unreadable_date"),
        (f"e.event_date > DATE '{ceiling}'", "after_writing"),
        ("e.event_date < p.birth_date", "before_birth"),
        (f"e.event_date > p.death_date + {DAYS_AFTER_DEATH}", "after_death"),
        ("e.is_no_measurement", "no_measurement"),
    ]
    if not table.key:
        reasons = [reason for reason in reasons if reason[1] not in ("no_key", "repeated_key")]
    return "CASE " + " ".join(f"WHEN {reason} THEN '{name}'" for reason, name in reasons) + " END"

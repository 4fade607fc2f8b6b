"""What is wrong with an OMOP drop, counted, with what was done about it.

Which rows are left out is decided in `omop_rows.py`, row by row; here they are only counted. A kind of defect that
does not occur gives no line.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.domain.landing import DROPPED
from e2i_pipeline.domain.privacy import direct_kind
from e2i_pipeline.resources.connectors.counting import Defect, counted, first_value
from e2i_pipeline.resources.connectors.omop_rows import (
    BOUNDS,
    CONCEPTS,
    DAYS_AFTER_DEATH,
    EARLIEST_BIRTH_YEAR,
    PERIODS,
    PERSON,
    rows_view,
)
from e2i_pipeline.resources.connectors.omop_tables import CLINICAL, PREFIX, Clinical, cdm_version
from e2i_pipeline.resources.connectors.specialties import is_known_sql
from e2i_pipeline.resources.connectors.table_folder import date_sql
from e2i_pipeline.resources.engine import quoted

if TYPE_CHECKING:
    import duckdb

EARLIEST_PLAUSIBLE_YEAR = 1930
"""Events before it are older than any electronic record; in a generated or reconstructed history they may stand."""


PROBLEMS: dict[str, Defect] = {
    name: Defect(words, f"problem = '{name}'", treatment)
    for name, words, treatment in (
        (
            "condition_code",
            "no drug concept, and the source code is a condition's",
            "left out: not a drug, so neither a prescription nor a treatment",
        ),
        (
            "condition_copy",
            "no drug concept, and a condition row has the same person, code and day",
            "left out: a copy of the condition row, which stays",
        ),
        ("no_key", "no primary key", "left out: the row cannot be named"),
        ("repeated_key", "the primary key is repeated", "left out: the first row of each key stays"),
        ("unknown_person", "the person is not in person", "left out: belongs to no patient"),
        ("no_date", "no event date", "left out: cannot be placed in time"),
        ("unreadable_date", "the event date cannot be read", "left out: cannot be placed in time"),
        ("after_writing", "dated after the files were written", "left out: cannot have happened"),
        ("before_birth", "dated before the person's year of birth", "left out: cannot have happened"),
        ("after_death", f"dated more than {DAYS_AFTER_DEATH} days after death", "left out: cannot have happened"),
    )
}
"""Why a row is left out, by the name in the column `problem`."""

_PERSON_DEFECTS = (
    Defect("no person_id", "person_id IS NULL", "left out: cannot be named"),
    Defect(
        "person_id is repeated",
        "person_id IS NOT NULL AND occurrence > 1",
        "left out: the first row of each person stays",
    ),
    Defect(
        f"year of birth is missing, before {EARLIEST_BIRTH_YEAR} or after the last event in the data",
        f"coalesce(TRY_CAST(year_of_birth AS INTEGER) NOT BETWEEN {EARLIEST_BIRTH_YEAR} "
        f"AND (SELECT year(last_known) FROM {BOUNDS}), TRUE)",
        "corrected: the age is null",
    ),
    Defect(
        "gender concept is neither male nor female",
        "coalesce(gender_concept_id NOT IN ('8507', '8532'), TRUE)",
        "kept, with the source's own value",
    ),
    Defect(
        "provider_id is empty or 0",
        "coalesce(provider_id, '0') = '0'",
        "kept: no health-care professional can be named",
    ),
    Defect(
        "without an observation period",
        f"person_id NOT IN (SELECT person_id FROM {PREFIX}observation_period WHERE person_id IS NOT NULL)",
        "kept: the cohort rests on recorded events; without an index event the person is no patient of it",
    ),
)

_PERIOD_DEFECTS = (
    Defect(
        "begins or ends on a day that cannot be read, or ends before it begins",
        f"coalesce({date_sql('observation_period_start_date')} > {date_sql('observation_period_end_date')}, TRUE)",
        "kept: covers no day where the cohort asks for observation",
    ),
    Defect("the person is not in person", f"person_id NOT IN (SELECT person_id FROM {PERSON})", "left out"),
)

_PROVIDER_DEFECTS = (
    Defect("no provider_id", "provider_id IS NULL", "left out: cannot be named"),
    Defect(
        "provider_id is repeated",
        "provider_id IS NOT NULL AND occurrence > 1",
        "left out: the first row of each provider stays",
    ),
    Defect(
        "no specialty",
        "coalesce(specialty_concept_id, '0') = '0' AND specialty_source_value IS NULL",
        "kept, without a specialty",
    ),
    Defect(
        "the specialty is none that the platform knows",
        f"NOT {is_known_sql('specialty')}",
        "corrected: other, with its own words as sub_specialty",
    ),
)

_VISIT_DEFECTS = (
    Defect("without a visit", "visit_id IS NULL", "kept: the visit is not needed"),
    Defect(
        "the visit is not in visit_occurrence",
        f"visit_id NOT IN (SELECT visit_occurrence_id FROM {PREFIX}visit_occurrence "
        "WHERE visit_occurrence_id IS NOT NULL)",
        "kept: the visit is not needed",
    ),
)

_OUTSIDE_PERIODS = Defect(
    "dated outside the person's observation periods",
    f"problem IS NULL AND patient_id IN (SELECT person_id FROM {PREFIX}observation_period) AND NOT EXISTS "
    f"(SELECT 1 FROM ({PERIODS}) o WHERE o.patient_id = t.patient_id "
    "AND event_date BETWEEN o.first_day AND o.last_day)",
    "kept: the cohort rests on recorded events, not on observation periods",
)


def clinical(connection: "duckdb.DuckDBPyConnection", table: Clinical, has_providers: bool) -> tuple[DefectCount, ...]:
    """The defects of one clinical table.

    Args:
        connection: The connection with the views.
        table: The table.
        has_providers: Whether the drop has providers, which rows can name wrongly.
    """
    rows = rows_view(table.table)
    first = connection.execute(f"SELECT year(min(event_date)) FROM {rows} WHERE problem IS NULL").fetchone()
    kinds = [
        _no_concept(table),
        *(defect for name, defect in PROBLEMS.items() if _occurs_in(name, table)),
        *(_VISIT_DEFECTS if table.table not in ("visit_occurrence", "drug_era") else ()),
        *(_provider_kinds(has_providers) if table.table != "drug_era" else ()),
        Defect("ends before it starts", "end_date < event_date", "corrected: the duration is null"),
        Defect(
            f"dated before {EARLIEST_PLAUSIBLE_YEAR}, from {first[0] if first else None} on",
            f"problem IS NULL AND year(event_date) < {EARLIEST_PLAUSIBLE_YEAR}",
            "kept: not before the person's year of birth",
        ),
        _OUTSIDE_PERIODS,
    ]
    return (
        *counted(connection, table.table, rows, kinds),
        *_duplicates(connection, table),
        *_direct(connection, table.table),
    )


def persons(connection: "duckdb.DuckDBPyConnection", cohort: str, window_days: int) -> tuple[DefectCount, ...]:
    """The defects of person, observation_period and concept, and of the cohort's follow-up.

    Args:
        connection: The connection with the views.
        cohort: The cohort's table: `patient_id`, `event_date`, `treatment_initiated`.
        window_days: Length of the outcome window in days.
    """
    lost = Defect(
        "untreated journeys whose observation ends inside the outcome window",
        "treatment_initiated = 0 AND (SELECT max(o.last_day) "
        f"FROM ({PERIODS}) o WHERE o.patient_id = t.patient_id) < event_date + {window_days}",
        "kept as untreated: treatment after the observation's end would not have been seen",
    )
    return (
        *counted(connection, "person", _numbered("person", "person_id"), _PERSON_DEFECTS),
        *counted(connection, "observation_period", f"{PREFIX}observation_period", _PERIOD_DEFECTS),
        *counted(connection, "observation_period", cohort, [lost]),
        *_direct(connection, "person"),
        *_vocabulary(connection),
    )


def providers(connection: "duckdb.DuckDBPyConnection") -> tuple[DefectCount, ...]:
    """The defects of provider."""
    words = (
        f"SELECT r.*, coalesce(c.concept_name, r.specialty_source_value) AS specialty FROM "
        f"{_numbered('provider', 'provider_id')} r LEFT JOIN {CONCEPTS} c "
        "ON c.concept_id = TRY_CAST(r.specialty_concept_id AS BIGINT) AND c.concept_id <> 0"
    )
    return (*counted(connection, "provider", f"({words})", _PROVIDER_DEFECTS), *_direct(connection, "provider"))


def version(connection: "duckdb.DuckDBPyConnection", columns: Mapping[str, tuple[str, ...]]) -> tuple[DefectCount, ...]:
    """Which version of the CDM was found: by its columns, and as `cdm_source` says; nothing where neither tells.

    Args:
        connection: The connection with the views.
        columns: Columns of the tables that are there.
    """
    found = cdm_version(columns)
    row = connection.execute(f"SELECT min(cdm_version) FROM {PREFIX}cdm_source").fetchone()
    # The text is the source's own: only what looks like a version is repeated.
    said = re.search(r"5\.[0-9]", row[0] or "") if row else None
    words = [f"OMOP CDM {found} by its columns"] if found else []
    words += [f"OMOP CDM {said[0]} by cdm_source"] if said else []
    if not words:
        return ()
    is_odd = bool(found and said and found != said[0])
    treatment = "kept: read by its columns" if is_odd else "kept: 5.3 and 5.4 are read alike"
    return (DefectCount(table="cdm_source", defect=", ".join(words), rows=0, of_rows=0, treatment=treatment),)


def _provider_kinds(has_providers: bool) -> tuple[Defect, ...]:
    if not has_providers:
        missing = "kept: no health-care professional can be named"
        return (Defect("provider_id is empty or 0", "provider_id IS NULL", missing),)
    instead = "the visit's provider where it has a valid one, else none"
    return (
        Defect("provider_id is empty or 0", "provider_id IS NULL", f"corrected: {instead}"),
        Defect(
            "the provider is not in provider",
            f"provider_id NOT IN (SELECT provider_id FROM {PREFIX}provider WHERE provider_id IS NOT NULL)",
            f"corrected: {instead}",
        ),
    )


def _direct(connection: "duckdb.DuckDBPyConnection", table: str) -> tuple[DefectCount, ...]:
    """Columns of the file that identify a person by themselves: delivered, and never read."""
    file = f"{PREFIX}{table}_file"
    names = [name for name, *_ in connection.execute(f"DESCRIBE {file}").fetchall() if direct_kind(name)]
    kinds = [
        Defect(f"{name}: a direct identifier", f"trim(CAST({quoted(name)} AS VARCHAR)) <> ''", DROPPED)
        for name in names
    ]
    return counted(connection, table, file, kinds)


def _no_concept(table: Clinical) -> Defect:
    treatment = (
        "left out where the code is a condition's (counted apart), kept under the source code elsewhere; never a "
        "treatment"
        if table.table == "drug_exposure"
        else "kept under the source code; never an index event"
    )
    return Defect(f"no standard concept ({table.concept} 0)", "concept_id = 0", treatment)


def _occurs_in(problem: str, table: Clinical) -> bool:
    return table.table == "drug_exposure" or not problem.startswith("condition_")


def _numbered(table: str, key: str) -> str:
    return f"(SELECT *, row_number() OVER (PARTITION BY {key}) AS occurrence FROM {PREFIX}{table})"


def _duplicates(connection: "duckdb.DuckDBPyConnection", table: Clinical) -> tuple[DefectCount, ...]:
    """Rows equal to another in every column of the file but the key: two doses of a day look the same."""
    file = f"{PREFIX}{table.table}_file"
    of_rows = first_value(connection, f"SELECT count(*) FROM {file}")
    rows = first_value(connection, f"SELECT count(*) FROM (SELECT DISTINCT * FROM {file})")
    distinct = first_value(connection, f"SELECT count(*) FROM (SELECT DISTINCT * EXCLUDE ({table.key}) FROM {file})")
    if rows == distinct:
        return ()
    return (
        DefectCount(
            table=table.table,
            defect="equal to another row in all but the primary key",
            rows=rows - distinct,
            of_rows=of_rows,
            treatment="kept: each has a key of its own, and two events of one day can be alike",
        ),
    )


def _vocabulary(connection: "duckdb.DuckDBPyConnection") -> tuple[DefectCount, ...]:
    """Concepts that clinical rows use and the concept table, where there is one, does not hold."""
    held = first_value(connection, f"SELECT count(*) FROM {CONCEPTS}")
    used = " UNION ".join(
        f"SELECT {column} AS concept_id FROM {rows_view(table)} WHERE {column} <> 0"
        for table in CLINICAL
        for column in ("concept_id", "source_concept_id")
    )
    unknown = f"(SELECT concept_id NOT IN (SELECT concept_id FROM {CONCEPTS}) AS is_unknown FROM ({used}))"
    if not held:
        return ()
    words = f"concepts that clinical rows use and the vocabulary, a subset of {held} concepts, does not hold"
    return counted(connection, "concept", unknown, [Defect(words, "is_unknown", "kept, without a name")])

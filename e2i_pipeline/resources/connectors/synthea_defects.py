"""What is wrong with a Synthea export, counted, with what was done about it.

Which rows are left out is decided in `synthea_rows.py`, row by row; here they are only counted. A kind of defect that
does not occur gives no line.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.domain.landing import DROPPED
from e2i_pipeline.domain.privacy import direct_kind
from e2i_pipeline.domain.us_states import STATES
from e2i_pipeline.resources.connectors.counting import Defect, counted
from e2i_pipeline.resources.connectors.specialties import is_known_sql
from e2i_pipeline.resources.connectors.synthea_rows import DAYS_AFTER_DEATH, PATIENTS, PROVIDERS, rows_view
from e2i_pipeline.resources.connectors.synthea_tables import DIRECT, EVENTS, PREFIX, EventTable, unknown_columns
from e2i_pipeline.resources.connectors.table_folder import date_sql
from e2i_pipeline.resources.engine import quoted

if TYPE_CHECKING:
    import duckdb

Columns = Mapping[str, tuple[str, ...]]

LIFE_YEARS = 30
"""A span of events that no registry covers: what is longer is a simulated or reconstructed life."""

PROBLEMS: dict[str, tuple[str, str]] = {
    "no_key": ("no Id", "left out: the row cannot be named"),
    "repeated_key": ("the Id is repeated", "left out: the first row of each Id stays"),
    "unknown_patient": ("the patient is not in patients", "left out: belongs to no patient"),
    "no_date": ("no event date", "left out: cannot be placed in time"),
    "unreadable_date": ("the event date cannot be read", "left out: cannot be placed in time"),
    "after_writing": ("dated after the files were written", "left out: cannot have happened"),
    "before_birth": ("dated before the patient's birth", "left out: cannot have happened"),
    "after_death": (f"dated more than {DAYS_AFTER_DEATH} days after death", "left out: cannot have happened"),
    "no_measurement": (
        "a survey, social history or a score of the simulation",
        "left out: no measurement of the patient",
    ),
}
"""Why a row is left out, by the name in the column `problem`: in words, and what is done."""

_ZERO_ZIP = "regexp_full_match(replace(zip, '-', ''), '0+')"


def patients(connection: "duckdb.DuckDBPyConnection", columns: Columns) -> tuple[DefectCount, ...]:
    """The defects of patients and of what they are insured with, and the span of the whole export.

    Args:
        connection: The connection with the views.
        columns: Columns of the tables that are there, as the files spell them.
    """
    have = {name.lower() for name in columns["patients"]}
    places = ", ".join(f"'{code}'" for code, _ in STATES.values())
    kinds = [
        Defect("no Id", "id IS NULL", "left out: cannot be named"),
        Defect("the Id is repeated", "id IS NOT NULL AND occurrence > 1", "left out: the first row of each Id stays"),
        Defect(
            "BIRTHDATE is missing or cannot be read", f"{date_sql('birthdate')} IS NULL", "corrected: the age is null"
        ),
        Defect("GENDER is neither M nor F", "coalesce(upper(gender) NOT IN ('M', 'F'), TRUE)", "kept as it is"),
        Defect("ZIP is 0", _ZERO_ZIP, "corrected: no ZIP code"),
    ]
    kinds += [
        Defect(f"no {name.upper()}", f"{name} IS NULL", "kept: not needed") for name in ("zip", "fips") if name in have
    ]
    unplaced = Defect("STATE is no state of the USA", f"coalesce(state NOT IN ({places}), TRUE)", "kept, in no region")
    return (
        *_span(connection),
        *counted(connection, "patients", _numbered("patients"), kinds),
        *(counted(connection, "patients", PATIENTS, [unplaced]) if "state" in have else ()),
        *_columns(connection, "patients", columns),
        *(d for name in ("payers", "payer_transitions") for d in _columns(connection, name, columns)),
    )


def events(connection: "duckdb.DuckDBPyConnection", table: EventTable, columns: Columns) -> tuple[DefectCount, ...]:
    """The defects of one table of events."""
    kinds = [
        *(
            Defect(words, f"problem = '{name}'", treatment)
            for name, (words, treatment) in PROBLEMS.items()
            if name != "no_measurement" or table.table == "observations"
        ),
        Defect(
            "dated after the patient's death date",
            "is_after_death",
            f"kept up to {DAYS_AFTER_DEATH} days: a late record, as a death certification is",
        ),
        Defect("no CODE", "concept_id IS NULL", "kept: never an index event or a treatment by its code"),
        Defect("STOP is before START", "is_reversed", "corrected: the duration is null"),
        *([Defect("no STOP: open-ended", "is_open", "kept: goes on; the duration is null")] if table.goes_on else []),
        Defect(
            "dated the day before its encounter (a local day against UTC)",
            "is_shifted",
            "corrected: the encounter's day",
        ),
        Defect("without an encounter", "is_without_encounter", "kept: no health-care professional can be named"),
        Defect("the cost is negative", "cost < 0", "kept"),
        *(
            [Defect("the provider is not in providers", "hcp_id IS NULL", "kept: no health-care professional")]
            if table.key and "providers" in columns
            else []
        ),
    ]
    return (
        *counted(connection, table.table, rows_view(table.table), kinds),
        *_columns(connection, table.table, columns),
    )


def providers(connection: "duckdb.DuckDBPyConnection", columns: Columns) -> tuple[DefectCount, ...]:
    """The defects of providers."""
    digits = "length(replace(zip, '-', ''))"
    kinds = [
        Defect("no Id", "id IS NULL", "left out: cannot be named"),
        Defect("the Id is repeated", "id IS NOT NULL AND occurrence > 1", "left out: the first row of each Id stays"),
        Defect("ZIP has 9 digits, not 5", f"{digits} BETWEEN 8 AND 9", "corrected: cut to the first 5"),
        Defect("ZIP has fewer than 5 digits", f"{digits} < 5", "corrected: leading 0 put back"),
        Defect("no SPECIALITY", "speciality IS NULL", "kept, without a specialty"),
        Defect(
            "SPECIALITY is none that the platform knows",
            f"NOT {is_known_sql('speciality')}",
            "corrected: other, with its own words as sub_specialty",
        ),
    ]
    alike = f"(SELECT *, (SELECT count(DISTINCT upper(speciality)) FROM {PROVIDERS}) = 1 AS is_alike FROM {PROVIDERS})"
    one = Defect("all providers have the same SPECIALITY", "is_alike", "kept: as a feature it tells nothing")
    return (
        *counted(connection, "providers", _numbered("providers"), kinds),
        *counted(connection, "providers", alike, [one]),
        *_columns(connection, "providers", columns),
    )


def _span(connection: "duckdb.DuckDBPyConnection") -> tuple[DefectCount, ...]:
    days = " UNION ALL ".join(f"SELECT event_date FROM {rows_view(n)} WHERE problem IS NULL" for n in EVENTS)
    first, last, rows = connection.execute(
        f"SELECT year(min(event_date)), year(max(event_date)), count(*) FROM ({days})"
    ).fetchone() or (0, 0, 0)
    if last - first < LIFE_YEARS:
        return ()
    words, treatment = f"events dated from {first} to {last}", "kept: whole lives, which no registry has observed"
    return (DefectCount(table="all events", defect=words, rows=rows, of_rows=rows, treatment=treatment),)


def _columns(connection: "duckdb.DuckDBPyConnection", table: str, columns: Columns) -> tuple[DefectCount, ...]:
    """Columns that identify a person by themselves, by how many rows fill them, and those that nobody knows."""
    if table not in columns:
        return ()
    direct = [n for n in columns[table] if n.lower() in DIRECT.get(table, ()) or _is_direct(table, n)]
    unknown = [name for name in unknown_columns(table, columns[table]) if name not in direct]
    kinds = [
        *(
            Defect(f"{name}: a direct identifier", f"trim(CAST({quoted(name)} AS VARCHAR)) <> ''", DROPPED)
            for name in direct
        ),
        *(Defect(f"{name}: not a column of a known export", "TRUE", "left out") for name in unknown),
    ]
    return counted(connection, table, f"{PREFIX}{table}_file", kinds)


def _is_direct(table: str, name: str) -> bool:
    """Whether a column's name says that it identifies a person; payers are organizations."""
    return table != "payers" and bool(direct_kind(name))


def _numbered(table: str) -> str:
    return f"(SELECT *, row_number() OVER (PARTITION BY id) AS occurrence FROM {PREFIX}{table})"

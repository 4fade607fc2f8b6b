"""The Synthea CSV export on disk: which tables and columns the connector reads, of every generation of the format.

The columns are those of Synthea's "CSV File Data Dictionary" (its wiki) and of exports older and newer than it. How
files become views stands in `table_folder.py`; what rows mean, in `synthea_rows.py` and `synthea_mapping.py`.
"""

from typing import NamedTuple

from e2i_pipeline.resources.connectors.table_folder import Layout, Standard

PREFIX = "synthea_"
"""Begins the name of every temporary view and table of this connector."""


class EventTable(NamedTuple):
    """One table of events, and what they are in the canonical table.

    Attributes:
        table: Synthea table.
        event_type: Canonical event type.
        start: Column of the begin.
        stop: Column of the end; empty where the table has none.
        cost: Column of the cost; empty where the table has none.
        goes_on: Whether an event without an end goes on to this day.
        key: Primary key; empty where the table has none.
    """

    table: str
    event_type: str
    start: str
    stop: str = ""
    cost: str = ""
    goes_on: bool = False
    key: str = ""


EVENTS: dict[str, EventTable] = {
    table.table: table
    for table in (
        EventTable("encounters", "consultation", "start", "stop", cost="total_claim_cost", key="id"),
        EventTable("conditions", "diagnosis", "start", "stop", goes_on=True),
        EventTable("medications", "prescription", "start", "stop", cost="totalcost", goes_on=True),
        EventTable("procedures", "procedure", "start", "stop", cost="base_cost"),
        EventTable("immunizations", "prescription", "date", cost="base_cost"),
        EventTable("observations", "lab_test", "date"),
    )
}
"""The tables of events by name, in the order in which they are reported; a cohort may be declared over any of them."""

ENCOUNTER_CLASSES = (
    *("ambulatory", "emergency", "home", "hospice", "inpatient", "outpatient", "snf", "urgentcare", "virtual"),
    "wellness",
)
"""Values that ENCOUNTERCLASS is known to have; a newer export may have others."""


def _events(name: str, *further: str, is_required: bool = False, **renamed: tuple[str, ...]) -> Layout:
    table = EVENTS[name]
    return Layout(
        required=(*filter(None, (table.key,)), table.start, "patient", "code"),
        optional=(*filter(None, (table.stop, table.cost)), "description", *further),
        is_required=is_required,
        renamed=renamed,
    )


LAYOUTS: dict[str, Layout] = {
    "patients": Layout(
        required=("id", "birthdate", "gender"), optional=("deathdate", "state", "zip", "fips"), is_required=True
    ),
    "encounters": Layout(
        required=("id", "start", "patient", "encounterclass", "code"),
        optional=("stop", "organization", "provider", "payer", "description", "total_claim_cost"),
        is_required=True,
    ),
    "conditions": _events("conditions", "encounter", is_required=True),
    "medications": _events("medications", "encounter"),
    "procedures": _events("procedures", "encounter", start=("date",)),
    "immunizations": _events("immunizations", "encounter"),
    "observations": _events("observations", "encounter", "category", "value", "units"),
    "providers": Layout(
        required=("id",),
        optional=("speciality", "state", "zip"),
        renamed={"speciality": ("specialty",)},
    ),
    "payers": Layout(required=("id", "name"), optional=("ownership",)),
    "payer_transitions": Layout(
        required=("patient", "payer", "start_date"),
        optional=("end_date",),
        renamed={"start_date": ("start_year",), "end_date": ("end_year",)},
    ),
}
"""The tables that are read, by name. Nothing in `DIRECT` is read but a patient's date of birth, for the age in whole
years; a payer's name is that of an organization."""

DIRECT: dict[str, tuple[str, ...]] = {
    "patients": (
        *("birthdate", "ssn", "drivers", "passport", "prefix", "first", "middle", "last", "suffix", "maiden"),
        *("birthplace", "address", "lat", "lon"),
    ),
    "providers": ("name", "address", "lat", "lon"),
    "payer_transitions": ("memberid", "owner_name", "ownername"),
}
"""Columns that identify a person by themselves, per table. What `contracts/identifiers.py` lists counts besides."""

UNUSED: dict[str, tuple[str, ...]] = {
    "patients": (
        *("marital", "race", "ethnicity", "city", "county", "healthcare_expenses", "healthcare_coverage", "income"),
    ),
    "encounters": ("base_encounter_cost", "payer_coverage", "reasoncode", "reasondescription"),
    "conditions": ("system",),
    "medications": ("payer", "base_cost", "payer_coverage", "dispenses", "reasoncode", "reasondescription"),
    "procedures": ("system", "reasoncode", "reasondescription"),
    "immunizations": (),
    "observations": ("type",),
    # The totals of a provider are those at the end of the simulation: they would tell of the future.
    "providers": ("organization", "gender", "city", "utilization", "encounters", "procedures"),
    "payers": (
        *("address", "city", "state_headquartered", "zip", "phone", "amount_covered", "amount_uncovered", "revenue"),
        *("covered_encounters", "uncovered_encounters", "covered_medications", "uncovered_medications"),
        *("covered_procedures", "uncovered_procedures", "covered_immunizations", "uncovered_immunizations"),
        *("unique_customers", "qols_avg", "member_months"),
    ),
    "payer_transitions": ("secondary_payer", "plan_ownership", "ownership"),
}
"""Columns that exports are known to have and that nothing here needs, per table."""

STANDARD = Standard(
    name="Synthea",
    prefix=PREFIX,
    layouts=LAYOUTS,
    reads="the Synthea CSV export",
    is_number=lambda name: name in ("code", "zip", "fips"),
)


def unknown_columns(table: str, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of a table that no known generation of the export has, as the file spells them."""
    layout = LAYOUTS[table]
    known = {*layout.required, *layout.optional, *DIRECT.get(table, ()), *UNUSED[table]}
    known |= {name for names in layout.renamed.values() for name in names}
    return tuple(name for name in columns if name.lower() not in known)

"""The OMOP Common Data Model 5.3 and 5.4 on disk: which tables and columns the connector reads.

How files become views stands in `table_folder.py`; what the rows mean, who enters the cohort and what is left out in
`omop.py`; what is counted in `omop_defects.py`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from e2i_pipeline.resources.connectors.table_folder import Layout, Standard

PREFIX = "omop_"
"""Begins the name of every temporary view and table of this connector."""


class Clinical(NamedTuple):
    """One clinical table, and the canonical event type of its rows.

    Attributes:
        table: OMOP table.
        event_type: Canonical event type.
        key: Primary key.
        concept: Column of the standard concept.
        source_concept: Column of the source concept.
        source_value: Column of the source code; empty where it holds an identifier instead.
        start: Column of the event date.
        end: Column of the end date; empty where the table has none.
    """

    table: str
    event_type: str
    key: str
    concept: str
    source_concept: str
    source_value: str
    start: str
    end: str


CLINICAL: dict[str, Clinical] = {
    table.table: table
    for table in (
        Clinical(
            table="condition_occurrence",
            event_type="diagnosis",
            key="condition_occurrence_id",
            concept="condition_concept_id",
            source_concept="condition_source_concept_id",
            source_value="condition_source_value",
            start="condition_start_date",
            end="condition_end_date",
        ),
        Clinical(
            table="drug_exposure",
            event_type="prescription",
            key="drug_exposure_id",
            concept="drug_concept_id",
            source_concept="drug_source_concept_id",
            source_value="drug_source_value",
            start="drug_exposure_start_date",
            end="drug_exposure_end_date",
        ),
        Clinical(
            table="visit_occurrence",
            event_type="consultation",
            key="visit_occurrence_id",
            concept="visit_concept_id",
            source_concept="visit_source_concept_id",
            source_value="",  # the source system's own number of the visit: an identifier, and no code
            start="visit_start_date",
            end="visit_end_date",
        ),
        Clinical(
            table="procedure_occurrence",
            event_type="procedure",
            key="procedure_occurrence_id",
            concept="procedure_concept_id",
            source_concept="procedure_source_concept_id",
            source_value="procedure_source_value",
            start="procedure_date",
            end="procedure_end_date",
        ),
        Clinical(
            table="measurement",
            event_type="lab_test",
            key="measurement_id",
            concept="measurement_concept_id",
            source_concept="measurement_source_concept_id",
            source_value="measurement_source_value",
            start="measurement_date",
            end="",
        ),
    )
}
"""The clinical tables by name, in the order in which they are reported."""

DRUG_ERA = Clinical(
    table="drug_era",
    event_type="",
    key="drug_era_id",
    concept="drug_concept_id",
    source_concept="",
    source_value="",
    start="drug_era_start_date",
    end="drug_era_end_date",
)
"""Spans of exposure to one ingredient, derived from `drug_exposure`: usable for the cohort, and no events besides."""

COHORT_TABLES: dict[str, Clinical] = {**CLINICAL, DRUG_ERA.table: DRUG_ERA}
"""The tables that index event and treatment may be declared over."""


def _layout(table: Clinical, is_required: bool) -> Layout:
    optional = (table.end, table.source_concept, table.source_value, "provider_id")
    if table.table == "drug_exposure":
        optional = (*optional, "days_supply")
    visit = () if table.table == "visit_occurrence" else ("visit_occurrence_id",)
    return Layout(
        required=(table.key, "person_id", table.concept, table.start),
        optional=(*filter(None, optional), *visit),
        is_required=is_required,
    )


LAYOUTS: dict[str, Layout] = {
    "person": Layout(
        required=("person_id", "year_of_birth", "gender_concept_id"),
        optional=("month_of_birth", "day_of_birth", "gender_source_value", "provider_id"),
        is_required=True,
    ),
    "observation_period": Layout(
        required=("person_id", "observation_period_start_date", "observation_period_end_date"), is_required=True
    ),
    **{
        name: _layout(table, name in ("condition_occurrence", "drug_exposure", "visit_occurrence"))
        for name, table in CLINICAL.items()
    },
    "provider": Layout(required=("provider_id",), optional=("specialty_concept_id", "specialty_source_value")),
    "death": Layout(required=("person_id", "death_date")),
    "concept": Layout(
        required=("concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_code"),
        optional=("concept_class_id",),
    ),
    "concept_ancestor": Layout(required=("ancestor_concept_id", "descendant_concept_id")),
    DRUG_ERA.table: _layout(DRUG_ERA, is_required=False),
    "cdm_source": Layout(required=(), optional=("cdm_version",)),
}
"""The tables that are read, by name. What identifies a person by itself (`birth_datetime`, `npi`, a name) is not read;
year, month and day of birth are, for the age in whole years, and go no further."""

STANDARD = Standard(
    name="OMOP",
    prefix=PREFIX,
    layouts=LAYOUTS,
    reads="OMOP CDM 5.3 and 5.4",
    is_number=lambda name: name.endswith("_id"),  # an integer column with nulls is often written as 8507.0
)

VERSION_MARKS: dict[str, tuple[tuple[str, str], ...]] = {
    "5.4": (
        ("visit_occurrence", "admitted_from_concept_id"),
        ("visit_occurrence", "discharged_to_concept_id"),
        ("procedure_occurrence", "procedure_end_date"),
    ),
    "5.3": (
        ("visit_occurrence", "admitting_source_concept_id"),
        ("visit_occurrence", "discharge_to_concept_id"),
    ),
}
"""Columns that only one version of the CDM has, newest version first: 5.4 renamed the two of visits and added the last
of procedures. None of them is needed: both versions are read alike."""


def cdm_version(columns: Mapping[str, tuple[str, ...]]) -> str:
    """The version of the CDM, by the columns of the tables that are there.

    Args:
        columns: Columns of each table, in any case.

    Returns:
        `5.4`, `5.3`, or an empty text where no column tells.
    """
    have = {(table, name.lower()) for table, names in columns.items() for name in names}
    return next((version for version, marks in VERSION_MARKS.items() if have & set(marks)), "")

"""Drug eras, as the OMOP CDM defines them, where a drop does not bring them: derived from its exposures, in SQL.

The rule is that of the CDM's own page on DRUG_ERA (OHDSI, CDM 5.4): successive exposures of a person to one ingredient
make one era while no more than 30 days lie between the end of the one and the start of the next.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.resources.connectors.omop_tables import DRUG_ERA, PREFIX

if TYPE_CHECKING:
    import duckdb

PERSISTENCE_DAYS = 30
"""Days between two exposures of one era: the CDM's "standard persistence window"."""

INGREDIENTS = f"{PREFIX}ingredients"
"""View of `drug_concept_id` and `ingredient_concept_id`; a drug whose ingredient is unknown stands for itself."""

_DERIVED = f"{PREFIX}derived_eras"


def create_eras(connection: "duckdb.DuckDBPyConnection", exposures: str, tables: Collection[str]) -> None:
    """Makes the view of ingredients, and that of the eras where the drop has none.

    Args:
        connection: The connection with the drop's views.
        exposures: The usable rows of `drug_exposure`, as a relation.
        tables: The tables that the drop has.
    """
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {INGREDIENTS} AS {_ingredients_sql(exposures, tables)}")
    if DRUG_ERA.table not in tables:
        # A table, since the cohort asks for the eras several times.
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {_DERIVED} AS {_eras_sql(exposures)}")
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {PREFIX}{DRUG_ERA.table} AS SELECT * FROM {_DERIVED}")


def derived(connection: "duckdb.DuckDBPyConnection", exposures: str, tables: Collection[str]) -> DefectCount | None:
    """What is to be said of eras that were derived here; None where the drop brought them."""
    if DRUG_ERA.table in tables:
        return None
    eras, of_rows = connection.execute(
        f"SELECT (SELECT count(*) FROM {PREFIX}{DRUG_ERA.table}), (SELECT count(*) FROM {exposures})"
    ).fetchone() or (0, 0)
    by = "ingredient" if _has_ingredients(tables) else "drug concept, since there is no concept_ancestor"
    return DefectCount(
        table=DRUG_ERA.table,
        defect="no input for the declared table",
        rows=eras,
        of_rows=of_rows,
        treatment=f"corrected: eras derived from drug_exposure by {by}, with a window of {PERSISTENCE_DAYS} days",
    )


def _has_ingredients(tables: Collection[str]) -> bool:
    return "concept_ancestor" in tables and "concept" in tables


def _ingredients_sql(exposures: str, tables: Collection[str]) -> str:
    drugs = f"SELECT DISTINCT concept_id AS drug_concept_id FROM {exposures} WHERE concept_id <> 0"
    if not _has_ingredients(tables):
        return f"SELECT drug_concept_id, drug_concept_id AS ingredient_concept_id FROM ({drugs})"
    above = (
        "SELECT TRY_CAST(a.descendant_concept_id AS BIGINT) AS drug_concept_id, "
        "TRY_CAST(a.ancestor_concept_id AS BIGINT) AS ingredient_concept_id "
        f"FROM {PREFIX}concept_ancestor a JOIN {PREFIX}concept c ON c.concept_id = a.ancestor_concept_id "
        "WHERE c.concept_class_id = 'Ingredient'"
    )
    return (
        "SELECT DISTINCT d.drug_concept_id, coalesce(a.ingredient_concept_id, d.drug_concept_id) "
        f"AS ingredient_concept_id FROM ({drugs}) d LEFT JOIN ({above}) a ON a.drug_concept_id = d.drug_concept_id"
    )


def _eras_sql(exposures: str) -> str:
    """Eras in the columns of the CDM, as texts like those of a file."""
    order = "OVER (PARTITION BY patient_id, ingredient_concept_id ORDER BY first_day, last_day"
    # The end of an exposure, in the CDM's order: as recorded, by the days of supply, else the day after its start.
    spans = (
        "SELECT e.patient_id, i.ingredient_concept_id, e.event_date AS first_day, coalesce("
        "CASE WHEN e.end_date >= e.event_date THEN e.end_date END, "
        "CASE WHEN e.days_supply > 0 THEN e.event_date + e.days_supply END, e.event_date + 1) AS last_day "
        f"FROM {exposures} e JOIN {INGREDIENTS} i ON i.drug_concept_id = e.concept_id"
    )
    marked = (
        f"SELECT *, coalesce(first_day > max(last_day) {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) "
        f"+ {PERSISTENCE_DAYS}, TRUE) AS begins FROM ({spans})"
    )
    numbered = f"SELECT *, count_if(begins) {order} ROWS UNBOUNDED PRECEDING) AS era FROM ({marked})"
    return (
        "SELECT concat_ws('-', patient_id, ingredient_concept_id, era) AS drug_era_id, patient_id AS person_id, "
        "CAST(ingredient_concept_id AS VARCHAR) AS drug_concept_id, "
        "CAST(min(first_day) AS VARCHAR) AS drug_era_start_date, "
        "CAST(max(last_day) AS VARCHAR) AS drug_era_end_date, CAST(NULL AS VARCHAR) AS provider_id, "
        f"CAST(NULL AS VARCHAR) AS visit_occurrence_id FROM ({numbered}) "
        "GROUP BY patient_id, ingredient_concept_id, era"
    )

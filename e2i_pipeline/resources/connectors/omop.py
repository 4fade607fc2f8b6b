"""OMOP CDM 5.3 and 5.4 as a source: a declared cohort over the clinical tables becomes the canonical tables, in SQL.

Which tables are read stands in `omop_tables.py`, which rows are left out in `omop_rows.py`, how that is counted in
`omop_defects.py`, what a row becomes in `omop_mapping.py`, how the cohort is built in `cohort_tables.py`.
"""

from typing import TYPE_CHECKING

from e2i_pipeline.contracts.cohort import ConceptSet
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.domain import cohorts
from e2i_pipeline.errors import ConfigurationError, SourceError
from e2i_pipeline.resources.connectors import omop_defects, omop_eras, omop_mapping
from e2i_pipeline.resources.connectors.cohort_connector import CohortConnector
from e2i_pipeline.resources.connectors.cohort_tables import Cohort, Members, attrition, create_cohort
from e2i_pipeline.resources.connectors.omop_rows import BOUNDS, PERIODS, create_rows, rows_view
from e2i_pipeline.resources.connectors.omop_tables import CLINICAL, COHORT_TABLES, DRUG_ERA, PREFIX, STANDARD

if TYPE_CHECKING:
    import duckdb

COHORT = f"{PREFIX}cohort"
"""Temporary table: the index events with their outcome, one row per journey."""


class OmopConnector(CohortConnector):
    """One OMOP drop and one cohort; implements `Connector`."""

    standard = STANDARD
    mapping_version = 2

    @staticmethod
    def checked(name: str, concepts: ConceptSet | None) -> ConceptSet:
        """What a setting names: clinical tables and whole, standard concept ids; 0 means that no concept was found."""
        if concepts is None:
            raise ConfigurationError(
                f"source.kind is omop, so {name} must name an OMOP table and its concepts; "
                "examples/omop.yaml shows how."
            )
        if concepts.table not in COHORT_TABLES:
            raise ConfigurationError(f"{name}.table must be one of {', '.join(COHORT_TABLES)}, not {concepts.table!r}.")
        if concepts.classes or not concepts.concepts:
            raise ConfigurationError(
                f"{name}.classes: OMOP has concepts only. Name standard concept ids in {name}.concepts."
            )
        if others := [str(c) for c in concepts.concepts if isinstance(c, str) and not c.strip().isdecimal()]:
            raise ConfigurationError(
                f"{name}.concepts holds {', '.join(others)}: OMOP's standard concept ids are whole numbers. A code of "
                "SNOMED, ICD or RxNorm stands in concept_code; take its concept_id."
            )
        numbers = tuple(int(c) for c in concepts.concepts)
        if 0 in numbers:
            raise ConfigurationError(
                f"{name}.concepts holds 0, which in OMOP means that no concept was found: remove it."
            )
        return concepts.model_copy(update={"concepts": numbers})

    def query(self, connection: "duckdb.DuckDBPyConnection", table: str) -> str | None:
        """The SELECT statement of a canonical table; OMOP holds nothing for `engagement_events`.

        Raises:
            SourceError: A file or column is missing, a file cannot be read, the concepts match no row, or the cohort's
                rules leave no index event.
        """
        tables = set(self._folder.files())
        if table == "hcp_profiles" and "provider" not in tables:
            return None
        if table not in ("patient_journeys", "treatment_events", "hcp_profiles"):
            return None
        self._columns = self._folder.open(connection)
        create_rows(connection, self._folder, with_eras=self._needs_eras)
        cohort = self._cohort(connection, tables)
        create_cohort(connection, cohort)
        if table == "patient_journeys":
            return omop_mapping.patient_journeys(connection, cohort, self._brand, "provider" in tables)
        if table == "treatment_events":
            return omop_mapping.treatment_events(cohort, self._brand, tables)
        return omop_mapping.hcp_profiles()

    def defects(self, connection: "duckdb.DuckDBPyConnection", table: str) -> tuple[DefectCount, ...]:
        """The defects of the OMOP tables behind a canonical table, each counted; kinds that do not occur are left out.

        Each OMOP table is reported once: those that decide who enters (person, observation_period, death, the index
        event's table) with `patient_journeys`, the other clinical ones with `treatment_events`, provider with
        `hcp_profiles`. What the cohort's rules exclude is reported with `patient_journeys`.

        Args:
            connection: The connection on which `query` was called for this table.
            table: Canonical table.
        """
        tables = set(self._folder.files())
        if table == "patient_journeys":
            return (
                *omop_defects.version(connection, self._columns),
                *attrition(connection, self._cohort(connection, tables)),
                *omop_defects.persons(connection, COHORT, self._definition.outcome_window_days),
                *self._clinical_defects(connection, self._index.table, tables),
            )
        if table == "treatment_events":
            named = [*(name for name in CLINICAL if name in tables), self._treatment.table]
            others = [name for name in dict.fromkeys(named) if name != self._index.table]
            return tuple(d for name in others for d in self._clinical_defects(connection, name, tables))
        if table == "hcp_profiles" and "provider" in tables:
            return omop_defects.providers(connection)
        return ()

    @property
    def _needs_eras(self) -> bool:
        return DRUG_ERA.table in (self._index.table, self._treatment.table)

    def _clinical_defects(
        self, connection: "duckdb.DuckDBPyConnection", name: str, tables: set[str]
    ) -> tuple[DefectCount, ...]:
        if name == DRUG_ERA.table:
            exposures = f"(SELECT * FROM {rows_view('drug_exposure')} WHERE problem IS NULL)"
            derived = omop_eras.derived(connection, exposures, tables)
            if derived is not None:
                return (derived,)
        return omop_defects.clinical(connection, COHORT_TABLES[name], "provider" in tables)

    def _cohort(self, connection: "duckdb.DuckDBPyConnection", tables: set[str]) -> Cohort:
        return Cohort(
            definition=self._definition,
            index=_members(connection, "cohort.index_event", self._index, tables),
            treatment=_members(connection, "cohort.treatment", self._treatment, tables),
            periods=f"({PERIODS})",
            last_known=f"(SELECT last_known FROM {BOUNDS})",
            table=COHORT,
            look_up="Look the standard concept ids up in the drop's concept table",
        )


def _members(connection: "duckdb.DuckDBPyConnection", setting: str, concepts: ConceptSet, tables: set[str]) -> Members:
    condition = cohorts.concepts_sql(concepts.concepts)
    if concepts.include_descendants:
        if "concept_ancestor" not in tables:
            raise SourceError(
                f"{setting}.include_descendants is true, and the OMOP folder has no concept_ancestor to find the "
                "descendants in. Add that table of the vocabulary (athena.ohdsi.org), or list every concept in "
                f"{setting}.concepts and set include_descendants to false."
            )
        held = f"{PREFIX}{setting.rsplit('.', maxsplit=1)[-1]}_concepts"
        above = cohorts.concepts_sql(concepts.concepts, "TRY_CAST(ancestor_concept_id AS BIGINT)")
        itself = " UNION ".join(f"SELECT {concept}" for concept in concepts.concepts)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {held} AS SELECT TRY_CAST(descendant_concept_id AS BIGINT) AS concept_id "
            f"FROM {PREFIX}concept_ancestor WHERE {above} UNION {itself}"
        )
        condition = f"concept_id IN (SELECT h.concept_id FROM {held} h)"
    return Members(setting=setting, concepts=concepts, rows=rows_view(concepts.table), condition=condition)

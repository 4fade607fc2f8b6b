"""The Synthea CSV export as a source: a declared cohort over its tables of events becomes the canonical tables, in SQL.

Which tables are read stands in `synthea_tables.py`, which rows are left out in `synthea_rows.py`, how that is counted
in `synthea_defects.py`, what a row becomes in `synthea_mapping.py`, how the cohort is built in `cohort_tables.py`.
"""

from typing import TYPE_CHECKING

from e2i_pipeline.contracts.cohort import ConceptSet
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.domain import cohorts
from e2i_pipeline.errors import ConfigurationError, SourceError
from e2i_pipeline.resources.connectors import synthea_defects, synthea_mapping
from e2i_pipeline.resources.connectors.cohort_connector import CohortConnector
from e2i_pipeline.resources.connectors.cohort_tables import Cohort, Members, attrition, create_cohort
from e2i_pipeline.resources.connectors.synthea_rows import BOUNDS, PERIODS, create_rows, rows_view
from e2i_pipeline.resources.connectors.synthea_tables import ENCOUNTER_CLASSES, EVENTS, PREFIX, STANDARD

if TYPE_CHECKING:
    import duckdb

COHORT = f"{PREFIX}cohort"
"""Temporary table: the index events with their outcome, one row per journey."""


class SyntheaConnector(CohortConnector):
    """One Synthea export and one cohort; implements `Connector`."""

    standard = STANDARD
    mapping_version = 1

    @staticmethod
    def checked(name: str, concepts: ConceptSet | None) -> ConceptSet:
        """What a setting names: tables of events, and classes of encounters in lower case."""
        if concepts is None:
            raise ConfigurationError(
                f"source.kind is synthea, so {name} must name a Synthea table and its codes or encounter classes; "
                "examples/synthea.yaml shows how."
            )
        if concepts.table not in EVENTS:
            raise ConfigurationError(f"{name}.table must be one of {', '.join(EVENTS)}, not {concepts.table!r}.")
        if concepts.include_descendants:
            raise ConfigurationError(
                f"{name}.include_descendants: a Synthea export has no hierarchy of its codes. List every code."
            )
        if concepts.classes and concepts.table != "encounters":
            raise ConfigurationError(f"{name}.classes are those of encounters; {concepts.table} has codes only.")
        classes = tuple(each.strip().lower() for each in concepts.classes)
        return concepts.model_copy(update={"classes": classes})

    def query(self, connection: "duckdb.DuckDBPyConnection", table: str) -> str | None:
        """The SELECT statement of a canonical table; Synthea holds nothing for `engagement_events`.

        Raises:
            SourceError: A file or column is missing, a file cannot be read, the codes match no row, or the cohort's
                rules leave no index event.
        """
        tables = set(self._folder.files())
        if table == "hcp_profiles" and "providers" not in tables:
            return None
        if table not in ("patient_journeys", "treatment_events", "hcp_profiles"):
            return None
        self._columns = self._folder.open(connection)
        create_rows(connection, self._folder)
        if table == "hcp_profiles":
            return synthea_mapping.hcp_profiles()
        cohort = self._cohort(tables)
        _require_classes(connection, cohort)
        create_cohort(connection, cohort)
        make = synthea_mapping.patient_journeys if table == "patient_journeys" else synthea_mapping.treatment_events
        return make(cohort, self._brand, tables)

    def defects(self, connection: "duckdb.DuckDBPyConnection", table: str) -> tuple[DefectCount, ...]:
        """The defects of the Synthea tables behind a canonical table, counted; kinds that do not occur are left out.

        Each table is reported once: patients, their payers, the index event's table and what the cohort's rules exclude
        with `patient_journeys`, the other tables of events with `treatment_events`, providers with `hcp_profiles`.

        Args:
            connection: The connection on which `query` was called for this table.
            table: Canonical table.
        """
        tables = set(self._folder.files())
        if table == "patient_journeys":
            return (
                *attrition(connection, self._cohort(tables)),
                *synthea_defects.patients(connection, self._columns),
                *synthea_defects.events(connection, EVENTS[self._index.table], self._columns),
            )
        if table == "treatment_events":
            others = [event for name, event in EVENTS.items() if name in tables and name != self._index.table]
            return tuple(d for event in others for d in synthea_defects.events(connection, event, self._columns))
        if table == "hcp_profiles" and "providers" in tables:
            return synthea_defects.providers(connection, self._columns)
        return ()

    def _cohort(self, tables: set[str]) -> Cohort:
        for setting, concepts in (("cohort.index_event", self._index), ("cohort.treatment", self._treatment)):
            if concepts.table not in tables:
                raise SourceError(
                    f"{setting} is declared over {concepts.table}, and the Synthea folder has no such table (it has: "
                    f"{', '.join(sorted(tables))}). Add the file, or declare {setting} over another table."
                )
        return Cohort(
            definition=self._definition,
            index=_members("cohort.index_event", self._index),
            treatment=_members("cohort.treatment", self._treatment),
            periods=PERIODS,
            last_known=f"(SELECT last_known FROM {BOUNDS})",
            table=COHORT,
            look_up="Look the codes up in the columns CODE and DESCRIPTION of that file, the classes in ENCOUNTERCLASS",
        )


def _require_classes(connection: "duckdb.DuckDBPyConnection", cohort: Cohort) -> None:
    """Refuses a class that neither Synthea is known to have nor this export has: one of several may be mistyped."""
    for members in (cohort.index, cohort.treatment):
        if asked := [each for each in members.concepts.classes if each not in ENCOUNTER_CLASSES]:
            rows = connection.execute(f"SELECT DISTINCT class FROM {members.rows} WHERE class IS NOT NULL").fetchall()
            if unknown := [each for each in asked if (each,) not in rows]:
                raise SourceError(
                    f"{members.setting}.classes holds {', '.join(unknown)}, which is no class of Synthea "
                    f"({', '.join(ENCOUNTER_CLASSES)}) and does not stand in the ENCOUNTERCLASS of this export."
                )


def _members(setting: str, concepts: ConceptSet) -> Members:
    conditions = []
    if concepts.concepts:
        conditions.append(cohorts.concepts_sql([str(code) for code in concepts.concepts]))
    if concepts.classes:
        conditions.append(cohorts.concepts_sql(concepts.classes, "class"))
    # A condition is never null: a row without a code is none of the set.
    condition = f"coalesce({' AND '.join(conditions)}, FALSE)"
    return Members(setting=setting, concepts=concepts, rows=rows_view(concepts.table), condition=condition)

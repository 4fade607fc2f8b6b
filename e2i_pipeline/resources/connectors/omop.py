"""OMOP CDM 5.x as a source: a declared cohort over the clinical tables becomes the canonical tables, in SQL.

How files become views stands in `omop_tables.py`, which rows are left out in `omop_rows.py`, how that is counted in
`omop_defects.py`, what an index event and an outcome are in `domain/cohorts.py`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.cohort import CohortDefinition, ConceptSet
from e2i_pipeline.contracts.references import DefectCount
from e2i_pipeline.domain import cohorts
from e2i_pipeline.errors import ConfigurationError, SourceError
from e2i_pipeline.resources.connectors import omop_defects
from e2i_pipeline.resources.connectors.omop_rows import BOUNDS, CONCEPTS, PERSON, create_rows, rows_view
from e2i_pipeline.resources.connectors.omop_tables import CLINICAL, PREFIX, Clinical, OmopFolder
from e2i_pipeline.resources.engine import literal

if TYPE_CHECKING:
    import duckdb

COHORT = f"{PREFIX}cohort"
"""Temporary table: the index events with their outcome, one row per journey."""

DATA_SOURCE = "OMOP_CDM"

INPATIENT = (9201, 262, 8717, 32037)
"""Visit concepts that are a hospitalization: inpatient visit, emergency room and inpatient visit, inpatient hospital,
intensive care (Athena, domain Visit)."""

GENDERS = {8507: "male", 8532: "female"}
"""OMOP's standard concepts of gender."""

_MAPPING_VERSION = 1  # raised when the mapping changes, so that the same files are staged anew


class OmopConnector:
    """One OMOP drop and one cohort; implements `Connector`."""

    def __init__(
        self, location: str, cohort: CohortDefinition, brand: str, null_markers: Sequence[str] = ("",)
    ) -> None:
        """Checks the cohort; nothing is read yet.

        Args:
            location: Folder with one Parquet or CSV file (or folder of files) per OMOP table.
            cohort: The cohort; its index event and treatment must be given.
            brand: Brand that the treatment stands for, on every journey.
            null_markers: Texts that mean null.

        Raises:
            ConfigurationError: The cohort names no index event or treatment, a table that is not a clinical one, or
                concept 0, which means that no concept was found.
        """
        self._index = _checked("cohort.index_event", cohort.index_event)
        self._treatment = _checked("cohort.treatment", cohort.treatment)
        self._folder = OmopFolder(location, null_markers)
        self._cohort = cohort
        self._brand = brand
        self._null_markers = tuple(null_markers)

    def fingerprint(self, table: str) -> str:
        """Hash of the files' names, sizes and times and of the cohort's settings.

        Raises:
            SourceError: The folder or a required table is not there.
        """
        files = [
            (name, file.name, file.stat().st_size, file.stat().st_mtime_ns)
            for name, paths in sorted(self._folder.files().items())
            for file in paths
        ]
        settings = (self._index, self._treatment, self._cohort.unit, self._cohort.outcome_window_days)
        return content_key(table, files, settings, self._brand, self._null_markers, _MAPPING_VERSION)

    def query(self, connection: "duckdb.DuckDBPyConnection", table: str) -> str | None:
        """The SELECT statement of a canonical table; OMOP holds nothing for `engagement_events`.

        Raises:
            SourceError: A file or column is missing, a file cannot be read, or the concepts match no row.
        """
        has_providers = "provider" in self._folder.files()
        if table == "hcp_profiles" and not has_providers:
            return None
        statements = {
            "patient_journeys": self._patient_journeys,
            "treatment_events": self._treatment_events,
            "hcp_profiles": _hcp_profiles,
        }
        if table not in statements:
            return None
        self._prepare(connection)
        return statements[table](connection, has_providers)

    def defects(self, connection: "duckdb.DuckDBPyConnection", table: str) -> tuple[DefectCount, ...]:
        """The defects of the OMOP tables behind a canonical table, each counted; kinds that do not occur are left out.

        Each OMOP table is reported once: those that decide who enters (person, observation_period, death, the index
        event's table) with `patient_journeys`, the other clinical ones with `treatment_events`, provider with
        `hcp_profiles`.

        Args:
            connection: The connection on which `query` was called for this table.
            table: Canonical table.
        """
        files = self._folder.files()
        clinical = [name for name in CLINICAL if name in files]
        if table == "patient_journeys":
            return (
                *omop_defects.persons(connection, COHORT, self._cohort.outcome_window_days),
                *omop_defects.clinical(connection, CLINICAL[self._index.table]),
            )
        if table == "treatment_events":
            others = [name for name in clinical if name != self._index.table]
            return tuple(d for name in others for d in omop_defects.clinical(connection, CLINICAL[name]))
        if table == "hcp_profiles" and "provider" in files:
            return omop_defects.providers(connection)
        return ()

    def explain(self, table: str, err: Exception) -> str:
        """What it means that the engine failed while it read the rows behind a canonical table, in words.

        The engine's own words are not repeated: they may quote a patient's value.
        """
        names = sorted({file.name for files in self._folder.files().values() for file in files})
        return (
            f"{table} could not be read from the OMOP files ({', '.join(names)}): {type(err).__name__}. See that each "
            "file is whole: a CSV has the same number of fields in every line, one header, and is in UTF-8."
        )

    def _prepare(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Makes the views and the cohort in this connection, anew each time: the files may have changed."""
        self._folder.open(connection)
        create_rows(connection, self._folder)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {COHORT} AS {self._cohort_sql()}")
        self._require_matches(connection)

    def _cohort_sql(self) -> str:
        index = cohorts.index_events_sql(_usable(self._index.table), self._index.concepts, self._cohort.unit)
        return cohorts.outcomes_sql(
            f"({index})",
            _usable(self._treatment.table),
            self._treatment.concepts,
            self._cohort.outcome_window_days,
            f"(SELECT last_known FROM {BOUNDS})",
        )

    def _require_matches(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Refuses concept sets that match nothing: a wrong id would otherwise look like an untreated population."""
        for name, concepts in (("cohort.index_event", self._index), ("cohort.treatment", self._treatment)):
            of_rows, matched, usable = _one_row(
                connection,
                "SELECT count(*), count(*) FILTER (is_match), count(*) FILTER (is_match AND problem IS NULL) FROM "
                f"(SELECT {cohorts.concepts_sql(concepts.concepts)} AS is_match, problem "
                f"FROM {rows_view(concepts.table)})",
            )
            if not usable:
                raise SourceError(
                    f"{name}: its {len(concepts.concepts)} concept(s) "
                    f"({', '.join(map(str, concepts.concepts[:10]))}{', ...' if len(concepts.concepts) > 10 else ''}) "
                    f"matched {matched} of {of_rows} rows in {concepts.table}, {usable} of them usable (with a person "
                    "and a plausible date). Look the standard concept ids up in the drop's concept table and set "
                    f"{name}.concepts."
                )

    def _patient_journeys(self, connection: "duckdb.DuckDBPyConnection", has_providers: bool) -> str:
        genders = " ".join(f"WHEN '{concept}' THEN '{name}'" for concept, name in GENDERS.items())
        index = CLINICAL[self._index.table]
        columns = [
            f"{_journey_id(index)} AS patient_journey_id",
            "j.patient_id",
            f"{literal(self._brand)} AS brand",
            "j.event_date AS journey_start_date",
            *(["j.provider_id AS hcp_id"] if has_providers else []),
            *(["j.icd_code AS primary_diagnosis_code"] if self._has_icd(connection) else []),
            "coalesce(h.concepts, []) AS comorbidities",
            "CASE WHEN p.birth_year IS NOT NULL THEN greatest(0, year(j.event_date) - p.birth_year - CASE WHEN "
            "(month(j.event_date), day(j.event_date)) < (p.birth_month, p.birth_day) THEN 1 ELSE 0 END) END "
            "AS age_at_diagnosis",
            f"CASE p.gender_concept_id {genders} ELSE p.gender_source_value END AS gender",
            "coalesce(nullif(j.label, ''), CAST(j.concept_id AS VARCHAR)) AS index_condition",
            "j.treatment_initiated",
            "j.days_to_treatment",
            f"'{DATA_SOURCE}' AS data_source",
        ]
        history = (
            "SELECT j.event_id, list(DISTINCT CAST(c.concept_id AS VARCHAR) ORDER BY CAST(c.concept_id AS VARCHAR)) "
            f"AS concepts FROM {COHORT} j JOIN {_usable('condition_occurrence')} c ON c.patient_id = j.patient_id "
            "AND c.event_date < j.event_date AND c.concept_id <> 0 GROUP BY j.event_id"
        )
        return (
            f"SELECT {', '.join(columns)} FROM {COHORT} j JOIN {PERSON} p ON p.person_id = j.patient_id "
            f"LEFT JOIN ({history}) h ON h.event_id = j.event_id"
        )

    def _has_icd(self, connection: "duckdb.DuckDBPyConnection") -> bool:
        return bool(_one_row(connection, f"SELECT count(icd_code) FROM {COHORT}")[0])

    def _treatment_events(self, connection: "duckdb.DuckDBPyConnection", has_providers: bool) -> str:
        files = self._folder.files()
        events = " UNION ALL ".join(self._events(table) for name, table in CLINICAL.items() if name in files)
        columns = [
            "e.treatment_event_id",
            f"{_journey_id(CLINICAL[self._index.table])} AS patient_journey_id",
            "e.patient_id",
            *(["e.hcp_id"] if has_providers else []),
            "e.event_date",
            "e.event_type",
            "e.event_subtype",
            f"CASE WHEN e.is_treatment THEN {literal(self._brand)} END AS brand",
            "e.drug_name",
            "e.duration_days",
            "row_number() OVER (PARTITION BY e.patient_id ORDER BY e.event_date, e.event_type, e.treatment_event_id) "
            "AS sequence_number",
            "date_diff('day', j.event_date, e.event_date) AS days_from_diagnosis",
            f"'{DATA_SOURCE}' AS data_source",
        ]
        return (
            f"SELECT {', '.join(columns)} FROM (SELECT * FROM ({events}) WHERE patient_id IN "
            f"(SELECT patient_id FROM {COHORT})) e "
            f"ASOF LEFT JOIN {COHORT} j ON j.patient_id = e.patient_id AND e.event_date >= j.event_date"
        )

    def _events(self, table: Clinical) -> str:
        """The usable rows of one clinical table as events."""
        is_treatment = (
            cohorts.concepts_sql(self._treatment.concepts, "r.concept_id")
            if table.table == self._treatment.table
            else "FALSE"
        )
        event_type = f"'{table.event_type}'"
        if table.table == "visit_occurrence":
            is_inpatient = cohorts.concepts_sql(INPATIENT, "r.concept_id")
            event_type = f"CASE WHEN {is_inpatient} THEN 'hospitalization' ELSE {event_type} END"
        drug_name = "r.label" if table.table == "drug_exposure" else "CAST(NULL AS VARCHAR)"
        return (
            f"SELECT '{table.table}-' || r.event_id AS treatment_event_id, r.patient_id, r.provider_id AS hcp_id, "
            f"r.event_date, {event_type} AS event_type, r.label AS event_subtype, {is_treatment} AS is_treatment, "
            f"{drug_name} AS drug_name, CASE WHEN r.end_date >= r.event_date "
            "THEN date_diff('day', r.event_date, r.end_date) END AS duration_days "
            f"FROM {_usable(table.table)} r"
        )


def _hcp_profiles(connection: "duckdb.DuckDBPyConnection", has_providers: bool) -> str:
    """Providers; OMOP keeps one timeless row of each, which counts as known from its first mention in the data."""
    mentions = " UNION ALL ".join(
        f"SELECT provider_id, event_date FROM {_usable(table)} WHERE provider_id IS NOT NULL" for table in CLINICAL
    )
    return (
        "SELECT p.provider_id AS hcp_id, coalesce(c.concept_name, p.specialty_source_value) AS specialty, "
        f"CAST(coalesce(m.first_date, (SELECT last_known FROM {BOUNDS})) AS TIMESTAMP) AS updated_at "
        f"FROM (SELECT * FROM {PREFIX}provider raw WHERE provider_id IS NOT NULL "
        "QUALIFY row_number() OVER (PARTITION BY provider_id ORDER BY raw) = 1) p "
        f"LEFT JOIN {CONCEPTS} c ON c.concept_id = TRY_CAST(p.specialty_concept_id AS BIGINT) "
        "AND c.concept_id <> 0 "
        f"LEFT JOIN (SELECT provider_id, min(event_date) AS first_date FROM ({mentions}) GROUP BY provider_id) m "
        "ON m.provider_id = p.provider_id"
    )


def _usable(table: str) -> str:
    """The rows of a clinical table that are not left out, as a relation."""
    return f"(SELECT * FROM {rows_view(table)} WHERE problem IS NULL)"


def _journey_id(index: Clinical) -> str:
    return f"'{index.table}-' || j.event_id"


def _one_row(connection: "duckdb.DuckDBPyConnection", statement: str) -> tuple[int, ...]:
    return connection.execute(statement).fetchone() or ()


def _checked(name: str, concepts: ConceptSet | None) -> ConceptSet:
    if concepts is None:
        raise ConfigurationError(
            f"source.kind is omop, so {name} must name an OMOP table and its concepts; examples/omop.yaml shows how."
        )
    if concepts.table not in CLINICAL:
        raise ConfigurationError(f"{name}.table must be one of {', '.join(CLINICAL)}, not {concepts.table!r}.")
    if 0 in concepts.concepts:
        raise ConfigurationError(f"{name}.concepts holds 0, which in OMOP means that no concept was found: remove it.")
    return concepts

"""The canonical tables: columns, types, roles and privacy classes.

Column names are the platform's own interface (docs/data-dictionary). What must be true of the values is said in
`gx/expectations`, not here.
"""

from collections.abc import Collection, Mapping

from e2i_pipeline.contracts.base import Contract

DIRECT = "direct"  # identifies a person by itself: dropped at landing
IDENTIFIER = "identifier"  # joins tables: replaced by a keyed pseudonym at landing
QUASI = "quasi"  # identifies in combination: never a model feature by default
SENSITIVE = "sensitive"  # health or money of one person
PLAIN = "plain"


class Column(Contract):
    """One canonical column.

    Attributes:
        name: Canonical name.
        dtype: DuckDB type it is staged as.
        is_required: Whether a source must deliver it.
        privacy: `direct`, `identifier`, `quasi`, `sensitive` or `plain`.
        namespace: For an identifier, the kind of thing it names, so that equal ids join across tables.
    """

    name: str
    dtype: str = "VARCHAR"
    is_required: bool = False
    privacy: str = PLAIN
    namespace: str = ""


class TableSchema(Contract):
    """One canonical table.

    Attributes:
        name: Canonical name.
        grain: What one row is.
        columns: In canonical order.
        event_time: Column of the event time.
        known_at: Column of the known-at time, for `known_at: observed`.
        is_optional: Whether a source may lack the table without declaring it.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    event_time: str
    known_at: str
    is_optional: bool = False

    def column(self, name: str) -> Column:
        """The column of this name.

        Raises:
            KeyError: The table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name}")

    def with_columns(self, columns: Mapping[str, str]) -> "TableSchema":
        """The table with further columns, as configured covariates bring them; names that it has already are left.

        Args:
            columns: DuckDB type by column name. What a further column holds is taken as sensitive.
        """
        further = [
            Column(name=name, dtype=dtype, privacy=SENSITIVE)
            for name, dtype in columns.items()
            if name not in self.names
        ]
        return self.model_copy(update={"columns": (*self.columns, *further)})

    @property
    def names(self) -> tuple[str, ...]:
        """All column names."""
        return tuple(c.name for c in self.columns)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the required columns."""
        return tuple(c.name for c in self.columns if c.is_required)


def _columns(spec: str) -> tuple[Column, ...]:
    """Reads `name[*] TYPE [privacy[:namespace]]` lines; `*` marks a required column."""
    columns: list[Column] = []
    for line in filter(None, (line.strip() for line in spec.splitlines())):
        name, dtype, *rest = line.split()
        privacy, _, namespace = (rest[0] if rest else PLAIN).partition(":")
        columns.append(
            Column(
                name=name.rstrip("*"),
                dtype=dtype,
                is_required=name.endswith("*"),
                privacy=privacy,
                namespace=namespace,
            )
        )
    return tuple(columns)


PATIENT_JOURNEYS = TableSchema(
    name="patient_journeys",
    grain="One row per patient journey and version of it.",
    event_time="journey_start_date",
    known_at="ingestion_timestamp",
    columns=_columns(
        """
        patient_journey_id* VARCHAR identifier:journey
        patient_id* VARCHAR identifier:patient
        hcp_id VARCHAR identifier:hcp
        brand* VARCHAR
        journey_start_date* DATE sensitive
        journey_end_date DATE sensitive
        journey_duration_days INTEGER
        journey_stage VARCHAR sensitive
        journey_status VARCHAR
        primary_diagnosis_code VARCHAR sensitive
        secondary_diagnosis_codes VARCHAR[] sensitive
        comorbidities VARCHAR[] sensitive
        age_at_diagnosis INTEGER quasi
        age_group VARCHAR quasi
        gender VARCHAR quasi
        geographic_region VARCHAR quasi
        state VARCHAR quasi
        zip_code VARCHAR quasi
        insurance_type VARCHAR sensitive
        risk_score DOUBLE sensitive
        disease_severity DOUBLE sensitive
        academic_hcp INTEGER
        engagement_score DOUBLE
        treatment_initiated INTEGER sensitive
        days_to_treatment INTEGER sensitive
        data_quality_score DOUBLE
        source_match_confidence DOUBLE
        data_source VARCHAR
        source_timestamp TIMESTAMP
        ingestion_timestamp TIMESTAMP
        data_split VARCHAR
        created_at TIMESTAMP
        updated_at TIMESTAMP
        """
    ),
)

TREATMENT_EVENTS = TableSchema(
    name="treatment_events",
    grain="One row per clinical or commercial-claims event.",
    event_time="event_date",
    known_at="created_at",
    columns=_columns(
        """
        treatment_event_id* VARCHAR identifier:event
        patient_journey_id VARCHAR identifier:journey
        patient_id* VARCHAR identifier:patient
        hcp_id VARCHAR identifier:hcp
        event_date* DATE sensitive
        event_type* VARCHAR sensitive
        event_subtype VARCHAR sensitive
        brand VARCHAR
        drug_ndc VARCHAR sensitive
        drug_name VARCHAR sensitive
        drug_class VARCHAR sensitive
        dosage VARCHAR sensitive
        duration_days INTEGER
        icd_codes VARCHAR[] sensitive
        cpt_codes VARCHAR[] sensitive
        loinc_codes VARCHAR[] sensitive
        lab_values VARCHAR sensitive
        location_type VARCHAR
        facility_id VARCHAR
        cost DOUBLE sensitive
        outcome_indicator VARCHAR sensitive
        adverse_event_flag BOOLEAN sensitive
        discontinuation_flag BOOLEAN sensitive
        discontinuation_reason VARCHAR sensitive
        sequence_number INTEGER
        days_from_diagnosis INTEGER
        previous_treatment VARCHAR sensitive
        next_treatment VARCHAR sensitive
        data_source VARCHAR
        source_timestamp TIMESTAMP
        created_at TIMESTAMP
        data_split VARCHAR
        """
    ),
)

HCP_PROFILES = TableSchema(
    name="hcp_profiles",
    grain="One row per health-care professional and version of the profile.",
    event_time="updated_at",
    known_at="updated_at",
    columns=_columns(
        """
        hcp_id* VARCHAR identifier:hcp
        npi VARCHAR direct
        first_name VARCHAR direct
        last_name VARCHAR direct
        specialty* VARCHAR
        sub_specialty VARCHAR
        practice_type VARCHAR
        practice_size VARCHAR
        geographic_region VARCHAR
        state VARCHAR
        city VARCHAR quasi
        zip_code VARCHAR quasi
        priority_tier INTEGER
        decile INTEGER
        total_patient_volume INTEGER
        target_patient_volume INTEGER
        prescribing_volume INTEGER
        years_experience INTEGER
        digital_engagement_score DOUBLE
        preferred_channel VARCHAR
        last_interaction_date DATE
        interaction_frequency DOUBLE
        influence_network_size INTEGER
        peer_influence_score DOUBLE
        adoption_category VARCHAR
        coverage_status VARCHAR
        territory_id VARCHAR
        sales_rep_id VARCHAR identifier:rep
        created_at TIMESTAMP
        updated_at TIMESTAMP
        """
    ),
)

ENGAGEMENT_EVENTS = TableSchema(
    name="engagement_events",
    grain="One row per touch of a health-care professional or a patient.",
    event_time="event_timestamp",
    known_at="created_at",
    is_optional=True,
    columns=_columns(
        """
        engagement_event_id* VARCHAR identifier:touch
        hcp_id* VARCHAR identifier:hcp
        patient_id VARCHAR identifier:patient
        brand VARCHAR
        event_timestamp* TIMESTAMP
        channel* VARCHAR
        event_type VARCHAR
        response VARCHAR
        created_at TIMESTAMP
        """
    ),
)

TABLES: dict[str, TableSchema] = {
    t.name: t for t in (PATIENT_JOURNEYS, TREATMENT_EVENTS, HCP_PROFILES, ENGAGEMENT_EVENTS)
}

NAMESPACES = tuple(dict.fromkeys(c.namespace for t in TABLES.values() for c in t.columns if c.namespace))
"""The kinds of things that identifiers name: each has pseudonyms of its own."""

KNOWN_AT = "known_at"
"""Column that staging adds to every table: when the row became known (UTC)."""

SUPERSEDED_AT = "superseded_at"
"""Column that staging adds to a table whose rows are restated or deleted: when the row ceased to hold (UTC), null while
it does. A row is part of what is known at a time t where `known_at` <= t < `superseded_at`."""

DELETED = "e2i_deleted"
"""Column of rows on their way in (BOOLEAN): the row says that its key is gone from its known-at time on. It ends the
versions before it and is not staged itself."""

DELETED_AT = "e2i_deleted_at"
"""Column of rows on their way in (TIMESTAMP, UTC): the row holds until then; null where it was not deleted."""

BASELINE_KNOWN_AT = "baseline_known_at"
"""Column that staging adds to `patient_journeys`: when the journey's baseline columns became known (UTC)."""


def key_column(table: str, columns: Collection[str]) -> str:
    """The column whose values, keyed pseudonyms, name the rows of a table to those who hold the key.

    Args:
        table: Name of the table; of a modelling dataset a row is about a journey.
        columns: The columns that it has.

    Returns:
        Name of the identifier; empty where the table is not canonical, or lacks it.
    """
    schema = TABLES.get(table, PATIENT_JOURNEYS if table == "training_dataset" else None)
    key = next((c.name for c in schema.columns if c.privacy == IDENTIFIER), "") if schema else ""
    return key if key in columns else ""

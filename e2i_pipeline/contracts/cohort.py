"""The declared cohort: who enters, when their clock starts, what counts as the outcome."""

from pydantic import Field, model_validator

from e2i_pipeline.contracts.base import Contract


class ConceptSet(Contract):
    """Concepts of one clinical table, as its standard writes them.

    Attributes:
        table: The source's own table, e.g. OMOP's `condition_occurrence` or Synthea's `encounters`.
        concepts: OMOP: standard concept ids. Synthea: codes (SNOMED CT, RxNorm, CVX, LOINC), as numbers or texts; a
            code that begins with 0 must be a text. Empty where only `classes` counts.
        classes: Synthea: values of ENCOUNTERCLASS, e.g. `inpatient`. Where concepts are given too, both must hold.
        include_descendants: OMOP: whether what lies below the concepts in `concept_ancestor` counts too.
    """

    table: str
    concepts: tuple[int | str, ...] = ()
    classes: tuple[str, ...] = ()
    include_descendants: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> "ConceptSet":
        if not self.concepts and not self.classes:
            raise ValueError("a concept set names at least one concept (or, for Synthea's encounters, one class)")
        return self


class CohortDefinition(Contract):
    """How patients become journeys.

    Attributes:
        unit: `patient` keeps each patient's first journey, `journey` keeps all.
        index_event: What starts the clock; None where the source delivers journeys as they are.
        treatment: What counts as starting treatment; None likewise.
        washout_days: Days before the index day in which no treatment may have been going on; 0 for no such rule.
        prior_observation_days: Days before the index day that one observation period must cover together with that
            day; 0 for no such rule.
        index_in_observation: Whether the index day must lie in an observation period.
        outcome_window_days: Days from the index date (included) in which treatment counts; the prediction horizon.
        minimum_journeys: Journeys below which training is refused.
        minimum_train_positives: Positives in train below which it is refused.
        minimum_evaluation_positives: Positives in validation, and in test, below which it is refused.
    """

    unit: str = Field(default="patient", pattern="^(patient|journey)$")
    index_event: ConceptSet | None = None
    treatment: ConceptSet | None = None
    washout_days: int = Field(default=0, ge=0)
    prior_observation_days: int = Field(default=0, ge=0)
    index_in_observation: bool = False
    outcome_window_days: int = Field(default=180, ge=1)
    minimum_journeys: int = Field(default=300, ge=1)
    minimum_train_positives: int = Field(default=30, ge=1)
    minimum_evaluation_positives: int = Field(default=10, ge=1)


class KnownAt(Contract):
    """When a row of the source became known.

    Attributes:
        kind: `observed` takes the table's own known-at column; `event_plus_lag` adds `days` to the event time.
        days: Lag in days for `event_plus_lag`, and for a row whose observed known-at time is missing.
        baseline_lag_days: Lag from the index date at which a journey's baseline columns are known, for a source that
            holds one version of each journey only; None takes the first version's own known-at time.
    """

    kind: str = Field(default="observed", pattern="^(observed|event_plus_lag)$")
    days: int = Field(default=0, ge=0)
    baseline_lag_days: int | None = Field(default=None, ge=0)


class History(Contract):
    """How a source restates and deletes what it said before.

    `patient_journeys` and `hcp_profiles` may always hold several versions of a key; of other tables only those named
    here do, and an id that stands twice in one that is not named is an error of the source.

    Attributes:
        restated: Canonical tables whose rows are restated by further rows with the same key and a later known-at time.
        tombstones: Per canonical table the column that says that a row is deleted: a boolean (the row says that its key
            is gone from the row's known-at time on) or a time (the row was deleted then). Such a table is restated too.
    """

    restated: tuple[str, ...] = ()
    tombstones: dict[str, str] = Field(default_factory=dict)

    def covers(self, table: str) -> bool:
        """Whether rows of the table can be superseded or deleted by what comes later."""
        return table in self.restated or table in self.tombstones


class Absences(Contract):
    """What the source declares it cannot have; what is not declared is expected.

    Attributes:
        tables: Canonical table names.
        columns: Canonical column names per table.
    """

    tables: tuple[str, ...] = ()
    columns: dict[str, tuple[str, ...]] = Field(default_factory=dict)

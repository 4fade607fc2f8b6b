"""What travels between assets: small references to tables, studies, models and Bentos, never the things themselves."""

from datetime import date, datetime
from pathlib import PurePath

from pydantic import Field

from e2i_pipeline.contracts.base import Contract, Reference
from e2i_pipeline.contracts.quality import Override


class ColumnInfo(Contract):
    """One column as staged: its canonical name and its type as DuckDB writes it."""

    name: str
    dtype: str


class DefectCount(Contract):
    """One known kind of defect in the input: counted, and either kept, corrected or left out on purpose.

    Attributes:
        table: Table of the source's own format in which it was found.
        defect: What is wrong, in words.
        rows: Rows concerned.
        of_rows: Rows looked at.
        treatment: What was done about it: `kept`, `corrected` or `left out`, and how.
    """

    table: str
    defect: str
    rows: int
    of_rows: int
    treatment: str


class TableRef(Reference):
    """An immutable Parquet table.

    Attributes:
        key: Hash of what the table was made from (for a staged table: the source's fingerprint and its settings).
        name: Canonical table name, e.g. `patient_journeys`.
        location: Path or URL of the Parquet file; empty for an absent table.
        version: SHA-256 of the content; the table's data version.
        rows: Number of rows.
        columns: Columns in order.
        is_absent: Whether the source declares that it cannot have this table.
        absent_columns: Canonical columns that the source declares it cannot have.
        known_until: Latest known-at time in the table (UTC), None where it has no rows.
        landed_at: When the snapshot was staged (UTC); None for a derived table.
        defects: Known kinds of defect met on the way in.
    """

    name: str
    location: str = ""
    version: str
    rows: int = 0
    columns: tuple[ColumnInfo, ...] = ()
    is_absent: bool = False
    absent_columns: tuple[str, ...] = ()
    known_until: datetime | None = None
    landed_at: datetime | None = None
    defects: tuple[DefectCount, ...] = ()

    def has(self, column: str) -> bool:
        """Whether the table has a column of this name."""
        return any(c.name == column for c in self.columns)


class SplitCuts(Contract):
    """The cut dates between splits, computed once and kept while `version` stays.

    Attributes:
        version: `splits.version` of the configuration they were computed under.
        train_end: First index date that is no longer in train.
        validation_end: First index date that is no longer in validation.
        test_end: First index date that is no longer in test.
        gap_days: Days after `train_end`, `validation_end` and `test_end` whose journeys are `unassigned`.
    """

    version: int
    train_end: date
    validation_end: date
    test_end: date
    gap_days: int


class DatasetRef(Reference):
    """The published dataset: all tables together, as one manifest names them.

    Attributes:
        tables: The staged tables by canonical name, absent ones included.
        as_of: Up to when anything is known to this dataset (UTC).
        cuts: The split's cut dates.
        assignments: Table `patient_journey_id`, `patient_id`, `data_split`, `is_mature`: one row per journey.
        split_counts: Journeys per split.
        manifest: Path of the manifest.
        overrides: Those of its tables that passed the gate by a person's decision; the key covers them.
    """

    tables: dict[str, TableRef]
    as_of: datetime
    cuts: SplitCuts
    assignments: TableRef
    split_counts: dict[str, int]
    manifest: str
    overrides: tuple[Override, ...] = ()


class FeatureSpec(Contract):
    """One feature as a model sees it.

    Attributes:
        name: Column in the training dataset, and field of the Bento's request.
        kind: `numeric`, `categorical` or `boolean`.
        view: Feast view that serves it.
        description: What it means, with its unit.
        low: Smallest value that makes sense, None where open.
        high: Largest value that makes sense, None where open.
        source: Source table that it is computed from.
        aggregation: How a configured covariate is made of its rows; empty for a feature of the catalogue.
        window_days: Days before the prediction time whose rows count; None where all that is known counts, or where the
            catalogue says it.
    """

    name: str
    kind: str = Field(pattern="^(numeric|categorical|boolean)$")
    view: str
    description: str = ""
    low: float | None = None
    high: float | None = None
    source: str = ""
    aggregation: str = ""
    window_days: int | None = None


class FeatureTableRef(TableRef):
    """A feature table: one row per entity and change, with `event_timestamp` and `created_timestamp` (UTC).

    Attributes:
        entity: Join key, `patient_id` or `hcp_id`.
        left_out: Features that cannot be computed from this source, each with the reason.
    """

    entity: str
    left_out: dict[str, str] = Field(default_factory=dict)


class FeatureRegistryRef(Reference):
    """What was applied to the Feast registry.

    Attributes:
        key: Hash of the applied definitions and of the tables behind them.
        project: Feast project.
        service: Feature service for training and serving.
        features: The model's features, in order.
        tables: The feature tables by view.
        left_out: Features left out, each with the reason.
        definitions: Path of the resolved definitions that the Feast repository reads.
        contract: Key of the definitions as they were applied (`FeatureContract`); empty where none was written.
    """

    project: str
    service: str
    features: tuple[FeatureSpec, ...]
    tables: dict[str, FeatureTableRef]
    left_out: dict[str, str]
    definitions: str
    contract: str = ""


class OnlineWindow(Contract):
    """What one view was filled with.

    Attributes:
        view: Name of the view.
        start: From when on (UTC) what became known counted.
        end: Up to when (UTC).
        rows: Rows written.
        seconds: How long it took, reading included; of an interrupted one, all its parts.
    """

    view: str
    start: datetime
    end: datetime
    rows: int
    seconds: float


class OnlineFeaturesRef(Reference):
    """One materialization into the online store.

    Attributes:
        until: Up to when (UTC), in event time and in known-at time, the store was filled.
        rows: Rows written per view.
        rows_per_second: Over all views; 0 where nothing was written.
        windows: What was filled, by view.
    """

    until: datetime
    rows: dict[str, int]
    rows_per_second: float
    windows: tuple[OnlineWindow, ...] = ()


class TrainingDatasetRef(TableRef):
    """The modelling rows of one brand: one row per journey at its prediction time.

    Attributes:
        brand: The brand (partition).
        dataset_key: Key of the published dataset behind it.
        features: Features in order, as columns of the table.
        split_counts: Rows per split.
        positives: Rows with the outcome, per split; empty in a regression.
        label_overlap: Training labels that mature after the validation period begins.
        overrides: Overrides behind the published dataset; one on these rows themselves is the gate's to tell.
        contract: Key of the feature definitions behind it (`FeatureContract`); empty where none was written.
    """

    brand: str
    dataset_key: str
    features: tuple[FeatureSpec, ...]
    split_counts: dict[str, int]
    positives: dict[str, int]
    label_overlap: int = 0
    overrides: tuple[Override, ...] = ()
    contract: str = ""


class AttributionRef(Reference):
    """SHAP values of one model version on a sample.

    Attributes:
        key: Model version and sample.
        brand: The brand (partition).
        location: Parquet file: one row per sampled journey, one column per feature, on the model's margin.
        version: SHA-256 of that file.
        plot: PNG of the summary plot.
        importance: Mean absolute value per feature, normalized to a sum of 1, largest first.
        base_value: Expected margin.
        rows: Sampled journeys.
        method: How the values were computed.
        unit: Of values and margin: `log-odds`, `probability` or `outcome` (as it is measured).
    """

    brand: str
    location: str
    version: str
    plot: str
    importance: dict[str, float]
    base_value: float
    rows: int
    method: str
    unit: str = "log-odds"


class ModelCardRef(Reference):
    """The model card: one self-contained HTML page.

    Attributes:
        brand: The brand (partition).
        location: Path of the page.
        version: SHA-256 of the page.
    """

    brand: str
    location: str
    version: str


class RunReportRef(Reference):
    """The report of one run: one self-contained HTML page.

    Attributes:
        brand: The brand (partition).
        location: Path of the brand's newest page, `latest.html`.
        version: SHA-256 of the page.
        dagster_run_id: The run that it tells of.
        overrides: Overrides of the gate that the run went on by.
    """

    brand: str
    location: str
    version: str
    dagster_run_id: str
    overrides: tuple[Override, ...] = ()

    @property
    def page(self) -> str:
        """Path of the page that stays when later runs have theirs."""
        return str(PurePath(self.location).with_name(f"{self.dagster_run_id}.html"))


class BentoRef(Reference):
    """A built Bento.

    Attributes:
        key: Model version and service code.
        brand: The brand (partition).
        tag: Bento tag, `name:version`.
        model_tag: Tag in BentoML's model store.
        location: Folder of the Bento.
        golden_request: JSON file with rows and the probabilities that the model itself gives them.
        model_name: Registered model name inside it.
        model_version: Registered model version inside it.
    """

    brand: str
    tag: str
    model_tag: str
    location: str
    golden_request: str
    model_name: str
    model_version: str


class DeploymentRef(Reference):
    """A deployment: what `make serve` starts locally, or an endpoint.

    Attributes:
        brand: The brand (partition).
        bento_tag: The deployed Bento; None where nothing was promoted yet.
        location: JSON file that describes the deployment.
        endpoint: Address at which it answers once started.
        status: As in `ml_deployments`.
    """

    brand: str
    bento_tag: str | None
    location: str
    endpoint: str
    status: str


class PredictionsRef(TableRef):
    """Scores of the journeys whose outcome is still open, or of the newest where none is.

    Attributes:
        brand: The brand (partition).
        model_name: Registered name of the champion that scored.
        model_version: Its version.
    """

    brand: str
    model_name: str = ""
    model_version: str = ""

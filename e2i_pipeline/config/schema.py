"""The settings as frozen types: every key, its type, its range and its default meaning.

Defaults stand in `e2i.yaml` and `profiles/`, once; reading and merging stand in `loader.py`. No I/O here.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator

from e2i_pipeline.config.causal_schema import CausalSettings
from e2i_pipeline.config.evaluation_schema import PromotionSettings, SuccessCriteria
from e2i_pipeline.config.feature_schema import FeastSettings, FeatureSettings
from e2i_pipeline.config.part import Name, Part
from e2i_pipeline.config.postgres_schema import PostgresSettings
from e2i_pipeline.config.study_schema import OptunaSettings
from e2i_pipeline.config.tracking_schema import MlflowSettings
from e2i_pipeline.contracts.cohort import Absences, CohortDefinition, History, KnownAt
from e2i_pipeline.contracts.evaluation_rules import EvaluationRules
from e2i_pipeline.contracts.mapping import TableMapping

_CRON_RANGES = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))


class SyntheticSettings(Part):
    """The generated world (`domain/synthetic_process.Design`); `journeys_per_brand` in journeys, shares 0..1."""

    seed: int = Field(ge=0, lt=2**32)
    journeys_per_brand: int = Field(ge=10, le=10_000_000)
    process: Literal["simple_linear", "confounded", "heterogeneous", "time_series", "selection_bias", "null_effect"]
    late_share: float = Field(ge=0, le=1)
    restated_share: float = Field(ge=0, le=1)
    restated_event_share: float = Field(ge=0, le=1)
    missing_share: float = Field(ge=0, le=0.5)
    seasonality: float = Field(ge=0, le=1)
    reveal_confounder: bool

    @model_validator(mode="after")
    def _revealed(self) -> "SyntheticSettings":
        if self.reveal_confounder and self.process != "selection_bias":
            raise ValueError(f"reveal_confounder: the process {self.process} has no hidden confounder to reveal")
        return self


class FilesSettings(Part):
    """How the user's files are read: `auto` looks at the file name's ending."""

    format: Literal["auto", "parquet", "csv", "json"]
    null_markers: list[str]


class OmopSettings(Part):
    """How OMOP files are read."""

    null_markers: list[str]


class SyntheaSettings(Part):
    """How the files of a Synthea export are read."""

    null_markers: list[str]


class SourceSettings(Part):
    """Where patient journeys come from, when they became known, and what the source cannot have."""

    kind: Literal["synthetic", "files", "omop", "synthea", "postgres"]
    location: str | None
    known_at: KnownAt
    absent: Absences
    history: History
    tables: dict[str, TableMapping]
    synthetic: SyntheticSettings
    files: FilesSettings
    omop: OmopSettings
    synthea: SyntheaSettings
    postgres: PostgresSettings

    @model_validator(mode="after")
    def _located(self) -> "SourceSettings":
        if self.kind not in ("synthetic", "postgres") and not self.location:
            raise ValueError(
                f"source.kind is {self.kind}, so source.location (or E2I_DATA) must say where the files lie"
            )
        return self

    @model_validator(mode="after")
    def _restated(self) -> "SourceSettings":
        is_generated = self.kind == "synthetic"
        if is_generated and self.synthetic.restated_event_share and not self.history.covers("treatment_events"):
            raise ValueError(
                "source.synthetic.restated_event_share restates clinical events, so source.history.restated must name "
                "treatment_events"
            )
        if is_generated and self.synthetic.restated_share and self.known_at.baseline_lag_days is not None:
            raise ValueError(
                "source.synthetic.restated_share gives each journey a first version of its own, so "
                "source.known_at.baseline_lag_days must be null"
            )
        return self


class SplitSettings(Part):
    """Chronological shares, which sum to 1, and the gap between them in days."""

    train: float = Field(gt=0, lt=1)
    validation: float = Field(gt=0, lt=1)
    test: float = Field(gt=0, lt=1)
    holdout: float = Field(ge=0, lt=1)
    gap_days: int = Field(ge=0)
    gap: Literal["days", "horizon"]
    adopt_incoming: bool
    version: int = Field(ge=1)

    @model_validator(mode="after")
    def _whole(self) -> "SplitSettings":
        total = self.train + self.validation + self.test + self.holdout
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares of train, validation, test and holdout must sum to 1, not to {total:.4f}")
        return self


class DefaultExpectations(Part):
    """What must be true of the columns of a table without a suite of its own, in `e2i_default_suite`.

    Attributes:
        not_null: Columns without nulls.
        unique: Columns without duplicates.
        in_set: The values that a column may have.
    """

    not_null: list[str]
    unique: list[str]
    in_set: dict[str, list[bool | int | float | str]]


class QcGateSettings(Part):
    """The gate on data quality: shares are 0..1."""

    block_on_failure: bool
    min_pass_rate: float = Field(ge=0, le=1)
    max_row_drop: float = Field(ge=0, le=1)
    critical_expectations: list[str]


class OverrideSettings(Part):
    """Who may override the gate, by e-mail address or name; with nobody named, anybody with an e-mail address."""

    people: list[str]

    @field_validator("people")
    @classmethod
    def _named(cls, people: list[str]) -> list[str]:
        if any(not person.strip() for person in people):
            raise ValueError("an empty name identifies nobody")
        return people


class GreatExpectationsSettings(Part):
    """Which suite fits which problem, the gate, and where the data docs and what is behind them lie."""

    default_suites: dict[str, str]
    default_expectations: DefaultExpectations
    qc_gate: QcGateSettings
    data_docs_site: str
    checkpoint_store: str

    @field_validator("data_docs_site", "checkpoint_store")
    @classmethod
    def _reachable(cls, place: str) -> str:
        scheme, separator, rest = place.partition("://")
        if separator and (scheme != "s3" or not re.match(r"[a-z0-9]", rest)):
            raise ValueError("data docs lie in a folder or in s3://bucket/prefix; no other address is known")
        return place.rstrip("/") if separator else place


class ShapSettings(Part):
    """How attributions are computed: `max_samples` in journeys."""

    explainer_type: Literal["auto", "tree", "linear"]
    max_samples: int = Field(ge=10)
    check_additivity: bool
    max_display: int = Field(ge=1)


class BentoSettings(Part):
    """The service: `timeout` in seconds, `max_latency_ms` in milliseconds."""

    service: str
    timeout: int = Field(ge=1)
    max_batch_size: int = Field(ge=1)
    max_latency_ms: int = Field(ge=1)


class TracingSettings(Part):
    """Whether spans are recorded, and which share of the traces."""

    enabled: bool
    sample_rate: float = Field(ge=0, le=1)


class SpanSettings(Part):
    """What a span may carry; `max_output_length` in characters."""

    include_inputs: bool
    include_outputs: bool
    max_output_length: int = Field(ge=0)


class OpikSettings(Part):
    """Tracing by agent and stage."""

    workspace: str
    project_name: str
    tracing: TracingSettings
    spans: SpanSettings


class RetentionSettings(Part):
    """How much old data stays: published datasets besides the current one, and days since anything was last used."""

    published_datasets: int = Field(ge=1, le=1_000)
    minimum_age_days: int = Field(ge=1, le=36_500)


class AutomationSettings(Part):
    """When things run without being asked: a cron line of five fields, its time zone, and seconds between two looks."""

    nightly_cron: str
    timezone: str
    sensor_interval_seconds: int = Field(ge=10)

    @field_validator("nightly_cron")
    @classmethod
    def _cron(cls, line: str) -> str:
        fields = line.split()
        if len(fields) != len(_CRON_RANGES):
            raise ValueError(f"a cron line has five fields (minute hour day month weekday); {len(fields)} found")
        for (name, low, high), field in zip(_CRON_RANGES, fields, strict=True):
            if any(not low <= int(number) <= high for number in re.findall(r"\d+", field)):
                raise ValueError(f"the {name} of a cron line is within {low} and {high}, and not {field}")
        return line

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            raise ValueError("there is no such time zone; write it as in Europe/Zurich") from None
        return name


class Stores(Part):
    """Where each tool keeps its things; addresses that may carry a password are secret."""

    metadata_url: SecretStr
    mlflow_tracking_uri: SecretStr
    mlflow_artifact_root: str
    optuna_storage: SecretStr
    source_url: SecretStr
    feast_repo: Path
    feast_config: str
    feast_registry: SecretStr
    bentoml_home: Path
    gx_root: Path
    deployment_target: Literal["local"]
    step_isolation: Literal["in_process", "multiprocess"]


class Settings(Part):
    """Everything that was decided before the run."""

    profile: str
    environment: str
    engine: Literal["duckdb"]
    state_dir: Path
    stores: Stores

    source: SourceSettings
    brands: list[Name] = Field(min_length=1)
    cohort: CohortDefinition
    as_of: datetime | None
    target: Name
    problem_type: Literal["classification", "regression"]
    model_type: Name
    seed: int = Field(ge=0)
    success_criteria: SuccessCriteria
    splits: SplitSettings
    features: FeatureSettings
    great_expectations: GreatExpectationsSettings
    override: OverrideSettings
    optuna: OptunaSettings
    mlflow: MlflowSettings
    feast: FeastSettings
    shap: ShapSettings
    bentoml: BentoSettings
    opik: OpikSettings
    evaluation: EvaluationRules
    promotion: PromotionSettings
    causal: CausalSettings
    retention: RetentionSettings
    automation: AutomationSettings

    @model_validator(mode="after")
    def _distinct(self) -> "Settings":
        if len(set(self.brands)) != len(self.brands):
            raise ValueError("brands: a brand is named twice")
        if self.model_type == "effect":
            raise ValueError("model_type: effect is the name of what the causal stage registers; choose another")
        missing = [a for a in self.optuna.algorithms if a not in self.optuna.search_space]
        if missing:
            raise ValueError(f"optuna.search_space has no entry for {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _of_one_problem(self) -> "Settings":
        metric, is_regression = self.optuna.study_defaults.metric, self.problem_type == "regression"
        if (metric in ("rmse", "mae")) != is_regression:
            wanted = "rmse or mae, with direction: minimize" if is_regression else "auc or log_loss"
            raise ValueError(
                f"problem_type is {self.problem_type}, so optuna.study_defaults.metric must be {wanted}; it is {metric}"
            )
        if is_regression and self.target == "treatment_initiated":
            raise ValueError(
                "problem_type is regression, and target is treatment_initiated, which is yes or no: name a numeric "
                "column of patient_journeys as target, or set problem_type: classification"
            )
        journeys = [c for c in self.features.covariates if c.table == "patient_journeys"]
        if told := [c.name for c in journeys if c.column == self.target]:
            raise ValueError(
                f"features.covariates: {', '.join(told)} reads {self.target}, which is the target: it would predict "
                "the outcome from itself. Take it out"
            )
        return self

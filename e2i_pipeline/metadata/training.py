"""The tables of training: the scope, the training run and its trials, the registered version."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from e2i_pipeline.metadata.base import KEY, NAME, Base, PlainJson, RunLinks, UtcDateTime


class Experiment(RunLinks, Base):
    """The present scope of one brand and prediction target; see `ExperimentScope` for units and ranges.

    Attributes:
        id: Hash of brand and target.
        scope_key: Key of the scope; it changes with any of its parts.
    """

    __tablename__ = "ml_experiments"
    __table_args__ = (UniqueConstraint("brand", "prediction_target"),)

    id: Mapped[str] = mapped_column(KEY, primary_key=True)
    brand: Mapped[str] = mapped_column(NAME)
    prediction_target: Mapped[str] = mapped_column(NAME)
    scope_key: Mapped[str] = mapped_column(KEY)
    problem_type: Mapped[str] = mapped_column(NAME)
    population: Mapped[str] = mapped_column(Text)
    observation_window_days: Mapped[int | None]
    prediction_horizon_days: Mapped[int]
    minimum_auc: Mapped[float]
    minimum_precision_at_k: Mapped[float]
    maximum_fpr: Mapped[float]
    capacity: Mapped[float]
    minimum_r2: Mapped[float | None]
    maximum_rmse: Mapped[float | None]
    mlflow_experiment_id: Mapped[str] = mapped_column(KEY, default="")


class TrainingRun(RunLinks, Base):
    """One training, or one trial of its study where trials are kept.

    Attributes:
        id: Hash of the training key and the trial.
        training_key: The training's key.
        optuna_trial: Number of the trial; None for the training itself.
        hyperparameters: Name to value.
        samples: Rows per split.
        metrics: Metrics per split.
        status: `running`, `completed`, `pruned` or `failed`.
        error: Class of the error, where it failed.
        seconds: Wall-clock seconds.
        compute_type: `cpu` or `gpu`.
        is_best: Whether the registered model comes from it.
    """

    __tablename__ = "ml_training_runs"
    __table_args__ = (
        Index(None, "training_key", "optuna_trial"),
        CheckConstraint("status IN ('running', 'completed', 'pruned', 'failed')", name="status"),
    )

    id: Mapped[str] = mapped_column(KEY, primary_key=True)
    training_key: Mapped[str] = mapped_column(KEY)
    optuna_trial: Mapped[int | None]
    brand: Mapped[str] = mapped_column(NAME, index=True)
    algorithm: Mapped[str] = mapped_column(NAME)
    hyperparameters: Mapped[dict[str, Any]] = mapped_column(PlainJson, default=dict)
    samples: Mapped[dict[str, int]] = mapped_column(PlainJson, default=dict)
    metrics: Mapped[dict[str, Any]] = mapped_column(PlainJson, default=dict)
    status: Mapped[str] = mapped_column(NAME)
    error: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    seconds: Mapped[float | None]
    compute_type: Mapped[str] = mapped_column(NAME, default="cpu")
    optuna_study: Mapped[str] = mapped_column(NAME, default="")
    model_uri: Mapped[str] = mapped_column(Text, default="")
    is_best: Mapped[bool] = mapped_column(default=False)


class RegisteredModel(RunLinks, Base):
    """One version in the model registry. At most one version of a name is its champion.

    Attributes:
        id: Hash of name and version.
        auc: On the test split, like `pr_auc`, `brier` and `calibration_slope`; None where it is not defined.
        metrics: All metrics per split.
        fairness: Metrics per slice.
        stage: `development`, `staging`, `shadow`, `production` or `archived`.
        registered_at: When it was registered (UTC).
        stage_changed_at: When it last changed its stage or became or ceased to be champion (UTC).
    """

    __tablename__ = "ml_model_registry"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        CheckConstraint("stage IN ('development', 'staging', 'shadow', 'production', 'archived')", name="stage"),
        Index(
            "uq_ml_model_registry_champion",
            "name",
            unique=True,
            sqlite_where=text("is_champion"),
            postgresql_where=text("is_champion"),
        ),
    )

    id: Mapped[str] = mapped_column(KEY, primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    version: Mapped[str] = mapped_column(KEY)
    training_key: Mapped[str] = mapped_column(KEY, index=True)
    brand: Mapped[str] = mapped_column(NAME)
    model_uri: Mapped[str] = mapped_column(Text)
    algorithm: Mapped[str] = mapped_column(NAME, default="")
    auc: Mapped[float | None]
    pr_auc: Mapped[float | None]
    brier: Mapped[float | None]
    calibration_slope: Mapped[float | None]
    metrics: Mapped[dict[str, Any]] = mapped_column(PlainJson, default=dict)
    fairness: Mapped[dict[str, Any]] = mapped_column(PlainJson, default=dict)
    stage: Mapped[str] = mapped_column(NAME)
    is_champion: Mapped[bool] = mapped_column(default=False)
    registered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stage_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

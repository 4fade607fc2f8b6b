"""What training records: the scope, the run and its trials, the registered version and its stage."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef, TuningResult
from e2i_pipeline.errors import ToolRejected
from e2i_pipeline.resources.records.base import Records, Row

Metrics = Mapping[str, Mapping[str, float | None]]
"""Metrics per split."""

_HELD_BY_MANY = ("development", "archived")  # of the other stages, one version at a time


class TrainingRecords(Records):
    """`ml_experiments`, `ml_training_runs` and `ml_model_registry`."""

    def record_experiment(self, scope: ExperimentScope, mlflow_experiment_id: str, run_id: str) -> None:
        """Records the present scope of a brand and target; an earlier scope of the same two is replaced.

        Args:
            scope: The scope.
            mlflow_experiment_id: Experiment in MLflow; empty (not known yet) keeps the recorded one.
            run_id: Dagster run.
        """
        from e2i_pipeline.metadata.training import Experiment

        row = {
            **scope.model_dump(exclude={"key", "target"}),
            "prediction_target": scope.target,
            "scope_key": scope.key,
            **({"mlflow_experiment_id": mlflow_experiment_id} if mlflow_experiment_id else {}),
            "dagster_run_id": run_id,
        }
        self._put(Experiment, row, ("brand", "prediction_target"))

    def has_experiment(self, scope: ExperimentScope) -> bool:
        """Whether this is the recorded scope of its brand and target."""
        from e2i_pipeline.metadata.training import Experiment

        where = {"brand": scope.brand, "prediction_target": scope.target, "scope_key": scope.key}
        return bool(self._find(Experiment, **where))

    def record_training_run(
        self,
        training: TuningResult | TrainedModelRef,
        run_id: str,
        *,
        status: str,
        parameters: Mapping[str, Any] | None = None,
        metrics: Metrics | None = None,
        samples: Mapping[str, int] | None = None,
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
        seconds: float | None = None,
        error: str | None = None,
        trial: int | None = None,
        is_best: bool | None = None,
        compute_type: str | None = None,
    ) -> None:
        """Records a training, or one trial of it. What is None keeps the value that is recorded.

        Args:
            training: The study's result, or the model fitted from it: both carry the training key.
            run_id: Dagster run.
            status: `running`, `completed`, `pruned` or `failed`.
            parameters: Hyperparameters; by default those of the study's result.
            metrics: Metrics per split.
            samples: Rows per split.
            started_at: Start (UTC).
            ended_at: End (UTC).
            seconds: Wall-clock seconds; by default those that `training` says.
            error: Class of the error.
            trial: Number of the Optuna trial; None for the training itself.
            is_best: Whether the registered model comes from it.
            compute_type: `cpu` or `gpu`.
        """
        from e2i_pipeline.metadata.training import TrainingRun

        tuning = training if isinstance(training, TuningResult) else None
        given: Row = {
            "hyperparameters": parameters or (tuning.parameters if tuning else None),
            "metrics": metrics,
            "samples": samples,
            "started_at": started_at,
            "ended_at": ended_at,
            "seconds": training.seconds if seconds is None and trial is None else seconds,
            "error": error,
            "is_best": is_best,
            "compute_type": compute_type,
            "optuna_study": tuning.study if tuning else None,
            "model_uri": None if isinstance(training, TuningResult) else training.model_uri,
            "mlflow_run_id": training.mlflow_run_id,
        }
        row = {
            "training_key": training.key,
            "optuna_trial": trial,
            "brand": training.brand,
            "algorithm": training.algorithm,
            "status": status,
            "dagster_run_id": run_id,
            **{name: value for name, value in given.items() if value is not None},
        }
        self._put(TrainingRun, row, ("training_key", "optuna_trial"))

    def record_model(
        self,
        version: ModelVersion,
        metrics: Metrics,
        fairness: Mapping[str, Any],
        run_id: str,
        algorithm: str = "",
        registered_at: datetime | None = None,
    ) -> None:
        """Records a registered version. One that is recorded keeps its stage: `set_stage` changes it.

        Args:
            version: The version.
            metrics: Metrics per split; those of `test` also fill the columns of their own.
            fairness: Metrics per slice.
            run_id: Dagster run.
            algorithm: Name in `domain.algorithms`.
            registered_at: When it was registered (UTC).
        """
        from e2i_pipeline.metadata.training import RegisteredModel

        tested = metrics.get("test", {})
        row = {
            **version.model_dump(exclude={"key"}),
            "training_key": version.key,
            "metrics": metrics,
            "fairness": fairness,
            **{name: tested.get(name) for name in ("auc", "pr_auc", "brier", "calibration_slope")},
            "algorithm": algorithm,
            "registered_at": registered_at,
            "dagster_run_id": run_id,
        }
        self._put(RegisteredModel, row, ("name", "version"), keep=("stage", "registered_at"))

    def set_stage(self, name: str, version: str, stage: str, is_champion: bool, at: datetime | None = None) -> None:
        """Moves a recorded version to a stage; a new champion ends the one before, in the same transaction.

        Who had a stage that one version at a time holds is archived, as in the registry. Where the version is recorded
        so already, nothing changes.

        Args:
            name: Registered name.
            version: Version number.
            stage: `development`, `staging`, `shadow`, `production` or `archived`.
            is_champion: Whether it is now the one that serves.
            at: When (UTC).

        Raises:
            ToolRejected: The version is not recorded, or there is no such stage.
        """
        import sqlalchemy as sa

        from e2i_pipeline.metadata.training import RegisteredModel as Model

        with self._database().write() as connection:
            versions = sa.select(Model.version).where(Model.name == name).order_by(Model.version).with_for_update()
            known = connection.execute(versions).scalars().all()
            if version not in known:
                raise ToolRejected(
                    f"{name} has no recorded version {version} (recorded: {', '.join(known) or 'none'}): "
                    "materialize registered_model first."
                )
            others = (Model.name == name) & (Model.version != version)
            ended = {"is_champion": False, "stage_changed_at": at}
            if stage not in _HELD_BY_MANY:
                had = sa.update(Model).where(others, Model.stage == stage)
                connection.execute(had.values(stage="archived", **ended))
            if is_champion:
                connection.execute(sa.update(Model).where(others, Model.is_champion).values(**ended))
            differs = (Model.stage != stage) | (Model.is_champion != is_champion)
            this = (Model.name == name) & (Model.version == version) & differs
            change = {"stage": stage, "is_champion": is_champion, "stage_changed_at": at}
            connection.execute(sa.update(Model).where(this).values(**change))

    def champion(self, name: str) -> ModelVersion | None:
        """The version of this name that serves; None where none does."""
        from e2i_pipeline.metadata.training import RegisteredModel

        found = self._find(RegisteredModel, name=name, is_champion=True)
        fields = [f for f in ModelVersion.model_fields if f != "key"]
        return ModelVersion(key=found[0]["training_key"], **{f: found[0][f] for f in fields}) if found else None

"""The training stage: study and fit of one brand, over Optuna, MLflow and the files.

How a model is fitted stands in `domain/`, how it is judged in `evaluation`, what becomes of it in `promotion`; this
module fetches, calls and stores.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.references import (
    ExperimentScope,
    TrainedModelRef,
    TrainingDatasetRef,
    TuningResult,
)
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.optuna import OptunaResource
from e2i_pipeline.resources.stages.feature_statistics import FeatureStatisticsResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource, files_sha256
from e2i_pipeline.resources.stages.modelling import ModellingResource

if TYPE_CHECKING:
    from e2i_pipeline.resources.optuna_study import StudyOutcome

_CODE = (
    *(f"domain/{name}.py" for name in ("algorithms", "encoding", "learners", "metrics", "native_files")),
    *("domain/search_space.py", "domain/tuning.py"),
    *("resources/optuna.py", "resources/optuna_study.py", "resources/stages/training.py"),
)
"""What of our code decides what a study finds, and what is fitted and evaluated after it."""


class TrainingResource(dg.ConfigurableResource):
    """Searches for and fits one brand's model.

    Attributes:
        optuna: Runs the study.
        mlflow: Keeps the run, the model and the registry.
        metadata: Keeps the `ml_*` rows.
        modelling: Reads the modelling rows.
        files: Keeps files of the training.
        statistics: Knows what the features looked like on the train split.
        algorithms: Names in `domain.algorithms` to choose from.
        search_space: Search space per algorithm.
        metric: What the study optimizes on validation: `auc` or `log_loss`.
        direction: `maximize` or `minimize`.
        early_stopping_rounds: Boosting rounds without improvement after which a trial ends.
        seed: Seed of everything random.
    """

    optuna: OptunaResource
    mlflow: MlflowResource
    metadata: MetadataResource
    modelling: ModellingResource
    files: ModelFilesResource
    statistics: FeatureStatisticsResource
    algorithms: list[str]
    search_space: dict[str, Any]
    metric: str
    direction: str
    early_stopping_rounds: int
    seed: int

    def key(self, dataset: TrainingDatasetRef, scope: ExperimentScope, n_trials: int | None) -> str:
        """The training key: brand, data, scope, space, algorithms, search, code and seed."""
        search = (self.optuna.sampler, self.optuna.pruner, n_trials or self.optuna.n_trials, self.early_stopping_rounds)
        code = code_version(*_CODE)
        space = {name: self.search_space[name] for name in self.algorithms}
        data = (dataset.version, dataset.features)
        return content_key(dataset.brand, data, scope.key, space, self.algorithms, self.metric, search, code, self.seed)

    def longer_key(self, tuned: TuningResult, timeout: int | None) -> str:
        """The training key of a study that was cut short and may take longer now; else the one that it has.

        A longer study may find other parameters, so it is another training: neither model nor version is overwritten.
        """
        allowed = timeout or self.optuna.timeout
        return tuned.key if tuned.is_reproducible or allowed <= tuned.seconds else content_key(tuned.key, allowed)

    def study(
        self,
        key: str,
        dataset: TrainingDatasetRef,
        scope: ExperimentScope,
        n_trials: int | None,
        timeout: int | None,
        run_id: str,
        say: Callable[[str], None],
    ) -> "tuple[TuningResult, StudyOutcome]":
        """Runs the study, or the rest of it, inside the training's one MLflow run."""
        with self.mlflow.run(
            key,
            brand=dataset.brand,
            experiment=f"{scope.brand}-{scope.target}",
            run_name=f"{scope.brand}-{key[:8]}",
            tags={"dagster_run_id": run_id, "e2i.agent": "model_selector"},
        ) as run:
            outcome = self._optuna(n_trials, timeout).optimize(
                study_name=f"e2i-{dataset.brand}-{key}",
                algorithms=self.algorithms,
                search_space=self.search_space,
                train=self.modelling.frame(dataset, ["train"]),
                validation=self.modelling.frame(dataset, ["validation"]),
                features=dataset.features,
                metric=self.metric,
                direction=self.direction,
                seed=self.seed,
                early_stopping_rounds=self.early_stopping_rounds,
                on_trial=_reporter(say),
            )
            self.mlflow.log_batch(
                run.run_id,
                params={"algorithm": outcome.algorithm, **outcome.parameters, "training_dataset": dataset.version},
                metrics={f"validation_{self.metric}": outcome.best_value},
            )
            self.mlflow.log_trials(run.run_id, [trial._asdict() for trial in outcome.history])
        result = TuningResult(
            key=key,
            brand=dataset.brand,
            study=f"e2i-{dataset.brand}-{key}",
            mlflow_run_id=run.run_id,
            mlflow_experiment_id=run.experiment_id,
            algorithm=outcome.algorithm,
            parameters=outcome.parameters,
            metric=self.metric,
            best_value=outcome.best_value,
            trials=outcome.trials,
            seconds=outcome.seconds,
            is_reproducible=outcome.is_reproducible,
        )
        self.metadata.record_experiment(scope, run.experiment_id, run_id)
        self.metadata.record_training_run(result, run_id, status="completed", samples=dataset.split_counts)
        return result, outcome

    def has_run(self, tuned: TuningResult) -> bool:
        """Whether the study and the training's MLflow run are still there; neither tool is imported."""
        is_there = self.optuna.has_study(tuned.study) and self.mlflow.find_run(tuned.key) == tuned.mlflow_run_id
        return is_there and bool(self.metadata.rows("ml_training_runs", training_key=tuned.key))

    def fit(
        self, dataset: TrainingDatasetRef, scope: ExperimentScope, tuned: TuningResult, run_id: str
    ) -> TrainedModelRef:
        """Fits on the train split, sets the threshold on validation, keeps the files and logs them to the run."""
        from e2i_pipeline.domain import metrics
        from e2i_pipeline.domain.algorithms import dump_model, fit_model
        from e2i_pipeline.domain.examples import example_rows

        frame, outcome = self.modelling.frame(dataset, ["train"])
        began = time.monotonic()
        model = fit_model(
            tuned.algorithm,
            tuned.parameters,
            frame,
            outcome,
            dataset.features,
            training_key=tuned.key,
            brand=dataset.brand,
            horizon_days=scope.prediction_horizon_days,
            seed=self.seed,
            threads=os.cpu_count() or 1,
        )
        seconds = time.monotonic() - began
        held_out, _ = self.modelling.frame(dataset, ["validation"])
        model = model.with_threshold(metrics.threshold_for(model.predict(held_out), scope.capacity))
        statistics = self.statistics.files(dataset)
        files = dump_model(model) | statistics | self.modelling.contract_files(dataset)
        folder, version = self.files.keep("models", dataset.brand, tuned.key, files)
        uri = self.mlflow.log_model(tuned.mlflow_run_id, files, example_rows(frame, dataset.features, 2).head(1))
        self.mlflow.log_files(tuned.mlflow_run_id, statistics)
        fitted = TrainedModelRef(
            key=tuned.key,
            brand=dataset.brand,
            algorithm=tuned.algorithm,
            location=str(folder),
            version=version,
            mlflow_run_id=tuned.mlflow_run_id,
            model_uri=uri,
            fit_rows=len(frame),
            seconds=seconds,
        )
        self.metadata.record_training_run(fitted, run_id, status="completed", is_best=True, compute_type="cpu")
        return fitted

    def has_model(self, model: TrainedModelRef) -> bool:
        """Whether the model's files are whole, and its MLflow run and logged model still there; nothing is imported."""
        folder = Path(model.location)
        is_whole = folder.is_dir() and files_sha256(self.files.read(folder)) == model.version
        is_logged = self.mlflow.find_run(model.key) == model.mlflow_run_id and self.mlflow.has_model(model.model_uri)
        return is_whole and is_logged

    def _optuna(self, n_trials: int | None, timeout: int | None) -> OptunaResource:
        asked = {"n_trials": n_trials, "timeout": timeout}
        return self.optuna.model_copy(update={name: value for name, value in asked.items() if value})

    def history_plot(self, outcome: "StudyOutcome") -> bytes:
        """The study's history as a PNG."""
        from e2i_pipeline.domain import plots

        return plots.study_history([(t.number, t.value, t.algorithm) for t in outcome.history if t.value is not None])


def _reporter(say: Callable[[str], None]) -> Callable[[dict[str, Any]], None]:
    """Says every tenth trial how far the study is."""

    def report(trial: dict[str, Any]) -> None:
        done, wanted = trial["finished"], trial["n_trials"]
        if done % 10 == 0 or done == wanted:
            say(f"trial {done} of {wanted}, best so far {trial['best_value']:.4f}")

    return report

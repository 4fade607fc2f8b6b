"""The training stage: study and fit of one brand, over Optuna, MLflow and the files.

How a model is fitted stands in `domain/`, how it is judged in `evaluation`, what becomes of it in `promotion`; this
module fetches, calls and stores.
"""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.evaluation_rules import RecalibrationRules
from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef, TuningResult
from e2i_pipeline.progress import TrialBar
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.optuna import OptunaResource
from e2i_pipeline.resources.optuna_batches import batch_of
from e2i_pipeline.resources.stages.evaluation import RECALIBRATION_FILE
from e2i_pipeline.resources.stages.feature_statistics import FeatureStatisticsResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource, files_sha256
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.serving.carried import outside_key
from e2i_pipeline.storage.references import write_json

if TYPE_CHECKING:
    from e2i_pipeline.resources.optuna_records import StudyOutcome
    from e2i_pipeline.resources.optuna_warm_start import Origin

_PATIENT = "patient_id"

_CODE = (
    *(f"domain/{name}.py" for name in ("algorithms", "encoding", "metrics", "native_files", "regression_metrics")),
    *("domain/learners", "domain/search_space.py", "domain/selection.py", "domain/tuning.py"),
    *("domain/calibration.py", "domain/recalibration.py", "domain/operating_point.py", "domain/small_cells.py"),
    *(f"resources/optuna{name}.py" for name in ("", "_batches", "_past", "_records", "_selection", "_spaces")),
    *("resources/optuna_study.py", "resources/optuna_warm_start.py"),
    "resources/stages/training.py",
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
        metric: What the study optimizes on validation: `auc` or `log_loss`, or in a regression `rmse` or `mae`.
        direction: `maximize` or `minimize`.
        early_stopping_rounds: Boosting rounds without improvement after which a trial ends.
        warm_start: Whether a study begins with what the brand's previous one, of another dataset, found.
        selection_folds: Folds of the cross-validation that compares several algorithms.
        seed: Seed of everything random.
        recalibration: When probabilities are recalibrated (`RecalibrationRules`).
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
    warm_start: bool
    selection_folds: int
    seed: int
    recalibration: dict[str, Any]

    def key(self, dataset: TrainingDatasetRef, scope: ExperimentScope, n_trials: int | None) -> str:
        """The training key: brand, data, scope, space, algorithms, search, first trials, code and seed."""
        optuna = self.optuna
        search = (optuna.sampler, optuna.pruner, n_trials or optuna.n_trials, optuna.batch_size)
        code = code_version(*_CODE) + outside_key(self.algorithms)
        fit = (self.early_stopping_rounds, self.selection_folds, self.seed, code)
        space = {name: self.search_space[name] for name in self.algorithms}
        data = (dataset.brand, dataset.version, dataset.features, scope.key)
        asked = content_key(data, space, self.algorithms, self.metric, search, fit, self.recalibration)
        return content_key(asked, self.origin(dataset).trials)

    def origin(self, dataset: TrainingDatasetRef) -> "Origin":
        """The trials to begin with, of the brand's previous study: resolved when a dataset is first trained on.

        What was resolved is kept for the dataset, so that a repeated run finds the same key whatever was studied
        meanwhile.

        Raises:
            ToolUnavailable: It is to be resolved, and the storage of studies does not answer.
        """
        from e2i_pipeline.resources.optuna_warm_start import Origin

        if not self.warm_start:
            return Origin("", ())
        from filelock import FileLock

        kept = Path(self.files.state_dir) / "warm_starts" / dataset.brand / f"{dataset.version}-{self.metric}.json"
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.parent / "resolving.lock"):  # two runs that resolve at once must find the same
            if not kept.is_file():
                write_json(kept, self.optuna.previous(dataset.brand, dataset.version, self.metric)._asdict())
        known = json.loads(kept.read_text(encoding="utf-8"))
        return Origin(known["dataset"], tuple(known["trials"]))

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
            train, validation = (self.modelling.frame(dataset, [name], [_PATIENT]) for name in ("train", "validation"))
            origin = self.origin(dataset)
            with TrialBar() as bar:
                outcome = self._optuna(n_trials, timeout).optimize(
                    study_name=f"e2i-{dataset.brand}-{key}",
                    algorithms=self.algorithms,
                    search_space=self.search_space,
                    train=train,
                    validation=validation,
                    features=dataset.features,
                    metric=self.metric,
                    direction=self.direction,
                    seed=self.seed,
                    early_stopping_rounds=self.early_stopping_rounds,
                    problem_type=scope.problem_type,
                    attributes={"brand": dataset.brand, "dataset": dataset.version, "warm_start": origin._asdict()},
                    given=origin.trials,
                    patients=(train[0][_PATIENT], validation[0][_PATIENT]),
                    folds=self.selection_folds,
                    on_trial=_reporter(say, bar),
                )
            self.mlflow.log_batch(
                run.run_id,
                params={"algorithm": outcome.algorithm, **outcome.parameters, "training_dataset": dataset.version},
                metrics={f"validation_{self.metric}": outcome.best_value, "trials": float(len(outcome.history))},
            )
            self.mlflow.log_dataset(run.run_id, dataset)
            self.mlflow.log_environment(run.run_id)
            tried = [
                {**t._asdict(), "batch": batch_of(max(t.slot, 0), self.optuna.batch_size)} for t in outcome.history
            ]
            self.mlflow.log_trials(run.run_id, tried, f"validation_{self.metric}")
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
            comparison=outcome.comparison,
            warm_started_from=origin.dataset,
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
        """Fits on the train split, recalibrates and sets the threshold on validation, keeps and logs the files."""
        from e2i_pipeline.domain.algorithms import dump_model, fit_model
        from e2i_pipeline.domain.examples import example_rows
        from e2i_pipeline.domain.operating_point import set_operating_point

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
            problem_type=scope.problem_type,
        )
        seconds = time.monotonic() - began
        held_out = self.modelling.frame(dataset, ["validation"], [_PATIENT])
        rules = RecalibrationRules.model_validate(self.recalibration)
        model, recalibrated = set_operating_point(
            model, *held_out, scope, rules, self.seed, patients=held_out[0][_PATIENT]
        )
        statistics = self.statistics.files(dataset) | {RECALIBRATION_FILE: recalibrated.model_dump_json().encode()}
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

    def pictures(self, outcome: "StudyOutcome") -> dict[str, bytes]:
        """The study's history, importances and parallel coordinates as PNG."""
        from e2i_pipeline.domain.study_plots import study_plots

        return study_plots(
            [(t.slot, t.value, t.algorithm, t.parameters) for t in outcome.history if t.value is not None],
            outcome.importances,
            is_maximized=self.direction == "maximize",
        )


def _reporter(say: Callable[[str], None], bar: TrialBar) -> Callable[[dict[str, Any]], None]:
    """Shows each trial in the terminal, and says every tenth how far the study is."""
    said: list[int] = []

    def report(trial: dict[str, Any]) -> None:
        done, wanted = trial["finished"], trial["n_trials"]
        best = trial["best_value"]
        found = "none completed so far" if math.isnan(best) else f"best so far {best:.4f}"
        bar.show(done, wanted, found)
        if (done % 10 == 0 or done == wanted) and done not in said:
            said.append(done)
            say(f"trial {done} of {wanted}, {found}")

    return report

"""The training stage: study, fit, evaluation and promotion of one brand, over Optuna, MLflow and the files.

How a model is fitted, scored and compared stands in `domain/`; this module fetches, calls and stores.
"""

import json
import logging
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.config.code_version import code_version
from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.quality import Verdict
from e2i_pipeline.contracts.references import (
    EvaluationRef,
    ExperimentScope,
    ModelVersion,
    PromotionRef,
    TrainedModelRef,
    TrainingDatasetRef,
    TuningResult,
)
from e2i_pipeline.domain import promotion
from e2i_pipeline.errors import E2IError
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.optuna import OptunaResource
from e2i_pipeline.resources.stages.feature_statistics import FeatureStatisticsResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource, files_sha256
from e2i_pipeline.resources.stages.modelling import ModellingResource

if TYPE_CHECKING:
    from e2i_pipeline.domain.algorithms import ScoringModel
    from e2i_pipeline.resources.optuna_study import StudyOutcome

SLICES = ("geographic_region", "gender", "insurance_type", "specialty", "age_group")
"""Columns by which the evaluation is broken down, where the data has them."""

_CODE = (
    *(f"domain/{name}.py" for name in ("algorithms", "encoding", "learners", "metrics", "native_files")),
    *("domain/search_space.py", "domain/tuning.py"),
    *("resources/optuna.py", "resources/optuna_study.py", "resources/stages/training.py"),
)
"""What of our code decides what a study finds, and what is fitted and evaluated after it."""

SPLITS = ("train", "validation", "test")

_log = logging.getLogger(__name__)


class TrainingResource(dg.ConfigurableResource):
    """Trains one brand's model.

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
        promotion_stage: Stage that a promoted version gets.
        promotion_margin: By how much a candidate must beat the champion, in AUC.
        dry_run: Whether promotion only says what it would do.
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
    promotion_stage: str
    promotion_margin: float
    dry_run: bool

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

    def evaluate(
        self, dataset: TrainingDatasetRef, scope: ExperimentScope, trained: TrainedModelRef, run_id: str
    ) -> tuple[EvaluationRef, dict[str, bytes]]:
        """Evaluates the model on each split; the test split decides.

        Returns:
            The evaluation, and pictures of its curves by name.
        """
        from e2i_pipeline.domain import metrics, plots

        model = self.files.load(trained.location)
        threshold = model.manifest.threshold or 0.5
        found: dict[str, dict[str, float]] = {}
        for split in SPLITS:
            frame, outcome = self.modelling.frame(dataset, [split])
            found[split] = metrics.evaluate(outcome, model.predict(frame), scope.capacity, threshold)
        columns = [c for c in SLICES if dataset.has(c)]
        frame, outcome = self.modelling.frame(dataset, ["test"], [c for c in columns if c not in _names(dataset)])
        scores = model.predict(frame)
        curves = metrics.curves(outcome, scores)
        slices = {
            c: metrics.evaluate_slices(outcome, scores, frame[c].to_numpy(), scope.capacity, threshold)._asdict()
            for c in columns
        }
        content = {"metrics": found, "curves": curves, "slices": slices, "threshold": threshold}
        files = {"evaluation.json": json.dumps(content, indent=1, sort_keys=True).encode()}
        folder, version = self.files.keep("evaluations", dataset.brand, trained.key, files)
        self.mlflow.log_metrics(
            trained.mlflow_run_id, {f"{s}_{m}": v for s, values in found.items() for m, v in values.items()}
        )
        self.mlflow.log_files(trained.mlflow_run_id, files, "evaluation")
        self.metadata.record_training_run(trained, run_id, status="completed", metrics=found)
        unmet = metrics.criteria_unmet(found["test"], scope)
        evaluation = EvaluationRef(
            key=trained.key,
            brand=dataset.brand,
            location=str(folder / "evaluation.json"),
            version=version,
            metrics=found,
            threshold=threshold,
            is_passed=not unmet,
            unmet=unmet,
        )
        return evaluation, plots.evaluation_plots(curves)

    def register(
        self, trained: TrainedModelRef, evaluation: EvaluationRef, model_type: str, run_id: str, now: datetime
    ) -> ModelVersion:
        """Registers the model with its verdict beside it, or finds the version that it has."""
        version = self.mlflow.register_model(
            brand=trained.brand,
            model_type=model_type,
            run_id=trained.mlflow_run_id,
            model_uri=trained.model_uri,
            training_key=trained.key,
            tags={
                "e2i.meets_success_criteria": str(evaluation.is_passed).lower(),
                "e2i.test_auc": f"{evaluation.metrics['test']['auc']:.4f}",
            },
            description=" ".join(evaluation.unmet) or "All success criteria are met.",
        )
        self.metadata.record_model(
            version,
            metrics=evaluation.metrics,
            fairness={},
            run_id=run_id,
            algorithm=trained.algorithm,
            registered_at=now,
        )
        return version

    def anchor_ledger(self, trained: TrainedModelRef) -> str:
        """Notes the ledger's head in MLflow, which is in use anyway; a failure is told and costs nothing.

        Returns:
            What came of it, in words. A head that MLflow did not take is covered by the next one that it takes.
        """
        head = self.metadata.ledger_head()
        if not head.sequence:
            return "nothing to anchor"
        try:
            noted = self.mlflow.anchor_ledger(trained.mlflow_run_id, head, self.metadata.holds_entry)
        except E2IError as err:
            missed = (
                f"degraded: MLflow at {self.mlflow.redacted()} did not take the ledger's entry {head.sequence} as its "
                f"anchor ({type(err).__name__}); the next training hands it on"
            )
            _log.warning("%s", missed)
            return missed
        return f"entry {noted.sequence}" if noted else "not moved: the ledger does not continue it"

    def is_registered(self, version: ModelVersion) -> bool:
        """Whether the version is still in the registry and recorded; MLflow is not imported for its own file."""
        rows = self.metadata.rows("ml_model_registry", name=version.name, version=version.version)
        return bool(rows) and self.mlflow.has_version(version)

    def _optuna(self, n_trials: int | None, timeout: int | None) -> OptunaResource:
        asked = {"n_trials": n_trials, "timeout": timeout}
        return self.optuna.model_copy(update={name: value for name, value in asked.items() if value})

    def history_plot(self, outcome: "StudyOutcome") -> bytes:
        """The study's history as a PNG."""
        from e2i_pipeline.domain import plots

        return plots.study_history([(t.number, t.value, t.algorithm) for t in outcome.history if t.value is not None])

    def promote(
        self,
        dataset: TrainingDatasetRef,
        trained: TrainedModelRef,
        candidate: ModelVersion,
        evaluation: Verdict | None,
        infrastructure: Verdict | None,
        now: datetime,
    ) -> PromotionRef:
        """Decides whether the candidate replaces the champion, and moves the stages accordingly.

        Raises:
            PromotionBlocked: A verdict is missing, or the infrastructure gate failed.
        """
        promotion.require_verdicts(candidate, evaluation, infrastructure)
        assert evaluation is not None  # noqa: S101 - require_verdicts has refused it
        champion = self.mlflow.get_latest_model_version(candidate.name, (self.promotion_stage,))
        ours, theirs = self._compare(dataset, trained, champion)
        decision = promotion.decide(candidate, evaluation, champion, ours, theirs, self.promotion_margin)
        is_new = decision.is_promoted and (champion is None or champion.version != candidate.version)
        if decision.is_promoted and not self.dry_run:
            # For the champion of today it completes what a killed process began, and changes nothing otherwise.
            champion = self.mlflow.transition_model_stage(candidate.name, candidate.version, self.promotion_stage)
        if champion is not None and champion.version == candidate.version and not self.dry_run:
            self._record_champion(champion, now)
        reason = f"{'Dry run, nothing was changed. ' if is_new and self.dry_run else ''}{decision.reason}"
        return PromotionRef(
            key=content_key(candidate, champion, decision.is_promoted, reason),
            brand=dataset.brand,
            is_promoted=decision.is_promoted and not (is_new and self.dry_run),
            reason=reason,
            champion=champion,
        )

    @property
    def promotion_rule(self) -> str:
        """What decides a promotion beside the verdicts and the data, for a content key."""
        code = code_version("domain/promotion.py", "domain/metrics.py")
        return f"{self.promotion_stage}/{self.promotion_margin}/{self.dry_run}/{code}"

    def still_stands(self, candidate: ModelVersion, promotion: PromotionRef) -> bool:
        """Whether a decision is still what the registry shows: its champion serves, and is recorded as serving."""
        champion = promotion.champion.version if promotion.champion else None
        if self.mlflow.holder(candidate.name, self.promotion_stage) != champion:
            return False
        return champion != candidate.version or self._recorded_champion(candidate.name) == champion

    def _record_champion(self, champion: ModelVersion, now: datetime) -> None:
        """Records who serves; a process that was killed after the registry's move may have left that undone."""
        if self._recorded_champion(champion.name) != champion.version:
            self.metadata.set_stage(champion.name, champion.version, champion.stage, is_champion=True, at=now)

    def _recorded_champion(self, name: str) -> str | None:
        recorded = self.metadata.champion(name)
        return recorded.version if recorded else None

    def _compare(
        self, dataset: TrainingDatasetRef, trained: TrainedModelRef, champion: ModelVersion | None
    ) -> tuple[float, float | None]:
        """AUC of candidate and champion on the same test rows; the champion's is None where it cannot score them."""
        from e2i_pipeline.domain import metrics
        from e2i_pipeline.domain.algorithms import load_model

        frame, outcome = self.modelling.frame(dataset, ["test"])
        ours = metrics.auc(outcome, self.files.load(trained.location).predict(frame))
        if champion is None:
            return ours, None
        try:
            theirs: ScoringModel = load_model(self.mlflow.model_files(champion))
            return ours, metrics.auc(outcome, theirs.predict(frame))
        except E2IError:
            return ours, None


def _names(dataset: TrainingDatasetRef) -> set[str]:
    return {feature.name for feature in dataset.features}


def _reporter(say: Callable[[str], None]) -> Callable[[dict[str, Any]], None]:
    """Says every tenth trial how far the study is."""

    def report(trial: dict[str, Any]) -> None:
        done, wanted = trial["finished"], trial["n_trials"]
        if done % 10 == 0 or done == wanted:
            say(f"trial {done} of {wanted}, best so far {trial['best_value']:.4f}")

    return report

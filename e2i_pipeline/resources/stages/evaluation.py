"""The evaluation of a trained model, over MLflow, the metadata and the files.

How a model is judged stands in `domain/judgement.py` and what it names; this module fetches, calls and stores.
"""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.evaluation import EvaluationDetail, EvaluationRef, Recalibrated
from e2i_pipeline.contracts.evaluation_rules import EvaluationRules
from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.mlflow_records import finite
from e2i_pipeline.resources.stages.comparison import ComparisonResource
from e2i_pipeline.resources.stages.evaluation_rule import evaluation_rule
from e2i_pipeline.resources.stages.model_files import ModelFilesResource
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.sealed_test import SealedTestResource
from e2i_pipeline.resources.stages.test_scores import FILE, TestScores, to_parquet

if TYPE_CHECKING:
    import numpy as np

    from e2i_pipeline.domain.algorithms import ScoringModel
    from e2i_pipeline.domain.judgement import Judgement, TestRows

EVALUATION_FILE = "evaluation.json"
RECALIBRATION_FILE = "recalibration.json"
"""File among a model's own that says what was decided about recalibration."""

LEARNED_FROM = ("train", "validation")


class EvaluationResource(dg.ConfigurableResource):
    """Judges one brand's model.

    Attributes:
        mlflow: Keeps the figures beside the training's run.
        metadata: Keeps the `ml_*` rows.
        modelling: Reads the rows that the model has learned from.
        files: Keeps files of the training.
        sealed: Reads the test rows, on the record.
        comparisons: Compares with the champion.
        settings: Everything that is configured about an evaluation: `rules` (`EvaluationRules`), `slice_floor`,
            `margin`, `significance`, `seed`.
        model_type: For the registered name of the champion.
        stage: Stage that the champion holds.
    """

    mlflow: MlflowResource
    metadata: MetadataResource
    modelling: ModellingResource
    files: ModelFilesResource
    sealed: SealedTestResource
    comparisons: ComparisonResource
    settings: dict[str, Any]
    model_type: str
    stage: str

    @property
    def rules(self) -> EvaluationRules:
        """The rules of the gate."""
        return EvaluationRules.model_validate(self.settings["rules"])

    def key(self, trained: TrainedModelRef, scope: ExperimentScope) -> str:
        """Content key of an evaluation: the model, the scope, the settings and the code that judges."""
        return content_key(trained.version, trained.mlflow_run_id, scope.key, evaluation_rule(self.settings))

    def evaluate(
        self, dataset: TrainingDatasetRef, scope: ExperimentScope, trained: TrainedModelRef, run_id: str, now: datetime
    ) -> tuple[EvaluationRef, dict[str, bytes]]:
        """Evaluates the model on each split; the test split, read once and on the record, decides.

        Returns:
            The evaluation, and pictures of its curves, slices and groups by name.
        """
        from e2i_pipeline.domain import evaluation_gate, evaluation_plots

        key, rules, model = self.key(trained, scope), self.rules, self.files.load(trained.location)
        rows = self.sealed.read(
            dataset,
            training_key=trained.key,
            model_version=trained.version,
            mlflow_run_id=trained.mlflow_run_id,
            purpose="evaluation",
            occasion=key,
            run_id=run_id,
            now=now,
            columns=(*rules.slices.columns, *rules.fairness.columns),
        )
        own = model.scores(rows.features)
        scores, problem = self._scores(dataset, trained, model.recalibrated(own), rows)
        judged = self._judge(model, rows, own, scope)
        comparison, readings = self.comparisons.of_scores(scores), self.sealed.readings(dataset)
        margin, significance = self.settings["margin"], self.settings["significance"]
        findings = (
            *judged.findings,
            evaluation_gate.comparison_finding(comparison, problem, margin, significance),
            evaluation_gate.readings_finding(readings),
        )
        figures = {**self._learned(model, dataset, scope), "test": judged.metrics}
        unmet = evaluation_gate.unmet(findings)
        evaluation = EvaluationRef(
            key=trained.key,
            brand=dataset.brand,
            location="",
            version="",
            metrics=figures,
            threshold=model.manifest.threshold or 0.0,
            is_passed=not unmet,
            unmet=unmet,
            warnings=evaluation_gate.warnings(findings),
            scope_key=scope.key,
            problem_type=scope.problem_type,
            intervals=judged.intervals,
            findings=findings,
            fairness=judged.fairness,
            comparison=comparison,
            readings=readings,
        )
        pictures = evaluation_plots.evaluation_plots(judged.curves, judged.floors, judged.fairness)
        detail = self._detail(trained, judged, problem)
        return self._kept(evaluation, trained, judged, detail, to_parquet(scores), pictures, run_id), pictures

    def _scores(
        self, dataset: TrainingDatasetRef, trained: TrainedModelRef, given: "np.ndarray", rows: "TestRows"
    ) -> tuple[TestScores, str]:
        """The candidate's scores as given and, where there is another model to compare with, the champion's."""
        scores = TestScores(dataset.version, rows.outcome, given, patients=rows.patients)
        champion = self.comparisons.champion(dataset.brand, self.model_type, self.stage)
        if champion is None or champion.mlflow_run_id == trained.mlflow_run_id:
            return scores, ""
        theirs, problem = self.comparisons.champion_scores(champion, rows.features)
        return scores._replace(champion=theirs, champion_version=champion.version), problem

    def _judge(self, model: "ScoringModel", rows: "TestRows", own: "np.ndarray", scope: ExperimentScope) -> "Judgement":
        from e2i_pipeline.domain.judgement import Terms, judge_classification
        from e2i_pipeline.domain.regression_judgement import judge_regression

        terms = Terms(scope, self.rules, self.settings["slice_floor"], self.settings["seed"])
        if scope.problem_type == "regression":
            return judge_regression(model.predict, rows, own, terms)
        given = model.recalibrated(own)
        return judge_classification(model.predict, rows, given, own, model.manifest.label_threshold, terms)

    def _learned(
        self, model: "ScoringModel", dataset: TrainingDatasetRef, scope: ExperimentScope
    ) -> dict[str, dict[str, float]]:
        """Metrics on what the model has learned from."""
        from e2i_pipeline.domain.metrics import evaluate
        from e2i_pipeline.domain.regression_metrics import evaluate_regression

        found: dict[str, dict[str, float]] = {}
        for split in LEARNED_FROM:
            frame, outcome = self.modelling.frame(dataset, [split])
            predicted = model.predict(frame)
            if scope.problem_type == "regression":
                found[split] = evaluate_regression(outcome, predicted)
            else:
                found[split] = evaluate(outcome, predicted, scope.capacity, model.manifest.label_threshold)
        return found

    def _detail(self, trained: TrainedModelRef, judged: "Judgement", problem: str) -> EvaluationDetail:
        told = self.files.read(trained.location).get(RECALIBRATION_FILE)
        return EvaluationDetail(
            floors=judged.floors,
            recalibration=Recalibrated.model_validate_json(told) if told else Recalibrated(),
            behaviour=tuple(one.sentence for one in judged.behaviour),
            champion_problem=problem,
            left_out=judged.left_out,
        )

    def _kept(
        self,
        evaluation: EvaluationRef,
        trained: TrainedModelRef,
        judged: "Judgement",
        detail: EvaluationDetail,
        scores: bytes,
        pictures: dict[str, bytes],
        run_id: str,
    ) -> EvaluationRef:
        """Writes everything down: in the state folder, with the run, and in the metadata."""
        content = {
            **evaluation.model_dump(mode="json", exclude={"location", "version"}),
            "curves": judged.curves,
            "slices": judged.slices,
            "detail": detail.model_dump(mode="json"),
        }
        page = {EVALUATION_FILE: _page(content)}
        folder, version = self.files.keep("evaluations", evaluation.brand, trained.key, {**page, FILE: scores})
        logged = {f"{split}_{name}": v for split, values in evaluation.metrics.items() for name, v in values.items()}
        bounds = {
            f"test_{name}_{end}": value
            for name, interval in evaluation.intervals.items()
            for end, value in (("low", interval.low), ("high", interval.high))
            if value is not None
        }
        self.mlflow.log_metrics(trained.mlflow_run_id, {**logged, **bounds})
        shown = {f"{name}.png": png for name, png in pictures.items()}
        self.mlflow.log_files(trained.mlflow_run_id, {**page, **shown}, "evaluation")
        self.metadata.record_training_run(trained, run_id, status="completed", metrics=evaluation.metrics)
        return evaluation.model_copy(update={"location": str(folder / EVALUATION_FILE), "version": version})


def _page(content: dict[str, Any]) -> bytes:
    """The file of an evaluation. The AUC of a slice with one class is no number, and JSON has no word for that."""
    return json.dumps(finite(content), indent=1, sort_keys=True, allow_nan=False).encode()

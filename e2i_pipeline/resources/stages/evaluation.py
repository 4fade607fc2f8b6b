"""The evaluation of a trained model on each split, over MLflow, the metadata and the files.

How a model is judged stands in `domain/`; this module fetches, calls and stores.
"""

import json

import dagster as dg

from e2i_pipeline.contracts.references import EvaluationRef, ExperimentScope, TrainedModelRef, TrainingDatasetRef
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource
from e2i_pipeline.resources.stages.modelling import ModellingResource

SLICES = ("geographic_region", "gender", "insurance_type", "specialty", "age_group")
"""Columns by which the evaluation is broken down, where the data has them."""

SPLITS = ("train", "validation", "test")


class EvaluationResource(dg.ConfigurableResource):
    """Judges one brand's model.

    Attributes:
        mlflow: Keeps the figures beside the training's run.
        metadata: Keeps the `ml_*` rows.
        modelling: Reads the modelling rows.
        files: Keeps files of the training.
    """

    mlflow: MlflowResource
    metadata: MetadataResource
    modelling: ModellingResource
    files: ModelFilesResource

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


def _names(dataset: TrainingDatasetRef) -> set[str]:
    return {feature.name for feature in dataset.features}

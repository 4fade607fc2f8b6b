"""Candidate against champion, by the scores that the candidate's evaluation kept.

Only a champion that became one after that evaluation has no scores there: it reads the test rows once, on the record.
How two models are compared stands in `domain/comparison.py`.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.evaluation import Comparison
from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.training import TrainedModelRef
from e2i_pipeline.errors import E2IError
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource
from e2i_pipeline.resources.stages.sealed_test import SealedTestResource
from e2i_pipeline.resources.stages.test_scores import FILE, TestScores, from_parquet

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class ComparisonResource(dg.ConfigurableResource):
    """Compares models on the same test rows.

    Attributes:
        mlflow: Keeps the champion.
        files: Keeps the scores of evaluations.
        sealed: Reads the test rows where no scores are kept.
        problem_type: `classification` or `regression`.
        confidence: Of the interval of the gain, 0..1.
    """

    mlflow: MlflowResource
    files: ModelFilesResource
    sealed: SealedTestResource
    problem_type: str
    confidence: float

    def champion(self, brand: str, model_type: str, stage: str) -> ModelVersion | None:
        """The version that holds the stage; without importing MLflow where nobody does."""
        name = self.mlflow.model_name(brand, model_type)
        return self.mlflow.get_latest_model_version(name, (stage,)) if self.mlflow.holder(name, stage) else None

    def champion_scores(self, champion: ModelVersion, frame: "pd.DataFrame") -> "tuple[np.ndarray | None, str]":
        """The champion's predictions (rows,), or None and why it cannot score these rows."""
        from e2i_pipeline.domain.algorithms import load_model

        try:
            return load_model(self.mlflow.model_files(champion)).predict(frame), ""
        except E2IError as err:
            return None, f"Champion version {champion.version} cannot score the present rows ({type(err).__name__})."

    def of_scores(self, scores: TestScores) -> Comparison | None:
        """Compares two models by their scores; None where the champion has none."""
        from e2i_pipeline.domain.comparison import compare

        if scores.champion is None:
            return None
        return compare(
            self.problem_type,
            scores.champion_version,
            scores.outcome,
            scores.candidate,
            scores.champion,
            self.confidence,
            scores.patients,
        )

    def compare(
        self,
        dataset: TrainingDatasetRef,
        trained: TrainedModelRef,
        champion: ModelVersion,
        run_id: str,
        now: datetime,
    ) -> Comparison | None:
        """Compares a candidate with the champion; None where the champion cannot score the present rows."""
        kept = self._kept(trained)
        if kept and kept.dataset_version == dataset.version and kept.champion_version == champion.version:
            return self.of_scores(kept)
        rows = self.sealed.read(
            dataset,
            training_key=champion.key,
            model_version=content_key(champion.name, champion.version),
            mlflow_run_id=champion.mlflow_run_id,
            purpose="comparison",
            occasion=content_key(trained.version, champion.name, champion.version),
            run_id=run_id,
            now=now,
        )
        theirs, _ = self.champion_scores(champion, rows.features)
        ours = self.files.load(trained.location).predict(rows.features)
        return self.of_scores(TestScores(dataset.version, rows.outcome, ours, theirs, champion.version, rows.patients))

    def _kept(self, trained: TrainedModelRef) -> TestScores | None:
        path = Path(self.files.state_dir) / "evaluations" / trained.brand / trained.key / FILE
        return from_parquet(path.read_bytes()) if path.is_file() else None

"""Models of made-up modelling rows, evaluated, registered and decided on, over real MLflow, metadata and files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.contracts.evaluation_rules import EvaluationRules
from e2i_pipeline.contracts.quality import Verdict, VerdictKey
from e2i_pipeline.contracts.references import TrainingDatasetRef
from e2i_pipeline.contracts.registry import ModelVersion, PromotionRef
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef
from e2i_pipeline.domain.algorithms import dump_model, fit_model
from e2i_pipeline.domain.examples import example_rows
from e2i_pipeline.domain.operating_point import set_operating_point
from e2i_pipeline.resources.engine import EngineResource
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.stages.comparison import ComparisonResource
from e2i_pipeline.resources.stages.evaluation import RECALIBRATION_FILE, EvaluationResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource
from e2i_pipeline.resources.stages.promotion import PromotionResource
from e2i_pipeline.resources.stages.sealed_test import SealedTestResource
from e2i_pipeline.resources.stages.stage_moves import StageMovesResource
from e2i_pipeline_tests.modelling_rows import FEATURES, modelling_rows
from e2i_pipeline_tests.resources.mlflow_stores import store_in
from e2i_pipeline_tests.resources.stages.test_modelling import modelling

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SPLITS = {"train": 1500, "validation": 500, "test": 800}
SCOPE = ExperimentScope(
    key="scope",
    brand="Kisqali",
    target="treatment_initiated",
    problem_type="classification",
    population="journeys",
    observation_window_days=None,
    prediction_horizon_days=180,
    minimum_auc=0.6,
    minimum_precision_at_k=1.0,
    maximum_fpr=0.3,
    capacity=0.1,
)


def rows(seed: int = 1) -> pd.DataFrame:
    """Modelling rows of every split, one per patient."""
    size = sum(SPLITS.values())
    frame, outcomes = modelling_rows(size, seed)
    identifiers = {
        "patient_journey_id": [f"journey-{i:05}" for i in range(size)],
        "patient_id": [f"patient-{i:05}" for i in range(size)],
        "data_split": [split for split, n in SPLITS.items() for _ in range(n)],
        "target": outcomes,
        "age_at_diagnosis": frame["age"],
    }
    return frame.assign(**identifiers)


class Bench:
    """The stages of training over one folder.

    Attributes:
        dataset: The modelling rows.
        evaluations: The stage under test.
        promotions: The stage under test.
    """

    def __init__(self, folder: Path, **rules: Any) -> None:
        self.folder, self.mlflow = folder, store_in(folder)
        self.metadata = MetadataResource(url=f"sqlite:///{folder}/metadata.db", lock_dir=str(folder / "locks"))
        self.modelling, self.files = modelling(folder), ModelFilesResource(state_dir=str(folder / "state"))
        self.sealed = SealedTestResource(metadata=self.metadata, modelling=self.modelling)
        compared = {"problem_type": "classification", "confidence": 0.95}
        self.comparisons = ComparisonResource(mlflow=self.mlflow, files=self.files, sealed=self.sealed, **compared)
        shared: dict[str, Any] = {
            "mlflow": self.mlflow,
            "metadata": self.metadata,
            "modelling": self.modelling,
            "files": self.files,
            "comparisons": self.comparisons,
            "stage": "production",
        }
        bars = {"margin": 0.002, "significance": 0.05}
        chosen = EvaluationRules.model_validate({"bootstrap": {"resamples": 200}, **rules}).model_dump(mode="json")
        self.evaluations = EvaluationResource(
            sealed=self.sealed,
            settings={"rules": chosen, "slice_floor": 0.05, "seed": 1, **bars},
            model_type="conversion",
            **shared,
        )
        moves = StageMovesResource(
            mlflow=self.mlflow, metadata=self.metadata, state_dir=str(folder / "state"), stage="production"
        )
        self.promotions = PromotionResource(dry_run=False, moves=moves, **bars, **shared)
        self.dataset = self.written(rows())

    def written(self, frame: pd.DataFrame) -> TrainingDatasetRef:
        """Rows as a training dataset."""
        engine = EngineResource(temp_dir=str(self.folder / "spill"))
        with engine.connect() as connection:
            connection.register("given", frame)
            table = engine.write(connection, "SELECT * FROM given", self.folder / "rows", ("patient_journey_id",))
        return TrainingDatasetRef(
            key=table.version,
            name="training_dataset",
            location=table.location,
            version=table.version,
            rows=table.rows,
            columns=table.columns,
            brand="Kisqali",
            dataset_key="d",
            features=FEATURES,
            split_counts=SPLITS,
            positives={},
        )

    def trained(self, key: str, rounds: int, depth: int = 3) -> TrainedModelRef:
        """A boosted model of so many trees, logged to a run of its own."""
        frame, outcome = self.modelling.frame(self.dataset, ["train"])
        fitted = fit_model(
            "xgboost",
            {"n_estimators": rounds, "max_depth": depth, "learning_rate": 0.1},
            frame,
            outcome,
            FEATURES,
            training_key=key,
            brand="Kisqali",
            horizon_days=180,
            seed=1,
            threads=1,
        )
        held_out = self.modelling.frame(self.dataset, ["validation"])
        model, told = set_operating_point(fitted, *held_out, SCOPE, self.evaluations.rules.recalibration, 1)
        files = dump_model(model) | {RECALIBRATION_FILE: told.model_dump_json().encode()}
        folder, version = self.files.keep("models", "Kisqali", key, files)
        with self.mlflow.run(key, brand="Kisqali", experiment="Kisqali-test", run_name=key, tags={}) as run:
            uri = self.mlflow.log_model(run.run_id, files, example_rows(frame, FEATURES, 2).head(1))
        return TrainedModelRef(
            key=key,
            brand="Kisqali",
            algorithm="xgboost",
            location=str(folder),
            version=version,
            mlflow_run_id=run.run_id,
            model_uri=uri,
            fit_rows=len(frame),
            seconds=1.0,
        )

    def evaluated(self, trained: TrainedModelRef) -> EvaluationRef:
        """The evaluation of a model."""
        return self.evaluations.evaluate(self.dataset, SCOPE, trained, "run", NOON)[0]

    def decided(self, trained: TrainedModelRef, evaluation: EvaluationRef) -> tuple[ModelVersion, PromotionRef]:
        """Registers a model and decides on it; the infrastructure gate is taken to have passed."""
        version = self.promotions.register(trained, evaluation, "conversion", "run", NOON)
        gate = _verdict("evaluation", evaluation.unmet)
        infrastructure = _verdict("infrastructure", ())
        return version, self.promotions.promote(self.dataset, trained, version, gate, infrastructure, NOON, "run")

    def stages(self) -> dict[str, str]:
        """Stage by recorded version."""
        return {row["version"]: row["stage"] for row in self.metadata.rows("ml_model_registry")}


def _verdict(gate: str, reasons: tuple[str, ...]) -> Verdict:
    key = VerdictKey(subject="model/Kisqali", data_version="v", suite_hash="s", gate_hash=gate)
    return Verdict(key=key, gate=gate, is_passed=not reasons, reasons=reasons, decided_at=NOON)

"""The explanation stage: attributions of a registered version, and its model card.

How attributions are computed stands in `resources/shap.py` and `domain/attribution.py`, how the card looks in
`domain/report.py`; this module fetches, calls and stores.
"""

import io
import json
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.evaluation import EvaluationRef
from e2i_pipeline.contracts.references import (
    AttributionRef,
    DatasetRef,
    FeatureRegistryRef,
    ModelCardRef,
    TrainingDatasetRef,
)
from e2i_pipeline.contracts.registry import ModelVersion
from e2i_pipeline.contracts.training import ExperimentScope, TrainedModelRef, TuningResult
from e2i_pipeline.resources.metadata import MetadataResource
from e2i_pipeline.resources.mlflow import MlflowResource
from e2i_pipeline.resources.shap import ShapResource
from e2i_pipeline.resources.stages.gate import GateResource
from e2i_pipeline.resources.stages.model_files import ModelFilesResource, files_sha256
from e2i_pipeline.resources.stages.modelling import ModellingResource
from e2i_pipeline.resources.stages.stage_results import stage_results

if TYPE_CHECKING:
    import pandas as pd

    from e2i_pipeline.domain.attribution import Attribution


class ExplanationResource(dg.ConfigurableResource):
    """Explains one brand's model.

    Attributes:
        shap: Computes attributions and draws them.
        mlflow: Keeps the plot with the run.
        metadata: Keeps the `ml_*` rows.
        modelling: Reads the modelling rows.
        files: Keeps attributions and cards.
        gate: Keeps the audits.
        seed: Seed of the sample.
        source: Kind of the source, for the card.
    """

    shap: ShapResource
    mlflow: MlflowResource
    metadata: MetadataResource
    modelling: ModellingResource
    files: ModelFilesResource
    gate: GateResource
    seed: int
    source: str

    @property
    def sampling(self) -> str:
        """What decides sample, values and picture beside the model, for a content key."""
        chosen = (self.shap.max_samples, self.shap.explainer_type, self.shap.max_display, self.shap.check_additivity)
        return content_key(self.seed, chosen)

    def has(self, attribution: AttributionRef) -> bool:
        """Whether values, picture and narrative are still there as they were, and recorded."""
        folder = Path(attribution.location).parent
        is_whole = folder.is_dir() and files_sha256(self.files.read(folder)) == attribution.version
        return is_whole and bool(self.metadata.rows("ml_shap_analyses", attribution_key=attribution.key))

    def attribute(
        self,
        key: str,
        dataset: TrainingDatasetRef,
        trained: TrainedModelRef,
        version: ModelVersion,
        run_id: str,
        now: datetime,
    ) -> tuple[AttributionRef, bytes, str]:
        """Attributes a sample of the test split.

        Returns:
            The reference, the summary plot as PNG, and the drivers in words.
        """
        from e2i_pipeline.domain import attribution as rules
        from e2i_pipeline.domain import narratives

        began = time.monotonic()
        model = self.files.load(trained.location)
        frame = self.modelling.features(dataset, ["test"], ["patient_journey_id"])
        sample = frame.sample(min(len(frame), self.shap.max_samples), random_state=self.seed).sort_index()
        found = self.shap.compute_shap_values(model, sample)
        plot = self.shap.summary_plot(found, sample)
        drivers = narratives.key_drivers(found, sample, dataset.features)
        told = narratives.narrative(drivers, {f.name: f.description for f in dataset.features})
        files = {
            "values.parquet": _parquet(found, sample),
            "summary.png": plot,
            "narrative.json": json.dumps(list(told)).encode(),
        }
        folder, _ = self.files.keep("attributions", dataset.brand, key, files)
        self.mlflow.log_files(trained.mlflow_run_id, {"shap_summary.png": plot}, "explanation")
        reference = AttributionRef(
            key=key,
            brand=dataset.brand,
            location=str(folder / "values.parquet"),
            version=files_sha256(files),
            plot=str(folder / "summary.png"),
            importance=rules.importance(found),
            base_value=found.base_value,
            rows=len(sample),
            method=found.method,
            unit=found.unit,
        )
        self.metadata.record_shap(
            reference,
            run_id,
            model=version,
            narrative=" ".join(told),
            key_drivers=[driver.feature for driver in drivers],
            seconds=time.monotonic() - began,
        )
        ranked = enumerate(reference.importance.items(), start=1)
        self.metadata.record_features(
            dataset.brand,
            dataset.version,
            [{"feature": f, "global_importance": share, "importance_rank": rank} for rank, (f, share) in ranked],
            run_id,
        )
        return reference, plot, "\n".join(f"- {sentence}" for sentence in told)

    def card(
        self,
        key: str,
        dataset: DatasetRef,
        registry: FeatureRegistryRef,
        training: TrainingDatasetRef,
        scope: ExperimentScope,
        tuned: TuningResult,
        evaluation: EvaluationRef,
        version: ModelVersion,
        attribution: AttributionRef,
    ) -> ModelCardRef:
        """Renders the card from what the stages left behind."""
        from e2i_pipeline.domain.report import model_card
        from e2i_pipeline.domain.report_data import ModelCardData

        results = stage_results(
            self.gate, self.source, dataset, registry, training, scope, tuned, evaluation, version, attribution
        )
        data = ModelCardData(**dict(results), example=self._example(training))
        page = model_card(data)
        files = {"model_card.html": page.encode()}
        folder, sha256 = self.files.keep("cards", version.brand, key, files)
        self.mlflow.log_files(version.mlflow_run_id, files, "card")
        return ModelCardRef(key=key, brand=version.brand, location=str(folder / "model_card.html"), version=sha256)

    def _example(self, training: TrainingDatasetRef) -> dict[str, Any]:
        import pandas as pd

        from e2i_pipeline.domain.examples import example_rows

        frame, _ = self.modelling.frame(training, ["train"])
        row = example_rows(frame, training.features, 4).iloc[1].to_dict()
        return {
            feature.name: None if pd.isna(row[feature.name]) else row[feature.name] for feature in training.features
        }


def _parquet(found: "Attribution", sample: "pd.DataFrame") -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"patient_journey_id": sample["patient_journey_id"].to_numpy()}
    columns |= {name: found.values[:, position] for position, name in enumerate(found.feature_names)}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()
